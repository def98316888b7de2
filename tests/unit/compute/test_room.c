/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations against a real database, one promise at a time: granting, growing, choosing, pinning. */
#include "tests/unit/compute/room_world.h"

#include "compute/host_view.h"
#include "compute/room_busy.h"

/* ---- single promises ---- */

struct grant {
	int vm, host;
	int64_t quarters;
};

static int grant_job(struct db *db, void *arg, struct err *e)
{
	const struct grant *grant = arg;
	const struct vm_spec spec = spec_of(grant->quarters, 1);
	struct room_granted granted;
	return room_grant(
	        db, room, id_of('b', grant->vm), id_of('a', grant->host), &spec, &granted, e);
}

static void test_the_last_gigabyte_is_given_once_and_the_refusal_has_the_arithmetic(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 2 * GIB);
	add_vm(f, 0, 0);
	add_vm(f, 1, 0);
	struct grant first = {.vm = 0, .quarters = 4}, second = {.vm = 1, .quarters = 4};
	assert_int_equal(writer_run(f->writer, grant_job, &first, &f->e), 0);
	assert_int_equal(writer_run(f->writer, grant_job, &second, &f->e), ERR_NO_CAPACITY);
	json_t *numbers CLEANUP(cleanup_json) = json_loads(f->e.numbers, 0, NULL);
	assert_non_null(numbers);
	assert_non_null(strstr(f->e.message, "h0"));
	assert_true(f->e.hint[0] != '\0');
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM reservation"), 1);
}

static void test_what_no_host_could_hold_is_unprocessable(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 2 * GIB);
	add_vm(f, 0, 0);
	struct grant grant = {.vm = 0, .quarters = 9};
	assert_int_equal(writer_run(f->writer, grant_job, &grant, &f->e), ERR_UNPROCESSABLE);
}

static int patch_group(struct db *db, void *arg, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	json_t *patch CLEANUP(cleanup_json) = json_loads(arg, 0, NULL);
	struct field_errors errors = {0};
	int rc = host_group_store_get(db, HOST_GROUP_DEFAULT_ID, &row, e);
	return rc < 0 ? rc : host_group_update(db, &row, patch, &errors, e);
}

static void set_group(struct host_fixture *f, char *patch)
{
	assert_int_equal(writer_run(f->writer, patch_group, patch, &f->e), 0);
}

static void test_a_changed_policy_counts_from_the_next_decision_on(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 2 * GIB);
	add_vm(f, 0, 0);
	add_vm(f, 1, 0);
	struct grant first = {.vm = 0, .quarters = 5}, second = {.vm = 1, .quarters = 5};
	assert_int_equal(writer_run(f->writer, grant_job, &first, &f->e), 0);
	assert_int_equal(writer_run(f->writer, grant_job, &second, &f->e), ERR_NO_CAPACITY);
	char patch[] = "{\"overcommit\":{\"mode\":\"ratio\",\"memory_ratio\":2.0}}";
	set_group(f, patch);
	/* The floors, by default whole sizes, are still never promised twice. */
	assert_int_equal(writer_run(f->writer, grant_job, &second, &f->e), ERR_NO_CAPACITY);
	assert_non_null(strstr(f->e.numbers, "memory_floor"));
}

static int see_foreign(struct db *db, void *arg, struct err *e)
{
	const struct room_seen seen = {.vm_id = id_of('b', 0),
	        .host_id = id_of('a', 0),
	        .has_process = *(bool *)arg,
	        .vcpus = 2,
	        .memory_bytes = 4 * GIB};
	return room_observe(db, &seen, e);
}

static void test_a_domain_started_by_others_holds_room_even_where_there_is_none(void **state)
{
	struct host_fixture *f = *state;
	bool has_process = true;
	add_host(f, 0, 2 * GIB);
	add_vm(f, 0, 0);
	add_vm(f, 1, 0);
	assert_int_equal(writer_run(f->writer, see_foreign, &has_process, &f->e), 0);
	struct grant grant = {.vm = 1, .quarters = 1};
	assert_int_equal(writer_run(f->writer, grant_job, &grant, &f->e), ERR_NO_CAPACITY);
	has_process = false;
	assert_int_equal(writer_run(f->writer, see_foreign, &has_process, &f->e), 0);
	assert_int_equal(writer_run(f->writer, grant_job, &grant, &f->e), 0);
}

