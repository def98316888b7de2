/* SPDX-License-Identifier: Apache-2.0 */
/* Who leaves the CPUs that a VM owns, and who has to be told, against a real database. */
#include "base/vec.h"
#include "tests/unit/compute/room_world.h"

/* Of the host: four CPUs in two nodes. */
enum { OWNER, NEAR, ANY, FOREIGN, ADOPTED, VMS };

struct start {
	int vm;
	enum vm_pinning pinning;
};

static int start_job(struct db *db, void *arg, struct err *e)
{
	const struct start *start = arg;
	struct vm_spec spec = spec_of(1, 1);
	struct room_granted granted;
	spec.cpu.pinning = start->pinning;
	return room_grant(db, room, id_of('b', start->vm), id_of('a', 0), &spec, &granted, e);
}

static const char *const active[] = {
        [PINNING_NONE] = "{\"cpu\":{\"count\":1,\"pinning\":\"none\"},\"memory\":{\"size_bytes\":"
                         "268435456}}",
        [PINNING_AUTO] = "{\"cpu\":{\"count\":1,\"pinning\":\"auto\"},\"memory\":{\"size_bytes\":"
                         "268435456}}",
        [PINNING_DEDICATED] = "{\"cpu\":{\"count\":1,\"pinning\":\"dedicated\"},\"memory\":{\"size_"
                              "bytes\":268435456}}",
};

static int run_job(struct db *db, void *arg, struct err *e)
{
	const struct start *start = arg;
	const struct room_seen seen = {.vm_id = id_of('b', start->vm),
	        .host_id = id_of('a', 0),
	        .has_process = true,
	        .spec = active[start->pinning]};
	return room_observe(db, &seen, e);
}

static int stop_job(struct db *db, void *arg, struct err *e)
{
	const struct room_seen seen = {.vm_id = id_of('b', *(int *)arg), .host_id = id_of('a', 0)};
	return room_observe(db, &seen, e);
}

/* Granted, and seen to run. */
static void start(struct host_fixture *f, int vm, enum vm_pinning pinning)
{
	struct start start = {vm, pinning};
	assert_int_equal(writer_run(f->writer, start_job, &start, &f->e), 0);
	assert_int_equal(writer_run(f->writer, run_job, &start, &f->e), 0);
}

/* Only seen. */
static void see_running(struct host_fixture *f, int vm, enum vm_pinning pinning)
{
	struct start start = {vm, pinning};
	assert_int_equal(writer_run(f->writer, run_job, &start, &f->e), 0);
}

static void stop(struct host_fixture *f, int vm)
{
	assert_int_equal(writer_run(f->writer, stop_job, &vm, &f->e), 0);
}

static struct room_moves due;

static int settle_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	room_moves_done(&due);
	return room_settle_cpus(db, room, id_of('a', 0), &due, e);
}

static int note_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	int rc = 0;
	VEC_FOR_EACH (&due, move)
		if (rc == 0)
			rc = room_note_moved(db, id_of('a', 0), move, e);
	return rc;
}

static void settle(struct host_fixture *f)
{
	assert_int_equal(writer_run(f->writer, settle_job, NULL, &f->e), 0);
}

/* Until all are where they belong. */
static void settle_and_tell(struct host_fixture *f)
{
	do {
		settle(f);
		assert_int_equal(writer_run(f->writer, note_job, NULL, &f->e), 0);
	} while (due.len > 0);
}

static bool is_due(int vm)
{
	VEC_FOR_EACH (&due, move)
		if (strcmp(move->vm_id, id_of('b', vm)) == 0)
			return true;
	return false;
}

static void expect_nowhere(struct host_fixture *f, int vm)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	assert_int_equal(
	        room_store_get(f->reader, id_of('b', vm), id_of('a', 0), &row, &found, &f->e), 0);
	assert_true(found);
	assert_null(row.cpus);
}

static struct host_fixture *populate(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 4 * GIB);
	set_nodes(f, 0);
	for (int vm = 0; vm < VMS; vm++)
		add_vm(f, vm, 0);
	return f;
}

