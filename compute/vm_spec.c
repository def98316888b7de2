/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of a VM's configuration. */
#include "compute/vm_spec_tables.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver.h"

#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)

const char *const vm_power_names[] = {"stopped", "running", "paused", "suspended", "unknown", NULL};
static const char *const desired_names[] = {"stopped", "running", "paused", "suspended", NULL};
static const char *const on_shutdown_names[] = {"stay_off", "restart", NULL};
static const char *const on_crash_names[] = {"restart", "stay_off", NULL};
static const char *const firmware_names[] = {"bios", "uefi", NULL};
static const char *const ballooning_names[] = {"auto", "off", NULL};
static const char *const pinning_names[] = {"none", "auto", "dedicated", NULL};
static const char *const on_critical_names[] = {"stay", "suspend", NULL};

enum vm_power vm_power_from_name(const char *name)
{
	for (int i = 0; vm_power_names[i]; i++)
		if (strcmp(vm_power_names[i], name) == 0)
			return (enum vm_power)i;
	return POWER_UNKNOWN;
}

/* A machine, CPU model or architecture name as QEMU writes them. */
static const char *check_token(const char *text)
{
	if (text[0] == '-' || text[0] == '.' || text[0] == '\0')
		return "must start with a letter or digit";
	size_t len =
	        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	return text[len] ? "must consist of letters, digits, '.', '_' and '-'" : NULL;
}

static const char *check_path(const char *text)
{
	if (text[0] != '/')
		return "must be an absolute path";
	if (strstr(text, "/../") || strstr(text, "/./") || strstr(text, "//"))
		return "must be a plain path without '..', '.' or '//'";
	size_t len = strlen(text);
	if ((len >= 3 && strcmp(text + len - 3, "/..") == 0) || text[len - 1] == '/')
		return "must name a file";
	return field_check_text(text);
}

#define OF(member)    .offset = offsetof(struct vm_spec, member)
#define GIVEN(member) .present = offsetof(struct vm_spec, member)

static const struct field restart_fields[] = {
        {.name = "on_guest_shutdown",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_restart_policy, on_guest_shutdown),
                .names = on_shutdown_names,
                .doc = "When the guest shuts itself down"},
        {.name = "on_crash",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_restart_policy, on_crash),
                .names = on_crash_names,
                .doc = "When the guest or its hypervisor process crashes"},
};
static const struct field_table restart_table =
        FIELD_TABLE("VmRestartPolicy", struct vm_restart_policy, restart_fields);

static const struct field autostart_fields[] = {
        {.name = "priority",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_autostart, priority),
                .min = 0,
                .max = 1000,
                .default_text = "100",
                .doc = "Lower starts first"},
        {.name = "delay_seconds",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_autostart, delay_seconds),
                .min = 0,
                .max = 3600,
                .doc = "Wait this long after it before the next one"},
};
static const struct field_table autostart_table =
        FIELD_TABLE("VmAutostart", struct vm_autostart, autostart_fields);

static const struct field cpu_fields[] = {
        {.name = "count",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_cpu, count),
                .min = 1,
                .max = 4096,
                .default_text = "1",
                .doc = "vCPUs"},
        {.name = "max",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_cpu, max),
                .present = offsetof(struct vm_cpu, has_max),
                .min = 1,
                .max = 4096,
                .doc = "vCPUs that can be hot-plugged up to (default: count)"},
        {.name = "model",
                .type = FIELD_STRING,
                .offset = offsetof(struct vm_cpu, model),
                .max = 64,
                .check = check_token,
                .default_text = "\"host\"",
                .doc = "host, maximum, or a named CPU model"},
        {.name = "shares",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_cpu, shares),
                .present = offsetof(struct vm_cpu, has_shares),
                .min = 1,
                .max = 10000,
                .doc = "Weight against other VMs of the host (default: 1024)"},
        {.name = "reservation_percent",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_cpu, reservation_percent),
                .present = offsetof(struct vm_cpu, has_reservation),
                .min = 0,
                .max = 100,
                .doc = "Guaranteed, in percent of each of its vCPUs: never overcommitted (default: "
                       "0, "
                       "dedicated: 100)"},
        {.name = "pinning",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_cpu, pinning),
                .names = pinning_names,
                .doc = "auto: kept on one NUMA node; dedicated: CPU threads of its own, which "
                       "nobody else gets"},
        {.name = "limit_percent",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_cpu, limit_percent),
                .min = 0,
                .max = 100,
                .doc = "Upper limit, in percent of each of its vCPUs; 0: none"},
};
static const struct field_table cpu_table = FIELD_TABLE("VmCpu", struct vm_cpu, cpu_fields);