/* ---- growing while it runs ---- */

#define ACTIVE                                                                                     \
	"{\"architecture\":\"x86_64\",\"cpu\":{\"count\":1},\"memory\":{\"size_bytes\":"           \
	"1073741824,"                                                                              \
	"\"min_bytes\":268435456,\"max_bytes\":2147483648}}"

static int see_running(struct db *db, void *arg, struct err *e)
{
	const struct room_seen seen = {.vm_id = id_of('b', *(int *)arg),
	        .host_id = id_of('a', 0),
	        .has_process = true,
	        .spec = ACTIVE};
	return room_observe(db, &seen, e);
}

static struct room_granted growth;

static int grow_job(struct db *db, void *arg, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_spec_load(ACTIVE, &spec, e);
	spec.memory.size_bytes = *(const int64_t *)arg;
	return rc < 0 ? rc
	              : room_change(db, room, id_of('b', 0), id_of('a', 0), &spec, ROOM_ASK,
	                        &growth, e);
}

static void run_two(struct host_fixture *f, int64_t host_bytes)
{
	add_host(f, 0, host_bytes);
	for (int i = 0; i < 2; i++) {
		add_vm(f, i, 0);
		assert_int_equal(writer_run(f->writer, see_running, &i, &f->e), 0);
	}
	fixture_exec(f, "UPDATE vm SET active_spec = '" ACTIVE "'");
}

static int64_t held_of_first(struct host_fixture *f, const char *column)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT %s FROM reservation WHERE vm_id = '%s'", column, id_of('b', 0));
	return fixture_int(f, sql);
}

static void test_a_running_guest_holds_what_it_grows_to_before_it_does(void **state)
{
	struct host_fixture *f = *state;
	int64_t odd = GIB + MIB, larger = GIB + 512 * MIB, beyond = 3 * GIB;
	run_two(f, 6 * GIB);
	assert_int_equal(writer_run(f->writer, grow_job, &odd, &f->e), 0);
	assert_int_equal(writer_run(f->writer, grow_job, &beyond, &f->e), 0);
	assert_int_equal(held_of_first(f, "size_bytes"), GIB); /* both wait for a restart */
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), 0);
	assert_int_equal(held_of_first(f, "size_bytes"), larger);
	assert_int_equal(held_of_first(f, "booked_bytes"), larger);
	assert_int_equal(held_of_first(f, "min_bytes"), GIB / 4);
}

static void test_growth_leaves_room_for_the_loss_of_a_host(void **state)
{
	struct host_fixture *f = *state;
	int64_t larger = GIB + 512 * MIB;
	char survive[] = "{\"placement\":{\"survive_host_loss\":1}}";
	char no_more[] = "{\"placement\":{\"survive_host_loss\":0}}";
	run_two(f, 8 * GIB);
	add_host(f, 1, 5 * GIB / 2); /* takes both as they are */
	set_group(f, survive);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), ERR_NO_CAPACITY);
	assert_non_null(strstr(f->e.message, "h0"));
	assert_int_equal(held_of_first(f, "size_bytes"), GIB);
	set_group(f, no_more);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), 0);
}

static void test_growth_waits_where_other_guests_have_to_give_first(void **state)
{
	struct host_fixture *f = *state;
	int64_t larger = GIB + 512 * MIB;
	run_two(f, 5 * GIB / 2);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), ERR_NO_CAPACITY);
	assert_int_equal(held_of_first(f, "size_bytes"), GIB);
	/* Now the floors allow it, but what the guests have does not. */
	char patch[] = "{\"overcommit\":{\"mode\":\"balloon\"}}";
	set_group(f, patch);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), 0);
	assert_true(growth.must_wait && growth.wait_bytes > 0);
	assert_int_equal(growth.grows_to_bytes, larger);
	assert_int_equal(held_of_first(f, "size_bytes"), larger);
	assert_int_equal(held_of_first(f, "booked_bytes"), larger);
}

