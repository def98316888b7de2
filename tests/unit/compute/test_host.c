/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of hosts, on a real database, without connections. */
#include "tests/unit/compute/host_fixture.h"

#include "compute/host_view.h"

#define VM_COLUMNS                                                                                 \
	"INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, power_since, "    \
	"vcpus, memory_bytes, created_at) SELECT "

/* A row of table vm on the named host. */
static void add_vm(struct host_fixture *f, const char *host, const char *name, bool is_managed,
        const char *power, int64_t memory_bytes)
{
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	char *sql CLEANUP(cleanup_free) =
	        str_format(VM_COLUMNS "'%s', '%s', id, %d, '{}', '%s', '%s', 0, 2, %lld, 0 "
	                              "FROM host WHERE name = '%s'",
	                id, name, is_managed, power, power, (long long)memory_bytes, host);
	fixture_exec(f, sql);
}

static void add_operation(struct host_fixture *f, const char *host)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO operation (id, kind, target_kind, target_id, target_name, host_id, "
	        "queue, seq, state, input, requested_by, deadline, created_at) "
	        "SELECT 'op-1', 'vm.start', 'vm', 'x', 'x', id, 'x', 1, 'running', '{}', 'root', "
	        "0, 0 FROM host WHERE name = '%s'",
	        host);
	fixture_exec(f, sql);
}

static void set_capacity(struct host_fixture *f, const char *name, const char *state, int64_t bytes)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("UPDATE host SET state = '%s', cpu_threads = 4, memory_bytes = %lld "
	                   "WHERE name = '%s'",
	                state, (long long)bytes, name);
	fixture_exec(f, sql);
}

/* The answer for a host, parsed. */
static json_t *answer(struct host_fixture *f, const char *name)
{
	struct host_full_row full CLEANUP(host_full_row_done) = {0};
	struct json_writer w CLEANUP(json_writer_done) = {0};
	assert_int_equal(host_store_get_full(f->reader, name, &full, &f->e), 0);
	assert_int_equal(host_encode(&full, &w, &f->e), 0);
	json_t *json = json_loads(str_text(&w.out), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

/* ---- registering ---- */

static void test_new_host_is_connecting_since_its_creation(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	clock_fake_set(1700000000000);
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", id), 0);
	assert_true(fixture_is(f, "SELECT state FROM host", "connecting"));
	assert_int_equal(fixture_int(f, "SELECT state_since FROM host"), 1700000000000);
	assert_true(fixture_is(f, "SELECT object_id FROM change WHERE event = 'created'", id));
}

static void test_taken_name_is_refused(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h2", NULL), ERR_EXISTS);
	assert_string_equal(f->e.pointer, "/name");
}

static void test_one_hypervisor_is_not_registered_twice(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_create(f, NULL, "h2", "fake:///h1", NULL), ERR_EXISTS);
	assert_string_equal(f->e.pointer, "/uri");
	assert_non_null(strstr(f->e.message, "h1"));
	assert_int_equal(fixture_create(f, NULL, "t1", "test:///default", NULL), 0);
	assert_int_equal(fixture_create(f, NULL, "t2", "test:///default", NULL), 0);
}

static void test_password_in_uri_is_refused_and_not_repeated(void **state)
{
	struct host_fixture *f = *state;
	const char *const uris[] = {"qemu+ssh://root:hunter2@example.org/system",
	        "qemu+tls://a:hunter2@[::1]:16514/system", "qemu+ssh://:hunter2@h/system"};
	for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
		assert_int_equal(fixture_create(f, NULL, "h1", uris[i], NULL), ERR_INVALID);
		assert_string_equal(f->e.pointer, "/uri");
		assert_non_null(strstr(f->e.message, "password"));
		assert_null(strstr(f->e.message, "hunter2"));
		assert_null(strstr(f->e.hint, "hunter2"));
	}
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host"), 0);
}

static void test_unknown_schemes_and_parameters_are_refused(void **state)
{
	struct host_fixture *f = *state;
	const char *const uris[] = {"xen:///system", "qemu+ext:///system?command=/bin/sh",
	        "qemu+ssh://h/system?netcat=/bin/sh", "/etc/passwd", "qemu+tcp://h/system"};
	for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
		assert_int_equal(fixture_create(f, NULL, "h1", uris[i], NULL), ERR_INVALID);
		assert_string_equal(f->e.pointer, "/uri");
	}
}

static void test_remote_host_is_remote(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(
	        fixture_create(f, NULL, "h1", "qemu+ssh://root@example.org/system", NULL), 0);
	assert_true(fixture_is(f, "SELECT access FROM host", "remote"));
}

