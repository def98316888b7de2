/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of freeze guards. */
#include "compute/freeze_guard_store.h"

#include "base/cleanup.h"

SQL(freeze_guard_put, 0,
        "INSERT INTO freeze_guard (operation_id, vm_id, host_id, pid, pid_start, started_at) "
        "VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (operation_id, vm_id) DO UPDATE SET pid = excluded.pid, "
        "pid_start = excluded.pid_start, started_at = excluded.started_at");
SQL(freeze_guard_remove, 0,
        "DELETE FROM freeze_guard WHERE operation_id = ? AND vm_id = ? AND pid = ? AND "
        "pid_start = ?");
SQL(freeze_guard_all, SQL_SCAN,
        "SELECT operation_id, vm_id, host_id, pid, pid_start, started_at FROM freeze_guard");

int freeze_guard_store_put(struct db *db, const struct freeze_guard_row *row, struct err *e)
{
	return db_run(db, &freeze_guard_put,
	        SQL_BINDS(SQL_TEXT(row->operation_id), SQL_TEXT(row->vm_id), SQL_TEXT(row->host_id),
	                SQL_INT(row->pid), SQL_INT(row->pid_start), SQL_INT(row->started_at)),
	        e);
}

int freeze_guard_store_remove(struct db *db, const struct freeze_guard_row *row, struct err *e)
{
	return db_run(db, &freeze_guard_remove,
	        SQL_BINDS(SQL_TEXT(row->operation_id), SQL_TEXT(row->vm_id), SQL_INT(row->pid),
	                SQL_INT(row->pid_start)),
	        e);
}

int freeze_guard_store_each(struct db *db,
        void (*each)(void *arg, const struct freeze_guard_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, freeze_guard_all.text, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1) {
		struct freeze_guard_row row = {.pid = statement_int(s, 3),
		        .pid_start = statement_int(s, 4),
		        .started_at = statement_int(s, 5)};
		uuid_text_copy(row.operation_id, statement_text(s, 0));
		uuid_text_copy(row.vm_id, statement_text(s, 1));
		uuid_text_copy(row.host_id, statement_text(s, 2));
		each(arg, &row);
	}
	return rc;
}
