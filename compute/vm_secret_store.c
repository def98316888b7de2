/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table vm_secret. */
#include "compute/vm_store.h"

SQL(secret_put, 0,
        "INSERT INTO vm_secret (vm_id, name, value) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (vm_id, name) DO UPDATE SET value = excluded.value");
SQL(secret_delete, 0, "DELETE FROM vm_secret WHERE vm_id = ?1 AND name = ?2");
SQL(secret_get, 0, "SELECT value FROM vm_secret WHERE vm_id = ?1 AND name = ?2");

int vm_store_set_secret(
        struct db *db, const char *id, const char *name, const char *value, struct err *e)
{
	const struct sql_bind binds[] = {SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(value)};
	return value ? db_run(db, &secret_put, binds, 3, e)
	             : db_run(db, &secret_delete, binds, 2, e);
}

int vm_store_get_secret(
        struct db *db, const char *id, const char *name, char **ret_value, struct err *e)
{
	int rc = db_find_text(
	        db, &secret_get, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name)), ret_value, e);
	return rc < 0 ? rc : 0;
}
