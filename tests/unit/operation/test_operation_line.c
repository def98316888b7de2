/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line of one queue alone, in 10,000 random interleavings of arrivals and ends with random tables of who may run
 * beside whom, against the rule written out: an operation runs as soon as, and not before, each unfinished one before it
 * allows it and is allowed by it. Operations are bare structs here, and beginning one only notes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "operation/operation_internal.h"

#define INTERLEAVINGS 10000
#define KINDS         5
#define LINE          12

static struct operation_engine engine;
static struct operation_kind kinds[KINDS];
static struct operation *line[LINE]; /* unfinished, in order of creation */
static int n_in_line;
static unsigned seed;

static int pick(int n)
{
	return rand_r(&seed) % n;
}

/* Takes the place of the machine's. */
void operation_begin(struct operation *op)
{
	assert_int_equal(op->activity, OPERATION_IN_LINE);
	op->activity = OPERATION_STEPPING;
}

static bool allows(const struct operation *a, const struct operation *b)
{
	return a->kind && b->kind && b->kind->job != 0 && (b->kind->job & ~a->kind->beside) == 0;
}

static bool should_run(int at)
{
	for (int i = 0; i < at; i++)
		if (!allows(line[i], line[at]) || !allows(line[at], line[i]))
			return false;
	return true;
}

static void check_line(int round)
{
	for (int i = 0; i < n_in_line; i++) {
		bool runs = line[i]->activity == OPERATION_STEPPING;
		if (runs != should_run(i) || runs != operation_queue_may_begin(line[i]))
			fail_msg("round %d: place %d of %d %s", round, i, n_in_line,
			        runs ? "runs and should not" : "does not run and should");
	}
}

static void arrive(void)
{
	struct operation *op = xcalloc(1, sizeof(*op));
	op->engine = &engine;
	op->queue = (char *)"q";
	op->kind = pick(12) == 0 ? NULL : &kinds[pick(KINDS)];
	op->activity = OPERATION_IN_LINE;
	line[n_in_line++] = op;
	operation_queue_append(op);
	if (operation_queue_may_begin(op))
		operation_begin(op);
}

/* Running ones end; one that waits may be cancelled. */
static void leave(void)
{
	int at = pick(n_in_line);
	struct operation *op = line[at];
	if (op->activity == OPERATION_IN_LINE && pick(4) != 0)
		return;
	memmove(&line[at], &line[at + 1], (size_t)(n_in_line - at - 1) * sizeof(line[0]));
	n_in_line--;
	op->activity = OPERATION_OVER;
	operation_queue_leave(op);
	free(op);
}

static void make_tables(void)
{
	for (int i = 0; i < KINDS; i++)
		kinds[i] = (struct operation_kind){.job = pick(8) == 0 ? 0u : 1u << i,
		        .beside = (unsigned)(pick(32) | pick(32))};
}

static void test_random_interleavings_agree_with_the_rule(void **state)
{
	(void)state;
	engine.queues = map_new();
	for (int round = 0; round < INTERLEAVINGS; round++) {
		seed = (unsigned)round + 1;
		make_tables();
		for (int act = 0; act < 30; act++) {
			if (n_in_line > 0 && (n_in_line == LINE || pick(2)))
				leave();
			else
				arrive();
			check_line(round);
		}
		while (n_in_line > 0)
			leave();
		assert_int_equal(map_len(engine.queues), 0);
	}
	operation_queue_free_all(&engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_random_interleavings_agree_with_the_rule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
