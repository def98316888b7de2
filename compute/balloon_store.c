/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of the balloon controller. */
#include "compute/balloon_store.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "db/change_feed.h"

SQL(balloon_changed_hosts, 0,
        "SELECT object_id FROM change "
        "WHERE seq > ?1 AND kind = 'host' AND event NOT LIKE 'balloon%' AND event <> 'ksm' "
        "UNION SELECT vm.host_id FROM change JOIN vm ON vm.id = change.object_id "
        "WHERE change.seq > ?1 AND change.kind = 'vm' AND change.event NOT LIKE 'balloon%' "
        "AND change.event NOT IN ('guest', 'noisy_neighbour') "
        "UNION SELECT host.id FROM change JOIN host ON host.host_group = change.object_id "
        "WHERE change.seq > ?1 AND change.kind = 'host_group'");
SQL(balloon_all_hosts, SQL_SCAN /* at start, all of them are meant */, "SELECT id FROM host");
SQL(balloon_host, 0,
        "SELECT host.name, host_group.spec, meta.value, host.memory_bytes FROM host "
        "JOIN host_group ON host_group.id = host.host_group "
        "LEFT JOIN meta ON meta.key = '" BALLOON_KSM_MARK "' || host.id WHERE host.id = ?");
SQL(balloon_vms, 0,
        "SELECT vm.id, vm.name, vm.spec, vm.active_spec, vm.managed, reservation.state, "
        "reservation.booked_bytes, reservation.overhead_bytes, meta.key IS NOT NULL FROM vm "
        "LEFT JOIN reservation ON reservation.vm_id = vm.id AND reservation.host_id = ?1 "
        "LEFT JOIN meta ON meta.key = '" BALLOON_THROTTLE_MARK "' || vm.id WHERE vm.id IN ("
        "SELECT id FROM vm WHERE host_id = ?1 AND power IN ('running', 'paused') "
        "UNION SELECT vm_id FROM reservation WHERE host_id = ?1) ORDER BY vm.id");
SQL(balloon_book, 0, "UPDATE reservation SET booked_bytes = ?3 WHERE vm_id = ?2 AND host_id = ?1");
SQL(balloon_mark_set, 0,
        "INSERT INTO meta (key, value) VALUES (?1, ?2) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value");
SQL(balloon_mark_drop, 0, "DELETE FROM meta WHERE key = ?");

static int each_host(
        struct statement *s, void (*each)(void *arg, const char *host_id), void *arg, struct err *e)
{
	int rc;
	while ((rc = statement_step(s, e)) > 0)
		each(arg, statement_text(s, 0));
	return rc;
}

int balloon_store_changed_hosts(struct db *db, int64_t after, int64_t *ret_newest,
        void (*each)(void *arg, const char *host_id), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = change_newest(db, ret_newest, e);
	if (rc == 0)
		rc = db_query(db, &balloon_changed_hosts, SQL_BINDS(SQL_INT(after)), &s, e);
	return rc < 0 ? rc : each_host(s, each, arg, e);
}

int balloon_store_all_hosts(
        struct db *db, void (*each)(void *arg, const char *host_id), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &balloon_all_hosts, NULL, 0, &s, e);
	return rc < 0 ? rc : each_host(s, each, arg, e);
}

int balloon_store_get_host(struct db *db, const char *host_id,
        void (*each)(void *arg, const struct balloon_host_row *row), void *arg, bool *ret_found,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &balloon_host, SQL_BINDS(SQL_TEXT(host_id)), &s, e);
	if (rc < 0)
		return rc;
	*ret_found = rc > 0;
	if (rc == 0)
		return 0;
	const struct balloon_host_row row = {
	        .name = statement_text(s, 0),
	        .group_spec = statement_text(s, 1),
	        .ksm_mark = statement_text(s, 2),
	        .memory_bytes = statement_int(s, 3),
	};
	each(arg, &row);
	return 0;
}

int balloon_store_each_vm(struct db *db, const char *host_id,
        int (*each)(void *arg, const struct balloon_vm_row *row, struct err *e), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &balloon_vms, SQL_BINDS(SQL_TEXT(host_id)), &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) > 0) {
		const struct balloon_vm_row row = {
		        .id = statement_text(s, 0),
		        .name = statement_text(s, 1),
		        .spec = statement_text(s, 2),
		        .active_spec = statement_text(s, 3),
		        .managed = statement_int(s, 4) != 0,
		        .is_reserved = !statement_is_null(s, 5),
		        .is_starting = str_equal(statement_text(s, 5), "starting"),
		        .booked_bytes = statement_int(s, 6),
		        .overhead_bytes = statement_int(s, 7),
		        .is_throttled = statement_int(s, 8) != 0,
		};
		rc = each(arg, &row, e);
	}
	return rc;
}

int balloon_store_book(
        struct db *db, const char *host_id, const char *vm_id, int64_t booked_bytes, struct err *e)
{
	int rc = db_run(db, &balloon_book,
	        SQL_BINDS(SQL_TEXT(host_id), SQL_TEXT(vm_id), SQL_INT(booked_bytes)), e);
	if (rc == 0)
		change_touch(db, "vm", vm_id); /* the inventory has a copy */
	return rc;
}

int balloon_store_mark(struct db *db, const char *key, const char *value, struct err *e)
{
	if (!value)
		return db_run(db, &balloon_mark_drop, SQL_BINDS(SQL_TEXT(key)), e);
	return db_run(db, &balloon_mark_set, SQL_BINDS(SQL_TEXT(key), SQL_TEXT(value)), e);
}
