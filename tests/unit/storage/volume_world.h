/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of volumes' operations: a pool "default" at /pool on one fake host, and mutations as writer jobs. */
#pragma once

#include "tests/unit/compute/host_fixture.h"

#include "hypervisor/driver.h"
#include "storage/carrier.h"
#include "storage/layer.h"
#include "storage/pool.h"
#include "storage/volume_operations.h"

#define MIB ((int64_t)1 << 20)

struct volume_world {
	struct host_fixture *base;
	char host_id[UUID_TEXT_SIZE];
	struct operation_engine *retired; /* the hosts still poke it */
};

static inline int world_pool_job(struct db *db, void *arg, struct err *e)
{
	return pool_ensure_default(db, arg, e);
}

static inline int world_setup(void **state)
{
	struct volume_world *v = xcalloc(1, sizeof(*v));
	char path[] = "/pool";
	struct host_fixture *f = v->base = fixture_start();
	assert_int_equal(writer_run(f->writer, world_pool_job, path, &f->e), 0);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", v->host_id), 0);
	assert_true(TURN_UNTIL(f->loop, fixture_is(f, "SELECT state FROM host", "ok")));
	*state = v;
	return 0;
}

static inline int world_count_running(struct operation_engine *engine)
{
	int running, queued;
	operation_engine_count(engine, &running, &queued);
	return running;
}

static inline int world_teardown(void **state)
{
	struct volume_world *v = *state;
	if (v->retired) {
		struct operation_engine *current = v->base->engine;
		operation_engine_stop(current);
		assert_true(TURN_UNTIL(v->base->loop, world_count_running(current) == 0));
		operation_engine_free(current);
		v->base->engine = v->retired;
	}
	fixture_stop(v->base);
	free(v);
	return 0;
}

/* ---- mutations ---- */

static const struct operation_asked world_asked = {.requested_by = "root@unix", .request_id = "r1"};

struct world_job {
	struct volume_world *v;
	struct volume_request create;
	struct volume_clone_request clone;
	const char *id; /* of the volume to work on */
	int64_t size_bytes;
	char operation[UUID_TEXT_SIZE], made[UUID_TEXT_SIZE];
};

static inline int world_create_job(struct db *db, void *arg, struct err *e)
{
	struct world_job *job = arg;
	return volume_create(
	        db, job->v->base->engine, &job->create, &world_asked, job->operation, job->made, e);
}

#define WORLD_VERB(verb, call)                                                                     \
	static inline int world_##verb##_job(struct db *db, void *arg, struct err *e)              \
	{                                                                                          \
		struct world_job *job = arg;                                                       \
		struct operation_engine *engine = job->v->base->engine;                            \
		struct volume_row row CLEANUP(volume_row_done) = {0};                              \
		int rc = volume_store_get(db, job->id, &row, e);                                   \
		return rc < 0 ? rc : call;                                                         \
	}
WORLD_VERB(
        resize, volume_resize(db, engine, &row, job->size_bytes, &world_asked, job->operation, e))
WORLD_VERB(delete, volume_delete(db, engine, &row, &world_asked, job->operation, e))
WORLD_VERB(wipe, volume_wipe(db, engine, &row, &world_asked, job->operation, e))
WORLD_VERB(clone, volume_clone_start(db, engine, row.layer_id, &job->clone, &world_asked,
                          job->operation, job->made, e))

static inline int world_run(
        struct volume_world *v, int (*fn)(struct db *, void *, struct err *), struct world_job *job)
{
	job->v = v;
	v->base->e = (struct err){0};
	return writer_run(v->base->writer, fn, job, &v->base->e);
}

/* ---- waiting and looking ---- */

static inline char *world_operation_text(
        struct volume_world *v, const char *operation, const char *column)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT %s FROM operation WHERE ended_at > 0 AND id = '%s'", column, operation);
	return fixture_text(v->base, sql);
}

static inline bool world_has_ended(struct volume_world *v, const char *operation)
{
	char *state CLEANUP(cleanup_free) = world_operation_text(v, operation, "state");
	return state != NULL;
}

static inline void world_assert_ends(
        struct volume_world *v, const char *operation, const char *expected)
{
	assert_true(TURN_UNTIL(v->base->loop, world_has_ended(v, operation)));
	char *state CLEANUP(cleanup_free) = world_operation_text(v, operation, "state");
	char *error CLEANUP(cleanup_free) = world_operation_text(v, operation, "error");
	if (!str_equal(state, expected))
		fail_msg("%s instead of %s: %s", state, expected, error ? error : "");
}

/* That its error holds the text. */
static inline void world_assert_error(
        struct volume_world *v, const char *operation, const char *text)
{
	char *error CLEANUP(cleanup_free) = world_operation_text(v, operation, "error");
	if (!error || !strstr(error, text))
		fail_msg("'%s' is not in: %s", text, error ? error : "(no error)");
}

