/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner of layers: single cases, and walks on a model of layers with contents. In a walk a disk is written,
 * frozen by snapshots, reverted to them, started and stopped, and snapshots are deleted in any order; what the planner
 * says is carried out as QEMU would do it, and refused where QEMU would refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/layer_plan.h"

#define BLOCKS     16
#define LAYERS_MAX 400
#define WALKS      100
#define STEPS      60

/* ---- the model ---- */

struct model_layer {
	bool exists, held, foreign;
	char id[8];
	int backing;         /* index, -1: none */
	int content[BLOCKS]; /* 0: not in this layer */
};
struct model_snapshot {
	bool exists;
	int layer;
	int content[BLOCKS];
};
struct model {
	struct model_layer layers[LAYERS_MAX];
	int n_layers, top, next_value;
	struct model_snapshot snapshots[STEPS];
	int n_snapshots;
	int content[BLOCKS];  /* of the disk now */
	int open[LAYERS_MAX]; /* the running QEMU's chain, top first; it knows nothing of our rows */
	int n_open;           /* 0: stopped */
	unsigned seed;
	int counts[LAYER_ACTION_DEFER + 1], commits_running, commits_middle;
};

static unsigned chance(struct model *m, unsigned n)
{
	m->seed = m->seed * 1103515245u + 12345u;
	return (m->seed >> 16) % n;
}

static int add_layer(struct model *m, int backing)
{
	assert_true(m->n_layers < LAYERS_MAX);
	struct model_layer *layer = &m->layers[m->n_layers];
	*layer = (struct model_layer){.exists = true, .backing = backing};
	snprintf(layer->id, sizeof(layer->id), "L%d", m->n_layers);
	return m->n_layers++;
}

static int read_block(const struct model *m, int layer, int block)
{
	for (; layer >= 0; layer = m->layers[layer].backing) {
		assert_true(m->layers[layer].exists);
		if (m->layers[layer].content[block])
			return m->layers[layer].content[block];
	}
	return 0;
}

static void check_content(const struct model *m, int layer, const int *expected)
{
	for (int i = 0; i < BLOCKS; i++)
		assert_int_equal(read_block(m, layer, i), expected[i]);
}

static void check_all(const struct model *m)
{
	check_content(m, m->top, m->content);
	for (int i = 0; i < m->n_snapshots; i++)
		if (m->snapshots[i].exists)
			check_content(m, m->snapshots[i].layer, m->snapshots[i].content);
}

static bool is_open(const struct model *m, int layer)
{
	for (int i = 0; i < m->n_open; i++)
		if (m->open[i] == layer)
			return true;
	return false;
}

static void start(struct model *m)
{
	m->n_open = 0;
	for (int layer = m->top; layer >= 0; layer = m->layers[layer].backing)
		m->open[m->n_open++] = layer;
}

static int count_children(const struct model *m, int layer)
{
	int count = 0;
	for (int i = 0; i < m->n_layers; i++)
		count += m->layers[i].exists && m->layers[i].backing == layer;
	return count;
}

static bool is_held(const struct model *m, int layer)
{
	bool held = m->layers[layer].held;
	for (int i = 0; i < m->n_snapshots; i++)
		held |= m->snapshots[i].exists && m->snapshots[i].layer == layer;
	return held;
}

/* ---- what QEMU does, and refuses ---- */

static void forget_open(struct model *m, int layer)
{
	for (int i = 0; i < m->n_open; i++)
		if (m->open[i] == layer) {
			memmove(&m->open[i], &m->open[i + 1],
			        (size_t)(m->n_open - i - 1) * sizeof(m->open[0]));
			m->n_open--;
		}
}

static void remove_layer(struct model *m, int layer)
{
	assert_int_equal(count_children(m, layer), 0);
	assert_false(is_open(m, layer));
	assert_false(is_held(m, layer));
	assert_true(layer != m->top);
	m->layers[layer].exists = false;
}

