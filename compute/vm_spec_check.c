/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a VM's configuration that span several members. Pure. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "compute/vm_seed.h"
#include "compute/vm_spec.h"

#define MIB ((int64_t)1 << 20)

static void check_mib(int64_t bytes, const char *pointer, struct field_errors *errors)
{
	if (bytes % MIB != 0)
		field_errors_add(errors, "bad_value", pointer, "must be a multiple of 1 MiB");
}

static void check_memory(const struct vm_memory *m, struct field_errors *errors)
{
	check_mib(m->size_bytes, "/memory/size_bytes", errors);
	check_mib(m->min_bytes, "/memory/min_bytes", errors);
	check_mib(m->max_bytes, "/memory/max_bytes", errors);
	if (m->has_min && m->min_bytes > m->size_bytes)
		field_errors_add(errors, "out_of_range", "/memory/min_bytes",
		        "must not exceed size_bytes (%lld > %lld)", (long long)m->min_bytes,
		        (long long)m->size_bytes);
	if (m->has_max && m->max_bytes < m->size_bytes)
		field_errors_add(errors, "out_of_range", "/memory/max_bytes",
		        "must not be below size_bytes (%lld < %lld)", (long long)m->max_bytes,
		        (long long)m->size_bytes);
	if (m->hugepages && m->ballooning != BALLOONING_OFF)
		field_errors_add(errors, "bad_value", "/memory/hugepages",
		        "needs ballooning off: huge pages cannot be given back");
}

static void check_cpu(const struct vm_cpu *c, struct field_errors *errors)
{
	if (c->has_max && c->max < c->count)
		field_errors_add(errors, "out_of_range", "/cpu/max",
		        "must not be below count (%lld < %lld)", (long long)c->max,
		        (long long)c->count);
	if (c->limit_percent > 0 && c->reservation_percent > c->limit_percent)
		field_errors_add(errors, "out_of_range", "/cpu/reservation_percent",
		        "must not exceed limit_percent (%lld > %lld)",
		        (long long)c->reservation_percent, (long long)c->limit_percent);
	if (c->pinning != PINNING_DEDICATED)
		return;
	if (c->has_max && c->max > c->count)
		field_errors_add(errors, "bad_value", "/cpu/max",
		        "must equal count with pinning dedicated (%lld > %lld)", (long long)c->max,
		        (long long)c->count);
	if (c->has_reservation && c->reservation_percent < 100)
		field_errors_add(errors, "bad_value", "/cpu/reservation_percent",
		        "must be 100 with pinning dedicated, not %lld",
		        (long long)c->reservation_percent);
}

static bool is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

static void check_boot_path(const char *member, const char *path, const struct vm_spec_rules *rules,
        struct field_errors *errors)
{
	if (!path)
		return;
	for (const char *const *d = rules->boot_directories; *d; d++)
		if (is_below(path, *d))
			return;
	char pointer[64];
	snprintf(pointer, sizeof(pointer), "/boot/%s", member);
	field_errors_add(errors, "bad_value", pointer,
	        "must lie in one of the configured boot directories (%s%s)",
	        rules->boot_directories[0] ? rules->boot_directories[0] : "none",
	        rules->boot_directories[0] && rules->boot_directories[1] ? ", ..." : "");
}

static bool has_device(const struct vm_spec *s, const char *name)
{
	if (vm_spec_find_disk(s, name))
		return true;
	for (size_t i = 0; i < s->nics.len; i++)
		if (strcmp(vm_spec_nic(s, i)->name, name) == 0)
			return true;
	return false;
}

