/* SPDX-License-Identifier: Apache-2.0 */
/* Block jobs in a step: started once, followed, ended, found again; what ends them early is told. */
#include "tests/unit/storage/volume_world.h"

#include "hypervisor/domain_xml.h"
#include "storage/block_job.h"

/* A domain with disk "root" on top <- middle <- base, and a step that runs the scripted work in it. */
static struct block_work script;
static int ended; /* how often `done` was called */

static void on_done(struct operation *op, int rc, const struct err *e)
{
	ended++;
	operation_step_done(op, rc, e);
}

static void run_work(struct operation *op)
{
	struct block_work work = script;
	work.host_id = operation_host_id(op);
	block_work_run(op, &work, on_done);
}

static const struct operation_step steps[] = {{.name = "work", .run = run_work}};
static const struct operation_kind kind = {.name = "test.work",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .on_cancel = block_work_cancel};

#define TOP    "/disks/top.qcow2"
#define MIDDLE "/disks/middle.qcow2"
#define BASE   "/disks/base.raw"
#define COPY   "/disks/copy.qcow2"

static const struct domain_source chain[] = {
        {.type = DOMAIN_SOURCE_FILE, .path = TOP, .format = "qcow2"},
        {.type = DOMAIN_SOURCE_FILE, .path = MIDDLE, .format = "qcow2"},
        {.type = DOMAIN_SOURCE_FILE, .path = BASE, .format = "raw"},
};

static char *copy_xml(void)
{
	const struct domain_source target = {
	        .type = DOMAIN_SOURCE_FILE, .path = COPY, .format = "qcow2"};
	char *xml = NULL;
	assert_int_equal(domain_xml_build_copy_target(&target, &xml, NULL), 0);
	return xml;
}

static int setup(void **state)
{
	world_setup(state);
	struct volume_world *v = *state;
	operation_engine_register(v->base->engine, &kind);
	const struct domain_disk disk = {
	        .name = "root", .kind = DOMAIN_DISK, .bus = "virtio", .chain = chain, .n_chain = 3};
	const struct domain_carrier carrier = {.id = WORLD_VM,
	        .name = "web",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_carrier(&carrier, &xml, &v->base->e), 0);
	WORLD_ASK(c, assert_int_equal(driver_fake.create_transient(c, WORLD_VM, xml, &e_), 0));
	script = (struct block_work){.domain_id = WORLD_VM, .disk = "root"};
	ended = 0;
	return 0;
}

static int begin_job(struct db *db, void *arg, struct err *e)
{
	struct world_job *job = arg;
	const struct operation_request request = {.kind = "test.work",
	        .target_kind = "volume",
	        .target_id = "t",
	        .target_name = "t",
	        .host_id = job->v->host_id,
	        .requested_by = "test"};
	return operation_create(db, job->v->base->engine, &request, job->operation, e);
}

static int cancel_job(struct db *db, void *arg, struct err *e)
{
	struct world_job *job = arg;
	return operation_cancel(db, job->v->base->engine, job->operation, e);
}

static void begin(struct volume_world *v, struct world_job *job)
{
	assert_int_equal(world_run(v, begin_job, job), 0);
}

static void begin_and_end(struct volume_world *v, const char *expected, struct world_job *job)
{
	begin(v, job);
	world_assert_ends(v, job->operation, expected);
	assert_int_equal(ended, 1);
}

/* The paths of the disk's chain, joined by spaces. */
static void assert_chain(struct volume_world *v, const char *expected)
{
	char **paths = NULL;
	struct str text CLEANUP(str_done) = {0};
	WORLD_ASK(c, assert_int_equal(driver_fake.disk_chain(c, WORLD_VM, "root", &paths, &e_), 0));
	for (size_t i = 0; paths[i]; i++) {
		str_printf(&text, "%s%s", i ? " " : "", paths[i]);
		free(paths[i]);
	}
	free(paths);
	assert_string_equal(text.data, expected);
}

/* ---- each kind ---- */