static int setup_settle(void **state)
{
	int rc = setup(state);
	populate(state);
	return rc;
}

static int teardown_settle(void **state)
{
	room_moves_done(&due);
	return teardown(state);
}

static void test_those_that_run_leave_what_one_owns_and_come_back(void **state)
{
	struct host_fixture *f = *state;
	start(f, NEAR, PINNING_AUTO); /* on node 0 */
	start(f, ANY, PINNING_NONE);
	settle_and_tell(f);
	expect_cpus(f, NEAR, "\"cpus\":\"0-1\"");
	expect_nowhere(f, ANY);
	start(f, OWNER, PINNING_DEDICATED);
	settle(f);
	expect_cpus(f, OWNER, "\"cpus\":\"2\"");
	assert_true(is_due(ANY) && !is_due(NEAR));
	expect_cpus(f, ANY, "\"cpus\":\"0-1,3\"");
	settle_and_tell(f);
	stop(f, OWNER);
	settle(f);
	assert_true(is_due(ANY));
	expect_cpus(f, ANY, "\"cpus\":\"0-3\"");
	settle_and_tell(f);
	expect_nowhere(f, ANY);
	expect_cpus(f, NEAR, "\"cpus\":\"0-1\"");
}

static void test_one_that_starts_beside_an_owner_begins_where_it_belongs(void **state)
{
	struct host_fixture *f = *state;
	start(f, OWNER, PINNING_DEDICATED);
	struct start granted = {ANY, PINNING_NONE};
	assert_int_equal(writer_run(f->writer, start_job, &granted, &f->e), 0);
	expect_cpus(f, ANY, "\"cpus\":\"1-3\"");
	settle(f);
	assert_false(is_due(ANY)); /* there is no process yet */
	assert_int_equal(writer_run(f->writer, run_job, &granted, &f->e), 0);
	settle(f);
	assert_true(is_due(ANY)); /* it may have been defined earlier */
}

static void test_one_is_due_until_it_was_told_the_newest(void **state)
{
	struct host_fixture *f = *state;
	start(f, ANY, PINNING_NONE);
	start(f, OWNER, PINNING_DEDICATED);
	settle(f);
	assert_true(is_due(ANY));
	struct room_moves told = due;
	due = (struct room_moves){0};
	start(f, NEAR, PINNING_DEDICATED); /* changes it while it is told */
	settle(f);
	room_moves_done(&due);
	due = told;
	assert_int_equal(writer_run(f->writer, note_job, NULL, &f->e), 0);
	settle(f);
	assert_true(is_due(ANY));
	settle_and_tell(f);
	expect_cpus(f, ANY, "\"cpus\":\"1,3\"");
}

static void test_an_owner_that_others_started_is_given_cpus(void **state)
{
	struct host_fixture *f = *state;
	start(f, ANY, PINNING_NONE);
	see_running(f, OWNER, PINNING_DEDICATED);
	settle(f);
	assert_true(is_due(OWNER) && is_due(ANY));
	expect_cpus(f, OWNER, "\"vcpus\":[0]");
	expect_cpus(f, ANY, "\"cpus\":\"1-3\"");
}

static void test_foreign_and_adopted_vms_stay_where_they_are(void **state)
{
	struct host_fixture *f = *state;
	char sql[128];
	start(f, FOREIGN, PINNING_NONE);
	start(f, ADOPTED, PINNING_NONE);
	snprintf(
	        sql, sizeof(sql), "UPDATE vm SET managed = 0 WHERE id = '%s'", id_of('b', FOREIGN));
	fixture_exec(f, sql);
	snprintf(
	        sql, sizeof(sql), "UPDATE vm SET adopted = 1 WHERE id = '%s'", id_of('b', ADOPTED));
	fixture_exec(f, sql);
	start(f, OWNER, PINNING_DEDICATED);
	settle(f);
	assert_true(is_due(OWNER) && !is_due(FOREIGN) && !is_due(ADOPTED));
	expect_nowhere(f, FOREIGN);
	expect_nowhere(f, ADOPTED);
}

