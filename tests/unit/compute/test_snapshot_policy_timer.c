/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that have come due are run once, by an operation; the others wait. */
#include "base/clock.h"
#include "compute/snapshot_policy_store.h"
#include "operation/services.h"
#include "tests/unit/operation/world.h"

struct setting {
	struct world *w;
	struct operation_services services;
	struct snapshot_policies *policies;
};

static int create(struct db *db, void *arg, struct err *e)
{
	struct field_label label = {.key = (char *)"none", .value = (char *)"has-it"};
	const struct snapshot_policy_spec spec = {.name = arg,
	        .selector = {.labels = {.items = &label, .len = 1}},
	        .schedule = {.every_minutes = 60},
	        .keep = 3,
	        .enabled = true};
	char id[UUID_TEXT_SIZE];
	return snapshot_policy_create(db, &spec, id, e);
}

static void make_policy(struct world *w, const char *name)
{
	struct err e;
	world_check(writer_run(w->writer, create, (void *)name, &e), &e);
}

static void get_policy(struct world *w, const char *name, struct snapshot_policy_row *ret_row)
{
	struct err e;
	snapshot_policy_row_done(ret_row);
	world_check(snapshot_policy_store_get(w->db, name, ret_row, &e), &e);
}

static bool has_run(struct world *w, const char *name)
{
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	get_policy(w, name, &row);
	return row.last_run_at != 0;
}

static void start(struct setting *s)
{
	s->services = (struct operation_services){.loop = s->w->loop, .writer = s->w->writer};
	s->services.engine = operation_engine_new(s->w->loop, s->w->writer, &s->services);
	snapshot_policy_register_kinds(s->services.engine);
	s->policies = snapshot_policies_start(&s->services, 5);
}

static void stop(struct setting *s)
{
	snapshot_policies_stop(s->policies);
	operation_engine_stop(s->services.engine);
	for (int i = 0; i < 20; i++) { /* what is on its way comes back */
		uv_run(loop_uv(s->w->loop), UV_RUN_NOWAIT);
		usleep(1000);
	}
	writer_stop(s->w->writer);
	world_drain(s->w);
	snapshot_policies_free(s->policies);
	operation_engine_free(s->services.engine);
}

static void test_missed_runs_are_made_up_for_by_one(void **state)
{
	struct setting s = {.w = *state};
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	make_policy(s.w, "missed");
	make_policy(s.w, "later");
	/* as after two days without berthd */
	world_exec(s.w, "UPDATE snapshot_policy SET next_run_at = next_run_at - 172800000 "
	                "WHERE name = 'missed'");
	get_policy(s.w, "missed", &row);
	int64_t slot = row.next_run_at;
	start(&s);
	world_run_until(s.w, has_run, "missed");
	get_policy(s.w, "missed", &row);
	assert_true(row.next_run_at > clock_wall_ms());
	assert_true(row.next_run_at <= clock_wall_ms() + 3600000);
	assert_int_equal((row.next_run_at - slot) % 3600000, 0);
	assert_non_null(strstr(row.last_result, "\"state\":\"succeeded\""));
	char *runs CLEANUP(cleanup_free) = world_query(
	        s.w, "SELECT count(*) FROM operation WHERE kind = 'snapshot_policy.run'", NULL);
	assert_string_equal(runs, "1");
	assert_false(has_run(s.w, "later"));
	stop(&s);
}

static void test_disabled_policy_does_not_run(void **state)
{
	struct setting s = {.w = *state};
	make_policy(s.w, "off");
	make_policy(s.w, "on");
	world_exec(s.w, "UPDATE snapshot_policy SET next_run_at = 1, "
	                "spec = replace(spec, '\"enabled\":true', '\"enabled\":false') "
	                "WHERE name = 'off'");
	world_exec(s.w, "UPDATE snapshot_policy SET next_run_at = 2 WHERE name = 'on'");
	start(&s);
	world_run_until(s.w, has_run, "on");
	assert_false(has_run(s.w, "off"));
	stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_missed_runs_are_made_up_for_by_one),
	        TEST(test_disabled_policy_does_not_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
