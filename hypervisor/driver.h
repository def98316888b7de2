/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between Berth and a hypervisor: one table of functions per driver. NULL in the table
 * means unsupported; callers use the driver_* wrappers of driver.c, which turn that into
 * ERR_UNSUPPORTED.
 *
 * Thread model: everything that takes a connection blocks and runs on a lane thread (up to four at
 * once on one connection); events arrive on the core loop. Domains are named by their UUID text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/uuid.h"
#include "hypervisor/host_facts.h"

struct driver_connection; /* the driver's own */

/* What Linux guests use memory in; with less they ignore a DIMM. */
#define DRIVER_MEMORY_STEP_BYTES ((int64_t)128 * 1024 * 1024)
/* How many DIMMs find a place in a domain that may grow; each growth takes one. */
#define DRIVER_MEMORY_SLOTS 16

enum domain_state {
	DOMAIN_UNKNOWN,
	DOMAIN_RUNNING,
	DOMAIN_PAUSED,
	DOMAIN_SHUTOFF,
	DOMAIN_CRASHED,
	DOMAIN_PMSUSPENDED, /* suspended to RAM by the guest: still has a process */
	DOMAIN_SHUTTING_DOWN,
};

/* It has no process, as far as that is known. */
static inline bool domain_state_is_off(enum domain_state state)
{
	return state == DOMAIN_SHUTOFF || state == DOMAIN_CRASHED;
}

/* Why it is in that state, as far as the hypervisor says. */
enum domain_reason {
	DOMAIN_REASON_NONE,
	DOMAIN_REASON_GUEST_SHUTDOWN, /* the guest ended itself */
	DOMAIN_REASON_DESTROYED,      /* stopped by force, by whomever */
	DOMAIN_REASON_CRASHED,        /* guest panic or the process died */
	DOMAIN_REASON_SAVED,          /* managed save */
	DOMAIN_REASON_FAILED,         /* could not start */
	DOMAIN_REASON_IO_ERROR,       /* paused by a storage error */
	DOMAIN_REASON_USER,           /* paused by a request */
	DOMAIN_REASON_MIGRATED,
};

enum domain_event_kind {
	DOMAIN_EVENT_DEFINED,
	DOMAIN_EVENT_UNDEFINED,
	DOMAIN_EVENT_STATE, /* started, stopped, paused, resumed, ...: ask for the state */
	DOMAIN_EVENT_GUEST, /* agent came or went, rebooted, balloon: guest facts may have changed
	                     */
	DOMAIN_EVENT_DEVICE_REMOVED,
	DOMAIN_EVENT_REBOOT,
};

struct domain_event {
	char id[UUID_TEXT_SIZE];
	char name[256];
	enum domain_event_kind kind;
	enum domain_state state; /* for STATE, what the event itself implies, else UNKNOWN */
	enum domain_reason reason;
	char device[64]; /* alias, for DEVICE_REMOVED */
};

/* Called on the core loop. */
struct driver_events {
	void (*domain)(void *arg, const struct domain_event *event);
	void (*closed)(void *arg, const char *reason); /* the connection broke; close it */
	void *arg;
};

/* One line of a listing. */
struct domain_info {
	char id[UUID_TEXT_SIZE];
	char *name; /* owned */
	enum domain_state state;
	enum domain_reason reason;
	bool persistent;
	bool has_managed_save;
	bool is_ours;    /* carries Berth's metadata element */
	bool is_carrier; /* a domain for block jobs, not a VM: storage/carrier.h */
	char *xml;       /* owned; the inactive definition; only from get_domain, NULL in lists */
	char *live_xml;  /* owned; the live definition while it has a process; only from get_domain
	                 */
};
void domain_info_done(struct domain_info *info);

struct domain_list {
	struct domain_info *items; /* owned */
	size_t len;
};
void domain_list_done(struct domain_list *list);

