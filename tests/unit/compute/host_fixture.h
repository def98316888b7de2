/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of hosts and volumes: a real database, writer, core loop, lanes and engine over the
 * fake driver. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bulk.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host.h"
#include "compute/host_group.h"
#include "compute/host_store.h"
#include "db/change_feed.h"
#include "db/migrations.h"
#include "db/reader.h"
#include "db/writer.h"
#include "hypervisor/driver_fake.h"
#include "hypervisor/host_directory.h"
#include "operation/operation.h"
#include "operation/services.h"
#include "storage/volume.h"
#include "tests/unit/hypervisor/loop_helper.h"

struct host_fixture {
	char directory_path[64], path[96];
	struct loop *loop;
	struct writer *writer;
	struct readers *readers;
	struct bulk *bulk;
	struct lane_pool *pool;
	struct host_directory *directory;
	struct operation_engine *engine;
	struct operation_services services;
	struct hosts *hosts;
	struct db *reader;
	int ups, domains;
	char last_host[UUID_TEXT_SIZE], last_domain[UUID_TEXT_SIZE];
	struct err e;
};

/* Short, so that a hang shows quickly; the order of states is the same. */
static const struct host_connection_config fixture_times = {
        .heartbeat_ms = 50,
        .slow_after_ms = 100,
        .down_after_ms = 400,
        .reconnect_min_ms = 20,
        .reconnect_max_ms = 50,
        .open_timeout_ms = 2000,
};

static inline void fixture_on_up(void *arg, const char *host_id)
{
	struct host_fixture *f = arg;
	f->ups++;
	snprintf(f->last_host, sizeof(f->last_host), "%s", host_id);
}

static inline void fixture_on_domain(
        void *arg, const char *host_id, const struct domain_event *event)
{
	struct host_fixture *f = arg;
	f->domains++;
	snprintf(f->last_host, sizeof(f->last_host), "%s", host_id);
	snprintf(f->last_domain, sizeof(f->last_domain), "%s", event->id);
}

static inline void fixture_start_hosts(struct host_fixture *f)
{
	struct hosts_config config = {
	        .loop = f->loop,
	        .writer = f->writer,
	        .pool = f->pool,
	        .directory = f->directory,
	        .engine = f->engine,
	        .times = &fixture_times,
	};
	f->hosts = hosts_new(&config);
	hosts_set_callbacks(
	        f->hosts, (struct hosts_callbacks){
	                          .up = fixture_on_up, .domain = fixture_on_domain, .arg = f});
}

static inline struct host_fixture *fixture_start(void)
{
	struct host_fixture *f = xcalloc(1, sizeof(*f));
	fake_enable();
	snprintf(f->directory_path, sizeof(f->directory_path), "/tmp/berth-test-XXXXXX");
	assert_non_null(mkdtemp(f->directory_path));
	snprintf(f->path, sizeof(f->path), "%s/berth.db", f->directory_path);
	assert_int_equal(migrations_apply(f->path, migrations_embedded, &f->e), 0);
	assert_int_equal(writer_start(f->path, &f->writer, &f->e), 0);
	assert_int_equal(db_open(f->path, DB_READ_ONLY, &f->reader, &f->e), 0);
	f->readers = readers_new(f->path);
	f->loop = loop_new();
	f->bulk = bulk_new(f->loop, 1);
	f->pool = lane_pool_new(f->loop);
	f->directory = host_directory_new(f->loop);
	f->services = (struct operation_services){.loop = f->loop,
	        .writer = f->writer,
	        .readers = f->readers,
	        .directory = f->directory,
	        .bulk = f->bulk};
	f->engine = operation_engine_new(f->loop, f->writer, &f->services);
	operation_engine_set_times(f->engine, (struct operation_times){.retry_min_ms = 5,
	                                              .retry_max_ms = 20,
	                                              .patience_ms = 20000,
	                                              .report_ms = 50});
	volume_register_kinds(f->engine);
	fixture_start_hosts(f);
	return f;
}

static inline void fixture_stop(struct host_fixture *f)
{
	operation_engine_stop(f->engine);
	hosts_free(f->hosts);
	loop_turn_for(f->loop, 30); /* calls and connections are let go of from the loop */
	writer_free(f->writer);
	db_close(f->reader);
	loop_turn_for(f->loop, 5);
	operation_engine_free(f->engine);
	host_directory_free(f->directory);
	bulk_free(f->bulk);
	lane_pool_free(f->pool);
	loop_free(f->loop);
	readers_free(f->readers);
	change_feed_reset();
	fake_reset();
	char *command = str_format("rm -rf %s", f->directory_path);
	assert_int_equal(system(command), 0);
	free(command);
	free(f);
}

