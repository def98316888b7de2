/* SPDX-License-Identifier: Apache-2.0 */
/* From rows of layers to the planner's graph. */
#include "compute/snapshot_graph.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/snapshot_store.h"

struct rows {
	VEC(struct layer_row) v;
};

/* Moves what `accepts` says out of a list. */
static void move_rows(struct rows *rows, struct layer_list *list, const char *volume_id, bool own)
{
	for (size_t i = 0; i < list->len; i++) {
		if (str_equal(list->items[i].volume_id, volume_id) != own)
			continue;
		VEC_PUSH(&rows->v, list->items[i]);
		list->items[i] = (struct layer_row){0};
	}
	layer_list_done(list);
}

static int load_rows(struct db *db, const char *volume_id, struct rows *rows, struct err *e)
{
	struct layer_list list = {0};
	int rc = layer_store_of_volume(db, volume_id, &list, e);
	if (rc < 0)
		return rc;
	move_rows(rows, &list, volume_id, /* own= */ true);
	size_t n = rows->v.len;
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = layer_store_children(db, rows->v.items[i].id, &list, e);
		if (rc == 0)
			move_rows(rows, &list, volume_id, /* own= */ false);
	}
	return rc;
}

static bool is_abroad(const struct rows *rows, const struct layer_row *row)
{
	for (size_t i = 0; i < rows->v.len; i++)
		if (str_equal(rows->v.items[i].id, row->backing_id))
			return !str_equal(rows->v.items[i].pool_id, row->pool_id);
	return false;
}

static int fill_node(struct db *db, const struct volume_row *volume, const struct layer_row *row,
        struct layer_node *node, struct err *e)
{
	bool held = false;
	int rc = snapshot_store_is_held(db, row->id, &held, e);
	*node = (struct layer_node){
	        .id = row->id,
	        .backing_id = row->backing_id,
	        .is_held = held || row->image_id[0] || str_equal(row->state, "creating"),
	        .is_top = str_equal(row->id, volume->layer_id),
	        .is_foreign = !str_equal(row->volume_id, volume->id),
	};
	return rc;
}

static void mark_open(struct snapshot_graph *graph, const char *top_id)
{
	const char *next = top_id;
	for (size_t i = 0; i < graph->n; i++)
		if (!graph->nodes[i].is_open && str_equal(graph->nodes[i].id, next)) {
			graph->nodes[i].is_open = true;
			next = graph->nodes[i].backing_id;
			i = (size_t)-1; /* from the beginning: rows come in no order */
		}
}

int snapshot_graph_load(struct db *db, const struct volume_row *volume, bool is_running,
        struct snapshot_graph *ret_graph, struct err *e)
{
	struct rows rows = {0};
	int rc = load_rows(db, volume->id, &rows, e);
	struct snapshot_graph graph = {.rows = rows.v.items, .n = rows.v.len};
	graph.nodes = xcalloc(graph.n + 1, sizeof(graph.nodes[0]));
	for (size_t i = 0; i < graph.n && rc == 0; i++)
		rc = fill_node(db, volume, &graph.rows[i], &graph.nodes[i], e);
	for (size_t i = 0; i < graph.n && rc == 0; i++)
		graph.nodes[i].is_abroad = is_abroad(&rows, &graph.rows[i]);
	if (rc == 0 && is_running)
		mark_open(&graph, volume->layer_id);
	if (rc < 0)
		snapshot_graph_done(&graph);
	else
		*ret_graph = graph;
	return rc;
}

void snapshot_graph_done(struct snapshot_graph *graph)
{
	for (size_t i = 0; i < graph->n; i++)
		layer_row_done(&graph->rows[i]);
	free(graph->rows);
	free(graph->nodes);
	*graph = (struct snapshot_graph){0};
}
