/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on what surrounds volumes. */
#include "storage/volume_work_store.h"

#include <stdlib.h>

#include "base/cleanup.h"

SQL(volume_work_vm, 0, "SELECT name, power, host_id FROM vm WHERE id = ?");
SQL(volume_work_host_uri, 0, "SELECT uri FROM host WHERE id = ?");
SQL(volume_work_snapshots, 0,
        "SELECT snapshot.id, snapshot.name FROM snapshot_disk "
        "JOIN snapshot ON snapshot.id = snapshot_disk.snapshot_id "
        "WHERE snapshot_disk.layer_id = ? ORDER BY snapshot.created_at, snapshot.id");
SQL(volume_work_allocation, 0,
        "SELECT coalesce(sum(allocation_bytes), 0) FROM layer WHERE volume_id = ?");

void volume_vm_done(struct volume_vm *vm)
{
	free(vm->name);
	free(vm->power);
	*vm = (struct volume_vm){0};
}

int volume_store_get_vm(struct db *db, const char *vm_id, struct volume_vm *ret_vm, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &volume_work_vm, SQL_BINDS(SQL_TEXT(vm_id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no VM with id %s", vm_id);
	ret_vm->name = statement_text_copy(s, 0);
	ret_vm->power = statement_text_copy(s, 1);
	uuid_text_copy(ret_vm->host_id, statement_text(s, 2));
	return 0;
}

int volume_store_host_uri(struct db *db, const char *host_id, char **ret_uri, struct err *e)
{
	int rc = db_find_text(db, &volume_work_host_uri, SQL_BINDS(SQL_TEXT(host_id)), ret_uri, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no host with id %s", host_id);
	return rc < 0 ? rc : 0;
}

int volume_store_layer_snapshots(struct db *db, const char *layer_id,
        void (*each)(void *arg, const char *id, const char *name), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &volume_work_snapshots, SQL_BINDS(SQL_TEXT(layer_id)), &s, e);
	for (; rc > 0; rc = statement_step(s, e))
		each(arg, statement_text(s, 0), statement_text(s, 1));
	return rc;
}

int volume_store_allocation(struct db *db, const char *volume_id, int64_t *ret_bytes, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &volume_work_allocation, SQL_BINDS(SQL_TEXT(volume_id)), &s, e);
	if (rc < 0)
		return rc;
	*ret_bytes = statement_int(s, 0);
	return 0;
}
