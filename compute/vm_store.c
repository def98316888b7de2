/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL on tables vm and vm_nic. */
#include "compute/vm_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/str.h"
#include "network/mac.h"

#define VM_COLUMNS                                                                                 \
	"vm.id, vm.host_id, vm.name, host.name, host_group.name, vm.spec, vm.active_spec, "        \
	"vm.pending, vm.power_reason, vm.guest, vm.managed, vm.adopted, "                          \
	"vm.deletion_protection, " VM_SQL_POWER                                                    \
	", vm.power, vm.desired_power, " VM_SQL_POWER_SINCE                                        \
	", vm.version, vm.created_at, vm.vcpus, vm.memory_bytes "
#define VM_FROM                                                                                    \
	"FROM vm JOIN host ON host.id = vm.host_id JOIN host_group ON host_group.id = "            \
	"host.host_group "

SQL(vm_by_id, 0, "SELECT " VM_COLUMNS VM_FROM "WHERE vm.id = ?");
SQL(vm_by_managed_name, 0, "SELECT " VM_COLUMNS VM_FROM "WHERE vm.name = ? AND vm.managed = 1");
SQL(vm_by_foreign_name, 0,
        "SELECT " VM_COLUMNS VM_FROM "WHERE vm.name = ? AND vm.managed = 0 LIMIT 2");

void vm_row_done(struct vm_row *row)
{
	free(row->texts);
	*row = (struct vm_row){0};
}

/* The row as the statement holds it: its texts are good until the next step. */
static void borrow_row(struct statement *s, struct vm_row *row)
{
	uuid_text_copy(row->id, statement_text(s, 0));
	uuid_text_copy(row->host_id, statement_text(s, 1));
	row->name = statement_text(s, 2);
	row->host = statement_text(s, 3);
	row->host_group = statement_text(s, 4);
	row->spec = statement_text(s, 5);
	row->active_spec = statement_text(s, 6);
	row->pending = statement_text(s, 7);
	row->power_reason = statement_text(s, 8);
	row->guest = statement_text(s, 9);
	row->managed = statement_int(s, 10) != 0;
	row->adopted = statement_int(s, 11) != 0;
	row->deletion_protection = statement_int(s, 12) != 0;
	row->power = vm_power_from_name(statement_text(s, 13));
	row->recorded_power = vm_power_from_name(statement_text(s, 14));
	row->desired_power = vm_power_from_name(statement_text(s, 15));
	row->power_since = statement_int(s, 16);
	row->version = statement_int(s, 17);
	row->created_at = statement_int(s, 18);
	row->vcpus = statement_int(s, 19);
	row->memory_bytes = statement_int(s, 20);
}

/* All texts in one piece of memory: this is how every GET begins. */
static void read_row(struct statement *s, struct vm_row *row)
{
	borrow_row(s, row);
	const char **const texts[] = {&row->name, &row->host, &row->host_group, &row->spec,
	        &row->active_spec, &row->pending, &row->power_reason, &row->guest};
	size_t sizes[ARRAY_LEN(texts)], all = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		all += sizes[i] = *texts[i] ? strlen(*texts[i]) + 1 : 0;
	char *to = row->texts = xcalloc(1, all);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!*texts[i])
			continue;
		*texts[i] = memcpy(to, *texts[i], sizes[i]);
		to += sizes[i];
	}
}

int vm_store_find(
        struct db *db, const char *id, struct vm_row *ret_row, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &vm_by_id, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	*ret_found = rc == 1;
	if (rc == 1)
		read_row(s, ret_row);
	return 0;
}

/* The first row of that name; 1 if there are more of them, which only foreign ones can be. */
static int read_named(struct db *db, const struct sql_text *sql, const char *name,
        struct vm_row *ret_row, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(name)), &s, e);
	*ret_found = rc == 1;
	if (rc <= 0)
		return rc;
	struct vm_row row = {0};
	read_row(s, &row);
	rc = statement_step(s, e);
	if (rc == 0)
		*ret_row = row;
	else
		vm_row_done(&row);
	return rc;
}