static void test_unknown_group_is_refused(void **state)
{
	struct host_fixture *f = *state;
	struct host_spec spec = {.name = "h1", .uri = "fake:///h1", .group = "nowhere"};
	struct fixture_job job = {.spec = &spec};
	assert_int_equal(writer_run(f->writer, fixture_create_job, &job, &f->e), ERR_REFERENCE);
	assert_string_equal(f->e.pointer, "/group");
}

static void test_local_host_is_registered_once_and_stays_removed(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(writer_run(f->writer, fixture_register_job, NULL, &f->e), 0);
	assert_true(fixture_is(f, "SELECT uri FROM host", "qemu:///system"));
	assert_true(fixture_is(f, "SELECT access FROM host", "local"));
	assert_int_equal(writer_run(f->writer, fixture_register_job, NULL, &f->e), 0);
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host"), 1);
	char *name CLEANUP(cleanup_free) = fixture_text(f, "SELECT name FROM host");
	assert_null(field_check_name(name));
	assert_int_equal(fixture_delete(f, NULL, name), 0);
	assert_int_equal(writer_run(f->writer, fixture_register_job, NULL, &f->e), 0);
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host"), 0);
}

static void test_local_host_registered_by_hand_is_not_registered_again(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "mine", "qemu:///system", NULL), 0);
	assert_int_equal(writer_run(f->writer, fixture_register_job, NULL, &f->e), 0);
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host"), 1);
}

/* ---- changing ---- */

static void test_patch_changes_what_it_names(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_patch(f, NULL, "h1",
	                         "{\"labels\":{\"rack\":\"r1\",\"tier\":\"gold\"},"
	                         "\"failure_domain\":\"room-2\",\"accelerator\":\"tcg\"}",
	                         NULL),
	        0);
	assert_int_equal(
	        fixture_patch(f, NULL, "h1", "{\"labels\":{\"rack\":null},\"name\":\"h9\"}", NULL),
	        0);
	json_t *host = answer(f, "h9");
	json_t *labels = json_object_get(host, "labels");
	assert_int_equal(json_object_size(labels), 1);
	assert_string_equal(json_string_value(json_object_get(labels, "tier")), "gold");
	assert_string_equal(json_string_value(json_object_get(host, "failure_domain")), "room-2");
	assert_string_equal(json_string_value(json_object_get(host, "accelerator")), "tcg");
	assert_string_equal(json_string_value(json_object_get(host, "uri")), "fake:///h1");
	assert_int_equal(json_integer_value(json_object_get(host, "version")), 3);
	json_decref(host);
}

static void test_patch_of_read_only_and_required_members_is_refused(void **state)
{
	struct host_fixture *f = *state;
	struct field_errors errors;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_patch(f, NULL, "h1",
	                         "{\"state\":\"ok\",\"uri\":null,\"name\":\"H\"}", &errors),
	        ERR_INVALID);
	assert_int_equal(errors.len, 3);
	assert_int_equal(fixture_int(f, "SELECT version FROM host"), 1);
}

static void test_uri_cannot_change_under_managed_vms(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	add_vm(f, "h1", "web", true, "running", 1024);
	assert_int_equal(
	        fixture_patch(f, NULL, "h1", "{\"uri\":\"fake:///h2\"}", NULL), ERR_IN_USE);
	assert_non_null(strstr(f->e.message, "web"));
	assert_true(fixture_is(f, "SELECT uri FROM host", "fake:///h1"));
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"name\":\"h3\"}", NULL), 0);
}

static void test_new_uri_forgets_what_was_learnt_of_the_old_one(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	set_capacity(f, "h1", "ok", 4096);
	add_vm(f, "h1", "foreign", false, "running", 1024);
	clock_fake_set(1700000005000);
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"uri\":\"fake:///h2\"}", NULL), 0);
	assert_true(fixture_is(f, "SELECT state FROM host", "connecting"));
	assert_int_equal(fixture_int(f, "SELECT state_since FROM host"), 1700000005000);
	assert_int_equal(fixture_int(f, "SELECT memory_bytes FROM host"), 0);
	assert_true(fixture_is(f, "SELECT data FROM change WHERE event = 'state'",
	        "{\"state\":\"connecting\",\"reason\":\"\"}"));
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM vm"), 0);
}

/* ---- removing ---- */

