/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table pool_host: how each host sees each pool. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"

#define COLUMNS                                                                                    \
	"SELECT host.id, host.name, host.state, host.state_reason, host.state_since, p.state, "    \
	"p.reason, p.since, p.capacity_bytes, p.allocation_bytes, p.available_bytes, "             \
	"p.checked_at, p.warned FROM host "                                                        \
	"LEFT JOIN pool_host AS p ON p.pool_id = ?1 AND p.host_id = host.id "

SQL(pool_host_all, SQL_SCAN, COLUMNS "ORDER BY host.name");
SQL(pool_host_one, 0, COLUMNS "WHERE host.id = ?2");
SQL(pool_host_put, 0,
        "INSERT INTO pool_host (pool_id, host_id, state, reason, since, capacity_bytes, "
        "allocation_bytes, available_bytes, checked_at, warned) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pool_id, host_id) DO UPDATE SET "
        "state = excluded.state, reason = excluded.reason, since = excluded.since, "
        "capacity_bytes = excluded.capacity_bytes, allocation_bytes = excluded.allocation_bytes, "
        "available_bytes = excluded.available_bytes, checked_at = excluded.checked_at, "
        "warned = excluded.warned");

void pool_host_done(struct pool_host *host)
{
	free(host->host);
	free(host->host_state);
	free(host->host_reason);
	free(host->state);
	free(host->reason);
	*host = (struct pool_host){0};
}

void pool_host_list_done(struct pool_host_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		pool_host_done(&list->items[i]);
	free(list->items);
	*list = (struct pool_host_list){0};
}

static void read_row(struct statement *s, struct pool_host *host)
{
	uuid_text_copy(host->host_id, statement_text(s, 0));
	host->host = statement_text_copy(s, 1);
	host->host_state = statement_text_copy(s, 2);
	host->host_reason = statement_text_copy(s, 3);
	host->host_since = statement_int(s, 4);
	host->is_seen = !statement_is_null(s, 5);
	host->state = statement_text_copy(s, 5);
	host->reason = statement_text_copy(s, 6);
	host->since = statement_int(s, 7);
	host->capacity_bytes = statement_int(s, 8);
	host->allocation_bytes = statement_int(s, 9);
	host->available_bytes = statement_int(s, 10);
	host->checked_at = statement_int(s, 11);
	host->warned = statement_int(s, 12) != 0;
}

int pool_store_hosts(
        struct db *db, const char *pool_id, struct pool_host_list *ret_list, struct err *e)
{
	VEC(struct pool_host) hosts = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &pool_host_all, SQL_BINDS(SQL_TEXT(pool_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct pool_host host = {0};
		read_row(s, &host);
		VEC_PUSH(&hosts, host);
	}
	struct pool_host_list list = {.items = hosts.items, .len = hosts.len};
	if (rc < 0)
		pool_host_list_done(&list);
	else
		*ret_list = list;
	return rc;
}

int pool_store_host(struct db *db, const char *pool_id, const char *host_id,
        struct pool_host *ret_host, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc =
	        db_find(db, &pool_host_one, SQL_BINDS(SQL_TEXT(pool_id), SQL_TEXT(host_id)), &s, e);
	if (rc == 0)
		return err_set(e, ERR_REFERENCE, "no host with id %s", host_id);
	if (rc < 0)
		return rc;
	read_row(s, ret_host);
	return 0;
}

int pool_store_put_host(
        struct db *db, const char *pool_id, const struct pool_host *host, struct err *e)
{
	return db_run(db, &pool_host_put,
	        SQL_BINDS(SQL_TEXT(pool_id), SQL_TEXT(host->host_id), SQL_TEXT(host->state),
	                SQL_TEXT(host->reason), SQL_INT(host->since), SQL_INT(host->capacity_bytes),
	                SQL_INT(host->allocation_bytes), SQL_INT(host->available_bytes),
	                SQL_INT(host->checked_at), SQL_INT(host->warned)),
	        e);
}
