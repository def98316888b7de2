/* SPDX-License-Identifier: Apache-2.0 */
/* Pools and volumes by the libvirt driver, against libvirt's in-memory hypervisor test:///default. */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver.h"
#include "hypervisor/event_loop.h"
#include "loop_helper.h"

#define MIB (1024LL * 1024)

static const struct driver *const driver = &driver_libvirt;
static struct loop *loop;
static struct driver_connection *connection;
static struct err failure; /* of the latest call that must succeed */

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, failure.message);                                \
	} while (0)

static int start_loop(void **state)
{
	(void)state;
	loop = loop_new();
	return event_loop_register(loop, NULL);
}

static int free_loop(void **state)
{
	(void)state;
	uv_run(loop_uv(loop), UV_RUN_NOWAIT); /* what libvirt leaves to be freed later */
	loop_free(loop);
	return 0;
}

static int connect_without_events(void **state)
{
	(void)state;
	return driver->open("test:///default", NULL, NULL, &connection, NULL);
}

static int disconnect(void **state)
{
	(void)state;
	driver->close(connection);
	connection = NULL;
	return 0;
}

static const struct pool_config directory = {
        .name = "berth", .type = "dir", .path = "/var/lib/berth/pool"};

static struct volume_config sized(const char *name, const char *format, int64_t size_bytes)
{
	return (struct volume_config){.name = name, .format = format, .size_bytes = size_bytes};
}

static bool lists(const char *name)
{
	struct volume_info_list list CLEANUP(volume_info_list_done) = {0};
	assert_ok(driver->volume_list(connection, "berth", &list, &failure));
	for (size_t i = 0; i < list.len; i++)
		if (strcmp(list.items[i].name, name) == 0)
			return true;
	return false;
}

static void test_pool_and_volume_come_and_go(void **state)
{
	(void)state;
	struct pool_info pool;
	struct volume_info volume CLEANUP(volume_info_done) = {0};
	struct volume_config config = sized("a.qcow2", "qcow2", 10 * MIB);
	for (int i = 0; i < 2; i++)
		assert_ok(driver->pool_ensure(connection, &directory, &failure));
	assert_ok(driver->pool_info(connection, "berth", &pool, &failure));
	assert_true(pool.capacity_bytes > 0);
	for (int i = 0; i < 2; i++)
		assert_ok(driver->volume_create(connection, "berth", &config, &failure));
	assert_ok(driver->volume_get(connection, "berth", "a.qcow2", &volume, &failure));
	assert_string_equal(volume.name, "a.qcow2");
	assert_string_equal(volume.path, "/var/lib/berth/pool/a.qcow2");
	assert_string_equal(volume.format, "qcow2");
	assert_int_equal(volume.capacity_bytes, 10 * MIB);
	assert_null(volume.backing_path);
	assert_true(lists("a.qcow2"));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->volume_delete(connection, "berth", "a.qcow2", &failure));
	assert_false(lists("a.qcow2"));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->pool_remove(connection, "berth", &failure));
}

