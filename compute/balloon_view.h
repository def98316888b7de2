/* SPDX-License-Identifier: Apache-2.0 */
/* What GET /hosts/{host}/balloon answers: built once per plan, immutable, shared by references. */
#pragma once

#include <stdatomic.h>

#include "base/field.h"

struct balloon_vm_view {
	char *id, *name, *reason_text; /* owned */
	int64_t size_bytes, min_bytes, current_bytes, target_bytes, booked_bytes, used_bytes,
	        demand_bytes;
	bool has_current, has_used;
	int state, reason; /* enum balloon_vm_state, enum balloon_reason */
	bool throttled;
	int64_t since;
};

struct balloon_memory_view {
	int64_t total_bytes, reserve_bytes, usable_bytes, booked_bytes, free_bytes, available_bytes,
	        missing_bytes, freeable_bytes, freeable_floor_bytes, wanted_bytes, room_bytes;
	bool has_available;
};

struct balloon_ksm_view {
	bool supported;
	char *reason; /* owned; why it is not, or cannot be steered; NULL: nothing to say */
	bool running, steered;
	int64_t pages_to_scan, pages_shared, pages_sharing, saved_bytes;
};

struct balloon_view {
	_Atomic int references;
	bool has_state;
	int state, state_reason, rung; /* enum balloon_state, balloon_state_reason, balloon_rung */
	char *reason;                  /* owned; why there is no state */
	int64_t since, at;             /* wall ms */
	bool has_memory, has_ksm;
	struct balloon_memory_view memory;
	struct balloon_ksm_view ksm;
	int64_t exceeding, exceeded_cycles;
	struct field_list vms; /* of struct balloon_vm_view */
};
struct balloon_view *balloon_view_ref(struct balloon_view *view);
void balloon_view_unref(struct balloon_view *view); /* accepts NULL */
