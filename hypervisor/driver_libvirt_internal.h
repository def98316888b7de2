/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the libvirt driver share. Everything here runs on lane threads unless it says
 * otherwise. */
#pragma once

#include <libvirt/libvirt.h>

#include "base/cleanup.h"
#include "hypervisor/driver.h"

struct event_gate;
#define EVENT_KINDS_MAX 16

struct driver_connection {
	virConnectPtr libvirt;          /* owned */
	struct event_gate *gate;        /* owned; shared with libvirt's callbacks */
	int event_ids[EVENT_KINDS_MAX]; /* of the registrations, -1 for none */
	bool has_close_callback;
	bool is_test; /* test:///: no agent, no QEMU, fewer flags */
};

/* --- driver_libvirt_events.c --- */

/* Subscribes to events and to the connection's end. */
int libvirt_events_subscribe(struct driver_connection *c, struct loop *loop,
        const struct driver_events *events, struct err *e);
/* No event is delivered after it returns. Talks to libvirtd: may block. */
void libvirt_events_unsubscribe(struct driver_connection *c);

/* --- driver_libvirt_domain.c --- */

void cleanup_libvirt_domain(virDomainPtr *domain);
int libvirt_domain_lookup(
        struct driver_connection *c, const char *id, virDomainPtr *ret_domain, struct err *e);
/* Takes the calling thread's last error of a call on this domain: "VERB NAME: reason". */
int libvirt_domain_error(virDomainPtr domain, const char *verb, struct err *e);
/* Whether it has a process; false when libvirt does not answer. */
bool libvirt_domain_is_active(virDomainPtr domain);
enum domain_state libvirt_domain_state_convert(int libvirt_state);
enum domain_reason libvirt_domain_reason_convert(int libvirt_state, int libvirt_reason);

int libvirt_domain_undefine(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_define(struct driver_connection *c, const char *xml, struct err *e);
int libvirt_domain_rename(
        struct driver_connection *c, const char *id, const char *name, struct err *e);
int libvirt_domain_start(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_shutdown(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int libvirt_domain_destroy(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_reboot(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int libvirt_domain_reset(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_pause(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_resume(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_managed_save(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_managed_save_remove(struct driver_connection *c, const char *id, struct err *e);

/* --- driver_libvirt_list.c --- */

int libvirt_domains_list(struct driver_connection *c, struct domain_list *ret_list, struct err *e);
int libvirt_domain_get(
        struct driver_connection *c, const char *id, struct domain_info *ret_info, struct err *e);
int libvirt_domain_find(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e);

/* --- driver_libvirt_stats.c, driver_libvirt_guest.c --- */

int libvirt_stats_get(
        struct driver_connection *c, struct domain_stats_list *ret_list, struct err *e);
/* How long a call waits for an agent that does not answer. */
#define AGENT_TIMEOUT_S 2
int libvirt_guest_get(
        struct driver_connection *c, const char *id, struct guest_info *ret_info, struct err *e);

/* --- driver_libvirt_live.c --- */

int libvirt_live_set_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
int libvirt_live_set_vcpus(struct driver_connection *c, const char *id, int count, struct err *e);
int libvirt_live_set_cpu(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e);
int libvirt_live_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int libvirt_live_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int libvirt_live_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);

/* --- driver_libvirt_storage.c --- */

int libvirt_storage_pool_ensure(
        struct driver_connection *c, const char *pool, const char *path, struct err *e);
int libvirt_storage_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e);
int libvirt_storage_pool_remove(struct driver_connection *c, const char *pool, struct err *e);
int libvirt_storage_volume_create(struct driver_connection *c, const char *pool, const char *volume,
        const char *format, int64_t size_bytes, struct err *e);
int libvirt_storage_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int libvirt_storage_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e);
int libvirt_storage_volume_list(
        struct driver_connection *c, const char *pool, char ***ret_names, struct err *e);
int libvirt_network_check(struct driver_connection *c, const char *network, struct err *e);

/* --- driver_libvirt_facts.c --- */

int libvirt_facts_get(struct driver_connection *c, struct host_facts *ret_facts, struct err *e);
