/* SPDX-License-Identifier: Apache-2.0 */
/* A volume's content in and out over the fake driver: what is refused, what a failure leaves, who waits for whom. */
#include "tests/unit/storage/volume_world.h"

#include <stdatomic.h>

#include "storage/volume_content.h"

#define BLOCK ((size_t)65536)

/* The other end, on a thread that plays the bulk thread. */
struct end {
	struct volume_world *v;
	struct operation_services services;
	struct volume_content *content;
	pthread_t thread;
	int64_t offset, length;
	const char *bytes; /* IN: what comes */
	int64_t n, at;     /* of them */
	int64_t fails_at;  /* IN: then this error; -1: never */
	int64_t holds_at;  /* IN: waits there until it is let go; -1: never */
	_Atomic bool is_held, may_go;
	char *got; /* OUT */
	_Atomic int cancelled;
	_Atomic bool is_done;
	int rc;
	struct err error;
};

static int64_t end_read(void *arg, void *bytes, size_t n, struct err *e)
{
	struct end *end = arg;
	if (end->holds_at >= 0 && end->at >= end->holds_at) {
		end->is_held = true;
		while (!end->may_go && !end->cancelled)
			sched_yield();
	}
	if (end->cancelled)
		return err_set(e, end->cancelled, "told to stop");
	if (end->fails_at >= 0 && end->at >= end->fails_at)
		return err_set(e, ERR_GONE, "the client left");
	int64_t left = end->n - end->at;
	int64_t got = left < (int64_t)n ? left : (int64_t)n;
	if (got > (int64_t)BLOCK)
		got = BLOCK;
	memcpy(bytes, end->bytes + end->at, (size_t)got);
	end->at += got;
	return got;
}

static int end_write(void *arg, const void *bytes, size_t n, struct err *e)
{
	struct end *end = arg;
	(void)e;
	end->got = xrealloc(end->got, (size_t)end->n + n);
	memcpy(end->got + end->n, bytes, n);
	end->n += (int64_t)n;
	return 0;
}

static void end_cancel(void *arg, int rc, const struct err *e)
{
	struct end *end = arg;
	int none = 0;
	(void)e;
	atomic_compare_exchange_strong(&end->cancelled, &none, rc);
}

static bool end_is_cancelled(void *arg)
{
	struct end *end = arg;
	return end->cancelled != 0;
}

static bool end_is_stopping(void *arg)
{
	struct end *end = arg;
	return end->cancelled == ERR_UNAVAILABLE;
}

static void *end_main(void *arg)
{
	struct end *end = arg;
	const struct volume_content_io io = {
	        end_read, end_write, end_cancel, end_is_cancelled, end_is_stopping, end};
	end->rc = volume_content_run(
	        end->content, &end->services, &io, end->offset, end->length, &end->error);
	end->is_done = true;
	return NULL;
}

/* ---- beginning and ending ---- */

struct begin_job {
	struct volume_world *v;
	const char *id;
	enum volume_content_direction direction;
	int64_t length;
	struct volume_content *content;
};

static int begin_job(struct db *db, void *arg, struct err *e)
{
	struct begin_job *job = arg;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, job->id, &row, e);
	return rc < 0 ? rc
	              : volume_content_begin(db, job->v->base->engine, &row, job->direction,
	                        job->length, &world_asked, &job->content, e);
}

static int try_begin(
        struct volume_world *v, const char *id, enum volume_content_direction direction)
{
	struct begin_job job = {.v = v, .id = id, .direction = direction, .length = -1};
	int rc = writer_run(v->base->writer, begin_job, &job, &v->base->e);
	volume_content_unref(job.content);
	return rc;
}

static void start(struct volume_world *v, struct end *end, const char *id,
        enum volume_content_direction direction)
{
	struct begin_job job = {
	        .v = v, .id = id, .direction = direction, .length = end->n ? end->n : -1};
	if (writer_run(v->base->writer, begin_job, &job, &v->base->e) < 0)
		fail_msg("%s", v->base->e.message);
	end->v = v;
	end->content = job.content;
	end->services = v->base->services;
	end->services.loop = v->base->loop;
	end->services.readers = v->base->services.readers;
	end->services.engine = v->base->engine;
	assert_int_equal(pthread_create(&end->thread, NULL, end_main, end), 0);
}

static void join(struct end *end)
{
	assert_true(TURN_UNTIL(end->v->base->loop, end->is_done));
	pthread_join(end->thread, NULL);
	volume_content_unref(end->content);
}

/* The newest operation's state, when it has ended. */
static void assert_state(struct volume_world *v, const char *kind, const char *state)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT state FROM operation WHERE kind = '%s' AND ended_at > 0 "
	                   "ORDER BY created_at DESC, id DESC LIMIT 1",
	                kind);
	char *seen CLEANUP(cleanup_free) = fixture_text(v->base, sql);
	assert_non_null(seen);
	assert_string_equal(seen, state);
}

struct cancel_job {
	struct volume_world *v;
	const char *operation;
};