/* What get_stats is asked for; less is cheaper: only BALLOON and VCPU ask QEMU. */
enum stats_groups {
	STATS_CPU = 1,     /* cpu_time_ns */
	STATS_BALLOON = 2, /* balloon_* */
	STATS_VCPU = 4,    /* vcpus_*, vcpu_* */
	STATS_DEVICES = 8, /* block_*, net_* */
	STATS_ALLOCATION = STATS_CPU | STATS_BALLOON | STATS_VCPU,
	STATS_ALL = STATS_ALLOCATION | STATS_DEVICES,
};

/*
 * Live counters of a running domain; -1 where the hypervisor does not say or was not asked. The state always comes.
 * When QEMU is busy or hung, what only it knows is -1: all balloon_* but _current, as last heard, and _maximum.
 */
struct domain_stats {
	char id[UUID_TEXT_SIZE];
	enum domain_state state;
	int64_t cpu_time_ns; /* of the whole process */
	/* Summed over the vCPUs: runnable but not running, and halted or waiting for QEMU. */
	int64_t vcpu_delay_ns, vcpu_wait_ns;
	int64_t vcpus_current, vcpus_maximum;
	/* current: what the balloon leaves to the guest now (not the target); maximum: what it booted with, and plugged
	 * memory. The guest's own words, -1 without a driver: available: its RAM, which does not shrink with autodeflate;
	 * usable: what it could give away, caches included; unused: what is idle. rss: of the QEMU process. */
	int64_t balloon_current_bytes, balloon_maximum_bytes, balloon_available_bytes,
	        balloon_usable_bytes, balloon_unused_bytes, balloon_rss_bytes, balloon_major_faults,
	        balloon_minor_faults, balloon_swap_in_bytes, balloon_swap_out_bytes;
	int64_t balloon_last_update_s; /* when the guest said it, the host's wall time; 0: never */
	int64_t block_read_bytes, block_write_bytes, block_read_requests, block_write_requests;
	int64_t net_rx_bytes, net_tx_bytes;
};
/* Nothing is known. */
void domain_stats_init(struct domain_stats *stats);
struct domain_stats_list {
	struct domain_stats *items; /* owned */
	size_t len;
};
void domain_stats_list_done(struct domain_stats_list *list);

/* How long tasks of a host stood still for want of something (PSI): since its boot, and over the last 10 s. */
struct host_pressure {
	int64_t some_us, full_us; /* -1: not known */
	double some_avg10_percent, full_avg10_percent;
};

/* A host at this moment; -1: not known. */
struct host_stats {
	int64_t memory_total_bytes, memory_free_bytes, memory_buffers_bytes, memory_cached_bytes;
	/* What could be had without swapping: the kernel's estimate, or (is_estimate) free + buffers + cached, which
	 * is too much by what of the cache cannot be dropped. */
	int64_t memory_available_bytes;
	bool memory_available_is_estimate;
	int64_t swap_total_bytes, swap_free_bytes;
	int64_t cpu_busy_ns, cpu_idle_ns, cpu_iowait_ns; /* since its boot, all CPUs together */
	int64_t cpus_online;
	struct host_pressure memory_pressure, cpu_pressure;
	bool is_local; /* the host is the machine that berthd runs on: PSI and swap are known */
};

void host_stats_init(struct host_stats *stats); /* nothing is known */

/* The kernel's merging of equal pages; -1: not known. */
enum ksm_run { KSM_RUN_UNKNOWN = -1, KSM_RUN_STOPPED, KSM_RUN_RUNNING, KSM_RUN_UNMERGE };
struct ksm_state {
	enum ksm_run run;
	bool can_set_run; /* libvirt cannot: only on the local host, as root */
	int64_t pages_to_scan, sleep_ms;
	int64_t pages_shared, pages_sharing, pages_unshared, pages_volatile, full_scans;
	int64_t saved_bytes; /* pages_sharing times the page size */
};
struct ksm_change {
	enum ksm_run run;                /* UNKNOWN: leave */
	int64_t pages_to_scan, sleep_ms; /* 0: leave */
};

/* Host CPUs as "0-3,8"; NULL: leave as it is. All borrowed. */
struct cpu_pins {
	const char *const *vcpus; /* by number of the vCPU */
	size_t n_vcpus;           /* those beyond are left as they are */
	const char *emulator, *iothreads;
};

