/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that crash while others take their room: refused, tried again ever later, and started once there is room. */
#include "tests/unit/compute/host_fixture.h"

#include "compute/room.h"
#include "compute/vm_live.h"

#define STEP_MS 60

struct bed {
	struct host_fixture *f;
	struct room *room;
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE], other_id[UUID_TEXT_SIZE];
};

static int create_job(struct db *db, void *arg, struct err *e)
{
	struct bed *bed = arg;
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct field_errors errors = {0};
	const struct vm_request request = {.requested_by = "test", .wait_ms = -1};
	char operation[UUID_TEXT_SIZE];
	json_t *json CLEANUP(cleanup_json) = json_loads(
	        "{\"name\": \"g\", \"memory\": {\"size_bytes\": 805306368}, \"desired_power\": "
	        "\"running\", \"restart_policy\": {\"on_crash\": \"restart\"}}",
	        0, NULL);
	int rc = field_decode(&vm_write_fields, json, FIELD_DECODE_CREATE, &spec, &errors);
	assert_int_equal(rc, 0);
	return vm_create(db, bed->vms, &spec, &request, &errors, operation, bed->vm_id, e);
}

static int64_t events(struct bed *bed, const char *event)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT count(*) FROM change WHERE event = '%s' AND name = 'g'", event);
	return fixture_int(bed->f, sql);
}

static bool runs(struct bed *bed)
{
	return fixture_is(bed->f, "SELECT power FROM vm WHERE name = 'g'", "running") &&
	       fixture_is(bed->f,
	               "SELECT r.state FROM reservation r JOIN vm ON vm.id = r.vm_id "
	               "WHERE vm.name = 'g'",
	               "running");
}

/* A host of 1 GiB and a guest of 768 MiB. */
static int setup(void **state)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	struct host_fixture *f = bed->f = fixture_start();
	f->services.hosts = f->hosts;
	f->services.engine = f->engine;
	f->services.room = bed->room = room_new();
	const struct vms_config config = {
	        .services = &f->services, .engine = f->engine, .console_directory = "/tmp"};
	f->services.vms = bed->vms = vms_new(&config);
	bed->vms->restart_step_ms = STEP_MS;
	vm_register_kinds(f->engine);
	hosts_set_callbacks(f->hosts, vms_hosts_callbacks(bed->vms));
	assert_int_equal(
	        fixture_create(f, f->hosts, "h1", "fake:///h1?memory_mib=1024", bed->host_id), 0);
	assert_true(TURN_UNTIL(f->loop, fixture_is(f, "SELECT state FROM host", "ok")));
	if (writer_run(f->writer, create_job, bed, &f->e) < 0)
		fail_msg("%s", f->e.message);
	assert_true(TURN_UNTIL(f->loop, runs(bed)));
	*state = bed;
	return 0;
}

static int teardown(void **state)
{
	struct bed *bed = *state;
	operation_engine_stop(bed->f->engine);
	vms_stop(bed->vms);
	hosts_set_callbacks(bed->f->hosts, (struct hosts_callbacks){0});
	loop_turn_for(bed->f->loop, 50);
	vms_free(bed->vms);
	fixture_stop(bed->f);
	room_free(bed->room);
	free(bed);
	return 0;
}

static void take_room(struct bed *bed)
{
	fake_domain_foreign_add("h1", "other", true, bed->other_id);
	assert_true(TURN_UNTIL(bed->f->loop,
	        fixture_int(bed->f, "SELECT count(*) FROM reservation WHERE size_bytes = "
	                            "536870912") == 1));
}

/* When the n-th refusal was, counted from 0. */
static int64_t refused_at(struct bed *bed, int n)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT at FROM change WHERE event = 'restart_refused' ORDER BY seq LIMIT 1 "
	        "OFFSET %d",
	        n);
	return fixture_int(bed->f, sql);
}

static void test_without_room_it_is_refused_ever_later_and_started_once_there_is(void **state)
{
	struct bed *bed = *state;
	take_room(bed);
	fake_guest_crash("h1", bed->vm_id);
	assert_true(TURN_UNTIL(bed->f->loop, events(bed, "restart_refused") >= 4));
	for (int n = 1; n < 4; n++)
		assert_true(refused_at(bed, n) - refused_at(bed, n - 1) >= STEP_MS << (n - 1));
	char *data CLEANUP(cleanup_free) = fixture_text(
	        bed->f, "SELECT data FROM change WHERE event = 'restart_refused' LIMIT 1");
	json_t *json CLEANUP(cleanup_json) = json_loads(data, 0, NULL);
	assert_string_equal(
	        json_string_value(json_object_get(json, "code")), "insufficient_capacity");
	assert_non_null(json_object_get(json, "numbers"));
	assert_non_null(strstr(json_string_value(json_object_get(json, "reason")), "h1"));
	assert_int_equal(fixture_int(bed->f, "SELECT count(*) FROM reservation"), 1);
	assert_true(fixture_is(bed->f, "SELECT desired_power FROM vm WHERE name = 'g'", "running"));
	fake_domain_foreign_destroy("h1", bed->other_id);
	assert_true(TURN_UNTIL(bed->f->loop, runs(bed)));
	assert_int_equal(events(bed, "restarting"), 1);
	int64_t refusals = events(bed, "restart_refused");
	loop_turn_for(bed->f->loop, 20 * STEP_MS);
	assert_int_equal(events(bed, "restart_refused"), refusals);
}

static int want_it_stopped(struct db *db, void *arg, struct err *e)
{
	return vm_store_set_desired(db, ((const struct bed *)arg)->vm_id, POWER_STOPPED, e);
}

static void test_one_that_is_not_wanted_any_more_is_not_tried_again(void **state)
{
	struct bed *bed = *state;
	take_room(bed);
	fake_guest_crash("h1", bed->vm_id);
	assert_true(TURN_UNTIL(bed->f->loop, events(bed, "restart_refused") == 1));
	assert_int_equal(writer_run(bed->f->writer, want_it_stopped, bed, &bed->f->e), 0);
	int64_t refusals = events(bed, "restart_refused");
	fake_domain_foreign_destroy("h1", bed->other_id);
	loop_turn_for(bed->f->loop, 8 * STEP_MS);
	assert_int_equal(events(bed, "restart_refused"), refusals);
	assert_int_equal(events(bed, "restarting"), 0);
	assert_false(runs(bed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(
	                test_without_room_it_is_refused_ever_later_and_started_once_there_is, setup,
	                teardown),
	        cmocka_unit_test_setup_teardown(
	                test_one_that_is_not_wanted_any_more_is_not_tried_again, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
