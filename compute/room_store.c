/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table reservation, and on what the inventory is filled from. */
#include "compute/room_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/field.h"
#include "base/str.h"
#include "base/vec.h"
#include "db/change_feed.h"

#define HELD_COLUMNS                                                                               \
	"r.state, r.size_bytes, r.min_bytes, r.booked_bytes, r.overhead_bytes, r.vcpus, "          \
	"r.max_vcpus, r.reservation_percent, r.dedicated, r.hugepages, r.inflexible"
#define N_HELD_COLUMNS 11

static const char *const state_names[] = {[RESERVATION_NONE] = "",
        [RESERVATION_STARTING] = "starting",
        [RESERVATION_RUNNING] = "running"};

void room_row_done(struct room_row *row)
{
	free(row->cpus);
	*row = (struct room_row){0};
}

/* The only column of the rows that belong to `id`. */
static int each_id(struct db *db, const struct sql_text *sql, const char *id,
        void (*each)(void *arg, const char *found), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_TEXT(id)), &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1)
		each(arg, statement_text(s, 0));
	return rc;
}

/* HELD_COLUMNS from column `at` on; NULL there means that nothing is held. */
static struct reservation read_held(struct statement *s, int at)
{
	const char *state = statement_text(s, at);
	if (!state)
		return (struct reservation){.state = RESERVATION_NONE};
	return (struct reservation){
	        .state = strcmp(state, state_names[RESERVATION_STARTING]) == 0
	                         ? RESERVATION_STARTING
	                         : RESERVATION_RUNNING,
	        .size_bytes = statement_int(s, at + 1),
	        .min_bytes = statement_int(s, at + 2),
	        .booked_bytes = statement_int(s, at + 3),
	        .overhead_bytes = statement_int(s, at + 4),
	        .vcpus = statement_int(s, at + 5),
	        .max_vcpus = statement_int(s, at + 6),
	        .reservation_percent = statement_int(s, at + 7),
	        .dedicated = statement_int(s, at + 8) != 0,
	        .hugepages = statement_int(s, at + 9) != 0,
	        .inflexible = statement_int(s, at + 10) != 0,
	};
}

SQL(reservation_get, 0,
        "SELECT " HELD_COLUMNS ", r.max_bytes, r.cpus, r.since, r.cpus_due FROM reservation r "
        "WHERE r.vm_id = ? AND r.host_id = ?");

int room_store_get(struct db *db, const char *vm_id, const char *host_id, struct room_row *ret_row,
        bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc =
	        db_find(db, &reservation_get, SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(host_id)), &s, e);
	*ret_found = rc == 1;
	if (rc <= 0)
		return rc;
	uuid_text_copy(ret_row->vm_id, vm_id);
	uuid_text_copy(ret_row->host_id, host_id);
	ret_row->held = read_held(s, 0);
	ret_row->max_bytes = statement_int(s, N_HELD_COLUMNS);
	ret_row->cpus = statement_text_copy(s, N_HELD_COLUMNS + 1);
	ret_row->since = statement_int(s, N_HELD_COLUMNS + 2);
	ret_row->cpus_due = statement_int(s, N_HELD_COLUMNS + 3);
	return 0;
}

SQL(reservation_put, 0,
        "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
        "booked_bytes, overhead_bytes, vcpus, max_vcpus, reservation_percent, dedicated, "
        "hugepages, inflexible, cpus, since, cpus_due) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) "
        "ON CONFLICT (vm_id, host_id) DO UPDATE SET state = ?3, size_bytes = ?4, min_bytes = ?5, "
        "max_bytes = ?6, booked_bytes = ?7, overhead_bytes = ?8, vcpus = ?9, max_vcpus = ?10, "
        "reservation_percent = ?11, dedicated = ?12, hugepages = ?13, inflexible = ?14, "
        "cpus = ?15, cpus_due = ?17");

int room_store_put(struct db *db, const struct room_row *row, struct err *e)
{
	const struct reservation *held = &row->held;
	int rc = db_run(db, &reservation_put,
	        SQL_BINDS(SQL_TEXT(row->vm_id), SQL_TEXT(row->host_id),
	                SQL_TEXT(state_names[held->state]), SQL_INT(held->size_bytes),
	                SQL_INT(held->min_bytes), SQL_INT(row->max_bytes),
	                SQL_INT(held->booked_bytes), SQL_INT(held->overhead_bytes),
	                SQL_INT(held->vcpus), SQL_INT(held->max_vcpus),
	                SQL_INT(held->reservation_percent), SQL_INT(held->dedicated),
	                SQL_INT(held->hugepages), SQL_INT(held->inflexible), SQL_TEXT(row->cpus),
	                SQL_INT(clock_wall_ms()), SQL_INT(row->cpus_due)),
	        e);
	change_touch(db, "vm", row->vm_id);
	return rc;
}

