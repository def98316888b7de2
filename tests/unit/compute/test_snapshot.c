/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots in the database: what holds layers, what may be snapshot, what becomes of a tree. */
#include "tests/unit/compute/snapshot_world.h"

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_graph.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_policy_store.h"

static int64_t count(struct world *w, const char *sql)
{
	return temp_db_int(&w->temp, sql);
}

/* ---- the tree ---- */

static void test_the_children_of_a_deleted_snapshot_become_its_parents(void **state)
{
	struct world *w = *state;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	char **names = NULL;
	size_t n = 0;
	char current[UUID_TEXT_SIZE];
	add(w, S1, "a", NULL, BASE, 1);
	add(w, S2, "b", S1, BASE, 2);
	add(w, S3, "c", S2, BASE, 3);
	ok(snapshot_store_set_current(w->db, VM, S2, &w->e));
	ok(snapshot_store_reparent(w->db, S2, S1, &w->e));
	ok(snapshot_store_get(w->db, VM, "c", &row, &w->e));
	assert_string_equal(row.parent, "a");
	ok(snapshot_store_get_current(w->db, VM, current, &w->e));
	assert_string_equal(current, S1);
	ok(snapshot_store_children(w->db, S1, &names, &n, &w->e));
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "b");
	assert_string_equal(names[1], "c");
	free(names[0]);
	free(names[1]);
	free(names);
}

static void test_names_are_unique_per_vm_and_ids_are_found_within_it(void **state)
{
	struct world *w = *state;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	add(w, S1, "a", NULL, TOP, 1);
	const struct snapshot_insert again = {
	        .id = S2, .vm_id = VM, .name = "a", .description = "", .vm_spec = "{}"};
	assert_int_equal(snapshot_store_insert(w->db, &again, &w->e), ERR_EXISTS);
	ok(snapshot_store_get(w->db, VM, S1, &row, &w->e));
	assert_int_equal(row.disk_bytes, 10);
	assert_int_equal(snapshot_store_get(w->db, HOST, S1, &row, &w->e), ERR_NOT_FOUND);
}

/* ---- layers ---- */

static void test_only_snapshots_that_are_not_being_deleted_hold_layers(void **state)
{
	struct world *w = *state;
	bool held = false;
	add(w, S1, "a", NULL, BASE, 1);
	ok(snapshot_store_is_held(w->db, BASE, &held, &w->e));
	assert_true(held);
	ok(snapshot_store_set_state(w->db, S1, SNAPSHOT_DELETING, &w->e));
	ok(snapshot_store_is_held(w->db, BASE, &held, &w->e));
	assert_false(held);
}

static void test_a_snapshot_leaves_only_when_it_holds_nothing_any_more(void **state)
{
	struct world *w = *state;
	add(w, S1, "a", NULL, BASE, 1);
	ok(snapshot_store_forget_empty(w->db, VM, &w->e));
	assert_int_equal(count(w, "SELECT count(*) FROM snapshot"), 1);
	/* What a ready one holds, it keeps. */
	ok(snapshot_store_release_layer(w->db, BASE, &w->e));
	assert_int_equal(count(w, "SELECT count(*) FROM snapshot_disk"), 1);
	ok(snapshot_store_set_state(w->db, S1, SNAPSHOT_DELETING, &w->e));
	ok(snapshot_store_forget_empty(w->db, VM, &w->e));
	assert_int_equal(count(w, "SELECT count(*) FROM snapshot"), 1);
	ok(snapshot_store_release_layer(w->db, BASE, &w->e));
	ok(snapshot_store_forget_empty(w->db, VM, &w->e));
	assert_int_equal(count(w, "SELECT count(*) FROM snapshot"), 0);
}

static void test_the_graph_marks_what_is_held_written_and_open(void **state)
{
	struct world *w = *state;
	struct snapshot_graph graph CLEANUP(snapshot_graph_done) = {0};
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	exec(w, "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
	        "volume_id, "
	        "state, created_at) VALUES ('" SIDE "', '" POOL "', '" HOST
	        "', 'side', 'qcow2', 1048576, '" BASE "', '" VOLUME "', 'ready', 0)");
	exec(w, "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('q', 'q', 'dir', "
	        "'/q', 0); "
	        "UPDATE layer SET pool_id = 'q' WHERE id = '" SIDE "'");
	add(w, S1, "a", NULL, SIDE, 1);
	ok(volume_store_get(w->db, VOLUME, &volume, &w->e));
	ok(snapshot_graph_load(w->db, &volume, /* is_running= */ true, &graph, &w->e));
	assert_int_equal(graph.n, 3);
	for (size_t i = 0; i < graph.n; i++) {
		const struct layer_node *node = &graph.nodes[i];
		assert_int_equal(node->is_held, str_equal(node->id, SIDE));
		assert_int_equal(node->is_top, str_equal(node->id, TOP));
		assert_int_equal(node->is_open, !str_equal(node->id, SIDE));
		assert_false(node->is_foreign);
		assert_int_equal(node->is_abroad, str_equal(node->id, SIDE));
	}
}