/* QEMU refuses a raw disk that ends within a sector. */
static void test_volume_sizes_are_whole_sectors(void **state)
{
	(void)state;
	struct volume_info volume CLEANUP(volume_info_done) = {0};
	struct volume_config config = sized("odd", "raw", 10 * MIB + 1);
	assert_ok(driver->pool_ensure(connection, &directory, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->volume_create(connection, "berth", &config, &failure));
	assert_ok(driver->volume_get(connection, "berth", "odd", &volume, &failure));
	assert_int_equal(volume.capacity_bytes, 10 * MIB + 4096);
	assert_ok(driver->volume_delete(connection, "berth", "odd", &failure));
	assert_ok(driver->pool_remove(connection, "berth", &failure));
}

static void test_a_layer_stands_on_the_one_recorded(void **state)
{
	(void)state;
	struct err e = {0};
	struct volume_info volume CLEANUP(volume_info_done) = {0};
	struct volume_config base = sized("base", "raw", MIB), top = sized("top", "qcow2", MIB);
	top.backing_path = "/var/lib/berth/pool/base";
	top.backing_format = "raw";
	assert_ok(driver->pool_ensure(connection, &directory, &failure));
	assert_ok(driver->volume_create(connection, "berth", &base, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->volume_create(connection, "berth", &top, &failure));
	assert_ok(driver->volume_get(connection, "berth", "top", &volume, &failure));
	assert_string_equal(volume.backing_path, top.backing_path);
	top.backing_path = "/var/lib/berth/pool/other";
	assert_int_equal(driver->volume_create(connection, "berth", &top, &e), ERR_EXISTS);
	assert_ok(driver->volume_delete(connection, "berth", "top", &failure));
	assert_ok(driver->volume_delete(connection, "berth", "base", &failure));
	assert_ok(driver->pool_remove(connection, "berth", &failure));
}

/* What this machine's kernel has no use for is at least defined and started as described. */
static void test_network_and_block_pools_are_defined(void **state)
{
	(void)state;
	static const char *const server[] = {"nas.example", NULL};
	const struct pool_config configs[] = {
	        {.name = "berth-n",
	                .type = "netfs",
	                .path = "/srv/n",
	                .hosts = server,
	                .source_dir = "/export/"},
	        {.name = "berth-l", .type = "logical", .source_name = "vg0"},
	        {.name = "berth-z", .type = "zfs", .source_name = "tank"},
	};
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		struct err e = {0};
		struct pool_config other = configs[i];
		struct pool_info info;
		for (int n = 0; n < 2; n++)
			assert_ok(driver->pool_ensure(connection, &configs[i], &failure));
		assert_ok(driver->pool_info(connection, configs[i].name, &info, &failure));
		if (other.source_name)
			other.source_name = "another";
		else
			other.source_dir = "/another";
		assert_int_equal(driver->pool_ensure(connection, &other, &e), ERR_CONFLICT);
		assert_non_null(strstr(e.message, "another"));
		assert_ok(driver->pool_remove(connection, configs[i].name, &failure));
	}
}

static int refuse_create(const char *pool, const char *name, const char *format, int64_t size_bytes)
{
	struct err e = {0};
	struct volume_config config = sized(name, format, size_bytes);
	return driver->volume_create(connection, pool, &config, &e);
}

static void test_storage_refusals_have_their_codes(void **state)
{
	(void)state;
	struct err e = {0};
	struct volume_info volume = {0};
	struct pool_info pool;
	struct pool_config elsewhere = directory;
	struct volume_config v = sized("v", "raw", MIB);
	elsewhere.path = "/elsewhere";
	assert_int_equal(driver->pool_info(connection, "none", &pool, &e), ERR_NOT_FOUND);
	assert_int_equal(refuse_create("none", "v", "raw", MIB), ERR_NOT_FOUND);
	assert_ok(driver->pool_ensure(connection, &directory, &failure));
	assert_int_equal(driver->pool_ensure(connection, &elsewhere, &e), ERR_CONFLICT);
	assert_int_equal(driver->volume_get(connection, "berth", "v", &volume, &e), ERR_NOT_FOUND);
	assert_ok(driver->volume_create(connection, "berth", &v, &failure));
	assert_int_equal(refuse_create("berth", "v", "raw", 2 * MIB), ERR_EXISTS);
	assert_int_equal(refuse_create("berth", "../v", "raw", MIB), ERR_INVALID);
	assert_int_equal(refuse_create("berth", "w", "vmdk", MIB), ERR_INVALID);
	assert_ok(driver->volume_delete(connection, "berth", "v", &failure));
	assert_ok(driver->pool_remove(connection, "berth", &failure));
}

static int64_t read_nothing(void *arg, void *buffer, size_t n, struct err *e)
{
	(void)arg;
	(void)buffer;
	(void)n;
	(void)e;
	return 0;
}

/* test:/// has neither secrets nor streams. */
static void test_what_the_test_driver_lacks_is_said(void **state)
{
	(void)state;
	static const char id[] = "00000000-0000-4000-8000-000000000001";
	struct err e = {0};
	struct volume_config v = sized("v", "raw", MIB);
	struct volume_source source = {.read = read_nothing};
	assert_ok(driver->pool_ensure(connection, &directory, &failure));
	assert_ok(driver->volume_create(connection, "berth", &v, &failure));
	assert_int_equal(driver->volume_upload(connection, "berth", "v", 0, 0, &source, &e),
	        ERR_UNSUPPORTED);
	assert_int_equal(driver->volume_wipe(connection, "berth", "v", &e), ERR_UNSUPPORTED);
	assert_int_equal(driver->secret_set(connection, id, "iscsi", "hush", &e), ERR_UNSUPPORTED);
	assert_null(strstr(e.message, "hush"));
	assert_ok(driver->secret_remove(connection, id, &failure));
	assert_ok(driver->volume_delete(connection, "berth", "v", &failure));
	assert_ok(driver->pool_remove(connection, "berth", &failure));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, connect_without_events, disconnect)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_pool_and_volume_come_and_go),
	        TEST(test_volume_sizes_are_whole_sectors),
	        TEST(test_a_layer_stands_on_the_one_recorded),
	        TEST(test_network_and_block_pools_are_defined),
	        TEST(test_storage_refusals_have_their_codes),
	        TEST(test_what_the_test_driver_lacks_is_said),
	};
	return cmocka_run_group_tests(tests, start_loop, free_loop);
}