static int cancel_job(struct db *db, void *arg, struct err *e)
{
	const struct cancel_job *job = arg;
	return operation_cancel(db, job->v->base->engine, job->operation, e);
}

static char *make_bytes(int64_t n)
{
	char *bytes = xcalloc(1, (size_t)n);
	for (int64_t i = 0; i < n; i++)
		bytes[i] = (char)(i * 13 + i / 255);
	return bytes;
}

#define BYTES(from, count)                                                                         \
	{                                                                                          \
		.bytes = (from), .n = (count), .fails_at = -1, .holds_at = -1                      \
	}
#define PART(at_byte, count)                                                                       \
	{                                                                                          \
		.offset = (at_byte), .length = (count), .fails_at = -1, .holds_at = -1             \
	}
#define HELD_AT(from, count, place)                                                                \
	{                                                                                          \
		.bytes = (from), .n = (count), .fails_at = -1, .holds_at = (place)                 \
	}

static void upload(struct volume_world *v, const char *id, const char *bytes, int64_t n)
{
	struct end end = BYTES(bytes, n);
	start(v, &end, id, VOLUME_CONTENT_IN);
	join(&end);
	if (end.rc < 0)
		fail_msg("%s", end.error.message);
}

static void expect_content(
        struct volume_world *v, const char *id, const char *bytes, int64_t n, int64_t n_zero)
{
	struct end end = PART(0, n + n_zero);
	start(v, &end, id, VOLUME_CONTENT_OUT);
	join(&end);
	assert_int_equal(end.rc, 0);
	assert_int_equal(end.n, n + n_zero);
	assert_memory_equal(end.got, bytes, (size_t)n);
	for (int64_t i = n; i < end.n; i++)
		assert_int_equal(end.got[i], 0);
	free(end.got);
}

/* ---- tests ---- */

static void test_what_went_in_comes_out_and_the_rest_is_zero(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(2 * MIB + 7);
	world_make(v, "data", "raw", id);
	upload(v, id, bytes, 2 * MIB + 7);
	assert_state(v, "volume.upload", "succeeded"); /* already, when the end has returned */
	expect_content(v, id, bytes, 2 * MIB + 7, 5000);
	assert_state(v, "volume.download", "succeeded");
	upload(v, id, bytes, 100);
	expect_content(v, id, bytes, 100, 2 * MIB);
	assert_int_equal(world_file_bytes(v, id, "raw"), 64 * MIB);
}

static void test_part_is_read_alone(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(MIB);
	world_make(v, "data", "raw", id);
	upload(v, id, bytes, MIB);
	struct end end = PART(1000, 70000);
	start(v, &end, id, VOLUME_CONTENT_OUT);
	join(&end);
	assert_int_equal(end.n, 70000);
	assert_memory_equal(end.got, bytes + 1000, 70000);
	free(end.got);
}

static void test_bad_qcow2_head_leaves_the_volume_untouched(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	int64_t version = fixture_int(v->base, "SELECT version FROM volume");
	struct end end = BYTES("no qcow2", 8);
	start(v, &end, id, VOLUME_CONTENT_IN);
	join(&end);
	assert_int_equal(end.rc, ERR_UNPROCESSABLE);
	assert_state(v, "volume.upload", "failed");
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 0);
	assert_int_equal(fixture_int(v->base, "SELECT version FROM volume"), version);
	assert_int_equal(fake_host_count_calls("h1", "volume_upload"), 0);
}

static void test_raw_content_may_look_like_anything(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	upload(v, id, "QFI\xfb\0\0\0\3", 8); /* as a guest may have written it */
	expect_content(v, id, "QFI\xfb\0\0\0\3", 8, 100);
}

static void test_failed_upload_leaves_it_empty(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(MIB);
	world_make(v, "data", "raw", id);
	upload(v, id, bytes, MIB);
	struct end end = BYTES(bytes, MIB);
	end.fails_at = 500000;
	start(v, &end, id, VOLUME_CONTENT_IN);
	join(&end);
	assert_int_equal(end.rc, ERR_GONE);
	assert_state(v, "volume.upload", "failed");
	expect_content(v, id, "", 0, MIB);
	assert_int_equal(fixture_int(v->base, "SELECT next_backup_full FROM volume"), 1);
}

static void test_cancel_ends_it_in_the_middle(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(MIB);
	world_make(v, "data", "raw", id);
	struct end end = HELD_AT(bytes, MIB, 300000);
	start(v, &end, id, VOLUME_CONTENT_IN);
	assert_true(TURN_UNTIL(v->base->loop, end.is_held));
	char *operation CLEANUP(cleanup_free) =
	        fixture_text(v->base, "SELECT id FROM operation WHERE kind = 'volume.upload'");
	assert_int_equal(writer_run(v->base->writer, cancel_job, &(struct cancel_job){v, operation},
	                         &v->base->e),
	        0);
	join(&end);
	assert_int_equal(end.rc, ERR_CANCELLED);
	assert_state(v, "volume.upload", "cancelled");
	expect_content(v, id, "", 0, MIB);
}

