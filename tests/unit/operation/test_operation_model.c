/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random interleavings of operations with failures, cancels, pokes and restarts, checked against a
 * model:
 *	- of one queue an operation runs only after all before it that it may not run beside have
 * ended durably;
 *	- steps go up one by one or are repeated, and once undone only down;
 *	- an accepted cancel ends as cancelled, a scripted failure as failed, everything else as
 * succeeded;
 *	- effects are all there after success and all gone otherwise; the end happens exactly once.
 *
 * BERTH_LONG in the environment asks for the full count; a failure prints the seed of its
 * round.
 */
#include <stdlib.h>

#include "tests/unit/operation/world.h"

#define ROUNDS_LONG  1000
#define ROUNDS_SHORT 100
#define OPERATIONS   6
#define QUEUES       3

struct model_op {
	char id[UUID_TEXT_SIZE], target[16];
	const struct operation_kind *kind;
	int queue;
	bool exists, will_fail, cancel_accepted;
	int last; /* the step last called; -1: none */
	bool undoing;
	bool effects[4];
};

static struct {
	unsigned seed, round_seed;
	int n;
	struct model_op ops[OPERATIONS];
} model;

static int pick(int n)
{
	return rand_r(&model.seed) % n;
}

static bool chance(int percent)
{
	return pick(100) < percent;
}

/* ---- the checks ---- */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_msg("seed %u: %s; calls: %s", model.round_seed, #condition,           \
			        str_text(&w->trace));                                              \
	} while (0)

static struct model_op *find_by_target(const char *target)
{
	for (int i = 0; i < model.n; i++)
		if (strcmp(model.ops[i].target, target) == 0)
			return &model.ops[i];
	return NULL;
}

static bool may_run_together(const struct operation_kind *a, const struct operation_kind *b)
{
	return (a == &world_long && b == &world_side) || (a == &world_side && b == &world_long);
}

static void check_order(struct world *w, const struct model_op *m)
{
	for (const struct model_op *before = model.ops; before < m; before++)
		if (before->queue == m->queue && !may_run_together(before->kind, m->kind))
			CHECK(world_has_ended(w, before->id));
}

static void on_call(struct world *w, struct operation *op, const char *key)
{
	struct model_op *m = find_by_target(operation_target_id(op));
	int step = key[strlen(key) - 1] - 'a';
	bool is_undo = operation_is_undoing(op);
	check_order(w, m);
	CHECK(!m->undoing || is_undo);
	if (is_undo)
		CHECK(step <= m->last + (m->undoing ? 0 : 1) && step >= 0);
	else
		CHECK(step == m->last || step == m->last + 1);
	CHECK(!m->cancel_accepted || is_undo || !(m->kind->steps[step].flags & OPERATION_FINAL));
	m->last = step;
	m->undoing = is_undo;
	m->effects[step] = !is_undo;
}

static void check_effects(struct world *w, const struct model_op *m, enum operation_state state)
{
	for (size_t i = 0; i < m->kind->n_steps; i++) {
		if (state == OPERATION_SUCCEEDED)
			CHECK(m->effects[i]);
		else if (m->kind->steps[i].undo)
			CHECK(!m->effects[i]);
	}
}

static void check_end(struct world *w, const struct model_op *m)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, m->id, &row);
	enum operation_state wanted = m->cancel_accepted ? OPERATION_CANCELLED
	                              : m->will_fail     ? OPERATION_FAILED
	                                                 : OPERATION_SUCCEEDED;
	CHECK(row.ended_at != 0);
	if (row.state != wanted)
		fail_msg("seed %u: %s is %s, wanted %s; calls: %s", model.round_seed, m->target,
		        operation_state_names[row.state], operation_state_names[wanted],
		        str_text(&w->trace));
	world_assert_finished(w, m->id, (const char *[]){"q", "r", "S", "F", "C", "I"}[row.state]);
	check_effects(w, m, row.state);
}

/* ---- what happens ---- */

static int store_nothing(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return db_exec(db, "INSERT OR REPLACE INTO meta (key, value) VALUES ('stored', 'x')", e);
}

static void script_run(struct world *w, struct model_op *m, size_t step)
{
	char key[96];
	snprintf(key, sizeof(key), "%s/run %s", m->target, m->kind->steps[step].name);
	struct behaviour *b = world_script(w, key);
	b->hold = chance(40);
	b->sync = chance(30);
	b->done_on_cancel = chance(50);
	b->store = chance(30) ? store_nothing : NULL;
	if (chance(8)) {
		b->code = ERR_HYPERVISOR;
		b->times = -1;
		m->will_fail = true;
	} else if (chance(15) && !(m->kind->steps[step].flags & OPERATION_HOST_FREE)) {
		b->code = chance(50) ? ERR_HOST_DOWN : ERR_HOST_SLOW;
		b->times = 1 + pick(2);
	}
}

