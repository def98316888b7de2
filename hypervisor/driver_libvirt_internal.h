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
	bool is_local; /* the host is this machine */
	bool is_test;  /* test:///: no agent, no QEMU, fewer flags */
};

/* --- driver_libvirt_events.c --- */

/* Subscribes to events and to the connection's end. They come on the loop of event_loop_register. */
int libvirt_events_subscribe(
        struct driver_connection *c, const struct driver_events *events, struct err *e);
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
int libvirt_domain_quit(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_reboot(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e);
int libvirt_domain_reset(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_pause(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_resume(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_managed_save(struct driver_connection *c, const char *id, struct err *e);
int libvirt_domain_managed_save_remove(struct driver_connection *c, const char *id, struct err *e);

/* --- driver_libvirt_list.c --- */

/* What libvirt answers when it is asked for all domains. */
struct domain_array {
	virDomainPtr *items; /* owned */
	int len;
};
void cleanup_domain_array(struct domain_array *array);

int libvirt_domains_list(struct driver_connection *c, struct domain_list *ret_list, struct err *e);
int libvirt_domain_get(
        struct driver_connection *c, const char *id, struct domain_info *ret_info, struct err *e);
int libvirt_domain_find(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e);

/* --- driver_libvirt_stats.c, driver_libvirt_guest.c --- */

int libvirt_stats_get(struct driver_connection *c, unsigned groups,
        struct domain_stats_list *ret_list, struct err *e);
/* How long a call waits for an agent that does not answer. */
#define AGENT_TIMEOUT_S 2
int libvirt_guest_get(
        struct driver_connection *c, const char *id, struct guest_info *ret_info, struct err *e);

/* --- driver_libvirt_host.c --- */

int libvirt_host_get_stats(
        struct driver_connection *c, struct host_stats *ret_stats, struct err *e);
int libvirt_host_get_ksm(struct driver_connection *c, struct ksm_state *ret_state, struct err *e);
int libvirt_host_set_ksm(
        struct driver_connection *c, const struct ksm_change *change, struct err *e);

/* --- driver_libvirt_memory.c --- */

int libvirt_live_set_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);
int libvirt_live_set_stats_period(
        struct driver_connection *c, const char *id, int seconds, struct err *e);
int libvirt_live_grow_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e);

/* --- driver_libvirt_cpu.c --- */

int libvirt_live_set_vcpus(struct driver_connection *c, const char *id, int count, struct err *e);
int libvirt_agent_count_vcpus(
        struct driver_connection *c, const char *id, int *ret_online, struct err *e);
int libvirt_live_set_cpu(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e);
int libvirt_live_set_cpu_pins(
        struct driver_connection *c, const char *id, const struct cpu_pins *pins, struct err *e);

/* --- driver_libvirt_live.c --- */

int libvirt_live_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int libvirt_live_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);
int libvirt_live_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e);

/* --- driver_libvirt_block.c --- */

int libvirt_block_copy(struct driver_connection *c, const char *id, const char *disk,
        const char *destination_xml, struct err *e);
int libvirt_block_commit(struct driver_connection *c, const char *id, const char *disk,
        const char *top, const char *base, struct err *e);
int libvirt_block_pull(struct driver_connection *c, const char *id, const char *disk,
        const char *base, struct err *e);
int libvirt_block_job_get(struct driver_connection *c, const char *id, const char *disk,
        struct block_job_info *ret_info, struct err *e);
int libvirt_block_job_end(struct driver_connection *c, const char *id, const char *disk,
        enum block_job_end how, struct err *e);
int libvirt_block_capacity(struct driver_connection *c, const char *id, const char *disk,
        int64_t *ret_bytes, struct err *e);
int libvirt_block_resize(struct driver_connection *c, const char *id, const char *disk,
        int64_t size_bytes, struct err *e);
int libvirt_block_set_limits(struct driver_connection *c, const char *id, const char *disk,
        int64_t iops_limit, int64_t bytes_per_second_limit, struct err *e);