static const struct field memory_fields[] = {
        {.name = "size_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_memory, size_bytes),
                .flags = FIELD_REQUIRED,
                .min = MIB,
                .max = 64 * TIB,
                .doc = "Memory the guest boots with, in bytes; a multiple of 1 MiB"},
        {.name = "min_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_memory, min_bytes),
                .present = offsetof(struct vm_memory, has_min),
                .min = MIB,
                .max = 64 * TIB,
                .doc = "The guaranteed floor (default: size_bytes)"},
        {.name = "max_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_memory, max_bytes),
                .present = offsetof(struct vm_memory, has_max),
                .min = MIB,
                .max = 64 * TIB,
                .doc = "Ceiling for growing while it runs, in steps of 128 MiB; a "
                       "change counts from the next start (default: size_bytes)"},
        {.name = "shares",
                .type = FIELD_INT,
                .offset = offsetof(struct vm_memory, shares),
                .min = 1,
                .max = 1000000,
                .default_text = "1000",
                .doc = "Weight against other VMs when memory is short"},
        {.name = "ballooning",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_memory, ballooning),
                .names = ballooning_names,
                .doc = "Whether the guest has a balloon"},
        {.name = "on_critical",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_memory, on_critical),
                .names = on_critical_names,
                .doc = "When the host's memory is critically short: suspend it to disk, or not"},
        {.name = "merge",
                .type = FIELD_BOOL,
                .offset = offsetof(struct vm_memory, merge),
                .default_text = "true",
                .doc = "Whether the host may merge equal pages (KSM)"},
        {.name = "hugepages",
                .type = FIELD_BOOL,
                .offset = offsetof(struct vm_memory, hugepages),
                .doc = "Back memory by huge pages"},
        {.name = "current_bytes", /* written by vm_encode */
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "What its balloon leaves it now; null: not known, or it does not run"},
};
static const struct field_table memory_table =
        FIELD_TABLE("VmMemory", struct vm_memory, memory_fields);

static const struct field boot_fields[] = {
        {.name = "firmware",
                .type = FIELD_ENUM,
                .offset = offsetof(struct vm_boot, firmware),
                .names = firmware_names,
                .doc = "BIOS or UEFI"},
        {.name = "secure_boot",
                .type = FIELD_BOOL,
                .offset = offsetof(struct vm_boot, secure_boot),
                .doc = "UEFI secure boot"},
        {.name = "kernel",
                .type = FIELD_STRING,
                .offset = offsetof(struct vm_boot, kernel),
                .max = 1024,
                .check = check_path,
                .doc = "Direct kernel boot: the kernel's path on the host"},
        {.name = "initrd",
                .type = FIELD_STRING,
                .offset = offsetof(struct vm_boot, initrd),
                .max = 1024,
                .check = check_path,
                .doc = "The initial ramdisk's path on the host"},
        {.name = "cmdline",
                .type = FIELD_STRING,
                .offset = offsetof(struct vm_boot, cmdline),
                .max = 2048,
                .check = field_check_text,
                .doc = "The kernel command line"},
        {.name = "order",
                .type = FIELD_STRINGS,
                .offset = offsetof(struct vm_boot, order),
                .max = 16,
                .check = field_check_name,
                .doc = "Names of disks and NICs to boot from, first first"},
};
static const struct field_table boot_table = FIELD_TABLE("VmBoot", struct vm_boot, boot_fields);