static void test_restart_in_the_middle_leaves_it_empty(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(MIB);
	world_make(v, "data", "raw", id);
	struct end end = HELD_AT(bytes, MIB, 300000);
	start(v, &end, id, VOLUME_CONTENT_IN);
	assert_true(TURN_UNTIL(v->base->loop, end.is_held));
	operation_engine_stop(v->base->engine);
	end_cancel(&end, ERR_UNAVAILABLE, NULL);
	join(&end);
	world_restart(v);
	char *operation CLEANUP(cleanup_free) =
	        fixture_text(v->base, "SELECT id FROM operation WHERE kind = 'volume.upload'");
	world_assert_ends(v, operation, "failed");
	world_assert_error(v, operation, "interrupted");
	assert_int_equal(
	        fake_host_count_calls("h1", "volume_delete"), 2); /* before it, and after */
	expect_content(v, id, "", 0, MIB);
}

static void test_operation_whose_bytes_never_come_fails(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_IN), 0); /* and it is let go of at once */
	assert_true(TURN_UNTIL(v->base->loop,
	        fixture_int(v->base,
	                "SELECT count(*) FROM operation WHERE kind = 'volume.upload' AND "
	                "state = 'failed'") == 1));
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 0);
}

static void test_running_vm_keeps_it_away(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	world_attach(v, id);
	fixture_exec(v->base, "UPDATE vm SET power = 'running'");
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_IN), ERR_WRONG_STATE);
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_OUT), ERR_WRONG_STATE);
	assert_non_null(strstr(v->base->e.message, "web"));
	assert_true(v->base->e.hint[0]);
}

/* Someone started it behind our back: the row says stopped, the host knows better. */
static void test_process_that_the_host_shows_keeps_it_away(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	world_attach(v, id);
	world_start_vm(v, id, "raw");
	fixture_exec(v->base, "UPDATE vm SET power = 'stopped'");
	struct end end = BYTES("x", 1);
	start(v, &end, id, VOLUME_CONTENT_IN);
	join(&end);
	assert_int_equal(end.rc, ERR_WRONG_STATE);
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 0);
	assert_int_equal(fake_host_count_calls("h1", "volume_upload"), 0);
}

static void test_what_others_stand_on_is_not_written(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	struct world_job clone = {.id = id, .clone = {.name = "leaf", .mode = VOLUME_CLONE_LINKED}};
	assert_int_equal(world_run(v, world_clone_job, &clone), 0);
	world_assert_ends(v, clone.operation, "succeeded");
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_IN), ERR_IN_USE);
	assert_int_equal(try_begin(v, clone.made, VOLUME_CONTENT_OUT), ERR_UNSUPPORTED);
	assert_non_null(strstr(v->base->e.hint, "clone"));
}

static void test_writing_excludes_all_and_reading_only_others(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	char *bytes CLEANUP(cleanup_free) = make_bytes(MIB);
	world_make(v, "data", "raw", id);
	struct end end = HELD_AT(bytes, MIB, 300000);
	start(v, &end, id, VOLUME_CONTENT_IN);
	assert_true(TURN_UNTIL(v->base->loop, end.is_held));
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_IN), ERR_BUSY);
	assert_int_equal(try_begin(v, id, VOLUME_CONTENT_OUT), ERR_BUSY);
	struct world_job job = {.id = id};
	assert_int_equal(world_run(v, world_delete_job, &job), ERR_BUSY);
	end.may_go = true;
	join(&end);
	assert_int_equal(end.rc, 0);
	struct end one = PART(0, 5), two = PART(0, 5);
	start(v, &one, id, VOLUME_CONTENT_OUT);
	start(v, &two, id, VOLUME_CONTENT_OUT);
	join(&one);
	join(&two);
	assert_int_equal(one.rc, 0);
	assert_int_equal(two.rc, 0);
	free(one.got);
	free(two.got);
}

static void test_limits_follow_from_format_and_size(void **state)
{
	(void)state;
	char raw[] = "raw", qcow2[] = "qcow2";
	struct volume_row row = {.format = raw, .size_bytes = 64 * MIB};
	assert_int_equal(volume_content_max_bytes(&row), 64 * MIB);
	assert_int_equal(volume_content_length(&row), 64 * MIB);
	row.format = qcow2;
	assert_true(volume_content_max_bytes(&row) > 64 * MIB);
	assert_int_equal(volume_content_length(&row), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_what_went_in_comes_out_and_the_rest_is_zero),
	        TEST(test_part_is_read_alone),
	        TEST(test_bad_qcow2_head_leaves_the_volume_untouched),
	        TEST(test_raw_content_may_look_like_anything),
	        TEST(test_failed_upload_leaves_it_empty),
	        TEST(test_cancel_ends_it_in_the_middle),
	        TEST(test_restart_in_the_middle_leaves_it_empty),
	        TEST(test_operation_whose_bytes_never_come_fails),
	        TEST(test_running_vm_keeps_it_away),
	        TEST(test_process_that_the_host_shows_keeps_it_away),
	        TEST(test_what_others_stand_on_is_not_written),
	        TEST(test_writing_excludes_all_and_reading_only_others),
	        cmocka_unit_test(test_limits_follow_from_format_and_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
