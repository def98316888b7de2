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

enum domain_state {
	DOMAIN_UNKNOWN,
	DOMAIN_RUNNING,
	DOMAIN_PAUSED,
	DOMAIN_SHUTOFF,
	DOMAIN_CRASHED,
	DOMAIN_PMSUSPENDED, /* suspended to RAM by the guest: still has a process */
	DOMAIN_SHUTTING_DOWN,
};

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
	bool is_ours;   /* carries Berth's metadata element */
	char *xml;      /* owned; the inactive definition; only from get_domain, NULL in lists */
	char *live_xml; /* owned; the live definition while it has a process; only from get_domain
	                 */
};
void domain_info_done(struct domain_info *info);

struct domain_list {
	struct domain_info *items; /* owned */
	size_t len;
};
void domain_list_done(struct domain_list *list);

/* Live counters of a running domain; -1 where the hypervisor does not say. */
struct domain_stats {
	char id[UUID_TEXT_SIZE];
	enum domain_state state;
	int64_t cpu_time_ns, vcpu_delay_ns;
	int64_t vcpus_current, vcpus_maximum;
	int64_t balloon_current_bytes, balloon_maximum_bytes, balloon_available_bytes,
	        balloon_usable_bytes, balloon_unused_bytes, balloon_rss_bytes, balloon_major_faults,
	        balloon_swap_in_bytes, balloon_last_update_s;
	int64_t block_read_bytes, block_write_bytes, block_read_requests, block_write_requests;
	int64_t net_rx_bytes, net_tx_bytes;
};
struct domain_stats_list {
	struct domain_stats *items; /* owned */
	size_t len;
};
void domain_stats_list_done(struct domain_stats_list *list);

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

struct volume_info {
	char *name, *path; /* owned */
	char format[16];
	int64_t capacity_bytes, allocation_bytes;
};
void volume_info_done(struct volume_info *info);
struct pool_info {
	int64_t capacity_bytes, allocation_bytes, available_bytes;
};

struct driver {
	const char *name;

	/* Opens a connection and subscribes to events. May block without limit. `loop` is where
	 * events go. */
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
	/* Bulk and never waiting for a busy domain (NOWAIT). */
	int (*get_stats)(
	        struct driver_connection *c, struct domain_stats_list *ret_list, struct err *e);
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
	int (*reboot)(struct driver_connection *c, const char *id, enum shutdown_mode mode,
	        struct err *e);
	int (*reset)(struct driver_connection *c, const char *id, struct err *e);
	int (*pause)(
	        struct driver_connection *c, const char *id, struct err *e); /* already: success */
	int (*resume)(
	        struct driver_connection *c, const char *id, struct err *e); /* already: success */
	int (*managed_save)(struct driver_connection *c, const char *id, struct err *e);
	int (*managed_save_remove)(struct driver_connection *c, const char *id, struct err *e);

	/* Live changes; the persistent definition is changed by define. */
	int (*set_memory_live)(
	        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
	int (*set_vcpus_live)(
	        struct driver_connection *c, const char *id, int count, struct err *e);
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

	/* Storage: directory pools for now. `ensure` defines, builds and starts what is missing. */
	int (*pool_ensure)(
	        struct driver_connection *c, const char *pool, const char *path, struct err *e);
	int (*pool_info)(struct driver_connection *c, const char *pool, struct pool_info *ret_info,
	        struct err *e);
	/* Removes pool `pool` and, when empty, its directory; volumes stay. */
	int (*pool_remove)(struct driver_connection *c, const char *pool, struct err *e);
	/* Existing volume with that name and capacity: success (the name carries an id of ours). */
	int (*volume_create)(struct driver_connection *c, const char *pool, const char *volume,
	        const char *format, int64_t size_bytes, struct err *e);
	int (*volume_delete)(struct driver_connection *c, const char *pool, const char *volume,
	        struct err *e); /* missing: success */
	int (*volume_get)(struct driver_connection *c, const char *pool, const char *volume,
	        struct volume_info *ret_info, struct err *e); /* ERR_NOT_FOUND */
	/* Names of all volumes in the pool, NULL-terminated; caller frees each and the array. */
	int (*volume_list)(
	        struct driver_connection *c, const char *pool, char ***ret_names, struct err *e);
	/* Whether a virtual network of that name exists and is active (ERR_NOT_FOUND,
	 * ERR_WRONG_STATE). */
	int (*network_check)(struct driver_connection *c, const char *network, struct err *e);
};

extern const struct driver driver_libvirt; /* qemu and test:/// */
extern const struct driver driver_fake;    /* fake:///NAME, scripted: hypervisor/driver_fake.h */

/* The driver for a URI (fake:/// only if fakes were enabled), or NULL. */
const struct driver *driver_for_uri(const char *uri);
