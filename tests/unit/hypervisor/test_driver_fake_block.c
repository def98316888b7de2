/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted driver's block jobs, snapshots, carriers and agent do to chains and volumes what QEMU
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define HOST "test"
#define ID   "11111111-2222-4333-8444-555555555555"
#define POOL "berth-p"
#define DIR  "/p"
#define MIB  (1024LL * 1024)

static const struct driver *const driver = &driver_fake;
static struct loop *loop;
static struct driver_connection *c;
static struct err failure; /* of the latest call that must succeed */

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, failure.message);                                \
	} while (0)

static void ignore_event(void *arg, const struct domain_event *event)
{
	(void)arg;
	(void)event;
}

static void ignore_closed(void *arg, const char *reason)
{
	(void)arg;
	(void)reason;
}

static void make_volume(const char *name, const char *backing_path, int64_t size_bytes)
{
	struct volume_config config = {.name = name,
	        .format = "qcow2",
	        .size_bytes = size_bytes,
	        .backing_path = backing_path,
	        .backing_format = backing_path ? "qcow2" : NULL};
	assert_ok(driver->volume_create(c, POOL, &config, &failure));
}

static const struct domain_source layers[] = {
        {.path = DIR "/d", .format = "qcow2"},
        {.path = DIR "/c", .format = "qcow2"},
        {.path = DIR "/b", .format = "qcow2"},
        {.path = DIR "/a", .format = "qcow2"},
};

static const struct domain_disk disk = {
        .name = "root", .chain = layers, .n_chain = 4, .bus = "virtio"};

static void define_vm(void)
{
	struct domain_config config = {.id = ID,
	        .name = "vm",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = 256 * MIB,
	        .vcpus = 1,
	        .cpu_model = "host",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build(&config, &xml, &failure));
	assert_ok(driver->define(c, xml, &failure));
}

static int set_up(void **state)
{
	(void)state;
	static const struct driver_events events = {
	        .domain = ignore_event, .closed = ignore_closed};
	static const struct pool_config pool = {.name = POOL, .type = "dir", .path = DIR};
	fake_enable();
	loop = loop_new();
	assert_ok(driver->open("fake:///" HOST, loop, &events, &c, &failure));
	assert_ok(driver->pool_ensure(c, &pool, &failure));
	make_volume("a", NULL, 10 * MIB);
	make_volume("b", DIR "/a", 10 * MIB);
	make_volume("c", DIR "/b", 20 * MIB);
	make_volume("d", DIR "/c", 20 * MIB);
	define_vm();
	assert_ok(driver->start(c, ID, &failure));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	driver->close(c);
	loop_turn_for(loop, 1);
	loop_free(loop);
	fake_reset();
	return 0;
}

static void assert_chain(const char *id, const char *const *paths)
{
	char **chain = NULL;
	assert_ok(driver->disk_chain(c, id, "root", &chain, &failure));
	size_t i = 0;
	for (; paths[i]; i++)
		assert_string_equal(chain[i], paths[i]);
	assert_null(chain[i]);
	for (i = 0; chain[i]; i++)
		free(chain[i]);
	free(chain);
}
#define ASSERT_CHAIN(...) assert_chain(ID, (const char *const[]){__VA_ARGS__, NULL})

static void assert_volume(const char *name, const char *backing_path, int64_t size_bytes)
{
	struct volume_info info CLEANUP(volume_info_done) = {0};
	assert_ok(driver->volume_get(c, POOL, name, &info, &failure));
	assert_int_equal(info.capacity_bytes, size_bytes);
	if (backing_path)
		assert_string_equal(info.backing_path, backing_path);
	else
		assert_null(info.backing_path);
}

static struct block_job_info look(void)
{
	struct block_job_info info;
	assert_ok(driver->block_job_get(c, ID, "root", &info, &failure));
	return info;
}

/* --- jobs --- */

