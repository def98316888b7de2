/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of layers: their life, chains, merges that may be asked for twice, and rows that others stand on. */
#include "tests/unit/storage/volume_world.h"

#include "storage/layer_store.h"

struct layer_test {
	struct volume_world *v;
	char pool_id[UUID_TEXT_SIZE];
};

static int setup(void **state)
{
	struct layer_test *t = xcalloc(1, sizeof(*t));
	assert_int_equal(world_setup((void **)&t->v), 0);
	char *id CLEANUP(cleanup_free) = fixture_text(t->v->base, "SELECT id FROM pool");
	uuid_text_copy(t->pool_id, id);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct layer_test *t = *state;
	world_teardown((void **)&t->v);
	free(t);
	return 0;
}

/* ---- as writer jobs ---- */

struct layer_job {
	struct layer_request reserve;
	const char *id, *other;
	char made[UUID_TEXT_SIZE];
};

static int reserve_job(struct db *db, void *arg, struct err *e)
{
	struct layer_job *job = arg;
	return layer_reserve(db, &job->reserve, job->made, e);
}

static int ready_job(struct db *db, void *arg, struct err *e)
{
	return layer_mark_ready(db, ((struct layer_job *)arg)->id, e);
}

static int deleting_job(struct db *db, void *arg, struct err *e)
{
	return layer_mark_deleting(db, ((struct layer_job *)arg)->id, e);
}

static int forget_job(struct db *db, void *arg, struct err *e)
{
	return layer_forget(db, ((struct layer_job *)arg)->id, e);
}

static int merge_job(struct db *db, void *arg, struct err *e)
{
	const struct layer_job *job = arg;
	return layer_merge_down(db, job->id, job->other, e);
}

static int backing_job(struct db *db, void *arg, struct err *e)
{
	const struct layer_job *job = arg;
	return layer_set_backing(db, job->id, job->other, e);
}

static int run(struct layer_test *t, int (*fn)(struct db *, void *, struct err *), const char *id,
        const char *other)
{
	struct layer_job job = {.id = id, .other = other};
	t->v->base->e = (struct err){0};
	return writer_run(t->v->base->writer, fn, &job, &t->v->base->e);
}

static int reserve(struct layer_test *t, const char *format, const char *backing, const char *file,
        char ret_id[UUID_TEXT_SIZE])
{
	struct layer_job job = {.reserve = {.pool_id = t->pool_id,
	                                .host_id = t->v->host_id,
	                                .format = format,
	                                .size_bytes = 64 * MIB,
	                                .backing_id = backing,
	                                .file = file}};
	t->v->base->e = (struct err){0};
	int rc = writer_run(t->v->base->writer, reserve_job, &job, &t->v->base->e);
	if (rc == 0)
		memcpy(ret_id, job.made, UUID_TEXT_SIZE);
	return rc;
}

/* A chain of ready layers, the lowest first; the lowest is raw. */
static void make_chain(struct layer_test *t, size_t n, char (*ids)[UUID_TEXT_SIZE])
{
	for (size_t i = 0; i < n; i++) {
		const char *below = i > 0 ? ids[i - 1] : NULL;
		assert_int_equal(reserve(t, i > 0 ? "qcow2" : "raw", below, NULL, ids[i]), 0);
		assert_int_equal(run(t, ready_job, ids[i], NULL), 0);
	}
}

static void get(struct layer_test *t, const char *id, struct layer_row *ret_row)
{
	assert_int_equal(layer_store_get(t->v->base->reader, id, ret_row, &t->v->base->e), 0);
}

static int load(struct layer_test *t, const char *id, struct layer_chain *ret_chain)
{
	t->v->base->e = (struct err){0};
	return layer_chain_load(t->v->base->reader, id, ret_chain, &t->v->base->e);
}

/* ---- life ---- */

static void test_layer_is_creating_then_ready_then_deleting_then_gone(void **state)
{
	struct layer_test *t = *state;
	struct layer_row row CLEANUP(layer_row_done) = {0};
	char id[UUID_TEXT_SIZE];
	assert_int_equal(reserve(t, "qcow2", NULL, NULL, id), 0);
	get(t, id, &row);
	assert_string_equal(row.state, "creating");
	char *file CLEANUP(cleanup_free) = str_format("%s.qcow2", id);
	assert_string_equal(row.file, file);
	layer_row_done(&row);
	assert_int_equal(run(t, ready_job, id, NULL), 0);
	get(t, id, &row);
	assert_string_equal(row.state, "ready");
	layer_row_done(&row);
	assert_int_equal(run(t, deleting_job, id, NULL), 0);
	get(t, id, &row);
	assert_string_equal(row.state, "deleting");
	assert_int_equal(run(t, forget_job, id, NULL), 0);
	assert_int_equal(run(t, forget_job, id, NULL), 0); /* again: success */
	assert_int_equal(fixture_int(t->v->base, "SELECT count(*) FROM layer"), 0);
}

