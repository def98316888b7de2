/* SPDX-License-Identifier: Apache-2.0 */
/* Pools, volumes and secrets in libvirt's XML: accepted by its schemas, compared, read back, and refused when unsafe. */
#include "hypervisor/storage_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "libvirt_schema.h"

#define SECRET_ID "00000000-0000-4000-8000-000000000001"
#define TARGET    "iqn.2020-01.org.example:disks"
#define INITIATOR "iqn.2020-01.org.berth:h1"

static const char *const one_server[] = {"san.example:3260", NULL};
static const char *const servers[] = {"mon1", "10.0.0.2:6789", "[fd00::1]:6789", "fd00::2", NULL};

/* One of each type, with all that it can have. */
static const struct pool_config pools[] = {
        {.name = "berth-d", .type = "dir", .path = "/var/lib/berth"},
        {.name = "berth-n",
                .type = "netfs",
                .path = "/mnt/n",
                .hosts = one_server,
                .source_dir = "/export"},
        {.name = "berth-c",
                .type = "netfs",
                .path = "/mnt/c",
                .hosts = one_server,
                .source_dir = "share",
                .source_format = "cifs"},
        {.name = "berth-l",
                .type = "logical",
                .path = "/dev/vg0",
                .source_name = "vg0",
                .source_format = "lvm2"},
        {.name = "berth-i",
                .type = "iscsi",
                .hosts = one_server,
                .source_device = TARGET,
                .initiator = INITIATOR,
                .user = "u",
                .secret_id = SECRET_ID},
        {.name = "berth-s",
                .type = "iscsi-direct",
                .hosts = one_server,
                .source_device = TARGET,
                .initiator = INITIATOR,
                .user = "u",
                .secret_id = SECRET_ID},
        {.name = "berth-r",
                .type = "rbd",
                .hosts = servers,
                .source_name = "vm",
                .user = "libvirt",
                .secret_id = SECRET_ID},
        {.name = "berth-g",
                .type = "gluster",
                .hosts = one_server,
                .source_name = "vol",
                .source_dir = "/sub"},
        {.name = "berth-z", .type = "zfs", .path = "/dev/zvol/tank", .source_name = "tank"},
};

static void test_pools_of_every_type_validate_and_equal_themselves(void **state)
{
	(void)state;
	xmlRelaxNGPtr schema = libvirt_schema_load(SCHEMA_DIR "storagepool.rng");
	for (size_t i = 0; i < ARRAY_LEN(pools); i++) {
		char *xml CLEANUP(cleanup_free) = NULL;
		char type[16];
		assert_int_equal(storage_xml_build_pool(&pools[i], &xml, NULL), 0);
		assert_true(libvirt_schema_accepts(schema, xml));
		assert_int_equal(storage_xml_compare_pool(xml, &pools[i], NULL), 0);
		storage_xml_parse_pool_type(xml, type);
		assert_string_equal(type, pools[i].type);
	}
	xmlRelaxNGFree(schema);
}

/* The pool changed in one member is another one, and the message shows both values. */
static void assert_differs(
        const struct pool_config *there, const struct pool_config *wanted, const char *what)
{
	struct err e = {0};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(storage_xml_build_pool(there, &xml, NULL), 0);
	assert_int_equal(storage_xml_compare_pool(xml, wanted, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.message, what));
}

static void test_any_other_way_to_storage_is_a_conflict(void **state)
{
	(void)state;
	static const char *const other_server[] = {"san.example:3261", NULL};
	const struct pool_config *san = &pools[5];
	struct pool_config other = *san;
	other.hosts = other_server;
	assert_differs(san, &other, "san.example port 3261");
	other = *san;
	other.source_device = TARGET "2";
	assert_differs(san, &other, TARGET "2");
	other = *san;
	other.initiator = INITIATOR "2";
	assert_differs(san, &other, INITIATOR "2");
	other = *san;
	other.user = other.secret_id = NULL;
	assert_differs(san, &other, "user");
	assert_differs(&other, san, "user");
	other = *san;
	other.type = "iscsi";
	assert_differs(san, &other, "iscsi-direct");
	other = pools[0];
	other.path = "/elsewhere";
	assert_differs(&pools[0], &other, "/var/lib/berth");
	other = pools[1];
	other.source_dir = "/another";
	assert_differs(&pools[1], &other, "/another");
}

