/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts: the registered machines, their live connections, and what is recorded of them.
 *
 * The database row is the truth for readers: state, reason, since and facts are written there by
 * every transition. The live part (struct hosts) belongs to the core loop.
 */
#pragma once

#include "base/field.h"
#include "db/writer.h"
#include "hypervisor/host_connection.h"

struct hosts;

/* What a user writes; field table host_fields decodes it (name, uri, group, labels, failure_domain,
 * accelerator). */
struct host_spec {
	char *name, *uri, *group, *failure_domain; /* owned */
	int accelerator;                           /* enum host_accelerator */
	struct field_labels labels;
};
enum host_accelerator { ACCELERATOR_AUTO, ACCELERATOR_KVM, ACCELERATOR_TCG };
extern const struct field_table host_spec_fields; /* writes */
extern const struct field_table host_fields;      /* answers, for OpenAPI */
void host_spec_done(struct host_spec *spec);

/* One row, as far as others need it. Owned texts. */
struct host_row {
	char id[UUID_TEXT_SIZE];
	char *name, *uri, *access, *group_id, *group, *accelerator, *spec, *state, *state_reason,
	        *facts;
	int64_t state_since, cpu_threads, memory_bytes, version, created_at;
};
void host_row_done(struct host_row *row);
/* By name or UUID; ERR_NOT_FOUND ("no host named ..."). Any connection. */
int host_store_get(struct db *db, const char *name_or_id, struct host_row *ret_row, struct err *e);
/* ERR_HOST_DOWN / ERR_HOST_SLOW with the reason and since when, unless its state is ok. */
int host_check_available(const struct host_row *row, struct err *e);
/* Upwards: who wants to know. All on the core loop. */
struct hosts_callbacks {
	/* Connected (again): list everything. `facts` borrowed until the next `up` of that host. */
	void (*up)(void *arg, const char *host_id);
	void (*domain)(void *arg, const char *host_id, const struct domain_event *event);
	void *arg;
};

struct hosts_config {
	struct loop *loop;
	struct writer *writer;
	struct lane_pool *pool;
	struct host_directory
	        *directory; /* each host's connection is put there; submit calls through it */
	struct operation_engine *engine; /* poked when a host becomes ok */
	bool allow_plain_tcp;
	/* Heartbeat and reconnect times, the rest is ignored; NULL: the defaults. Borrowed for the
	 * call. */
	const struct host_connection_config *times;
};

/* Core loop. */
struct hosts *hosts_new(const struct hosts_config *config);
void hosts_set_callbacks(struct hosts *h, struct hosts_callbacks callbacks);
/* At start, before serving: every host's recorded state becomes "connecting"; then connects to
 * each. */
int hosts_load(struct hosts *h, struct db *db, struct err *e);
void hosts_free(struct hosts *h);
/* Registers the local host (qemu:///system, named after the machine) unless one was ever registered
 * locally. */
int hosts_register_local(struct db *db, struct hosts *h, struct err *e);

/* Core loop: facts of the last connection, or NULL. Borrowed for the current callback. */
const struct host_facts *hosts_facts(const struct hosts *h, const char *host_id);
/* Core loop: "kvm", "qemu" or "test" for a guest of this architecture by the host's accelerator
 * rule; NULL: unknown. */
const char *hosts_domain_type(const struct hosts *h, const char *host_id, const char *architecture);
enum host_state hosts_state(const struct hosts *h, const char *host_id);
bool hosts_is_local(const struct hosts *h, const char *host_id);

/* Live counters of one host, published every second: copied out, any thread. False: no such host
 * (yet). */
struct host_live_stats {
	struct host_connection_stats connection;
	int64_t at; /* wall ms, when they were read */
};
bool hosts_get_stats(struct hosts *h, const char *host_id, struct host_live_stats *ret_stats);

/* Mutations: writer thread, inside a job; the live part follows after the commit. */
int host_create(struct db *db, struct hosts *h, const struct host_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e);
/* Replaces the whole spec (PUT). */
int host_replace(struct db *db, struct hosts *h, const struct host_row *row,
        const struct host_spec *spec, struct err *e);
/* merge patch on the spec; a changed uri reconnects (refused while the host has VMs of ours). */
int host_update(struct db *db, struct hosts *h, const struct host_row *row, json_t *patch,
        struct field_errors *errors, struct err *e);
/* ERR_IN_USE naming what is still there: managed VMs, volumes, unfinished operations. Foreign VMs'
 * rows go. */
int host_delete(struct db *db, struct hosts *h, const struct host_row *row, struct err *e);