/* The upper one's id lives on, with the lower one's place; here: the upper row keeps its index. */
static void commit(
        struct model *m, const struct layer_action *action, int lower, int upper, int open)
{
	struct model_layer *to = &m->layers[lower], *from = &m->layers[upper];
	assert_int_equal(from->backing, lower);
	assert_false(is_held(m, lower));
	assert_int_equal(count_children(m, lower), 1); /* others would see what is not theirs */
	assert_true(open == upper || m->layers[open].backing == upper);
	assert_int_equal(
	        count_children(m, upper), open == upper ? 0 : 1); /* only one header is updated */
	assert_int_equal(action->is_running, is_open(m, upper));
	assert_int_equal(is_open(m, open), action->is_running); /* else two would write */
	if (action->is_running && open == upper)
		assert_int_equal(m->open[0], upper);
	for (int i = 0; i < BLOCKS; i++)
		if (from->content[i] == 0)
			from->content[i] = to->content[i];
	from->backing = to->backing;
	to->exists = false;
	forget_open(m, lower);
	m->commits_running += action->is_running;
	m->commits_middle += open != upper;
}

static void pull(struct model *m, int lower, int upper)
{
	struct model_layer *from = &m->layers[lower], *to = &m->layers[upper];
	assert_int_equal(to->backing, lower);
	assert_false(is_open(m, upper));
	for (int i = 0; i < BLOCKS; i++)
		if (to->content[i] == 0)
			to->content[i] = from->content[i];
	to->backing = from->backing;
}

static struct layer_action plan(
        const struct model *m, struct layer_node *nodes, int *ret_index, size_t *ret_n)
{
	size_t n = 0;
	for (int i = 0; i < m->n_layers; i++) {
		const struct model_layer *layer = &m->layers[i];
		if (!layer->exists)
			continue;
		ret_index[n] = i;
		nodes[n++] = (struct layer_node){.id = layer->id,
		        .backing_id = layer->backing < 0 ? "" : m->layers[layer->backing].id,
		        .is_held = is_held(m, i),
		        .is_top = i == m->top,
		        .is_foreign = layer->foreign,
		        .is_open = is_open(m, i)};
	}
	*ret_n = n;
	return layer_plan_next(nodes, n);
}

static bool do_next(struct model *m)
{
	static struct layer_node nodes[LAYERS_MAX];
	static int index[LAYERS_MAX];
	size_t n;
	struct layer_action action = plan(m, nodes, index, &n);
	m->counts[action.kind]++;
	switch (action.kind) {
	case LAYER_ACTION_NONE:
		return false;
	case LAYER_ACTION_DELETE:
		remove_layer(m, index[action.lower]);
		break;
	case LAYER_ACTION_COMMIT:
		commit(m, &action, index[action.lower], index[action.upper], index[action.open]);
		break;
	case LAYER_ACTION_PULL:
		pull(m, index[action.lower], index[action.upper]);
		break;
	case LAYER_ACTION_DEFER:
		fail_msg("a deferral is not an action");
	}
	check_all(m);
	return true;
}

static void do_all(struct model *m)
{
	int rounds = 0;
	while (do_next(m))
		assert_true(++rounds < LAYERS_MAX);
}

static void count_deferred(void *arg, const struct layer_action *action)
{
	assert_non_null(action->reason);
	++*(int *)arg;
}

/* Nothing is left that no one needs, except branching points. */
static void check_tidy(const struct model *m)
{
	static struct layer_node nodes[LAYERS_MAX];
	static int index[LAYERS_MAX];
	size_t n;
	int deferred = 0;
	assert_int_equal(plan(m, nodes, index, &n).kind, LAYER_ACTION_NONE);
	size_t told = layer_plan_deferred(nodes, n, count_deferred, &deferred);
	assert_int_equal(told, deferred);
	if (m->n_open == 0)
		assert_int_equal(deferred, 0);
	int untidy = 0;
	for (int i = 0; i < m->n_layers; i++)
		untidy += m->layers[i].exists && i != m->top && !is_held(m, i) &&
		          count_children(m, i) < 2;
	assert_int_equal(untidy, deferred);
}

/* ---- a walk ---- */

static void write_something(struct model *m)
{
	int n = 1 + (int)chance(m, 4);
	for (int i = 0; i < n; i++) {
		unsigned block = chance(m, BLOCKS);
		m->content[block] = m->layers[m->top].content[block] = ++m->next_value;
	}
}

static void take_snapshot(struct model *m)
{
	struct model_snapshot *snapshot = &m->snapshots[m->n_snapshots++];
	*snapshot = (struct model_snapshot){.exists = true, .layer = m->top};
	memcpy(snapshot->content, m->content, sizeof(m->content));
	m->top = add_layer(m, m->top);
	if (m->n_open > 0)
		start(m);
}

