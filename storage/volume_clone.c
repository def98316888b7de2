/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether and how a layer may be cloned: the mutation that starts volume.clone. Writer thread.
 *
 * The source may be anything that is not written: a free volume, the disk of a stopped VM (full clones only: a linked
 * one would have to freeze it), a frozen layer below a snapshot, an image's copy. The clone's row stands on it from now
 * on, so that it stays as it is; a full clone lets go of it at its end.
 */
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"
#include "storage/volume_kinds.h"
#include "storage/volume_work_store.h"

#define MIB ((int64_t)1 << 20)

const char *const volume_clone_mode_names[] = {"full", "linked", NULL};

/* What a request is checked against, and becomes. */
struct clone_plan {
	const struct volume_clone_request *request;
	struct layer_chain source;
	struct volume_row volume; /* that the source layer is of; id "": an image's */
	struct volume_vm vm;      /* whose disk that is; name NULL: nobody's */
	bool is_written;          /* the source is its volume's top */
	struct pool_access pool;  /* the clone's */
	char host_id[UUID_TEXT_SIZE];
	const char *format;
	int64_t size_bytes;
};

static void plan_done(struct clone_plan *plan)
{
	layer_chain_done(&plan->source);
	volume_row_done(&plan->volume);
	volume_vm_done(&plan->vm);
	pool_access_done(&plan->pool);
}

static bool is_linked(const struct clone_plan *plan)
{
	return plan->request->mode == VOLUME_CLONE_LINKED;
}

/* ---- the source ---- */

static int load_source(struct db *db, const char *layer_id, struct clone_plan *plan, struct err *e)
{
	int rc = layer_chain_load(db, layer_id, &plan->source, e);
	if (rc < 0)
		return rc;
	const struct layer_row *top = &plan->source.layers[0];
	if (!str_equal(top->state, "ready"))
		return err_set(e, ERR_WRONG_STATE, "the source is %s", top->state);
	if (!top->volume_id[0])
		return 0;
	rc = volume_store_get(db, top->volume_id, &plan->volume, e);
	if (rc == 0 && plan->volume.vm_id)
		rc = volume_store_get_vm(db, plan->volume.vm_id, &plan->vm, e);
	plan->is_written = rc == 0 && str_equal(plan->volume.layer_id, layer_id);
	return rc;
}

static int check_vm(struct db *db, const struct clone_plan *plan, struct err *e)
{
	const struct volume_row *volume = &plan->volume;
	if (is_linked(plan)) {
		volume_refuse_owned(db, volume, e);
		return err_hint(e, "a linked clone would freeze it: make a full one");
	}
	if (!str_equal(plan->vm.power, "stopped")) {
		err_set(e, ERR_IN_USE, "volume %s is disk %s of VM %s, which is %s", volume->name,
		        volume->disk, plan->vm.name, plan->vm.power);
		return err_hint(e, "stop the VM, or take a snapshot and clone that");
	}
	char busy[UUID_TEXT_SIZE] = "", kind[64] = "";
	int rc = operation_find_busy(db, volume->vm_id, busy, kind, e);
	if (rc < 0 || !busy[0])
		return rc;
	return err_set(
	        e, ERR_BUSY, "operation %s (%s) is working on VM %s", busy, kind, plan->vm.name);
}

static int check_source(struct db *db, const struct clone_plan *plan, struct err *e)
{
	if (!plan->is_written)
		return 0;
	int rc = volume_check_idle(db, &plan->volume, e);
	return rc < 0 || !plan->volume.vm_id ? rc : check_vm(db, plan, e);
}

/* ---- the target ---- */

