/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams over a real server: replay, wake, filters, ends. */
#include "api_world.h"

#include "api/stream.h"

static int follow(const char *query, const char *headers)
{
	int fd = connect_unix();
	char text[400];
	snprintf(text, sizeof(text), "GET /api/v1/events%s HTTP/1.1\r\nHost: x\r\n%s\r\n", query,
	        headers);
	send_text(fd, text);
	return fd;
}

static const char *wanted;

static bool has_wanted(const struct str *text)
{
	return strstr(text->data, wanted) != NULL;
}

/* Reads until the text comes; everything read so far stays in `seen`. */
static void await(int fd, struct str *seen, const char *text)
{
	bool is_closed;
	wanted = text;
	if (!read_until(fd, seen, has_wanted, &is_closed) || is_closed)
		fail_msg("'%s' did not come, but: %s", text, str_text(seen));
}

static void make_thing(const char *name)
{
	char body[80];
	snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
	expect(ask("POST", "/api/v1/things", "", body), 201, NULL);
}

static void test_stream_is_woken_by_a_commit(void **state)
{
	(void)state;
	struct str seen CLEANUP(str_done) = {0};
	int fd = follow("", "");
	await(fd, &seen, "text/event-stream");
	make_thing("one");
	await(fd, &seen, "event: thing.created\ndata: {");
	await(fd, &seen, "\"name\":\"one\"");
	make_thing("two");
	await(fd, &seen, "\"name\":\"two\"");
	close(fd);
}

static void test_stream_replays_after_a_number(void **state)
{
	(void)state;
	struct str seen CLEANUP(str_done) = {0};
	make_thing("one");
	make_thing("two");
	make_thing("three");
	int fd = follow("?after=1", "");
	await(fd, &seen, "\"three\"");
	assert_null(strstr(seen.data, "\"one\""));
	assert_non_null(strstr(seen.data, "id: 2\n"));
	close(fd);
}

static void test_last_event_id_wins_over_after(void **state)
{
	(void)state;
	struct str seen CLEANUP(str_done) = {0};
	make_thing("one");
	make_thing("two");
	make_thing("three");
	int fd = follow("?after=0", "Last-Event-ID: 2\r\n");
	await(fd, &seen, "\"three\"");
	assert_null(strstr(seen.data, "\"two\""));
	close(fd);
	expect(ask("GET", "/api/v1/events", "Last-Event-ID: many\r\n", NULL), 400, "malformed");
}

static void test_stream_filters_by_kind_and_object(void **state)
{
	(void)state;
	struct str seen CLEANUP(str_done) = {0}, other CLEANUP(str_done) = {0};
	int fd = follow("?after=0&object=three", ""), kinds = follow("?after=0&kind=token,vm", "");
	make_thing("one");
	make_thing("three");
	char secret[TOKEN_SECRET_SIZE];
	world_make_token("ci", TOKEN_VIEWER, secret);
	await(fd, &seen, "\"three\"");
	assert_null(strstr(seen.data, "\"one\""));
	await(kinds, &other, "event: token.created");
	assert_null(strstr(other.data, "thing.created"));
	close(fd);
	close(kinds);
}

static void test_list_as_json(void **state)
{
	(void)state;
	make_thing("one");
	make_thing("two");
	make_thing("three");
	struct answer a = ask(
	        "GET", "/api/v1/events?after=1&page_size=1", "Accept: application/json\r\n", NULL);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body, "\"two\""));
	assert_null(strstr(a.body, "\"three\""));
	assert_non_null(strstr(a.body, "\"after\":2"));
	answer_done(&a);
}

static int prune(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return change_prune(db, INT64_MAX, e);
}

static void test_too_old_a_number_is_gone(void **state)
{
	(void)state;
	struct err e = {0};
	make_thing("one");
	make_thing("two");
	make_thing("three");
	must(writer_run(world.writer, prune, NULL, &e), &e);
	expect(ask("GET", "/api/v1/events?after=0", "", NULL), 410, "gone");
	expect(ask("GET", "/api/v1/events?after=0", "Accept: application/json\r\n", NULL), 410,
	        "gone");
}

static void test_streams_end_on_stop(void **state)
{
	(void)state;
	int fd = follow("", "");
	struct str seen CLEANUP(str_done) = {0};
	await(fd, &seen, "text/event-stream");
	int64_t start = clock_now_ns();
	server_stop(world.server, 5000);
	assert_true(clock_now_ns() - start < 4000000000);
	struct answer a = read_all(fd);
	assert_true(a.is_closed);
	answer_done(&a);
	close(fd);
}

static void test_revoked_token_ends_its_stream(void **state)
{
	(void)state;
	char secret[TOKEN_SECRET_SIZE], text[300];
	struct str seen CLEANUP(str_done) = {0};
	world_make_token("ci", TOKEN_VIEWER, secret);
	int fd = connect_tcp();
	snprintf(text, sizeof(text),
	        "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
	        secret);
	send_text(fd, text);
	await(fd, &seen, "text/event-stream");
	expect(ask("DELETE", "/api/v1/tokens/ci", "", NULL), 204, NULL);
	await(fd, &seen, "\r\n0\r\n\r\n"); /* the last chunk */
	assert_null(strstr(seen.data, "token.deleted"));
	close(fd);
}