static int return_growth_job(struct db *db, void *arg, struct err *e)
{
	return room_return_growth(db, id_of('b', 0), id_of('a', 0), *(const int64_t *)arg, e);
}

static void test_failed_growth_gives_back_what_the_guest_did_not_come_to_have(void **state)
{
	struct host_fixture *f = *state;
	int64_t before = GIB, larger = GIB + 512 * MIB;
	run_two(f, 6 * GIB);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), 0);
	assert_int_equal(writer_run(f->writer, return_growth_job, &before, &f->e), 0);
	assert_int_equal(held_of_first(f, "size_bytes"), GIB);
	assert_int_equal(held_of_first(f, "booked_bytes"), GIB);
	assert_int_equal(writer_run(f->writer, grow_job, &larger, &f->e), 0);
	assert_int_equal(writer_run(f->writer, return_growth_job, &larger, &f->e), 0);
	assert_int_equal(held_of_first(f, "size_bytes"), larger);
	assert_int_equal(held_of_first(f, "booked_bytes"), larger);
}

/* ---- choosing ---- */

struct choice {
	struct room_wish wish;
	char host_id[UUID_TEXT_SIZE];
};

static int choose_job(struct db *db, void *arg, struct err *e)
{
	struct choice *choice = arg;
	return room_choose(db, room, &choice->wish, choice->host_id, e);
}

static void set_state(struct host_fixture *f, int host, const char *state)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "UPDATE host SET state = '%s' WHERE id = '%s'; UPDATE host SET state_reason = ''",
	        state, id_of('a', host));
	fixture_exec(f, sql);
}

static void test_a_vm_that_stays_off_goes_where_there_is_no_room_now(void **state)
{
	struct host_fixture *f = *state;
	const struct vm_spec spec = spec_of(4, 1), large = spec_of(9, 1);
	add_host(f, 0, 2 * GIB);
	add_vm(f, 0, 0);
	struct grant first = {.vm = 0, .quarters = 5};
	assert_int_equal(writer_run(f->writer, grant_job, &first, &f->e), 0);
	struct choice choice = {.wish = {.spec = &spec, .starts = true}};
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), ERR_NO_CAPACITY);
	choice.wish.starts = false;
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	assert_string_equal(choice.host_id, id_of('a', 0));
	choice.wish.spec = &large; /* never */
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), ERR_UNPROCESSABLE);
}

static void test_hosts_that_do_not_answer_are_chosen_only_by_who_waits(void **state)
{
	struct host_fixture *f = *state;
	const struct vm_spec spec = spec_of(1, 1);
	add_host(f, 0, 2 * GIB);
	add_host(f, 1, 2 * GIB);
	set_state(f, 0, "down");
	set_state(f, 1, "down");
	struct choice choice = {.wish = {.spec = &spec, .starts = true}};
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), ERR_HOST_DOWN);
	choice.wish.may_wait = true;
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
}

static int set_host_state(struct db *db, void *arg, struct err *e)
{
	const struct change change = {.kind = "host", .event = "state", .object_id = id_of('a', 1)};
	int rc = db_exec(db, arg, e);
	return rc < 0 ? rc : change_add(db, &change, e);
}

static void test_a_host_that_answers_again_is_preferred(void **state)
{
	struct host_fixture *f = *state;
	const struct vm_spec spec = spec_of(1, 1);
	add_host(f, 0, 2 * GIB);
	add_host(f, 1, 2 * GIB);
	set_state(f, 0, "down");
	set_state(f, 1, "down");
	struct choice choice = {.wish = {.spec = &spec, .starts = true, .may_wait = true}};
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	char sql[] = "UPDATE host SET state = 'ok' WHERE name = 'h1'";
	assert_int_equal(writer_run(f->writer, set_host_state, sql, &f->e), 0);
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	assert_string_equal(choice.host_id, id_of('a', 1));
}

/* ---- CPU models ---- */

