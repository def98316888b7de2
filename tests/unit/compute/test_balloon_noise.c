/* SPDX-License-Identifier: Apache-2.0 */
/* Noisy neighbours: who keeps whom from computing is shown, and is an event when it begins and when it ends. */
#include "tests/unit/compute/balloon_bed.h"

#define SECOND_NS 1000000000LL
#define NEWS      "FROM change WHERE event = 'noisy_neighbour' ORDER BY seq DESC LIMIT 1"

enum neighbour { LOUD, QUIET };

static char *noise_of(struct bed *bed, int i)
{
	struct json_writer w = {0};
	balloons_encode_noise(bed->all, bed->vm_ids[i], &w);
	return str_take(&w.out);
}

/* Guest 0 wants to run and waits for most of the time, as guest 1 takes what it can; or that one rests. */
static void hear(struct bed *bed, int n, enum neighbour neighbour)
{
	static int64_t run_ns[2], delay_ns[2]; /* counters: they only grow */
	struct domain_stats stats[2];
	for (int round = 0; round < n; round++) {
		bed->now_ms += 5000;
		clock_fake_set(bed->now_ms);
		run_ns[0] += 5 * SECOND_NS;
		run_ns[1] += neighbour == LOUD ? 80 * SECOND_NS : 0;
		delay_ns[0] += neighbour == LOUD ? 95 * SECOND_NS : 0;
		for (int i = 0; i < 2; i++) {
			domain_stats_init(&stats[i]);
			uuid_text_copy(stats[i].id, bed->vm_ids[i]);
			stats[i].cpu_time_ns = run_ns[i];
			stats[i].vcpu_delay_ns = delay_ns[i];
		}
		const struct domain_stats_list list = {.items = stats, .len = 2};
		balloons_hear_stats(bed->all, bed->host_id, &list);
	}
}

static void test_who_keeps_whom_from_computing_is_shown(void **state)
{
	struct bed *bed = *state;
	start_controller(bed);
	char *unknown CLEANUP(cleanup_free) = noise_of(bed, 0);
	assert_string_equal(unknown, "null");
	hear(bed, 6, LOUD);
	char *victim CLEANUP(cleanup_free) = noise_of(bed, 0);
	char *cause CLEANUP(cleanup_free) = noise_of(bed, 1);
	assert_non_null(strstr(victim, "\"suffers\":true"));
	assert_non_null(strstr(victim, "\"delay_percent\":95"));
	assert_non_null(strstr(victim, bed->vm_ids[1]));
	assert_non_null(strstr(cause, "\"suffers\":false"));
	assert_non_null(strstr(cause, "\"cause_id\":null"));
	balloons_hear_stats(bed->all, bed->host_id, &(struct domain_stats_list){0});
	char *gone CLEANUP(cleanup_free) = noise_of(bed, 0);
	assert_string_equal(gone, "null");
}

static void test_its_beginning_and_its_end_are_events_that_name_who_and_whom(void **state)
{
	struct bed *bed = *state;
	struct host_fixture *f = bed->f;
	start_controller(bed);
	hear(bed, 6, LOUD);
	assert_true(TURN_UNTIL(f->loop, events(bed, "noisy_neighbour") == 1));
	assert_true(fixture_is(f, "SELECT object_id " NEWS, bed->vm_ids[0]));
	assert_true(fixture_is(f, "SELECT kind || ' ' || name " NEWS, "vm vm0"));
	char *began CLEANUP(cleanup_free) = fixture_text(f, "SELECT data " NEWS);
	char *cause CLEANUP(cleanup_free) =
	        str_format("\"cause_id\":\"%s\",\"cause\":\"vm1\"", bed->vm_ids[1]);
	assert_non_null(strstr(began, "\"suffers\":true,\"delay_percent\":95,\"used_cpus\":1"));
	assert_non_null(strstr(began, cause));
	assert_non_null(strstr(began, "\"cause_used_cpus\":16"));
	hear(bed, 6, QUIET);
	assert_true(TURN_UNTIL(f->loop, events(bed, "noisy_neighbour") == 2));
	assert_true(fixture_is(f, "SELECT object_id " NEWS, bed->vm_ids[0]));
	char *ended CLEANUP(cleanup_free) = fixture_text(f, "SELECT data " NEWS);
	assert_non_null(strstr(ended, "\"suffers\":false"));
	assert_null(strstr(ended, "\"cause"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        IN_BED(test_who_keeps_whom_from_computing_is_shown),
	        IN_BED(test_its_beginning_and_its_end_are_events_that_name_who_and_whom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
