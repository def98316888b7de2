/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks on a real libvirt and QEMU: explicit chains, block jobs, snapshots, carriers. Most tests need
 * no guest: a carrier's QEMU does the work. Files are made and judged by qemu-img and qemu-io.
 */
#include "hypervisor/driver.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/event_loop.h"
#include "lab_libvirt.h"
#include "loop_helper.h"

#define MIB     (1024LL * 1024)
#define LAYERS  5
#define JOB_MS  20000
#define BOOT_MS 120000
#define DISK    "job"

static const struct driver *const driver = &driver_libvirt;
static struct lab_libvirt lab;
static struct loop *loop;
static struct driver_connection *connection;
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

static int start_lab(void **state)
{
	(void)state;
	static const struct driver_events events = {
	        .domain = ignore_event, .closed = ignore_closed};
	loop = loop_new();
	if (event_loop_register(loop, NULL) != 0 || lab_libvirt_start(&lab) != 0)
		return -1;
	return driver->open(lab.uri, loop, &events, &connection, NULL);
}

static int stop_lab(void **state)
{
	(void)state;
	driver->close(connection);
	int r = lab_libvirt_stop(&lab);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	loop_free(loop);
	return r;
}

/* --- files --- */

static int n_files; /* names never repeat */

static char *new_path(const char *suffix)
{
	return str_format("%s/f%d.%s", lab.images, ++n_files, suffix);
}

static void make_qcow2(const char *path, const char *backing, const char *size)
{
	int r = backing ? LAB_RUN("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F",
	                          "qcow2", path, size)
	                : LAB_RUN("qemu-img", "create", "-q", "-f", "qcow2", path, size);
	assert_int_equal(r, 0);
}

/* Each pattern has a MiB of its own, so that one sees which layer's data arrived. */
static void write_pattern(const char *path, int pattern)
{
	char *command CLEANUP(cleanup_free) = str_format("write -q -P %d %dM 1M", pattern, pattern);
	assert_int_equal(LAB_RUN("qemu-io", "-f", "qcow2", "-c", command, path), 0);
}

static bool has_pattern(const char *path, const char *format, int pattern)
{
	char *command CLEANUP(cleanup_free) = str_format("read -q -P %d %dM 1M", pattern, pattern);
	char output[512];
	const char *const argv[] = {"qemu-io", "-U", "-r", "-f", format, "-c", command, path, NULL};
	return lab_run(argv, output, sizeof(output)) == 0 && !strstr(output, "failed");
}

/* Whether the layer itself, without those below it, has data there. */
static bool holds_pattern(const char *path, int pattern)
{
	char *options CLEANUP(cleanup_free) =
	        str_format("json:{\"driver\":\"qcow2\",\"backing\":null,\"file\":{\"driver\":"
	                   "\"file\",\"filename\":\"%s\"}}",
	                path);
	char *command CLEANUP(cleanup_free) = str_format("read -q -P %d %dM 1M", pattern, pattern);
	char output[512];
	const char *const argv[] = {"qemu-io", "-U", "-r", "-c", command, options, NULL};
	return lab_run(argv, output, sizeof(output)) == 0 && !strstr(output, "failed");
}

static void assert_header(const char *path, const char *key, const char *value)
{
	char output[4096];
	const char *const argv[] = {"qemu-img", "info", "-U", "--output=json", path, NULL};
	assert_int_equal(lab_run(argv, output, sizeof(output)), 0);
	char *wanted CLEANUP(cleanup_free) = str_format("\"%s\": %s", key, value);
	if (!strstr(output, wanted))
		fail_msg("no %s in %s", wanted, output);
}

/* paths[0] is the top; layer i holds pattern i + 1. */
struct chain {
	char *paths[LAYERS];
	struct domain_source sources[LAYERS];
};