/* Facts of a host that offers this one model to guests of its architecture; NULL: does not say. */
static void set_model(struct host_fixture *f, int host, char *model, bool has_kvm)
{
	static char x86[] = "x86_64", type[] = "qemu";
	char *models[] = {model, NULL};
	struct arch_facts arch = {.name = "x86_64",
	        .has_kvm = has_kvm,
	        .has_uefi = true,
	        .cpu_models = model ? models : NULL};
	const struct host_facts facts = {.cpu_arch = x86,
	        .domain_type = type,
	        .hardware = has_kvm ? HARDWARE_VMX : HARDWARE_NONE,
	        .archs = &arch,
	        .n_archs = 1};
	char *stored CLEANUP(cleanup_free) = host_facts_store(&facts);
	char *sql CLEANUP(cleanup_free) = str_format(
	        "UPDATE host SET facts = '%s' WHERE id = '%s'", stored, id_of('a', host));
	fixture_exec(f, sql);
}

static void test_a_named_cpu_model_is_placed_where_the_host_can_give_it(void **state)
{
	struct host_fixture *f = *state;
	static char skylake[] = "Skylake", old[] = "Opteron_G5", any[] = "maximum";
	static char x86[] = "x86_64";
	struct vm_spec spec = spec_of(1, 1);
	spec.architecture = x86;
	spec.cpu.model = skylake;
	add_host(f, 0, 2 * GIB);
	add_host(f, 1, 4 * GIB); /* the better one, but for its CPUs */
	set_model(f, 0, skylake, false);
	set_model(f, 1, old, false);
	struct choice choice = {.wish = {.spec = &spec, .starts = true}};
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	assert_string_equal(choice.host_id, id_of('a', 0));
	spec.cpu.model = any;
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	assert_string_equal(choice.host_id, id_of('a', 1));
	spec.cpu.model = skylake;
	choice.wish.host_id = id_of('a', 1);
	assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), ERR_NO_CAPACITY);
	assert_non_null(strstr(f->e.message, "Skylake"));
}

static void test_cpu_models_that_are_not_known_refuse_nothing(void **state)
{
	struct host_fixture *f = *state;
	static char skylake[] = "Skylake", old[] = "Opteron_G5", x86[] = "x86_64";
	struct vm_spec spec = spec_of(1, 1);
	spec.architecture = x86;
	spec.cpu.model = skylake;
	add_host(f, 0, 2 * GIB);
	add_host(f, 1, 4 * GIB);
	set_model(f, 0, old, false);
	set_model(f, 1, NULL, false);
	/* Asked with KVM, but set to emulate: what it could give then is not known either. */
	add_host(f, 2, 8 * GIB);
	set_model(f, 2, old, true);
	fixture_exec(f, "UPDATE host SET accelerator = 'tcg' WHERE name = 'h2'");
	for (int host = 1; host <= 2; host++) {
		struct choice choice = {.wish = {.spec = &spec, .starts = true}};
		choice.wish.host_id = id_of('a', host);
		assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
	}
}

/* ---- NUMA nodes ---- */

static int pin_job(struct db *db, void *arg, struct err *e)
{
	const int *vm = arg;
	struct vm_spec spec = spec_of(5, 1);
	struct room_granted granted;
	spec.cpu.pinning = PINNING_AUTO;
	return room_grant(db, room, id_of('b', *vm), id_of('a', 0), &spec, &granted, e);
}

static void test_memory_that_pinned_vms_hold_sends_the_next_to_another_node(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 4 * GIB);
	set_nodes(f, 0);
	for (int vm = 0; vm < 2; vm++) {
		add_vm(f, vm, 0);
		assert_int_equal(writer_run(f->writer, pin_job, &vm, &f->e), 0);
	}
	expect_cpus(f, 0, "\"nodes\":\"0\"");
	expect_cpus(f, 1, "\"nodes\":\"1\"");
}

/* ---- pinning and huge pages of a running VM ---- */

struct change_job {
	int vm;
	struct vm_spec spec;
	enum room_insist insist;
};

static int change_job(struct db *db, void *arg, struct err *e)
{
	const struct change_job *job = arg;
	return room_change(
	        db, room, id_of('b', job->vm), id_of('a', 0), &job->spec, job->insist, &growth, e);
}

static int run_job_of_vm(struct db *db, void *arg, struct err *e)
{
	const int *vm = arg;
	const struct room_seen seen = {
	        .vm_id = id_of('b', *vm),
	        .host_id = id_of('a', 0),
	        .has_process = true,
	        .vcpus = 1,
	        .memory_bytes = GIB / 4,
	};
	return room_observe(db, &seen, e);
}

