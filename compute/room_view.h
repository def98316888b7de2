/* SPDX-License-Identifier: Apache-2.0 */
/* Answers made of the inventory: a ranking of hosts, and what groups have room for. Called under room_look. */
#pragma once

#include "base/json_writer.h"
#include "compute/vm_spec.h"
#include "scheduler/inventory.h"

extern const struct field_table room_placement_fields, room_capacity_fields; /* answers */

struct room_ranking {
	const struct vm_spec *spec;
	struct json_writer *w;
};
/* `arg` is a struct room_ranking. ERR_REFERENCE for a host or group that is not there. */
int room_view_rank(void *arg, const struct inventory *inventory, struct err *e);

struct room_capacity {
	int64_t vcpus, memory_bytes; /* of the VMs to count */
	const char *group;           /* name or id; NULL: all */
	struct json_writer *w;
};
/* `arg` is a struct room_capacity. ERR_NOT_FOUND for a group that is not there. */
int room_view_capacity(void *arg, const struct inventory *inventory, struct err *e);
