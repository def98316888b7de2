/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on tables snapshot and snapshot_disk. */
#include "compute/snapshot_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

#define COLUMNS                                                                                    \
	"SELECT snapshot.id, snapshot.vm_id, snapshot.parent_id, snapshot.memory_pool_id, "        \
	"snapshot.group_id, snapshot.policy_id, snapshot.name, snapshot.description, "             \
	"snapshot.vm_spec, snapshot.memory_file, parent.name, snapshot.kind, snapshot.state, "     \
	"snapshot.power, snapshot.quiesced, vm.snapshot_id IS snapshot.id, "                       \
	"snapshot.memory_bytes, "                                                                  \
	"(SELECT coalesce(sum(layer.allocation_bytes), 0) FROM snapshot_disk "                     \
	"JOIN layer ON layer.id = snapshot_disk.layer_id "                                         \
	"WHERE snapshot_disk.snapshot_id = snapshot.id), "                                         \
	"snapshot.expires_at, snapshot.version, snapshot.created_at "                              \
	"FROM snapshot JOIN vm ON vm.id = snapshot.vm_id "                                         \
	"LEFT JOIN snapshot parent ON parent.id = snapshot.parent_id "

SQL(snapshot_by_name, 0, COLUMNS "WHERE snapshot.vm_id = ?1 AND snapshot.name = ?2");
SQL(snapshot_by_id, 0, COLUMNS "WHERE snapshot.vm_id = ?1 AND snapshot.id = ?2");
SQL(snapshot_of_vm, 0,
        COLUMNS "WHERE snapshot.vm_id = ?1 ORDER BY snapshot.created_at, snapshot.id");
SQL(snapshot_insert_row, 0,
        "INSERT INTO snapshot (id, vm_id, name, description, parent_id, vm_spec, memory_pool_id, "
        "memory_file, group_id, policy_id, kind, power, quiesced, expires_at, created_at, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating')");
SQL(snapshot_insert_disk, 0,
        "INSERT INTO snapshot_disk (snapshot_id, disk, volume_id, layer_id) VALUES (?, ?, ?, ?)");
SQL(snapshot_disks, 0,
        "SELECT snapshot_disk.disk, snapshot_disk.volume_id, snapshot_disk.layer_id, "
        "layer.allocation_bytes FROM snapshot_disk "
        "JOIN layer ON layer.id = snapshot_disk.layer_id "
        "WHERE snapshot_disk.snapshot_id = ? ORDER BY snapshot_disk.disk");
SQL(snapshot_state_set, 0, "UPDATE snapshot SET state = ?2, version = version + 1 WHERE id = ?1");
SQL(snapshot_set_origin, 0,
        "UPDATE snapshot SET parent_id = ?2, vm_spec = ?3, memory_pool_id = ?4, memory_file = ?5, "
        "kind = ?6, power = ?7 WHERE id = ?1");
SQL(snapshot_set_taken, 0,
        "UPDATE snapshot SET kind = ?2, power = ?3, quiesced = ?4, memory_bytes = ?5 WHERE id = "
        "?1");
SQL(snapshot_update_row, 0,
        "UPDATE snapshot SET name = ?2, description = ?3, expires_at = ?4, version = version + 1 "
        "WHERE id = ?1");
SQL(snapshot_drop_memory, 0,
        "UPDATE snapshot SET memory_file = NULL, memory_pool_id = NULL, memory_bytes = 0 "
        "WHERE id = ?1");
SQL(snapshot_reparent_children, 0,
        "UPDATE snapshot SET parent_id = ?2, version = version + 1 WHERE parent_id = ?1");