static void make_chain(struct chain *chain)
{
	for (int i = LAYERS - 1; i >= 0; i--) {
		chain->paths[i] = new_path("qcow2");
		make_qcow2(chain->paths[i], i + 1 < LAYERS ? chain->paths[i + 1] : NULL, "16M");
		write_pattern(chain->paths[i], i + 1);
		chain->sources[i] =
		        (struct domain_source){.path = chain->paths[i], .format = "qcow2"};
	}
}

static void chain_done(struct chain *chain)
{
	for (size_t i = 0; i < LAYERS; i++)
		free(chain->paths[i]);
}

/* --- carriers --- */

struct carrier {
	char id[UUID_TEXT_SIZE];
};

static void carrier_stop(struct carrier *carrier)
{
	assert_ok(driver->destroy(connection, carrier->id, &failure));
}

static void start_carrier(
        struct carrier *carrier, const struct domain_source *chain, size_t n, bool read_only)
{
	struct domain_disk disk = {.name = DISK,
	        .chain = chain,
	        .n_chain = n,
	        .read_only = read_only,
	        .bus = "virtio"};
	uuid_make(carrier->id);
	char *name CLEANUP(cleanup_free) = str_format("berth-job-%s", carrier->id);
	struct domain_carrier config = {.id = carrier->id,
	        .name = name,
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_carrier(&config, &xml, &failure));
	assert_ok(driver->create_transient(connection, carrier->id, xml, &failure));
	assert_ok(driver->create_transient(connection, carrier->id, xml, &failure)); /* again */
}

static void assert_chain(const char *id, const char *disk, const char *const *paths)
{
	char **chain = NULL;
	assert_ok(driver->disk_chain(connection, id, disk, &chain, &failure));
	size_t i = 0;
	for (; paths[i]; i++)
		assert_string_equal(chain[i], paths[i]);
	assert_null(chain[i]);
	for (i = 0; chain[i]; i++)
		free(chain[i]);
	free(chain);
}
#define ASSERT_CHAIN(id, disk, ...) assert_chain(id, disk, (const char *const[]){__VA_ARGS__, NULL})

/* Until the job is ready (a copy, an active commit) or gone (the others). */
static struct block_job_info follow_job(const char *id, const char *disk)
{
	struct block_job_info info = {0};
	int64_t until = clock_now_ns() + JOB_MS * 1000000LL;
	do {
		assert_ok(driver->block_job_get(connection, id, disk, &info, &failure));
		if (clock_now_ns() > until)
			fail_msg("the job does not end");
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		usleep(5000);
	} while (info.type != BLOCK_JOB_NONE && !info.is_ready);
	return info;
}

/* --- tests --- */

static void test_carrier_is_paused_transient_and_marked(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	make_chain(&chain);
	start_carrier(&carrier, chain.sources, LAYERS, false);
	struct domain_info info CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, carrier.id, &info, &failure));
	assert_int_equal(info.state, DOMAIN_PAUSED);
	assert_false(info.persistent);
	assert_true(info.is_carrier);
	assert_false(info.is_ours);
	struct domain_list list CLEANUP(domain_list_done) = {0};
	assert_ok(driver->list_domains(connection, &list, &failure));
	assert_int_equal(list.len, 1);
	assert_true(list.items[0].is_carrier);
	ASSERT_CHAIN(carrier.id, DISK, chain.paths[0], chain.paths[1], chain.paths[2],
	        chain.paths[3], chain.paths[4]);
	char **paths = NULL;
	assert_int_equal(
	        driver->disk_chain(connection, carrier.id, "other", &paths, NULL), ERR_NOT_FOUND);
}