static int get_by_name(struct db *db, const char *name, struct vm_row *ret_row, struct err *e)
{
	bool found = false;
	int rc = read_named(db, &vm_by_managed_name, name, ret_row, &found, e);
	if (rc == 0 && !found)
		rc = read_named(db, &vm_by_foreign_name, name, ret_row, &found, e);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return err_set(
		        e, ERR_CONFLICT, "several foreign VMs are named %s: use the id", name);
	return found ? 0 : err_set(e, ERR_NOT_FOUND, "there is no VM named %s", name);
}

int vm_store_get(struct db *db, const char *name_or_id, struct vm_row *ret_row, struct err *e)
{
	if (!uuid_is_shaped(name_or_id))
		return get_by_name(db, name_or_id, ret_row, e);
	bool found = false;
	int rc = vm_store_find(db, name_or_id, ret_row, &found, e);
	if (rc < 0)
		return rc;
	return found ? 0 : err_set(e, ERR_NOT_FOUND, "there is no VM with the id %s", name_or_id);
}

int vm_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct vm_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, "SELECT " VM_COLUMNS VM_FROM, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1) {
		struct vm_row row = {0};
		borrow_row(s, &row);
		rc = each(arg, &row);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* ---- copies of the configuration, to select by ---- */

SQL(label_delete, 0, "DELETE FROM vm_label WHERE vm_id = ?");
SQL(label_insert, 0, "INSERT INTO vm_label (vm_id, key, value) VALUES (?, ?, ?)");
SQL(vm_update_placement, 0, "UPDATE vm SET placement = ?2 WHERE id = ?1");

static bool has_rules(const struct vm_spec *spec)
{
	return spec->placement.affinity.len + spec->placement.anti_affinity.len > 0;
}

int vm_store_set_copies(struct db *db, const char *id, const struct vm_spec *spec, struct err *e)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	if (has_rules(spec))
		field_encode(&vm_placement_table, &spec->placement, FIELD_ENCODE_STORE, &w);
	const char *placement = has_rules(spec) ? str_text(&w.out) : NULL;
	int rc = db_run(db, &vm_update_placement, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(placement)), e);
	if (rc == 0)
		rc = db_run(db, &label_delete, SQL_BINDS(SQL_TEXT(id)), e);
	for (size_t i = 0; rc == 0 && i < spec->labels.len; i++)
		rc = db_run(db, &label_insert,
		        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(spec->labels.items[i].key),
		                SQL_TEXT(spec->labels.items[i].value)),
		        e);
	return rc;
}

SQL(vm_insert, 0,
        "INSERT INTO vm (id, name, host_id, spec, power_reason, managed, desired_power, power, "
        "vcpus, "
        "memory_bytes, autostart_priority, deletion_protection, power_since, created_at) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)");

static struct sql_bind autostart_bind(const struct vm_insert *row)
{
	return row->autostart_priority >= 0 ? SQL_INT(row->autostart_priority) : SQL_TEXT(NULL);
}

int vm_store_insert(struct db *db, const struct vm_insert *row, struct err *e)
{
	int rc = db_run(db, &vm_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->name), SQL_TEXT(row->host_id),
	                SQL_TEXT(row->spec), SQL_TEXT(row->power_reason), SQL_INT(row->managed),
	                SQL_TEXT(vm_power_names[row->desired_power]),
	                SQL_TEXT(vm_power_names[row->power]), SQL_INT(row->vcpus),
	                SQL_INT(row->memory_bytes), autostart_bind(row),
	                SQL_INT(row->deletion_protection), SQL_INT(clock_wall_ms())),
	        e);
	bool has_copies = row->copied && (row->copied->labels.len > 0 || has_rules(row->copied));
	return rc < 0 || !has_copies ? rc : vm_store_set_copies(db, row->id, row->copied, e);
}

SQL(vm_delete_row, 0, "DELETE FROM vm WHERE id = ?");