static struct model_snapshot *choose(struct model *m)
{
	if (m->n_snapshots == 0)
		return NULL;
	struct model_snapshot *snapshot = &m->snapshots[chance(m, (unsigned)m->n_snapshots)];
	return snapshot->exists ? snapshot : NULL;
}

static void revert(struct model *m)
{
	const struct model_snapshot *snapshot = choose(m);
	if (!snapshot)
		return;
	m->top = add_layer(m, snapshot->layer);
	memcpy(m->content, snapshot->content, sizeof(m->content));
	m->n_open = 0;
	if (chance(m, 2))
		start(m);
}

static void delete_one(struct model *m)
{
	struct model_snapshot *snapshot = choose(m);
	if (snapshot)
		snapshot->exists = false;
}

static void walk_once(struct model *m, unsigned seed)
{
	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->top = add_layer(m, -1);
	for (int step = 0; step < STEPS; step++) {
		write_something(m);
		switch (chance(m, 6)) {
		case 0:
		case 1:
			take_snapshot(m);
			break;
		case 2:
			revert(m);
			break;
		case 3:
		case 4:
			delete_one(m);
			break;
		default:
			if (m->n_open > 0)
				m->n_open = 0;
			else
				start(m);
		}
		check_all(m);
		if (chance(m, 2))
			do_all(m);
		if (chance(m, 4) == 0)
			check_tidy((do_all(m), m));
	}
	m->n_open = 0;
	do_all(m);
	check_tidy(m);
}

static void test_walks_keep_every_content_and_leave_nothing_over(void **state)
{
	(void)state;
	struct model *m = calloc(1, sizeof(*m));
	int counts[LAYER_ACTION_DEFER + 1] = {0}, running = 0, middle = 0;
	for (unsigned seed = 1; seed <= WALKS; seed++) {
		walk_once(m, seed);
		for (int i = 0; i <= LAYER_ACTION_DEFER; i++)
			counts[i] += m->counts[i];
		running += m->commits_running;
		middle += m->commits_middle;
	}
	free(m);
	/* The walks were of use only if they met every kind of action. */
	assert_true(counts[LAYER_ACTION_DELETE] > 20 && counts[LAYER_ACTION_COMMIT] > 20);
	assert_true(counts[LAYER_ACTION_PULL] > 5 && running > 20 && middle > 20);
}

static void test_deleting_every_snapshot_leaves_one_layer(void **state)
{
	(void)state;
	struct model *m = calloc(1, sizeof(*m));
	for (unsigned seed = 1; seed <= WALKS; seed++) {
		walk_once(m, seed);
		for (int i = 0; i < m->n_snapshots; i++)
			m->snapshots[i].exists = false;
		do_all(m);
		int left = 0;
		for (int i = 0; i < m->n_layers; i++)
			left += m->layers[i].exists;
		assert_int_equal(left, 1);
	}
	free(m);
}

/* ---- single cases ---- */

#define NODE(name, below, ...)                                                                     \
	{                                                                                          \
		.id = name, .backing_id = below, __VA_ARGS__                                       \
	}
#define NEXT(nodes) layer_plan_next(nodes, sizeof(nodes) / sizeof((nodes)[0]))

static void test_a_held_layer_is_never_the_lower_one(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {NODE("a", "", .is_held = true),
	        NODE("b", "a", .is_held = true), NODE("c", "b", .is_top = true)};
	assert_int_equal(NEXT(nodes).kind, LAYER_ACTION_NONE);
}

static void test_an_unneeded_layer_without_any_above_is_deleted_first(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {
	        NODE("a", ""), NODE("b", "a", .is_top = true, .is_open = true), NODE("c", "b")};
	struct layer_action action = NEXT(nodes);
	assert_int_equal(action.kind, LAYER_ACTION_DELETE);
	assert_int_equal(action.lower, 2);
}

static void test_the_top_of_a_running_vm_is_committed_by_that_vm(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {
	        NODE("a", "", .is_open = true), NODE("b", "a", .is_top = true, .is_open = true)};
	struct layer_action action = NEXT(nodes);
	assert_int_equal(action.kind, LAYER_ACTION_COMMIT);
	assert_true(action.is_running);
	assert_int_equal(action.open, 1);
}