static void run_vm(struct host_fixture *f, int vm)
{
	add_vm(f, vm, 0);
	assert_int_equal(writer_run(f->writer, run_job_of_vm, &vm, &f->e), 0);
}

static int change_pinning(struct host_fixture *f, int vm, enum vm_pinning pinning)
{
	struct change_job job = {.vm = vm, .spec = spec_of(1, 1)};
	job.spec.cpu.pinning = pinning;
	return writer_run(f->writer, change_job, &job, &f->e);
}

static bool is_dedicated(struct host_fixture *f, int vm)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	assert_int_equal(
	        room_store_get(f->reader, id_of('b', vm), id_of('a', 0), &row, &found, &f->e), 0);
	assert_true(found);
	return row.held.dedicated;
}

static void test_pinning_of_a_running_vm_is_admitted_or_refused_with_the_arithmetic(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 4 * GIB); /* four CPUs, of which one stays shared */
	set_nodes(f, 0);
	for (int vm = 0; vm < 4; vm++)
		run_vm(f, vm);
	for (int vm = 0; vm < 3; vm++)
		assert_int_equal(change_pinning(f, vm, PINNING_DEDICATED), 0);
	assert_true(is_dedicated(f, 2));
	assert_true(change_pinning(f, 3, PINNING_DEDICATED) < 0);
	assert_non_null(strstr(f->e.numbers, "dedicated"));
	assert_false(is_dedicated(f, 3));
	assert_int_equal(change_pinning(f, 0, PINNING_NONE), 0);
	assert_false(is_dedicated(f, 0));
	expect_cpus(f, 0, "\"nodes\":\"\"");
	assert_int_equal(change_pinning(f, 3, PINNING_DEDICATED), 0);
	assert_int_equal(change_pinning(f, 0, PINNING_AUTO), 0); /* where one is shared */
	expect_cpus(f, 0, "\"vcpus\":[]");
	/* Taking back what others own by now: it is written down, and the VM floats. */
	struct change_job back = {.vm = 0, .spec = spec_of(1, 1), .insist = ROOM_INSIST};
	back.spec.cpu.pinning = PINNING_DEDICATED;
	assert_int_equal(writer_run(f->writer, change_job, &back, &f->e), 0);
	assert_true(is_dedicated(f, 0));
	bool same = false;
	assert_int_equal(writer_run(f->writer, verify, &same, &f->e), 0);
	assert_true(same);
}

static int hugepages_job(struct db *db, void *arg, struct err *e)
{
	struct room_granted granted;
	return room_grant(db, room, id_of('b', 0), id_of('a', 0), arg, &granted, e);
}

static void test_huge_pages_of_a_running_vm_wait_for_its_next_start(void **state)
{
	struct host_fixture *f = *state;
	add_host(f, 0, 4 * GIB);
	char sql[128];
	snprintf(sql, sizeof(sql), "UPDATE host SET facts = '{\"hugepage_bytes\":%lld}'",
	        (long long)GIB);
	fixture_exec(f, sql);
	run_vm(f, 0);
	struct change_job job = {.vm = 0, .spec = spec_of(1, 1)};
	job.spec.memory.hugepages = true;
	assert_int_equal(writer_run(f->writer, change_job, &job, &f->e), 0);
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	assert_int_equal(
	        room_store_get(f->reader, id_of('b', 0), id_of('a', 0), &row, &found, &f->e), 0);
	assert_true(found && !row.held.hugepages);
	struct vm_spec large = spec_of(5, 1); /* more than the pages that there are */
	large.memory.hugepages = true;
	job.spec = large;
	assert_int_equal(writer_run(f->writer, change_job, &job, &f->e), ERR_UNPROCESSABLE);
	char stop[] = "DELETE FROM reservation";
	fixture_exec(f, stop);
	assert_int_equal(writer_run(f->writer, hugepages_job, &large, &f->e), ERR_UNPROCESSABLE);
	struct vm_spec small = spec_of(1, 1);
	small.memory.hugepages = true;
	assert_int_equal(writer_run(f->writer, hugepages_job, &small, &f->e), 0);
}

