/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of the pool monitor: what is to be looked at, and what was found. */
#pragma once

#include "storage/pool_drift.h"
#include "storage/pool_store.h"

/* One pool as seen from one host. */
struct pool_pair {
	char pool_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	bool is_shared;
};
struct pool_pairs {
	struct pool_pair *items; /* owned */
	size_t len;
};
void pool_pairs_done(struct pool_pairs *pairs);
/* All pairs that libvirt can look at, of pools that are ready. Any connection. */
int pool_monitor_store_pairs(struct db *db, struct pool_pairs *ret_pairs, struct err *e);
/* The layers that are ready in that pool (host_id NULL: shared), with the paths of those below. Any connection. */
int pool_monitor_store_layers(struct db *db, const struct pool_access *access, const char *host_id,
        struct drift_layers *ret_layers, struct err *e);

/* What a look found. */
struct pool_finding {
	char pool_id[UUID_TEXT_SIZE];
	struct pool_host
	        host; /* owned; state, reason and (ok) the numbers; since is filled in when recorded */
	int64_t warn_percent;
	bool has_list;                  /* the volumes were compared, too */
	struct drift_verdicts verdicts; /* owned */
};
void pool_finding_done(struct pool_finding *finding);
/* Records it with the events that follow. A pool or host that is gone: success. Writer. */
int pool_finding_record(struct db *db, struct pool_finding *finding, struct err *e);

/* Records a verdict; not if the layer has changed since it was compared, or is as it is recorded already. Writer. */
int pool_monitor_store_put_layer(
        struct db *db, const struct drift_verdict *verdict, bool *ret_changed, struct err *e);
typedef int (*pool_volume_fn)(
        struct db *db, const char *id, const char *name, const char *drift, struct err *e);
/* The volumes that are written through a layer or stand on it. */
int pool_monitor_store_above(
        struct db *db, const char *layer_id, pool_volume_fn each, struct err *e);
/* The volumes of a pool that have a drift. */
int pool_monitor_store_drifted(
        struct db *db, const char *pool_id, pool_volume_fn each, struct err *e);
/* The first drift of a volume's layers and of those below them, "" for none. Caller frees. */
int pool_monitor_store_find_drift(
        struct db *db, const char *volume_id, char **ret_drift, struct err *e);
int pool_monitor_store_set_drift(
        struct db *db, const char *volume_id, const char *drift, struct err *e);

/* Whether the event "filling" holds: from warn_percent on, until 5 points below. Pure. */
bool pool_is_filling(
        bool was_filling, int64_t allocation_bytes, int64_t capacity_bytes, int64_t warn_percent);