SQL(reservation_delete, 0, "DELETE FROM reservation WHERE vm_id = ? AND host_id = ?");

int room_store_delete(struct db *db, const char *vm_id, const char *host_id, struct err *e)
{
	change_touch(db, "vm", vm_id);
	return db_run(db, &reservation_delete, SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(host_id)), e);
}

SQL(reservation_giver, 0,
        "SELECT 1 FROM operation WHERE queue = ? AND ended_at = 0 "
        "AND kind IN ('vm.create', 'vm.start', 'snapshot.revert') LIMIT 1");

int room_store_has_giver(struct db *db, const char *vm_id, bool *ret_has, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &reservation_giver, SQL_BINDS(SQL_TEXT(vm_id)), &s, e);
	*ret_has = rc == 1;
	return rc < 0 ? rc : 0;
}

SQL(reservation_cpus, 0,
        "SELECT cpus, size_bytes FROM reservation WHERE host_id = ? AND vm_id <> ? AND cpus IS NOT "
        "NULL");

int room_store_each_cpus(struct db *db, const char *host_id, const char *but_vm_id,
        void (*each)(void *arg, const char *cpus, int64_t size_bytes), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(
	        db, &reservation_cpus, SQL_BINDS(SQL_TEXT(host_id), SQL_TEXT(but_vm_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1)
		each(arg, statement_text(s, 0), statement_int(s, 1));
	return rc;
}

SQL(reservation_on_host, 0,
        "SELECT " HELD_COLUMNS ", r.cpus, r.cpus_due, vm.id, "
        "vm.managed AND NOT vm.adopted AND vm.host_id = r.host_id "
        "FROM reservation r JOIN vm ON vm.id = r.vm_id WHERE r.host_id = ?");

int room_store_each_on_host(struct db *db, const char *host_id,
        void (*each)(void *arg, const struct room_row *row, bool is_ours), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &reservation_on_host, SQL_BINDS(SQL_TEXT(host_id)), &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1) {
		struct room_row row CLEANUP(room_row_done) = {.held = read_held(s, 0)};
		row.cpus = statement_text_copy(s, N_HELD_COLUMNS);
		row.cpus_due = statement_int(s, N_HELD_COLUMNS + 1);
		uuid_text_copy(row.vm_id, statement_text(s, N_HELD_COLUMNS + 2));
		uuid_text_copy(row.host_id, host_id);
		each(arg, &row, statement_int(s, N_HELD_COLUMNS + 3) != 0);
	}
	return rc;
}

SQL(reservation_set_cpus, 0,
        "UPDATE reservation SET cpus = ?3, cpus_due = ?4 WHERE vm_id = ?1 AND host_id = ?2");
SQL(reservation_make_due, 0,
        "UPDATE reservation SET cpus_due = cpus_due + 1 WHERE vm_id = ?1 AND host_id = ?2 "
        "AND (cpus IS NOT NULL OR ?3 = 0)");
SQL(reservation_make_all_due, 0,
        "UPDATE reservation SET cpus_due = cpus_due + 1 WHERE host_id = ? AND cpus IS NOT NULL "
        "AND state = 'running'");
SQL(reservation_clear_due, 0,
        "UPDATE reservation SET cpus_due = 0 WHERE vm_id = ? AND host_id = ? AND cpus = ? "
        "AND cpus_due = ?");
SQL(reservation_pinned_hosts, 0,
        "SELECT host_id FROM reservation WHERE vm_id = ? AND (dedicated = 1 OR cpus IS NOT NULL)");

int room_store_set_cpus(struct db *db, const struct room_row *row, struct err *e)
{
	return db_run(db, &reservation_set_cpus,
	        SQL_BINDS(SQL_TEXT(row->vm_id), SQL_TEXT(row->host_id), SQL_TEXT(row->cpus),
	                SQL_INT(row->cpus_due)),
	        e);
}

int room_store_make_cpus_due(
        struct db *db, const char *vm_id, const char *host_id, bool only_pinned, struct err *e)
{
	return db_run(db, &reservation_make_due,
	        SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(host_id), SQL_INT(only_pinned)), e);
}

