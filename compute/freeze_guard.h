/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freezing a guest's filesystems for a moment, with a guard that cannot be forgotten.
 *
 * The guard is a process of its own, outside berthd's lifetime, with a connection of its own to the host. It alone freezes
 * and thaws: on request, FREEZE_HOLD_MS after the guest froze, or as soon as berthd is gone, whichever comes first; and it
 * repeats the thaw until the agent itself says "thawed" (10 minutes at most), also after a freeze that was not answered,
 * because a stopped agent carries it out when it goes on.
 *
 *	begin -> row (pid) durable -> freeze -> FROZEN ----- end ------> thaw until "thawed" -> row removed
 *	                                 |         +-- 10 s, berthd dead --^
 *	                                 +-- refused: done at once, the guard goes on watching --^
 *
 * A guest on a host whose driver lives in our own process (fake, test) has no guard: lane calls freeze and thaw it.
 * Core loop, but for freeze_guards_load.
 */
#pragma once

#include "operation/operation.h"
#include "operation/services.h"

#define FREEZE_HOLD_MS 10000

/* Core loop, once. `e` only with a negative rc. */
typedef void (*freeze_guard_done)(void *arg, int rc, const struct err *e);

/*
 * From a step: freezes VM `vm_id` on host `host_id`. One at a time for each operation and VM; several VMs of one operation
 * side by side. May be called again after a restart: what an earlier process began is thawed first.
 * Not negative: that many filesystems are frozen, for FREEZE_HOLD_MS from now at most; 0: none is mounted, which is as good.
 * ERR_UNSUPPORTED: the guest has no agent. ERR_UNAVAILABLE: its agent does
 * not answer. ERR_WRONG_STATE: it is not running. ERR_HOST_DOWN, ERR_HYPERVISOR, ...: the words of the host. After a
 * negative answer nothing stays frozen, and freeze_guard_end need not be called.
 */
void freeze_guard_begin(struct operation *op, const char *vm_id, const char *host_id,
        freeze_guard_done done, void *arg);
/*
 * From a step or an undo: thaws. 0: it was frozen without a gap until now, and is thawed. ERR_DEADLINE: it was thawed
 * earlier than that (the hold was over, or berthd was restarted), or was never frozen: what was done meanwhile is not
 * quiesced. ERR_UNAVAILABLE: it was frozen until now, and the agent has not said "thawed" within 10 s: the guard goes on.
 */
void freeze_guard_end(struct operation *op, const char *vm_id, freeze_guard_done done, void *arg);

/* From a step: ERR_DEADLINE if the guest did not stay frozen, as far as is known now; before anything is done in vain. */
int freeze_guard_check(struct operation *op, const char *vm_id, struct err *e);

/* ---- for the daemon ---- */
struct freeze_guards;

struct freeze_guards *freeze_guards_new(const struct operation_services *services);
/* Start-up, any connection: guests that an earlier process may have left frozen are thawed now. */
int freeze_guards_load(struct freeze_guards *guards, struct db *db, struct err *e);
/* Guards that still hold a guest see that we are gone. After the loop has ended; accepts NULL. */
void freeze_guards_free(struct freeze_guards *guards);

/* The guard process: what main() does when it was started as `berthd --freeze-guard VM_ID`. Returns its exit status. */
#define FREEZE_GUARD_OPTION "--freeze-guard"
int freeze_guard_main(const char *vm_id);
