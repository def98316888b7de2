/* SPDX-License-Identifier: Apache-2.0 */
/* Merging layers: from one look to the next. Core loop, but where a function says otherwise. */
#include "compute/snapshot_merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_merge_look.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"
#include "storage/block_job.h"
#include "storage/carrier.h"

#define LOOK_TIMEOUT_MS 120000
#define HOST_TIMEOUT_MS 120000
#define GONE_TRIES                                                                                 \
	5 /* how often what works may end under one merge: a VM that starts and stops, a carrier */

/* One that runs. */
struct merge {
	struct merge *next;
	struct operation *op;
	enum snapshot_merge_mode mode;
	json_t *action;     /* owned; the look's "next" */
	int gone;           /* how often it ended under a job */
	struct err failure; /* of a job whose carrier is being stopped; code 0: none */
};

/* block_work_run tells only the operation. */
static struct merge *merges;

static void look(struct merge *merge);

static struct merge *find(const struct operation *op)
{
	struct merge *merge = merges;
	while (merge && merge->op != op)
		merge = merge->next;
	return merge;
}

/* A deletion that fails leaves files; settling what is not of our doing would be tried in vain for ever. */
static bool may_end_so(const struct merge *merge, int rc)
{
	if (rc >= 0 || operation_is_abandoned(merge->op))
		return false;
	return merge->mode == SNAPSHOT_MERGE_DELETE ||
	       (merge->mode == SNAPSHOT_MERGE_SETTLE && rc == ERR_UNPROCESSABLE);
}

static void end(struct merge *merge, int rc, const struct err *e)
{
	struct operation *op = merge->op;
	if (may_end_so(merge, rc)) {
		log_err(LOG_LEVEL_WARNING, e, "%s",
		        merge->mode == SNAPSHOT_MERGE_DELETE
		                ? "files of layers that nothing needs stay until the next merge"
		                : "a merge could not be settled, and the next one looks anew");
		rc = 0;
	}
	for (struct merge **p = &merges; *p; p = &(*p)->next)
		if (*p == merge) {
			*p = merge->next;
			break;
		}
	json_decref(merge->action);
	free(merge);
	operation_step_done(op, rc, e);
}

static const char *action_text(const json_t *action, const char *key)
{
	return json_string_value(json_object_get(action, key));
}

static enum merge_kind action_kind(const json_t *action)
{
	return (enum merge_kind)json_integer_value(json_object_get(action, "kind"));
}

/* ---- rows: writer thread ---- */

struct store {
	struct merge *merge; /* core loop */
	struct loop *loop;
	json_t *action, *deferred; /* owned copies */
	char vm_id[UUID_TEXT_SIZE];
	int (*run)(struct db *db, const struct store *store, struct err *e);
	void (*then)(struct merge *merge);
	int rc;
	struct err e;
};

/* The upper layer has taken the lower one's place. */
static int store_merged(struct db *db, const struct store *store, struct err *e)
{
	const char *lower = action_text(store->action, "lower");
	const char *upper = action_text(store->action, "upper");
	int rc = snapshot_store_release_layer(db, lower, e);
	return rc < 0 ? rc : layer_merge_down(db, upper, lower, e);
}

/* The upper layer's header may say what it likes from now on. */
static int store_pulling(struct db *db, const struct store *store, struct err *e)
{
	return layer_mark_pulling(db, action_text(store->action, "upper"), true, e);
}

static int store_pulled(struct db *db, const struct store *store, struct err *e)
{
	struct layer_row lower CLEANUP(layer_row_done) = {0};
	int rc = layer_store_get(db, action_text(store->action, "lower"), &lower, e);
	return rc < 0 ? rc
	              : layer_set_backing(db, action_text(store->action, "upper"),
	                        lower.backing_id[0] ? lower.backing_id : NULL, e);
}

static int store_deleting(struct db *db, const struct store *store, struct err *e)
{
	const char *id = action_text(store->action, "lower");
	int rc = snapshot_store_release_layer(db, id, e);
	return rc < 0 ? rc : layer_mark_deleting(db, id, e);
}

static int store_deleted(struct db *db, const struct store *store, struct err *e)
{
	return layer_forget(db, action_text(store->action, "lower"), e);
}

static bool is_deferred(const json_t *deferred, const char *layer_id)
{
	size_t i;
	json_t *item;
	json_array_foreach(
	        deferred, i, item) if (str_equal(action_text(item, "layer"), layer_id)) return true;
	return false;
}

/* What needs not wait, something else needs: the snapshots that are being deleted let go of it. */
static int store_tidied(struct db *db, const struct store *store, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	int rc = snapshot_store_released_layers(db, store->vm_id, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && !is_deferred(store->deferred, ids[i]))
			rc = snapshot_store_release_layer(db, ids[i], e);
		free(ids[i]);
	}
	free(ids);
	return rc < 0 ? rc : snapshot_store_forget_empty(db, store->vm_id, e);
}

static int run_store(struct db *db, void *arg, struct err *e)
{
	const struct store *store = arg;
	return store->run(db, store, e);
}

