/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's inside: one host's world, its lock, and how a call enters it. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "base/vec.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"

#define FAKE_MAX_MACS 8

/* A block job: goes on by some percent whenever someone looks at it. */
struct fake_job {
	char *disk; /* owned */
	enum block_job_type type;
	int64_t done_bytes, total_bytes;
	char *top, *base;      /* owned; NULL as in struct driver */
	char *destination_xml; /* owned; COPY */
};

struct fake_domain {
	char id[UUID_TEXT_SIZE];
	char *name;      /* owned */
	char *xml;       /* owned; NULL: made up when asked for */
	char *live_xml;  /* owned; NULL: as xml */
	char *saved_xml; /* owned; what it was suspended with */
	enum domain_state state;
	enum domain_reason reason;
	bool is_persistent, has_managed_save, is_ours, is_carrier, has_agent, is_deaf;
	enum freeze_status freeze;
	bool is_bare; /* nothing is mounted */
	int n_checkpoints;
	VEC(struct fake_job) jobs;
	/* What it booted with and was plugged; the ceiling for that; what the balloon leaves, and shall leave. */
	int64_t memory_bytes, memory_max_bytes, balloon_bytes, target_bytes;
	int memory_slots_used;
	bool has_balloon, is_hung;
	int stats_period_s;
	struct fake_guest_memory memory;
	int64_t moved_ms; /* when the balloon was last looked at */
	int64_t said_s, said_available_bytes, said_usable_bytes; /* the guest's last report */
	int vcpus, vcpus_current;
	struct map *pins; /* owned; "0", ..., "emulator", "iothreads" -> CPUs, owned; NULL: none */
	int64_t cpu_shares, cpu_limit_percent;
	int64_t started_ns;
	char macs[FAKE_MAX_MACS][18];
	int n_macs;
};

/* Of uploaded bytes these are kept; what lies beyond reads as zeroes. */
#define FAKE_KEPT_BYTES ((int64_t)8 * 1024 * 1024)

struct fake_volume {
	char *name, *backing_path; /* owned */
	char format[16];
	int64_t capacity_bytes, allocation_bytes;
	int64_t file_bytes;   /* as far as it was written */
	unsigned char *bytes; /* owned; the first FAKE_KEPT_BYTES, NULL: all zero */
};

/* What lies in a pool, for all hosts that reach it; lives until fake_reset. Under the lock of all stores. */
struct fake_store {
	struct map *volumes; /* name -> struct fake_volume */
	int64_t capacity_bytes;
};

struct fake_pool {
	char *xml;  /* owned; its definition */
	char *base; /* owned; before the "/NAME" of a volume's path */
	char type[16];
	struct fake_store *store; /* borrowed from the registry */
};

struct fake_rule {
	int64_t number; /* by which a hanging call knows its rule */
	char call[40];
	char object[128];                /* a domain's id or a pool's name; "": any */
	struct fake_behaviour behaviour; /* message owned */
	int taken;
};

/* Any thread; everything under `lock`. Never locked: the pointer itself lives until fake_reset. */
struct fake_host {
	char *name; /* owned */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* rules, hangs, breaks, finished calls: broadcast */
	bool is_populated, is_hung;
	int64_t delay_ms, jitter_ms;
	int cpus;
	int64_t memory_bytes, other_bytes; /* other: beside the guests */
	struct host_pressure memory_pressure, cpu_pressure;
	struct ksm_state ksm;
	struct map *domains;  /* id -> struct fake_domain */
	struct map *names;    /* name -> the same */
	struct map *pools;    /* name -> struct fake_pool */
	struct map *networks; /* name -> "active" or "inactive", static */
	struct map *secrets;  /* id -> its value, owned */
	struct map *calls;    /* call -> int64_t *, how often */
	struct map *memories; /* path -> char *, the XML in a saved memory file */
	int job_step_percent; /* of a block job, at each look */
	VEC(struct fake_rule) rules;
	int64_t last_rule;
	uint64_t random;
	struct driver_connection *connections; /* list */
	struct fake_event *held;               /* list: events while hung, oldest first */
	struct fake_host_stats stats;
};

/* Rule: under the host's lock. Freed when closed and no posted event points to it any more. */
struct driver_connection {
	struct fake_host *host;
	struct loop *loop;
	struct driver_events events;
	struct driver_connection *next;
	int refs, in_flight;
	bool is_closed, is_broken;
};

struct fake_event {
	struct driver_connection *connection; /* holds a reference */
	struct fake_event *next;              /* while held */
	bool is_closed_event;
	struct domain_event event;
};

/* The host of that name, made if need be. */
struct fake_host *fake_host_get(const char *name);

/* Of the host `name`, locked; NULL: none. */
struct fake_pool *fake_pool_get(struct fake_host *h, const char *name);
/* Enters a call on a pool and finds it; on success the host is locked until fake_leave. */
int fake_enter_pool(struct driver_connection *c, const char *call, const char *name,
        struct fake_pool **ret_pool, struct err *e);

/*
 * Enters a call: waits its turn, its delay and its hang, and fails as scripted. On success the host
 * is locked until fake_leave; on failure it is not.
 */
