/* SPDX-License-Identifier: Apache-2.0 */
/* The live side of VMs, shared by the files of compute/: what was last seen of each, and who waits
 * for it. Core loop. */
#pragma once

#include <pthread.h>

#include "base/loop.h"
#include "base/map.h"
#include "compute/vm.h"
#include "compute/vm_domain.h"
#include "compute/vm_observe.h"

/* One VM that was seen on some host. */
struct vm_live {
	struct vms *vms; /* borrowed */
	char id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	enum vm_power power;
	bool managed, agent_connected;
	bool is_looking, is_dirty; /* a look is in flight; another is wanted after it */
	/* guest facts (vm_guest.c) */
	int64_t next_guest_ms;
	int guest_polls;
	bool is_asking_guest;
	char *guest; /* owned: the text last stored */
	/* restarts (vm_restart.c) */
	int restarts;
	int64_t last_restart_ms;
	struct loop_timer *restart_timer; /* owned */
};

struct vm_power_wait; /* vm_wait.c */
struct autostart;     /* vm_restart.c */
struct vm_stats;      /* vm_stats.c */

struct vms {
	struct vms_config config;
	char *console_directory; /* owned */
	char *console_root;      /* owned: the same without links, as they were at the start */
	struct map *live;        /* id -> struct vm_live (owned) */
	struct map *autostarts;  /* host id -> struct autostart (owned) */
	struct vm_power_wait *waits;
	struct map *unlisted; /* ids of hosts whose last listing failed */
	struct loop_timer *guest_timer, *stats_timer, *relist_timer;
	struct vm_stats *stats;
	struct vm_room_gate room_gate;
	int64_t restart_step_ms; /* vm_restart.c: the first delay, which doubles; tests change it */
	bool is_stopping;
};

struct vms *vms_of(const struct operation *op);
struct vm_platform vms_platform(struct vms *vms, const char *host_id, const char *architecture);
struct vm_live *vms_find(struct vms *vms, const char *vm_id);
/* Look at it again soon (coalesced). */
void vms_mark_dirty(struct vms *vms, const char *host_id, const char *vm_id);
/* After a commit that ends work on a VM: look at it again. Writer thread, inside a job. */
void vms_mark_dirty_on_commit(
        struct db *db, struct vms *vms, const char *host_id, const char *vm_id);
/* Something was seen: remembers it and wakes who waits. */
void vms_saw(struct vms *vms, const struct vm_observation *seen);

/* vm_wait.c: calls fn(arg, reached) once, when the VM is seen in power state `power`, or after
 * timeout_ms. */
void vms_wait_power(struct vms *vms, const char *vm_id, enum vm_power power, int64_t timeout_ms,
        void (*fn)(void *arg, bool reached), void *arg);
void vms_wake_waits(struct vms *vms, const struct vm_live *live);
void vms_free_waits(struct vms *vms);

/* vm_restart.c */
#define VM_RESTART_STEP_MS 10000
void vms_follow_up(struct vms *vms, struct vm_live *live, const struct vm_observed *observed);
void vms_free_autostarts(struct vms *vms);

/* vm_guest.c */
void vms_start_guest_polls(struct vms *vms);
void vms_guest_soon(struct vm_live *live);

/* vm_stats.c */
void vms_start_stats(struct vms *vms);
void vms_free_stats(struct vms *vms);

/* vm.c: what all mutations share. Adds "architecture" and "previous_desired" to `input` (may be
 * NULL). */
int vm_create_operation(struct db *db, struct vms *vms, const struct vm_row *row, const char *kind,
        json_t *input, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e);
/* Refuses when the row's host is not available, unless the request waits for it. */
int vm_check_host(
        const struct vm_request *request, struct db *db, const char *host_id, struct err *e);
int vm_add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e);
/* The members of a row that copy the configuration. `spec_text` borrowed. */
struct vm_insert vm_row_from_spec(const struct vm_spec *spec, const char *spec_text);

extern const struct operation_kind vm_create_kind, vm_update_kind, vm_delete_kind, vm_rename_kind;
extern const struct operation_kind vm_verb_kinds[VM_VERBS];