#define CONFIG_FIELDS(cloud_init_table)                                                            \
	{.name = "description",                                                                    \
	        .type = FIELD_STRING,                                                              \
	        OF(description),                                                                   \
	        .max = 4096,                                                                       \
	        .check = field_check_text,                                                         \
	        .doc = "Free text"},                                                               \
	        {.name = "labels",                                                                 \
	                .type = FIELD_LABELS,                                                      \
	                OF(labels),                                                                \
	                .max = 64,                                                                 \
	                .doc = "Key-value pairs to select by"},                                    \
	        {.name = "restart_policy",                                                         \
	                .type = FIELD_OBJECT,                                                      \
	                OF(restart_policy),                                                        \
	                .sub = &restart_table,                                                     \
	                .doc = "What happens when the guest ends by itself"},                      \
	        {.name = "autostart",                                                              \
	                .type = FIELD_OBJECT,                                                      \
	                OF(autostart),                                                             \
	                GIVEN(has_autostart),                                                      \
	                .sub = &autostart_table,                                                   \
	                .doc = "Start it when its host has come up; absent: not"},                 \
	        {.name = "cpu",                                                                    \
	                .type = FIELD_OBJECT,                                                      \
	                OF(cpu),                                                                   \
	                .sub = &cpu_table,                                                         \
	                .doc = "Processors"},                                                      \
	        {.name = "memory",                                                                 \
	                .type = FIELD_OBJECT,                                                      \
	                OF(memory),                                                                \
	                .sub = &memory_table,                                                      \
	                .flags = FIELD_REQUIRED,                                                   \
	                .doc = "Memory"},                                                          \
	        {.name = "placement",                                                              \
	                .type = FIELD_OBJECT,                                                      \
	                OF(placement),                                                             \
	                GIVEN(has_placement),                                                      \
	                .sub = &vm_placement_table,                                                \
	                .doc = "What it shall run near to, or away from"},                         \
	        {.name = "boot",                                                                   \
	                .type = FIELD_OBJECT,                                                      \
	                OF(boot),                                                                  \
	                .sub = &boot_table,                                                        \
	                .doc = "How it boots"},                                                    \
	        {.name = "machine",                                                                \
	                .type = FIELD_STRING,                                                      \
	                OF(machine),                                                               \
	                .max = 64,                                                                 \
	                .check = check_token,                                                      \
	                .doc = "QEMU machine type (default: the architecture's usual one)"},       \
	        {.name = "architecture",                                                           \
	                .type = FIELD_STRING,                                                      \
	                OF(architecture),                                                          \
	                .max = 16,                                                                 \
	                .check = check_token,                                                      \
	                .default_text = "\"x86_64\"",                                              \
	                .doc = "Guest architecture; a foreign one is emulated"},                   \
	        {.name = "tpm", .type = FIELD_BOOL, OF(tpm), .doc = "An emulated TPM 2.0"},        \
	        {.name = "deletion_protection",                                                    \
	                .type = FIELD_BOOL,                                                        \
	                OF(deletion_protection),                                                   \
	                .doc = "Refuse to delete it"},                                             \
	        {.name = "cloud_init",                                                             \
	                .type = FIELD_OBJECT,                                                      \
	                OF(cloud_init),                                                            \
	                GIVEN(has_cloud_init),                                                     \
	                .sub = &cloud_init_table,                                                  \
	                .doc = "What cloud-init in the guest is given (NoCloud seed)"},            \
	        {.name = "disks",                                                                  \
	                .type = FIELD_MAP,                                                         \
	                OF(disks),                                                                 \
	                .max = 32,                                                                 \
	                .sub = &vm_disk_table,                                                     \
	                .check = field_check_name,                                                 \
	                .doc = "Disks by name"},                                                   \
	{                                                                                          \
		.name = "nics", .type = FIELD_MAP, OF(nics), .max = 16, .sub = &vm_nic_table,      \
		.check = field_check_name, .doc = "Network interfaces by name"                     \
	}

static const struct field config_fields[] = {CONFIG_FIELDS(vm_cloud_init_table)};
const struct field_table vm_config_fields = FIELD_TABLE("VmConfig", struct vm_spec, config_fields);

static const struct field write_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                OF(name),
                .flags = FIELD_REQUIRED,
                .check = field_check_name,
                .format = "^[a-z][a-z0-9-]{0,62}$",
                .doc = "Unique name"},
        {.name = "host",
                .type = FIELD_STRING,
                OF(host),
                .max = 64,
                .check = field_check_text,
                .doc = "The host it runs on, by name or id; chosen if not given"},
        {.name = "host_group",
                .type = FIELD_STRING,
                OF(host_group),
                .max = 63,
                .check = field_check_text,
                .doc = "The group whose hosts are considered; any if not given"},
        {.name = "desired_power",
                .type = FIELD_ENUM,
                OF(desired_power),
                .names = desired_names,
                .doc = "running also starts it"},
        CONFIG_FIELDS(vm_cloud_init_write_table),
};
const struct field_table vm_write_fields = FIELD_TABLE("VmWrite", struct vm_spec, write_fields);

