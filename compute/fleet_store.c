/* SPDX-License-Identifier: Apache-2.0 */
/* Counts for monitoring: full scans are meant. */
#include "compute/fleet_store.h"

#include "base/cleanup.h"
#include "compute/vm_store.h"

SQL(fleet_hosts, SQL_SCAN, "SELECT state, COUNT(*) FROM host GROUP BY state ORDER BY state");
SQL(fleet_vms, SQL_SCAN,
        "SELECT " VM_SQL_POWER " AS shown, COUNT(*) FROM vm JOIN host ON host.id = vm.host_id "
        "GROUP BY shown ORDER BY shown");

static int count(struct db *db, const struct sql_text *sql,
        void (*add)(void *arg, const char *value, int64_t n), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, NULL, 0, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1)
		add(arg, statement_text(s, 0), statement_int(s, 1));
	return rc;
}

int fleet_store_count_hosts(struct db *db, void (*add)(void *arg, const char *state, int64_t n),
        void *arg, struct err *e)
{
	return count(db, &fleet_hosts, add, arg, e);
}

int fleet_store_count_vms(struct db *db, void (*add)(void *arg, const char *power, int64_t n),
        void *arg, struct err *e)
{
	return count(db, &fleet_vms, add, arg, e);
}
