/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs: rules for changing them (writer thread) and their live side (core loop).
 *
 * A VM's row holds what is wanted (spec, desired_power) and what was last seen (power, guest,
 * active_spec). A request changes the first part and creates an operation; reconcile
 * (vm_reconcile.c) alone writes the second.
 */
#pragma once

#include "compute/host.h"
#include "compute/vm_spec.h"
#include "compute/vm_store.h"
#include "operation/operation.h"
#include "operation/services.h"

struct vms;

struct vms_config {
	const struct operation_services *services; /* borrowed */
	struct operation_engine *engine;
	struct vm_spec_rules rules;    /* what it points at is borrowed */
	const char *console_directory; /* on the hosts; copied */
};

/*
 * Mode balloon: who moves memory between guests is asked before a guest boots or grows. Core loop. `wait` calls
 * need->done exactly once: 0 when the other guests were seen to have given enough, else why they will not; not at all once
 * the daemon stops.
 */
struct vm_room_need {
	const char *host_id, *vm_id; /* borrowed for the call */
	int64_t bytes;               /* missing as known when the room was granted */
	int64_t grows_to_bytes;      /* the memory that a running guest is to have; 0: it boots */
	void (*done)(void *done_arg, int rc, const struct err *e);
	void *done_arg;
};
struct vm_room_gate {
	void (*wait)(
	        void *arg, const struct vm_room_need *need); /* NULL: every guest boots at once */
	/* The VM's operation was cancelled: its wait, if there is one, ends with ERR_CANCELLED. */
	void (*cancel)(void *arg, const char *vm_id);
	void *arg;
};

/* ---- live side: core loop ---- */
struct vms *vms_new(const struct vms_config *config);
/* No further looks, polls or starts; answers that are under way still find it. */
void vms_stop(struct vms *vms);
/* After the loop has delivered what was under way. */
void vms_free(struct vms *vms);
/* Before operations run. */
void vms_set_room_gate(struct vms *vms, struct vm_room_gate gate);
/* Registers the kinds vm.create, vm.update, vm.delete, vm.start, ... with the engine. */
void vm_register_kinds(struct operation_engine *engine);
/* The callbacks that hosts need. */
struct hosts_callbacks vms_hosts_callbacks(struct vms *vms);

/* Who asked: recorded with the operation. */
struct vm_request {
	const char *requested_by, *request_id;
	int64_t wait_ms; /* -1: the host must be available now; else how long to wait for it */
};

/* vm_spec_check by the daemon's rules. Any thread. */
int vms_check_spec(const struct vms *vms, const struct vm_spec *spec, struct field_errors *errors);

/* ---- mutations: writer thread, inside a job; errors' pointers name the member ---- */
int vm_create(struct db *db, struct vms *vms, struct vm_spec *spec,
        const struct vm_request *request, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);
/*
 * Replaces the configuration by `wanted` (a full one, read from a merge patch's result or a PUT).
 * If the hypervisor has something to do, *ret_operation names the operation; else it is "" and all
 * is done.
 */
int vm_update(struct db *db, struct vms *vms, const struct vm_row *row, struct vm_spec *wanted,
        const struct vm_request *request, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* The row as the JSON that merge patches apply to: name, host, desired_power and the configuration.
 */
json_t *vm_patch_base(const struct vm_row *row);

enum vm_verb {
	VM_START,
	VM_SHUTDOWN,
	VM_STOP,
	VM_REBOOT,
	VM_RESET,
	VM_PAUSE,
	VM_RESUME,
	VM_SUSPEND,
	VM_VERBS
};
struct vm_verb_options {
	enum shutdown_mode mode;
	int64_t timeout_seconds; /* shutdown, reboot */
	bool force;              /* shutdown: stop by force after the timeout */
};
int vm_act(struct db *db, struct vms *vms, const struct vm_row *row, enum vm_verb verb,
        const struct vm_verb_options *options, const struct vm_request *request,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);
int vm_delete(struct db *db, struct vms *vms, const struct vm_row *row, bool delete_disks,
        bool force, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e);
int vm_rename(struct db *db, struct vms *vms, const struct vm_row *row, const char *name,
        const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* Takes a foreign domain under management: its definition stays as it is. No operation needed. */
int vm_adopt(struct db *db, const struct vm_row *row, const char *name, struct err *e);

/* ERR_FORBIDDEN-like refusals for foreign VMs (ERR_WRONG_STATE, hint: adopt). */
int vm_check_managed(const struct vm_row *row, struct err *e);

/* The newest counters of a running VM, copied; false if there are none. Any thread. */
bool vms_get_stats(
        struct vms *vms, const char *vm_id, struct domain_stats *ret_stats, int64_t *ret_at_ms);
/* What the guest has of its memory now; -1: not known, or it does not run. Any thread. */
int64_t vms_get_memory(struct vms *vms, const struct vm_row *row);
