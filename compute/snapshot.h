/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of a VM: a tree, kept by us. A snapshot holds, per disk, the layer that was on top (storage/layer.h), which
 * is never written again; the VM writes into a new layer above. With memory it also holds a file of the guest's memory.
 *
 *	S1 --- S2 --- (current)         vm.snapshot_id = S2: what the current state descends from
 *	  \___ S3                       S3's layers stand on S1's: a branch, made by a revert to S1
 *
 * Operation kinds: snapshot.create, snapshot.revert, snapshot.delete, snapshot.sweep; target: the VM, in its queue.
 */
#pragma once

#include "compute/vm.h"

struct vm_call;

enum snapshot_kind { SNAPSHOT_MEMORY, SNAPSHOT_DISK, SNAPSHOT_STOPPED };
extern const char *const
        snapshot_kind_names[]; /* NULL-terminated, in the enum's order: memory, disk, stopped */
enum snapshot_state { SNAPSHOT_CREATING, SNAPSHOT_READY, SNAPSHOT_DELETING };
extern const char *const snapshot_state_names[]; /* creating, ready, deleting */

struct snapshot_row {
	char id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	char parent_id[UUID_TEXT_SIZE]; /* "": a root */
	char memory_pool_id[UUID_TEXT_SIZE], group_id[UUID_TEXT_SIZE],
	        policy_id[UUID_TEXT_SIZE]; /* "": none */
	char *name, *description, *vm_spec, *memory_file,
	        *parent; /* owned; parent: its name, NULL: none; memory_file NULL:
	                                                              none */
	enum snapshot_kind kind;
	enum snapshot_state state;
	enum vm_power power; /* of the VM at that moment: running, paused, stopped */
	bool quiesced, is_current;
	int64_t memory_bytes;
	int64_t disk_bytes; /* allocated by the layers that it holds, as last seen */
	int64_t expires_at, version, created_at; /* expires_at 0: never */
};
void snapshot_row_done(struct snapshot_row *row);

struct snapshot_disk {
	char disk[64], volume_id[UUID_TEXT_SIZE], layer_id[UUID_TEXT_SIZE];
	int64_t allocation_bytes;
};
struct snapshot_disks {
	struct snapshot_disk *items; /* owned, sorted by disk */
	size_t len;
};
void snapshot_disks_done(struct snapshot_disks *disks);

/* ---- mutations: writer thread, inside a job; `vm` is its row, managed or refused ---- */

struct snapshot_request {
	const char *name, *description; /* description NULL: "" */
	bool memory; /* of a running or paused VM: with its memory; a stopped one has none */
	bool quiesce; /* the guest's filesystems are frozen meanwhile, by its agent; without memory only */
	int64_t expires_at;               /* wall; 0: never */
	const char *group_id, *policy_id; /* NULL: none */
	int64_t group_size;               /* how many VMs' snapshots are taken at the same moment */
};
/*
 * ERR_UNSUPPORTED names the disk that cannot be kept and why, ERR_LIMIT the chain that would become too long,
 * ERR_EXISTS a taken name.
 */
int snapshot_create(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_request *request, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);

enum snapshot_power { SNAPSHOT_POWER_AS_RECORDED, SNAPSHOT_POWER_RUNNING, SNAPSHOT_POWER_STOPPED };
extern const char *const snapshot_power_names[]; /* as_recorded, running, stopped */
/* *ret_answer (new reference): what it discards, keeps and changes back; also the operation's result. */
int snapshot_revert(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_row *row, enum snapshot_power power, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], json_t **ret_answer, struct err *e);
/* Its children become its parent's. A snapshot that is being deleted already: its merge is taken up again. */
int snapshot_delete(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_row *row, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);
/*
 * Takes up the merges that had to wait, for the VMs that stopped, or whose host came back, at or after `since_ms` (wall). To
 * be called now and then, with the time of the call before; *ret_n: how many operations that made.
 */
int snapshot_sweep(struct db *db, struct vms *vms, int64_t since_ms, int *ret_n, struct err *e);
/* expires_at < 0, description NULL: unchanged. */
int snapshot_update(struct db *db, const struct snapshot_row *row, const char *name,
        const char *description, int64_t expires_at, struct err *e);

/* ---- with a VM that is deleted ---- */

/* Lane thread, as vm_call_fn: removes the memory files of all its snapshots, and the layers off the current chains. */
int snapshot_delete_all_of_vm(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Writer: forgets them and those layers; the chains stay with their volumes. Before volumes' and the VM's rows go. */
int snapshot_forget_all_of_vm(struct db *db, const char *vm_id, struct err *e);

/* ---- the chain's limit: any connection ---- */

/* How many layers the longest chain of the VM's disks has, images' copies included, and how many are allowed. */
int snapshot_chain_depth(
        struct db *db, const char *vm_id, int64_t *ret_depth, char ret_disk[64], struct err *e);

/* ---- queries: any connection; snapshot_store.h has the others ---- */

/* Of that VM, by name or id; ERR_NOT_FOUND. */
int snapshot_store_get(struct db *db, const char *vm_id, const char *name_or_id,
        struct snapshot_row *ret_row, struct err *e);
int snapshot_store_disks(
        struct db *db, const char *id, struct snapshot_disks *ret_disks, struct err *e);

/* ---- as the API shows them: snapshot_fields.c ---- */

struct snapshot_spec {
	char *name, *description;
	bool memory, quiesce;
	int64_t expires_at;
};
struct snapshot_revert_spec {
	int power; /* enum snapshot_power */
};
extern const struct field_table snapshot_write_fields;  /* POST */
extern const struct field_table snapshot_change_fields; /* the merge patch's result */
extern const struct field_table snapshot_revert_fields; /* POST .../revert */
extern const struct field_table snapshot_fields;        /* answers */
/* The members that a merge patch applies to; new reference. */
json_t *snapshot_patch_base(const struct snapshot_row *row);
/* Any connection. */
int snapshot_encode(
        struct db *db, const struct snapshot_row *row, struct json_writer *w, struct err *e);

void snapshot_register_kinds(struct operation_engine *engine);
