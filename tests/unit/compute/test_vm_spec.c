/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a VM's configuration that span members, and its stored form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "compute/vm_spec.h"

static const char *const boot_directories[] = {"/boot/guests", NULL};
static const struct vm_spec_rules rules = {.boot_directories = boot_directories};

/* Decodes a create request and checks it; returns the pointer of the only error, or "" (static
 * buffer). */
static const char *check(const char *members)
{
	static char pointer[160];
	char text[2048];
	snprintf(text, sizeof(text), "{\"name\":\"a\",\"memory\":{\"size_bytes\":134217728}%s%s}",
	        members[0] ? "," : "", members);
	json_error_t where;
	json_t *json = json_loads(text, 0, &where);
	assert_non_null(json);
	struct vm_spec spec = {0};
	struct field_errors errors = {0};
	int rc = field_decode(&vm_write_fields, json, FIELD_DECODE_CREATE, &spec, &errors);
	if (rc == 0)
		rc = vm_spec_check(&spec, &rules, &errors);
	assert_int_equal(rc, errors.len ? ERR_INVALID : 0);
	strcpy(pointer, errors.len ? errors.items[0].pointer : "");
	vm_spec_done(&spec);
	json_decref(json);
	return pointer;
}

static void test_a_minimal_vm_passes(void **state)
{
	(void)state;
	assert_string_equal(check(""), "");
}

static void test_kernels_come_from_the_boot_directories_only(void **state)
{
	(void)state;
	assert_string_equal(
	        check("\"boot\":{\"kernel\":\"/boot/guests/k\",\"initrd\":\"/boot/guests/i\"}"),
	        "");
	assert_string_equal(check("\"boot\":{\"kernel\":\"/etc/shadow\"}"), "/boot/kernel");
	assert_string_equal(check("\"boot\":{\"kernel\":\"/boot/guests-evil/k\"}"), "/boot/kernel");
	assert_string_equal(check("\"boot\":{\"kernel\":\"/boot/guests/../x\"}"), "/boot/kernel");
	assert_string_equal(check("\"boot\":{\"kernel\":\"/boot/guests/..\"}"), "/boot/kernel");
	assert_string_equal(check("\"boot\":{\"initrd\":\"/boot/guests/i\"}"), "/boot/kernel");
}

static void test_disks_need_a_size_or_a_volume(void **state)
{
	(void)state;
	assert_string_equal(check("\"disks\":{\"d\":{\"size_bytes\":1048576}}"), "");
	assert_string_equal(check("\"disks\":{\"d\":{\"volume\":\"v\"}}"), "");
	assert_string_equal(check("\"disks\":{\"d\":{}}"), "/disks/d/size_bytes");
	assert_string_equal(
	        check("\"disks\":{\"d\":{\"size_bytes\":1048577}}"), "/disks/d/size_bytes");
	assert_string_equal(check("\"disks\":{\"c\":{\"kind\":\"cdrom\"}}"), "");
	assert_string_equal(check("\"disks\":{\"c\":{\"kind\":\"cdrom\",\"size_bytes\":1048576}}"),
	        "/disks/c/size_bytes");
	assert_string_equal(check("\"disks\":{\"d\":{\"volume\":\"v\"},\"e\":{\"volume\":\"v\"}}"),
	        "/disks/e/volume");
}

static void test_secure_boot_needs_uefi(void **state)
{
	(void)state;
	assert_string_equal(check("\"boot\":{\"firmware\":\"uefi\",\"secure_boot\":true}"), "");
	assert_string_equal(check("\"boot\":{\"secure_boot\":true}"), "/boot/secure_boot");
}

static void test_boot_order_names_devices_once(void **state)
{
	(void)state;
	assert_string_equal(check("\"nics\":{\"n\":{}},\"boot\":{\"order\":[\"n\"]}"), "");
	assert_string_equal(
	        check("\"nics\":{\"n\":{}},\"boot\":{\"order\":[\"n\",\"n\"]}"), "/boot/order/1");
	assert_string_equal(check("\"boot\":{\"order\":[\"n\"]}"), "/boot/order/0");
}

static void test_the_stored_form_is_stable_and_leaves_out_the_row(void **state)
{
	(void)state;
	struct vm_spec spec = {0}, again = {0};
	struct field_errors errors = {0};
	struct err e = {0};
	json_t *json = json_loads(
	        "{\"name\":\"a\",\"host\":\"h\",\"memory\":{\"size_bytes\":134217728},\"labels\":{"
	        "\"z\":\"1\",\"b\":\"2\"},"
	        "\"autostart\":{\"priority\":5},\"nics\":{\"n\":{\"mac\":\"52:54:00:00:00:01\"}}}",
	        0, NULL);
	assert_int_equal(
	        field_decode(&vm_write_fields, json, FIELD_DECODE_CREATE, &spec, &errors), 0);
	char *stored = vm_spec_store(&spec);
	assert_null(strstr(stored, "\"host\":"));
	assert_int_equal(vm_spec_load(stored, &again, &e), 0);
	assert_true(again.has_autostart);
	assert_int_equal(again.autostart.priority, 5);
	char *twice = vm_spec_store(&again);
	assert_string_equal(stored, twice);
	free(stored);
	free(twice);
	vm_spec_done(&spec);
	vm_spec_done(&again);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_minimal_vm_passes),
	        cmocka_unit_test(test_kernels_come_from_the_boot_directories_only),
	        cmocka_unit_test(test_disks_need_a_size_or_a_volume),
	        cmocka_unit_test(test_secure_boot_needs_uefi),
	        cmocka_unit_test(test_boot_order_names_devices_once),
	        cmocka_unit_test(test_the_stored_form_is_stable_and_leaves_out_the_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
