/* SPDX-License-Identifier: Apache-2.0 */
/* The rules by which pools are made, changed and deleted. Writer thread. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "storage/pool_operations.h"
#include "storage/pool_store.h"

static int add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	const struct change change = {
	        .kind = "pool", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

/* ---- hosts ---- */

static const struct pool_host *find_host(const struct pool_host_list *hosts, const char *name_or_id)
{
	for (size_t i = 0; i < hosts->len; i++)
		if (str_equal(hosts->items[i].host, name_or_id) ||
		        str_equal(hosts->items[i].host_id, name_or_id))
			return &hosts->items[i];
	return NULL;
}

/* Names become ids, so that a host may be renamed. One that was removed since stays as it is. */
static int resolve_hosts(struct pool_spec *spec, const struct pool_spec *before,
        const struct pool_host_list *hosts, struct err *e)
{
	for (size_t i = 0; i < spec->hosts.len; i++) {
		char **item = &spec->hosts.items[i];
		const struct pool_host *host = find_host(hosts, *item);
		if (host) {
			str_replace(item, host->host_id);
			continue;
		}
		if (before && before->hosts.len > 0 && pool_spec_has_host(before, *item))
			continue;
		char *pointer CLEANUP(cleanup_free) = str_format("/hosts/%zu", i);
		return err_set_at(e, ERR_REFERENCE, pointer, "no host named %s", *item);
	}
	return 0;
}

/* The operation's hosts: those for which `is_included` says so. */
static json_t *host_input(const struct pool_host_list *hosts,
        bool (*is_included)(const void *arg, const struct pool_host *host), const void *arg)
{
	json_t *list = json_array();
	for (size_t i = 0; i < hosts->len; i++) {
		const struct pool_host *host = &hosts->items[i];
		if (is_included(arg, host))
			json_array_append_new(list,
			        json_pack("{s:s,s:s}", "id", host->host_id, "name", host->host));
	}
	return list;
}

static bool is_member(const void *arg, const struct pool_host *host)
{
	return pool_spec_has_host(arg, host->host_id);
}

/* A host that never was told of the pool need not be reached to forget it. */
static bool may_know_it(const void *arg, const struct pool_host *host)
{
	return is_member(arg, host) && (host->is_seen || str_equal(host->host_state, "ok"));
}

/* ---- starting operations ---- */

static int start(struct db *db, struct operation_engine *engine, const char *kind,
        const struct operation_asked *asked, const char *id, const char *name, json_t *input,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	const struct operation_request request = {
	        .kind = kind,
	        .target_kind = "pool",
	        .target_id = id,
	        .target_name = name,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id,
	        .deadline_ms = asked->deadline_ms,
	};
	return operation_create(db, engine, &request, ret_operation, e);
}

/* By name or UUID, kept by name. It may not be there any more when it is needed, but one that was never right is told at once. */
static int resolve_file_pool(
        struct db *db, struct pool_spec *spec, const struct pool_spec *before, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	if (!spec->file_pool || (before && str_equal(spec->file_pool, before->file_pool)))
		return 0;
	int rc = pool_store_get(db, spec->file_pool, &row, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && pool_kind_makes_files(pool_kind_find(row.kind))) {
		str_replace(&spec->file_pool, row.name);
		return 0;
	}
	return err_set_at(e, ERR_REFERENCE, "/file_pool",
	        rc == 0 ? "pool %s holds no files" : "no pool named %s", spec->file_pool);
}

/* Two pools in one directory would count each other's files and delete each other's definition. */
static int check_path_free(
        struct db *db, const struct pool_spec *spec, const char *own_id, struct err *e)
{
	char *other CLEANUP(cleanup_free) = NULL;
	if (!spec->path)
		return 0;
	int rc = pool_store_find_path(db, spec->path, own_id, &other, e);
	if (rc == 0 && other)
		return err_set_at(
		        e, ERR_EXISTS, "/path", "pool %s lies in %s already", other, spec->path);
	return rc;
}

