/* SPDX-License-Identifier: Apache-2.0 */
/* Between the halves of the live side (host_live.c, host_record.c) and the mutations (host.c). */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "compute/host.h"

/* A registered host while the daemon runs. Core loop only. */
struct live_host {
	struct hosts *hosts; /* borrowed */
	char id[UUID_TEXT_SIZE];
	char *name, *uri; /* owned */
	enum host_accelerator accelerator;
	bool is_local;
	struct host_connection *connection; /* owned */
	/* The newest transition, as recorded or about to be; `since` is its own moment. */
	enum host_state state;
	char *reason; /* owned */
	int64_t since;
	struct host_facts facts; /* of the last connection */
	bool has_facts, is_asking_networks;
	struct loop_timer *record_again; /* owned; a record failed and will be tried again */
};

/* Shared by the core loop and, through references, by jobs on the writer thread. */
struct hosts {
	struct hosts_config config;
	struct host_connection_config times;
	struct hosts_callbacks callbacks; /* core loop */
	struct map *map;                  /* id -> owned struct live_host; core loop */
	struct loop_timer *publish_timer, *networks_timer; /* core loop */
	_Atomic int refs;
	_Atomic bool is_closing; /* nothing is posted to the loop any more */
	pthread_mutex_t lock;    /* guards `published` */
	struct map *published;   /* id -> owned struct host_live_stats */
};

struct hosts *hosts_ref(struct hosts *h); /* any thread */
void hosts_unref(struct hosts *h);

/* Core loop: what changed goes to the writer; the transition carries its own time. */
void host_record_state(struct live_host *host);
void host_record_facts(struct live_host *host);

/* host_networks.c: asks all hosts that are ok for their active networks; what changed becomes a fact. Core loop. */
void hosts_ask_networks(struct hosts *h);

enum host_follow { HOST_ADDED, HOST_CHANGED, HOST_REMOVED };
/*
 * Writer thread, inside a job: once the transaction has committed, the live side connects to,
 * updates (a changed URI reconnects) or drops the host. Nothing happens after a rollback. `h` may
 * be NULL.
 */
void hosts_follow(
        struct hosts *h, struct db *db, enum host_follow what, const struct host_row *row);
/* Core loop: what hosts_follow leads to. */
void hosts_apply(struct hosts *h, enum host_follow what, const struct host_row *row);
/* Any thread; false for NULL. */
bool hosts_allow_plain_tcp(const struct hosts *h);