int fake_enter(struct driver_connection *c, const char *call, const char *id, struct err *e);
void fake_leave(struct driver_connection *c);
/* The same waits for an attempt to connect; the host is locked on success. */
int fake_enter_open(struct fake_host *h, const char *uri, struct err *e);
void fake_connection_unref(struct driver_connection *c); /* locked */
/* Posts an event to every connection of the host. Locked. */
void fake_emit(struct fake_host *h, const struct domain_event *event);

/* A call on one domain: ERR_NOT_FOUND, or what the body says. A body may free the domain. */
typedef int (*fake_body_fn)(
        struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e);
int fake_with_domain(struct driver_connection *c, const char *call, const char *id,
        fake_body_fn body, const void *arg, struct err *e);
int fake_not_running(const struct fake_domain *d, struct err *e); /* ERR_WRONG_STATE */

/* Domains; all under the host's lock. */
struct fake_domain *fake_domain_add(struct fake_host *h, const char *id, const char *name);
void fake_domain_remove(struct fake_host *h, struct fake_domain *d);
void fake_domain_free(struct fake_domain *d);
/* Takes sizes and MAC addresses from a definition; nothing if it is NULL. */
void fake_domain_read(struct fake_domain *d, const char *xml);
bool fake_domain_is_active(const struct fake_domain *d);
void fake_domain_run(struct fake_host *h, struct fake_domain *d);
/* Starts it with another live definition than its own, e.g. from saved memory. */
void fake_domain_run_as(
        struct fake_host *h, struct fake_domain *d, const char *xml, enum domain_state state);
void fake_domain_stop(struct fake_host *h, struct fake_domain *d, enum domain_reason reason);
void fake_domain_emit(
        struct fake_host *h, const struct fake_domain *d, enum domain_event_kind kind);
void fake_domains_populate(struct fake_host *h, int count, int running);
void fake_pool_free(struct fake_pool *pool);

/* A running guest's balloon moves as far as the time since the last look allows. */
void fake_memory_move(struct fake_domain *d);
/* It boots: the balloon leaves at once what the definition says. */
void fake_memory_boot(struct fake_domain *d);
/* The members balloon_*. */
void fake_memory_fill(const struct fake_domain *d, struct domain_stats *ret);
/* Pressure not known, KSM there and stopped. */
void fake_host_resources_init(struct fake_host *h);
void fake_pins_free(struct fake_domain *d);

/* Stores. Lock order: a host, then the stores; what block jobs do to files goes by the first two. */
/* Whether a volume with that path exists in a pool of the host; ret_info (may be NULL) is the caller's to free. */
bool fake_volume_by_path(struct fake_host *h, const char *path, struct volume_info *ret_info);
/* Gives it a size (0: leaves it) and what it stands on (NULL: nothing). */
void fake_volume_change(
        struct fake_host *h, const char *path, int64_t capacity_bytes, const char *backing_path);
struct fake_store *fake_store_get(const char *key);
void fake_stores_reset(void);
void fake_store_measure(struct fake_store *store, struct pool_info *ret_info);

/* What a definition says; name is owned by the caller afterwards. */
int fake_xml_parse(const char *xml, struct fake_domain *ret_domain, struct err *e);
char *fake_xml_make(const struct fake_domain *d);
enum fake_edit { FAKE_ATTACH, FAKE_DETACH, FAKE_UPDATE };
/* Changes *xml (owned, replaced). ret_alias may be NULL. */
int fake_xml_edit(
        char **xml, const char *device_xml, enum fake_edit edit, char ret_alias[64], struct err *e);
/* Writes the name into a definition. */
void fake_xml_rename(char **xml, const char *name);

/* Chains, as definitions have them; *xml is replaced. Layers that are not there: nothing happens. */
/* Takes out all layers from `top` (NULL: the first) to the one above `base`. */
void fake_chain_commit(char **xml, const char *disk, const char *top, const char *base);
/* Takes out all between the first and `base` (NULL: all below the first). */
void fake_chain_pull(char **xml, const char *disk, const char *base);
/* `source` is an element with <source> and <driver>: it comes on top, or replaces the whole chain. */
enum fake_put { FAKE_ON_TOP, FAKE_INSTEAD };
void fake_chain_put(char **xml, const char *disk, const char *source_xml, enum fake_put how);
void fake_xml_set_limits(
        char **xml, const char *disk, int64_t iops_limit, int64_t bytes_per_second_limit);

/* Disks, under the host's lock. */
void fake_jobs_drop(struct fake_domain *d); /* the process ended */
/* ERR_REFERENCE for a path in a pool's directory without a volume; of others nothing is known. */
int fake_check_file(struct fake_host *h, const char *path, struct err *e);
/* The disk of a running domain; ERR_WRONG_STATE, ERR_NOT_FOUND. */
int fake_domain_read_chain(const struct fake_domain *d, const char *disk,
        struct domain_chain *ret_chain, struct err *e);

/* The table's entries, by file. */
int fake_list_domains(struct driver_connection *c, struct domain_list *ret_list, struct err *e);
int fake_get_domain(
        struct driver_connection *c, const char *id, struct domain_info *ret, struct err *e);
