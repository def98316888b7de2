/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's inside: one host's world, its lock, and how a call enters it. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "base/vec.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"

#define FAKE_MAX_MACS 8

struct fake_domain {
	char id[UUID_TEXT_SIZE];
	char *name;     /* owned */
	char *xml;      /* owned; NULL: made up when asked for */
	char *live_xml; /* owned; NULL: as xml */
	enum domain_state state;
	enum domain_reason reason;
	bool is_persistent, has_managed_save, is_ours, has_agent, is_deaf;
	int64_t memory_bytes, balloon_bytes;
	int vcpus, vcpus_current;
	int64_t cpu_shares, cpu_limit_percent;
	int64_t started_ns;
	char macs[FAKE_MAX_MACS][18];
	int n_macs;
};

struct fake_volume {
	char *name; /* owned */
	char format[16];
	int64_t capacity_bytes;
};

struct fake_pool {
	char *path;          /* owned */
	struct map *volumes; /* name -> struct fake_volume */
};

struct fake_rule {
	int64_t number; /* by which a hanging call knows its rule */
	char call[40];
	char domain[UUID_TEXT_SIZE];     /* "" : any */
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
	int64_t memory_bytes;
	struct map *domains;  /* id -> struct fake_domain */
	struct map *names;    /* name -> the same */
	struct map *pools;    /* name -> struct fake_pool */
	struct map *networks; /* name -> "active" or "inactive", static */
	struct map *calls;    /* call -> int64_t *, how often */
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

/* Domains; all under the host's lock. */
struct fake_domain *fake_domain_add(struct fake_host *h, const char *id, const char *name);
void fake_domain_remove(struct fake_host *h, struct fake_domain *d);
void fake_domain_free(struct fake_domain *d);
/* Takes sizes and MAC addresses from a definition; nothing if it is NULL. */
void fake_domain_read(struct fake_domain *d, const char *xml);
bool fake_domain_is_active(const struct fake_domain *d);
void fake_domain_run(struct fake_host *h, struct fake_domain *d);
void fake_domain_stop(struct fake_host *h, struct fake_domain *d, enum domain_reason reason);
void fake_domain_emit(
        struct fake_host *h, const struct fake_domain *d, enum domain_event_kind kind);
void fake_domains_populate(struct fake_host *h, int count, int running);
void fake_pool_free(struct fake_pool *pool);

/* What a definition says; name is owned by the caller afterwards. */
int fake_xml_parse(const char *xml, struct fake_domain *ret_domain, struct err *e);
char *fake_xml_make(const struct fake_domain *d);
enum fake_edit { FAKE_ATTACH, FAKE_DETACH, FAKE_UPDATE };
/* Changes *xml (owned, replaced). ret_alias may be NULL. */
int fake_xml_edit(
        char **xml, const char *device_xml, enum fake_edit edit, char ret_alias[64], struct err *e);
/* Writes the name into a definition. */
void fake_xml_rename(char **xml, const char *name);

/* The table's entries, by file. */
int fake_list_domains(struct driver_connection *c, struct domain_list *ret_list, struct err *e);
int fake_get_domain(
        struct driver_connection *c, const char *id, struct domain_info *ret, struct err *e);
int fake_find_domain(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e);
int fake_get_stats(struct driver_connection *c, struct domain_stats_list *ret_list, struct err *e);
int fake_get_guest(
        struct driver_connection *c, const char *id, struct guest_info *ret, struct err *e);
int fake_define(struct driver_connection *c, const char *xml, struct err *e);
int fake_undefine(struct driver_connection *c, const char *id, struct err *e);
int fake_rename(struct driver_connection *c, const char *id, const char *name, struct err *e);
int fake_start(struct driver_connection *c, const char *id, struct err *e);
int fake_shutdown(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int fake_destroy(struct driver_connection *c, const char *id, struct err *e);
int fake_reboot(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int fake_hard_reset(struct driver_connection *c, const char *id, struct err *e);
int fake_pause(struct driver_connection *c, const char *id, struct err *e);
int fake_resume(struct driver_connection *c, const char *id, struct err *e);
int fake_managed_save(struct driver_connection *c, const char *id, struct err *e);
int fake_managed_save_remove(struct driver_connection *c, const char *id, struct err *e);
int fake_set_memory_live(struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
int fake_set_vcpus_live(struct driver_connection *c, const char *id, int count, struct err *e);
int fake_set_cpu_live(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e);
int fake_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int fake_pool_ensure(
        struct driver_connection *c, const char *pool, const char *path, struct err *e);
int fake_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e);
int fake_pool_remove(struct driver_connection *c, const char *pool, struct err *e);
int fake_volume_create(struct driver_connection *c, const char *pool, const char *volume,
        const char *format, int64_t size_bytes, struct err *e);
int fake_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int fake_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e);
int fake_volume_list(
        struct driver_connection *c, const char *pool, char ***ret_names, struct err *e);
int fake_network_check(struct driver_connection *c, const char *network, struct err *e);