int libvirt_block_chain(struct driver_connection *c, const char *id, const char *disk,
        char ***ret_paths, struct err *e);

/* --- driver_libvirt_user.c --- */

int libvirt_find_user(
        struct driver_connection *c, const char *path, char **ret_name, struct err *e);

/* --- driver_libvirt_snapshot.c --- */

int libvirt_snapshot_create(struct driver_connection *c, const char *id, const char *xml,
        unsigned flags, struct err *e);
int libvirt_saved_xml(
        struct driver_connection *c, const char *memory_path, char **ret_xml, struct err *e);
int libvirt_restore(struct driver_connection *c, const char *id, const char *memory_path,
        const char *xml, bool paused, struct err *e);
int libvirt_create_transient(
        struct driver_connection *c, const char *id, const char *xml, struct err *e);
int libvirt_drop_checkpoints(struct driver_connection *c, const char *id, struct err *e);

/* --- driver_libvirt_agent.c --- */

/* A running domain, with short waits for its agent. */
int libvirt_agent_lookup(
        struct driver_connection *c, const char *id, virDomainPtr *ret_domain, struct err *e);
/* Makes the guest use all memory that it has: some leave plugged memory aside until told. *ret_n: blocks that it knows. */
int libvirt_agent_use_memory(
        struct driver_connection *c, const char *id, size_t *ret_n, struct err *e);
int libvirt_agent_freeze(struct driver_connection *c, const char *id, int *ret_n, struct err *e);
int libvirt_agent_thaw(struct driver_connection *c, const char *id, struct err *e);
int libvirt_agent_freeze_status(
        struct driver_connection *c, const char *id, enum freeze_status *ret_status, struct err *e);
int libvirt_agent_set_time(struct driver_connection *c, const char *id, struct err *e);

/* --- driver_libvirt_pool.c --- */

void cleanup_libvirt_pool(virStoragePoolPtr *pool);
int libvirt_pool_find(
        struct driver_connection *c, const char *name, virStoragePoolPtr *ret_pool, struct err *e);
/* ERR_BUSY while someone makes a volume in it; after any other error the pool is stopped. */
int libvirt_pool_refresh(virStoragePoolPtr pool, struct err *e);
/* Whether the host's libvirt has storage pools at all. */
bool libvirt_pool_is_supported(struct driver_connection *c);
int libvirt_pool_get_type(virStoragePoolPtr pool, char ret_type[16], struct err *e);
int libvirt_pool_ensure(
        struct driver_connection *c, const struct pool_config *config, struct err *e);
int libvirt_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e);
int libvirt_pool_remove(struct driver_connection *c, const char *pool, struct err *e);

/* --- driver_libvirt_volume.c --- */

void cleanup_libvirt_volume(virStorageVolPtr *volume);
int libvirt_volume_find(struct driver_connection *c, const char *pool, const char *volume,
        virStorageVolPtr *ret_volume, struct err *e);
int libvirt_volume_create(struct driver_connection *c, const char *pool,
        const struct volume_config *config, struct err *e);
int libvirt_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int libvirt_volume_wipe(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e);
int libvirt_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e);
int libvirt_volume_list(struct driver_connection *c, const char *pool,
        struct volume_info_list *ret_list, struct err *e);

/* --- driver_libvirt_stream.c --- */

int libvirt_volume_upload(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_source *from, struct err *e);
int libvirt_volume_download(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_sink *to, struct err *e);

/* --- driver_libvirt_secret.c, driver_libvirt_network.c --- */

int libvirt_secret_set(struct driver_connection *c, const char *secret_id, const char *usage,
        const char *value, struct err *e);
int libvirt_secret_remove(struct driver_connection *c, const char *secret_id, struct err *e);
int libvirt_network_check(struct driver_connection *c, const char *network, struct err *e);
int libvirt_network_list(struct driver_connection *c, char ***ret_names, struct err *e);

/* --- driver_libvirt_facts.c --- */

int libvirt_facts_get(struct driver_connection *c, struct host_facts *ret_facts, struct err *e);
