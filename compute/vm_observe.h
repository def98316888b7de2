/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen of a domain becomes the VM's recorded power, and decides what follows:
 *
 *   seen stopped, wanted running, no operation at work:
 *     the guest shut itself down -> restart_policy.on_guest_shutdown
 *     it crashed                 -> restart_policy.on_crash
 *     stopped from outside       -> accepted: wanted becomes stopped
 *     no reason known (the host was restarted)
 *                                -> started if autostart is set, else wanted becomes stopped
 *
 * The decision looks at states, not at transitions, so that it is made again after a
 * restart of the daemon.
 */
#pragma once

#include "compute/vm_store.h"
#include "hypervisor/driver.h"

struct vm_observation {
	char id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	bool gone;  /* no such domain: what follows is unset */
	char *name; /* owned */
	enum domain_state state;
	enum domain_reason reason;
	bool has_managed_save, is_ours;
	int64_t vcpus, memory_bytes;                /* of its definition */
	char *architecture, *machine, *description; /* owned */
	bool agent_connected;
	int64_t at_ms; /* wall */
};
void vm_observation_done(struct vm_observation *seen);
/* From the driver's answer (NULL: gone). */
void vm_observation_fill(struct vm_observation *seen, const char *host_id, const char *id,
        const struct domain_info *info);

enum vm_follow_up { VM_FOLLOW_NONE, VM_FOLLOW_STAY_OFF, VM_FOLLOW_RESTART, VM_FOLLOW_AUTOSTART };
/* The decision above. Pure. */
enum vm_follow_up vm_decide_follow_up(const struct vm_spec *spec, enum vm_power desired,
        enum vm_power seen, enum domain_reason reason, bool is_busy);
enum vm_power vm_power_from_domain(enum domain_state state, bool has_managed_save);
/* A short sentence for power_reason, "" for nothing special. */
const char *vm_reason_text(enum domain_reason reason);

struct vm_observed {
	bool known; /* there is a row (after the call) */
	bool managed;
	enum vm_power power;
	enum vm_follow_up follow_up;
	int64_t autostart_priority, autostart_delay_ms;
};
/*
 * Writer thread: records the power that a listing tells of a known VM (gone: not listed), so that nothing stale is shown
 * while it waits to be looked at.
 */
int vm_observe_listed(
        struct db *db, const struct vm_row *row, const struct domain_info *info, struct err *e);
/* Writer thread: records it (inserting or deleting foreign rows), with a change row when something
 * changed. */
int vm_observe(struct db *db, const struct vm_observation *seen, struct vm_observed *ret_observed,
        struct err *e);