SQL(snapshot_reparent_vm, 0, "UPDATE vm SET snapshot_id = ?2 WHERE snapshot_id = ?1");
SQL(snapshot_delete_row, 0, "DELETE FROM snapshot WHERE id = ?");
SQL(snapshot_delete_all, 0, "DELETE FROM snapshot WHERE vm_id = ?");
SQL(snapshot_current, 0, "SELECT coalesce(snapshot_id, '') FROM vm WHERE id = ?");
SQL(snapshot_set_current, 0, "UPDATE vm SET snapshot_id = ?2 WHERE id = ?1");
SQL(snapshot_holds, 0,
        "SELECT count(*) FROM snapshot_disk JOIN snapshot ON snapshot.id = "
        "snapshot_disk.snapshot_id "
        "WHERE snapshot_disk.layer_id = ? AND snapshot.state <> 'deleting'");
SQL(snapshot_release_layer, 0,
        "DELETE FROM snapshot_disk WHERE layer_id = ?1 AND EXISTS "
        "(SELECT 1 FROM snapshot WHERE snapshot.id = snapshot_disk.snapshot_id "
        "AND snapshot.state = 'deleting')");
SQL(snapshot_forget_empty, 0,
        "DELETE FROM snapshot WHERE vm_id = ?1 AND state = 'deleting' AND memory_file IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM snapshot_disk "
        "WHERE snapshot_disk.snapshot_id = snapshot.id)");
SQL(snapshot_released_layers, 0,
        "SELECT DISTINCT snapshot_disk.layer_id FROM snapshot "
        "JOIN snapshot_disk ON snapshot_disk.snapshot_id = snapshot.id "
        "WHERE snapshot.vm_id = ?1 AND snapshot.state = 'deleting'");
SQL(snapshot_volumes, 0,
        "SELECT id FROM volume WHERE vm_id = ?1 UNION "
        "SELECT snapshot_disk.volume_id FROM snapshot "
        "JOIN snapshot_disk ON snapshot_disk.snapshot_id = snapshot.id WHERE snapshot.vm_id = ?1");
SQL(snapshot_sweepable, 0,
        "SELECT DISTINCT vm.id FROM snapshot JOIN vm ON vm.id = snapshot.vm_id "
        "JOIN host ON host.id = vm.host_id "
        "WHERE snapshot.state = 'deleting' AND vm.power = 'stopped' "
        "AND (vm.power_since >= ?1 OR host.state_since >= ?1)");
SQL(snapshot_children, 0, "SELECT name FROM snapshot WHERE parent_id = ? ORDER BY created_at, id");

void snapshot_row_done(struct snapshot_row *row)
{
	free(row->name);
	free(row->description);
	free(row->vm_spec);
	free(row->memory_file);
	free(row->parent);
	*row = (struct snapshot_row){0};
}

void snapshot_disks_done(struct snapshot_disks *disks)
{
	free(disks->items);
	*disks = (struct snapshot_disks){0};
}

static void read_id(struct statement *s, int column, char ret_id[UUID_TEXT_SIZE])
{
	const char *text = statement_text(s, column);
	snprintf(ret_id, UUID_TEXT_SIZE, "%s", text ? text : "");
}

/* The index of a name in a NULL-terminated table; the rows hold no others. */
static int index_of(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (str_equal(names[i], name))
			return i;
	return 0;
}

static void read_row(struct statement *s, struct snapshot_row *row)
{
	read_id(s, 0, row->id);
	read_id(s, 1, row->vm_id);
	read_id(s, 2, row->parent_id);
	read_id(s, 3, row->memory_pool_id);
	read_id(s, 4, row->group_id);
	read_id(s, 5, row->policy_id);
	row->name = statement_text_copy(s, 6);
	row->description = statement_text_copy(s, 7);
	row->vm_spec = statement_text_copy(s, 8);
	row->memory_file = statement_text_copy(s, 9);
	row->parent = statement_text_copy(s, 10);
	row->kind = (enum snapshot_kind)index_of(snapshot_kind_names, statement_text(s, 11));
	row->state = (enum snapshot_state)index_of(snapshot_state_names, statement_text(s, 12));
	row->power = vm_power_from_name(statement_text(s, 13));
	row->quiesced = statement_int(s, 14) != 0;
	row->is_current = statement_int(s, 15) != 0;
	row->memory_bytes = statement_int(s, 16);
	row->disk_bytes = statement_int(s, 17);
	row->expires_at = statement_int(s, 18);
	row->version = statement_int(s, 19);
	row->created_at = statement_int(s, 20);
}