static void test_two_layers_of_a_pool_never_share_a_file(void **state)
{
	struct layer_test *t = *state;
	char one[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
	assert_int_equal(reserve(t, "raw", NULL, "disk.img", one), 0);
	assert_int_equal(reserve(t, "raw", NULL, "disk.img", other), ERR_EXISTS);
	assert_non_null(strstr(t->v->base->e.message, "disk.img"));
}

static void test_layer_that_another_stands_on_is_not_forgotten(void **state)
{
	struct layer_test *t = *state;
	char ids[2][UUID_TEXT_SIZE];
	make_chain(t, 2, ids);
	assert_true(run(t, forget_job, ids[0], NULL) < 0);
	assert_int_equal(fixture_int(t->v->base, "SELECT count(*) FROM layer"), 2);
	assert_int_equal(run(t, backing_job, ids[1], NULL), 0); /* it was flattened */
	assert_int_equal(run(t, forget_job, ids[0], NULL), 0);
	assert_int_equal(fixture_int(t->v->base, "SELECT count(*) FROM layer"), 1);
}

/* ---- chains ---- */

static void test_chain_is_loaded_from_the_top_down(void **state)
{
	struct layer_test *t = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	char ids[3][UUID_TEXT_SIZE];
	make_chain(t, 3, ids);
	assert_int_equal(load(t, ids[2], &chain), 0);
	assert_int_equal(chain.len, 3);
	for (size_t i = 0; i < 3; i++) {
		char *path CLEANUP(cleanup_free) = str_format("/pool/%s", chain.layers[i].file);
		assert_string_equal(chain.layers[i].id, ids[2 - i]);
		assert_string_equal(chain.sources[i].path, path);
		assert_string_equal(chain.sources[i].format, i < 2 ? "qcow2" : "raw");
	}
}

static void test_chain_of_the_greatest_length_is_loaded_and_a_longer_one_refused(void **state)
{
	struct layer_test *t = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	char ids[LAYER_CHAIN_MAX + 1][UUID_TEXT_SIZE];
	make_chain(t, LAYER_CHAIN_MAX + 1, ids);
	assert_int_equal(load(t, ids[LAYER_CHAIN_MAX], &chain), ERR_INTERNAL);
	assert_int_equal(chain.len, 0);
	assert_int_equal(load(t, ids[LAYER_CHAIN_MAX - 1], &chain), 0);
	assert_int_equal(chain.len, LAYER_CHAIN_MAX);
}

static void test_loop_is_an_error_and_no_endless_walk(void **state)
{
	struct layer_test *t = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	char ids[3][UUID_TEXT_SIZE];
	make_chain(t, 3, ids);
	assert_int_equal(run(t, backing_job, ids[0], ids[2]), 0);
	assert_int_equal(load(t, ids[1], &chain), ERR_INTERNAL);
	assert_int_equal(chain.len, 0);
	assert_int_equal(run(t, backing_job, ids[0], ids[0]), 0); /* on itself */
	assert_int_equal(load(t, ids[0], &chain), ERR_INTERNAL);
}

static void test_chain_of_a_missing_layer_is_not_found(void **state)
{
	struct layer_test *t = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	assert_int_equal(load(t, "0192f000-0000-7000-8000-00000000dead", &chain), ERR_NOT_FOUND);
	assert_int_equal(chain.len, 0);
}

/* ---- merging ---- */

static void assert_merged(struct layer_test *t, char (*ids)[UUID_TEXT_SIZE],
        const struct layer_row *upper, const struct layer_row *lower)
{
	struct layer_row now CLEANUP(layer_row_done) = {0};
	struct layer_row left CLEANUP(layer_row_done) = {0};
	get(t, ids[2], &now);
	get(t, ids[1], &left);
	assert_string_equal(now.file, lower->file);
	assert_string_equal(now.format, lower->format);
	assert_string_equal(now.backing_id, ids[0]);
	assert_string_equal(now.state, "ready");
	assert_string_equal(left.file, upper->file);
	assert_string_equal(left.format, upper->format);
	assert_string_equal(left.backing_id, "");
	assert_string_equal(left.state, "deleting");
}

static void test_merge_gives_the_upper_layer_the_lower_ones_file_and_twice_is_as_once(void **state)
{
	struct layer_test *t = *state;
	struct layer_row upper CLEANUP(layer_row_done) = {0};
	struct layer_row lower CLEANUP(layer_row_done) = {0};
	char ids[3][UUID_TEXT_SIZE];
	make_chain(t, 3, ids);
	get(t, ids[2], &upper);
	get(t, ids[1], &lower);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(t, merge_job, ids[2], ids[1]), 0);
		assert_merged(t, ids, &upper, &lower);
	}
	assert_int_equal(run(t, forget_job, ids[1], NULL), 0);
	assert_int_equal(run(t, merge_job, ids[2], ids[1]), 0); /* a third time, its row gone */
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	assert_int_equal(load(t, ids[2], &chain), 0);
	assert_int_equal(chain.len, 2);
}

