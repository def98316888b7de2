/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain XML: a plain description of a domain becomes libvirt's XML, and the facts Berth needs are
 * read back. Built with libxml2, never by printing. Element order follows libvirt's schema
 * (domain.rng).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

/* The namespace and element by which Berth knows its own domains. */
#define DOMAIN_METADATA_URI "urn:berth:vm:1"
#define DOMAIN_MARK_VM      "vm"
#define DOMAIN_MARK_CARRIER "carrier"

enum domain_firmware { FIRMWARE_BIOS, FIRMWARE_UEFI };
enum domain_disk_kind { DOMAIN_DISK, DOMAIN_CDROM };

/* Where one layer of a disk lies. All borrowed. */
enum domain_source_type { DOMAIN_SOURCE_FILE, DOMAIN_SOURCE_BLOCK, DOMAIN_SOURCE_NETWORK };
struct domain_source {
	enum domain_source_type type;
	const char *
	        path; /* absolute; network: the name within the protocol ("IQN/1", "pool/image", "volume/file") */
	const char *format;           /* qcow2 | raw: recorded, given explicitly, never probed */
	const char *protocol;         /* network: iscsi, rbd, gluster, nfs */
	const char *const *hosts;     /* network: "HOST" or "HOST:PORT"; NULL-terminated */
	const char *user, *secret_id; /* network: NULL: no authentication */
	const char *initiator;        /* iscsi: NULL: the default */
};

struct domain_disk {
	const char *name; /* the disk's key in Berth; becomes alias ua-disk-NAME */
	enum domain_disk_kind kind;
	const struct domain_source
	        *chain; /* top first, down to one without a backing file; explicit, never probed */
	size_t n_chain; /* 0: an empty CD-ROM drive */
	bool read_only;
	const char *bus;                            /* virtio | scsi | sata | usb */
	const char *serial;                         /* NULL: none */
	const char *cache;                          /* NULL: the default none */
	const char *discard;                        /* unmap | ignore | NULL */
	int64_t iops_limit, bytes_per_second_limit; /* 0: none */
	int boot_order;                             /* 0: none */
};

struct domain_nic {
	const char *name;    /* alias ua-nic-NAME */
	const char *network; /* libvirt network */
	const char *mac;
	const char *model; /* virtio | e1000e | ... */
	int boot_order;
};

struct domain_config {
	const char *id, *name, *description;
	const char *domain_type;                /* kvm | qemu | test */
	const char *architecture;               /* x86_64, aarch64, ... */
	const char *machine;                    /* q35, virt, pc, or a versioned name */
	int64_t memory_bytes, memory_max_bytes; /* max: hotplug ceiling, equal to memory for none */
	int64_t memory_current_bytes;           /* balloon at boot; normally memory_bytes */
	bool ballooning, memory_merge, hugepages;
	int vcpus, vcpus_max;
	const char *cpu_model;     /* host | maximum | a named model */
	int64_t cpu_shares;        /* 0: default */
	int64_t cpu_limit_percent; /* of one CPU per vCPU; 0: none */
	/* Host CPUs as "0-3,8"; NULL: anywhere. */
	const char *const *vcpu_pins; /* by number of the vCPU; NULL entries: anywhere */
	size_t n_vcpu_pins;           /* of vcpus_max at most */
	const char *emulator_pins, *iothread_pins;
	int iothreads;             /* virtio disks are spread over them; 0: none */
	const char *memory_nodes;  /* NUMA nodes of the host as "0-1"; NULL: any */
	const char *memory_policy; /* strict | preferred | interleave; NULL: strict */
	int64_t hugepage_bytes;    /* with hugepages: their size; 0: the host's default */
	enum domain_firmware firmware;
	bool secure_boot, tpm;
	const char *kernel, *initrd, *cmdline; /* host paths; NULL: boot from disk */
	const char *console_log; /* host path for the serial console's log; NULL: none */
	const struct domain_disk *disks;
	size_t n_disks;
	const struct domain_nic *nics;
	size_t n_nics;
	bool is_test_driver; /* leave out what test:/// refuses */
};

/* Caller frees *ret_xml. Any thread, pure. */
int domain_xml_build(const struct domain_config *config, char **ret_xml, struct err *e);
/* One <disk> or <interface> element, for hotplug; `index` is the position the full XML would give
 * it. */
