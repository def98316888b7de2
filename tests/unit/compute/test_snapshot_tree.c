/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots mean for configurations and chains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/field.h"
#include "base/cleanup.h"
#include "compute/snapshot_tree.h"

static json_t *merged(const char *then, const char *now)
{
	char *text = NULL;
	assert_int_equal(snapshot_tree_merge_spec(then, now, &text, NULL), 0);
	json_t *spec = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(spec);
	return spec;
}

static void test_a_revert_brings_the_machine_back_and_keeps_what_describes_the_vm(void **state)
{
	(void)state;
	json_t *spec CLEANUP(cleanup_json) =
	        merged("{\"cpu\":{\"count\":1},\"description\":\"old\",\"labels\":{\"a\":\"1\"},"
	               "\"deletion_protection\":false,\"autostart\":{\"priority\":1}}",
	                "{\"cpu\":{\"count\":4},\"description\":\"new\",\"labels\":{\"b\":\"2\"},"
	                "\"deletion_protection\":true}");
	json_t *wanted CLEANUP(cleanup_json) = json_loads(
	        "{\"cpu\":{\"count\":1},\"description\":\"new\",\"labels\":{\"b\":\"2\"},"
	        "\"deletion_protection\":true}",
	        0, NULL);
	assert_true(json_equal(spec, wanted));
}

static void test_what_is_not_json_is_refused(void **state)
{
	(void)state;
	char *text = NULL;
	struct err e = {0};
	assert_int_equal(snapshot_tree_merge_spec("{", "{}", &text, &e), ERR_INTERNAL);
	assert_null(text);
}

static void test_changes_name_both_values(void **state)
{
	(void)state;
	json_t *changes CLEANUP(cleanup_json) =
	        snapshot_tree_changes("{\"cpu\":{\"count\":4},\"tpm\":true}",
	                "{\"cpu\":{\"count\":1},\"machine\":\"q35\"}");
	json_t *wanted CLEANUP(cleanup_json) =
	        json_loads("{\"/cpu/count\":{\"before\":4,\"after\":1},\"/"
	                   "machine\":{\"before\":null,\"after\":\"q35\"},"
	                   "\"/tpm\":{\"before\":true,\"after\":null}}",
	                0, NULL);
	assert_true(json_equal(changes, wanted));
	json_t *none CLEANUP(cleanup_json) = snapshot_tree_changes("{\"a\":1}", "{\"a\":1}");
	assert_int_equal(json_object_size(none), 0);
}

static void test_the_forecast_goes_on_at_the_pace_of_the_last_snapshots(void **state)
{
	(void)state;
	const int64_t times[] = {0, 1000, 2000, 3000};
	assert_int_equal(snapshot_tree_forecast(times, 4, 5, 3500), 8000);
	assert_int_equal(snapshot_tree_forecast(times, 4, 0, 2000), 3000);
	/* The pace is that of the newest ones: here ten times slower. */
	const int64_t slower[] = {0, 1, 2, 3, 10000, 20000, 30000, 40000, 50000, 60000};
	assert_int_equal(snapshot_tree_forecast(slower, 10, 2, 60000), 80000);
}

static void test_there_is_no_forecast_from_one_snapshot_or_the_past(void **state)
{
	(void)state;
	const int64_t times[] = {1000, 2000};
	assert_int_equal(snapshot_tree_forecast(times, 1, 5, 3000), 0);
	assert_int_equal(snapshot_tree_forecast(times, 0, 5, 3000), 0);
	assert_int_equal(
	        snapshot_tree_forecast(times, 2, 3, 900000), 900000); /* due, but not taken */
	const int64_t same[] = {1000, 1000};
	assert_int_equal(snapshot_tree_forecast(same, 2, 3, 2000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(
	                test_a_revert_brings_the_machine_back_and_keeps_what_describes_the_vm),
	        cmocka_unit_test(test_what_is_not_json_is_refused),
	        cmocka_unit_test(test_changes_name_both_values),
	        cmocka_unit_test(test_the_forecast_goes_on_at_the_pace_of_the_last_snapshots),
	        cmocka_unit_test(test_there_is_no_forecast_from_one_snapshot_or_the_past),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