static int doubt_job(struct db *db, void *arg, struct err *e)
{
	return room_doubt_cpus(db, id_of('b', ANY), id_of('a', 0), *(enum room_doubt *)arg, e);
}

static void test_one_from_a_saved_state_is_told_to_float(void **state)
{
	struct host_fixture *f = *state;
	enum room_doubt doubt = ROOM_DOUBT_PINNED;
	start(f, ANY, PINNING_NONE);
	assert_int_equal(writer_run(f->writer, doubt_job, &doubt, &f->e), 0);
	settle(f);
	assert_int_equal(due.len, 0);
	doubt = ROOM_DOUBT_ALL;
	assert_int_equal(writer_run(f->writer, doubt_job, &doubt, &f->e), 0);
	settle(f);
	assert_true(is_due(ANY));
	expect_cpus(f, ANY, "\"cpus\":\"0-3\"");
	settle_and_tell(f);
	expect_nowhere(f, ANY);
}

static void test_one_that_others_started_is_told_whatever_it_was_defined_as(void **state)
{
	struct host_fixture *f = *state;
	start(f, OWNER, PINNING_DEDICATED);
	see_running(f, ANY, PINNING_NONE);
	settle(f);
	assert_true(is_due(ANY));
	expect_cpus(f, ANY, "\"cpus\":\"1-3\"");
	stop(f, ANY);
	stop(f, OWNER);
	see_running(f, ANY, PINNING_NONE); /* as it was defined beside the owner, say */
	settle(f);
	assert_true(is_due(ANY));
	expect_cpus(f, ANY, "\"cpus\":\"0-3\"");
	settle_and_tell(f);
	expect_nowhere(f, ANY);
}

static void test_what_happens_while_one_is_told_is_not_forgotten(void **state)
{
	struct host_fixture *f = *state;
	enum room_doubt doubt = ROOM_DOUBT_PINNED;
	start(f, OWNER, PINNING_DEDICATED);
	start(f, ANY, PINNING_NONE);
	settle(f);
	assert_true(is_due(ANY));
	assert_int_equal(
	        writer_run(f->writer, doubt_job, &doubt, &f->e), 0); /* a vCPU was plugged */
	assert_int_equal(writer_run(f->writer, note_job, NULL, &f->e), 0);
	settle(f);
	assert_true(is_due(ANY));
}

static void test_one_that_starts_again_keeps_its_cpus_and_its_old_process_is_told(void **state)
{
	struct host_fixture *f = *state;
	start(f, OWNER, PINNING_DEDICATED);
	start(f, NEAR, PINNING_DEDICATED);
	expect_cpus(f, NEAR, "\"vcpus\":[2]");
	stop(f, OWNER);
	start(f, ANY, PINNING_NONE);
	settle_and_tell(f);
	struct start again = {NEAR, PINNING_DEDICATED}, other = {ANY, PINNING_NONE};
	assert_int_equal(writer_run(f->writer, start_job, &again, &f->e), 0);
	expect_cpus(f, NEAR, "\"vcpus\":[2]");
	assert_int_equal(writer_run(f->writer, start_job, &other, &f->e), 0);
	start(f, OWNER, PINNING_DEDICATED);
	settle(f);
	expect_cpus(f, ANY, "\"cpus\":\"1,3\"");
	assert_true(is_due(ANY)); /* its old process may be there still */
	VEC_FOR_EACH (&due, move)
		if (strcmp(move->vm_id, id_of('b', ANY)) == 0)
			assert_false(move->has_process);
}

struct pin_change {
	int vm;
	enum vm_pinning pinning;
	enum room_insist insist;
};

static int change_job(struct db *db, void *arg, struct err *e)
{
	const struct pin_change *change = arg;
	struct vm_spec spec = spec_of(1, 1);
	struct room_granted granted;
	spec.cpu.pinning = change->pinning;
	return room_change(db, room, id_of('b', change->vm), id_of('a', 0), &spec, change->insist,
	        &granted, e);
}