/* What the guest itself and the DHCP server say. */
struct guest_info {
	bool agent_connected;
	char *os_name, *os_version, *hostname, *kernel; /* owned; NULL: not said */
	struct guest_address {
		char mac[18];
		char address[46]; /* IPv4 or IPv6 */
		int prefix;
		const char *source; /* "lease" or "agent" */
	} * addresses;              /* owned */
	size_t n_addresses;
};
void guest_info_done(struct guest_info *info);

enum shutdown_mode { SHUTDOWN_DEFAULT, SHUTDOWN_ACPI, SHUTDOWN_AGENT };
enum attach_flags { ATTACH_LIVE = 1, ATTACH_CONFIG = 2 };

/* A volume as the hypervisor's storage API shows it. `format` and `backing_path` are what it read in the
 * file's header, which a guest may have written: good for telling drift, never for deciding. */
struct volume_info {
	char *name, *path, *backing_path; /* owned; backing_path NULL: none */
	char format[16];
	int64_t capacity_bytes, allocation_bytes;
};
void volume_info_done(struct volume_info *info);
struct volume_info_list {
	struct volume_info *items; /* owned */
	size_t len;
};
void volume_info_list_done(struct volume_info_list *list);

struct pool_info {
	int64_t capacity_bytes, allocation_bytes, available_bytes;
};

/* A storage pool as libvirt is told of it; what a type has no use for is NULL. All borrowed. */
struct pool_config {
	const char *name; /* libvirt's: "berth-NAME" */
	const char *type; /* dir, netfs, logical, iscsi, iscsi-direct, rbd, gluster, zfs */
	const char *path; /* target directory; dir, netfs, logical, iscsi, zfs */
	const char *const *
	        hosts; /* names or addresses of the server(s), "HOST" or "HOST:PORT"; NULL-terminated */
	const char *source_dir;    /* netfs: the export; gluster: directory in the volume */
	const char *source_name;   /* logical: volume group; rbd, zfs: pool; gluster: volume */
	const char *source_device; /* iscsi, iscsi-direct: the target's IQN */
	const char *source_format; /* netfs: nfs, cifs, glusterfs; logical: lvm2 */
	const char *initiator;     /* iscsi-direct: our IQN */
	const char *user;          /* ceph client or CHAP user */
	const char *secret_id;     /* UUID of the libvirt secret that secret_set made */
};

/* A volume to make. */
struct volume_config {
	const char *name, *format; /* qcow2 | raw */
	int64_t size_bytes;
	const char *backing_path, *backing_format; /* NULL: none; recorded in the header */
	bool preallocate;                          /* raw: all of it; qcow2: metadata and space */
};

/* What streams move; `read` fills up to n bytes and returns how many (0: the end), `write` takes all n. Negative: an
 * error code that ends the transfer. Called on the thread that called the driver. */
struct volume_source {
	int64_t (*read)(void *arg, void *buffer, size_t n, struct err *e);
	void *arg;
};
struct volume_sink {
	int (*write)(void *arg, const void *bytes, size_t n, struct err *e);
	void *arg;
};

/* Long work of QEMU's block layer on one disk of a running domain. */
enum block_job_type {
	BLOCK_JOB_NONE,
	BLOCK_JOB_PULL,
	BLOCK_JOB_COPY,
	BLOCK_JOB_COMMIT,
	BLOCK_JOB_ACTIVE_COMMIT
};
struct block_job_info {
	enum block_job_type type; /* NONE: no job (any more) */
	int64_t done_bytes, total_bytes;
	bool is_ready; /* copy, active commit: both sides are equal and stay so; may be ended */
};
enum block_job_end { BLOCK_JOB_CANCEL, BLOCK_JOB_PIVOT };

enum snapshot_flags {
	SNAPSHOT_DISK_ONLY = 1,
	SNAPSHOT_LIVE = 2, /* with memory: the guest runs on while it is saved */
};
enum freeze_status { FREEZE_THAWED, FREEZE_FROZEN };

struct driver {
	const char *name;