int vm_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &vm_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

SQL(vm_update_spec, 0,
        "UPDATE vm SET spec = ?2, pending = ?3, vcpus = ?4, memory_bytes = ?5, autostart_priority "
        "= ?6, "
        "deletion_protection = ?7, version = version + 1 WHERE id = ?1");

int vm_store_set_spec(struct db *db, const char *id, const struct vm_insert *row,
        const char *pending, struct err *e)
{
	int rc = db_run(db, &vm_update_spec,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(row->spec), SQL_TEXT(pending), SQL_INT(row->vcpus),
	                SQL_INT(row->memory_bytes), autostart_bind(row),
	                SQL_INT(row->deletion_protection)),
	        e);
	return rc < 0 || !row->copied ? rc : vm_store_set_copies(db, id, row->copied, e);
}

SQL(vm_update_active, 0, "UPDATE vm SET pending = ?2, active_spec = ?3 WHERE id = ?1");
SQL(vm_clear_active, 0, "UPDATE vm SET pending = ?2, active_spec = NULL WHERE id = ?1");

int vm_store_set_active(
        struct db *db, const char *id, const char *active_spec, const char *pending, struct err *e)
{
	const struct sql_bind binds[] = {SQL_TEXT(id), SQL_TEXT(pending), SQL_TEXT(active_spec)};
	return active_spec ? db_run(db, &vm_update_active, binds, 3, e)
	                   : db_run(db, &vm_clear_active, binds, 2, e);
}

SQL(vm_update_name, 0, "UPDATE vm SET name = ?2, version = version + 1 WHERE id = ?1");

int vm_store_set_name(struct db *db, const char *id, const char *name, struct err *e)
{
	return db_run(db, &vm_update_name, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name)), e);
}

SQL(vm_update_desired, 0, "UPDATE vm SET desired_power = ?2 WHERE id = ?1");

int vm_store_set_desired(struct db *db, const char *id, enum vm_power desired, struct err *e)
{
	return db_run(db, &vm_update_desired,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(vm_power_names[desired])), e);
}

SQL(vm_update_power, 0,
        "UPDATE vm SET power = ?2, power_reason = ?3, power_since = ?4 WHERE id = ?1");

int vm_store_set_power(struct db *db, const char *id, enum vm_power power, const char *reason,
        int64_t since, struct err *e)
{
	return db_run(db, &vm_update_power,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(vm_power_names[power]), SQL_TEXT(reason),
	                SQL_INT(since)),
	        e);
}

SQL(vm_update_guest, 0, "UPDATE vm SET guest = ?2 WHERE id = ?1");

int vm_store_set_guest(struct db *db, const char *id, const char *guest, struct err *e)
{
	return db_run(db, &vm_update_guest, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(guest)), e);
}

SQL(vm_update_adopted, 0,
        "UPDATE vm SET name = ?2, managed = 1, adopted = 1, version = version + 1 WHERE id = ?1");
SQL(vm_update_foreign, 0,
        "UPDATE vm SET name = ?2, managed = 0, adopted = 0, version = version + 1 WHERE id = ?1");

int vm_store_set_managed(
        struct db *db, const char *id, const char *name, bool managed, struct err *e)
{
	return db_run(db, managed ? &vm_update_adopted : &vm_update_foreign,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name)), e);
}

SQL(vm_refresh_foreign, 0,
        "UPDATE vm SET name = ?2, spec = ?3, host_id = ?4, vcpus = ?5, memory_bytes = ?6, "
        "version = version + 1 WHERE id = ?1 AND managed = 0");

int vm_store_set_foreign(struct db *db, const char *id, const struct vm_insert *row, struct err *e)
{
	return db_run(db, &vm_refresh_foreign,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(row->name), SQL_TEXT(row->spec),
	                SQL_TEXT(row->host_id), SQL_INT(row->vcpus), SQL_INT(row->memory_bytes)),
	        e);
}