static void test_a_layer_amid_a_running_chain_with_another_branch_waits(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {NODE("a", "", .is_open = true),
	        NODE("b", "a", .is_open = true, .is_held = true),
	        NODE("c", "b", .is_open = true, .is_top = true), NODE("d", "b", .is_held = true)};
	int deferred = 0;
	assert_int_equal(NEXT(nodes).kind, LAYER_ACTION_NONE);
	assert_int_equal(layer_plan_deferred(nodes, 4, count_deferred, &deferred), 1);
	assert_int_equal(deferred, 1);
}

static void test_without_a_running_vm_such_a_layer_is_pulled_up(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {NODE("a", ""), NODE("b", "a", .is_held = true),
	        NODE("c", "b", .is_top = true), NODE("d", "b", .is_held = true)};
	struct layer_action action = NEXT(nodes);
	assert_int_equal(action.kind, LAYER_ACTION_PULL);
	assert_int_equal(action.lower, 0);
	assert_int_equal(action.upper, 1);
	assert_int_equal(action.open, 1);
}

static void test_unless_that_takes_the_volume_out_of_its_pool(void **state)
{
	(void)state;
	const struct layer_node nodes[] = {NODE("a", ""),
	        NODE("b", "a", .is_held = true, .is_abroad = true), NODE("c", "b", .is_top = true),
	        NODE("d", "b", .is_held = true)};
	int deferred = 0;
	assert_int_equal(NEXT(nodes).kind, LAYER_ACTION_NONE);
	assert_int_equal(layer_plan_deferred(nodes, 4, count_deferred, &deferred), 1);
	/* Once a branch is gone, what lies abroad goes down into it. */
	struct layer_action action = layer_plan_next(nodes, 3);
	assert_int_equal(action.kind, LAYER_ACTION_COMMIT);
	assert_int_equal(action.lower, 0);
	assert_int_equal(action.open, 2);
}

static void test_a_frozen_branch_is_committed_through_the_layer_above_it(void **state)
{
	(void)state;
	/* The VM runs on "e"; "c" is committed into "b", and "d" is told so. */
	const struct layer_node nodes[] = {NODE("a", "", .is_open = true, .is_held = true),
	        NODE("e", "a", .is_open = true, .is_top = true), NODE("b", "a"),
	        NODE("c", "b", .is_held = true), NODE("d", "c", .is_held = true)};
	struct layer_action action = NEXT(nodes);
	assert_int_equal(action.kind, LAYER_ACTION_COMMIT);
	assert_false(action.is_running);
	assert_int_equal(action.lower, 2);
	assert_int_equal(action.upper, 3);
	assert_int_equal(action.open, 4);
}

static void test_linked_clones_of_others_hold_what_they_stand_on(void **state)
{
	(void)state;
	const struct layer_node direct[] = {
	        NODE("a", "", .is_open = true), NODE("x", "a", .is_foreign = true)};
	assert_int_equal(NEXT(direct).kind, LAYER_ACTION_NONE);
	const struct layer_node above[] = {
	        NODE("a", ""), NODE("b", "a", .is_held = true), NODE("x", "b", .is_foreign = true)};
	int deferred = 0;
	assert_int_equal(NEXT(above).kind, LAYER_ACTION_NONE);
	assert_int_equal(layer_plan_deferred(above, 3, count_deferred, &deferred), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_held_layer_is_never_the_lower_one),
	        cmocka_unit_test(test_an_unneeded_layer_without_any_above_is_deleted_first),
	        cmocka_unit_test(test_the_top_of_a_running_vm_is_committed_by_that_vm),
	        cmocka_unit_test(test_a_layer_amid_a_running_chain_with_another_branch_waits),
	        cmocka_unit_test(test_without_a_running_vm_such_a_layer_is_pulled_up),
	        cmocka_unit_test(test_without_a_running_vm_such_a_layer_is_pulled_up),
	        cmocka_unit_test(test_unless_that_takes_the_volume_out_of_its_pool),
	        cmocka_unit_test(test_a_frozen_branch_is_committed_through_the_layer_above_it),
	        cmocka_unit_test(test_linked_clones_of_others_hold_what_they_stand_on),
	        cmocka_unit_test(test_walks_keep_every_content_and_leave_nothing_over),
	        cmocka_unit_test(test_deleting_every_snapshot_leaves_one_layer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
