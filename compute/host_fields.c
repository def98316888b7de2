/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of hosts: what is written, what is stored as JSON, what is answered. */
#include "compute/host.h"

#include <stddef.h>

#include "compute/host_view.h"

const char *const host_accelerator_names[] = {"auto", "kvm", "tcg", NULL};
static const char *const access_names[] = {"local", "remote", NULL};
static const char *const state_names[] = {
        "connecting", "ok", "slow", "down", "draining", "maintenance", NULL};
static const char *const hardware_names[] = {"vmx", "svm", "none", NULL};
static const char *const chosen_names[] = {"kvm", "tcg", NULL};

static const char *check_uri_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f)
			return "must consist of printable ASCII characters without spaces";
	return NULL;
}

#define OF(member) .offset = offsetof(struct host_spec, member)

#define EXTRA_FIELDS                                                                               \
	{.name = "failure_domain",                                                                 \
	        .type = FIELD_STRING,                                                              \
	        OF(failure_domain),                                                                \
	        .flags = FIELD_NULLABLE,                                                           \
	        .max = 128,                                                                        \
	        .check = field_check_label,                                                        \
	        .doc = "What it fails together with: a rack, a room"},                             \
	{                                                                                          \
		.name = "labels", .type = FIELD_LABELS, OF(labels), .max = 64,                     \
		.doc = "Key-value pairs to select by"                                              \
	}

#define SPEC_FIELDS                                                                                \
	{.name = "name",                                                                           \
	        .type = FIELD_STRING,                                                              \
	        OF(name),                                                                          \
	        .flags = FIELD_REQUIRED | FIELD_FILTER | FIELD_SORT,                               \
	        .max = 63,                                                                         \
	        .check = field_check_name,                                                         \
	        .format = "^[a-z][a-z0-9-]{0,62}$",                                                \
	        .doc = "Unique name"},                                                             \
	        {.name = "uri",                                                                    \
	                .type = FIELD_STRING,                                                      \
	                OF(uri),                                                                   \
	                .flags = FIELD_REQUIRED,                                                   \
	                .min = 1,                                                                  \
	                .max = 1000,                                                               \
	                .check = check_uri_text,                                                   \
	                .doc = "libvirt URI: qemu:///system, qemu+ssh://USER@HOST/system, "        \
	                       "qemu+tls://HOST/system; no password in it"},                       \
	        {.name = "group",                                                                  \
	                .type = FIELD_STRING,                                                      \
	                OF(group),                                                                 \
	                .max = 63,                                                                 \
	                .check = field_check_name,                                                 \
	                .default_text = "\"default\"",                                             \
	                .doc = "The host group whose policy holds for it"},                        \
	        {.name = "accelerator",                                                            \
	                .type = FIELD_ENUM,                                                        \
	                OF(accelerator),                                                           \
	                .names = host_accelerator_names,                                           \
	                .default_text = "\"auto\"",                                                \
	                .doc = "auto: KVM where the CPU really has it, else emulation (tcg)"},     \
	        EXTRA_FIELDS

static const struct field spec_fields[] = {SPEC_FIELDS};
const struct field_table host_spec_fields = FIELD_TABLE("HostWrite", struct host_spec, spec_fields);

static const struct field extra_fields[] = {EXTRA_FIELDS};
const struct field_table host_extra_fields =
        FIELD_TABLE("HostExtra", struct host_spec, extra_fields);

/* From here on: described for readers of the API, written by host_view.c. */
#define READ_ONLY .flags = FIELD_READ_ONLY | FIELD_NULLABLE

static const struct field numa_fields[] = {
        {.name = "id", .type = FIELD_INT, READ_ONLY, .doc = "The node's number"},
        {.name = "memory_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Its memory"},
        {.name = "cpus", .type = FIELD_INT, READ_ONLY, .doc = "How many CPU threads it has"},
        {.name = "cpu_list",
                .type = FIELD_STRING,
                READ_ONLY,
                .doc = "Their numbers, as in 0-3,8; empty: not known"},
};
static const struct field_table numa_table =
        FIELD_TABLE("HostNumaNode", struct host_spec, numa_fields);

static const struct field cpu_fields[] = {
        {.name = "model", .type = FIELD_STRING, READ_ONLY, .doc = "As libvirt names it"},
        {.name = "vendor", .type = FIELD_STRING, READ_ONLY, .doc = "Maker of the CPU"},
        {.name = "architecture", .type = FIELD_STRING, READ_ONLY, .doc = "x86_64, aarch64, ..."},
        {.name = "threads", .type = FIELD_INT, READ_ONLY, .doc = "CPU threads in all"},
        {.name = "sockets", .type = FIELD_INT, READ_ONLY, .doc = "Sockets"},
        {.name = "cores", .type = FIELD_INT, READ_ONLY, .doc = "Cores per socket"},
        {.name = "threads_per_core", .type = FIELD_INT, READ_ONLY, .doc = "Threads per core"},
        {.name = "numa_nodes",
                .type = FIELD_LIST,
                .sub = &numa_table,
                READ_ONLY,
                .doc = "NUMA nodes"},
};
static const struct field_table cpu_table = FIELD_TABLE("HostCpu", struct host_spec, cpu_fields);

static const struct field hugepage_fields[] = {
        {.name = "node", .type = FIELD_INT, READ_ONLY, .doc = "The NUMA node they are on"},
        {.name = "page_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Size of a page"},
        {.name = "pages",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "How many are set aside, used ones included"},
};
static const struct field_table hugepage_table =
        FIELD_TABLE("HostHugepagePool", struct host_spec, hugepage_fields);

