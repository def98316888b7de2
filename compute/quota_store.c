/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of quotas. */
#include "compute/quota_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"

#define COLUMNS                                                                                    \
	"SELECT quota.id, quota.name, quota.spec, quota.version, quota.created_at FROM quota "

SQL(quota_by_id, 0, COLUMNS "WHERE id = ?");
SQL(quota_by_name, 0, COLUMNS "WHERE name = ?");
SQL(quota_insert, 0, "INSERT INTO quota (id, name, spec, created_at) VALUES (?, ?, ?, ?)");
SQL(quota_update_row, 0,
        "UPDATE quota SET name = ?2, spec = ?3, version = version + 1 WHERE id = ?1");
SQL(quota_delete_row, 0, "DELETE FROM quota WHERE id = ?");

static int read_row(struct statement *s, struct quota_row *row, struct err *e)
{
	uuid_text_copy(row->id, statement_text(s, 0));
	int rc = quota_load(statement_text(s, 2), &row->spec, e);
	str_replace(&row->spec.name, statement_text(s, 1));
	row->version = statement_int(s, 3);
	row->created_at = statement_int(s, 4);
	return rc;
}

int quota_store_get(struct db *db, const char *name_or_id, struct quota_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, uuid_is_shaped(name_or_id) ? &quota_by_id : &quota_by_name,
	        SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc < 0)
		return rc;
	return rc == 1 ? read_row(s, ret_row, e)
	               : err_set(e, ERR_NOT_FOUND, "no quota named %s", name_or_id);
}

int quota_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct quota_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) > 0) {
		struct quota_row row CLEANUP(quota_row_done) = {0};
		if ((rc = read_row(s, &row, e)) == 0)
			rc = each(arg, &row);
	}
	return rc;
}

int quota_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        int64_t created_at, struct err *e)
{
	return db_run(db, &quota_insert,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec), SQL_INT(created_at)), e);
}

int quota_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e)
{
	return db_run(
	        db, &quota_update_row, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec)), e);
}

int quota_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &quota_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

/* ---- usage ---- */

/* The VMs of the rarest of several labels cannot be known beforehand: those of the first are looked through. */
SQL(quota_vms, SQL_SCAN,
        "SELECT vm.id, vm.vcpus, vm.memory_bytes, (SELECT coalesce(sum(size_bytes), 0) FROM volume "
        "WHERE vm_id = vm.id) FROM vm WHERE vm.managed = 1");
SQL(quota_vms_labelled, 0,
        "SELECT vm.id, vm.vcpus, vm.memory_bytes, (SELECT coalesce(sum(size_bytes), 0) FROM volume "
        "WHERE vm_id = vm.id) FROM vm_label JOIN vm ON vm.id = vm_label.vm_id "
        "WHERE vm_label.key = ?1 AND vm_label.value = ?2 AND vm.managed = 1");
SQL(quota_vm_label, 0, "SELECT 1 FROM vm_label WHERE vm_id = ?1 AND key = ?2 AND value = ?3");

/* Whether the VM carries the labels from that one on. */
static int has_labels(struct db *db, const char *vm_id, const struct field_labels *labels,
        size_t first, bool *ret, struct err *e)
{
	int rc = 1;
	for (size_t i = first; i < labels->len && rc == 1; i++) {
		struct statement *s CLEANUP(statement_done) = NULL;
		rc = db_find(db, &quota_vm_label,
		        SQL_BINDS(SQL_TEXT(vm_id), SQL_TEXT(labels->items[i].key),
		                SQL_TEXT(labels->items[i].value)),
		        &s, e);
	}
	*ret = rc == 1;
	return rc < 0 ? rc : 0;
}

static int query_vms(struct db *db, const struct field_labels *labels,
        struct statement **ret_statement, struct err *e)
{
	if (labels->len == 0)
		return db_query(db, &quota_vms, NULL, 0, ret_statement, e);
	return db_query(db, &quota_vms_labelled,
	        SQL_BINDS(SQL_TEXT(labels->items[0].key), SQL_TEXT(labels->items[0].value)),
	        ret_statement, e);
}

/* What its volumes will have when their resizes have ended is taken already. */
struct growing_volumes {
	struct db *db;
	const struct field_labels *labels;
	struct quota_usage *sum;
};

static int add_growing(void *arg, const struct pool_growing *growing, struct err *e)
{
	const struct growing_volumes *all = arg;
	bool counts = false;
	int rc = growing->vm_id[0] ? has_labels(all->db, growing->vm_id, all->labels, 0, &counts, e)
	                           : 0;
	if (counts)
		all->sum->disk_bytes += growing->more_bytes;
	return rc;
}

int quota_store_usage(struct db *db, const struct field_labels *labels,
        struct quota_usage *ret_usage, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	struct quota_usage sum = {0};
	int rc = query_vms(db, labels, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1) {
		bool counts = false;
		rc = has_labels(db, statement_text(s, 0), labels, 1, &counts, e);
		if (!counts)
			continue;
		sum.vms++;
		sum.vcpus += statement_int(s, 1);
		sum.memory_bytes += statement_int(s, 2);
		sum.disk_bytes += statement_int(s, 3);
	}
	struct growing_volumes growing = {.db = db, .labels = labels, .sum = &sum};
	if (rc >= 0)
		rc = pool_store_each_growing(db, NULL, NULL, add_growing, &growing, e);
	*ret_usage = sum;
	return rc;
}
