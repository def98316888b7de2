/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM's configuration asks for, in the words of scheduler/. Pure. */
#pragma once

#include "compute/room_store.h"
#include "compute/vm_spec.h"
#include "scheduler/placement.h"

/* What it holds from its start on, in that state. */
struct reservation room_reservation(const struct vm_spec *spec, enum reservation_state state);
int64_t room_max_bytes(const struct vm_spec *spec);

/* Rules of affinity; borrows from the placement they were made of, or owns it (room_rules_load). */
struct room_rules {
	struct placement_rules rules;
	struct placement_rule *items; /* owned */
	char **domains;               /* owned texts, one for each rule; NULL where it names none */
	struct vm_placement stored;   /* owned */
};
void room_rules_fill(const struct vm_placement *placement, struct room_rules *ret_rules);
/* From vm.placement (NULL: none). */
int room_rules_load(const char *stored, struct room_rules *ret_rules, struct err *e);
void room_rules_done(struct room_rules *rules);

/* A request for a place. Borrows from spec; never moved: it points into itself. */
struct room_request {
	struct placement_request place;
	struct room_rules rules;
	struct field_strings pools, networks; /* owned arrays, borrowed texts */
};
enum room_scope {
	ROOM_ANY_HOST, /* everything the VM needs of a host */
	ROOM_AT_HOME,  /* it lives there already: room and rules only */
};
void room_request_fill(struct room_request *request, const struct vm_spec *spec, const char *vm_id,
        enum room_scope scope);
void room_request_done(struct room_request *request);
