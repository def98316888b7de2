/* SPDX-License-Identifier: Apache-2.0 */
/* How files differ from their layers, and when the warning of a filling pool holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_drift.h"
#include "storage/pool_monitor_store.h"

#define GIB ((int64_t)1 << 30)

static char id_a[] = "6f0b8f52-0000-4000-8000-00000000000a";

static struct drift_layer layer_of(const char *format, char *backing_path)
{
	static char file[] = "a.img", none[] = "";
	struct drift_layer layer = {.file = file,
	        .drift = none,
	        .backing_path = backing_path,
	        .checks_backing = true,
	        .size_bytes = GIB,
	        .allocation_bytes = 4096};
	memcpy(layer.id, id_a, sizeof(id_a));
	strcpy(layer.format, format);
	return layer;
}

static struct volume_info found_of(const char *format, int64_t capacity, char *backing_path)
{
	static char name[] = "a.img", path[] = "/p/a.img";
	struct volume_info info = {.name = name,
	        .path = path,
	        .backing_path = backing_path,
	        .capacity_bytes = capacity,
	        .allocation_bytes = 4096};
	strcpy(info.format, format);
	return info;
}

static void assert_drift(const char *kind, const struct drift_layer *layer,
        const struct volume_info *found, const char *words)
{
	char *drift CLEANUP(cleanup_free) = pool_drift_compare(layer, pool_kind_find(kind), found);
	if (!words)
		assert_string_equal(drift, "");
	else if (!strstr(drift, words))
		fail_msg("\"%s\" does not say \"%s\"", drift, words);
}

static void test_file_as_recorded_has_no_drift(void **state)
{
	(void)state;
	char below[] = "/p/base.qcow2";
	struct drift_layer raw = layer_of("raw", NULL), qcow2 = layer_of("qcow2", below);
	struct volume_info as_raw = found_of("raw", GIB, NULL);
	struct volume_info as_qcow2 = found_of("qcow2", GIB, below);
	assert_drift("dir", &raw, &as_raw, NULL);
	assert_drift("dir", &qcow2, &as_qcow2, NULL);
}

static void test_missing_file_is_drift(void **state)
{
	(void)state;
	struct drift_layer layer = layer_of("raw", NULL);
	assert_drift("dir", &layer, NULL, "a.img is not there");
}

static void test_guests_header_in_a_raw_layer_is_no_drift(void **state)
{
	(void)state;
	char evil[] = "/etc/shadow";
	struct drift_layer layer = layer_of("raw", NULL);
	struct volume_info found = found_of("qcow2", 7, evil);
	assert_drift("dir", &layer, &found, NULL);
}

static void test_raw_size_counts_and_block_devices_may_be_larger(void **state)
{
	(void)state;
	struct drift_layer layer = layer_of("raw", NULL);
	struct volume_info larger = found_of("raw", GIB + 4194304, NULL);
	struct volume_info smaller = found_of("raw", GIB - 512, NULL);
	assert_drift("dir", &layer, &larger, "not 1073741824");
	assert_drift("logical", &layer, &larger, NULL);
	assert_drift("logical", &layer, &smaller, "not 1073741824");
}

static void test_qcow2_header_must_say_what_is_recorded(void **state)
{
	(void)state;
	char below[] = "/p/base.qcow2", other[] = "/p/other.qcow2";
	struct drift_layer layer = layer_of("qcow2", below);
	struct volume_info format = found_of("raw", GIB, NULL);
	struct volume_info size = found_of("qcow2", 2 * GIB, below);
	struct volume_info backing = found_of("qcow2", GIB, other);
	struct volume_info alone = found_of("qcow2", GIB, NULL);
	assert_drift("dir", &layer, &format, "is raw, not qcow2");
	assert_drift("dir", &layer, &size, "2147483648 bytes, not 1073741824");
	assert_drift("dir", &layer, &backing, "on /p/other.qcow2, not on /p/base.qcow2");
	assert_drift("dir", &layer, &alone, "on nothing, not on /p/base.qcow2");
	layer.checks_backing = false;
	assert_drift("gluster", &layer, &backing, NULL);
}

static void judge(struct drift_layer *layer, struct volume_info *found, size_t n_found,
        struct drift_verdicts *ret)
{
	const struct drift_layers layers = {.items = layer, .len = 1};
	const struct volume_info_list list = {.items = found, .len = n_found};
	pool_drift_judge(&layers, pool_kind_find("dir"), &list, ret);
}

static void test_only_news_are_judged(void **state)
{
	(void)state;
	struct drift_layer layer = layer_of("raw", NULL);
	struct volume_info found = found_of("raw", GIB, NULL);
	struct drift_verdicts verdicts CLEANUP(drift_verdicts_done) = {0};
	judge(&layer, &found, 1, &verdicts);
	assert_int_equal(verdicts.len, 0);
	found.allocation_bytes = 8192;
	judge(&layer, &found, 1, &verdicts);
	assert_int_equal(verdicts.len, 1);
	assert_int_equal(verdicts.items[0].allocation_bytes, 8192);
	assert_false(verdicts.items[0].is_new);
}

static void test_volume_is_found_by_the_end_of_its_path(void **state)
{
	(void)state;
	char name[] = "unit:0:0:1", path[] = "/dev/disk/by-path/a.img";
	struct drift_layer layer = layer_of("raw", NULL);
	struct volume_info found = found_of("raw", GIB, NULL);
	struct drift_verdicts verdicts CLEANUP(drift_verdicts_done) = {0};
	found.name = name;
	found.path = path;
	judge(&layer, &found, 1, &verdicts);
	assert_int_equal(verdicts.len, 0);
}

static void test_new_drift_is_believed_when_seen_twice(void **state)
{
	(void)state;
	struct drift_layer layer = layer_of("raw", NULL);
	struct drift_verdicts none = {0};
	struct drift_verdicts first CLEANUP(drift_verdicts_done) = {0};
	struct drift_verdicts recorded CLEANUP(drift_verdicts_done) = {0};
	struct drift_verdicts again CLEANUP(drift_verdicts_done) = {0};
	judge(&layer, NULL, 0, &first);
	assert_int_equal(pool_drift_confirm(&first, &none, &recorded), 1);
	assert_int_equal(recorded.len, 0);
	judge(&layer, NULL, 0, &again);
	assert_int_equal(pool_drift_confirm(&again, &first, &recorded), 0);
	assert_int_equal(recorded.len, 1);
	assert_non_null(strstr(recorded.items[0].drift, "not there"));
}

static void test_recovery_is_believed_at_once(void **state)
{
	(void)state;
	char drift[] = "file a.img is not there";
	struct drift_layer layer = layer_of("raw", NULL);
	struct volume_info found = found_of("raw", GIB, NULL);
	struct drift_verdicts none = {0};
	struct drift_verdicts verdicts CLEANUP(drift_verdicts_done) = {0};
	struct drift_verdicts recorded CLEANUP(drift_verdicts_done) = {0};
	layer.drift = drift;
	judge(&layer, &found, 1, &verdicts);
	assert_int_equal(pool_drift_confirm(&verdicts, &none, &recorded), 0);
	assert_int_equal(recorded.len, 1);
	assert_string_equal(recorded.items[0].drift, "");
}

static void test_filling_warns_once_until_five_points_below(void **state)
{
	(void)state;
	assert_false(pool_is_filling(false, 84, 100, 85));
	assert_true(pool_is_filling(false, 85, 100, 85));
	assert_true(pool_is_filling(true, 81, 100, 85));
	assert_true(pool_is_filling(true, 80, 100, 85));
	assert_false(pool_is_filling(true, 79, 100, 85));
	assert_false(pool_is_filling(false, 0, 0, 85));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_file_as_recorded_has_no_drift),
	        cmocka_unit_test(test_missing_file_is_drift),
	        cmocka_unit_test(test_guests_header_in_a_raw_layer_is_no_drift),
	        cmocka_unit_test(test_raw_size_counts_and_block_devices_may_be_larger),
	        cmocka_unit_test(test_qcow2_header_must_say_what_is_recorded),
	        cmocka_unit_test(test_only_news_are_judged),
	        cmocka_unit_test(test_volume_is_found_by_the_end_of_its_path),
	        cmocka_unit_test(test_new_drift_is_believed_when_seen_twice),
	        cmocka_unit_test(test_recovery_is_believed_at_once),
	        cmocka_unit_test(test_filling_warns_once_until_five_points_below),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