static void test_copy_pivots_to_its_target(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	char *xml CLEANUP(cleanup_free) = copy_xml();
	script.kind = BLOCK_WORK_COPY;
	script.target_xml = xml;
	script.target_path = COPY;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, COPY);
}

/* Defines the domain, persistent, with its disk on these layers. */
static void define_on(struct volume_world *v, const struct domain_source *layers, size_t n)
{
	const struct domain_disk disk = {.name = "root",
	        .kind = DOMAIN_DISK,
	        .bus = "virtio",
	        .chain = layers,
	        .n_chain = n};
	const struct domain_carrier domain = {.id = WORLD_VM,
	        .name = "web",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_carrier(&domain, &xml, &v->base->e), 0);
	WORLD_ASK(c, assert_int_equal(driver_fake.define(c, xml, &e_), 0));
}

static void test_domain_whose_definition_could_not_follow_does_not_go_over(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	char *xml CLEANUP(cleanup_free) = copy_xml();
	WORLD_ASK(c, assert_int_equal(driver_fake.destroy(c, WORLD_VM, &e_), 0));
	define_on(v, chain, 3);
	WORLD_ASK(c, assert_int_equal(driver_fake.start(c, WORLD_VM, &e_), 0));
	define_on(v, chain + 1, 2);
	script.kind = BLOCK_WORK_COPY;
	script.target_xml = xml;
	script.target_path = COPY;
	begin_and_end(v, "failed", &job);
	assert_chain(v, TOP " " MIDDLE " " BASE);
	assert_int_equal(fake_host_count_calls("h1", "block_copy"), 0);
	define_on(v, chain, 3);
	ended = 0;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, COPY);
}

static void test_clone_leaves_the_domain_on_its_source(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	char *xml CLEANUP(cleanup_free) = copy_xml();
	script.kind = BLOCK_WORK_CLONE;
	script.target_xml = xml;
	script.target_path = COPY;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, TOP " " MIDDLE " " BASE);
	assert_int_equal(fake_host_count_calls("h1", "block_job_end"), 1);
}

static void test_active_commit_and_commit_in_the_midst_and_pull_shorten_the_chain(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	script.kind = BLOCK_WORK_COMMIT;
	script.top = MIDDLE;
	script.base = BASE;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, TOP " " BASE);
	script.top = NULL;
	ended = 0;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, BASE);
}

static void test_pull_takes_in_what_is_above_its_base(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	script.kind = BLOCK_WORK_PULL;
	script.base = BASE;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, TOP " " BASE);
	script.base = NULL;
	ended = 0;
	begin_and_end(v, "succeeded", &job);
	assert_chain(v, TOP);
}

/* ---- once ---- */

static void test_outcome_that_is_there_already_starts_nothing(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	script.kind = BLOCK_WORK_COMMIT;
	script.top = MIDDLE;
	script.base = BASE;
	begin_and_end(v, "succeeded", &job);
	ended = 0;
	begin_and_end(v, "succeeded", &job);
	assert_int_equal(fake_host_count_calls("h1", "block_commit"), 1);
}

static void test_job_that_runs_already_is_followed_not_started(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	WORLD_ASK(c, assert_int_equal(driver_fake.block_pull(c, WORLD_VM, "root", NULL, &e_), 0));
	script.kind = BLOCK_WORK_PULL;
	begin_and_end(v, "succeeded", &job);
	assert_int_equal(fake_host_count_calls("h1", "block_pull"), 1);
	assert_chain(v, TOP);
}

static void test_job_of_another_kind_is_left_alone(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fake_jobs_set_step("h1", 0);
	WORLD_ASK(c, assert_int_equal(driver_fake.block_pull(c, WORLD_VM, "root", NULL, &e_), 0));
	script.kind = BLOCK_WORK_COMMIT;
	script.base = MIDDLE;
	begin_and_end(v, "failed", &job);
	world_assert_error(v, job.operation, "another block job");
}

