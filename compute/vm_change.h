/* SPDX-License-Identifier: Apache-2.0 */
/* Which changes of a configuration a running guest takes live, and which wait for a restart. Pure.
 */
#pragma once

#include "base/field.h"
#include "compute/vm_spec.h"

enum vm_change_kind {
	CHANGE_RECORD,  /* only Berth looks at it: done when it is written */
	CHANGE_LIVE,    /* libvirt can change it in the running guest */
	CHANGE_RESTART, /* seen by the guest after the next start */
};

enum vm_live_action {
	LIVE_NONE,
	LIVE_CPU_TUNE,
	LIVE_CPU_COUNT,
	LIVE_CPU_PINS,
	LIVE_MEMORY,      /* by the balloon */
	LIVE_MEMORY_GROW, /* beyond what it booted with */
	LIVE_DISK_LIMITS,
	LIVE_MEDIA, /* what is in a CD-ROM drive */
	LIVE_DISK_ADD,
	LIVE_DISK_REMOVE,
	LIVE_NIC_ADD,
	LIVE_NIC_REMOVE,
};

struct vm_change {
	enum vm_change_kind kind;
	enum vm_live_action action;
	char device[64]; /* of LIVE_DISK_*, LIVE_MEDIA, LIVE_NIC_* */
};

/* Judges one difference between what the guest runs with and what is wanted. */
struct vm_change vm_change_judge(
        const struct vm_spec *active, const struct field_change *difference);

/*
 * The differences between two stored configurations that wait for a restart, as JSON {pointer:
 * wanted value}; "{}" if there are none. `active` NULL: "{}". Caller frees.
 */
char *vm_change_pending(const char *active, const char *wanted);
/* Whether `wanted` lacks a volume that `active` has: of a removed disk, an exchanged medium, the seed. */
bool vm_change_takes_volumes(const struct vm_spec *active, const struct vm_spec *wanted);
/* Whether anything beyond CHANGE_RECORD differs. */
bool vm_change_needs_host(const char *before, const char *wanted);
