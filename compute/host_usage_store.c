/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on what refers to a host: its VMs, volumes and operations, as counts, sums and names. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "compute/host_store.h"

#define NAMES_SHOWN 5

SQL(host_usage_vms, 0,
        "SELECT 'VM ' || name FROM vm WHERE host_id = ? AND managed = 1 "
        "ORDER BY name");
SQL(host_usage_volumes, 0,
        "SELECT 'volume ' || name FROM volume WHERE host_id = ? "
        "ORDER BY name");
SQL(host_usage_operations, SQL_SCAN, /* of the unfinished ones only, by their partial index */
        "SELECT 'operation ' || kind || ' ' || id FROM operation "
        "WHERE ended_at = 0 AND (host_id = ?1 OR target_id = ?1) ORDER BY seq");
SQL(host_foreign_delete, 0, "DELETE FROM vm WHERE host_id = ? AND managed = 0 RETURNING id, name");
SQL(host_copies_delete, 0, "DELETE FROM layer WHERE host_id = ? AND image_id IS NOT NULL");
SQL(host_allocation_sum, 0,
        "SELECT count(*), coalesce(sum(vcpus), 0), coalesce(sum(memory_bytes), 0) FROM vm "
        "WHERE host_id = ? AND (managed = 1 OR power <> 'stopped')");

/* As scheduler/reservation.h adds them up; starting_bytes: floors, but whole sizes of what is about to start. */
#define SIZE "(CASE WHEN hugepages THEN 0 ELSE size_bytes END + overhead_bytes)"
#define FLOOR                                                                                      \
	"(CASE WHEN hugepages THEN 0 WHEN inflexible THEN booked_bytes ELSE min_bytes END + "      \
	"overhead_bytes)"
SQL(host_held_sum, 0,
        "SELECT count(*), coalesce(sum(vcpus), 0), coalesce(sum(" SIZE "), 0), "
        "coalesce(sum(" FLOOR "), 0), "
        "coalesce(sum(CASE WHEN state = 'starting' THEN " SIZE " ELSE " FLOOR " END), 0), "
        "coalesce(sum(CASE WHEN hugepages THEN 0 ELSE booked_bytes END + overhead_bytes), 0), "
        "coalesce(sum(overhead_bytes), 0) FROM reservation WHERE host_id = ?");

void host_usage_done(struct host_usage *usage)
{
	str_done(&usage->names);
}

static int count_named(struct db *db, const struct sql_text *sql, const char *id,
        int64_t *ret_count, struct str *names, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	*ret_count = 0;
	while ((rc = statement_step(s, e)) > 0)
		if (++*ret_count <= NAMES_SHOWN)
			str_printf(names, "%s%s", names->len ? ", " : "", statement_text(s, 0));
	if (*ret_count > NAMES_SHOWN)
		str_add(names, ", ...");
	return rc;
}

int host_store_get_usage(struct db *db, const char *id, struct host_usage *ret_usage, struct err *e)
{
	int rc = count_named(db, &host_usage_vms, id, &ret_usage->vms, &ret_usage->names, e);
	if (rc == 0)
		rc = count_named(
		        db, &host_usage_volumes, id, &ret_usage->volumes, &ret_usage->names, e);
	if (rc == 0)
		rc = count_named(db, &host_usage_operations, id, &ret_usage->operations,
		        &ret_usage->names, e);
	return rc;
}

int host_store_delete_foreign(struct db *db, const char *id,
        int (*each)(struct db *db, const char *id, const char *name, struct err *e), struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &host_foreign_delete, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		if ((rc = each(db, statement_text(s, 0), statement_text(s, 1), e)) < 0)
			return rc;
	return rc;
}

int host_store_forget_copies(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &host_copies_delete, SQL_BINDS(SQL_TEXT(id)), e);
}

static int get_held(struct db *db, const char *id, struct host_allocation *ret, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &host_held_sum, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	ret->held = statement_int(s, 0);
	ret->held_vcpus = statement_int(s, 1);
	ret->configured_bytes = statement_int(s, 2);
	ret->guaranteed_bytes = statement_int(s, 3);
	ret->starting_bytes = statement_int(s, 4);
	ret->booked_bytes = statement_int(s, 5);
	ret->overhead_bytes = statement_int(s, 6);
	return 0;
}

int host_store_get_allocation(
        struct db *db, const char *id, struct host_allocation *ret, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &host_allocation_sum, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	ret->vms = statement_int(s, 0);
	ret->vcpus = statement_int(s, 1);
	ret->memory_bytes = statement_int(s, 2);
	return get_held(db, id, ret, e);
}