static void test_carrier_of_another_architecture_starts(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	char *xml CLEANUP(cleanup_free) = NULL;
	make_chain(&chain);
	uuid_make(carrier.id);
	struct domain_disk disk = {
	        .name = DISK, .chain = chain.sources, .n_chain = LAYERS, .bus = "virtio"};
	struct domain_carrier config = {.id = carrier.id,
	        .name = "berth-job-arm",
	        .architecture = "aarch64",
	        .disks = &disk,
	        .n_disks = 1};
	assert_ok(domain_xml_build_carrier(&config, &xml, &failure));
	assert_ok(driver->create_transient(connection, carrier.id, xml, &failure));
	assert_ok(driver->block_resize(connection, carrier.id, DISK, 32 * MIB, &failure));
	assert_header(chain.paths[0], "virtual-size", "33554432");
}

static void test_commit_in_the_middle_takes_one_layer_out(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	make_chain(&chain);
	char *const *p = chain.paths;
	start_carrier(&carrier, chain.sources, LAYERS, false);
	assert_ok(driver->block_commit(connection, carrier.id, DISK, p[2], p[3], &failure));
	assert_int_equal(follow_job(carrier.id, DISK).type, BLOCK_JOB_NONE);
	ASSERT_CHAIN(carrier.id, DISK, p[0], p[1], p[3], p[4]);
	char *quoted CLEANUP(cleanup_free) = str_format("\"%s\"", p[3]);
	assert_header(p[1], "backing-filename", quoted);
	assert_header(p[1], "backing-filename-format", "\"qcow2\"");
	assert_true(holds_pattern(p[3], 3) && holds_pattern(p[3], 4));
	assert_int_equal(driver->block_commit(connection, carrier.id, DISK, p[2], p[3], NULL),
	        ERR_NOT_FOUND);
	assert_int_equal(
	        driver->block_commit(connection, carrier.id, DISK, p[3], p[1], NULL), ERR_INVALID);
	assert_int_equal(
	        driver->block_commit(connection, carrier.id, DISK, p[3], NULL, NULL), ERR_INVALID);
}

static void test_active_commit_ends_with_a_pivot(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	make_chain(&chain);
	char *const *p = chain.paths;
	start_carrier(&carrier, chain.sources, LAYERS, false);
	assert_ok(driver->block_commit(connection, carrier.id, DISK, NULL, p[1], &failure));
	struct block_job_info info = follow_job(carrier.id, DISK);
	assert_int_equal(info.type, BLOCK_JOB_ACTIVE_COMMIT);
	assert_int_equal(info.done_bytes, info.total_bytes);
	assert_ok(driver->block_job_end(connection, carrier.id, DISK, BLOCK_JOB_PIVOT, &failure));
	ASSERT_CHAIN(carrier.id, DISK, p[1], p[2], p[3], p[4]);
	assert_true(holds_pattern(p[1], 1) && holds_pattern(p[1], 2));
	assert_ok(driver->block_job_end(connection, carrier.id, DISK, BLOCK_JOB_PIVOT, &failure));
	assert_ok(driver->block_job_end(connection, carrier.id, DISK, BLOCK_JOB_CANCEL, &failure));
}

static void start_copy(const char *id, const char *path, const char *format)
{
	struct domain_source target = {.path = path, .format = format};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_copy_target(&target, &xml, &failure));
	assert_ok(driver->block_copy(connection, id, DISK, xml, &failure));
}

static void test_copy_takes_the_whole_chain_and_pivots(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	char *copy CLEANUP(cleanup_free) = new_path("qcow2");
	make_chain(&chain);
	make_qcow2(copy, NULL, "16M");
	start_carrier(&carrier, chain.sources, LAYERS, false);
	start_copy(carrier.id, copy, "qcow2");
	assert_int_equal(follow_job(carrier.id, DISK).type, BLOCK_JOB_COPY);
	assert_ok(driver->block_job_end(connection, carrier.id, DISK, BLOCK_JOB_PIVOT, &failure));
	ASSERT_CHAIN(carrier.id, DISK, copy);
	for (int i = 1; i <= LAYERS; i++)
		assert_true(holds_pattern(copy, i));
}

