/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted driver's storage: pools, volumes that outlive them, streams, secrets, and what several hosts share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"
#include "hypervisor/transfer.h"

#define HOST "test"

struct fixture {
	struct driver_connection *c;
	struct err e;
};

static const struct driver *const driver = &driver_fake;

static int setup(void **state)
{
	static struct fixture f;
	f = (struct fixture){0};
	fake_enable();
	*state = &f;
	return driver->open("fake:///" HOST, NULL, NULL, &f.c, &f.e);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	driver->close(f->c);
	fake_reset();
	return 0;
}

static const struct pool_config directory = {.name = "p", .type = "dir", .path = "/srv/p"};

static struct volume_config sized(const char *name, int64_t size_bytes)
{
	return (struct volume_config){.name = name, .format = "qcow2", .size_bytes = size_bytes};
}

static void test_pools_and_volumes(void **state)
{
	struct fixture *f = *state;
	struct volume_info volume = {0};
	struct volume_info_list list = {0};
	struct pool_info pool = {0};
	struct pool_config elsewhere = directory;
	struct volume_config small = sized("v", 4096), large = sized("v", 8192);
	small.backing_path = "/srv/p/base";
	small.backing_format = "raw";
	elsewhere.path = "/srv/other";
	assert_int_equal(driver->volume_create(f->c, "p", &small, &f->e), ERR_NOT_FOUND);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->pool_ensure(f->c, &directory, &f->e), 0);
	assert_int_equal(driver->pool_ensure(f->c, &elsewhere, &f->e), ERR_CONFLICT);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->volume_create(f->c, "p", &small, &f->e), 0);
	assert_int_equal(driver->volume_create(f->c, "p", &large, &f->e), ERR_EXISTS);
	assert_int_equal(driver->volume_get(f->c, "p", "v", &volume, &f->e), 0);
	assert_string_equal(volume.path, "/srv/p/v");
	assert_string_equal(volume.format, "qcow2");
	assert_string_equal(volume.backing_path, "/srv/p/base");
	volume_info_done(&volume);
	assert_int_equal(driver->volume_list(f->c, "p", &list, &f->e), 0);
	assert_int_equal(list.len, 1);
	assert_string_equal(list.items[0].name, "v");
	volume_info_list_done(&list);
	assert_int_equal(driver->pool_info(f->c, "p", &pool, &f->e), 0);
	assert_int_equal(pool.capacity_bytes, pool.allocation_bytes + pool.available_bytes);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->pool_remove(f->c, "p", &f->e), 0);
	assert_int_equal(driver->pool_ensure(f->c, &directory, &f->e), 0);
	assert_int_equal(driver->volume_get(f->c, "p", "v", &volume, &f->e), 0); /* stayed */
	volume_info_done(&volume);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->volume_delete(f->c, "p", "v", &f->e), 0);
	assert_int_equal(driver->volume_get(f->c, "p", "v", &volume, &f->e), ERR_NOT_FOUND);
}

/* A stream's far end: so many bytes of a pattern, or what was received. */
struct bytes {
	unsigned char data[200000];
	size_t len, at;
	int fail_at; /* ERR_CANCELLED when that many bytes went through; 0: never */
};

static int64_t read_bytes(void *arg, void *buffer, size_t n, struct err *e)
{
	struct bytes *b = arg;
	if (b->fail_at > 0 && b->at >= (size_t)b->fail_at)
		return err_set(e, ERR_CANCELLED, "cancelled");
	size_t take = n < b->len - b->at ? n : b->len - b->at;
	memcpy(buffer, b->data + b->at, take);
	b->at += take;
	return (int64_t)take;
}

static int write_bytes(void *arg, const void *bytes, size_t n, struct err *e)
{
	struct bytes *b = arg;
	if (b->len + n > sizeof(b->data))
		return err_set(e, ERR_TOO_LARGE, "more than expected");
	memcpy(b->data + b->len, bytes, n);
	b->len += n;
	return 0;
}

static void make_raw(struct fixture *f, int64_t size_bytes)
{
	struct volume_config config = {.name = "v", .format = "raw", .size_bytes = size_bytes};
	assert_int_equal(driver->pool_ensure(f->c, &directory, &f->e), 0);
	assert_int_equal(driver->volume_create(f->c, "p", &config, &f->e), 0);
}

static void test_transfers_keep_bytes_on_a_connection_of_their_own(void **state)
{
	struct fixture *f = *state;
	static struct bytes out, in;
	out = in = (struct bytes){0};
	out.len = sizeof(out.data);
	for (size_t i = 0; i < out.len; i++)
		out.data[i] = (unsigned char)(i * 7 + i / 251);
	make_raw(f, 1 << 20);
	struct transfer transfer = {
	        .uri = "fake:///" HOST, .pool = "p", .volume = "v", .offset = 4096};
	struct volume_source source = {read_bytes, &out};
	struct volume_sink sink = {write_bytes, &in};
	assert_int_equal(transfer_upload(&transfer, &source, &f->e), 0);
	transfer.length = (int64_t)out.len;
	assert_int_equal(transfer_download(&transfer, &sink, &f->e), 0);
	assert_int_equal(in.len, out.len);
	assert_memory_equal(in.data, out.data, out.len);
	struct fake_host_stats stats;
	fake_host_get_stats(HOST, &stats);
	assert_int_equal(stats.connections, 1); /* the fixture's */
}

