/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon controller: how memory moves, around guests and hosts that do not answer, and is put back. */
#include "tests/unit/compute/balloon_bed.h"

#include "compute/vm_jobs.h"

/* ---- memory moves ---- */

static int64_t sum_current(struct bed *bed)
{
	int64_t sum = 0;
	for (int i = 0; i < GUESTS; i++)
		sum += current_mib(bed, i);
	return sum;
}

static void test_memory_moves_to_the_guest_in_need_and_back(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	cycles(bed, 10);
	assert_true(sum_current(bed) <= USABLE);
	for (int needy = 0; needy < 2; needy++) {
		set_used(bed, needy, 460);
		set_used(bed, !needy, 100);
		cycles(bed, 10);
		assert_true(current_mib(bed, needy) >= 460);
		assert_true(sum_current(bed) <= USABLE);
		for (int i = 0; i < GUESTS; i++)
			assert_true(current_mib(bed, i) >= FLOOR);
	}
}

static void test_booked_is_never_less_than_what_a_guest_has(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	bool has_sunk = false;
	for (int n = 0; n < 30; n++) {
		set_used(bed, 0, n % 10 < 5 ? 450 : 100);
		cycle(bed);
		for (int i = 0; i < GUESTS; i++) {
			assert_true(booked_mib(bed, i) >= current_mib(bed, i));
			has_sunk = has_sunk || booked_mib(bed, i) < SIZE;
		}
	}
	assert_true(has_sunk);
}

static void test_restart_goes_on_with_what_guests_have(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	cycles(bed, 15);
	int64_t before[GUESTS];
	for (int i = 0; i < GUESTS; i++)
		before[i] = current_mib(bed, i);
	stop_controller(bed);
	for (int i = 0; i < GUESTS; i++)
		assert_int_equal(current_mib(bed, i), before[i]);
	start_controller(bed);
	cycle(bed);
	for (int i = 0; i < GUESTS; i++) {
		int64_t moved = current_mib(bed, i) - before[i];
		assert_true(moved <= SIZE / 4 && moved >= -SIZE / 4);
	}
	set_used(bed, 2, 460);
	cycles(bed, 8);
	assert_true(current_mib(bed, 2) >= 460);
}

static void test_host_without_flexible_guests_is_not_looked_at(void **state)
{
	struct bed *bed = *state;
	set_group(bed, "ratio", true, 0);
	exec(bed, "UPDATE vm SET spec = replace(spec, '%lld', '%lld'), active_spec = spec",
	        FLOOR * MIB, SIZE * MIB);
	start_controller(bed);
	loop_turn_for(bed->f->loop, 100);
	assert_int_equal(fake_host_count_calls("h1", "get_stats"), 0);
	assert_null(bed->site->timer);
	assert_null(bed->site->view);
	/* One guest with a floor below its size is enough. */
	exec(bed,
	        "UPDATE vm SET spec = replace(spec, '\"min_bytes\":%lld', '\"min_bytes\":%lld') "
	        "WHERE name = 'vm0'",
	        SIZE * MIB, FLOOR * MIB);
	balloon_site_mark_stale(bed->site);
	assert_true(TURN_UNTIL(bed->f->loop, bed->site->view));
}

/* ---- guests that do not do as they are told ---- */

static void test_uncooperative_guest_is_flagged_and_routed_around(void **state)
{
	struct bed *bed = *state;
	const struct fake_guest_memory stuck = {
	        .used_bytes = 100 * MIB, .balloon = FAKE_BALLOON_STUCK};
	fake_guest_set_memory("h1", bed->vm_ids[3], &stuck);
	start_controller(bed);
	cycles(bed, 23);
	assert_int_equal(shown(bed, 3)->state, BALLOON_VM_UNCOOPERATIVE);
	assert_int_equal(events(bed, "balloon_flagged"), 1);
	assert_int_equal(current_mib(bed, 3), SIZE);
	assert_true(sum_current(bed) <= USABLE);
	set_used(bed, 0, 400);
	cycles(bed, 8);
	assert_true(current_mib(bed, 0) >= 400);
	assert_true(sum_current(bed) <= USABLE);
}

static void test_hung_guest_delays_nobody(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	cycles(bed, 3);
	fake_guest_set_hung("h1", bed->vm_ids[3], true);
	set_used(bed, 0, 460);
	/* Not `cycle`: a call to the hung one may be under way all the time. */
	for (int i = 0; i < 12; i++) {
		bed->now_ms += 1000;
		clock_fake_set(bed->now_ms);
		assert_true(TURN_UNTIL(bed->f->loop, bed->site->plan_ms == bed->now_ms));
		loop_turn_for(bed->f->loop, 10);
	}
	assert_true(current_mib(bed, 0) >= 460);
	assert_int_equal(shown(bed, 3)->state, BALLOON_VM_INACTIVE);
	fake_guest_set_hung("h1", bed->vm_ids[3], false);
}