static void test_two_carriers_read_one_chain_and_copy_it(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier first CLEANUP(carrier_stop);
	struct carrier second CLEANUP(carrier_stop);
	char *copy CLEANUP(cleanup_free) = new_path("raw");
	make_chain(&chain);
	assert_int_equal(LAB_RUN("qemu-img", "create", "-q", "-f", "raw", copy, "16M"), 0);
	start_carrier(&first, chain.sources + 1, LAYERS - 1, true);
	start_carrier(&second, chain.sources + 1, LAYERS - 1, true);
	start_copy(first.id, copy, "raw");
	assert_int_equal(follow_job(first.id, DISK).type, BLOCK_JOB_COPY);
	assert_ok(driver->block_job_end(connection, first.id, DISK, BLOCK_JOB_CANCEL, &failure));
	ASSERT_CHAIN(
	        first.id, DISK, chain.paths[1], chain.paths[2], chain.paths[3], chain.paths[4]);
	for (int i = 2; i <= LAYERS; i++)
		assert_true(has_pattern(copy, "raw", i));
	assert_false(has_pattern(copy, "raw", 1));
}

/* What QEMU pulls it need not flush: the file is judged once the carrier has ended. */
static void pull(const struct chain *chain, const char *base)
{
	struct carrier carrier CLEANUP(carrier_stop);
	char *const *p = chain->paths;
	start_carrier(&carrier, chain->sources, LAYERS, false);
	assert_ok(driver->block_pull(connection, carrier.id, DISK, base, &failure));
	assert_int_equal(follow_job(carrier.id, DISK).type, BLOCK_JOB_NONE);
	if (base)
		ASSERT_CHAIN(carrier.id, DISK, p[0], p[3], p[4]);
	else
		ASSERT_CHAIN(carrier.id, DISK, p[0]);
}

static void test_pull_brings_what_lies_above_the_base(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	make_chain(&chain);
	pull(&chain, chain.paths[3]);
	assert_true(holds_pattern(chain.paths[0], 1) && holds_pattern(chain.paths[0], 3));
	assert_false(holds_pattern(chain.paths[0], 4));
	char *quoted CLEANUP(cleanup_free) = str_format("\"%s\"", chain.paths[3]);
	assert_header(chain.paths[0], "backing-filename", quoted);
}

static void test_pull_without_a_base_brings_everything(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	make_chain(&chain);
	pull(&chain, NULL);
	for (int i = 1; i <= LAYERS; i++)
		assert_true(holds_pattern(chain.paths[0], i));
}

static void test_resize_grows_the_file(void **state)
{
	(void)state;
	struct chain chain CLEANUP(chain_done) = {0};
	struct carrier carrier CLEANUP(carrier_stop);
	make_chain(&chain);
	start_carrier(&carrier, chain.sources, LAYERS, false);
	assert_ok(driver->block_resize(connection, carrier.id, DISK, 32 * MIB, &failure));
	assert_header(chain.paths[0], "virtual-size", "33554432");
}

/* The format is the recorded one, whatever the file's first bytes look like. */
static void test_raw_disk_with_a_qcow2_header_stays_raw(void **state)
{
	(void)state;
	struct carrier carrier CLEANUP(carrier_stop);
	char *secret CLEANUP(cleanup_free) = new_path("qcow2");
	char *disk CLEANUP(cleanup_free) = new_path("raw");
	char *copy CLEANUP(cleanup_free) = new_path("raw");
	make_qcow2(secret, NULL, "16M");
	write_pattern(secret, 1);
	make_qcow2(disk, secret, "16M"); /* what a guest may have written */
	assert_int_equal(LAB_RUN("truncate", "-s", "4M", disk), 0);
	assert_int_equal(LAB_RUN("qemu-img", "create", "-q", "-f", "raw", copy, "4M"), 0);
	struct domain_source source = {.path = disk, .format = "raw"};
	start_carrier(&carrier, &source, 1, true);
	ASSERT_CHAIN(carrier.id, DISK, disk);
	start_copy(carrier.id, copy, "raw");
	follow_job(carrier.id, DISK);
	assert_ok(driver->block_job_end(connection, carrier.id, DISK, BLOCK_JOB_CANCEL, &failure));
	assert_int_equal(LAB_RUN("cmp", "-s", disk, copy), 0);
}

