/* SPDX-License-Identifier: Apache-2.0 */
/* Files compared with what is recorded, and how long the header of one that is pulled into is not believed. */
#include "tests/unit/storage/volume_world.h"

/* tip on leaf on base, and the chain as it is recorded. */
struct tower {
	char base[UUID_TEXT_SIZE], leaf[UUID_TEXT_SIZE], tip[UUID_TEXT_SIZE];
	struct layer_chain chain;
};

static void tower_done(struct tower *t)
{
	layer_chain_done(&t->chain);
}

static void make_linked(struct volume_world *v, const char *below, const char *name, char *ret_id)
{
	struct world_job job = {.id = below, .clone = {.name = name, .mode = VOLUME_CLONE_LINKED}};
	assert_int_equal(world_run(v, world_clone_job, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	uuid_text_copy(ret_id, job.made);
}

static void load(struct volume_world *v, struct tower *t)
{
	layer_chain_done(&t->chain);
	t->chain = (struct layer_chain){0};
	assert_int_equal(layer_chain_load(v->base->reader, t->tip, &t->chain, &v->base->e), 0);
}

static void build(struct volume_world *v, struct tower *ret_tower)
{
	world_make(v, "base", "qcow2", ret_tower->base);
	make_linked(v, ret_tower->base, "leaf", ret_tower->leaf);
	make_linked(v, ret_tower->leaf, "tip", ret_tower->tip);
	load(v, ret_tower);
	assert_int_equal(ret_tower->chain.len, 3);
}

/* The tip's file says that it stands on `path` (NULL: on nothing). */
static void write_header(struct volume_world *v, const struct tower *t, const char *path)
{
	const struct volume_config config = {.name = t->chain.layers[0].file,
	        .format = "qcow2",
	        .size_bytes = t->chain.layers[0].size_bytes,
	        .backing_path = path,
	        .backing_format = path ? "qcow2" : NULL};
	WORLD_ASK(c, {
		assert_int_equal(
		        driver_fake.volume_delete(c, "berth-default", config.name, &e_), 0);
		assert_int_equal(driver_fake.volume_create(c, "berth-default", &config, &e_), 0);
	});
}

static int check(struct volume_world *v, const struct tower *t)
{
	int rc;
	err_clear(&v->base->e);
	WORLD_ASK(c, rc = layer_chain_check(&t->chain, &driver_fake, c, &v->base->e));
	return rc;
}

static int mark_job(struct db *db, void *arg, struct err *e)
{
	const struct world_job *job = arg;
	return layer_mark_pulling(db, job->id, true, e);
}

static int unmark_job(struct db *db, void *arg, struct err *e)
{
	const struct world_job *job = arg;
	return layer_mark_pulling(db, job->id, false, e);
}

static void mark(struct volume_world *v, const char *id, bool is_pulling)
{
	struct world_job job = {.id = id};
	assert_int_equal(world_run(v, is_pulling ? mark_job : unmark_job, &job), 0);
}

static void test_header_that_names_another_layer_is_drift(void **state)
{
	struct volume_world *v = *state;
	struct tower t CLEANUP(tower_done) = {0};
	build(v, &t);
	assert_int_equal(check(v, &t), 0);
	write_header(v, &t, t.chain.paths[2]);
	assert_int_equal(check(v, &t), ERR_UNPROCESSABLE);
	assert_non_null(strstr(v->base->e.message, t.chain.paths[2]));
	write_header(v, &t, NULL);
	assert_int_equal(check(v, &t), ERR_UNPROCESSABLE);
	assert_non_null(strstr(v->base->e.message, "stands on nothing"));
}

static void test_what_is_pulled_into_may_name_less_but_nothing_else(void **state)
{
	struct volume_world *v = *state;
	struct tower t CLEANUP(tower_done) = {0};
	build(v, &t);
	mark(v, t.tip, true);
	load(v, &t);
	assert_int_equal(check(v, &t), 0);
	write_header(v, &t, t.chain.paths[2]);
	assert_int_equal(check(v, &t), 0);
	write_header(v, &t, NULL);
	assert_int_equal(check(v, &t), 0);
	write_header(v, &t, "/pool/other.qcow2");
	assert_int_equal(check(v, &t), ERR_UNPROCESSABLE);
	write_header(v, &t, NULL);
	mark(v, t.tip, false);
	load(v, &t);
	assert_int_equal(check(v, &t), ERR_UNPROCESSABLE);
}

static int flatten_job(struct db *db, void *arg, struct err *e)
{
	const struct world_job *job = arg;
	return layer_set_backing(db, job->id, NULL, e);
}

static int merge_job(struct db *db, void *arg, struct err *e)
{
	const struct world_job *job = arg;
	struct layer_row upper CLEANUP(layer_row_done) = {0};
	int rc = layer_store_get(db, job->id, &upper, e);
	return rc < 0 ? rc : layer_merge_down(db, upper.id, upper.backing_id, e);
}

static void test_the_mark_ends_with_the_pull_and_follows_the_file(void **state)
{
	struct volume_world *v = *state;
	struct tower t CLEANUP(tower_done) = {0};
	char sql[] =
	        "SELECT group_concat(pulling, ' ') FROM (SELECT pulling FROM layer ORDER BY id)";
	build(v, &t);
	mark(v, t.tip, true);
	load(v, &t);
	assert_true(fixture_is(v->base, sql, "0 0 1"));
	mark(v, t.base, true);
	struct world_job leaf = {.id = t.leaf}, tip = {.id = t.tip};
	assert_int_equal(
	        world_run(v, merge_job, &leaf), 0); /* it has base's file, and that file's mark */
	assert_true(fixture_is(v->base, sql, "0 1 1"));
	assert_int_equal(world_run(v, flatten_job, &tip), 0);
	assert_true(fixture_is(v->base, sql, "0 1 0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_header_that_names_another_layer_is_drift),
	        WORLD_TEST(test_what_is_pulled_into_may_name_less_but_nothing_else),
	        WORLD_TEST(test_the_mark_ends_with_the_pull_and_follows_the_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
