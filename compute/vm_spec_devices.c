/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of a VM's devices and of what cloud-init gets. */
#include <string.h>

#include "compute/vm_spec_tables.h"
#include "network/mac.h"

#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)

const char *const vm_disk_kind_names[] = {"disk", "cdrom", NULL};
const char *const vm_disk_format_names[] = {"qcow2", "raw", NULL};
const char *const vm_bus_names[] = {"virtio", "scsi", "sata", NULL};
const char *const vm_cache_names[] = {
        "none", "writeback", "writethrough", "directsync", "unsafe", NULL};
const char *const vm_discard_names[] = {"unmap", "ignore", NULL};
const char *const vm_nic_model_names[] = {"virtio", "e1000e", "e1000", "rtl8139", NULL};
const char *const vm_clone_names[] = {"linked", "full", NULL};

/* What libvirt and the guest's udev take without escaping. */
static const char *check_serial(const char *text)
{
	if (text[0] == '\0')
		return "must not be empty";
	size_t len =
	        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	return text[len] ? "must consist of letters, digits, '_' and '-'" : NULL;
}

#define DISK_OF(member) .offset = offsetof(struct vm_disk, member)
#define NIC_OF(member)  .offset = offsetof(struct vm_nic, member)
#define SEED_OF(member) .offset = offsetof(struct vm_cloud_init, member)

static const struct field disk_fields[] = {
        {.name = "kind",
                .type = FIELD_ENUM,
                DISK_OF(kind),
                .names = vm_disk_kind_names,
                .doc = "A disk, or a CD-ROM drive"},
        {.name = "pool",
                .type = FIELD_STRING,
                DISK_OF(pool),
                .check = field_check_name,
                .default_text = "\"default\"",
                .doc = "The pool that holds the volume"},
        {.name = "volume",
                .type = FIELD_STRING,
                DISK_OF(volume),
                .check = field_check_name,
                .doc = "An existing volume; without it one of size_bytes is created, named "
                       "VM-DISK"},
        {.name = "image",
                .type = FIELD_STRING,
                DISK_OF(image),
                .check = field_check_name,
                .doc = "The image the new volume begins as, by name"},
        {.name = "clone",
                .type = FIELD_ENUM,
                DISK_OF(clone),
                .names = vm_clone_names,
                .doc = "linked: stands on the image for good; full: becomes independent of it in "
                       "the background, and always so in a pool that holds no files"},
        {.name = "size_bytes",
                .type = FIELD_INT,
                DISK_OF(size_bytes),
                .min = 0,
                .max = 256 * TIB,
                .doc = "Size of the volume to create, in bytes; a multiple of 1 MiB (default: the "
                       "image's)"},
        {.name = "format",
                .type = FIELD_ENUM,
                DISK_OF(format),
                .names = vm_disk_format_names,
                .doc = "Format of the volume to create"},
        {.name = "bus",
                .type = FIELD_ENUM,
                DISK_OF(bus),
                .names = vm_bus_names,
                .doc = "The device the guest sees"},
        {.name = "cache",
                .type = FIELD_ENUM,
                DISK_OF(cache),
                .names = vm_cache_names,
                .doc = "QEMU's cache mode"},
        {.name = "discard",
                .type = FIELD_ENUM,
                DISK_OF(discard),
                .names = vm_discard_names,
                .doc = "Whether the guest's TRIM frees space"},
        {.name = "serial",
                .type = FIELD_STRING,
                DISK_OF(serial),
                .max = 20,
                .check = check_serial,
                .doc = "Serial number shown to the guest (default: the disk's name)"},
        {.name = "backup",
                .type = FIELD_BOOL,
                DISK_OF(backup),
                .default_text = "true",
                .doc = "Whether backups include this disk"},
        {.name = "iops_limit",
                .type = FIELD_INT,
                DISK_OF(iops_limit),
                .min = 0,
                .max = 10000000,
                .doc = "Requests per second; 0: no limit"},
        {.name = "bytes_per_second_limit",
                .type = FIELD_INT,
                DISK_OF(bytes_per_second_limit),
                .min = 0,
                .max = TIB,
                .doc = "Bytes per second; 0: no limit"},
};
const struct field_table vm_disk_table = FIELD_TABLE("VmDisk", struct vm_disk, disk_fields);