static void test_merge_into_a_raw_base_makes_the_upper_layer_raw(void **state)
{
	struct layer_test *t = *state;
	struct layer_row row CLEANUP(layer_row_done) = {0};
	char ids[2][UUID_TEXT_SIZE];
	make_chain(t, 2, ids);
	assert_int_equal(run(t, merge_job, ids[1], ids[0]), 0);
	get(t, ids[1], &row);
	assert_string_equal(row.format, "raw");
	assert_string_equal(row.backing_id, "");
	assert_non_null(strstr(row.file, ids[0]));
}

static void test_merge_across_pools_takes_the_lower_ones_pool(void **state)
{
	struct layer_test *t = *state;
	struct layer_row upper CLEANUP(layer_row_done) = {0};
	struct layer_row lower CLEANUP(layer_row_done) = {0};
	char ids[2][UUID_TEXT_SIZE];
	make_chain(t, 2, ids);
	char *elsewhere CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO pool (id, name, kind, path, shared, created_at) VALUES ('san', 'san', "
	        "'dir', '/san', 1, 0); UPDATE layer SET pool_id = 'san', host_id = NULL WHERE "
	        "id = '%s'",
	        ids[0]);
	fixture_exec(t->v->base, elsewhere);
	assert_int_equal(run(t, merge_job, ids[1], ids[0]), 0);
	get(t, ids[1], &upper);
	get(t, ids[0], &lower);
	assert_string_equal(upper.pool_id, "san");
	assert_string_equal(upper.host_id, "");
	assert_string_equal(lower.pool_id, t->pool_id);
	assert_string_equal(lower.host_id, t->v->host_id);
}

static void test_merge_of_layers_that_are_not_neighbours_changes_nothing(void **state)
{
	struct layer_test *t = *state;
	struct layer_row row CLEANUP(layer_row_done) = {0};
	char ids[3][UUID_TEXT_SIZE];
	make_chain(t, 3, ids);
	assert_int_equal(run(t, merge_job, ids[2], ids[0]), ERR_INTERNAL);
	get(t, ids[0], &row);
	assert_string_equal(row.state, "ready");
	assert_non_null(strstr(row.file, ids[0]));
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        LAYER_TEST(test_layer_is_creating_then_ready_then_deleting_then_gone),
	        LAYER_TEST(test_two_layers_of_a_pool_never_share_a_file),
	        LAYER_TEST(test_layer_that_another_stands_on_is_not_forgotten),
	        LAYER_TEST(test_chain_is_loaded_from_the_top_down),
	        LAYER_TEST(test_chain_of_the_greatest_length_is_loaded_and_a_longer_one_refused),
	        LAYER_TEST(test_loop_is_an_error_and_no_endless_walk),
	        LAYER_TEST(test_chain_of_a_missing_layer_is_not_found),
	        LAYER_TEST(
	                test_merge_gives_the_upper_layer_the_lower_ones_file_and_twice_is_as_once),
	        LAYER_TEST(test_merge_into_a_raw_base_makes_the_upper_layer_raw),
	        LAYER_TEST(test_merge_across_pools_takes_the_lower_ones_pool),
	        LAYER_TEST(test_merge_of_layers_that_are_not_neighbours_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