/* libvirt's own text of a pool has more in it, and tidier paths. */
static void test_libvirts_additions_are_no_conflict(void **state)
{
	(void)state;
	static const char xml[] =
	        "<pool type='netfs'><name>berth-n</name><uuid>" SECRET_ID "</uuid>"
	        "<capacity unit='bytes'>1</capacity><source><host name='san.example' port='3260'/>"
	        "<dir path='/export'/><format type='nfs'/></source><target><path>/mnt/n</path>"
	        "<permissions><mode>0711</mode><owner>0</owner></permissions></target></pool>";
	struct pool_config config = pools[1];
	config.path = "/mnt//n/";
	config.source_dir = "/export/";
	assert_int_equal(storage_xml_compare_pool(xml, &config, NULL), 0);
	assert_int_equal(storage_xml_compare_pool("<volume/>", &config, NULL), ERR_INVALID);
}

static void test_what_could_pass_for_an_option_is_refused(void **state)
{
	(void)state;
	static const char *const bad_servers[] = {
	        "-oProxyCommand=x", "", "a b", "a:0", "a:65536", "a:x", "[fd00::1", "a/b", "a\nb"};
	struct pool_config config;
	char *xml = NULL;
	for (size_t i = 0; i < ARRAY_LEN(bad_servers); i++) {
		const char *const hosts[] = {bad_servers[i], NULL};
		config = pools[1];
		config.hosts = hosts;
		assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	}
	config = pools[1];
	config.source_dir = "-o suid";
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[3];
	config.source_name = "--config";
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[0];
	config.path = "pool";
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	assert_null(xml);
}

static void test_a_type_takes_what_it_needs_and_nothing_else(void **state)
{
	(void)state;
	struct err e = {0};
	struct pool_config config = pools[5];
	char *xml = NULL;
	config.initiator = NULL;
	assert_int_equal(storage_xml_build_pool(&config, &xml, &e), ERR_INVALID);
	assert_non_null(strstr(e.message, "needs an initiator"));
	config = pools[0];
	config.hosts = one_server;
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[1];
	config.hosts = servers;
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[1];
	config.source_format = "lvm2";
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[6];
	config.secret_id = NULL;
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_INVALID);
	config = pools[0];
	config.type = "disk";
	assert_int_equal(storage_xml_build_pool(&config, &xml, NULL), ERR_UNSUPPORTED);
	assert_null(xml);
}

/* --- volumes --- */

static void test_volumes_validate_and_read_back(void **state)
{
	(void)state;
	static const struct volume_config configs[] = {
	        {.name = "vm-1.root", .format = "qcow2", .size_bytes = 4097},
	        {.name = "vm-1.root", .format = "raw", .size_bytes = 4097, .preallocate = true},
	        {.name = "top",
	                .format = "qcow2",
	                .size_bytes = 8192,
	                .backing_path = "/p/base",
	                .backing_format = "raw"},
	};
	xmlRelaxNGPtr schema = libvirt_schema_load(SCHEMA_DIR "storagevol.rng");
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		char *xml CLEANUP(cleanup_free) = NULL;
		struct volume_info info CLEANUP(volume_info_done) = {0};
		assert_int_equal(storage_xml_build_volume("dir", &configs[i], &xml, NULL), 0);
		assert_true(libvirt_schema_accepts(schema, xml));
		assert_non_null(strstr(xml, "<capacity unit=\"bytes\">8192<"));
		assert_non_null(strstr(xml, "<mode>0600<"));
		assert_int_equal(strstr(xml, "<allocation unit=\"bytes\">8192<") != NULL,
		        configs[i].preallocate);
		storage_xml_parse_volume(xml, &info);
		assert_string_equal(info.format, configs[i].format);
		assert_int_equal(info.backing_path != NULL, configs[i].backing_path != NULL);
	}
	xmlRelaxNGFree(schema);
}

/* libvirt would make a thin one as a snapshot of nothing, which fills up. */
static void test_a_logical_volume_takes_all_its_space(void **state)
{
	(void)state;
	char *xml CLEANUP(cleanup_free) = NULL;
	struct volume_config config = {.name = "v", .format = "raw", .size_bytes = 8192};
	assert_int_equal(storage_xml_build_volume("logical", &config, &xml, NULL), 0);
	assert_non_null(strstr(xml, "<allocation unit=\"bytes\">8192<"));
}

static void test_sizes_round_up_to_whole_sectors(void **state)
{
	(void)state;
	assert_int_equal(storage_round_up(0), 0);
	assert_int_equal(storage_round_up(1), 4096);
	assert_int_equal(storage_round_up(4096), 4096);
	assert_int_equal(storage_round_up(INT64_MAX), INT64_MAX);
}

