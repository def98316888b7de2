/* SPDX-License-Identifier: Apache-2.0 */
/* Judging configuration changes by one table. */
#include "compute/vm_change.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

static bool cpu_count_fits(const struct vm_spec *active, const struct field_change *d)
{
	int64_t most = active->cpu.has_max ? active->cpu.max : active->cpu.count;
	int64_t wanted = json_integer_value(d->after);
	bool owns_cpus =
	        active->cpu.pinning == PINNING_DEDICATED; /* it was given as many as it has */
	return !owns_cpus && wanted > active->cpu.count && wanted <= most;
}

/* The balloon can take memory away and give it back up to what the guest booted with. */
static bool memory_fits(const struct vm_spec *active, const struct field_change *d)
{
	return active->memory.ballooning == BALLOONING_AUTO &&
	       json_integer_value(d->after) <= active->memory.size_bytes;
}

static bool memory_grows(const struct vm_spec *active, const struct field_change *d)
{
	return vm_spec_memory_grows(active, json_integer_value(d->after));
}

static bool is_added(const struct vm_spec *active, const struct field_change *d)
{
	(void)active;
	return !d->before && d->after;
}

static bool is_removed(const struct vm_spec *active, const struct field_change *d)
{
	(void)active;
	return d->before && !d->after;
}

/* "/disks/NAME" or "/disks/NAME/member": NAME. */
static void copy_device(const char *pointer, char ret_device[64])
{
	const char *name = strchr(pointer + 1, '/');
	name = name ? name + 1 : "";
	snprintf(ret_device, 64, "%.*s", (int)strcspn(name, "/"), name);
}

static bool is_media(const struct vm_spec *active, const struct field_change *d)
{
	char device[64];
	copy_device(d->pointer, device);
	const struct vm_disk *disk = vm_spec_find_disk(active, device);
	return disk && disk->kind == VM_DISK_CDROM;
}

struct rule {
	const char *pointer; /* fnmatch(3) pattern */
	enum vm_change_kind kind;
	enum vm_live_action action;
	bool (*applies)(
	        const struct vm_spec *active, const struct field_change *d); /* NULL: always */
};

/* The first rule that matches counts; without one, the change waits for a restart. */
static const struct rule rules[] = {
        {"/description", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/labels*", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/restart_policy*", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/autostart*", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/deletion_protection", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/placement*", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/memory/min_bytes", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/memory/on_critical", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/memory/shares", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/disks/*/backup", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/disks/*/size_bytes", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/cpu/reservation_percent", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/cpu/shares", CHANGE_LIVE, LIVE_CPU_TUNE, NULL},
        {"/cpu/limit_percent", CHANGE_LIVE, LIVE_CPU_TUNE, NULL},
        {"/cpu/pinning", CHANGE_LIVE, LIVE_CPU_PINS, NULL},
        {"/cpu/count", CHANGE_LIVE, LIVE_CPU_COUNT, cpu_count_fits},
        {"/memory/size_bytes", CHANGE_LIVE, LIVE_MEMORY, memory_fits},
        {"/memory/size_bytes", CHANGE_LIVE, LIVE_MEMORY_GROW, memory_grows},
        {"/disks/*/iops_limit", CHANGE_LIVE, LIVE_DISK_LIMITS, NULL},
        {"/disks/*/bytes_per_second_limit", CHANGE_LIVE, LIVE_DISK_LIMITS, NULL},
        {"/disks/*/volume", CHANGE_LIVE, LIVE_MEDIA, is_media},
        {"/disks/*/pool", CHANGE_RECORD, LIVE_NONE, is_media},
        {"/disks/*/image", CHANGE_LIVE, LIVE_MEDIA, is_media},
        {"/disks/*/image", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/disks/*/clone", CHANGE_RECORD, LIVE_NONE, NULL},
        {"/disks/*/*", CHANGE_RESTART, LIVE_NONE, NULL},
        {"/nics/*/*", CHANGE_RESTART, LIVE_NONE, NULL},
        {"/disks/*", CHANGE_LIVE, LIVE_DISK_ADD, is_added},
        {"/disks/*", CHANGE_LIVE, LIVE_DISK_REMOVE, is_removed},
        {"/nics/*", CHANGE_LIVE, LIVE_NIC_ADD, is_added},
        {"/nics/*", CHANGE_LIVE, LIVE_NIC_REMOVE, is_removed},
};

struct vm_change vm_change_judge(
        const struct vm_spec *active, const struct field_change *difference)
{
	struct vm_change change = {.kind = CHANGE_RESTART};
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct rule *rule = &rules[i];
		if (fnmatch(rule->pointer, difference->pointer, 0) != 0 ||
		        (rule->applies && !rule->applies(active, difference)))
			continue;
		change.kind = rule->kind;
		change.action = rule->action;
		break;
	}
	if (change.action >= LIVE_DISK_LIMITS)
		copy_device(difference->pointer, change.device);
	return change;
}

char *vm_change_pending(const char *active, const char *wanted)
{
	json_t *before CLEANUP(cleanup_json) = active ? json_loads(active, 0, NULL) : NULL;
	json_t *after CLEANUP(cleanup_json) = json_loads(wanted, 0, NULL);
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	if (!before || !after || vm_spec_load(active, &spec, NULL) < 0)
		return xstrdup("{}");
	struct field_changes changes CLEANUP(field_changes_done) = {0};
	field_diff(before, after, &changes);
	json_t *pending CLEANUP(cleanup_json) = json_object();
	for (size_t i = 0; i < changes.len; i++) {
		const struct field_change *d = &changes.items[i];
		/* What could have been done live was tried: what still differs waits, too. */
		if (vm_change_judge(&spec, d).kind != CHANGE_RECORD)
			json_object_set_new(pending, d->pointer,
			        d->after ? json_incref(d->after) : json_null());
	}
	return json_dumps(pending, JSON_COMPACT | JSON_SORT_KEYS);
}

bool vm_change_needs_host(const char *before_text, const char *wanted_text)
{
	json_t *before CLEANUP(cleanup_json) = json_loads(before_text, 0, NULL);
	json_t *wanted CLEANUP(cleanup_json) = json_loads(wanted_text, 0, NULL);
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	if (!before || !wanted || vm_spec_load(before_text, &spec, NULL) < 0)
		return true;
	struct field_changes changes CLEANUP(field_changes_done) = {0};
	field_diff(before, wanted, &changes);
	for (size_t i = 0; i < changes.len; i++)
		if (vm_change_judge(&spec, &changes.items[i]).kind != CHANGE_RECORD)
			return true;
	return false;
}

bool vm_change_takes_volumes(const struct vm_spec *active, const struct vm_spec *wanted)
{
	for (size_t i = 0; i < active->disks.len; i++) {
		const struct vm_disk *had = vm_spec_disk(active, i);
		const struct vm_disk *has = vm_spec_find_disk(wanted, had->name);
		if (had->volume && (!has || !str_equal(has->volume, had->volume)))
			return true;
	}
	return active->has_cloud_init && !wanted->has_cloud_init;
}