static void test_overlays_are_found_until_they_are_in_use(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE];
	ok(snapshot_find_overlay(w->db, TOP, VOLUME, id, &w->e));
	assert_string_equal(id, "");
	ok(snapshot_reserve_overlay(w->db, TOP, VOLUME, HOST, &w->e));
	ok(snapshot_reserve_overlay(w->db, TOP, VOLUME, HOST, &w->e)); /* a step that runs again */
	assert_int_equal(count(w, "SELECT count(*) FROM layer"), 3);
	ok(snapshot_find_overlay(w->db, TOP, VOLUME, id, &w->e));
	assert_string_not_equal(id, "");
	ok(layer_mark_ready(w->db, id, &w->e));
	ok(snapshot_find_overlay(w->db, TOP, VOLUME, again, &w->e));
	assert_string_equal(again, "");
}

static void test_forgetting_all_takes_the_branches_off_the_chain_and_leaves_the_chain(void **state)
{
	struct world *w = *state;
	exec(w, "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
	        "volume_id, "
	        "state, created_at) VALUES ('" SIDE "', '" POOL "', '" HOST
	        "', 'side', 'qcow2', 1048576, '" BASE "', '" VOLUME "', 'ready', 0)");
	exec(w, "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('q', 'q', 'dir', "
	        "'/q', 0); "
	        "UPDATE layer SET pool_id = 'q' WHERE id = '" SIDE "'");
	add(w, S1, "a", NULL, BASE, 1);
	add(w, S2, "b", S1, SIDE, 2);
	ok(snapshot_store_set_current(w->db, VM, S1, &w->e));
	ok(snapshot_forget_all_of_vm(w->db, VM, &w->e));
	assert_int_equal(count(w, "SELECT count(*) FROM snapshot"), 0);
	assert_int_equal(count(w, "SELECT count(*) FROM layer"), 2);
	assert_int_equal(count(w, "SELECT count(*) FROM layer WHERE id = '" SIDE "'"), 0);
}

/* ---- what may be snapshot ---- */

static int find_sources(struct world *w, struct snapshot_sources *ret_sources)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	must(vm_store_get(w->db, VM, &vm, &w->e), &w->e);
	must(vm_spec_load(vm.spec, &spec, &w->e), &w->e);
	return snapshot_find_sources(w->db, &vm, &spec, ret_sources, &w->e);
}

static void test_the_top_layer_of_each_disk_is_kept(void **state)
{
	struct world *w = *state;
	struct snapshot_sources sources CLEANUP(snapshot_sources_done) = {0};
	ok(find_sources(w, &sources));
	assert_int_equal(sources.len, 1);
	assert_string_equal(sources.items[0].disk, "d");
	assert_string_equal(sources.items[0].layer_id, TOP);
}

static void test_cdroms_are_not_kept(void **state)
{
	struct world *w = *state;
	struct snapshot_sources sources CLEANUP(snapshot_sources_done) = {0};
	exec(w, "UPDATE vm SET spec = replace(spec, '\"disk\",', '\"cdrom\",')");
	ok(find_sources(w, &sources));
	assert_int_equal(sources.len, 0);
}

static void test_a_pool_that_holds_no_files_is_named(void **state)
{
	struct world *w = *state;
	struct snapshot_sources sources = {0};
	exec(w, "UPDATE pool SET kind = 'iscsi-direct'");
	assert_int_equal(find_sources(w, &sources), ERR_UNSUPPORTED);
	assert_non_null(strstr(w->e.message, "disk d"));
	assert_non_null(strstr(w->e.message, "iscsi-direct"));
	assert_true(w->e.hint[0] != '\0');
}

static void test_a_chain_that_would_become_too_long_is_refused_with_the_numbers(void **state)
{
	struct world *w = *state;
	struct snapshot_sources sources = {0};
	int64_t depth = 0;
	char disk[64];
	layer_set_max_chain_depth(3);
	ok(find_sources(w, &sources));
	snapshot_sources_done(&sources);
	layer_set_max_chain_depth(2);
	assert_int_equal(find_sources(w, &sources), ERR_LIMIT);
	assert_string_equal(w->e.numbers, "{\"depth\":2,\"asked\":3,\"limit\":2}");
	assert_non_null(strstr(w->e.hint, "1 or more"));
	ok(snapshot_chain_depth(w->db, VM, &depth, disk, &w->e));
	assert_int_equal(depth, 2);
	assert_string_equal(disk, "d");
}