/* A copy that may be changed. */
static int copy_spec(const struct pool_spec *spec, struct pool_spec *ret_spec, struct err *e)
{
	char *stored CLEANUP(cleanup_free) = pool_spec_store(spec);
	return pool_spec_load(
	        stored, pool_kind_of(spec)->name, spec->path ? spec->path : "", ret_spec, e);
}

/* ---- create ---- */

static int insert(struct db *db, const char *id, const struct pool_spec *resolved,
        const struct pool_spec *spec, struct err *e)
{
	char *stored CLEANUP(cleanup_free) = pool_spec_store(resolved);
	const struct pool_insert row = {
	        .id = id,
	        .name = spec->name,
	        .kind = pool_kind_of(spec)->name,
	        .path = spec->path ? spec->path : "",
	        .spec = stored,
	        .state = "creating",
	        .secret = spec->source.secret,
	        .shared = pool_spec_is_shared(spec),
	        .created_at = clock_wall_ms(),
	};
	int rc = pool_store_insert(db, &row, e);
	if (rc == ERR_EXISTS)
		return err_set_at(e, rc, "/name", "a pool named %s exists", spec->name);
	return rc;
}

int pool_create(struct db *db, struct operation_engine *engine, const struct pool_spec *spec,
        const struct operation_asked *asked, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_spec resolved CLEANUP(pool_spec_done) = {0};
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	int rc = pool_spec_check(spec, errors, e);
	if (rc == 0)
		rc = copy_spec(spec, &resolved, e);
	if (rc == 0)
		rc = pool_store_hosts(db, id, &hosts, e);
	if (rc == 0)
		rc = resolve_hosts(&resolved, NULL, &hosts, e);
	if (rc == 0)
		rc = resolve_file_pool(db, &resolved, NULL, e);
	if (rc == 0)
		rc = insert(db, id, &resolved, spec, e);
	if (rc == 0)
		rc = check_path_free(db, spec, id, e);
	if (rc == 0)
		rc = add_change(db, "created", id, spec->name, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:o}", "hosts", host_input(&hosts, is_member, &resolved));
	uuid_text_copy(ret_id, id);
	return start(db, engine, POOL_CREATE, asked, id, spec->name, input, ret_operation, e);
}

/* ---- change ---- */

struct difference {
	bool definition; /* what libvirt knows, apart from the secret */
	bool secret, sharing;
};

static bool same_hosts(const struct field_strings *a, const struct field_strings *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (!str_equal(a->items[i], b->items[i]))
			return false;
	return true;
}

static bool same_source(const struct pool_source *a, const struct pool_source *b)
{
	return str_equal(a->dir, b->dir) && str_equal(a->name, b->name) &&
	       str_equal(a->device, b->device) && str_equal(a->format, b->format) &&
	       str_equal(a->initiator, b->initiator) && str_equal(a->user, b->user) &&
	       same_hosts(&a->hosts, &b->hosts);
}

static struct difference compare(const struct pool_spec *before, const struct pool_spec *after,
        const char *old_secret, const char *new_secret)
{
	return (struct difference){
	        .definition = !str_equal(before->path, after->path) ||
	                      !same_source(&before->source, &after->source) ||
	                      !old_secret != !new_secret,
	        .secret = !str_equal(old_secret, new_secret),
	        .sharing = pool_spec_is_shared(before) != pool_spec_is_shared(after),
	};
}

static int in_use(const struct pool_row *row, const char *what, const char *users, struct err *e)
{
	err_set(e, ERR_IN_USE, "pool %s cannot %s: it holds %s", row->name, what, users);
	err_numbers(e, "{\"volumes\":%lld}", (long long)row->volumes);
	return err_hint(e, "move or delete what is in it first");
}