static void on_stored(void *arg) /* core loop */
{
	struct store *store = arg;
	struct merge *merge = store->merge;
	if (store->rc < 0)
		end(merge, store->rc, &store->e);
	else
		store->then(merge);
	json_decref(store->action);
	json_decref(store->deferred);
	free(store);
}

static void store_done(void *arg, int rc, const struct err *e)
{
	struct store *store = arg;
	store->rc = rc;
	if (rc < 0 && e)
		store->e = *e;
	loop_post(store->loop, on_stored, store);
}

static void submit_store(struct merge *merge, json_t *deferred,
        int (*run)(struct db *db, const struct store *store, struct err *e),
        void (*then)(struct merge *merge))
{
	const struct operation_services *services = operation_context(merge->op);
	if (operation_is_abandoned(merge->op)) {
		end(merge, ERR_CANCELLED, NULL);
		return;
	}
	struct store *store = xcalloc(1, sizeof(*store));
	*store = (struct store){.merge = merge,
	        .loop = services->loop,
	        .action = json_deep_copy(merge->action), /* counts are not for two threads */
	        .deferred = json_deep_copy(deferred),
	        .run = run,
	        .then = then};
	uuid_text_copy(store->vm_id, operation_target_id(merge->op));
	writer_submit(services->writer,
	        (struct writer_job){.run = run_store, .done = store_done, .arg = store});
}

/* ---- calls to the host: lane thread ---- */

struct host_call {
	struct merge *merge; /* core loop */
	json_t *action;      /* owned copy */
	struct readers *readers;
	char operation_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	int (*act)(const struct host_call *call, const struct driver *driver,
	        struct driver_connection *c, struct err *e);
	void (*then)(struct merge *merge, int rc, const struct err *e);
};

static int load_chain(
        const struct host_call *call, const char *key, struct layer_chain *ret_chain, struct err *e)
{
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	return rc < 0 ? rc : layer_chain_load(db, action_text(call->action, key), ret_chain, e);
}

static int delete_file(const struct host_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = load_chain(call, "lower", &chain, e);
	return rc < 0 ? rc : layer_chain_delete_top(&chain, driver, c, e);
}

static int start_carrier(const struct host_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = load_chain(call, "open", &chain, e);
	for (size_t i = 0; i < chain.len && rc == 0; i++)
		if (layer_chain_enters_pool(&chain, i))
			rc = pool_access_ensure(chain.pools[i], driver, c, e);
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &chain};
	return rc < 0 ? rc : carrier_start(driver, c, call->operation_id, &disk, 1, e);
}

static int stop_carrier(const struct host_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return carrier_stop(driver, c, call->operation_id, e);
}

/* 1: it was there and has written what it pulled. */
static int finish_carrier(const struct host_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	bool is_lost = false;
	int rc = carrier_finish(driver, c, call->operation_id, &is_lost, e);
	return rc < 0 ? rc : !is_lost;
}

static int run_host_call(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct host_call *call = arg;
	return call->act(call, driver, c, e);
}

static void host_call_done(void *arg, int rc, const struct err *e)
{
	struct host_call *call = arg;
	call->then(call->merge, rc, e);
}

static void host_call_release(void *arg)
{
	struct host_call *call = arg;
	json_decref(call->action);
	free(call);
}

static void submit_host_call(struct merge *merge,
        int (*act)(const struct host_call *call, const struct driver *driver,
                struct driver_connection *c, struct err *e),
        void (*then)(struct merge *merge, int rc, const struct err *e))
{
	const struct operation_services *services = operation_context(merge->op);
	if (operation_is_abandoned(merge->op)) { /* the next start looks anew */
		end(merge, ERR_CANCELLED, NULL);
		return;
	}
	struct host_call *call = xcalloc(1, sizeof(*call));
	*call = (struct host_call){.merge = merge,
	        .action = json_deep_copy(merge->action),
	        .readers = services->readers,
	        .act = act,
	        .then = then};
	uuid_text_copy(call->operation_id, operation_id(merge->op));
	uuid_text_copy(call->vm_id, operation_target_id(merge->op));
	const struct lane_call lane_call = {.class = LANE_CONTROL,
	        .domain = call->operation_id,
	        .timeout_ms = HOST_TIMEOUT_MS,
	        .run = run_host_call,
	        .done = host_call_done,
	        .release = host_call_release,
	        .arg = call};
	host_directory_submit(services->directory, operation_host_id(merge->op), &lane_call);
}

/* ---- delete ---- */

static void on_file_deleted(struct merge *merge, int rc, const struct err *e)
{
	if (rc < 0)
		end(merge, rc, e);
	else
		submit_store(merge, NULL, store_deleted, look);
}

static void delete_layer_file(struct merge *merge)
{
	submit_host_call(merge, delete_file, on_file_deleted);
}

/* ---- commit and pull ---- */

static bool is_by_vm(const struct merge *merge)
{
	return json_is_true(json_object_get(merge->action, "running"));
}

static void store_job(struct merge *merge)
{
	submit_store(merge, NULL,
	        action_kind(merge->action) == MERGE_PULL ? store_pulled : store_merged, look);
}