int snapshot_store_get(struct db *db, const char *vm_id, const char *name_or_id,
        struct snapshot_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_text *sql =
	        uuid_is_shaped(name_or_id) ? &snapshot_by_id : &snapshot_by_name;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(name_or_id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "the VM has no snapshot named \"%s\"", name_or_id);
	read_row(s, ret_row);
	return 0;
}

int snapshot_store_list(struct db *db, const char *vm_id, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, "snapshot.vm_id", vm_id, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
		read_row(s, &row);
		if ((rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

int snapshot_store_of_vm(struct db *db, const char *vm_id, struct snapshot_row **ret_rows,
        size_t *ret_n, struct err *e)
{
	VEC(struct snapshot_row) rows = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &snapshot_of_vm, SQL_BINDS(SQL_TEXT(vm_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct snapshot_row row = {0};
		read_row(s, &row);
		VEC_PUSH(&rows, row);
	}
	if (rc < 0) {
		VEC_FOR_EACH (&rows, row)
			snapshot_row_done(row);
		VEC_DONE(&rows);
		return rc;
	}
	*ret_rows = rows.items;
	*ret_n = rows.len;
	return 0;
}

int snapshot_store_insert(struct db *db, const struct snapshot_insert *row, struct err *e)
{
	return db_run(db, &snapshot_insert_row,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->vm_id), SQL_TEXT(row->name),
	                SQL_TEXT(row->description), SQL_TEXT(row->parent_id),
	                SQL_TEXT(row->vm_spec), SQL_TEXT(row->memory_pool_id),
	                SQL_TEXT(row->memory_file), SQL_TEXT(row->group_id),
	                SQL_TEXT(row->policy_id), SQL_TEXT(snapshot_kind_names[row->kind]),
	                SQL_TEXT(vm_power_names[row->power]), SQL_INT(row->quiesced),
	                SQL_INT(row->expires_at), SQL_INT(row->created_at)),
	        e);
}

int snapshot_store_add_disk(struct db *db, const char *id, const char *disk, const char *volume_id,
        const char *layer_id, struct err *e)
{
	return db_run(db, &snapshot_insert_disk,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(disk), SQL_TEXT(volume_id), SQL_TEXT(layer_id)),
	        e);
}

int snapshot_store_disks(
        struct db *db, const char *id, struct snapshot_disks *ret_disks, struct err *e)
{
	VEC(struct snapshot_disk) disks = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &snapshot_disks, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct snapshot_disk disk = {.allocation_bytes = statement_int(s, 3)};
		snprintf(disk.disk, sizeof(disk.disk), "%s", statement_text(s, 0));
		read_id(s, 1, disk.volume_id);
		read_id(s, 2, disk.layer_id);
		VEC_PUSH(&disks, disk);
	}
	if (rc < 0)
		VEC_DONE(&disks);
	else
		*ret_disks = (struct snapshot_disks){.items = disks.items, .len = disks.len};
	return rc;
}

int snapshot_store_set_state(
        struct db *db, const char *id, enum snapshot_state state, struct err *e)
{
	return db_run(db, &snapshot_state_set,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(snapshot_state_names[state])), e);
}

int snapshot_store_set_origin(struct db *db, const struct snapshot_insert *row, struct err *e)
{
	return db_run(db, &snapshot_set_origin,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->parent_id), SQL_TEXT(row->vm_spec),
	                SQL_TEXT(row->memory_pool_id), SQL_TEXT(row->memory_file),
	                SQL_TEXT(snapshot_kind_names[row->kind]),
	                SQL_TEXT(vm_power_names[row->power])),
	        e);
}

int snapshot_store_set_taken(
        struct db *db, const char *id, const struct snapshot_taken *taken, struct err *e)
{
	return db_run(db, &snapshot_set_taken,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(snapshot_kind_names[taken->kind]),
	                SQL_TEXT(vm_power_names[taken->power]), SQL_INT(taken->quiesced),
	                SQL_INT(taken->memory_bytes)),
	        e);
}