int room_store_make_all_cpus_due(struct db *db, const char *host_id, struct err *e)
{
	return db_run(db, &reservation_make_all_due, SQL_BINDS(SQL_TEXT(host_id)), e);
}

int room_store_clear_cpus_due(struct db *db, const char *vm_id, const char *host_id,
        const char *cpus, int64_t cpus_due, struct err *e)
{
	return db_run(db, &reservation_clear_due,
	        SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(host_id), SQL_TEXT(cpus), SQL_INT(cpus_due)),
	        e);
}

int room_store_each_pinned_host(struct db *db, const char *vm_id,
        void (*each)(void *arg, const char *host_id), void *arg, struct err *e)
{
	return each_id(db, &reservation_pinned_hosts, vm_id, each, arg, e);
}

/* ---- the inventory's entries ---- */

/* One row for each host where the VM holds something; one with NULL if it holds nothing. */
#define ENTRY                                                                                      \
	"SELECT vm.id, vm.name, vm.host_id, vm.placement, vm.managed, r.host_id, " HELD_COLUMNS    \
	" FROM vm LEFT JOIN reservation r ON r.vm_id = vm.id "
SQL(room_entries_of_vm, 0, ENTRY "WHERE vm.id = ?");
SQL(room_entries, SQL_SCAN, ENTRY "ORDER BY vm.id");
SQL(room_labels, 0, "SELECT key, value FROM vm_label WHERE vm_id = ? ORDER BY key");

static void labels_done(struct field_labels *labels)
{
	for (size_t i = 0; i < labels->len; i++) {
		free(labels->items[i].key);
		free(labels->items[i].value);
	}
	free(labels->items);
	*labels = (struct field_labels){0};
}

static int read_labels(
        struct db *db, const char *vm_id, struct field_labels *ret_labels, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	VEC(struct field_label) found = {0};
	int rc = db_query(db, &room_labels, SQL_BINDS(SQL_TEXT(vm_id)), &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1) {
		const struct field_label label = {
		        statement_text_copy(s, 0), statement_text_copy(s, 1)};
		VEC_PUSH(&found, label);
	}
	*ret_labels = (struct field_labels){.items = found.items, .len = found.len};
	return rc;
}

static int tell_entry(struct db *db, struct statement *s,
        void (*each)(void *arg, const struct room_entry *entry), void *arg, struct err *e)
{
	const char *home = statement_text(s, 2), *held_on = statement_text(s, 5);
	struct room_entry entry = {
	        .vm_id = statement_text(s, 0),
	        .name = statement_text(s, 1),
	        .host_id = held_on ? held_on : home,
	        .placement = statement_text(s, 3),
	        .is_managed = statement_int(s, 4) != 0,
	        .held = read_held(s, 6),
	};
	int rc = read_labels(db, entry.vm_id, &entry.labels, e);
	if (rc == 0)
		each(arg, &entry);
	labels_done(&entry.labels);
	return rc;
}

int room_store_each_entry(struct db *db, const char *vm_id,
        void (*each)(void *arg, const struct room_entry *entry), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = vm_id ? db_query(db, &room_entries_of_vm, SQL_BINDS(SQL_TEXT(vm_id)), &s, e)
	               : db_query(db, &room_entries, NULL, 0, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1)
		rc = tell_entry(db, s, each, arg, e);
	return rc;
}

/* ---- pools ---- */

SQL(room_broken_pools, 0, "SELECT pool_id FROM pool_host WHERE host_id = ? AND state = 'error'");
SQL(room_pools, SQL_SCAN, "SELECT id, name, spec FROM pool");

int room_store_each_broken_pool(struct db *db, const char *host_id,
        void (*each)(void *arg, const char *pool_id), void *arg, struct err *e)
{
	return each_id(db, &room_broken_pools, host_id, each, arg, e);
}

int room_store_each_pool(struct db *db,
        void (*each)(void *arg, const char *id, const char *name, const char *spec), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &room_pools, NULL, 0, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1)
		each(arg, statement_text(s, 0), statement_text(s, 1), statement_text(s, 2));
	return rc;
}

SQL(room_vms, SQL_SCAN, "SELECT id, coalesce(active_spec, spec) FROM vm ORDER BY id");

int room_store_each_vm(struct db *db,
        int (*each)(struct db *db, const char *id, const char *spec, struct err *e), struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &room_vms, NULL, 0, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1)
		rc = each(db, statement_text(s, 0), statement_text(s, 1), e);
	return rc;
}