static void test_commit_in_the_middle_goes_on_with_each_look(void **state)
{
	(void)state;
	assert_ok(driver->block_commit(c, ID, "root", DIR "/c", DIR "/b", &failure));
	struct block_job_info info = look();
	assert_int_equal(info.type, BLOCK_JOB_COMMIT);
	assert_int_equal(info.done_bytes, 10 * MIB);
	assert_int_equal(info.total_bytes, 20 * MIB);
	assert_int_equal(
	        driver->block_pull(c, ID, "root", NULL, NULL), ERR_BUSY); /* one job per disk */
	ASSERT_CHAIN(DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	assert_int_equal(look().type, BLOCK_JOB_NONE);
	ASSERT_CHAIN(DIR "/d", DIR "/b", DIR "/a");
	assert_volume("d", DIR "/b", 20 * MIB);
	assert_volume("b", DIR "/a", 20 * MIB); /* grown */
	struct domain_info domain CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(c, ID, &domain, &failure));
	assert_null(strstr(domain.xml, DIR "/c"));
}

static void test_active_commit_stays_ready_until_the_pivot(void **state)
{
	(void)state;
	assert_ok(driver->block_commit(c, ID, "root", NULL, DIR "/c", &failure));
	assert_int_equal(driver->block_job_end(c, ID, "root", BLOCK_JOB_PIVOT, NULL), ERR_BUSY);
	look();
	assert_true(look().is_ready);
	assert_true(look().is_ready);
	ASSERT_CHAIN(DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	assert_ok(driver->block_job_end(c, ID, "root", BLOCK_JOB_PIVOT, &failure));
	ASSERT_CHAIN(DIR "/c", DIR "/b", DIR "/a");
	assert_ok(driver->block_job_end(c, ID, "root", BLOCK_JOB_PIVOT, &failure));
}

static void test_pull_leaves_the_base(void **state)
{
	(void)state;
	fake_jobs_set_step(HOST, 100);
	assert_ok(driver->block_pull(c, ID, "root", DIR "/a", &failure));
	assert_int_equal(look().type, BLOCK_JOB_NONE);
	ASSERT_CHAIN(DIR "/d", DIR "/a");
	assert_volume("d", DIR "/a", 20 * MIB);
	assert_ok(driver->block_pull(c, ID, "root", NULL, &failure));
	look();
	ASSERT_CHAIN(DIR "/d");
	assert_volume("d", NULL, 20 * MIB);
}

static int copy_to(const char *path)
{
	struct domain_source target = {.path = path, .format = "raw"};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_copy_target(&target, &xml, &failure));
	return driver->block_copy(c, ID, "root", xml, &failure);
}

static void test_copy_needs_its_target_and_pivots_to_it(void **state)
{
	(void)state;
	assert_int_equal(copy_to(DIR "/new"), ERR_REFERENCE);
	make_volume("new", NULL, 20 * MIB);
	assert_ok(copy_to(DIR "/new"));
	look();
	assert_int_equal(look().type, BLOCK_JOB_COPY);
	assert_ok(driver->block_job_end(c, ID, "root", BLOCK_JOB_CANCEL, &failure));
	ASSERT_CHAIN(DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	assert_ok(copy_to(DIR "/new"));
	look();
	look();
	assert_ok(driver->block_job_end(c, ID, "root", BLOCK_JOB_PIVOT, &failure));
	ASSERT_CHAIN(DIR "/new");
	struct domain_info domain CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(c, ID, &domain, &failure));
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	assert_ok(domain_xml_read_chain(domain.xml, "root", &chain, &failure));
	assert_string_equal(chain.layers[0].format, "raw");
}