#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID, also libvirt's"},
        {.name = "name", .type = FIELD_STRING, OF(name), .doc = "Unique name"},
        {.name = "host", .type = FIELD_STRING, OF(host), .doc = "The host's name"},
        {.name = "host_group", .type = FIELD_STRING, OF(host_group), .doc = "The host's group"},
        {.name = "managed",
                .type = FIELD_BOOL,
                READ_ONLY,
                .doc = "False: a foreign domain, shown only"},
        {.name = "adopted",
                .type = FIELD_BOOL,
                READ_ONLY,
                .doc = "Its definition was not made by Berth and is never changed"},
        {.name = "power",
                .type = FIELD_ENUM,
                .names = vm_power_names,
                READ_ONLY,
                .doc = "As last seen"},
        {.name = "power_reason", .type = FIELD_STRING, READ_ONLY, .doc = "Why it is in that state"},
        {.name = "power_since", .type = FIELD_TIME, READ_ONLY, .doc = "Since when that is known"},
        {.name = "desired_power",
                .type = FIELD_ENUM,
                OF(desired_power),
                .names = desired_names,
                .doc = "What was asked for"},
        CONFIG_FIELDS(vm_cloud_init_table),
        {.name = "guest", .type = FIELD_JSON, READ_ONLY, .doc = "What the guest says of itself"},
        {.name = "pending",
                .type = FIELD_JSON,
                READ_ONLY,
                .doc = "Changes that wait for a restart, by JSON pointer"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table vm_fields = FIELD_TABLE("Vm", struct vm_spec, answer_fields);

void vm_spec_done(struct vm_spec *spec)
{
	field_release(&vm_write_fields, spec);
}

struct vm_disk *vm_spec_disk(const struct vm_spec *spec, size_t i)
{
	return (struct vm_disk *)spec->disks.items + i;
}

struct vm_disk *vm_spec_find_disk(const struct vm_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->disks.len; i++)
		if (strcmp(vm_spec_disk(spec, i)->name, name) == 0)
			return vm_spec_disk(spec, i);
	return NULL;
}

/* Of the machines that Berth makes, x86's have slots for memory; huge pages are counted out at the start. */
static bool takes_memory(const struct vm_spec *spec)
{
	return str_equal(spec->architecture, "x86_64") && !spec->memory.hugepages;
}

int64_t vm_spec_memory_ceiling(const struct vm_spec *spec)
{
	const struct vm_memory *memory = &spec->memory;
	bool has_room = memory->has_max &&
	                memory->max_bytes - memory->size_bytes >= DRIVER_MEMORY_STEP_BYTES;
	return has_room && takes_memory(spec) ? memory->max_bytes : memory->size_bytes;
}

bool vm_spec_memory_grows(const struct vm_spec *active, int64_t wanted_bytes)
{
	int64_t more = wanted_bytes - active->memory.size_bytes;
	return more > 0 && more % DRIVER_MEMORY_STEP_BYTES == 0 &&
	       wanted_bytes <= vm_spec_memory_ceiling(active);
}

struct vm_nic *vm_spec_nic(const struct vm_spec *spec, size_t i)
{
	return (struct vm_nic *)spec->nics.items + i;
}

int vm_spec_load(const char *stored, struct vm_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_error_t where;
	json_t *json = json_loads(stored, 0, &where);
	if (!json)
		return err_set(
		        e, ERR_INTERNAL, "a stored VM configuration is not JSON: %s", where.text);
	int rc = field_decode(&vm_config_fields, json, FIELD_DECODE_STORED, ret_spec, &errors);
	json_decref(json);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "a stored VM configuration is invalid at %s: %s",
		        errors.items[0].pointer, errors.items[0].detail);
	return 0;
}

char *vm_spec_store(const struct vm_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&vm_config_fields, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}