static const struct field nic_fields[] = {
        {.name = "network",
                .type = FIELD_STRING,
                NIC_OF(network),
                .check = field_check_name,
                .default_text = "\"default\"",
                .doc = "The libvirt network it is plugged into"},
        {.name = "mac",
                .type = FIELD_STRING,
                NIC_OF(mac),
                .check = mac_check,
                .format = "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$",
                .doc = "MAC address; chosen and kept if not given"},
        {.name = "model",
                .type = FIELD_ENUM,
                NIC_OF(model),
                .names = vm_nic_model_names,
                .doc = "The device the guest sees"},
};
const struct field_table vm_nic_table = FIELD_TABLE("VmNic", struct vm_nic, nic_fields);

/* RFC 1123, as cloud-init sets it. */
static const char *check_hostname(const char *text)
{
	size_t len =
	        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
	if (text[len] || !text[0] || text[0] == '-' || text[0] == '.')
		return "must be a host name (RFC 1123)";
	return NULL;
}

static const char *check_ssh_key(const char *text)
{
	static const char *const types[] = {
	        "ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-", NULL};
	if (strchr(text, '\n'))
		return "must be one line";
	for (int i = 0; types[i]; i++)
		if (strncmp(text, types[i], strlen(types[i])) == 0 && strchr(text, ' '))
			return field_check_text(text);
	return "must be a public key in OpenSSH's format";
}

#define CLOUD_INIT_FIELDS                                                                          \
	{.name = "hostname",                                                                       \
	        .type = FIELD_STRING,                                                              \
	        SEED_OF(hostname),                                                                 \
	        .max = 253,                                                                        \
	        .check = check_hostname,                                                           \
	        .doc = "The guest's host name (default: the VM's name)"},                          \
	        {.name = "ssh_keys",                                                               \
	                .type = FIELD_STRINGS,                                                     \
	                SEED_OF(ssh_keys),                                                         \
	                .max = 64,                                                                 \
	                .check = check_ssh_key,                                                    \
	                .doc = "Public keys that may log in as the default user"},                 \
	        {.name = "user_data",                                                              \
	                .type = FIELD_STRING,                                                      \
	                SEED_OF(user_data),                                                        \
	                .max = 262144,                                                             \
	                .doc = "cloud-init's user-data in full: #cloud-config, a script, MIME"},   \
	        {.name = "meta_data",                                                              \
	                .type = FIELD_STRING,                                                      \
	                SEED_OF(meta_data),                                                        \
	                .max = 65536,                                                              \
	                .doc = "cloud-init's meta-data in full, as YAML; replaces what hostname "  \
	                       "and ssh_keys would make"},                                         \
	        {.name = "network_config",                                                         \
	                .type = FIELD_STRING,                                                      \
	                SEED_OF(network_config),                                                   \
	                .max = 65536,                                                              \
	                .doc = "cloud-init's network-config in full, as YAML"},

static const struct field cloud_init_fields[] = {CLOUD_INIT_FIELDS};
const struct field_table vm_cloud_init_table =
        FIELD_TABLE("VmCloudInit", struct vm_cloud_init, cloud_init_fields);

static const struct field cloud_init_write_fields[] = {
        CLOUD_INIT_FIELDS{.name = "password",
                .type = FIELD_STRING,
                SEED_OF(password),
                .flags = FIELD_SECRET,
                .max = 256,
                .check = field_check_text,
                .doc = "The default user's password; kept as a hash only. Absent: as before; "
                       "empty: none"},
};
const struct field_table vm_cloud_init_write_table =
        FIELD_TABLE("VmCloudInitWrite", struct vm_cloud_init, cloud_init_write_fields);