static void test_a_disk_that_drifted_is_refused(void **state)
{
	struct world *w = *state;
	struct snapshot_sources sources = {0};
	exec(w, "UPDATE volume SET drift = 'its file is gone'");
	assert_int_equal(find_sources(w, &sources), ERR_UNPROCESSABLE);
	assert_non_null(strstr(w->e.message, "its file is gone"));
}

/* ---- the sweep ---- */

static size_t count_sweepable(struct world *w, int64_t since_ms)
{
	char **ids = NULL;
	size_t n = 0;
	must(snapshot_store_sweepable(w->db, since_ms, &ids, &n, &w->e), &w->e);
	for (size_t i = 0; i < n; i++)
		free(ids[i]);
	free(ids);
	return n;
}

static void test_a_vm_is_swept_once_after_each_stop_and_when_its_host_comes_back(void **state)
{
	struct world *w = *state;
	add(w, S1, "a", NULL, BASE, 1);
	assert_int_equal(count_sweepable(w, 0), 0);
	ok(snapshot_store_set_state(w->db, S1, SNAPSHOT_DELETING, &w->e));
	assert_int_equal(count_sweepable(w, 0), 1);
	assert_int_equal(count_sweepable(w, 100), 1);
	assert_int_equal(count_sweepable(w, 101), 0); /* it stopped before */
	exec(w, "UPDATE host SET state_since = 101"); /* it was away */
	assert_int_equal(count_sweepable(w, 101), 1);
	assert_int_equal(count_sweepable(w, 102), 0);
	exec(w, "UPDATE vm SET power = 'running'");
	assert_int_equal(count_sweepable(w, 0), 0);
}

/* ---- expiry ---- */

static size_t count_expired(struct world *w)
{
	struct snapshot_ids ids CLEANUP(snapshot_ids_done) = {0};
	must(snapshot_policy_store_expired(w->db, 100, &ids, &w->e), &w->e);
	return ids.len;
}

static void test_an_expired_snapshot_is_deleted_once_and_not_while_its_vm_is_suspended(void **state)
{
	struct world *w = *state;
	add(w, S1, "a", NULL, BASE, 1);
	assert_int_equal(count_expired(w), 0);
	exec(w, "UPDATE snapshot SET expires_at = 100");
	assert_int_equal(count_expired(w), 1);
	exec(w, "UPDATE vm SET power = 'suspended'");
	assert_int_equal(count_expired(w), 0);
	exec(w, "UPDATE vm SET power = 'running'");
	/* Its deletion waits in line, for hours perhaps. */
	exec(w, "INSERT INTO operation (id, kind, target_kind, target_id, target_name, queue, seq, "
	        "state, input, phase, requested_by, request_id, deadline, created_at) VALUES ('o', "
	        "'snapshot.delete', 'vm', '" VM "', 'g', '" VM
	        "', 1, 'queued', '{}', '', 'berth', '', 0, 0)");
	assert_int_equal(count_expired(w), 0);
	exec(w, "UPDATE operation SET ended_at = 1");
	assert_int_equal(count_expired(w), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_the_children_of_a_deleted_snapshot_become_its_parents),
	        TEST(test_names_are_unique_per_vm_and_ids_are_found_within_it),
	        TEST(test_only_snapshots_that_are_not_being_deleted_hold_layers),
	        TEST(test_a_snapshot_leaves_only_when_it_holds_nothing_any_more),
	        TEST(test_the_graph_marks_what_is_held_written_and_open),
	        TEST(test_overlays_are_found_until_they_are_in_use),
	        TEST(test_forgetting_all_takes_the_branches_off_the_chain_and_leaves_the_chain),
	        TEST(test_the_top_layer_of_each_disk_is_kept),
	        TEST(test_cdroms_are_not_kept),
	        TEST(test_a_pool_that_holds_no_files_is_named),
	        TEST(test_a_chain_that_would_become_too_long_is_refused_with_the_numbers),
	        TEST(test_a_disk_that_drifted_is_refused),
	        TEST(test_a_vm_is_swept_once_after_each_stop_and_when_its_host_comes_back),
	        TEST(test_an_expired_snapshot_is_deleted_once_and_not_while_its_vm_is_suspended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