	/* Opens a connection and subscribes to events. May block without limit. `loop` is where
	 * events go; both are NULL for a connection that hears none (hypervisor/transfer.h). */
	int (*open)(const char *uri, struct loop *loop, const struct driver_events *events,
	        struct driver_connection **ret_connection, struct err *e);
	/* May block. No event is delivered after it returns; callers on the core loop need not
	 * exist. */
	void (*close)(struct driver_connection *c);
	int (*ping)(struct driver_connection *c, struct err *e); /* one round trip */
	int (*get_facts)(struct driver_connection *c, struct host_facts *ret_facts, struct err *e);

	int (*list_domains)(
	        struct driver_connection *c, struct domain_list *ret_list, struct err *e);
	int (*get_domain)(struct driver_connection *c, const char *id, struct domain_info *ret_info,
	        struct err *e); /* ERR_NOT_FOUND */
	int (*find_domain)(struct driver_connection *c, const char *name,
	        char ret_id[UUID_TEXT_SIZE], struct err *e);
	/* All that run, in bulk and never waiting for a busy domain (NOWAIT). `groups`: of enum stats_groups. */
	int (*get_stats)(struct driver_connection *c, unsigned groups,
	        struct domain_stats_list *ret_list, struct err *e);
	int (*get_host_stats)(
	        struct driver_connection *c, struct host_stats *ret_stats, struct err *e);
	/* ERR_UNSUPPORTED on hosts without it; so is a change of `run` where can_set_run is false, and then nothing is changed. */
	int (*get_ksm)(struct driver_connection *c, struct ksm_state *ret_state, struct err *e);
	int (*set_ksm)(struct driver_connection *c, const struct ksm_change *change, struct err *e);
	/* May wait for the agent: its own job, control class, short timeout. */
	int (*get_guest)(struct driver_connection *c, const char *id, struct guest_info *ret_info,
	        struct err *e);

	int (*define)(struct driver_connection *c, const char *xml, struct err *e);
	/* Also drops managed save, NVRAM, checkpoint and snapshot metadata. Missing domain:
	 * success. */
	int (*undefine)(struct driver_connection *c, const char *id, struct err *e);
	int (*rename)(struct driver_connection *c, const char *id, const char *name, struct err *e);
	/* Starts (or restores a managed save). Already running: success. */
	int (*start)(struct driver_connection *c, const char *id, struct err *e);
	int (*shutdown)(struct driver_connection *c, const char *id, enum shutdown_mode mode,
	        struct err *e); /* asks; does not wait */
	int (*destroy)(struct driver_connection *c, const char *id,
	        struct err *e); /* not running: success */
	/*
	 * Its process is asked to write what it has in its caches and to end, and is never killed for being slow: ERR_BUSY
	 * when it has not ended yet. ERR_NOT_FOUND: nothing ran (any more).
	 */
	int (*quit)(struct driver_connection *c, const char *id, struct err *e);
	int (*reboot)(struct driver_connection *c, const char *id, enum shutdown_mode mode,
	        struct err *e);
	int (*reset)(struct driver_connection *c, const char *id, struct err *e);
	int (*pause)(
	        struct driver_connection *c, const char *id, struct err *e); /* already: success */
	int (*resume)(
	        struct driver_connection *c, const char *id, struct err *e); /* already: success */
	int (*managed_save)(struct driver_connection *c, const char *id, struct err *e);
	int (*managed_save_remove)(struct driver_connection *c, const char *id, struct err *e);

