/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table vm_secret. */
#include "base/cleanup.h"
#include "compute/vm_store.h"

SQL(secret_put, 0,
        "INSERT INTO vm_secret (vm_id, name, value) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (vm_id, name) DO UPDATE SET value = excluded.value");
SQL(secret_delete, 0, "DELETE FROM vm_secret WHERE vm_id = ?1 AND name = ?2");
SQL(secret_get, 0, "SELECT value FROM vm_secret WHERE vm_id = ?1 AND name = ?2");

int vm_store_set_secret(
        struct db *db, const char *id, const char *name, const char *value, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, value ? secret_put.text : secret_delete.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	statement_bind_text(s, 2, name);
	if (value)
		statement_bind_text(s, 3, value);
	return statement_run(s, e);
}

int vm_store_get_secret(
        struct db *db, const char *id, const char *name, char **ret_value, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, secret_get.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	statement_bind_text(s, 2, name);
	rc = statement_step(s, e);
	if (rc > 0)
		*ret_value = statement_text_copy(s, 0);
	return rc < 0 ? rc : 0;
}