/* --- a VM --- */

struct machine {
	char id[UUID_TEXT_SIZE];
	char *paths[2], *overlays[2], *memory; /* owned */
	struct domain_source sources[2];
	struct domain_disk disks[2];
	struct domain_nic nic;
	struct domain_config config;
};

static void machine_done(struct machine *m)
{
	assert_ok(driver->destroy(connection, m->id, &failure));
	assert_ok(driver->undefine(connection, m->id, &failure));
	for (size_t i = 0; i < 2; i++) {
		free(m->paths[i]);
		free(m->overlays[i]);
	}
	free(m->memory);
}

static char *machine_xml(const struct machine *m)
{
	char *xml = NULL;
	assert_ok(domain_xml_build(&m->config, &xml, &failure));
	return xml;
}

/* Two disks on different buses, nothing to boot: the firmware runs. */
static void describe_machine(struct machine *m)
{
	static const char *const names[] = {"root", "data"}, *const buses[] = {"virtio", "scsi"};
	uuid_make(m->id);
	for (size_t i = 0; i < 2; i++) {
		m->paths[i] = new_path("qcow2");
		m->overlays[i] = new_path("qcow2");
		make_qcow2(m->paths[i], NULL, "16M");
		make_qcow2(m->overlays[i], m->paths[i], "16M");
		m->sources[i] = (struct domain_source){.path = m->paths[i], .format = "qcow2"};
		m->disks[i] = (struct domain_disk){
		        .name = names[i], .chain = &m->sources[i], .n_chain = 1, .bus = buses[i]};
	}
	m->memory = new_path("mem");
	m->config = (struct domain_config){.id = m->id,
	        .name = "m",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = 64 * MIB,
	        .ballooning = true,
	        .memory_merge = true,
	        .vcpus = 1,
	        .cpu_model = "maximum",
	        .disks = m->disks,
	        .n_disks = 2};
}

static void start_machine(struct machine *m)
{
	describe_machine(m);
	char *xml CLEANUP(cleanup_free) = machine_xml(m);
	assert_ok(driver->define(connection, xml, &failure));
	assert_ok(driver->start(connection, m->id, &failure));
}

static void take_snapshot(struct machine *m, const char *memory, unsigned flags)
{
	struct domain_overlay overlays[2];
	for (size_t i = 0; i < 2; i++)
		overlays[i] = (struct domain_overlay){.disk = m->disks[i].name,
		        .source = {.path = m->overlays[i], .format = "qcow2"}};
	struct domain_info info CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m->id, &info, &failure));
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_snapshot(overlays, 2, memory, info.live_xml, &xml, &failure));
	assert_ok(driver->snapshot_create(connection, m->id, xml, flags, &failure));
	for (size_t i = 0; i < 2; i++)
		ASSERT_CHAIN(m->id, m->disks[i].name, m->overlays[i], m->paths[i]);
}

static void test_disk_only_snapshot_puts_overlays_on_top(void **state)
{
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	start_machine(&m);
	take_snapshot(&m, NULL, SNAPSHOT_DISK_ONLY);
	assert_ok(driver->drop_checkpoints(connection, m.id, &failure));
	assert_ok(driver->destroy(connection, m.id, &failure));
	char **chain = NULL;
	assert_int_equal(
	        driver->disk_chain(connection, m.id, "root", &chain, NULL), ERR_WRONG_STATE);
	assert_int_equal(driver->snapshot_create(
	                         connection, m.id, "<domainsnapshot/>", SNAPSHOT_DISK_ONLY, NULL),
	        ERR_WRONG_STATE);
}

