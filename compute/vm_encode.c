/* SPDX-License-Identifier: Apache-2.0 */
/* A VM as the API answers it. vm.spec is canonical JSON without secrets, so its members are copied,
 * not parsed. */
#include "compute/vm_encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A quote in a text is escaped, so this is a member's name wherever it stands; the objects whose members owners name
 * themselves (disks, nics) come later. */
static const char memory_begin[] = "\"memory\":{";

static void splice_spec(const char *spec, int64_t memory_bytes, struct json_writer *w)
{
	const char *memory = strstr(spec, memory_begin);
	char live[64] = "{\"current_bytes\":null}";
	if (memory_bytes >= 0)
		snprintf(live, sizeof(live), "{\"current_bytes\":%" PRId64 "}", memory_bytes);
	if (memory)
		json_splice_members_with(w, spec, memory + sizeof(memory_begin) - 1, live);
	else
		json_splice_members(w, spec);
}

void vm_encode(const struct vm_row *row, int64_t memory_bytes, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "host", row->host);
	json_member_string(w, "host_group", row->host_group);
	json_member_bool(w, "managed", row->managed);
	json_member_bool(w, "adopted", row->adopted);
	json_member_string(w, "power", vm_power_names[row->power]);
	json_member_string(w, "power_reason",
	        row->power == row->recorded_power ? row->power_reason : "the host does not answer");
	json_member_time(w, "power_since", row->power_since);
	json_member_string(w, "desired_power", vm_power_names[row->desired_power]);
	splice_spec(row->spec, memory_bytes, w);
	json_member_raw(w, "guest", row->guest);
	json_member_raw(w, "pending", row->pending);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}