SQL(nic_delete, 0, "DELETE FROM vm_nic WHERE vm_id = ?");
SQL(nic_insert, 0, "INSERT INTO vm_nic (vm_id, name, mac) VALUES (?1, ?2, lower(?3))");
SQL(nic_owner, 0,
        "SELECT vm.name FROM vm_nic JOIN vm ON vm.id = vm_nic.vm_id WHERE vm_nic.mac = lower(?)");

static int report_mac(struct db *db, const struct vm_nic *nic, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &nic_owner, SQL_BINDS(SQL_TEXT(nic->mac)), &s, e);
	if (rc < 0)
		return rc;
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/nics/%s/mac", nic->name);
	return err_set_at(e, ERR_EXISTS, pointer, "MAC address %s is in use by VM %s", nic->mac,
	        rc == 1 ? statement_text(s, 0) : "?");
}

static int insert_mac(struct db *db, const char *id, const struct vm_nic *nic, struct err *e)
{
	int rc = db_run(db, &nic_insert,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(nic->name), SQL_TEXT(nic->mac)), e);
	return rc == ERR_EXISTS ? report_mac(db, nic, e) : rc;
}

int vm_store_set_macs(struct db *db, const char *id, const struct vm_spec *spec, struct err *e)
{
	int rc = db_run(db, &nic_delete, SQL_BINDS(SQL_TEXT(id)), e);
	for (size_t i = 0; rc == 0 && i < spec->nics.len; i++)
		rc = insert_mac(db, id, vm_spec_nic(spec, i), e);
	return rc;
}

/* Among 50,000 addresses of 24 random bits each, some 75 meet. */
static int choose_mac(struct db *db, char ret_mac[MAC_TEXT_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc;
	do {
		statement_done(&s);
		mac_make(ret_mac);
		rc = db_find(db, &nic_owner, SQL_BINDS(SQL_TEXT(ret_mac)), &s, e);
	} while (rc > 0);
	return rc;
}

int vm_store_choose_macs(struct db *db, struct vm_spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->nics.len; i++) {
		struct vm_nic *nic = vm_spec_nic(spec, i);
		char mac[MAC_TEXT_SIZE];
		if (nic->mac)
			continue;
		int rc = choose_mac(db, mac, e);
		if (rc < 0)
			return rc;
		nic->mac = xstrdup(mac);
	}
	return 0;
}

/* By the name's index: the plus keeps SQLite from reading all VMs of the host instead. */
SQL(vm_foreign_named, 0, "SELECT id FROM vm WHERE name = ?1 AND +host_id = ?2 AND managed = 0");

int vm_store_foreign_named(
        struct db *db, const char *host_id, const char *name, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc =
	        db_find(db, &vm_foreign_named, SQL_BINDS(SQL_TEXT(name), SQL_TEXT(host_id)), &s, e);
	*ret_found = rc == 1;
	return rc < 0 ? rc : 0;
}

SQL(host_set_listed, 0,
        "UPDATE host SET listed = 1 WHERE id = ? AND listed = 0 AND state IN ('ok', 'slow')");

int vm_store_set_listed(struct db *db, const char *host_id, struct err *e)
{
	return db_run(db, &host_set_listed, SQL_BINDS(SQL_TEXT(host_id)), e);
}

SQL(vm_ids_on_host, 0, "SELECT id FROM vm WHERE host_id = ? ORDER BY id");

int vm_store_ids_on_host(
        struct db *db, const char *host_id, char ***ret_ids, size_t *ret_n, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &vm_ids_on_host, SQL_BINDS(SQL_TEXT(host_id)), &s, e);
	if (rc < 0)
		return rc;
	char **ids = NULL;
	size_t n = 0, room = 0;
	while ((rc = statement_step(s, e)) == 1) {
		if (n == room)
			ids = xrealloc(ids, (room = room ? room * 2 : 16) * sizeof(*ids));
		ids[n++] = statement_text_copy(s, 0);
	}
	*ret_ids = ids;
	*ret_n = n;
	return rc;
}