static inline void world_make(
        struct volume_world *v, const char *name, const char *format, char ret_id[UUID_TEXT_SIZE])
{
	struct world_job job = {.create = {.pool = "default",
	                                .host_id = v->host_id,
	                                .name = name,
	                                .format = format,
	                                .size_bytes = 64 * MIB}};
	int rc = world_run(v, world_create_job, &job);
	if (rc < 0)
		fail_msg("%s", v->base->e.message);
	world_assert_ends(v, job.operation, "succeeded");
	memcpy(ret_id, job.made, UUID_TEXT_SIZE);
}

/* Something asked of the host itself. */
#define WORLD_ASK(c, body)                                                                         \
	do {                                                                                       \
		struct driver_connection *c = NULL;                                                \
		struct driver_events events_ = {0};                                                \
		struct err e_ = {0};                                                               \
		assert_int_equal(                                                                  \
		        driver_fake.open("fake:///h1", v->base->loop, &events_, &c, &e_), 0);      \
		body;                                                                              \
		driver_fake.close(c);                                                              \
	} while (0)

static inline size_t world_count_files(struct volume_world *v)
{
	struct volume_info_list list CLEANUP(volume_info_list_done) = {0};
	WORLD_ASK(c, driver_fake.volume_list(c, "berth-default", &list, NULL));
	return list.len;
}

static inline size_t world_count_domains(struct volume_world *v)
{
	struct domain_list list CLEANUP(domain_list_done) = {0};
	WORLD_ASK(c, driver_fake.list_domains(c, &list, NULL));
	return list.len;
}

/* Of the file of a volume's first layer; released by the caller. */
static inline int world_get_file(
        struct volume_world *v, const char *id, const char *format, struct volume_info *ret_info)
{
	char *file CLEANUP(cleanup_free) = str_format("%s.%s", id, format);
	int rc;
	WORLD_ASK(c, rc = driver_fake.volume_get(c, "berth-default", file, ret_info, NULL));
	return rc;
}

static inline int64_t world_file_bytes(struct volume_world *v, const char *id, const char *format)
{
	struct volume_info info CLEANUP(volume_info_done) = {0};
	return world_get_file(v, id, format, &info) == 0 ? info.capacity_bytes : -1;
}

static inline int64_t world_count_rows(struct volume_world *v)
{
	return fixture_int(
	        v->base, "SELECT (SELECT count(*) FROM volume) * 100 + count(*) FROM layer");
}

/* Makes it disk "root" of the VM "web", stopped. */
static inline void world_attach(struct volume_world *v, const char *id)
{
	fixture_exec(v->base, "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, "
	                      "power, power_since, vcpus, memory_bytes, created_at) SELECT "
	                      "'0192f000-0000-7000-8000-000000000001', 'web', id, 1, '{}', "
	                      "'stopped', 'stopped', 0, 1, 1, 0 FROM host");
	char *sql CLEANUP(cleanup_free) = str_format(
	        "UPDATE volume SET vm_id = '0192f000-0000-7000-8000-000000000001', disk = 'root' "
	        "WHERE id = '%s'",
	        id);
	fixture_exec(v->base, sql);
}
#define WORLD_VM "0192f000-0000-7000-8000-000000000001"

/* Runs a domain with the VM's id and that volume's file as disk "root". */
static inline void world_start_vm(struct volume_world *v, const char *id, const char *format)
{
	char *path CLEANUP(cleanup_free) = str_format("/pool/%s.%s", id, format);
	struct domain_source source = {.type = DOMAIN_SOURCE_FILE, .path = path, .format = format};
	struct domain_disk disk = {.name = "root",
	        .kind = DOMAIN_DISK,
	        .bus = "virtio",
	        .chain = &source,
	        .n_chain = 1};
	struct domain_config config = {.id = WORLD_VM,
	        .name = "web",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = 64 * MIB,
	        .memory_max_bytes = 64 * MIB,
	        .vcpus = 1,
	        .vcpus_max = 1,
	        .cpu_model = "maximum",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	struct err e = {0};
	if (domain_xml_build(&config, &xml, &e) < 0)
		fail_msg("%s", e.message);
	WORLD_ASK(c, {
		assert_int_equal(driver_fake.define(c, xml, &e), 0);
		assert_int_equal(driver_fake.start(c, WORLD_VM, &e), 0);
	});
	fixture_exec(v->base, "UPDATE vm SET power = 'running'");
}

/* A restart of the manager: what it had begun is abandoned and taken up again by a new engine. */
static inline void world_restart(struct volume_world *v)
{
	struct host_fixture *f = v->base;
	operation_engine_stop(f->engine);
	assert_true(TURN_UNTIL(f->loop, world_count_running(f->engine) == 0));
	v->retired = f->engine;
	f->engine = operation_engine_new(f->loop, f->writer, &f->services);
	operation_engine_set_times(f->engine, (struct operation_times){.retry_min_ms = 5,
	                                              .retry_max_ms = 20,
	                                              .patience_ms = 20000,
	                                              .report_ms = 50});
	volume_register_kinds(f->engine);
	assert_int_equal(operation_engine_load(f->engine, f->reader, &f->e), 0);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
