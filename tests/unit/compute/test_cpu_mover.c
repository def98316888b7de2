/* SPDX-License-Identifier: Apache-2.0 */
/* Moving running VMs off the CPUs that others own, over the fake driver: told when it matters, and again until it worked. */
#include "tests/unit/compute/host_fixture.h"

#include "compute/cpu_mover.h"
#include "compute/room.h"

struct bed {
	struct host_fixture *f;
	struct cpu_mover *mover;
	char host_id[UUID_TEXT_SIZE], owner[UUID_TEXT_SIZE], any[UUID_TEXT_SIZE];
};

static void add_vm(struct bed *bed, const char *id, const char *name)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, "
	        "power_since, "
	        "vcpus, memory_bytes, created_at) VALUES ('%s', '%s', '%s', 1, '{}', 'running', "
	        "'running', 1, 1, 1, 1)",
	        id, name, bed->host_id);
	fixture_exec(bed->f, sql);
}

/* `cpus` as SQL: a text in quotes, or NULL. */
static void add_reservation(struct bed *bed, const char *id, bool is_dedicated, const char *cpus)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
	        "booked_bytes, overhead_bytes, vcpus, max_vcpus, dedicated, cpus, since) VALUES "
	        "('%s', '%s', 'running', 1, 1, 1, 1, 0, 1, 1, %d, %s, 0)",
	        id, bed->host_id, is_dedicated, cpus);
	fixture_exec(bed->f, sql);
}

/* Of CPU 1. */
static void add_owner(struct bed *bed)
{
	add_reservation(bed, bed->owner, true,
	        "'{\"cpus\":\"1\",\"vcpus\":[1],\"emulator\":\"0,2\",\"nodes\":\"0\"}'");
}

static int touch_job(struct db *db, void *arg, struct err *e)
{
	(void)e;
	room_touch_cpus(db, arg);
	return 0;
}

static int setup(void **state)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	struct host_fixture *f = bed->f = fixture_start();
	f->services.room = room_new();
	bed->mover = cpu_mover_new(&f->services);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", bed->host_id), 0);
	assert_true(TURN_UNTIL(f->loop, hosts_state(f->hosts, bed->host_id) == HOST_OK));
	fixture_exec(f,
	        "UPDATE host SET facts = '{\"cpu\":{\"numa_nodes\":[{\"id\":0,\"memory_bytes\":"
	        "2147483648}]},\"host_cpus\":[{\"id\":0,\"node\":0,\"core\":0},{\"id\":1,"
	        "\"node\":0,\"core\":1},{\"id\":2,\"node\":0,\"core\":2}]}'");
	fake_domain_foreign_add("h1", "owner", true, bed->owner);
	fake_domain_foreign_add("h1", "any", true, bed->any);
	add_vm(bed, bed->owner, "owner");
	add_vm(bed, bed->any, "any");
	add_reservation(bed, bed->any, false, "NULL");
	*state = bed;
	return 0;
}

static int teardown(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	change_feed_reset();
	cpu_mover_stop(bed->mover);
	loop_turn_for(f->loop, 50);
	cpu_mover_free(bed->mover);
	struct room *room = f->services.room;
	fixture_stop(f);
	room_free(room);
	free(bed);
	return 0;
}

static bool is_pinned(const char *id, const char *expected)
{
	char *pins CLEANUP(cleanup_free) = fake_guest_get_pins("h1", id, 0);
	char *emulator CLEANUP(cleanup_free) = fake_guest_get_pins("h1", id, -1);
	return str_equal(pins, expected) && str_equal(emulator, expected);
}

static bool nothing_is_due(struct bed *bed)
{
	return fixture_int(bed->f, "SELECT count(*) FROM reservation WHERE cpus_due = 1") == 0;
}

static void test_a_running_vm_is_told_and_told_again_when_it_is_over(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	add_owner(bed);
	assert_int_equal(writer_run(f->writer, touch_job, bed->host_id, &f->e), 0);
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0,2")));
	assert_true(TURN_UNTIL(f->loop, nothing_is_due(bed)));
	assert_true(is_pinned(bed->owner, "")); /* it was where it belongs */
	fixture_exec(f, "DELETE FROM reservation WHERE dedicated = 1");
	assert_int_equal(writer_run(f->writer, touch_job, bed->host_id, &f->e), 0);
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0-2")));
	assert_true(TURN_UNTIL(f->loop,
	        fixture_int(f, "SELECT count(*) FROM reservation WHERE cpus IS NULL") == 1));
}

static void test_one_that_cannot_be_told_is_told_later(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	add_owner(bed);
	fake_domain_foreign_destroy("h1", bed->any);
	int64_t calls = fake_host_count_calls("h1", "get_domain");
	cpu_mover_host_up(bed->mover, bed->host_id);
	assert_true(TURN_UNTIL(f->loop, fake_host_count_calls("h1", "get_domain") > calls));
	loop_turn_for(f->loop, 50);
	assert_false(nothing_is_due(bed));
	fake_domain_foreign_start("h1", bed->any); /* and nobody says so */
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0,2")));
	assert_true(TURN_UNTIL(f->loop, nothing_is_due(bed)));
}

static void test_one_that_hangs_keeps_nobody_from_being_told(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	char hung[UUID_TEXT_SIZE];
	fake_domain_foreign_add("h1", "hung", true, hung);
	add_vm(bed, hung, "hung");
	add_reservation(bed, hung, false, "NULL");
	fake_guest_set_hung("h1", hung, true);
	add_owner(bed);
	assert_int_equal(writer_run(f->writer, touch_job, bed->host_id, &f->e), 0);
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0,2")));
	fixture_exec(f, "DELETE FROM reservation WHERE dedicated = 1");
	assert_int_equal(writer_run(f->writer, touch_job, bed->host_id, &f->e), 0);
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0-2")));
	fake_guest_set_hung("h1", hung, false);
	assert_true(TURN_UNTIL(f->loop, is_pinned(hung, "0-2")));
}

static void test_after_a_gap_all_that_are_pinned_are_told(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	add_owner(bed);
	cpu_mover_host_up(bed->mover, bed->host_id); /* its process may be another one by now */
	assert_true(TURN_UNTIL(f->loop, is_pinned(bed->any, "0,2")));
	char *pins CLEANUP(cleanup_free) = NULL;
	assert_true(TURN_UNTIL(f->loop, nothing_is_due(bed)));
	pins = fake_guest_get_pins("h1", bed->owner, 0);
	assert_string_equal(pins, "1");
}

static int refuse_job(struct db *db, void *arg, struct err *e)
{
	room_touch_cpus(db, arg);
	return err_set(e, ERR_CONFLICT, "as the test wants it");
}

static void test_what_was_rolled_back_moves_nobody(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	add_owner(bed);
	assert_int_equal(writer_run(f->writer, refuse_job, bed->host_id, &f->e), ERR_CONFLICT);
	loop_turn_for(f->loop, 50);
	assert_true(is_pinned(bed->any, ""));
}

#define WITH_BED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_BED(test_a_running_vm_is_told_and_told_again_when_it_is_over),
	        WITH_BED(test_one_that_cannot_be_told_is_told_later),
	        WITH_BED(test_one_that_hangs_keeps_nobody_from_being_told),
	        WITH_BED(test_after_a_gap_all_that_are_pinned_are_told),
	        WITH_BED(test_what_was_rolled_back_moves_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