static void test_short_cancelled_and_overfull_uploads_fail(void **state)
{
	struct fixture *f = *state;
	static struct bytes out;
	out = (struct bytes){.len = sizeof(out.data)};
	struct volume_source source = {read_bytes, &out};
	make_raw(f, 1 << 20);
	int64_t longer = (int64_t)out.len + 1;
	assert_int_equal(driver->volume_upload(f->c, "p", "v", 0, longer, &source, &f->e),
	        ERR_UNPROCESSABLE);
	out.at = 0;
	out.fail_at = 100000;
	assert_int_equal(
	        driver->volume_upload(f->c, "p", "v", 0, 0, &source, &f->e), ERR_CANCELLED);
	out.at = 0;
	out.fail_at = 0;
	fake_pool_set_capacity(HOST, "p", 150000);
	assert_int_equal(
	        driver->volume_upload(f->c, "p", "v", 65536, 0, &source, &f->e), ERR_DISK_FULL);
	assert_int_equal(
	        driver->volume_upload(f->c, "p", "none", 0, 0, &source, &f->e), ERR_NOT_FOUND);
}

static void test_a_failing_pool_leaves_another_usable(void **state)
{
	struct fixture *f = *state;
	struct pool_config other = {.name = "q", .type = "dir", .path = "/srv/q"};
	struct pool_info info;
	assert_int_equal(driver->pool_ensure(f->c, &directory, &f->e), 0);
	assert_int_equal(driver->pool_ensure(f->c, &other, &f->e), 0);
	fake_script_set(HOST, "*", "p",
	        &(struct fake_behaviour){.error_code = ERR_HOST_PERMISSION, .message = "denied"});
	assert_int_equal(driver->pool_info(f->c, "p", &info, &f->e), ERR_HOST_PERMISSION);
	assert_int_equal(driver->pool_info(f->c, "q", &info, &f->e), 0);
}

static void test_hosts_that_reach_the_same_storage_see_the_same_volumes(void **state)
{
	struct fixture *f = *state;
	static const char *const server[] = {"nas:2049", NULL};
	struct pool_config shared = {.name = "p",
	        .type = "netfs",
	        .path = "/mnt/p",
	        .hosts = server,
	        .source_dir = "/export"};
	struct volume_config volume = sized("v", 4096);
	struct volume_info info = {0};
	struct driver_connection *other = NULL;
	assert_int_equal(driver->open("fake:///elsewhere", NULL, NULL, &other, &f->e), 0);
	assert_int_equal(driver->pool_ensure(f->c, &shared, &f->e), 0);
	assert_int_equal(driver->pool_ensure(other, &shared, &f->e), 0);
	assert_int_equal(driver->volume_create(f->c, "p", &volume, &f->e), 0);
	assert_int_equal(driver->volume_get(other, "p", "v", &info, &f->e), 0);
	volume_info_done(&info);
	struct pool_config local = {.name = "l", .type = "dir", .path = "/srv/l"};
	assert_int_equal(driver->pool_ensure(f->c, &local, &f->e), 0);
	assert_int_equal(driver->pool_ensure(other, &local, &f->e), 0);
	assert_int_equal(driver->volume_create(f->c, "l", &volume, &f->e), 0);
	assert_int_equal(driver->volume_get(other, "l", "v", &info, &f->e), ERR_NOT_FOUND);
	driver->close(other);
}

static void test_a_pool_with_a_secret_needs_it_on_the_host(void **state)
{
	struct fixture *f = *state;
	static const char *const server[] = {"mon1", "mon2", NULL};
	static const char id[] = "00000000-0000-4000-8000-000000000001";
	struct pool_config rbd = {.name = "p",
	        .type = "rbd",
	        .hosts = server,
	        .source_name = "vm",
	        .user = "libvirt",
	        .secret_id = id};
	assert_int_equal(driver->pool_ensure(f->c, &rbd, &f->e), ERR_NOT_FOUND);
	assert_int_equal(driver->secret_set(f->c, id, "ceph", "a2V5", &f->e), 0);
	assert_int_equal(driver->pool_ensure(f->c, &rbd, &f->e), 0);
	char *value CLEANUP(cleanup_free) = fake_secret_get(HOST, id);
	assert_string_equal(value, "a2V5");
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->secret_remove(f->c, id, &f->e), 0);
	assert_null(fake_secret_get(HOST, id));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_pools_and_volumes),
	        TEST(test_transfers_keep_bytes_on_a_connection_of_their_own),
	        TEST(test_short_cancelled_and_overfull_uploads_fail),
	        TEST(test_a_failing_pool_leaves_another_usable),
	        TEST(test_hosts_that_reach_the_same_storage_see_the_same_volumes),
	        TEST(test_a_pool_with_a_secret_needs_it_on_the_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