static void test_host_with_something_of_ours_is_not_removed(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	add_vm(f, "h1", "web", true, "stopped", 1024);
	fixture_exec(f, "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('p', "
	                "'default', 'dir', '/p', 0)");
	fixture_exec(f,
	        "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, "
	        "layer_id, created_at) SELECT 'v', 'data', 'p', id, 'raw', 1, 'ready', 'v', 0 FROM "
	        "host;"
	        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, volume_id, "
	        "state, "
	        "created_at) SELECT 'v', 'p', id, 'v.raw', 'raw', 1, 'v', 'ready', 0 FROM host; "
	        "");
	add_operation(f, "h1");
	assert_int_equal(fixture_delete(f, NULL, "h1"), ERR_IN_USE);
	assert_non_null(strstr(f->e.message, "VM web"));
	assert_non_null(strstr(f->e.message, "volume data"));
	assert_non_null(strstr(f->e.message, "operation vm.start op-1"));
	assert_string_equal(f->e.numbers, "{\"vms\":1,\"volumes\":1,\"operations\":1}");
	fixture_exec(f, "DELETE FROM vm; DELETE FROM volume; DELETE FROM layer;"
	                "UPDATE operation SET ended_at = 1;"
	                "INSERT INTO image (id, name, spec, state, created_at) VALUES ('i', "
	                "'debian', '{}', "
	                "'ready', 0);"
	                "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, "
	                "image_id, state, "
	                "created_at) SELECT 'c', 'p', id, 'c.qcow2', 'qcow2', 1, 'i', 'ready', 0 "
	                "FROM host");
	assert_int_equal(fixture_delete(f, NULL, "h1"), 0);
	assert_true(fixture_is(f, "SELECT count(*) FROM layer", "0"));
}

static void test_removing_a_host_takes_the_rows_of_foreign_vms_along(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_create(f, NULL, "h2", "fake:///h2", NULL), 0);
	add_vm(f, "h1", "theirs", false, "running", 1024);
	add_vm(f, "h2", "elsewhere", false, "running", 1024);
	assert_int_equal(fixture_delete(f, NULL, "h1"), 0);
	assert_true(fixture_is(f, "SELECT group_concat(name) FROM vm", "elsewhere"));
	assert_true(fixture_is(
	        f, "SELECT name FROM change WHERE kind = 'vm' AND event = 'deleted'", "theirs"));
	assert_true(fixture_is(
	        f, "SELECT name FROM change WHERE kind = 'host' AND event = 'deleted'", "h1"));
}

/* ---- is it there ---- */

static void test_only_an_ok_host_is_available_and_others_say_since_when(void **state)
{
	(void)state;
	struct host_row row = {
	        .name = "h1", .state = "ok", .state_reason = "", .state_since = 1700000000000};
	struct err e = {0};
	assert_int_equal(host_check_available(&row, &e), 0);
	row.state = "slow";
	row.state_reason = "no answer to the heartbeat for 2.1 s";
	assert_int_equal(host_check_available(&row, &e), ERR_HOST_SLOW);
	assert_non_null(strstr(e.message, "2023-11-14T22:13:20"));
	assert_non_null(strstr(e.message, "no answer to the heartbeat for 2.1 s"));
	const char *const down[] = {"down", "connecting", "draining", "maintenance"};
	for (size_t i = 0; i < ARRAY_LEN(down); i++) {
		row.state = (char *)(uintptr_t)down[i];
		assert_int_equal(host_check_available(&row, &e), ERR_HOST_DOWN);
	}
}

/* ---- answers and facts ---- */

static void test_unknown_facts_are_null(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	json_t *host = answer(f, "h1");
	const char *const unknown[] = {
	        "cpu", "memory", "virtualization", "versions", "architectures"};
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_true(json_is_null(json_object_get(host, unknown[i])));
	assert_string_equal(json_string_value(json_object_get(host, "group")), "default");
	json_decref(host);
}

static struct arch_facts archs[] = {
        {.name = "x86_64", .has_kvm = true},
        {.name = "aarch64"},
};
static struct host_facts machine(enum hardware_virtualization hardware)
{
	return (struct host_facts){.cpu_arch = "x86_64",
	        .hardware = hardware,
	        .threads = 4,
	        .memory_bytes = 8192,
	        .archs = archs,
	        .n_archs = ARRAY_LEN(archs)};
}

