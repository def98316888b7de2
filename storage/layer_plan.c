/* SPDX-License-Identifier: Apache-2.0 */
/* The planner of layers: layer_plan.h says the rules. Pure. */
#include "storage/layer_plan.h"

#include <string.h>

struct graph {
	const struct layer_node *nodes;
	size_t n;
};

static bool stands_on(const struct graph *g, size_t upper, size_t lower)
{
	return strcmp(g->nodes[upper].backing_id, g->nodes[lower].id) == 0;
}

static size_t count_children(const struct graph *g, size_t lower, size_t *ret_last)
{
	size_t count = 0;
	for (size_t i = 0; i < g->n; i++)
		if (stands_on(g, i, lower)) {
			*ret_last = i;
			count++;
		}
	return count;
}

/* Whether a linked clone reads through it. Chains are short (LAYER_CHAIN_MAX), so recursion is bounded. */
static bool has_foreign_above(const struct graph *g, size_t lower)
{
	for (size_t i = 0; i < g->n; i++)
		if (stands_on(g, i, lower) && (g->nodes[i].is_foreign || has_foreign_above(g, i)))
			return true;
	return false;
}

static bool is_needed(const struct layer_node *node)
{
	return node->is_held || node->is_top || node->is_foreign;
}

static struct layer_action defer(size_t lower, size_t upper, const char *reason)
{
	return (struct layer_action){
	        .kind = LAYER_ACTION_DEFER, .lower = lower, .upper = upper, .reason = reason};
}

/* `upper`, open in a running VM, stands alone on `lower`. */
static struct layer_action merge_running(const struct graph *g, size_t lower, size_t upper)
{
	struct layer_action commit = {.kind = LAYER_ACTION_COMMIT,
	        .lower = lower,
	        .upper = upper,
	        .open = upper,
	        .is_running = true};
	if (g->nodes[upper].is_top)
		return commit;
	if (count_children(g, upper, &commit.open) > 1)
		return defer(lower, upper,
		        "the running VM reads through it, and so does another branch");
	return commit;
}

/* ... and no VM that runs has it open. */
static struct layer_action merge_idle(const struct graph *g, size_t lower, size_t upper)
{
	struct layer_action action = {
	        .kind = LAYER_ACTION_COMMIT, .lower = lower, .upper = upper, .open = upper};
	size_t above = upper, count = count_children(g, upper, &above);
	if (count == 1)
		action.open = above;
	if (count > 1 && g->nodes[upper].is_abroad)
		return defer(lower, upper,
		        "it lies in a pool of its own, and several branches read through the layer "
		        "that stands on it");
	if (count > 1)
		action.kind = LAYER_ACTION_PULL;
	return action;
}

static struct layer_action plan_node(const struct graph *g, size_t lower)
{
	const struct layer_node *node = &g->nodes[lower];
	size_t upper = lower;
	if (is_needed(node))
		return (struct layer_action){0};
	size_t count = count_children(g, lower, &upper);
	if (count == 0 && node->is_open)
		return defer(lower, lower, "a running VM has it open");
	if (count == 0)
		return (struct layer_action){
		        .kind = LAYER_ACTION_DELETE, .lower = lower, .upper = lower};
	if (count > 1 || g->nodes[upper].is_foreign)
		return (struct layer_action){0};
	if (has_foreign_above(g, upper))
		return defer(lower, upper, "linked clones of other volumes read through it");
	return g->nodes[upper].is_open ? merge_running(g, lower, upper)
	                               : merge_idle(g, lower, upper);
}

struct layer_action layer_plan_next(const struct layer_node *nodes, size_t n)
{
	const struct graph g = {.nodes = nodes, .n = n};
	struct layer_action found = {0};
	for (size_t i = 0; i < n; i++) {
		struct layer_action action = plan_node(&g, i);
		if (action.kind == LAYER_ACTION_DELETE)
			return action; /* frees space before anything needs some */
		if (action.kind != LAYER_ACTION_NONE && action.kind != LAYER_ACTION_DEFER &&
		        found.kind == LAYER_ACTION_NONE)
			found = action;
	}
	return found;
}

size_t layer_plan_deferred(const struct layer_node *nodes, size_t n,
        void (*each)(void *arg, const struct layer_action *action), void *arg)
{
	const struct graph g = {.nodes = nodes, .n = n};
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		struct layer_action action = plan_node(&g, i);
		if (action.kind != LAYER_ACTION_DEFER)
			continue;
		each(arg, &action);
		count++;
	}
	return count;
}