/* ---- busy hosts ---- */

static struct host_stats use_of(int64_t busy_s, int64_t idle_s)
{
	const int64_t second = 1000000000;
	struct host_stats stats;
	host_stats_init(&stats);
	stats.cpu_busy_ns = busy_s * second;
	stats.cpu_idle_ns = idle_s * second;
	return stats;
}

static void note(int host, int64_t busy_s, int64_t idle_s, int64_t now_ms)
{
	const struct host_stats stats = use_of(busy_s, idle_s);
	room_busy_note(room_busy(room), id_of('a', host), &stats, now_ms);
}

static int copy_busy(void *arg, const struct inventory *inventory, struct err *e)
{
	int64_t *busy = arg;
	(void)e;
	for (int i = 0; i < 2; i++)
		busy[i] = inventory_host(inventory, id_of('a', i))->cpu_busy_percent;
	return 0;
}

static void test_a_busy_host_is_avoided_by_readers_and_writer_alike(void **state)
{
	struct host_fixture *f = *state;
	const struct vm_spec spec = spec_of(1, 1);
	int64_t now = clock_now_ms(), busy[2];
	add_host(f, 0, 4 * GIB);
	add_host(f, 1, 4 * GIB);
	struct choice choice = {.wish = {.spec = &spec, .starts = true}};
	for (int busy_host = 0; busy_host < 2; busy_host++) {
		for (int host = 0; host < 2; host++) {
			int64_t at = 100 * busy_host;
			note(host, at, at, now + busy_host * 20000);
			note(host, at + (host == busy_host ? 9 : 1), at + 10,
			        now + busy_host * 20000 + 10000);
		}
		assert_int_equal(writer_run(f->writer, choose_job, &choice, &f->e), 0);
		assert_string_equal(choice.host_id, id_of('a', !busy_host));
		assert_int_equal(room_look(room, f->reader, copy_busy, busy, &f->e), 0);
		assert_int_equal(busy[busy_host], 50);
		assert_int_equal(busy[!busy_host], 10);
	}
	/* A host's row that is read again does not make it idle. */
	char sql[] = "UPDATE host SET state = 'ok' WHERE name = 'h1'";
	assert_int_equal(writer_run(f->writer, set_host_state, sql, &f->e), 0);
	assert_int_equal(room_look(room, f->reader, copy_busy, busy, &f->e), 0);
	assert_int_equal(busy[1], 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_ROOM(test_the_last_gigabyte_is_given_once_and_the_refusal_has_the_arithmetic),
	        WITH_ROOM(test_what_no_host_could_hold_is_unprocessable),
	        WITH_ROOM(test_a_changed_policy_counts_from_the_next_decision_on),
	        WITH_ROOM(test_a_domain_started_by_others_holds_room_even_where_there_is_none),
	        WITH_ROOM(test_a_running_guest_holds_what_it_grows_to_before_it_does),
	        WITH_ROOM(test_growth_leaves_room_for_the_loss_of_a_host),
	        WITH_ROOM(test_growth_waits_where_other_guests_have_to_give_first),
	        WITH_ROOM(test_failed_growth_gives_back_what_the_guest_did_not_come_to_have),
	        WITH_ROOM(test_a_vm_that_stays_off_goes_where_there_is_no_room_now),
	        WITH_ROOM(test_hosts_that_do_not_answer_are_chosen_only_by_who_waits),
	        WITH_ROOM(test_a_host_that_answers_again_is_preferred),
	        WITH_ROOM(test_a_named_cpu_model_is_placed_where_the_host_can_give_it),
	        WITH_ROOM(test_cpu_models_that_are_not_known_refuse_nothing),
	        WITH_ROOM(test_memory_that_pinned_vms_hold_sends_the_next_to_another_node),
	        WITH_ROOM(test_pinning_of_a_running_vm_is_admitted_or_refused_with_the_arithmetic),
	        WITH_ROOM(test_huge_pages_of_a_running_vm_wait_for_its_next_start),
	        WITH_ROOM(test_a_busy_host_is_avoided_by_readers_and_writer_alike),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