static void test_kvm_is_believed_only_with_vmx_or_svm(void **state)
{
	(void)state;
	struct host_facts honest = machine(HARDWARE_SVM), fake_kvm = machine(HARDWARE_NONE);
	assert_string_equal(host_choose_domain_type(&honest, ACCELERATOR_AUTO, "x86_64"), "kvm");
	assert_string_equal(host_choose_domain_type(&fake_kvm, ACCELERATOR_AUTO, "x86_64"), "qemu");
	assert_string_equal(host_choose_domain_type(&fake_kvm, ACCELERATOR_KVM, "x86_64"), "kvm");
	assert_string_equal(host_choose_domain_type(&honest, ACCELERATOR_TCG, "x86_64"), "qemu");
	assert_string_equal(host_choose_domain_type(&honest, ACCELERATOR_KVM, "aarch64"), "qemu");
	assert_null(host_choose_domain_type(&honest, ACCELERATOR_AUTO, "s390x"));
	honest.is_test_driver = true;
	assert_string_equal(host_choose_domain_type(&honest, ACCELERATOR_AUTO, "s390x"), "test");
}

static void set_facts(struct host_fixture *f, const struct host_facts *facts)
{
	char *stored CLEANUP(cleanup_free) = host_facts_store(facts);
	char *sql CLEANUP(cleanup_free) =
	        str_format("UPDATE host SET facts = '%s', memory_bytes = %lld", stored,
	                (long long)facts->memory_bytes);
	fixture_exec(f, sql);
}

static const char *shown_accelerator(struct host_fixture *f, char text[8])
{
	json_t *host = answer(f, "h1");
	const char *shown = json_string_value(
	        json_object_get(json_object_get(host, "virtualization"), "accelerator"));
	snprintf(text, 8, "%s", shown ? shown : "null");
	json_decref(host);
	return text;
}

static void test_answer_shows_the_accelerator_that_guests_get(void **state)
{
	struct host_fixture *f = *state;
	struct host_facts facts = machine(HARDWARE_VMX);
	char text[8];
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	set_facts(f, &facts);
	assert_string_equal(shown_accelerator(f, text), "kvm");
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"accelerator\":\"tcg\"}", NULL), 0);
	assert_string_equal(shown_accelerator(f, text), "tcg");
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"accelerator\":null}", NULL), 0);
	facts.hardware = HARDWARE_NONE;
	set_facts(f, &facts);
	assert_string_equal(shown_accelerator(f, text), "tcg");
}

static void test_answer_does_the_memory_arithmetic(void **state)
{
	struct host_fixture *f = *state;
	struct host_facts facts = machine(HARDWARE_VMX);
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	set_facts(f, &facts);
	fixture_exec(f, "UPDATE host_group SET spec = "
	                "'{\"host_reserve\":{\"memory_bytes\":192}}'");
	add_vm(f, "h1", "a", true, "stopped", 5000);
	json_t *host = answer(f, "h1");
	json_t *memory = json_object_get(host, "memory");
	assert_int_equal(json_integer_value(json_object_get(memory, "total_bytes")), 8192);
	assert_int_equal(json_integer_value(json_object_get(memory, "reserved_bytes")), 192);
	assert_int_equal(json_integer_value(json_object_get(memory, "free_bytes")), 3000);
	json_t *allocation = json_object_get(host, "allocation");
	assert_int_equal(json_integer_value(json_object_get(allocation, "vms")), 1);
	assert_int_equal(json_integer_value(json_object_get(allocation, "memory_bytes")), 5000);
	json_decref(host);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_new_host_is_connecting_since_its_creation),
	        TEST(test_taken_name_is_refused),
	        TEST(test_one_hypervisor_is_not_registered_twice),
	        TEST(test_password_in_uri_is_refused_and_not_repeated),
	        TEST(test_unknown_schemes_and_parameters_are_refused),
	        TEST(test_remote_host_is_remote),
	        TEST(test_unknown_group_is_refused),
	        TEST(test_local_host_is_registered_once_and_stays_removed),
	        TEST(test_local_host_registered_by_hand_is_not_registered_again),
	        TEST(test_patch_changes_what_it_names),
	        TEST(test_patch_of_read_only_and_required_members_is_refused),
	        TEST(test_uri_cannot_change_under_managed_vms),
	        TEST(test_new_uri_forgets_what_was_learnt_of_the_old_one),
	        TEST(test_host_with_something_of_ours_is_not_removed),
	        TEST(test_removing_a_host_takes_the_rows_of_foreign_vms_along),
	        cmocka_unit_test(test_only_an_ok_host_is_available_and_others_say_since_when),
	        TEST(test_unknown_facts_are_null),
	        cmocka_unit_test(test_kvm_is_believed_only_with_vmx_or_svm),
	        TEST(test_answer_shows_the_accelerator_that_guests_get),
	        TEST(test_answer_does_the_memory_arithmetic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