static inline int fixture_setup(void **state)
{
	*state = fixture_start();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	clock_fake_set(-1);
	fixture_stop(*state);
	return 0;
}

/* ---- the database ---- */

static inline int fixture_exec_job(struct db *db, void *arg, struct err *e)
{
	return db_exec(db, arg, e);
}

/* Runs SQL behind everybody's back. */
static inline void fixture_exec(struct host_fixture *f, const char *sql)
{
	char *text = xstrdup(sql);
	int rc = writer_run(f->writer, fixture_exec_job, text, &f->e);
	free(text);
	if (rc < 0)
		fail_msg("%s: %s", sql, f->e.message);
}

/* The only value of a query, as text; NULL without a row. Caller frees. */
static inline char *fixture_text(struct host_fixture *f, const char *sql)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	assert_int_equal(db_prepare(f->reader, sql, &s, &f->e), 0);
	int rc = statement_step(s, &f->e);
	assert_true(rc >= 0);
	return rc > 0 ? statement_text_copy(s, 0) : NULL;
}

static inline bool fixture_is(struct host_fixture *f, const char *sql, const char *expected)
{
	char *text CLEANUP(cleanup_free) = fixture_text(f, sql);
	return str_equal(text, expected);
}

static inline int64_t fixture_int(struct host_fixture *f, const char *sql)
{
	char *text CLEANUP(cleanup_free) = fixture_text(f, sql);
	return text ? strtoll(text, NULL, 10) : -1;
}

/* ---- mutations, each as a writer job ---- */

struct fixture_job {
	struct hosts *hosts;
	struct operation_engine *engine;
	const struct host_spec *spec;
	const char *name;
	json_t *patch;
	struct field_errors errors;
	char id[UUID_TEXT_SIZE];
	bool is_rolled_back;
};

static inline int fixture_create_job(struct db *db, void *arg, struct err *e)
{
	struct fixture_job *job = arg;
	int rc = host_create(db, job->hosts, job->spec, job->id, e);
	if (rc == 0 && job->is_rolled_back)
		return err_set(e, ERR_CONFLICT, "as the test wants it");
	return rc;
}

static inline int fixture_patch_job(struct db *db, void *arg, struct err *e)
{
	struct fixture_job *job = arg;
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, job->name, &row, e);
	return rc < 0 ? rc : host_update(db, job->hosts, &row, job->patch, &job->errors, e);
}

static inline int fixture_delete_job(struct db *db, void *arg, struct err *e)
{
	struct fixture_job *job = arg;
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, job->name, &row, e);
	return rc < 0 ? rc : host_delete(db, job->hosts, &row, e);
}

static inline int fixture_register_job(struct db *db, void *arg, struct err *e)
{
	return hosts_register_local(db, arg, e);
}

static inline int fixture_load_job(struct db *db, void *arg, struct err *e)
{
	return hosts_load(arg, db, e);
}

/* With `hosts` NULL nothing connects. */
static inline int fixture_create(struct host_fixture *f, struct hosts *hosts, const char *name,
        const char *uri, char ret_id[UUID_TEXT_SIZE])
{
	struct host_spec spec = {
	        .name = (char *)(uintptr_t)name, .uri = (char *)(uintptr_t)uri, .group = "default"};
	struct fixture_job job = {.hosts = hosts, .spec = &spec};
	int rc = writer_run(f->writer, fixture_create_job, &job, &f->e);
	if (rc == 0 && ret_id)
		memcpy(ret_id, job.id, UUID_TEXT_SIZE);
	return rc;
}

static inline int fixture_patch(struct host_fixture *f, struct hosts *hosts, const char *name,
        const char *patch, struct field_errors *ret_errors)
{
	struct fixture_job job = {
	        .hosts = hosts, .name = name, .patch = json_loads(patch, 0, NULL)};
	assert_non_null(job.patch);
	int rc = writer_run(f->writer, fixture_patch_job, &job, &f->e);
	json_decref(job.patch);
	if (ret_errors)
		*ret_errors = job.errors;
	return rc;
}

static inline int fixture_delete(struct host_fixture *f, struct hosts *hosts, const char *name)
{
	struct fixture_job job = {.hosts = hosts, .name = name};
	return writer_run(f->writer, fixture_delete_job, &job, &f->e);
}