static int try_volume(const char *type, const char *name, const char *format, int64_t size_bytes)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	struct volume_config config = {.name = name, .format = format, .size_bytes = size_bytes};
	return storage_xml_build_volume(type, &config, &xml, NULL);
}

static void test_unsafe_names_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "../a", "a/b", ".hidden", "-option", "a\nb", "\xff"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct pool_config pool = pools[0];
		char *xml = NULL;
		pool.name = bad[i];
		assert_int_equal(try_volume("dir", bad[i], "raw", 4096), ERR_INVALID);
		assert_int_equal(storage_xml_build_pool(&pool, &xml, NULL), ERR_INVALID);
		assert_null(xml);
	}
}

static void test_impossible_volumes_are_refused(void **state)
{
	(void)state;
	char *xml = NULL;
	struct volume_config config = {.name = "a",
	        .format = "raw",
	        .size_bytes = 4096,
	        .backing_path = "/p/b",
	        .backing_format = "raw"};
	assert_int_equal(try_volume("dir", "a", "vmdk", 4096), ERR_INVALID);
	assert_int_equal(try_volume("dir", "a", NULL, 4096), ERR_INVALID);
	assert_int_equal(try_volume("dir", "a", "raw", -1), ERR_INVALID);
	assert_int_equal(try_volume("rbd", "a", "qcow2", 4096), ERR_UNSUPPORTED);
	assert_int_equal(try_volume("iscsi-direct", "a", "raw", 4096), ERR_UNSUPPORTED);
	assert_int_equal(storage_xml_build_volume("dir", &config, &xml, NULL), ERR_INVALID);
	config.format = "qcow2";
	config.backing_format = NULL;
	assert_int_equal(storage_xml_build_volume("dir", &config, &xml, NULL), ERR_INVALID);
	config.backing_format = "qcow2";
	config.backing_path = "b";
	assert_int_equal(storage_xml_build_volume("dir", &config, &xml, NULL), ERR_INVALID);
	assert_null(xml);
}

static void test_odd_answers_read_as_nothing(void **state)
{
	(void)state;
	struct volume_info info = {0};
	char type[16] = "x";
	storage_xml_parse_volume("<volume/>", &info);
	assert_string_equal(info.format, "");
	assert_null(info.backing_path);
	storage_xml_parse_volume("nonsense", &info);
	assert_string_equal(info.format, "");
	storage_xml_parse_pool_type("<volume/>", type);
	assert_string_equal(type, "");
}

/* --- secrets --- */

static void test_secrets_validate_and_are_private_and_kept(void **state)
{
	(void)state;
	static const char *const usages[] = {"ceph", "iscsi"};
	xmlRelaxNGPtr schema = libvirt_schema_load(SCHEMA_DIR "secret.rng");
	for (size_t i = 0; i < ARRAY_LEN(usages); i++) {
		char *xml CLEANUP(cleanup_free) = NULL;
		assert_int_equal(storage_xml_build_secret(SECRET_ID, usages[i], &xml, NULL), 0);
		assert_true(libvirt_schema_accepts(schema, xml));
		assert_non_null(strstr(xml, "ephemeral=\"no\""));
		assert_non_null(strstr(xml, "private=\"yes\""));
	}
	xmlRelaxNGFree(schema);
	char *xml = NULL;
	assert_int_equal(storage_xml_build_secret(SECRET_ID, "tls", &xml, NULL), ERR_INVALID);
	assert_int_equal(storage_xml_build_secret("x", "ceph", &xml, NULL), ERR_INVALID);
	assert_null(xml);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pools_of_every_type_validate_and_equal_themselves),
	        cmocka_unit_test(test_any_other_way_to_storage_is_a_conflict),
	        cmocka_unit_test(test_libvirts_additions_are_no_conflict),
	        cmocka_unit_test(test_what_could_pass_for_an_option_is_refused),
	        cmocka_unit_test(test_a_type_takes_what_it_needs_and_nothing_else),
	        cmocka_unit_test(test_volumes_validate_and_read_back),
	        cmocka_unit_test(test_a_logical_volume_takes_all_its_space),
	        cmocka_unit_test(test_sizes_round_up_to_whole_sectors),
	        cmocka_unit_test(test_unsafe_names_are_refused),
	        cmocka_unit_test(test_impossible_volumes_are_refused),
	        cmocka_unit_test(test_odd_answers_read_as_nothing),
	        cmocka_unit_test(test_secrets_validate_and_are_private_and_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