static void test_memory_snapshot_is_restored_on_other_chains(void **state)
{
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	start_machine(&m);
	take_snapshot(&m, m.memory, SNAPSHOT_LIVE);
	struct domain_info info CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m.id, &info, &failure));
	assert_int_equal(info.state, DOMAIN_RUNNING); /* on it went */
	assert_ok(driver->destroy(connection, m.id, &failure));
	/* New overlays on what the snapshot holds. */
	struct domain_source chains[2][2];
	char *tops[2] = {new_path("qcow2"), new_path("qcow2")};
	for (size_t i = 0; i < 2; i++) {
		make_qcow2(tops[i], m.paths[i], "16M");
		chains[i][0] = (struct domain_source){.path = tops[i], .format = "qcow2"};
		chains[i][1] = m.sources[i];
		m.disks[i].chain = chains[i];
		m.disks[i].n_chain = 2;
	}
	char *saved CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(driver->saved_xml(connection, m.memory, &saved, &failure));
	assert_ok(domain_xml_replace_chains(saved, m.disks, 2, &xml, &failure));
	assert_ok(driver->restore(connection, m.id, m.memory, xml, /* paused= */ true, &failure));
	assert_ok(driver->restore(connection, m.id, m.memory, xml, true, &failure)); /* again */
	for (size_t i = 0; i < 2; i++) {
		ASSERT_CHAIN(m.id, m.disks[i].name, tops[i], m.paths[i]);
		free(tops[i]);
	}
	struct domain_info restored CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m.id, &restored, &failure));
	assert_int_equal(restored.state, DOMAIN_PAUSED);
	assert_true(restored.persistent);
	assert_ok(driver->resume(connection, m.id, &failure));
}

static void test_limits_are_set_live_and_lifted(void **state)
{
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	start_machine(&m);
	assert_ok(driver->set_disk_limits(connection, m.id, "data", 500, 10 * MIB, &failure));
	struct domain_info limited CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m.id, &limited, &failure));
	assert_non_null(strstr(limited.live_xml, "<total_iops_sec>500</total_iops_sec>"));
	assert_non_null(strstr(limited.live_xml, "<total_bytes_sec>10485760</total_bytes_sec>"));
	assert_ok(driver->set_disk_limits(connection, m.id, "data", 0, 0, &failure));
	struct domain_info free_again CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m.id, &free_again, &failure));
	assert_null(strstr(free_again.live_xml, "<iotune>"));
}

static void test_agent_that_is_not_there_is_said_at_once(void **state)
{
	int n;
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	enum freeze_status status;
	start_machine(&m);
	int64_t start = clock_now_ns();
	assert_int_equal(driver->freeze(connection, m.id, &n, NULL), ERR_UNAVAILABLE);
	assert_int_equal(driver->thaw(connection, m.id, NULL), ERR_UNAVAILABLE);
	assert_int_equal(driver->freeze_status(connection, m.id, &status, NULL), ERR_UNAVAILABLE);
	assert_int_equal(driver->set_guest_time(connection, m.id, NULL), ERR_UNAVAILABLE);
	assert_true(clock_now_ns() - start < 15000000000);
}

/* The test guest with a file system on its disk: only that can be frozen. */
static void start_guest(struct machine *m)
{
	describe_machine(m);
	assert_int_equal(LAB_RUN("truncate", "-s", "16M", m->paths[0]), 0);
	assert_int_equal(LAB_RUN("mkfs.ext4", "-q", "-F", m->paths[0]), 0);
	m->sources[0].format = "raw";
	m->config.n_disks = 1;
	m->config.memory_bytes = 192 * MIB;
	m->config.kernel = lab.kernel;
	m->config.initrd = lab.initrd;
	m->config.cmdline = "console=ttyS0 quiet panic=-1";
	char *xml CLEANUP(cleanup_free) = machine_xml(m);
	assert_ok(driver->define(connection, xml, &failure));
	assert_ok(driver->start(connection, m->id, &failure));
}