static void check_boot(
        const struct vm_spec *s, const struct vm_spec_rules *rules, struct field_errors *errors)
{
	check_boot_path("kernel", s->boot.kernel, rules, errors);
	check_boot_path("initrd", s->boot.initrd, rules, errors);
	if (!s->boot.kernel && (s->boot.initrd || s->boot.cmdline))
		field_errors_add(
		        errors, "missing", "/boot/kernel", "is needed for initrd and cmdline");
	if (s->boot.secure_boot && s->boot.firmware != VM_FIRMWARE_UEFI)
		field_errors_add(errors, "bad_value", "/boot/secure_boot", "needs firmware uefi");
	for (size_t i = 0; i < s->boot.order.len; i++) {
		char pointer[64];
		snprintf(pointer, sizeof(pointer), "/boot/order/%zu", i);
		if (!has_device(s, s->boot.order.items[i]))
			field_errors_add(
			        errors, "bad_value", pointer, "names no disk or NIC of this VM");
		for (size_t j = 0; j < i; j++)
			if (strcmp(s->boot.order.items[i], s->boot.order.items[j]) == 0)
				field_errors_add(errors, "duplicate", pointer, "is named twice");
	}
}

static void check_disk(const struct vm_disk *d, struct field_errors *errors)
{
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s/size_bytes", d->name);
	bool is_new = !d->volume && !d->image;
	bool is_empty_cdrom = d->kind == VM_DISK_CDROM && is_new;
	if (is_empty_cdrom ? d->size_bytes != 0 : is_new && d->size_bytes < MIB)
		field_errors_add(errors, "missing", pointer, "%s",
		        is_empty_cdrom ? "an empty CD-ROM drive has no size"
		                       : "give the size of the new volume (at least 1 MiB), or "
		                         "name a volume or an image");
	if (d->size_bytes % MIB != 0)
		field_errors_add(errors, "bad_value", pointer, "must be a multiple of 1 MiB");
	if (d->image && d->format != VM_FORMAT_QCOW2) {
		snprintf(pointer, sizeof(pointer), "/disks/%s/format", d->name);
		field_errors_add(
		        errors, "bad_value", pointer, "a disk that begins as an image is qcow2");
	}
	if (d->kind == VM_DISK_CDROM && d->image && d->clone == VM_CLONE_FULL) {
		snprintf(pointer, sizeof(pointer), "/disks/%s/clone", d->name);
		field_errors_add(errors, "bad_value", pointer, "a CD-ROM is always linked");
	}
}

static void check_disks(const struct vm_spec *s, struct field_errors *errors)
{
	for (size_t i = 0; i < s->disks.len; i++) {
		const struct vm_disk *d = vm_spec_disk(s, i);
		check_disk(d, errors);
		for (size_t j = 0; j < i; j++) {
			const struct vm_disk *other = vm_spec_disk(s, j);
			char pointer[128];
			snprintf(pointer, sizeof(pointer), "/disks/%s/volume", d->name);
			if (d->volume && other->volume && strcmp(d->volume, other->volume) == 0 &&
			        str_equal(d->pool, other->pool))
				field_errors_add(errors, "duplicate", pointer, "is also disk %s",
				        other->name);
			snprintf(pointer, sizeof(pointer), "/disks/%s/serial", d->name);
			if (d->serial && other->serial && strcmp(d->serial, other->serial) == 0)
				field_errors_add(errors, "duplicate", pointer,
				        "is also that of disk %s", other->name);
		}
	}
}

static void check_nics(const struct vm_spec *s, struct field_errors *errors)
{
	for (size_t i = 0; i < s->nics.len; i++)
		for (size_t j = 0; j < i; j++) {
			const struct vm_nic *a = vm_spec_nic(s, i), *b = vm_spec_nic(s, j);
			char pointer[128];
			snprintf(pointer, sizeof(pointer), "/nics/%s/mac", a->name);
			if (a->mac && b->mac && strcasecmp(a->mac, b->mac) == 0)
				field_errors_add(errors, "duplicate", pointer,
				        "is also that of NIC %s", b->name);
		}
}

int vm_spec_check(
        const struct vm_spec *spec, const struct vm_spec_rules *rules, struct field_errors *errors)
{
	size_t before = errors->len;
	check_memory(&spec->memory, errors);
	check_cpu(&spec->cpu, errors);
	vm_placement_check(spec, errors);
	check_boot(spec, rules, errors);
	check_disks(spec, errors);
	check_nics(spec, errors);
	vm_seed_check(spec, errors);
	return errors->len > before ? ERR_INVALID : 0;
}