static void test_job_can_stand_still_fail_and_die_with_its_domain(void **state)
{
	(void)state;
	fake_jobs_set_step(HOST, 0);
	assert_ok(driver->block_pull(c, ID, "root", NULL, &failure));
	look();
	assert_int_equal(look().done_bytes, 0);
	fake_job_fail(HOST, ID, "root");
	assert_int_equal(look().type, BLOCK_JOB_NONE);
	ASSERT_CHAIN(DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	assert_ok(driver->block_pull(c, ID, "root", NULL, &failure));
	assert_ok(driver->destroy(c, ID, &failure));
	struct block_job_info info;
	assert_int_equal(driver->block_job_get(c, ID, "root", &info, NULL), ERR_WRONG_STATE);
	assert_ok(driver->start(c, ID, &failure));
	assert_int_equal(look().type, BLOCK_JOB_NONE);
}

static void test_layers_that_are_not_there_are_refused(void **state)
{
	(void)state;
	assert_int_equal(
	        driver->block_commit(c, ID, "root", DIR "/x", DIR "/a", NULL), ERR_NOT_FOUND);
	assert_int_equal(
	        driver->block_commit(c, ID, "root", DIR "/b", DIR "/c", NULL), ERR_INVALID);
	assert_int_equal(driver->block_commit(c, ID, "root", DIR "/b", NULL, NULL), ERR_INVALID);
	assert_int_equal(driver->block_pull(c, ID, "data", NULL, NULL), ERR_NOT_FOUND);
}

static void test_resize_and_limits_are_seen(void **state)
{
	(void)state;
	assert_ok(driver->block_resize(c, ID, "root", 40 * MIB, &failure));
	assert_volume("d", DIR "/c", 40 * MIB);
	assert_ok(driver->set_disk_limits(c, ID, "root", 500, 0, &failure));
	struct domain_info domain CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(c, ID, &domain, &failure));
	assert_non_null(strstr(domain.live_xml, "<total_iops_sec>500</total_iops_sec>"));
	assert_null(strstr(domain.xml, "iotune"));
}

/* --- snapshots --- */

static int snapshot(const char *overlay, const char *memory)
{
	struct domain_overlay overlays[] = {{"root", {.path = overlay, .format = "qcow2"}}};
	struct domain_info domain CLEANUP(domain_info_done) = {0};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(driver->get_domain(c, ID, &domain, &failure));
	assert_ok(domain_xml_build_snapshot(overlays, 1, memory, domain.live_xml, &xml, &failure));
	return driver->snapshot_create(
	        c, ID, xml, memory ? SNAPSHOT_LIVE : SNAPSHOT_DISK_ONLY, &failure);
}

static void test_snapshot_puts_an_existing_overlay_on_top(void **state)
{
	(void)state;
	assert_int_equal(snapshot(DIR "/e", NULL), ERR_REFERENCE);
	ASSERT_CHAIN(DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	make_volume("e", DIR "/d", 20 * MIB);
	assert_ok(snapshot(DIR "/e", NULL));
	ASSERT_CHAIN(DIR "/e", DIR "/d", DIR "/c", DIR "/b", DIR "/a");
	char *xml = NULL;
	assert_int_equal(driver->saved_xml(c, DIR "/m", &xml, NULL), ERR_REFERENCE);
}

static void test_memory_is_restored_on_other_chains(void **state)
{
	(void)state;
	make_volume("e", DIR "/d", 20 * MIB);
	assert_ok(snapshot(DIR "/e", DIR "/m"));
	assert_ok(driver->destroy(c, ID, &failure));
	char *saved CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(driver->saved_xml(c, DIR "/m", &saved, &failure));
	assert_null(strstr(saved, DIR "/e")); /* as it was before */
	struct domain_disk other = {
	        .name = "root", .chain = layers + 2, .n_chain = 2, .bus = "virtio"};
	assert_ok(domain_xml_replace_chains(saved, &other, 1, &xml, &failure));
	assert_int_equal(driver->restore(c, ID, DIR "/none", xml, true, NULL), ERR_REFERENCE);
	assert_ok(driver->restore(c, ID, DIR "/m", xml, true, &failure));
	assert_ok(driver->restore(c, ID, DIR "/m", xml, true, &failure));
	ASSERT_CHAIN(DIR "/b", DIR "/a");
	struct domain_info domain CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(c, ID, &domain, &failure));
	assert_int_equal(domain.state, DOMAIN_PAUSED);
	assert_true(domain.persistent);
}