static void test_hung_host_delays_no_other(void **state)
{
	struct bed *bed = *state;
	char other[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	assert_int_equal(
	        fixture_create(bed->f, bed->f->hosts, "h2", "fake:///h2?memory_mib=2048", other),
	        0);
	assert_true(TURN_UNTIL(bed->f->loop, hosts_state(bed->f->hosts, other) == HOST_OK));
	fake_domain_foreign_add("h2", "w0", true, vm_id);
	add_vm(bed, vm_id, "w0", "running", "");
	exec(bed, "UPDATE vm SET host_id = '%s' WHERE name = 'w0'", other);
	start_controller(bed);
	cycle(bed);
	fake_host_hang("h2");
	cycles(bed, 5);
	assert_true(sum_current(bed) <= USABLE);
	fake_host_release("h2");
}

static void test_failed_call_is_made_again(void **state)
{
	struct bed *bed = *state;
	const struct fake_behaviour fails = {.error_code = ERR_HYPERVISOR, .count = 8};
	fake_script_set("h1", "set_memory_live", NULL, &fails);
	start_controller(bed);
	cycles(bed, 15);
	assert_true(sum_current(bed) <= USABLE);
}

/* ---- guests that are worked on ---- */

static struct operation *under_way;

static void stay_under_way(struct operation *op)
{
	under_way = op;
}

static const struct operation_step endless[] = {{.name = "work", .run = stay_under_way}};
#define WORK(text, job_name)                                                                       \
	{                                                                                          \
		.name = text, .steps = endless, .n_steps = 1, VM_JOB(job_name)                     \
	}
static const struct operation_kind holding[] = {WORK("test.suspend", SUSPEND),
        WORK("test.snapshot", SNAPSHOT), WORK("test.revert", REVERT), WORK("test.migrate", MIGRATE),
        WORK("test.backup", BACKUP)};
/* Hours, perhaps, and it is all the same to them what memory the guest has. */
static const struct operation_kind not_holding[] = {
        WORK("test.block", BLOCK), WORK("test.merge", MERGE)};

struct work {
	struct bed *bed;
	const struct operation_kind *kind;
};

static int create_work(struct db *db, void *arg, struct err *e)
{
	const struct work *work = arg;
	const struct operation_request request = {.kind = work->kind->name,
	        .target_kind = "vm",
	        .target_id = work->bed->vm_ids[0],
	        .target_name = "vm0",
	        .host_id = work->bed->host_id,
	        .requested_by = "test"};
	char id[UUID_TEXT_SIZE];
	return operation_create(db, work->bed->f->engine, &request, id, e);
}

static void begin_work(struct bed *bed, const struct operation_kind *kind)
{
	struct work work = {.bed = bed, .kind = kind};
	under_way = NULL;
	operation_engine_register(bed->f->engine, kind);
	assert_int_equal(writer_run(bed->f->writer, create_work, &work, &bed->f->e), 0);
	assert_true(TURN_UNTIL(bed->f->loop, under_way));
}

static void end_work(struct bed *bed)
{
	operation_step_done(under_way, 0, NULL);
	assert_true(TURN_UNTIL(
	        bed->f->loop, operation_engine_jobs(bed->f->engine, bed->vm_ids[0]) == 0));
}

/* All four are to give. */
static void check_worked_on(struct bed *bed, const struct operation_kind *kind, bool is_held)
{
	start_controller(bed);
	begin_work(bed, kind);
	cycles(bed, 10);
	assert_true(sum_current(bed) <= USABLE);
	assert_int_equal(shown(bed, 0)->state == BALLOON_VM_HELD, is_held);
	assert_int_equal(current_mib(bed, 0) == SIZE, is_held);
	assert_int_equal(shown(bed, 0)->target_bytes == SIZE * MIB, is_held);
	end_work(bed);
	set_used(bed, 1, 460);
	set_used(bed, 2, 460);
	cycles(bed, 10);
	assert_int_equal(shown(bed, 0)->state, BALLOON_VM_ACTIVE);
	assert_true(current_mib(bed, 0) < SIZE);
}

static void check_each_work(const struct operation_kind *kinds, size_t n, bool is_held)
{
	for (size_t i = 0; i < n; i++) {
		void *bed;
		setup(&bed);
		check_worked_on(bed, &kinds[i], is_held);
		teardown(&bed);
	}
}

static void test_guest_that_is_saved_or_copied_is_told_nothing_meanwhile(void **state)
{
	(void)state;
	check_each_work(holding, ARRAY_LEN(holding), /* is_held= */ true);
}

static void test_guest_whose_disks_are_worked_on_gives_all_the_same(void **state)
{
	(void)state;
	check_each_work(not_holding, ARRAY_LEN(not_holding), /* is_held= */ false);
}

/* ---- switched off ---- */

static void test_switched_off_guests_get_their_size_back_once(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	cycles(bed, 15);
	assert_true(sum_current(bed) < USABLE + 1);
	set_group(bed, "balloon", false, 0);
	balloon_site_mark_stale(bed->site);
	cycles(bed, 5);
	for (int i = 0; i < GUESTS; i++)
		assert_int_equal(current_mib(bed, i), SIZE);
	int64_t calls = fake_host_count_calls("h1", "set_memory_live");
	cycles(bed, 5);
	assert_int_equal(fake_host_count_calls("h1", "set_memory_live"), calls);
}

/* ---- room for starts ---- */

static void on_room(void *arg, int rc, const struct err *e)
{
	struct bed *bed = arg;
	bed->room_calls++;
	bed->room_rc = rc;
	if (e)
		bed->room_error = *e;
}

static const char newcomer[] = "11111111-1111-4111-8111-111111111111";

static void want(struct bed *bed, const char *vm_id, int64_t grows_to_bytes)
{
	const struct vm_room_need need = {.host_id = bed->host_id,
	        .vm_id = vm_id,
	        .grows_to_bytes = grows_to_bytes,
	        .done = on_room,
	        .done_arg = bed};
	balloons_want_room(bed->all, &need);
}

static void want_room(struct bed *bed, int mib)
{
	add_vm(bed, newcomer, "newcomer", "stopped", "");
	add_reservation(bed, newcomer, "starting", mib);
	want(bed, newcomer, 0);
}

static void test_room_is_made_for_a_start(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	cycles(bed, 5);
	want_room(bed, SIZE);
	for (int i = 0; i < 30 && bed->room_calls == 0; i++)
		cycle(bed);
	assert_int_equal(bed->room_calls, 1);
	assert_int_equal(bed->room_rc, 0);
	assert_true(sum_current(bed) + SIZE <= USABLE);
}

static void test_room_that_is_not_given_is_refused_with_the_arithmetic(void **state)
{
	struct bed *bed = *state;
	for (int i = 0; i < GUESTS; i++) {
		const struct fake_guest_memory stuck = {
		        .used_bytes = 300 * MIB, .balloon = FAKE_BALLOON_STUCK};
		fake_guest_set_memory("h1", bed->vm_ids[i], &stuck);
	}
	start_controller(bed);
	bed->all->config.room_timeout_ms = 300;
	cycles(bed, 3);
	want_room(bed, SIZE);
	assert_true(TURN_UNTIL(bed->f->loop, bed->room_calls == 1));
	assert_int_equal(bed->room_rc, ERR_NO_CAPACITY);
	assert_non_null(strstr(bed->room_error.message, "newcomer needs 512 MiB"));
	assert_non_null(strstr(bed->room_error.message, "vm0"));
	assert_non_null(strstr(bed->room_error.numbers, "\"asked_bytes\":536870912"));
	assert_null(bed->site->waiters);
}

/* A guest that grows waits though its process is listed all the time. */
static void test_room_is_made_for_growth(void **state)
{
	struct bed *bed = *state;
	const int more = 256;
	start_controller(bed);
	cycles(bed, 5);
	assert_true(sum_current(bed) + more > USABLE);
	want(bed, bed->vm_ids[0], (SIZE + more) * MIB);
	for (int i = 0; i < 30 && bed->room_calls == 0; i++)
		cycle(bed);
	assert_int_equal(bed->room_calls, 1);
	assert_int_equal(bed->room_rc, 0);
	assert_true(sum_current(bed) + more <= USABLE);
}

static void test_wait_for_room_can_be_dropped(void **state)
{
	struct bed *bed = *state;
	set_group(bed, "balloon", true, 2048 - 800);
	start_controller(bed);
	want_room(bed, SIZE);
	cycle(bed);
	balloons_drop_room(bed->all, newcomer);
	assert_int_equal(bed->room_calls, 1);
	assert_int_equal(bed->room_rc, ERR_CANCELLED);
	cycles(bed, 2);
	assert_int_equal(bed->site->view->memory.wanted_bytes, 0);
}

/* ---- the ladder ---- */

static void test_throttle_is_marked_and_taken_back_after_a_restart(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	for (int i = 0; i < GUESTS; i++)
		set_used(bed, i, 500);
	for (int i = 0; i < 60 && fake_host_count_calls("h1", "set_cpu_live") == 0; i++)
		cycle(bed);
	assert_true(fake_host_count_calls("h1", "set_cpu_live") > 0);
	assert_true(events(bed, "balloon_ladder") > 0);
	assert_int_equal(
	        fixture_int(bed->f, "SELECT count(*) FROM meta WHERE key LIKE 'cpu_throttled:%'"),
	        1);
	int64_t calls = fake_host_count_calls("h1", "set_cpu_live");
	stop_controller(bed);
	for (int i = 0; i < GUESTS; i++)
		set_used(bed, i, 100);
	start_controller(bed);
	cycles(bed, 3);
	assert_true(fake_host_count_calls("h1", "set_cpu_live") > calls);
	assert_int_equal(
	        fixture_int(bed->f, "SELECT count(*) FROM meta WHERE key LIKE 'cpu_throttled:%'"),
	        0);
}

static void test_ksm_is_sped_up_while_memory_is_short_and_put_back(void **state)
{
	struct bed *bed = *state;
	const struct ksm_state ksm = {.run = KSM_RUN_RUNNING, .pages_to_scan = 100, .sleep_ms = 20};
	fake_host_set_ksm("h1", &ksm);
	start_controller(bed);
	for (int i = 0; i < GUESTS; i++)
		set_used(bed, i, 500);
	cycles(bed, 40);
	assert_true(bed->site->ksm.pages_to_scan > 100);
	assert_true(bed->site->view->ksm.steered);
	for (int i = 0; i < GUESTS; i++)
		set_used(bed, i, 60);
	set_group(bed, "balloon", true, 0);
	balloon_site_mark_stale(bed->site);
	for (int i = 0; i < 200 && bed->site->is_ksm_marked; i++)
		cycle(bed);
	assert_false(bed->site->is_ksm_marked);
	assert_int_equal(bed->site->ksm.pages_to_scan, 100);
}

/* ---- what is booked, in steps ---- */

static void test_booked_moves_in_steps_but_never_below_the_truth(void **state)
{
	(void)state;
	assert_int_equal(balloon_choose_booked(300 * MIB, 512 * MIB, 512 * MIB, false), 320 * MIB);
	assert_int_equal(balloon_choose_booked(300 * MIB, 320 * MIB, 512 * MIB, false), 320 * MIB);
	assert_int_equal(balloon_choose_booked(250 * MIB, 320 * MIB, 512 * MIB, false), 320 * MIB);
	assert_int_equal(balloon_choose_booked(330 * MIB, 320 * MIB, 512 * MIB, false), 384 * MIB);
	assert_int_equal(balloon_choose_booked(500 * MIB, 384 * MIB, 512 * MIB, false), 512 * MIB);
	assert_int_equal(balloon_choose_booked(300 * MIB, 320 * MIB, 512 * MIB, true), 300 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        IN_BED(test_memory_moves_to_the_guest_in_need_and_back),
	        IN_BED(test_booked_is_never_less_than_what_a_guest_has),
	        IN_BED(test_restart_goes_on_with_what_guests_have),
	        IN_BED(test_host_without_flexible_guests_is_not_looked_at),
	        IN_BED(test_uncooperative_guest_is_flagged_and_routed_around),
	        IN_BED(test_hung_guest_delays_nobody),
	        IN_BED(test_hung_host_delays_no_other),
	        IN_BED(test_failed_call_is_made_again),
	        cmocka_unit_test(test_guest_that_is_saved_or_copied_is_told_nothing_meanwhile),
	        cmocka_unit_test(test_guest_whose_disks_are_worked_on_gives_all_the_same),
	        IN_BED(test_switched_off_guests_get_their_size_back_once),
	        IN_BED(test_room_is_made_for_a_start),
	        IN_BED(test_room_is_made_for_growth),
	        IN_BED(test_room_that_is_not_given_is_refused_with_the_arithmetic),
	        IN_BED(test_wait_for_room_can_be_dropped),
	        IN_BED(test_throttle_is_marked_and_taken_back_after_a_restart),
	        IN_BED(test_ksm_is_sped_up_while_memory_is_short_and_put_back),
	        cmocka_unit_test(test_booked_moves_in_steps_but_never_below_the_truth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