static int check_unused(struct db *db, const struct pool_row *row, const char *what, struct err *e)
{
	struct str users CLEANUP(str_done) = {0};
	int rc = pool_store_users(db, row->id, &users, e);
	return rc == 0 && users.len > 0 ? in_use(row, what, str_text(&users), e) : rc;
}

/* Hosts that are taken away must have nothing there. */
static int check_hosts_unused(struct db *db, const struct pool_row *row,
        const struct pool_spec *before, const struct pool_spec *after,
        const struct pool_host_list *hosts, struct err *e)
{
	for (size_t i = 0; i < hosts->len; i++) {
		const struct pool_host *host = &hosts->items[i];
		if (!is_member(before, host) || is_member(after, host))
			continue;
		struct str users CLEANUP(str_done) = {0};
		int rc = pool_store_host_users(db, row->id, host->host_id, &users, e);
		if (rc < 0)
			return rc;
		char *what CLEANUP(cleanup_free) = str_format("be taken from host %s", host->host);
		if (users.len > 0)
			return in_use(row, what, str_text(&users), e);
	}
	return 0;
}

static int check_identity(const struct pool_row *row, const struct pool_spec *spec, struct err *e)
{
	if (!str_equal(row->name, spec->name))
		return err_set_at(e, ERR_INVALID, "/name",
		        "a pool keeps its name (%s): the hosts know it by it", row->name);
	if (!str_equal(row->kind, pool_kind_of(spec)->name))
		return err_set_at(e, ERR_INVALID, "/kind", "a pool keeps its kind (%s)", row->kind);
	if (!str_equal(row->state, "ready"))
		return err_set(e, ERR_WRONG_STATE, "pool %s is %s", row->name, row->state);
	return 0;
}

struct change_plan {
	struct pool_spec before, after; /* hosts as ids */
	char *old_secret;
	const char *new_secret; /* borrowed */
	struct pool_host_list hosts;
	struct difference difference;
};

static void plan_done(struct change_plan *plan)
{
	pool_spec_done(&plan->before);
	pool_spec_done(&plan->after);
	free(plan->old_secret);
	pool_host_list_done(&plan->hosts);
}

/* A secret that is left out stays, as long as there is a user it belongs to. */
static const char *choose_secret(const struct pool_spec *spec, const char *old)
{
	if (spec->source.secret)
		return spec->source.secret;
	return spec->source.user ? old : NULL;
}

static int load_plan(struct db *db, const struct pool_row *row, const struct pool_spec *spec,
        struct change_plan *plan, struct err *e)
{
	int rc = pool_spec_load(row->spec, row->kind, row->path, &plan->before, e);
	if (rc == 0)
		rc = copy_spec(spec, &plan->after, e);
	if (rc == 0)
		rc = pool_store_get_secret(db, row->id, &plan->old_secret, e);
	if (rc == 0)
		rc = pool_store_hosts(db, row->id, &plan->hosts, e);
	if (rc == 0)
		rc = resolve_hosts(&plan->after, &plan->before, &plan->hosts, e);
	if (rc == 0)
		rc = resolve_file_pool(db, &plan->after, &plan->before, e);
	plan->new_secret = choose_secret(spec, plan->old_secret);
	plan->difference = compare(&plan->before, &plan->after, plan->old_secret, plan->new_secret);
	return rc;
}

static int check_plan(
        struct db *db, const struct pool_row *row, const struct change_plan *plan, struct err *e)
{
	int rc = 0;
	if (plan->difference.definition)
		rc = check_unused(db, row, "be moved elsewhere", e);
	else if (plan->difference.sharing)
		rc = check_unused(db, row, "become shared or local", e);
	if (rc == 0)
		rc = check_hosts_unused(db, row, &plan->before, &plan->after, &plan->hosts, e);
	return rc < 0 ? rc : check_path_free(db, &plan->after, row->id, e);
}

static bool is_forgotten(const void *arg, const struct pool_host *host)
{
	const struct change_plan *plan = arg;
	return may_know_it(&plan->before, host) &&
	       (plan->difference.definition || !is_member(&plan->after, host));
}