static void test_a_change_behind_a_start_owns_when_it_is_carried_out(void **state)
{
	struct host_fixture *f = *state;
	struct start granted = {ANY, PINNING_NONE};
	struct pin_change change = {ANY, PINNING_DEDICATED, ROOM_ASK};
	assert_int_equal(writer_run(f->writer, start_job, &granted, &f->e), 0);
	assert_int_equal(writer_run(f->writer, change_job, &change, &f->e), 0);
	expect_cpus(f, ANY, "\"vcpus\":[0]");
	assert_int_equal(writer_run(f->writer, run_job, &granted, &f->e), 0); /* as it was before */
	settle(f);
	expect_cpus(f, ANY, "\"cpus\":\"0-3\"");
	change.insist = ROOM_INSIST;
	assert_int_equal(writer_run(f->writer, change_job, &change, &f->e), 0);
	expect_cpus(f, ANY, "\"vcpus\":[0]");
	settle(f);
	assert_true(is_due(ANY));
	assert_int_equal(fixture_int(f, "SELECT dedicated FROM reservation"), 1);
}

static void test_an_owner_that_floats_can_be_changed(void **state)
{
	struct host_fixture *f = *state;
	for (int vm = OWNER; vm <= ANY; vm++)
		start(f, vm, PINNING_DEDICATED); /* three of four: one stays shared */
	see_running(f, ADOPTED, PINNING_DEDICATED);
	settle(f);
	expect_cpus(f, ADOPTED, "\"cpus\":\"3\"");
	expect_cpus(f, ADOPTED, "\"vcpus\":[]");
	struct pin_change change = {ADOPTED, PINNING_DEDICATED, ROOM_ASK};
	assert_int_equal(writer_run(f->writer, change_job, &change, &f->e), 0);
	stop(f, OWNER);
	assert_int_equal(writer_run(f->writer, change_job, &change, &f->e), 0);
	expect_cpus(f, ADOPTED, "\"vcpus\":[0]");
}

static int touches;

static void count_touch(void *arg, struct db *db, const char *kind, const char *object_id)
{
	(void)arg;
	(void)db;
	touches += strcmp(kind, ROOM_CPUS_CHANGED) == 0 && strcmp(object_id, id_of('a', 0)) == 0;
}

static int forget_job(struct db *db, void *arg, struct err *e)
{
	return room_forget_cpus(db, id_of('b', *(int *)arg), e);
}

static void test_a_deleted_owner_leaves_its_cpus_to_the_others(void **state)
{
	struct host_fixture *f = *state;
	int owner = OWNER, any = ANY;
	start(f, OWNER, PINNING_DEDICATED);
	stop(f, OWNER);
	start(f, ANY, PINNING_NONE);
	start(f, OWNER, PINNING_DEDICATED);
	change_feed_watch((struct change_watcher){.saw = count_touch});
	assert_int_equal(writer_run(f->writer, forget_job, &any, &f->e), 0);
	assert_int_equal(touches, 0);
	assert_int_equal(writer_run(f->writer, forget_job, &owner, &f->e), 0);
	assert_int_equal(touches, 1);
}

#define WITH_VMS(test) cmocka_unit_test_setup_teardown(test, setup_settle, teardown_settle)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_VMS(test_those_that_run_leave_what_one_owns_and_come_back),
	        WITH_VMS(test_one_that_starts_beside_an_owner_begins_where_it_belongs),
	        WITH_VMS(test_one_is_due_until_it_was_told_the_newest),
	        WITH_VMS(test_an_owner_that_others_started_is_given_cpus),
	        WITH_VMS(test_foreign_and_adopted_vms_stay_where_they_are),
	        WITH_VMS(test_one_from_a_saved_state_is_told_to_float),
	        WITH_VMS(test_one_that_others_started_is_told_whatever_it_was_defined_as),
	        WITH_VMS(test_what_happens_while_one_is_told_is_not_forgotten),
	        WITH_VMS(test_one_that_starts_again_keeps_its_cpus_and_its_old_process_is_told),
	        WITH_VMS(test_a_change_behind_a_start_owns_when_it_is_carried_out),
	        WITH_VMS(test_an_owner_that_floats_can_be_changed),
	        WITH_VMS(test_a_deleted_owner_leaves_its_cpus_to_the_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