static const struct field memory_fields[] = {
        {.name = "total_bytes", .type = FIELD_INT, READ_ONLY, .doc = "What the host has"},
        {.name = "reserved_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Kept for the host itself by its group"},
        {.name = "free_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Neither reserved nor configured for a VM"},
        {.name = "hugepages",
                .type = FIELD_LIST,
                .sub = &hugepage_table,
                READ_ONLY,
                .doc = "Pools of huge pages that the host has set aside; null: not known"},
};
static const struct field_table memory_table =
        FIELD_TABLE("HostMemory", struct host_spec, memory_fields);

static const struct field virtualization_fields[] = {
        {.name = "hardware",
                .type = FIELD_ENUM,
                .names = hardware_names,
                READ_ONLY,
                .doc = "The CPU's virtualization extension"},
        {.name = "accelerator",
                .type = FIELD_ENUM,
                .names = chosen_names,
                READ_ONLY,
                .doc = "What guests of the host's own architecture get"},
        {.name = "iommu", .type = FIELD_BOOL, READ_ONLY, .doc = "Whether it has an IOMMU"},
};
static const struct field_table virtualization_table =
        FIELD_TABLE("HostVirtualization", struct host_spec, virtualization_fields);

static const struct field version_fields[] = {
        {.name = "libvirt", .type = FIELD_STRING, READ_ONLY, .doc = "libvirt, MAJOR.MINOR.RELEASE"},
        {.name = "hypervisor", .type = FIELD_STRING, READ_ONLY, .doc = "QEMU"},
};
static const struct field_table version_table =
        FIELD_TABLE("HostVersions", struct host_spec, version_fields);

static const struct field architecture_fields[] = {
        {.name = "name", .type = FIELD_STRING, READ_ONLY, .doc = "x86_64, aarch64, ..."},
        {.name = "machines_default",
                .type = FIELD_STRING,
                READ_ONLY,
                .doc = "The machine type that VMs get unless they ask for one"},
        {.name = "uefi", .type = FIELD_BOOL, READ_ONLY, .doc = "Whether UEFI is there"},
        {.name = "secure_boot",
                .type = FIELD_BOOL,
                READ_ONLY,
                .doc = "Whether UEFI secure boot is there"},
        {.name = "kvm", .type = FIELD_BOOL, READ_ONLY, .doc = "Whether KVM can be used for it"},
};
static const struct field_table architecture_table =
        FIELD_TABLE("HostArchitecture", struct host_spec, architecture_fields);

static const struct field allocation_fields[] = {
        {.name = "vms", .type = FIELD_INT, READ_ONLY, .doc = "VMs that count"},
        {.name = "vcpus", .type = FIELD_INT, READ_ONLY, .doc = "Their vCPUs"},
        {.name = "memory_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Their memory"},
        {.name = "held_vms",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "VMs with a process, or about to get one; the rest here is of these"},
        {.name = "held_vcpus", .type = FIELD_INT, READ_ONLY, .doc = "Their vCPUs"},
        {.name = "held_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Their sizes and overhead; huge pages are not counted here and below"},
        {.name = "guaranteed_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Their floors and overhead"},
        {.name = "booked_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "What they may have at this moment, and overhead"},
        {.name = "overhead_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Of their hypervisor processes beside the guests"},
        {.name = "limit_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "What may be held, by the group's overcommit mode"},
        {.name = "free_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "What of that may still be asked for"},
};
static const struct field_table allocation_table =
        FIELD_TABLE("HostAllocation", struct host_spec, allocation_fields);

static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        SPEC_FIELDS,
        {.name = "access",
                .type = FIELD_ENUM,
                .names = access_names,
                READ_ONLY,
                .doc = "Whether its files are files of the manager's machine"},
        {.name = "state",
                .type = FIELD_ENUM,
                .names = state_names,
                READ_ONLY,
                .doc = "Whether it answers"},
        {.name = "state_reason", .type = FIELD_STRING, READ_ONLY, .doc = "Why; empty when ok"},
        {.name = "state_since", .type = FIELD_TIME, READ_ONLY, .doc = "Since when"},
        {.name = "cpu",
                .type = FIELD_OBJECT,
                .sub = &cpu_table,
                READ_ONLY,
                .doc = "Null until it was reached once"},
        {.name = "memory",
                .type = FIELD_OBJECT,
                .sub = &memory_table,
                READ_ONLY,
                .doc = "Null until it was reached once"},
        {.name = "networks",
                .type = FIELD_STRINGS,
                READ_ONLY,
                .doc = "Its active virtual networks, looked at every 10 s; null: not known"},
        {.name = "virtualization",
                .type = FIELD_OBJECT,
                .sub = &virtualization_table,
                READ_ONLY,
                .doc = "Null until it was reached once"},
        {.name = "versions",
                .type = FIELD_OBJECT,
                .sub = &version_table,
                READ_ONLY,
                .doc = "Null until it was reached once"},
        {.name = "architectures",
                .type = FIELD_LIST,
                .sub = &architecture_table,
                READ_ONLY,
                .doc = "Guest architectures; null until it was reached once"},
        {.name = "allocation",
                .type = FIELD_OBJECT,
                .sub = &allocation_table,
                READ_ONLY,
                .doc = "Configured for managed VMs, and for foreign ones that are not off"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of registration"},
        {.name = "version",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table host_fields = FIELD_TABLE("Host", struct host_spec, answer_fields);

void host_spec_done(struct host_spec *spec)
{
	field_release(&host_spec_fields, spec);
}
