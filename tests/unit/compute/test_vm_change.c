/* SPDX-License-Identifier: Apache-2.0 */
/* Which changes are live, which wait, which are only recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "compute/vm_change.h"

static const char before[] = "{\"cpu\":{\"count\":2,\"max\":4},\"memory\":{\"size_bytes\":"
                             "1073741824},\"boot\":{\"firmware\":\"bios\"},"
                             "\"disks\":{\"cd\":{\"kind\":\"cdrom\"},\"root\":{\"size_bytes\":"
                             "1048576}},\"nics\":{\"n\":{"
                             "\"mac\":\"52:54:00:00:00:01\"}}}";

/* The stored form has all defaults: what is compared is compared after a decode and an encode. */
static char *stored(const char *text)
{
	struct vm_spec spec = {0};
	struct err e = {0};
	if (vm_spec_load(text, &spec, &e) < 0)
		fail_msg("%s", e.message);
	char *canonical = vm_spec_store(&spec);
	vm_spec_done(&spec);
	return canonical;
}

/* Judges the one difference that a merge patch makes to a guest that runs with `running`. */
static struct vm_change judge_of(const char *running, const char *patch_text)
{
	char *text = stored(running);
	struct vm_spec active = {0};
	assert_int_equal(vm_spec_load(text, &active, NULL), 0);
	json_t *old = json_loads(text, 0, NULL), *patch = json_loads(patch_text, 0, NULL);
	json_t *wanted = field_merge_patch(old, patch);
	struct field_changes changes = {0};
	field_diff(old, wanted, &changes);
	assert_int_equal(changes.len, 1);
	struct vm_change change = vm_change_judge(&active, &changes.items[0]);
	field_changes_done(&changes);
	json_decref(old);
	json_decref(patch);
	json_decref(wanted);
	vm_spec_done(&active);
	free(text);
	return change;
}

static struct vm_change judge(const char *patch_text)
{
	return judge_of(before, patch_text);
}

static void test_labels_and_policies_are_only_recorded(void **state)
{
	(void)state;
	assert_int_equal(judge("{\"labels\":{\"a\":\"b\"}}").kind, CHANGE_RECORD);
	assert_int_equal(judge("{\"description\":\"x\"}").kind, CHANGE_RECORD);
	assert_int_equal(
	        judge("{\"restart_policy\":{\"on_crash\":\"stay_off\"}}").kind, CHANGE_RECORD);
	assert_int_equal(judge("{\"deletion_protection\":true}").kind, CHANGE_RECORD);
	assert_int_equal(judge("{\"disks\":{\"root\":{\"backup\":false}}}").kind, CHANGE_RECORD);
}

static void test_cpu_grows_live_up_to_its_max_and_shrinks_by_restart(void **state)
{
	(void)state;
	assert_int_equal(judge("{\"cpu\":{\"count\":4}}").kind, CHANGE_LIVE);
	assert_int_equal(judge("{\"cpu\":{\"count\":4}}").action, LIVE_CPU_COUNT);
	assert_int_equal(judge("{\"cpu\":{\"count\":5}}").kind, CHANGE_RESTART);
	assert_int_equal(judge("{\"cpu\":{\"count\":1}}").kind, CHANGE_RESTART);
	assert_int_equal(judge("{\"cpu\":{\"max\":8}}").kind, CHANGE_RESTART);
	assert_int_equal(judge("{\"cpu\":{\"shares\":512}}").action, LIVE_CPU_TUNE);
	assert_int_equal(judge("{\"cpu\":{\"pinning\":\"dedicated\"}}").action, LIVE_CPU_PINS);
	assert_int_equal(judge("{\"memory\":{\"hugepages\":true}}").kind, CHANGE_RESTART);
}

static void test_memory_shrinks_live_by_the_balloon_and_grows_by_restart(void **state)
{
	(void)state;
	assert_int_equal(judge("{\"memory\":{\"size_bytes\":536870912}}").action, LIVE_MEMORY);
	assert_int_equal(judge("{\"memory\":{\"size_bytes\":2147483648}}").kind, CHANGE_RESTART);
}

/* 256 MiB of at most 512. */
#define GROWS(architecture, more)                                                                  \
	"{\"architecture\":\"" architecture "\",\"memory\":{\"size_bytes\":268435456,"             \
	"\"max_bytes\":536870912" more "}}"
#define SIZE(bytes) "{\"memory\":{\"size_bytes\":" #bytes "}}"