static void test_chain_that_is_not_as_recorded_is_left_alone(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	script.kind = BLOCK_WORK_COMMIT;
	script.base = "/disks/other.qcow2";
	begin_and_end(v, "failed", &job);
	world_assert_error(v, job.operation, "as is recorded");
	assert_int_equal(fake_host_count_calls("h1", "block_commit"), 0);
}

/* ---- early ends ---- */

static void test_cancel_aborts_the_job_and_leaves_the_chain(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fake_jobs_set_step("h1", 0);
	script.kind = BLOCK_WORK_PULL;
	begin(v, &job);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	assert_int_equal(world_run(v, cancel_job, &job), 0);
	world_assert_ends(v, job.operation, "cancelled");
	assert_int_equal(fake_host_count_calls("h1", "block_job_end"), 1);
	assert_chain(v, TOP " " MIDDLE " " BASE);
	assert_int_equal(ended, 1);
}

static void test_domain_that_ends_is_told_as_gone(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fake_jobs_set_step("h1", 0);
	script.kind = BLOCK_WORK_PULL;
	begin(v, &job);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	WORLD_ASK(c, assert_int_equal(driver_fake.destroy(c, WORLD_VM, &e_), 0));
	world_assert_ends(v, job.operation, "failed");
	world_assert_error(v, job.operation, "\"gone\"");
	assert_int_equal(ended, 1);
}

static void fail_midway(struct volume_world *v, struct world_job *job)
{
	fake_jobs_set_step("h1", 0);
	script.kind = BLOCK_WORK_PULL;
	begin(v, job);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	fake_job_fail("h1", WORLD_VM, "root");
	world_assert_ends(v, job->operation, "failed");
}

static void test_job_that_vanishes_without_outcome_failed(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fail_midway(v, &job);
	world_assert_error(v, job.operation, "\"hypervisor\"");
	assert_int_equal(fake_host_count_calls("h1", "block_pull"), 1);
}

static void test_job_that_failed_on_a_full_pool_says_so(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	fake_pool_set_capacity("h1", "berth-default", MIB);
	script.pool = "berth-default";
	fail_midway(v, &job);
	world_assert_error(v, job.operation, "\"disk_full\"");
}

static void test_host_that_is_cut_off_meanwhile_is_waited_for(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fake_jobs_set_step("h1", 0);
	script.kind = BLOCK_WORK_PULL;
	begin(v, &job);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	fake_host_break_connections("h1");
	fake_jobs_set_step("h1", 50);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(fake_host_count_calls("h1", "block_pull"), 1);
	assert_chain(v, TOP);
}

static void test_progress_is_shown_in_bytes(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {0};
	fake_jobs_set_step("h1", 1);
	script.kind = BLOCK_WORK_PULL;
	begin(v, &job);
	assert_true(TURN_UNTIL(v->base->loop,
	        fixture_int(v->base, "SELECT done_bytes FROM operation WHERE state = 'running'") >
	                0));
	fake_jobs_set_step("h1", 50);
	world_assert_ends(v, job.operation, "succeeded");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_copy_pivots_to_its_target),
	        TEST(test_domain_whose_definition_could_not_follow_does_not_go_over),
	        TEST(test_clone_leaves_the_domain_on_its_source),
	        TEST(test_active_commit_and_commit_in_the_midst_and_pull_shorten_the_chain),
	        TEST(test_pull_takes_in_what_is_above_its_base),
	        TEST(test_outcome_that_is_there_already_starts_nothing),
	        TEST(test_job_that_runs_already_is_followed_not_started),
	        TEST(test_job_of_another_kind_is_left_alone),
	        TEST(test_chain_that_is_not_as_recorded_is_left_alone),
	        TEST(test_cancel_aborts_the_job_and_leaves_the_chain),
	        TEST(test_domain_that_ends_is_told_as_gone),
	        TEST(test_job_that_vanishes_without_outcome_failed),
	        TEST(test_job_that_failed_on_a_full_pool_says_so),
	        TEST(test_host_that_is_cut_off_meanwhile_is_waited_for),
	        TEST(test_progress_is_shown_in_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