int domain_xml_build_disk(
        const struct domain_config *config, size_t index, char **ret_xml, struct err *e);
int domain_xml_build_nic(
        const struct domain_config *config, size_t index, char **ret_xml, struct err *e);

/* A DIMM for a running domain with NUMA nodes. Caller frees. */
int domain_xml_build_dimm(int64_t bytes, char **ret_xml, struct err *e);
/* The <disk> that a block copy writes to; it must exist. Caller frees. */
int domain_xml_build_copy_target(const struct domain_source *source, char **ret_xml, struct err *e);
/* The description of an external snapshot: disks[i] gets overlays[i]; other disks none; memory_path NULL: disk only.
 * `live_xml` is where targets are looked up by alias. Caller frees. */
struct domain_overlay {
	const char *disk; /* key in Berth */
	struct domain_source source;
};
int domain_xml_build_snapshot(const struct domain_overlay *overlays, size_t n_overlays,
        const char *memory_path, const char *live_xml, char **ret_xml, struct err *e);
/* `xml` (of a saved memory file) with the chains of `disks` instead of its own; devices and addresses stay. A disk that
 * is not in `disks` is an error. Caller frees. */
int domain_xml_replace_chains(const char *xml, const struct domain_disk *disks, size_t n_disks,
        char **ret_xml, struct err *e);
/*
 * `xml` (newly built) with the addresses (PCI, SCSI, ...), targets and the versioned machine type that the devices with
 * the same alias have in `before`, so that a device keeps its place in the guest when others come and go. Caller frees.
 */
int domain_xml_keep_addresses(const char *xml, const char *before, char **ret_xml, struct err *e);
/* A domain that only carries block jobs: 16 MiB of memory, no network, never resumed, marked in its metadata. */
struct domain_carrier {
	const char *id, *name;
	const char *domain_type, *architecture, *machine;
	const struct domain_disk *disks;
	size_t n_disks;
};
int domain_xml_build_carrier(const struct domain_carrier *carrier, char **ret_xml, struct err *e);

/*
 * The same device for a running domain: a disk gets the target that the disk with its alias has
 * there, or a free one. What libvirt attaches, updates or detaches live must be fitted. Caller
 * frees *ret_xml.
 */
int domain_xml_fit_device(
        const char *device_xml, const char *live_xml, char **ret_xml, struct err *e);

/* A disk of a running domain, by its key in Berth. All owned. */
struct domain_chain {
	char *target;
	struct domain_layer {
		char *path, *format; /* format NULL: not said */
		int index;           /* libvirt's number of the layer: "vda[2]"; 0: not said */
	} * layers;                  /* top first */
	size_t n_layers;
	bool has_mirror, mirror_is_ready; /* a copy or an active commit; ready to be ended */
};
/* ERR_NOT_FOUND without that disk. */
int domain_xml_read_chain(
        const char *live_xml, const char *disk, struct domain_chain *ret_chain, struct err *e);
void domain_chain_done(struct domain_chain *chain);
/* Whether a disk of that domain has the layer in its chain, or a block job copies into it. */
bool domain_xml_names_layer(const char *xml, const char *path);

/* What is read back from a definition, ours or a foreign one. All owned. */
struct domain_facts {
	char id[UUID_TEXT_SIZE];
	char *name, *domain_type, *architecture, *machine, *console_log, *description;
	bool is_ours, is_carrier;
	int64_t memory_bytes, memory_current_bytes;
	int64_t memory_max_bytes;            /* the ceiling for plugged memory, or memory_bytes */
	int memory_slots, memory_slots_used; /* for DIMMs; 0: none */
	int vcpus, vcpus_max;
	bool has_balloon;     /* a virtio balloon */
	int stats_period_s;   /* 0: its guest does not report */
	bool agent_connected; /* live XML: the agent channel's state */
	struct domain_disk_facts {
		char *target, *path, *format, *serial, *alias, *bus, *device;
	} * disks;
	size_t n_disks;
	struct domain_nic_facts {
		char *mac, *network, *target, *alias, *model;
	} * nics;
	size_t n_nics;
};
int domain_xml_parse(const char *xml, struct domain_facts *ret_facts, struct err *e);
void domain_facts_done(struct domain_facts *facts);