static void test_memory_grows_live_by_whole_steps_up_to_its_max(void **state)
{
	(void)state;
	static const char grows[] = GROWS("x86_64", "");
	struct vm_change change = judge_of(grows, SIZE(402653184));
	assert_int_equal(change.kind, CHANGE_LIVE);
	assert_int_equal(change.action, LIVE_MEMORY_GROW);
	assert_string_equal(change.device, "");
	assert_int_equal(judge_of(grows, SIZE(536870912)).action, LIVE_MEMORY_GROW);
	assert_int_equal(judge_of(grows, SIZE(403701760)).kind, CHANGE_RESTART); /* 129 MiB more */
	assert_int_equal(
	        judge_of(grows, SIZE(671088640)).kind, CHANGE_RESTART); /* beyond its max */
	assert_int_equal(judge_of(grows, SIZE(134217728)).action, LIVE_MEMORY);
	assert_int_equal(
	        judge_of(grows, "{\"memory\":{\"max_bytes\":1073741824}}").kind, CHANGE_RESTART);
	assert_int_equal(judge_of(GROWS("aarch64", ""), SIZE(402653184)).kind, CHANGE_RESTART);
	assert_int_equal(judge_of(GROWS("x86_64", ",\"hugepages\":true"), SIZE(402653184)).kind,
	        CHANGE_RESTART);
}

static void test_only_guests_that_can_grow_get_slots_for_it(void **state)
{
	(void)state;
	const struct {
		const char *architecture;
		int64_t size_mib, max_mib, ceiling_mib;
		bool hugepages;
	} cases[] = {
	        {"x86_64", 256, 0, 256, false},
	        {"x86_64", 256, 256, 256, false},
	        {"x86_64", 256, 383, 256, false}, /* less than one step */
	        {"x86_64", 256, 384, 384, false},
	        {"x86_64", 256, 512, 256, true},
	        {"aarch64", 256, 512, 256, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct vm_spec spec = {
		        .architecture = (char *)cases[i].architecture,
		        .memory = {.size_bytes = cases[i].size_mib << 20,
		                .max_bytes = cases[i].max_mib << 20,
		                .has_max = cases[i].max_mib > 0,
		                .hugepages = cases[i].hugepages},
		};
		assert_int_equal(vm_spec_memory_ceiling(&spec), cases[i].ceiling_mib << 20);
	}
}

static void test_whole_devices_are_plugged_and_their_details_wait(void **state)
{
	(void)state;
	struct vm_change added = judge("{\"disks\":{\"data\":{\"size_bytes\":1048576}}}");
	assert_int_equal(added.action, LIVE_DISK_ADD);
	assert_string_equal(added.device, "data");
	assert_int_equal(judge("{\"nics\":{\"n\":null}}").action, LIVE_NIC_REMOVE);
	assert_int_equal(judge("{\"nics\":{\"n\":{\"model\":\"e1000\"}}}").kind, CHANGE_RESTART);
	assert_int_equal(judge("{\"boot\":{\"firmware\":\"uefi\"}}").kind, CHANGE_RESTART);
}

static void test_limits_and_media_change_live_and_other_details_of_a_disk_wait(void **state)
{
	(void)state;
	struct vm_change limit = judge("{\"disks\":{\"root\":{\"iops_limit\":100}}}");
	assert_int_equal(limit.action, LIVE_DISK_LIMITS);
	assert_string_equal(limit.device, "root");
	struct vm_change media = judge("{\"disks\":{\"cd\":{\"volume\":\"debian\"}}}");
	assert_int_equal(media.action, LIVE_MEDIA);
	assert_string_equal(media.device, "cd");
	assert_int_equal(judge("{\"disks\":{\"root\":{\"volume\":\"x\"}}}").kind, CHANGE_RESTART);
	assert_int_equal(
	        judge("{\"disks\":{\"root\":{\"cache\":\"writeback\"}}}").kind, CHANGE_RESTART);
	assert_int_equal(judge("{\"cloud_init\":{\"hostname\":\"x\"}}").kind, CHANGE_RESTART);
}

static void test_pending_names_what_waits_with_the_wanted_value(void **state)
{
	(void)state;
	char *active = stored(before);
	char *wanted = stored(
	        "{\"cpu\":{\"count\":2,\"max\":4},\"memory\":{\"size_bytes\":1073741824},"
	        "\"boot\":{\"firmware\":\"uefi\"},\"description\":\"new\","
	        "\"disks\":{\"cd\":{\"kind\":\"cdrom\"},\"root\":{\"size_bytes\":1048576}}}");
	char *pending = vm_change_pending(active, wanted);
	assert_string_equal(pending, "{\"/boot/firmware\":\"uefi\",\"/nics/n\":null}");
	free(pending);
	pending = vm_change_pending(NULL, wanted);
	assert_string_equal(pending, "{}");
	assert_true(vm_change_needs_host(active, wanted));
	assert_false(vm_change_needs_host(active, active));
	free(pending);
	free(active);
	free(wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_labels_and_policies_are_only_recorded),
	        cmocka_unit_test(test_cpu_grows_live_up_to_its_max_and_shrinks_by_restart),
	        cmocka_unit_test(test_memory_shrinks_live_by_the_balloon_and_grows_by_restart),
	        cmocka_unit_test(test_memory_grows_live_by_whole_steps_up_to_its_max),
	        cmocka_unit_test(test_only_guests_that_can_grow_get_slots_for_it),
	        cmocka_unit_test(test_whole_devices_are_plugged_and_their_details_wait),
	        cmocka_unit_test(
	                test_limits_and_media_change_live_and_other_details_of_a_disk_wait),
	        cmocka_unit_test(test_pending_names_what_waits_with_the_wanted_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