static void wait_for_agent(const char *id)
{
	enum freeze_status status;
	int64_t until = clock_now_ns() + BOOT_MS * 1000000LL;
	while (driver->freeze_status(connection, id, &status, &failure) != 0) {
		if (clock_now_ns() > until)
			fail_msg("the guest agent does not come: %s", failure.message);
		usleep(200000);
	}
	assert_int_equal(status, FREEZE_THAWED);
}

static enum freeze_status freeze_status_of(const char *id)
{
	enum freeze_status status;
	assert_ok(driver->freeze_status(connection, id, &status, &failure));
	return status;
}

/* The agent answers before the command has ended. */
static void begin_in_guest(const char *id, const char *command)
{
	char *text CLEANUP(cleanup_free) =
	        str_format("{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/busybox\","
	                   "\"arg\":[\"sh\",\"-c\",\"%s\"]}}",
	                command);
	assert_int_equal(LAB_RUN("virsh", "-q", "-c", lab.uri, "qemu-agent-command", id, text), 0);
}

/* As long as nothing is mounted there is nothing to freeze. */
static void freeze_until_frozen(const char *id)
{
	int n;
	int64_t until = clock_now_ns() + JOB_MS * 1000000LL;
	do {
		assert_ok(driver->freeze(connection, id, &n, &failure));
		assert_true(clock_now_ns() < until);
	} while (freeze_status_of(id) != FREEZE_FROZEN);
}

static void test_guest_is_frozen_thawed_and_told_the_time(void **state)
{
	int n;
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	start_guest(&m);
	wait_for_agent(m.id);
	begin_in_guest(m.id, "mkdir -p /mnt && mount -t ext4 /dev/vda /mnt");
	freeze_until_frozen(m.id);
	assert_ok(driver->freeze(connection, m.id, &n, &failure)); /* again */
	assert_ok(driver->thaw(connection, m.id, &failure));
	assert_int_equal(freeze_status_of(m.id), FREEZE_THAWED);
	assert_ok(driver->thaw(connection, m.id, &failure)); /* again */
	assert_ok(driver->set_guest_time(connection, m.id, &failure));
	/* An agent that is stopped costs seconds, not for ever. */
	begin_in_guest(m.id, "kill -STOP $PPID");
	int64_t start = clock_now_ns(), until = start + JOB_MS * 1000000LL;
	int rc = 0;
	while (rc == 0 && clock_now_ns() < until)
		rc = driver->freeze(connection, m.id, &n, NULL);
	assert_int_equal(rc, ERR_UNAVAILABLE);
	assert_true(clock_now_ns() - start < 15000000000);
}

static void test_running_vm_moves_to_another_file_and_grows(void **state)
{
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	char *copy CLEANUP(cleanup_free) = new_path("qcow2");
	make_qcow2(copy, NULL, "16M");
	start_machine(&m);
	struct domain_source target = {.path = copy, .format = "qcow2"};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build_copy_target(&target, &xml, &failure));
	assert_ok(driver->block_copy(connection, m.id, "data", xml, &failure));
	assert_int_equal(driver->block_copy(connection, m.id, "data", xml, NULL),
	        ERR_BUSY); /* one at a time */
	assert_int_equal(follow_job(m.id, "data").type, BLOCK_JOB_COPY);
	assert_ok(driver->block_job_end(connection, m.id, "data", BLOCK_JOB_PIVOT, &failure));
	ASSERT_CHAIN(m.id, "data", copy);
	assert_ok(driver->block_resize(connection, m.id, "data", 24 * MIB, &failure));
	assert_header(copy, "virtual-size", "25165824");
	struct domain_info info CLEANUP(domain_info_done) = {0};
	assert_ok(driver->get_domain(connection, m.id, &info, &failure));
	assert_non_null(strstr(info.xml, copy)); /* the definition follows */
	assert_null(strstr(info.xml, m.paths[1]));
}