int fake_find_user(struct driver_connection *c, const char *path, char **ret_name, struct err *e);
int fake_find_domain(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e);
int fake_get_stats(struct driver_connection *c, unsigned groups, struct domain_stats_list *ret_list,
        struct err *e);
int fake_get_guest(
        struct driver_connection *c, const char *id, struct guest_info *ret, struct err *e);
int fake_define(struct driver_connection *c, const char *xml, struct err *e);
int fake_undefine(struct driver_connection *c, const char *id, struct err *e);
int fake_rename(struct driver_connection *c, const char *id, const char *name, struct err *e);
int fake_start(struct driver_connection *c, const char *id, struct err *e);
int fake_shutdown(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int fake_destroy(struct driver_connection *c, const char *id, struct err *e);
int fake_quit(struct driver_connection *c, const char *id, struct err *e);
int fake_reboot(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int fake_hard_reset(struct driver_connection *c, const char *id, struct err *e);
int fake_pause(struct driver_connection *c, const char *id, struct err *e);
int fake_resume(struct driver_connection *c, const char *id, struct err *e);
int fake_managed_save(struct driver_connection *c, const char *id, struct err *e);
int fake_managed_save_remove(struct driver_connection *c, const char *id, struct err *e);
int fake_set_memory_live(struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
int fake_set_memory_stats_period(
        struct driver_connection *c, const char *id, int seconds, struct err *e);
int fake_memory_grow_live(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
int fake_get_guest_vcpus(
        struct driver_connection *c, const char *id, int *ret_online, struct err *e);
int fake_set_cpu_pins_live(
        struct driver_connection *c, const char *id, const struct cpu_pins *pins, struct err *e);
int fake_get_host_stats(struct driver_connection *c, struct host_stats *ret_stats, struct err *e);
int fake_get_ksm(struct driver_connection *c, struct ksm_state *ret_state, struct err *e);
int fake_set_ksm(struct driver_connection *c, const struct ksm_change *change, struct err *e);
int fake_set_vcpus_live(struct driver_connection *c, const char *id, int count, struct err *e);
int fake_set_cpu_live(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e);
int fake_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_block_copy(struct driver_connection *c, const char *id, const char *disk,
        const char *destination_xml, struct err *e);
int fake_block_commit(struct driver_connection *c, const char *id, const char *disk,
        const char *top, const char *base, struct err *e);
int fake_block_pull(struct driver_connection *c, const char *id, const char *disk, const char *base,
        struct err *e);
int fake_block_job_get(struct driver_connection *c, const char *id, const char *disk,
        struct block_job_info *ret_info, struct err *e);
int fake_block_job_end(struct driver_connection *c, const char *id, const char *disk,
        enum block_job_end how, struct err *e);
int fake_block_resize(struct driver_connection *c, const char *id, const char *disk,
        int64_t size_bytes, struct err *e);
int fake_block_set_limits(struct driver_connection *c, const char *id, const char *disk,
        int64_t iops_limit, int64_t bytes_per_second_limit, struct err *e);
int fake_block_chain(struct driver_connection *c, const char *id, const char *disk,
        char ***ret_paths, struct err *e);
int fake_snapshot_create(struct driver_connection *c, const char *id, const char *xml,
        unsigned flags, struct err *e);
int fake_saved_xml(
        struct driver_connection *c, const char *memory_path, char **ret_xml, struct err *e);
int fake_restore(struct driver_connection *c, const char *id, const char *memory_path,
        const char *xml, bool paused, struct err *e);
int fake_create_transient(
        struct driver_connection *c, const char *id, const char *xml, struct err *e);
int fake_drop_checkpoints(struct driver_connection *c, const char *id, struct err *e);
int fake_agent_freeze(struct driver_connection *c, const char *id, int *ret_n, struct err *e);
int fake_agent_thaw(struct driver_connection *c, const char *id, struct err *e);
int fake_agent_freeze_status(
        struct driver_connection *c, const char *id, enum freeze_status *ret_status, struct err *e);
int fake_agent_set_time(struct driver_connection *c, const char *id, struct err *e);
int fake_pool_ensure(struct driver_connection *c, const struct pool_config *config, struct err *e);
int fake_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e);
int fake_pool_remove(struct driver_connection *c, const char *pool, struct err *e);
int fake_secret_set(struct driver_connection *c, const char *secret_id, const char *usage,
        const char *value, struct err *e);
int fake_secret_remove(struct driver_connection *c, const char *secret_id, struct err *e);
int fake_volume_create(struct driver_connection *c, const char *pool,
        const struct volume_config *config, struct err *e);
int fake_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int fake_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e);
int fake_volume_list(struct driver_connection *c, const char *pool,
        struct volume_info_list *ret_list, struct err *e);
int fake_volume_wipe(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int fake_volume_upload(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_source *from, struct err *e);
int fake_volume_download(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_sink *to, struct err *e);
int fake_network_check(struct driver_connection *c, const char *network, struct err *e);
int fake_network_list(struct driver_connection *c, char ***ret_names, struct err *e);
char **fake_network_names(const struct fake_host *h); /* of the active ones; locked */