static void test_streams_are_capped(void **state)
{
	(void)state;
	int fds[STREAMS_MAX];
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		struct str seen CLEANUP(str_done) = {0};
		fds[i] = follow("", "");
		await(fds[i], &seen, "text/event-stream");
	}
	expect(ask("GET", "/api/v1/events", "", NULL), 429, "limit_reached");
	make_thing("one");
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		struct str seen CLEANUP(str_done) = {0};
		await(fds[i], &seen, "\"one\"");
		close(fds[i]);
	}
}

static void test_vanished_readers_give_their_place_back(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < STREAMS_MAX; i++) {
			int fd = follow("", "");
			struct str seen CLEANUP(str_done) = {0};
			await(fd, &seen, "text/event-stream");
			close(fd);
		}
		/* the next events find them gone; the first may still be buffered by the kernel */
		for (int i = 0; i < 50; i++) {
			char name[32];
			snprintf(name, sizeof(name), "r%d-%d", round, i);
			make_thing(name);
			struct answer a = ask("GET", "/metrics", "", NULL);
			bool is_free = strstr(a.body, "berth_http_connections 1\n") != NULL;
			answer_done(&a);
			if (is_free)
				break;
			assert_int_not_equal(i, 49);
		}
	}
}

/* ---- one stream by itself ---- */

static int fills, beats, suspends, resumes;
static bool has_text;

static int fake_fill(void *arg, struct str *out)
{
	(void)arg;
	fills++;
	if (has_text)
		str_add(out, "hello");
	has_text = false;
	return 0;
}

static int fake_beat(void *arg, struct str *out)
{
	(void)arg;
	beats++;
	str_add(out, ":");
	return 0;
}

static void fake_release(void *arg)
{
	(void)arg;
}

static void count_suspend(void *connection)
{
	(void)connection;
	suspends++;
}

static void count_resume(void *connection)
{
	(void)connection;
	resumes++;
}

static const struct stream_source fake_source = {fake_fill, fake_beat, fake_release};

static struct stream *open_fake(struct exchange *ex)
{
	struct err e = {0};
	fills = beats = suspends = resumes = 0;
	has_text = true;
	struct request rq = {.exchange = ex};
	assert_int_equal(stream_open(&rq, &fake_source, NULL, &e), 0);
	stream_attach(ex->stream, NULL, count_suspend, count_resume);
	return ex->stream;
}

static void test_heartbeat_comes_when_nothing_else_does(void **state)
{
	(void)state;
	static struct exchange ex;
	char text[16];
	clock_fake_set(1000000);
	struct stream *s = open_fake(&ex);
	assert_int_equal(stream_read(s, text, 2), 2);
	assert_int_equal(stream_read(s, text, sizeof(text)), 3);
	assert_int_equal(stream_read(s, text, sizeof(text)), STREAM_WAIT);
	assert_int_equal(suspends, 1);
	assert_false(stream_tick(s, 1000000 + STREAM_HEARTBEAT_MS - 1));
	assert_int_equal(resumes, 0);
	assert_false(stream_tick(s, 1000000 + STREAM_HEARTBEAT_MS));
	assert_int_equal(resumes, 1);
	assert_int_equal(stream_read(s, text, sizeof(text)), 1);
	assert_int_equal(beats, 1);
	stream_free(s);
	clock_fake_set(-1);
}

static void test_slow_reader_is_noticed(void **state)
{
	(void)state;
	static struct exchange ex;
	char text[16];
	clock_fake_set(1000000);
	struct stream *s = open_fake(&ex);
	assert_int_equal(stream_read(s, text, 2), 2);
	assert_false(stream_tick(s, 1000000 + STREAM_STALL_MS));
	assert_true(stream_tick(s, 1000000 + STREAM_STALL_MS + 1));
	stream_free(s);
	clock_fake_set(-1);
}

static void test_wake_during_a_turn_is_not_lost(void **state)
{
	(void)state;
	static struct exchange ex;
	char text[16];
	struct stream *s = open_fake(&ex);
	assert_int_equal(stream_read(s, text, sizeof(text)), 5);
	assert_int_equal(stream_read(s, text, sizeof(text)), STREAM_WAIT);
	has_text = true;
	stream_wake_all();
	stream_wake_all();
	assert_int_equal(resumes, 1);
	assert_int_equal(stream_read(s, text, sizeof(text)), 5);
	stream_close(s);
	assert_int_equal(stream_read(s, text, sizeof(text)), STREAM_END);
	stream_free(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_stream_is_woken_by_a_commit),
	        T(test_stream_replays_after_a_number),
	        T(test_last_event_id_wins_over_after),
	        T(test_stream_filters_by_kind_and_object),
	        T(test_list_as_json),
	        T(test_too_old_a_number_is_gone),
	        T(test_streams_end_on_stop),
	        T(test_revoked_token_ends_its_stream),
	        T(test_streams_are_capped),
	        T(test_vanished_readers_give_their_place_back),
	        cmocka_unit_test(test_heartbeat_comes_when_nothing_else_does),
	        cmocka_unit_test(test_slow_reader_is_noticed),
	        cmocka_unit_test(test_wake_during_a_turn_is_not_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