/* The PCI slots of a definition, or the SCSI place, by alias. */
static char *address_of(const char *xml, const char *alias)
{
	char *mark CLEANUP(cleanup_free) = str_format("<alias name='%s'/>", alias);
	const char *at = strstr(xml, mark);
	if (!at)
		fail_msg("no %s", alias);
	const char *address = strstr(at, "<address ");
	return str_format("%.*s", (int)strcspn(address, ">"), address);
}

static void test_removed_disk_does_not_move_the_others(void **state)
{
	(void)state;
	struct machine m CLEANUP(machine_done) = {0};
	describe_machine(&m);
	struct domain_disk disks[4] = {m.disks[0], m.disks[0], m.disks[0], m.disks[1]};
	disks[1].name = "second";
	disks[2].name = "third";
	m.config.disks = disks;
	m.config.n_disks = 4;
	struct domain_info before CLEANUP(domain_info_done) = {0};
	struct domain_info after CLEANUP(domain_info_done) = {0};
	char *first CLEANUP(cleanup_free) = machine_xml(&m);
	assert_ok(driver->define(connection, first, &failure));
	assert_ok(driver->get_domain(connection, m.id, &before, &failure));
	disks[1] = disks[2];
	disks[2] = disks[3];
	m.config.n_disks = 3;
	char *second CLEANUP(cleanup_free) = machine_xml(&m);
	char *kept CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_keep_addresses(second, before.xml, &kept, &failure));
	assert_ok(driver->define(connection, kept, &failure));
	assert_ok(driver->get_domain(connection, m.id, &after, &failure));
	static const char *const aliases[] = {"ua-disk-root", "ua-disk-third", "ua-disk-data"};
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
		char *was CLEANUP(cleanup_free) = address_of(before.xml, aliases[i]);
		char *is CLEANUP(cleanup_free) = address_of(after.xml, aliases[i]);
		assert_string_equal(was, is);
	}
	/* Nor anything else: the rest of the definition is what it was without that disk. */
	const char *gone = strstr(before.xml, "vdb");
	assert_non_null(gone);
	assert_null(strstr(after.xml, "vdb"));
	assert_non_null(strstr(after.xml, "vdc"));
	const char *rest_before = strstr(before.xml, "<controller"),
	           *rest_after = strstr(after.xml, "<controller");
	assert_string_equal(rest_before, rest_after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_carrier_is_paused_transient_and_marked),
	        cmocka_unit_test(test_carrier_of_another_architecture_starts),
	        cmocka_unit_test(test_commit_in_the_middle_takes_one_layer_out),
	        cmocka_unit_test(test_active_commit_ends_with_a_pivot),
	        cmocka_unit_test(test_copy_takes_the_whole_chain_and_pivots),
	        cmocka_unit_test(test_two_carriers_read_one_chain_and_copy_it),
	        cmocka_unit_test(test_pull_brings_what_lies_above_the_base),
	        cmocka_unit_test(test_pull_without_a_base_brings_everything),
	        cmocka_unit_test(test_resize_grows_the_file),
	        cmocka_unit_test(test_raw_disk_with_a_qcow2_header_stays_raw),
	        cmocka_unit_test(test_disk_only_snapshot_puts_overlays_on_top),
	        cmocka_unit_test(test_memory_snapshot_is_restored_on_other_chains),
	        cmocka_unit_test(test_limits_are_set_live_and_lifted),
	        cmocka_unit_test(test_agent_that_is_not_there_is_said_at_once),
	        cmocka_unit_test(test_guest_is_frozen_thawed_and_told_the_time),
	        cmocka_unit_test(test_running_vm_moves_to_another_file_and_grows),
	        cmocka_unit_test(test_removed_disk_does_not_move_the_others),
	};
	return cmocka_run_group_tests(tests, start_lab, stop_lab);
}
