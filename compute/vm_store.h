/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of tables vm and vm_nic. */
#pragma once

#include "base/uuid.h"
#include "base/field.h"
#include "compute/vm_spec.h"
#include "db/db.h"

/*
 * SQL: a VM's power as far as it is known, and since when. It is unknown from the moment its host stopped answering until
 * all its VMs were compared with what it runs (host.listed). `host` is joined.
 */
#define VM_SQL_UNKNOWN "(host.listed = 0 OR host.state = 'slow')"
#define VM_SQL_POWER   "CASE WHEN " VM_SQL_UNKNOWN " THEN 'unknown' ELSE vm.power END"
#define VM_SQL_POWER_SINCE                                                                         \
	"CASE WHEN " VM_SQL_UNKNOWN " THEN host.state_since ELSE vm.power_since END"

/* One row with what it takes from its host's. */
struct vm_row {
	char id[UUID_TEXT_SIZE];
	char host_id[UUID_TEXT_SIZE];
	/* Borrowed from `texts`, or in a list from the statement. active_spec may be NULL. */
	const char *name, *host, *host_group, *spec, *active_spec, *pending, *power_reason, *guest;
	char *texts; /* owned */
	bool managed, adopted, deletion_protection;
	enum vm_power power;          /* UNKNOWN while its host does not answer */
	enum vm_power recorded_power; /* as last seen */
	enum vm_power desired_power;
	int64_t power_since, version, created_at, vcpus, memory_bytes;
};
void vm_row_done(struct vm_row *row);

/* By name (managed ones first) or UUID; ERR_NOT_FOUND; ERR_CONFLICT if several foreign ones share
 * the name. */
int vm_store_get(struct db *db, const char *name_or_id, struct vm_row *ret_row, struct err *e);
/* As get, but a missing row is *ret_found = false. */
int vm_store_find(
        struct db *db, const char *id, struct vm_row *ret_row, bool *ret_found, struct err *e);

/* One page of the list; the row is borrowed for the call of `each`. */
int vm_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct vm_row *row), void *arg, struct err *e);

struct vm_insert {
	const char *id, *name, *host_id, *spec, *power_reason;
	bool managed;
	enum vm_power desired_power, power;
	int64_t vcpus, memory_bytes, autostart_priority; /* -1: none */
	bool deletion_protection;
	const struct vm_spec
	        *copied; /* whose labels and placement are copied into the tables; NULL: none */
};
int vm_store_insert(struct db *db, const struct vm_insert *row, struct err *e);
int vm_store_delete(struct db *db, const char *id, struct err *e);
/* The tables' copies of the labels and placement rules. */
int vm_store_set_copies(struct db *db, const char *id, const struct vm_spec *spec, struct err *e);
/* Replaces the configuration and counts the version up. */
int vm_store_set_spec(struct db *db, const char *id, const struct vm_insert *row,
        const char *pending, struct err *e);
/* What the running guest has (NULL: off), and what waits for a restart. */
int vm_store_set_active(
        struct db *db, const char *id, const char *active_spec, const char *pending, struct err *e);
int vm_store_set_name(struct db *db, const char *id, const char *name, struct err *e);
int vm_store_set_desired(struct db *db, const char *id, enum vm_power desired, struct err *e);
int vm_store_set_power(struct db *db, const char *id, enum vm_power power, const char *reason,
        int64_t since, struct err *e);
int vm_store_set_guest(struct db *db, const char *id, const char *guest, struct err *e);
int vm_store_set_managed(
        struct db *db, const char *id, const char *name, bool managed, struct err *e);
/* A foreign domain's shown configuration. */
int vm_store_set_foreign(struct db *db, const char *id, const struct vm_insert *row, struct err *e);

/* Gives every NIC without a MAC address a random one that no VM has. */
int vm_store_choose_macs(struct db *db, struct vm_spec *spec, struct err *e);
/* Replaces the VM's MAC addresses: ERR_EXISTS names the VM that has one. */
int vm_store_set_macs(struct db *db, const char *id, const struct vm_spec *spec, struct err *e);
/* The name of a foreign domain on that host that would clash, as *ret_found. */
int vm_store_foreign_named(
        struct db *db, const char *host_id, const char *name, bool *ret_found, struct err *e);
/* All VMs of the host were compared with what it runs: from now on their power is known. */
int vm_store_set_listed(struct db *db, const char *host_id, struct err *e);
/* Ids of all rows on a host; caller frees each and the array. */
int vm_store_ids_on_host(
        struct db *db, const char *host_id, char ***ret_ids, size_t *ret_n, struct err *e);
/* What no answer ever shows. value NULL: removed. Writer. */
int vm_store_set_secret(
        struct db *db, const char *id, const char *name, const char *value, struct err *e);
/* *ret_value is owned, NULL if there is none. */
int vm_store_get_secret(
        struct db *db, const char *id, const char *name, char **ret_value, struct err *e);
