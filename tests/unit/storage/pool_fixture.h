/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of pools: two fake hosts, and the requests of the API as writer jobs. */
#pragma once

#include "tests/unit/compute/host_fixture.h"

#include "hypervisor/driver.h"
#include "storage/pool_monitor.h"
#include "storage/pool_operations.h"
#include "storage/pool_store.h"
#include "storage/pool_view.h"

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

struct pool_fixture {
	struct host_fixture *base;
	struct pool_monitor *monitor;
	char h1[UUID_TEXT_SIZE], h2[UUID_TEXT_SIZE];
};

static inline int pool_fixture_setup(void **state)
{
	struct pool_fixture *p = xcalloc(1, sizeof(*p));
	struct host_fixture *f = p->base = fixture_start();
	pool_register_kinds(f->engine);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", p->h1), 0);
	assert_int_equal(fixture_create(f, f->hosts, "h2", "fake:///h2", p->h2), 0);
	assert_true(TURN_UNTIL(
	        f->loop, fixture_int(f, "SELECT count(*) FROM host WHERE state = 'ok'") == 2));
	*state = p;
	return 0;
}

static inline int pool_fixture_teardown(void **state)
{
	struct pool_fixture *p = *state;
	fake_script_clear("h1");
	fake_script_clear("h2");
	pool_monitor_stop(p->monitor);
	loop_turn_for(p->base->loop, 30);
	struct pool_monitor *monitor = p->monitor;
	fixture_stop(p->base);
	pool_monitor_free(monitor);
	free(p);
	return 0;
}

struct pool_job {
	struct pool_fixture *p;
	const char *text; /* JSON */
	const char *name;
	struct field_errors errors;
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
};

static const struct operation_asked pool_asked_by = {
        .requested_by = "root@unix", .request_id = "r1"};

static inline int pool_create_job(struct db *db, void *arg, struct err *e)
{
	struct pool_job *job = arg;
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(job->text, 0, NULL);
	assert_non_null(json);
	int rc = field_decode(&pool_write_fields, json, FIELD_DECODE_CREATE, &spec, &job->errors);
	assert_int_equal(rc, 0);
	return pool_create(db, job->p->base->engine, &spec, &pool_asked_by, &job->errors,
	        job->operation, job->id, e);
}

static inline int pool_update_job(struct db *db, void *arg, struct err *e)
{
	struct pool_job *job = arg;
	struct pool_row row CLEANUP(pool_row_done) = {0};
	json_t *patch CLEANUP(cleanup_json) = json_loads(job->text, 0, NULL);
	assert_non_null(patch);
	int rc = pool_store_get(db, job->name, &row, e);
	return rc < 0 ? rc
	              : pool_update(db, job->p->base->engine, &row, patch, &pool_asked_by,
	                        &job->errors, job->operation, e);
}

static inline int pool_delete_job(struct db *db, void *arg, struct err *e)
{
	struct pool_job *job = arg;
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, job->name, &row, e);
	return rc < 0 ? rc
	              : pool_delete(
	                        db, job->p->base->engine, &row, &pool_asked_by, job->operation, e);
}

static inline int pool_run(struct pool_fixture *p, struct pool_job *job,
        int (*run)(struct db *, void *, struct err *), const char *name, const char *text)
{
	*job = (struct pool_job){.p = p, .name = name, .text = text};
	err_clear(&p->base->e);
	return writer_run(p->base->writer, run, job, &p->base->e);
}

/* The outcome of an operation, when it has ended. */
static inline void pool_assert_ends(
        struct pool_fixture *p, const char *operation, const char *expected)
{
	struct host_fixture *f = p->base;
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT state FROM operation WHERE ended_at > 0 AND id = '%s'", operation);
	char *why CLEANUP(cleanup_free) =
	        str_format("SELECT error FROM operation WHERE id = '%s'", operation);
	assert_true(TURN_UNTIL(f->loop, !fixture_is(f, sql, NULL)));
	char *state CLEANUP(cleanup_free) = fixture_text(f, sql);
	char *error CLEANUP(cleanup_free) = fixture_text(f, why);
	if (!str_equal(state, expected))
		fail_msg("%s, not %s: %s", state, expected, error);
}

/* Makes it and waits until it is ready. */
static inline void pool_make(struct pool_fixture *p, const char *text, char ret_id[UUID_TEXT_SIZE])
{
	struct pool_job job;
	if (pool_run(p, &job, pool_create_job, NULL, text) < 0)
		fail_msg("%s: %s", text, p->base->e.message);
	pool_assert_ends(p, job.operation, "succeeded");
	if (ret_id)
		uuid_text_copy(ret_id, job.id);
}

/* The number of volumes in libvirt's pool on a host; -1: there is no such pool. */
static inline int pool_count_files(struct pool_fixture *p, const char *uri, const char *pool)
{
	struct driver_events events = {0};
	struct driver_connection *c = NULL;
	struct volume_info_list list CLEANUP(volume_info_list_done) = {0};
	struct err e = {0};
	assert_int_equal(driver_fake.open(uri, p->base->loop, &events, &c, &e), 0);
	int rc = driver_fake.volume_list(c, pool, &list, &e);
	driver_fake.close(c);
	return rc < 0 ? -1 : (int)list.len;
}

/* A file that takes all of its space, in libvirt's pool on a host. */
static inline void pool_add_full_file(
        struct pool_fixture *p, const char *uri, const char *pool, int64_t size_bytes)
{
	const struct volume_config config = {
	        .name = "full.raw", .format = "raw", .size_bytes = size_bytes, .preallocate = true};
	struct driver_events events = {0};
	struct driver_connection *c = NULL;
	struct err e = {0};
	assert_int_equal(driver_fake.open(uri, p->base->loop, &events, &c, &e), 0);
	int rc = driver_fake.volume_create(c, pool, &config, &e);
	driver_fake.close(c);
	assert_int_equal(rc, 0);
}

/* A ready volume with its layer, behind everybody's back. */
static inline void pool_add_volume(struct pool_fixture *p, const char *pool, const char *host_id,
        const char *id, const char *format, int64_t size_bytes)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, "
	        "layer_id, created_at) SELECT '%s', 'n-%s', id, %s%s%s, '%s', %lld, 'ready', '%s', "
	        "0 FROM pool WHERE name = '%s'; INSERT INTO layer (id, pool_id, host_id, file, "
	        "format, size_bytes, volume_id, state, created_at) SELECT id, pool_id, host_id, id "
	        "|| '.' || format, format, size_bytes, id, 'ready', 0 FROM volume WHERE id = '%s'",
	        id, id + UUID_TEXT_SIZE - 3, host_id ? "'" : "", host_id ? host_id : "NULL",
	        host_id ? "'" : "", format, (long long)size_bytes, id, pool, id);
	fixture_exec(p->base, sql);
}

#define VOLUME_A "6f0b8f52-0000-4000-8000-00000000000a"
#define VOLUME_B "6f0b8f52-0000-4000-8000-00000000000b"
#define POOL_TEST(name)                                                                            \
	cmocka_unit_test_setup_teardown(name, pool_fixture_setup, pool_fixture_teardown)
