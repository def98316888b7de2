/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots do on a host while someone else starts, suspends or changes the VM. */
#include "tests/unit/compute/snapshot_world.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_merge_look.h"
#include "compute/snapshot_take.h"
#include "db/reader.h"
#include "hypervisor/driver_fake.h"

#define FAKE_HOST "snapshots"

/* The VM as it is defined on a fake host, with its files. */
struct lab {
	struct world *w;
	struct readers *readers;
	struct driver driver; /* the fake one, but for what a test changes */
	struct driver_connection *c;
};

static const struct vm_platform platform = {.domain_type = "qemu", .machine = "q35"};

static void call_done(struct vm_call *call)
{
	vm_plan_done(&call->plan);
	vm_observation_done(&call->seen);
	json_decref(call->input);
	json_decref(call->found);
	free(call->active_spec);
}

/* As vm_call.c makes them. */
static struct vm_call call_make(struct lab *lab)
{
	struct vm_call call = {.vm_id = VM,
	        .host_id = HOST,
	        .platform = platform,
	        .input = json_pack("{s:s}", "snapshot", S1),
	        .readers = lab->readers};
	must(vm_plan_load(lab->w->db, VM, &call.plan, &lab->w->e), &lab->w->e);
	return call;
}

static void make_file(struct lab *lab, const char *layer_id)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	must(layer_chain_load(lab->w->db, layer_id, &chain, &lab->w->e), &lab->w->e);
	must(layer_chain_create_top(&chain, false, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
}

static int lab_setup(void **state)
{
	struct lab *lab = xcalloc(1, sizeof(*lab));
	void *world;
	fake_enable();
	setup(&world);
	lab->w = world;
	lab->readers = readers_new(lab->w->temp.path);
	lab->driver = driver_fake;
	must(driver_fake.open("fake:///" FAKE_HOST, NULL, NULL, &lab->c, &lab->w->e), &lab->w->e);
	exec(lab->w, "UPDATE vm SET spec = replace(spec, '{\"disks\"', "
	             "'{\"architecture\":\"x86_64\",\"memory\":{\"size_bytes\":134217728},"
	             "\"cpu\":{\"count\":1},\"disks\"')");
	make_file(lab, BASE);
	make_file(lab, TOP);
	struct vm_call call CLEANUP(call_done) = call_make(lab);
	must(vm_call_define(&call, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	*state = lab;
	return 0;
}

static int lab_teardown(void **state)
{
	struct lab *lab = *state;
	void *world = lab->w;
	driver_fake.close(lab->c);
	readers_free(lab->readers);
	teardown(&world);
	fake_reset();
	free(lab);
	return 0;
}

/* The file on top of what the VM runs on. */
static char *live_top(struct lab *lab)
{
	char **paths = NULL;
	must(driver_fake.disk_chain(lab->c, VM, "d", &paths, &lab->w->e), &lab->w->e);
	char *top = xstrdup(strrchr(paths[0], '/') + 1);
	for (size_t i = 0; paths[i]; i++)
		free(paths[i]);
	free(paths);
	return top;
}

/* ---- taking ---- */

/* Snapshot S1 of the stopped VM, and the new layer on TOP. */
static void begin_snapshot(struct lab *lab, char ret_overlay[UUID_TEXT_SIZE])
{
	struct world *w = lab->w;
	add(w, S1, "a", NULL, TOP, 1);
	ok(snapshot_store_set_state(w->db, S1, SNAPSHOT_CREATING, &w->e));
	ok(snapshot_reserve_overlay(w->db, TOP, VOLUME, HOST, &w->e));
	ok(snapshot_find_overlay(w->db, TOP, VOLUME, ret_overlay, &w->e));
	make_file(lab, ret_overlay);
}

static int kind_of(const struct vm_call *call)
{
	return (int)json_integer_value(json_object_get(call->input, "kind"));
}

static int start_then_define(struct driver_connection *c, const char *xml, struct err *e)
{
	fake_domain_foreign_start(FAKE_HOST, VM);
	return driver_fake.define(c, xml, e);
}

static void test_a_vm_started_before_its_new_definition_is_taken_as_one_that_runs(void **state)
{
	struct lab *lab = *state;
	char overlay[UUID_TEXT_SIZE];
	begin_snapshot(lab, overlay);
	lab->driver.define = start_then_define;
	struct vm_call first CLEANUP(call_done) = call_make(lab);
	must(snapshot_take_switch(&first, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	assert_true(first.again); /* it writes into the layer that was to be frozen */
	lab->driver.define = driver_fake.define;
	struct vm_call second CLEANUP(call_done) = call_make(lab);
	must(snapshot_take_switch(&second, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	assert_false(second.again);
	assert_int_equal(kind_of(&second), SNAPSHOT_DISK);
	char *top CLEANUP(cleanup_free) = live_top(lab);
	assert_memory_equal(top, overlay, UUID_TEXT_SIZE - 1);
}

static int define_then_start(struct driver_connection *c, const char *xml, struct err *e)
{
	int rc = driver_fake.define(c, xml, e);
	fake_domain_foreign_start(FAKE_HOST, VM);
	return rc;
}

static void test_a_vm_started_after_its_new_definition_does_no_harm(void **state)
{
	struct lab *lab = *state;
	char overlay[UUID_TEXT_SIZE];
	begin_snapshot(lab, overlay);
	lab->driver.define = define_then_start;
	struct vm_call call CLEANUP(call_done) = call_make(lab);
	must(snapshot_take_switch(&call, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	assert_false(call.again);
	assert_int_equal(kind_of(&call), SNAPSHOT_STOPPED);
	char *top CLEANUP(cleanup_free) = live_top(lab);
	assert_memory_equal(top, overlay, UUID_TEXT_SIZE - 1);
}

/* Undoing must not leave a definition that names layers which are about to go. */
static void test_the_definition_goes_back_when_the_process_has_not_gone_over(void **state)
{
	struct lab *lab = *state;
	char overlay[UUID_TEXT_SIZE];
	begin_snapshot(lab, overlay);
	lab->driver.define = start_then_define;
	struct vm_call first CLEANUP(call_done) = call_make(lab);
	must(snapshot_take_switch(&first, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	lab->driver.define = driver_fake.define;
	struct vm_call undo CLEANUP(call_done) = call_make(lab);
	must(snapshot_take_settle(&undo, &lab->driver, lab->c, &lab->w->e), &lab->w->e);
	assert_true(json_is_false(json_object_get(undo.input, "switched")));
	struct domain_info info CLEANUP(domain_info_done) = {0};
	must(driver_fake.get_domain(lab->c, VM, &info, &lab->w->e), &lab->w->e);
	assert_null(strstr(info.xml, overlay));
	assert_non_null(strstr(info.xml, "/p/top"));
}

/* A group's member shows the others' moment only while it stands still. */
static void test_a_groups_member_that_someone_has_resumed_is_not_taken(void **state)
{
	struct lab *lab = *state;
	char overlay[UUID_TEXT_SIZE];
	struct err e = {0};
	begin_snapshot(lab, overlay);
	exec(lab->w, "UPDATE snapshot SET kind = 'disk', power = 'running'");
	fake_domain_foreign_start(FAKE_HOST, VM);
	for (int quiesce = 0; quiesce <= 1; quiesce++) {
		struct vm_call call CLEANUP(call_done) = call_make(lab);
		json_object_set_new(call.input, "group", json_string(GROUP));
		json_object_set_new(call.input, "quiesce", json_boolean(quiesce));
		int rc = snapshot_take_switch(&call, &lab->driver, lab->c, &e);
		assert_int_equal(rc, quiesce ? 0 : ERR_WRONG_STATE);
	}
	assert_non_null(strstr(e.message, "resumed"));
}

/* ---- drift ---- */

static int foreign_chain(struct driver_connection *c, const char *id, const char *disk,
        char ***ret_paths, struct err *e)
{
	(void)c;
	(void)id;
	(void)disk;
	(void)e;
	char **paths = xcalloc(3, sizeof(*paths));
	paths[0] = xstrdup("/p/elsewhere");
	paths[1] = xstrdup("/p/base");
	*ret_paths = paths;
	return 0;
}

static void assert_names_both_chains(const struct err *e)
{
	assert_non_null(strstr(e->message, "elsewhere"));
	assert_non_null(strstr(e->message, "top on base"));
	assert_true(e->hint[0] != '\0');
}

static void test_layers_of_a_vm_that_runs_on_others_are_left_alone(void **state)
{
	struct lab *lab = *state;
	add(lab->w, S1, "a", NULL, BASE, 1);
	ok(snapshot_store_set_state(lab->w->db, S1, SNAPSHOT_DELETING, &lab->w->e));
	fake_domain_foreign_start(FAKE_HOST, VM);
	lab->driver.disk_chain = foreign_chain;
	for (int mode = SNAPSHOT_MERGE_ALL; mode <= SNAPSHOT_MERGE_SETTLE; mode++) {
		struct vm_call call CLEANUP(call_done) = call_make(lab);
		struct err e = {0};
		assert_int_equal(snapshot_merge_looks[mode](&call, &lab->driver, lab->c, &e),
		        ERR_UNPROCESSABLE);
		assert_names_both_chains(&e);
	}
}

static void test_a_medium_that_others_have_changed_holds_up_no_merge(void **state)
{
	struct lab *lab = *state;
	exec(lab->w, "UPDATE vm SET spec = replace(spec, '\"disk\",', '\"cdrom\",')");
	fake_domain_foreign_start(FAKE_HOST, VM);
	lab->driver.disk_chain = foreign_chain;
	struct vm_call call CLEANUP(call_done) = call_make(lab);
	must(snapshot_merge_looks[SNAPSHOT_MERGE_ALL](&call, &lab->driver, lab->c, &lab->w->e),
	        &lab->w->e);
}

static void test_no_snapshot_is_put_on_a_layer_that_the_vm_does_not_write(void **state)
{
	struct lab *lab = *state;
	char overlay[UUID_TEXT_SIZE];
	struct err e = {0};
	begin_snapshot(lab, overlay);
	fake_domain_foreign_start(FAKE_HOST, VM);
	lab->driver.disk_chain = foreign_chain;
	struct vm_call call CLEANUP(call_done) = call_make(lab);
	assert_int_equal(snapshot_take_switch(&call, &lab->driver, lab->c, &e), ERR_UNPROCESSABLE);
	assert_names_both_chains(&e);
	assert_int_equal(fake_host_count_calls(FAKE_HOST, "snapshot_create"), 0);
}

static void test_a_live_chain_is_the_recorded_one_or_lacks_one_layer_or_is_another(void **state)
{
	(void)state;
	static const struct {
		const char *live[5], *recorded[4];
		enum chain_match match;
		size_t upper;
	} cases[] = {
	        {{"c", "b", "a"}, {"c", "b", "a"}, CHAIN_SAME, 3},
	        {{"b", "a"}, {"c", "b", "a"}, CHAIN_MERGED, 0},
	        {{"c", "a"}, {"c", "b", "a"}, CHAIN_MERGED, 1},
	        {{"c", "b"}, {"c", "b", "a"}, CHAIN_OTHER, 2},
	        {{"a"}, {"c", "b", "a"}, CHAIN_OTHER, 0},
	        {{"x", "b", "a"}, {"c", "b", "a"}, CHAIN_OTHER, 0},
	        {{"c", "x", "a"}, {"c", "b", "a"}, CHAIN_OTHER, 1},
	        {{"d", "c", "b", "a"}, {"c", "b", "a"}, CHAIN_OTHER, 0},
	        {{"c", "b", "a", "z"}, {"c", "b", "a"}, CHAIN_OTHER, 3},
	        {{"b", "z"}, {"c", "b", "a"}, CHAIN_OTHER, 0},
	        {{"a"}, {"a"}, CHAIN_SAME, 1},
	        {{NULL}, {"a"}, CHAIN_OTHER, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = 0, upper = 99;
		while (n < 3 && cases[i].recorded[n])
			n++;
		assert_int_equal(snapshot_merge_match((char **)(uintptr_t)cases[i].live,
		                         (char **)(uintptr_t)cases[i].recorded, n, &upper),
		        cases[i].match);
		assert_int_equal(upper, cases[i].upper);
	}
}

/* ---- suspended ---- */

static enum merge_kind next_kind(const struct vm_call *call)
{
	return (enum merge_kind)json_integer_value(
	        json_object_get(json_object_get(call->found, "next"), "kind"));
}

static void test_a_suspended_vm_keeps_the_layers_that_its_saved_memory_names(void **state)
{
	struct lab *lab = *state;
	struct world *w = lab->w;
	add(w, S1, "a", NULL, BASE, 1);
	ok(snapshot_store_set_state(w->db, S1, SNAPSHOT_DELETING, &w->e));
	fake_domain_foreign_start(FAKE_HOST, VM);
	must(driver_fake.managed_save(lab->c, VM, &w->e), &w->e);
	struct vm_call call CLEANUP(call_done) = call_make(lab);
	vm_call_fn look = snapshot_merge_looks[SNAPSHOT_MERGE_ALL];
	must(look(&call, &lab->driver, lab->c, &w->e), &w->e);
	assert_int_equal(next_kind(&call), MERGE_NOTHING);
	const json_t *deferred = json_object_get(call.found, "deferred");
	assert_int_equal(json_array_size(deferred), 1);
	const json_t *first = json_array_get(deferred, 0);
	assert_string_equal(json_string_value(json_object_get(first, "layer")), BASE);
	assert_non_null(strstr(json_string_value(json_object_get(first, "reason")), "suspended"));
	must(driver_fake.managed_save_remove(lab->c, VM, &w->e), &w->e);
	struct vm_call after CLEANUP(call_done) = call_make(lab);
	must(look(&after, &lab->driver, lab->c, &w->e), &w->e);
	assert_int_equal(next_kind(&after), MERGE_COMMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_a_vm_started_before_its_new_definition_is_taken_as_one_that_runs),
	        TEST(test_a_vm_started_after_its_new_definition_does_no_harm),
	        TEST(test_the_definition_goes_back_when_the_process_has_not_gone_over),
	        TEST(test_a_groups_member_that_someone_has_resumed_is_not_taken),
	        TEST(test_layers_of_a_vm_that_runs_on_others_are_left_alone),
	        TEST(test_a_medium_that_others_have_changed_holds_up_no_merge),
	        TEST(test_no_snapshot_is_put_on_a_layer_that_the_vm_does_not_write),
	        TEST(test_a_live_chain_is_the_recorded_one_or_lacks_one_layer_or_is_another),
	        TEST(test_a_suspended_vm_keeps_the_layers_that_its_saved_memory_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