static void on_carrier_stopped(struct merge *merge, int rc, const struct err *e)
{
	if (merge->failure.code == ERR_GONE && ++merge->gone <= GONE_TRIES)
		look(merge); /* another one begins again */
	else if (merge->failure.code != 0)
		end(merge, merge->failure.code, &merge->failure);
	else if (rc < 0)
		end(merge, rc, e);
	else
		store_job(merge);
}

static void on_carrier_finished(struct merge *merge, int rc, const struct err *e)
{
	struct err lost;
	if (rc == 0) {
		rc = err_set(
		        &lost, ERR_GONE, "what merged the layers ended before it had written them");
		merge->failure = lost;
	}
	on_carrier_stopped(merge, rc, e);
}

static void on_job_ended(struct operation *op, int rc, const struct err *e)
{
	struct merge *merge = find(op);
	merge->failure = (struct err){0};
	if (rc < 0 && e)
		merge->failure = *e;
	if (!is_by_vm(merge) && rc == 0 && action_kind(merge->action) == MERGE_PULL)
		submit_host_call(merge, finish_carrier, on_carrier_finished);
	else if (!is_by_vm(merge))
		submit_host_call(merge, stop_carrier, on_carrier_stopped);
	else if (rc == ERR_GONE && ++merge->gone <= GONE_TRIES)
		look(merge); /* it stopped: a carrier takes over */
	else if (rc < 0)
		end(merge, rc, e);
	else
		store_job(merge);
}

static void start_job(struct merge *merge)
{
	bool by_vm = is_by_vm(merge);
	const struct block_work work = {
	        .kind = action_kind(merge->action) == MERGE_PULL ? BLOCK_WORK_PULL
	                                                         : BLOCK_WORK_COMMIT,
	        .host_id = operation_host_id(merge->op),
	        .domain_id = by_vm ? operation_target_id(merge->op) : operation_id(merge->op),
	        .disk = by_vm ? action_text(merge->action, "disk") : CARRIER_DISK,
	        .top = action_text(merge->action, "top"),
	        .base = action_text(merge->action, "base"),
	        .pool = action_text(merge->action, "pool"),
	};
	block_work_run(merge->op, &work, on_job_ended);
}

static void on_carrier_started(struct merge *merge, int rc, const struct err *e)
{
	if (rc < 0)
		end(merge, rc, e);
	else
		start_job(merge);
}

static void merge_layers(struct merge *merge)
{
	if (is_by_vm(merge))
		start_job(merge);
	else
		submit_host_call(merge, start_carrier, on_carrier_started);
}

/* ---- looks ---- */

static void end_well(struct merge *merge)
{
	end(merge, 0, NULL);
}

static void finish(struct merge *merge, json_t *deferred)
{
	operation_add_result(merge->op, json_pack("{s:O}", "deferred", deferred));
	if (merge->mode == SNAPSHOT_MERGE_ALL)
		submit_store(merge, deferred, store_tidied, end_well);
	else
		end_well(merge);
}

static void act(struct merge *merge, json_t *deferred)
{
	switch (action_kind(merge->action)) {
	case MERGE_NOTHING:
		finish(merge, deferred);
		break;
	case MERGE_RECORD:
		submit_store(merge, NULL, store_merged, look);
		break;
	case MERGE_DELETE:
		submit_store(merge, NULL, store_deleting, delete_layer_file);
		break;
	case MERGE_COMMIT:
		merge_layers(merge);
		break;
	case MERGE_PULL:
		submit_store(merge, NULL, store_pulling, merge_layers);
		break;
	}
}

static void on_looked(struct vm_call *call, int rc, const struct err *e)
{
	struct merge *merge = find(call->op);
	if (rc < 0) {
		end(merge, rc, e);
		return;
	}
	json_decref(merge->action);
	merge->action = json_incref(json_object_get(call->found, "next"));
	act(merge, json_object_get(call->found, "deferred"));
}

static void look(struct merge *merge)
{
	struct err cancelled = {0};
	if (operation_is_abandoned(merge->op)) {
		end(merge, ERR_CANCELLED, NULL);
		return;
	}
	if (operation_is_cancelled(merge->op) && !operation_is_undoing(merge->op)) {
		err_set(&cancelled, ERR_CANCELLED,
		        "the merge was cancelled; what is left is taken up again later");
		end(merge, ERR_CANCELLED, &cancelled);
		return;
	}
	vm_call_submit_then(
	        merge->op, snapshot_merge_looks[merge->mode], LOOK_TIMEOUT_MS, 0, on_looked);
}

static void on_first_stop(struct merge *merge, int rc, const struct err *e)
{
	if (rc < 0)
		end(merge, rc, e);
	else
		look(merge);
}

void snapshot_merge_run(struct operation *op, enum snapshot_merge_mode mode)
{
	struct merge *merge = xcalloc(1, sizeof(*merge));
	*merge = (struct merge){.next = merges, .op = op, .mode = mode};
	merges = merge;
	/* A carrier of before a restart may hold other files than those that come next. */
	submit_host_call(merge, stop_carrier, on_first_stop);
}

void snapshot_merge_cancel(struct operation *op)
{
	if (find(op))
		block_work_cancel(op);
}