int snapshot_store_update(struct db *db, const char *id, const char *name, const char *description,
        int64_t expires_at, struct err *e)
{
	return db_run(db, &snapshot_update_row,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(description), SQL_INT(expires_at)),
	        e);
}

int snapshot_store_drop_memory(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &snapshot_drop_memory, SQL_BINDS(SQL_TEXT(id)), e);
}

int snapshot_store_reparent(struct db *db, const char *id, const char *parent_id, struct err *e)
{
	int rc = db_run(
	        db, &snapshot_reparent_children, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(parent_id)), e);
	return rc < 0 ? rc
	              : db_run(db, &snapshot_reparent_vm,
	                        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(parent_id)), e);
}

int snapshot_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &snapshot_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int snapshot_store_delete_all(struct db *db, const char *vm_id, struct err *e)
{
	return db_run(db, &snapshot_delete_all, SQL_BINDS(SQL_TEXT(vm_id)), e);
}

int snapshot_store_get_current(
        struct db *db, const char *vm_id, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, snapshot_current.text, &s, e);
	ret_id[0] = '\0';
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, vm_id);
	rc = statement_step(s, e);
	if (rc > 0)
		read_id(s, 0, ret_id);
	return rc < 0 ? rc : 0;
}

int snapshot_store_set_current(struct db *db, const char *vm_id, const char *id, struct err *e)
{
	return db_run(db, &snapshot_set_current, SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(id)), e);
}

int snapshot_store_is_held(struct db *db, const char *layer_id, bool *ret_is_held, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &snapshot_holds, SQL_BINDS(SQL_TEXT(layer_id)), &s, e);
	if (rc > 0)
		*ret_is_held = statement_int(s, 0) > 0;
	return rc < 0 ? rc : 0;
}

int snapshot_store_release_layer(struct db *db, const char *layer_id, struct err *e)
{
	return db_run(db, &snapshot_release_layer, SQL_BINDS(SQL_TEXT(layer_id)), e);
}

int snapshot_store_forget_empty(struct db *db, const char *vm_id, struct err *e)
{
	return db_run(db, &snapshot_forget_empty, SQL_BINDS(SQL_TEXT(vm_id)), e);
}

/* ---- lists of texts ---- */

static int read_texts(struct statement *s, char ***ret_texts, size_t *ret_n, struct err *e)
{
	VEC(char *) texts = {0};
	int rc;
	while ((rc = statement_step(s, e)) > 0)
		VEC_PUSH(&texts, statement_text_copy(s, 0));
	if (rc < 0) {
		VEC_FOR_EACH (&texts, text)
			free(*text);
		VEC_DONE(&texts);
		return rc;
	}
	*ret_texts = texts.items;
	*ret_n = texts.len;
	return 0;
}

static int list_texts(struct db *db, const struct sql_text *sql, const char *id, char ***ret_texts,
        size_t *ret_n, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	return read_texts(s, ret_texts, ret_n, e);
}

int snapshot_store_released_layers(
        struct db *db, const char *vm_id, char ***ret_ids, size_t *ret_n, struct err *e)
{
	return list_texts(db, &snapshot_released_layers, vm_id, ret_ids, ret_n, e);
}

int snapshot_store_volumes(
        struct db *db, const char *vm_id, char ***ret_ids, size_t *ret_n, struct err *e)
{
	return list_texts(db, &snapshot_volumes, vm_id, ret_ids, ret_n, e);
}

int snapshot_store_children(
        struct db *db, const char *id, char ***ret_names, size_t *ret_n, struct err *e)
{
	return list_texts(db, &snapshot_children, id, ret_names, ret_n, e);
}

int snapshot_store_sweepable(
        struct db *db, int64_t since_ms, char ***ret_ids, size_t *ret_n, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &snapshot_sweepable, SQL_BINDS(SQL_INT(since_ms)), &s, e);
	if (rc < 0)
		return rc;
	return read_texts(s, ret_ids, ret_n, e);
}