static int load_pool(struct db *db, struct clone_plan *plan, struct err *e)
{
	const char *name = plan->request->pool;
	const char *own =
	        plan->volume.pool_id ? plan->volume.pool_id : plan->source.layers[0].pool_id;
	if (!name)
		return pool_access_load(db, own, &plan->pool, e);
	char id[UUID_TEXT_SIZE];
	int rc = pool_store_get_id(db, name, id, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/pool", "no pool named %s", name);
	return rc < 0 ? rc : pool_access_load(db, id, &plan->pool, e);
}

/* The host that the source lies on, "" if all its pools are shared. */
static const char *source_host(const struct clone_plan *plan)
{
	for (size_t i = 0; i < plan->source.len; i++)
		if (plan->source.layers[i].host_id[0])
			return plan->source.layers[i].host_id;
	return plan->vm.host_id; /* image locks of a shared pool may not cross hosts */
}

static int choose_host(struct db *db, struct clone_plan *plan, struct err *e)
{
	const char *at = source_host(plan), *wanted = plan->request->host_id;
	if (at[0]) {
		uuid_text_copy(plan->host_id, at);
		if (!wanted || str_equal(wanted, at) || plan->pool.shared)
			return 0;
		err_set_at(e, ERR_UNSUPPORTED, "/host",
		        "the source lies on another host, and pool %s is not shared",
		        plan->pool.name);
		return err_hint(e, "clone into a shared pool, or download and upload the volume");
	}
	uuid_text_copy(plan->host_id, wanted);
	if (wanted)
		return 0;
	const char *pool_id = plan->pool.shared ? plan->pool.id : plan->source.layers[0].pool_id;
	return pool_choose_host(db, pool_id, plan->host_id, e);
}

static int check_reach(struct db *db, const struct clone_plan *plan, struct err *e)
{
	int rc = pool_check_host(db, plan->pool.id, plan->host_id, e);
	for (size_t i = 0; i < plan->source.len && rc == 0; i++)
		rc = pool_check_host(db, plan->source.layers[i].pool_id, plan->host_id, e);
	return rc;
}

static int choose_format(struct clone_plan *plan, struct err *e)
{
	bool holds_files = plan->pool.kind->flags & POOL_FILES;
	const char *asked = plan->request->format;
	plan->format = asked ? asked : pool_kind_format(plan->pool.kind, "qcow2");
	if (!is_linked(plan)) {
		if (!asked && holds_files && plan->source.len == 1)
			plan->format = plan->source.layers[0].format;
		return 0;
	}
	if (!pool_kind_makes_files(plan->pool.kind)) {
		err_set_at(e, ERR_UNSUPPORTED, "/pool",
		        "a linked clone is a file, and Berth makes none in pool %s (%s)",
		        plan->pool.name, plan->pool.kind->name);
		return err_hint(e, "name a pool of files, or make a full clone");
	}
	if (!str_equal(plan->format, "qcow2"))
		return err_set_at(e, ERR_INVALID, "/format",
		        "a linked clone is qcow2: only that format can stand on another file");
	return volume_check_depth((int64_t)plan->source.len, e);
}

static int choose_size(struct clone_plan *plan, struct err *e)
{
	int64_t least = plan->source.layers[0].size_bytes;
	int64_t asked = plan->request->size_bytes;
	plan->size_bytes = asked ? asked : (least + MIB - 1) / MIB * MIB;
	if (plan->size_bytes > least && plan->pool.kind->source == DOMAIN_SOURCE_BLOCK)
		return err_set_at(e, ERR_UNSUPPORTED, "/size_bytes",
		        "a clone in pool %s (%s) has the source's size, %lld bytes: its devices "
		        "cannot grow",
		        plan->pool.name, plan->pool.kind->name, (long long)least);
	if (plan->size_bytes >= least)
		return 0;
	err_set_at(e, ERR_INVALID, "/size_bytes",
	        "the source has %lld bytes: a clone has at least that", (long long)least);
	return err_numbers(e, "{\"source_bytes\":%lld,\"asked_bytes\":%lld}", (long long)least,
	        (long long)asked);
}

static int choose_target(struct db *db, struct clone_plan *plan, struct err *e)
{
	int rc = load_pool(db, plan, e);
	if (rc == 0)
		rc = choose_size(plan, e);
	if (rc == 0)
		rc = choose_format(plan, e);
	if (rc == 0)
		rc = choose_host(db, plan, e);
	return rc < 0 ? rc : check_reach(db, plan, e);
}

/* ---- together ---- */

static int reserve(
        struct db *db, const struct clone_plan *plan, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	const struct volume_clone_request *request = plan->request;
	const struct volume_request volume = {
	        .pool = plan->pool.name,
	        .host_id = plan->host_id,
	        .name = request->name,
	        .format = plan->format,
	        .size_bytes = plan->size_bytes,
	        .vm_id = request->vm_id,
	        .disk = request->disk,
	        .backing_id = plan->source.layers[0].id,
	};
	return volume_reserve(db, &volume, ret_id, e);
}

static int start(struct db *db, struct operation_engine *engine, const struct clone_plan *plan,
        const char *id, const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0)
		return rc;
	const char *vm_id = plan->is_written ? plan->volume.vm_id : NULL;
	json_t *input = json_pack("{s:b, s:I}", "linked", is_linked(plan), "source_bytes",
	        (json_int_t)plan->source.layers[0].size_bytes);
	if (vm_id)
		json_object_set_new(input, "source_vm_id", json_string(vm_id));
	const struct volume_start operation = {
	        .kind = "volume.clone",
	        .row = &row,
	        .host_id = plan->host_id,
	        .queue = vm_id,
	        .input = input,
	        .asked = asked,
	};
	return volume_start_operation(db, engine, &operation, ret_operation, e);
}

int volume_clone_start(struct db *db, struct operation_engine *engine, const char *source_layer_id,
        const struct volume_clone_request *request, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct clone_plan plan CLEANUP(plan_done) = {.request = request};
	int rc = load_source(db, source_layer_id, &plan, e);
	if (rc == 0)
		rc = check_source(db, &plan, e);
	if (rc == 0)
		rc = choose_target(db, &plan, e);
	if (rc == 0)
		rc = reserve(db, &plan, ret_id, e);
	return rc < 0 ? rc : start(db, engine, &plan, ret_id, asked, ret_operation, e);
}