static bool is_told(const void *arg, const struct pool_host *host)
{
	const struct change_plan *plan = arg;
	return is_member(&plan->after, host);
}

/* Nothing for the hosts to do: no operation. */
static int start_update(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        const struct change_plan *plan, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	json_t *forget = host_input(&plan->hosts, is_forgotten, plan);
	bool needs_work = plan->difference.definition || plan->difference.secret ||
	                  json_array_size(forget) > 0;
	json_t *input CLEANUP(cleanup_json) = json_pack(
	        "{s:o,s:o}", "forget", forget, "hosts", host_input(&plan->hosts, is_told, plan));
	ret_operation[0] = '\0';
	if (!needs_work)
		return 0;
	return start(db, engine, POOL_UPDATE, asked, row->id, row->name, input, ret_operation, e);
}

int pool_replace(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        const struct pool_spec *spec, const struct operation_asked *asked,
        struct field_errors *errors, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct change_plan plan CLEANUP(plan_done) = {0};
	int rc = pool_spec_check(spec, errors, e);
	if (rc == 0)
		rc = check_identity(row, spec, e);
	if (rc == 0)
		rc = load_plan(db, row, spec, &plan, e);
	if (rc == 0)
		rc = check_plan(db, row, &plan, e);
	if (rc < 0)
		return rc;
	char *stored CLEANUP(cleanup_free) = pool_spec_store(&plan.after);
	rc = pool_store_update(db, row->id, spec->path ? spec->path : "", stored,
	        pool_spec_is_shared(spec), plan.new_secret, e);
	if (rc == 0)
		rc = add_change(db, "updated", row->id, row->name, e);
	return rc < 0 ? rc : start_update(db, engine, row, &plan, asked, ret_operation, e);
}

/* As a user would write what is stored, then patched. */
static int merge(const struct pool_row *row, json_t *patch, struct pool_spec *ret_spec,
        struct field_errors *errors, struct err *e)
{
	struct pool_spec before CLEANUP(pool_spec_done) = {0};
	int rc = pool_spec_load(row->spec, row->kind, row->path, &before, e);
	if (rc < 0)
		return rc;
	char *text CLEANUP(cleanup_free) = pool_spec_store(&before);
	json_t *stored CLEANUP(cleanup_json) = json_loads(text, 0, NULL);
	json_object_set_new(stored, "name", json_string(row->name));
	json_t *after CLEANUP(cleanup_json) = field_merge_patch(stored, patch);
	rc = field_decode(&pool_write_fields, after, FIELD_DECODE_CREATE, ret_spec, errors);
	return rc < 0 ? err_set(e, rc, "the patch does not lead to a valid pool") : 0;
}

int pool_update(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        json_t *patch, const struct operation_asked *asked, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	int rc = merge(row, patch, &spec, errors, e);
	return rc < 0 ? rc : pool_replace(db, engine, row, &spec, asked, errors, ret_operation, e);
}

/* ---- delete ---- */

int pool_delete(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	if (str_equal(row->name, POOL_DEFAULT_NAME))
		return err_set(e, ERR_PROTECTED, "the default pool cannot be deleted");
	if (str_equal(row->state, "creating"))
		return err_set(e, ERR_WRONG_STATE,
		        "pool %s is still being created: cancel that operation", row->name);
	int rc = check_unused(db, row, "be deleted", e);
	if (rc == 0)
		rc = pool_spec_load(row->spec, row->kind, row->path, &spec, e);
	if (rc == 0)
		rc = pool_store_hosts(db, row->id, &hosts, e);
	if (rc == 0)
		rc = pool_store_set_state(db, row->id, "deleting", e);
	if (rc == 0)
		rc = add_change(db, "updated", row->id, row->name, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:o}", "hosts", host_input(&hosts, may_know_it, &spec));
	return start(db, engine, POOL_DELETE, asked, row->id, row->name, input, ret_operation, e);
}
