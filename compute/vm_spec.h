/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's configuration: what a user writes, what is stored as JSON in vm.spec, what the domain is
 * built from. Three field tables over one struct: the stored configuration, the write (plus name,
 * host, desired power) and the answer (plus what is read-only).
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"

enum vm_power { POWER_STOPPED, POWER_RUNNING, POWER_PAUSED, POWER_SUSPENDED, POWER_UNKNOWN };
extern const char *const vm_power_names[]; /* NULL-terminated, in the enum's order */
/* POWER_UNKNOWN for anything else. */
enum vm_power vm_power_from_name(const char *name);

enum vm_on_shutdown { ON_SHUTDOWN_STAY_OFF, ON_SHUTDOWN_RESTART };
enum vm_on_crash { ON_CRASH_RESTART, ON_CRASH_STAY_OFF };
enum vm_firmware { VM_FIRMWARE_BIOS, VM_FIRMWARE_UEFI };
enum vm_ballooning { BALLOONING_AUTO, BALLOONING_OFF };
enum vm_pinning { PINNING_NONE, PINNING_AUTO, PINNING_DEDICATED };
enum vm_on_critical { ON_CRITICAL_STAY, ON_CRITICAL_SUSPEND };
enum vm_disk_kind { VM_DISK_DISK, VM_DISK_CDROM };
enum vm_disk_format { VM_FORMAT_QCOW2, VM_FORMAT_RAW };
extern const char *const vm_disk_kind_names[],
        *const vm_disk_format_names[],
                *const vm_bus_names[], *const vm_cache_names[], *const vm_discard_names[],
                                                                        *const vm_nic_model_names[];

struct vm_disk {
	char *name; /* the key in `disks` */
	int kind;   /* enum vm_disk_kind */
	char *pool, *volume, *serial;
	char *image;             /* what a new volume begins as; NULL: empty */
	int clone;               /* enum vm_clone, with image */
	int64_t size_bytes;      /* of a new volume; 0: an existing one is named, or the image's */
	int format;              /* enum vm_disk_format, of a new volume */
	int bus, cache, discard; /* indexes into the name tables */
	bool backup;
	int64_t iops_limit, bytes_per_second_limit; /* 0: none */
	char from_layer
	        [UUID_TEXT_SIZE]; /* not of the configuration: the layer that a clone's disk begins as; "": none */
};

enum vm_clone { VM_CLONE_LINKED, VM_CLONE_FULL };
extern const char *const vm_clone_names[];

struct vm_cloud_init {
	char *hostname, *user_data, *meta_data, *network_config,
	        *password; /* password: in a write only */
	struct field_strings ssh_keys;
};

struct vm_nic {
	char *name; /* the key in `nics` */
	char *network, *mac;
	int model;
};

struct vm_autostart {
	int64_t priority, delay_seconds;
};

struct vm_restart_policy {
	int on_guest_shutdown, on_crash; /* enum vm_on_shutdown, enum vm_on_crash */
};

struct vm_cpu {
	int64_t count, max, shares, reservation_percent, limit_percent;
	bool has_max, has_shares, has_reservation;
	int pinning; /* enum vm_pinning */
	char *model;
};

struct vm_memory {
	int64_t size_bytes, min_bytes, max_bytes, shares;
	bool has_min, has_max;
	int ballooning;  /* enum vm_ballooning */
	int on_critical; /* enum vm_on_critical */
	bool merge, hugepages;
};

/* What it shall be near to, or away from. */
struct vm_placement_rule {
	struct field_strings vms, hosts; /* names */
	struct field_labels labels;      /* of VMs */
	struct field_labels host_labels;
	char *failure_domain; /* JSON: true, false or a text */
	bool hard;
};

struct vm_placement {
	struct field_list affinity, anti_affinity; /* of struct vm_placement_rule */
};

struct vm_boot {
	int firmware; /* enum vm_firmware */
	bool secure_boot;
	char *kernel, *initrd, *cmdline;
	struct field_strings order;
};

struct vm_spec {
	char *name, *host, *host_group; /* not in the stored form */
	int desired_power;              /* not in the stored form */

	char *description;
	struct field_labels labels;
	struct vm_restart_policy restart_policy;
	struct vm_autostart autostart;
	bool has_autostart;
	struct vm_cpu cpu;
	struct vm_memory memory;
	struct vm_placement placement;
	bool has_placement;
	struct vm_boot boot;
	char *machine, *architecture;
	bool tpm, deletion_protection;
	struct vm_cloud_init cloud_init;
	bool has_cloud_init;
	struct field_list disks; /* of struct vm_disk */
	struct field_list nics;  /* of struct vm_nic */
};

extern const struct field_table vm_config_fields; /* stored */
extern const struct field_table vm_write_fields;  /* POST, PUT; the merge patch's result */
extern const struct field_table vm_fields;        /* answers */
extern const struct field_table vm_placement_table;

void vm_spec_done(struct vm_spec *spec);
struct vm_disk *vm_spec_disk(const struct vm_spec *spec, size_t i);
/* By its name; NULL if there is none. */
struct vm_disk *vm_spec_find_disk(const struct vm_spec *spec, const char *name);
struct vm_nic *vm_spec_nic(const struct vm_spec *spec, size_t i);

/* How much memory a guest that boots with this configuration can have while it runs: its size, if it cannot grow. */
int64_t vm_spec_memory_ceiling(const struct vm_spec *spec);
/* Whether a guest that runs with `active` can be given so much: by whole steps, as it would not use the rest. */
bool vm_spec_memory_grows(const struct vm_spec *active, int64_t wanted_bytes);

const struct vm_placement_rule *vm_placement_rule_at(const struct field_list *rules, size_t i);
/* Whether the same failure domain counts like the same host. */
bool vm_placement_rule_by_domain(const struct vm_placement_rule *rule);
/* The failure domain that it names, or NULL. Caller frees. */
char *vm_placement_rule_domain(const struct vm_placement_rule *rule);

/* Reads the stored form; ERR_INTERNAL if it is not ours. The caller releases *ret_spec in any case.
 */
int vm_spec_load(const char *stored, struct vm_spec *ret_spec, struct err *e);
/* The stored form, compact JSON in a canonical order. Caller frees. */
char *vm_spec_store(const struct vm_spec *spec);

/* Directories that direct-boot kernels and initrds may come from; NULL-terminated, borrowed. */
struct vm_spec_rules {
	const char *const *boot_directories;
};
/* The part of vm_spec_check about `placement`. */
void vm_placement_check(const struct vm_spec *spec, struct field_errors *errors);
/*
 * The rules that span members: min <= size <= max, whole MiB, boot order names devices, unique MACs
 * and serials, kernel paths below the allowed directories, secure boot needs UEFI. Adds all
 * violations. Pure.
 */
int vm_spec_check(
        const struct vm_spec *spec, const struct vm_spec_rules *rules, struct field_errors *errors);