/* --- carriers --- */

static void test_carrier_comes_paused_and_leaves_nothing_behind(void **state)
{
	(void)state;
	static const char id[] = "21111111-2222-4333-8444-555555555555";
	struct domain_carrier carrier = {
	        .id = id, .name = "berth-job-1", .disks = &disk, .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_carrier(&carrier, &xml, &failure));
	assert_ok(driver->create_transient(c, id, xml, &failure));
	assert_ok(driver->create_transient(c, id, xml, &failure));
	struct domain_info info CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(c, id, &info, &failure));
	assert_int_equal(info.state, DOMAIN_PAUSED);
	assert_true(info.is_carrier && !info.persistent && !info.is_ours);
	assert_ok(driver->destroy(c, id, &failure));
	assert_int_equal(driver->get_domain(c, id, &info, NULL), ERR_NOT_FOUND);
	assert_ok(driver->volume_delete(c, POOL, "a", &failure));
	assert_int_equal(driver->create_transient(c, id, xml, NULL), ERR_REFERENCE);
}

/* --- the rest --- */

static void test_freeze_lasts_until_thaw_and_needs_an_agent(void **state)
{
	int n;
	(void)state;
	enum freeze_status status;
	assert_ok(driver->freeze(c, ID, &n, &failure));
	assert_ok(driver->freeze_status(c, ID, &status, &failure));
	assert_int_equal(status, FREEZE_FROZEN);
	assert_ok(driver->thaw(c, ID, &failure));
	assert_ok(driver->freeze_status(c, ID, &status, &failure));
	assert_int_equal(status, FREEZE_THAWED);
	assert_ok(driver->set_guest_time(c, ID, &failure));
	fake_guest_set_agent(HOST, ID, false);
	assert_int_equal(driver->freeze(c, ID, &n, NULL), ERR_UNAVAILABLE);
	assert_int_equal(driver->set_guest_time(c, ID, NULL), ERR_UNAVAILABLE);
}

static void test_checkpoints_are_dropped(void **state)
{
	(void)state;
	fake_domain_set_checkpoints(HOST, ID, 3);
	assert_ok(driver->drop_checkpoints(c, ID, &failure));
	assert_int_equal(fake_domain_count_checkpoints(HOST, ID), 0);
	assert_ok(driver->drop_checkpoints(c, ID, &failure));
}

static void test_scripts_reach_the_new_calls(void **state)
{
	(void)state;
	struct fake_behaviour fails = {.error_code = ERR_DISK_FULL, .count = 1};
	fake_script_set(HOST, "block_pull", ID, &fails);
	assert_int_equal(driver->block_pull(c, ID, "root", NULL, NULL), ERR_DISK_FULL);
	assert_ok(driver->block_pull(c, ID, "root", NULL, &failure));
	assert_int_equal(fake_host_count_calls(HOST, "block_pull"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_commit_in_the_middle_goes_on_with_each_look),
	        TEST(test_active_commit_stays_ready_until_the_pivot),
	        TEST(test_pull_leaves_the_base),
	        TEST(test_copy_needs_its_target_and_pivots_to_it),
	        TEST(test_job_can_stand_still_fail_and_die_with_its_domain),
	        TEST(test_layers_that_are_not_there_are_refused),
	        TEST(test_resize_and_limits_are_seen),
	        TEST(test_snapshot_puts_an_existing_overlay_on_top),
	        TEST(test_memory_is_restored_on_other_chains),
	        TEST(test_carrier_comes_paused_and_leaves_nothing_behind),
	        TEST(test_freeze_lasts_until_thaw_and_needs_an_agent),
	        TEST(test_checkpoints_are_dropped),
	        TEST(test_scripts_reach_the_new_calls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
