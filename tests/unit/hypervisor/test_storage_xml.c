/* SPDX-License-Identifier: Apache-2.0 */
/* Pools and volumes in libvirt's XML: accepted by its schemas, read back, and refused when unsafe. */
#include "hypervisor/storage_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "libvirt_schema.h"

static void test_pool_validates_and_reads_back(void **state)
{
	(void)state;
	xmlRelaxNGPtr schema = libvirt_schema_load(SCHEMA_DIR "storagepool.rng");
	char *xml CLEANUP(cleanup_free) = NULL;
	char *path CLEANUP(cleanup_free) = NULL;
	assert_int_equal(storage_xml_build_pool("berth", "/var/lib/berth", &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(schema, xml));
	assert_int_equal(storage_xml_parse_pool_path(xml, &path, NULL), 0);
	assert_string_equal(path, "/var/lib/berth");
	xmlRelaxNGFree(schema);
}

static void test_volumes_validate_and_read_back(void **state)
{
	(void)state;
	static const char *const formats[] = {"qcow2", "raw"};
	xmlRelaxNGPtr schema = libvirt_schema_load(SCHEMA_DIR "storagevol.rng");
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		char *xml CLEANUP(cleanup_free) = NULL;
		char format[16];
		assert_int_equal(
		        storage_xml_build_volume("vm-1.root", formats[i], 4097, &xml, NULL), 0);
		assert_true(libvirt_schema_accepts(schema, xml));
		assert_non_null(strstr(xml, ">8192<"));
		storage_xml_parse_volume_format(xml, format);
		assert_string_equal(format, formats[i]);
	}
	xmlRelaxNGFree(schema);
}

static void test_sizes_round_up_to_whole_sectors(void **state)
{
	(void)state;
	assert_int_equal(storage_round_up(0), 0);
	assert_int_equal(storage_round_up(1), 4096);
	assert_int_equal(storage_round_up(4096), 4096);
	assert_int_equal(storage_round_up(INT64_MAX), INT64_MAX);
}

static void test_unsafe_names_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "../a", "a/b", ".hidden", "-option", "a\nb", "\xff"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *xml = NULL;
		assert_int_equal(
		        storage_xml_build_volume(bad[i], "raw", 4096, &xml, NULL), ERR_INVALID);
		assert_int_equal(storage_xml_build_pool(bad[i], "/p", &xml, NULL), ERR_INVALID);
		assert_null(xml);
	}
}

static void test_unknown_formats_and_relative_paths_are_refused(void **state)
{
	(void)state;
	char *xml = NULL;
	assert_int_equal(storage_xml_build_volume("a", "vmdk", 4096, &xml, NULL), ERR_INVALID);
	assert_int_equal(storage_xml_build_volume("a", NULL, 4096, &xml, NULL), ERR_INVALID);
	assert_int_equal(storage_xml_build_volume("a", "raw", -1, &xml, NULL), ERR_INVALID);
	assert_int_equal(storage_xml_build_pool("a", "pool", &xml, NULL), ERR_INVALID);
}

static void test_odd_answers_read_as_nothing(void **state)
{
	(void)state;
	char format[16] = "x";
	char *path = NULL;
	storage_xml_parse_volume_format("<volume/>", format);
	assert_string_equal(format, "");
	storage_xml_parse_volume_format("nonsense", format);
	assert_string_equal(format, "");
	assert_int_equal(storage_xml_parse_pool_path("<volume/>", &path, NULL), ERR_INVALID);
	assert_int_equal(storage_xml_parse_pool_path("<pool type='iscsi'/>", &path, NULL), 0);
	assert_null(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pool_validates_and_reads_back),
	        cmocka_unit_test(test_volumes_validate_and_read_back),
	        cmocka_unit_test(test_sizes_round_up_to_whole_sectors),
	        cmocka_unit_test(test_unsafe_names_are_refused),
	        cmocka_unit_test(test_unknown_formats_and_relative_paths_are_refused),
	        cmocka_unit_test(test_odd_answers_read_as_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