	/*
	 * Live changes; the persistent definition is changed by define. Each needs the domain's job: behind a
	 * busy or hung one it waits (libvirt gives up after 30 s), so callers give the lane a deadline of a few seconds.
	 * Those of memory answer ERR_BUSY at once when another call has had the domain for a second.
	 */
	/* The balloon's target; returns before the guest has moved. Never above what it booted with: ERR_INVALID. */
	int (*set_memory_live)(
	        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
	/* From now on the guest's balloon driver reports every so many seconds (0: never). */
	int (*set_memory_stats_period)(
	        struct driver_connection *c, const char *id, int seconds, struct err *e);
	/* Plugs what is missing to `bytes`, in whole steps, beyond what it booted with and within the definition's maximum.
	 * Waits some seconds for the guest's agent to use it, if there is one; balloon_available_bytes tells when it does. ERR_UNSUPPORTED where the definition or the host cannot. */
	int (*memory_grow_live)(
	        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
	/* Raising returns before the guest uses them. Lowering waits 5 s for each vCPU that the guest shall let go;
	 * ERR_DEADLINE with the numbers when it keeps some. */
	int (*set_vcpus_live)(
	        struct driver_connection *c, const char *id, int count, struct err *e);
	/* How many the guest itself has online, by its agent. */
	int (*get_guest_vcpus)(
	        struct driver_connection *c, const char *id, int *ret_online, struct err *e);
	int (*set_cpu_pins_live)(struct driver_connection *c, const char *id,
	        const struct cpu_pins *pins, struct err *e);
	/* shares: cgroup weight (0: leave); limit_percent of one CPU times vCPUs (0: leave, -1:
	 * none). */
	int (*set_cpu_live)(struct driver_connection *c, const char *id, int64_t shares,
	        int64_t limit_percent, struct err *e);
	int (*attach_device)(struct driver_connection *c, const char *id, const char *device_xml,
	        enum attach_flags flags, struct err *e);
	int (*detach_device)(struct driver_connection *c, const char *id, const char *device_xml,
	        enum attach_flags flags,
	        struct err *e); /* live: asks; the event DEVICE_REMOVED tells */
	int (*update_device)(struct driver_connection *c, const char *id, const char *device_xml,
	        enum attach_flags flags, struct err *e);

	/* Storage. `ensure` defines, builds and starts what is missing; another definition of that name is ERR_CONFLICT. */
	int (*pool_ensure)(
	        struct driver_connection *c, const struct pool_config *config, struct err *e);
	/* Refreshes it first: may take as long as its storage does. */
	int (*pool_info)(struct driver_connection *c, const char *pool, struct pool_info *ret_info,
	        struct err *e);
	/* Stops and forgets pool `pool` and removes its directory when empty; volumes stay. Missing: success. */
	int (*pool_remove)(struct driver_connection *c, const char *pool, struct err *e);
	/* A secret of the host's libvirt (usage ceph | iscsi), private and kept; replaces its value. */
	int (*secret_set)(struct driver_connection *c, const char *secret_id, const char *usage,
	        const char *value, struct err *e);
	int (*secret_remove)(struct driver_connection *c, const char *secret_id, struct err *e);
	/* File mode 0600. Existing volume with that name and capacity: success (the name carries an id of ours). */
	int (*volume_create)(struct driver_connection *c, const char *pool,
	        const struct volume_config *config, struct err *e);
	int (*volume_delete)(struct driver_connection *c, const char *pool, const char *volume,
	        struct err *e); /* missing: success */
	int (*volume_get)(struct driver_connection *c, const char *pool, const char *volume,
	        struct volume_info *ret_info, struct err *e); /* ERR_NOT_FOUND */
	/* All volumes in the pool, after a refresh. */
	int (*volume_list)(struct driver_connection *c, const char *pool,
	        struct volume_info_list *ret_list, struct err *e);
	/* Overwrites the whole volume with zeroes; blocks as long as that takes. Never for qcow2: its header would go. */
	int (*volume_wipe)(
	        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
	/* The volume's file byte by byte, whatever its format. Block for long: on a connection of their own
	 * (hypervisor/transfer.h), never on a lane. */
	int (*volume_upload)(struct driver_connection *c, const char *pool, const char *volume,
	        int64_t offset, int64_t length, const struct volume_source *from, struct err *e);
	int (*volume_download)(struct driver_connection *c, const char *pool, const char *volume,
	        int64_t offset, int64_t length, const struct volume_sink *to, struct err *e);

	/* Block jobs and disks of a running domain. A disk is named by the key it has in Berth (alias ua-disk-NAME);
	 * ERR_NOT_FOUND without it. Layers are named by their source: the path of a file or block device, or NAME of a
	 * network source, as in domain_source.path. */
	int (*block_copy)(struct driver_connection *c, const char *id, const char *disk,
	        const char *destination_xml,
	        struct err *e); /* into an existing, empty volume; the whole chain */
	/* top NULL: the active layer (ends READY, then PIVOT) */
	int (*block_commit)(struct driver_connection *c, const char *id, const char *disk,
	        const char *top, const char *base, struct err *e);
	/* base NULL: everything into the active layer; else all between it and base */
	int (*block_pull)(struct driver_connection *c, const char *id, const char *disk,
	        const char *base, struct err *e);
	int (*block_job_get)(struct driver_connection *c, const char *id, const char *disk,
	        struct block_job_info *ret_info, struct err *e);
	int (*block_job_end)(struct driver_connection *c, const char *id, const char *disk,
	        enum block_job_end how, struct err *e); /* no job: success */
	int (*block_resize)(struct driver_connection *c, const char *id, const char *disk,
	        int64_t size_bytes, struct err *e);
	int (*set_disk_limits)(struct driver_connection *c, const char *id, const char *disk,
	        int64_t iops_limit, int64_t bytes_per_second_limit, struct err *e); /* 0: none */
	/* The sources of a running domain's disk, top first; caller frees each and the NULL-terminated array. */
	int (*disk_chain)(struct driver_connection *c, const char *id, const char *disk,
	        char ***ret_paths, struct err *e);
	/* What QEMU says of a running domain's disk: its size as a guest sees it. */
	int (*disk_capacity)(struct driver_connection *c, const char *id, const char *disk,
	        int64_t *ret_bytes, struct err *e);
	/* A domain of the host, whosever it is, that runs with that layer in a disk's chain or block job, or whose managed
	 * save names it: its name, NULL for none. Caller frees. */
	int (*find_user)(
	        struct driver_connection *c, const char *path, char **ret_name, struct err *e);

	/* External overlays that exist already (volume_create) and, unless DISK_ONLY, a memory file; no metadata of
	 * libvirt's. All disks at one moment. */
	int (*snapshot_create)(struct driver_connection *c, const char *id, const char *xml,
	        unsigned flags, struct err *e);
	/* The XML inside a memory file, with secrets; caller frees. */
	int (*saved_xml)(struct driver_connection *c, const char *memory_path, char **ret_xml,
	        struct err *e);
	/* Starts the domain in `xml` from a memory file. Already running: success. */
	int (*restore)(struct driver_connection *c, const char *id, const char *memory_path,
	        const char *xml, bool paused, struct err *e);
	/* A transient domain, paused (storage/carrier.h). Already there: success. */
	int (*create_transient)(
	        struct driver_connection *c, const char *id, const char *xml, struct err *e);
	/* Removes all checkpoint metadata of a domain; none: success. */
	int (*drop_checkpoints)(struct driver_connection *c, const char *id, struct err *e);
	/* By the guest agent; each has a timeout of some seconds. */
	int (*freeze)(struct driver_connection *c, const char *id, int *ret_n,
	        struct err *e); /* *ret_n: how many filesystems; 0: none is mounted to be frozen */
	int (*thaw)(struct driver_connection *c, const char *id, struct err *e);
	int (*freeze_status)(struct driver_connection *c, const char *id,
	        enum freeze_status *ret_status, struct err *e);
	int (*set_guest_time)(
	        struct driver_connection *c, const char *id, struct err *e); /* to now */

	/* Whether a virtual network of that name exists and is active (ERR_NOT_FOUND,
	 * ERR_WRONG_STATE). */
	int (*network_check)(struct driver_connection *c, const char *network, struct err *e);
	/* Names of the active virtual networks, as in host_facts.networks; the caller frees them by str_list_free. */
	int (*network_list)(struct driver_connection *c, char ***ret_names, struct err *e);
};

extern const struct driver driver_libvirt; /* qemu and test:/// */
extern const struct driver driver_fake;    /* fake:///NAME, scripted: hypervisor/driver_fake.h */

/* The driver for a URI (fake:/// only if fakes were enabled), or NULL. */
const struct driver *driver_for_uri(const char *uri);
