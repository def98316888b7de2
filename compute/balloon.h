/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory moves between the guests of a host: the effects. What is done is decided by the pure scheduler/balloon_plan.h;
 * docs/decisions/0013-memory-moves.md says what is intended.
 *
 *	change feed -> who takes part (roster, read with the next sample)
 *	timer -> sample (one lane call: roster if stale, counters of all guests, the host) -> plan
 *	      -> record (one writer job: booked bytes, marks, events) -> tell (a lane call per balloon)
 *	      -> ladder, KSM -> publish one immutable view
 *
 * Everything but the lane calls and writer jobs happens on the core loop. A host with a sample in flight is passed over,
 * so one that hangs costs nothing to the others. A host where no guest may give memory has no timer at all.
 *
 * What is remembered can be rebuilt from nothing, so a restart begins with what the guests have. Three things are durable:
 * booked bytes (reservation.booked_bytes, never below what a guest has been told), and marks for what has to be put back
 * when it is over: a throttled CPU, a faster KSM.
 */
#pragma once

#include "base/err.h"
#include "base/json_writer.h"
#include "hypervisor/driver.h"
#include "operation/services.h"

struct balloons;
struct vm_room_gate;

struct balloons_config {
	const struct operation_services *services; /* borrowed */
	int64_t period_ms;                         /* between two plans of a host */
	int64_t room_timeout_ms;                   /* how long the first in line waits for room */
};

/* Core loop. Reads who takes part as soon as hosts are up. */
struct balloons *balloons_new(const struct balloons_config *config);
/* No further plans; guests stay as they are. */
void balloons_stop(struct balloons *all);
/* After the loop has delivered what was under way. Accepts NULL. */
void balloons_free(struct balloons *all);

/* ---- room for starts and growth: core loop ---- */

struct vm_room_need; /* compute/vm.h */

/*
 * A VM that holds a reservation on the host wants what that says seen to be free. Calls need->done once: 0, or
 * ERR_NO_CAPACITY with the arithmetic after room_timeout_ms as the first in line, ERR_HOST_DOWN or ERR_HOST_SLOW if the host
 * said nothing meanwhile, ERR_CANCELLED when it is dropped; never after balloons_stop. Granted room is kept until the VM is
 * seen to have a process, or to have grown, its operation is over, or it is dropped.
 */
void balloons_want_room(struct balloons *all, const struct vm_room_need *need);
/* Waits no longer, or lets granted room go; nothing there is fine. */
void balloons_drop_room(struct balloons *all, const char *vm_id);

/* The gate in front of each start (compute/vm.h), by these two. */
struct vm_room_gate balloons_room_gate(struct balloons *all);

/* ---- answers: any thread ---- */

struct field_table;
struct host_row;
extern const struct field_table balloon_view_table; /* GET /hosts/{host}/balloon */
/* Writes the newest view of the host; without one, or while it does not answer, its state is null and the reason says why. */
void balloons_encode(struct balloons *all, const struct host_row *host, struct json_writer *w);
/* ---- noisy neighbours: core loop ---- */

/* The counters of all guests of a host, as read every few seconds: says who keeps whom from computing. */
void balloons_hear_stats(
        struct balloons *all, const char *host_id, const struct domain_stats_list *list);

extern const struct field_table balloon_noise_table; /* `noise` of GET /vms/{vm}/stats */
/* Writes the newest verdict on the VM's neighbours, or null. Any thread. */
void balloons_encode_noise(struct balloons *all, const char *vm_id, struct json_writer *w);

/* What the guest has now, as the newest plan saw it; false: not known. */
bool balloons_get_current(struct balloons *all, const char *vm_id, int64_t *ret_bytes);