static void script_undo(struct world *w, struct model_op *m, size_t step)
{
	char key[96];
	snprintf(key, sizeof(key), "%s/undo %s", m->target, m->kind->steps[step].name);
	struct behaviour *b = world_script(w, key);
	b->hold = chance(20);
	b->sync = chance(30);
	b->store = chance(20) ? store_nothing : NULL;
	if (chance(25)) {
		b->code = chance(50) ? ERR_HOST_DOWN : ERR_INTERNAL;
		b->times = 1 + pick(2);
	}
}

static void create_next(struct world *w)
{
	static const struct operation_kind *const kinds[] = {&world_four, &world_four, &world_late,
	        &world_final, &world_empty, &world_long, &world_side, &world_side};
	static int counter;
	struct model_op *m = &model.ops[model.n];
	char queue[16];
	*m = (struct model_op){
	        .kind = kinds[pick(ARRAY_LEN(kinds))], .queue = pick(QUEUES), .last = -1};
	snprintf(m->target, sizeof(m->target), "x%d", counter++);
	snprintf(queue, sizeof(queue), "queue%d", m->queue);
	for (size_t i = 0; i < m->kind->n_steps; i++) {
		script_run(w, m, i);
		script_undo(w, m, i);
	}
	struct operation_request request = world_request(m->kind->name, m->target);
	request.queue = queue;
	model.n++;
	world_create_request(w, request, m->id);
}

static void cancel_one(struct world *w)
{
	struct model_op *m = model.n > 0 ? &model.ops[pick(model.n)] : NULL;
	struct err e;
	if (!m)
		return;
	int rc = world_cancel(w, m->id, &e);
	if (rc == 0)
		m->cancel_accepted = true;
	else
		CHECK(rc == ERR_WRONG_STATE);
}

static void release_one(struct world *w)
{
	if (w->held.len == 0)
		return;
	size_t i = (size_t)pick((int)w->held.len);
	struct held held = w->held.items[i];
	VEC_REMOVE(&w->held, i);
	world_answer(w, held.op, held.key);
}

static void set_short_pauses(struct world *w)
{
	operation_engine_set_times(w->engine, (struct operation_times){.retry_min_ms = 1,
	                                              .retry_max_ms = 1,
	                                              .patience_ms = HOST_PATIENCE_MS,
	                                              .report_ms = 1});
}

static void tick(void *arg)
{
	(void)arg;
}

static void turn(struct world *w, uv_run_mode mode)
{
	struct loop_timer *ticker = loop_timer_start(w->loop, 1, 0, tick, NULL);
	uv_run(loop_uv(w->loop), mode);
	loop_timer_free(ticker);
}

static void act(struct world *w)
{
	int what = pick(100);
	if (what < 20 && model.n < OPERATIONS)
		create_next(w);
	else if (what < 27)
		cancel_one(w);
	else if (what < 50)
		release_one(w);
	else if (what < 55)
		operation_engine_poke(w->engine, chance(50) ? NULL : "host-1");
	else if (what < 58) {
		world_restart(w);
		set_short_pauses(w);
	} else {
		turn(w, chance(30) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
	}
}

static bool all_have_ended(struct world *w)
{
	for (int i = 0; i < model.n; i++)
		if (!world_has_ended(w, model.ops[i].id))
			return false;
	return true;
}

static void settle(struct world *w)
{
	w->timed_out = false;
	struct loop_timer *guard =
	        loop_timer_start(w->loop, WORLD_PATIENCE_MS, 0, world_on_guard, w);
	while (!all_have_ended(w) && !w->timed_out) {
		release_one(w);
		turn(w, UV_RUN_ONCE);
	}
	CHECK(!w->timed_out);
	loop_timer_free(guard);
	world_run_until(w, world_is_idle, "");
}

static void run_round(struct world *w)
{
	model.n = 0;
	w->script.len = 0;
	str_reset(&w->trace);
	int acts = 20 + pick(60);
	for (int i = 0; i < acts; i++)
		act(w);
	while (model.n < OPERATIONS)
		create_next(w);
	settle(w);
	for (int i = 0; i < model.n; i++)
		check_end(w, &model.ops[i]);
}

static void test_random_interleavings_agree_with_the_model(void **state)
{
	struct world *w = *state;
	int rounds = getenv("BERTH_LONG") ? ROUNDS_LONG : ROUNDS_SHORT;
	const char *only = getenv("BERTH_SEED");
	w->on_call = on_call;
	set_short_pauses(w);
	for (int i = 0; i < (only ? 1 : rounds); i++) {
		model.round_seed = model.seed = only ? (unsigned)atoi(only) : (unsigned)i + 1;
		run_round(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_random_interleavings_agree_with_the_model,
	                world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
