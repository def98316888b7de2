/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads and downloads over real sockets: order, back-pressure, refusals, ends of all kinds. */
#include "flow_world.h"

/* ---- uploads ---- */

static void expect_all_arrived(struct answer a, const char *body, size_t size)
{
	unsigned char digest[32];
	crypto_hash_sha256(digest, (const unsigned char *)body, size);
	char text[64];
	snprintf(text, sizeof(text), "\"bytes\":%zu", size);
	expect(a, 200, text);
	assert_memory_equal(digest, flows.digest, sizeof(digest));
	wait_for_count(&flows.released, 1);
	assert_int_equal(flows.finished, 1);
	assert_int_equal(count_rows("SELECT count(*) FROM meta WHERE value = 'success'"), 1);
}

static void test_body_beyond_the_limit_of_json_arrives_whole(void **state)
{
	(void)state;
	size_t size = 5 * MIB + 3;
	char *body = make_body(size);
	expect_all_arrived(put("a", "", body, size), body, size);
	free(body);
}

static void test_chunked_body_arrives_whole(void **state)
{
	(void)state;
	size_t size = 2 * MIB;
	char *body = make_body(size);
	int fd = connect_unix();
	send_head(fd, "a", "Transfer-Encoding: chunked\r\n");
	send_chunk(fd, body, 1000);
	send_chunk(fd, body + 1000, size - 1000);
	send_text(fd, "0\r\n\r\n");
	expect_all_arrived(read_answer(fd), body, size);
	send_text(fd, "GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\n\r\n"); /* it goes on */
	expect(read_answer(fd), 200, NULL);
	close(fd);
	free(body);
}

static void test_empty_body_is_one(void **state)
{
	(void)state;
	expect_all_arrived(put("a", "", "", 0), "", 0);
}

static void test_accepted_upload_is_asked_for_before_the_body(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_head(fd, "a", "Content-Length: 5\r\nExpect: 100-continue\r\n");
	bool is_closed;
	struct str text = {0};
	assert_true(read_until(fd, &text, is_head, &is_closed));
	assert_int_equal(strncmp(text.data, "HTTP/1.1 100 ", 13), 0);
	str_done(&text);
	send_text(fd, "hello");
	expect(read_answer(fd), 200, "\"bytes\":5");
	close(fd);
}

static void test_refused_upload_is_answered_without_its_body(void **state)
{
	(void)state;
	static const struct {
		const char *deed, *headers;
		int status;
	} cases[] = {
	        {"refused", "Content-Length: 5000\r\nExpect: 100-continue\r\n", 409},
	        {"refused", "Content-Length: 99999999999\r\n", 409},
	        {"refused", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", 409},
	        {"small", "Content-Length: 1048577\r\nExpect: 100-continue\r\n", 413},
	        {"unlucky", "Content-Length: 5000\r\nExpect: 100-continue\r\n", 409},
	        {"a", "Content-Length: 9\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\n",
	                415},
	        {"a", "Content-Length: 9\r\nExpect: 100-continue\r\nContent-Digest: sha-256=x\r\n",
	                400},
	        {"a", "Content-Length: 9\r\nExpect: 100-continue\r\nContent-Digest: md5=:eA==:\r\n",
	                422},
	        {"a?x=1", "Content-Length: 9\r\nExpect: 100-continue\r\n", 400},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int fd = connect_unix();
		send_head(fd, cases[i].deed, cases[i].headers);
		expect(read_answer(fd), cases[i].status, "problem+json");
		close(fd);
	}
	assert_int_equal(flows.begun, 0);
	assert_int_equal(flows.finished, 0);
}

static void test_short_refused_body_leaves_the_connection_usable(void **state)
{
	(void)state;
	int fd = connect_unix();
	for (int i = 0; i < 2; i++) {
		send_head(fd, "refused", "Content-Length: 5\r\n");
		send_text(fd, "hello");
		expect(read_answer(fd), 409, "in use");
	}
	close(fd);
}

static void test_handler_may_answer_without_a_body(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_head(fd, "done", "Content-Length: 5000\r\nExpect: 100-continue\r\n");
	expect(read_answer(fd), 204, NULL);
	close(fd);
}

static void test_viewer_is_refused_before_the_body(void **state)
{
	(void)state;
	char secret[TOKEN_SECRET_SIZE], headers[300];
	world_make_token("eve", TOKEN_VIEWER, secret);
	int fd = connect_tcp();
	snprintf(headers, sizeof(headers),
	        "Authorization: Bearer %s\r\nContent-Length: 5\r\nExpect: 100-continue\r\n",
	        secret);
	send_head(fd, "a", headers);
	expect(read_answer(fd), 403, NULL);
	close(fd);
	assert_int_equal(flows.begun, 0);
}

static void test_digest_is_checked(void **state)
{
	(void)state;
	expect(put("a",
	               "Content-Digest: sha-512=:eA==:, "
	               "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n",
	               "hello", 5),
	        200, NULL);
	expect(put("a",
	               "Content-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\n",
	               "hellx", 5),
	        422, "sha-256");
	assert_int_equal(flows.finish_rc, ERR_UNPROCESSABLE);
	assert_int_equal(count_rows("SELECT count(*) FROM meta WHERE value = 'failure'"), 1);
}

/* The client never comes to the end of what it sends. */
static void expect_answer_in_the_middle(int fd, const char *body, size_t size, int status)
{
	int sent = 0;
	for (; sent < 20; sent++) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 0) == 1)
			break;
		send_chunk(fd, body, size);
	}
	expect(read_answer(fd), status, "problem+json");
	close(fd);
}

static void test_too_much_is_answered_in_the_middle(void **state)
{
	(void)state;
	char *body = make_body(MIB);
	int fd = connect_tcp();
	char secret[TOKEN_SECRET_SIZE], headers[300];
	world_make_token("op", TOKEN_OPERATOR, secret);
	snprintf(headers, sizeof(headers),
	        "Authorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n", secret);
	send_head(fd, "small", headers);
	expect_answer_in_the_middle(fd, body, MIB, 413);
	assert_int_equal(flows.finish_rc, ERR_TOO_LARGE);
	free(body);
}

static void test_failing_consumer_is_answered_in_the_middle(void **state)
{
	(void)state;
	char *body = make_body(MIB);
	int fd = connect_unix();
	send_head(fd, "full", "Transfer-Encoding: chunked\r\n");
	expect_answer_in_the_middle(fd, body, MIB, 507);
	free(body);
}

static void test_consumer_may_have_enough(void **state)
{
	(void)state;
	size_t size = 4 * MIB;
	char *body = make_body(size);
	expect(put("enough", "", body, size), 200, "bytes");
	free(body);
}

static void test_vanished_client_fails_the_upload(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_head(fd, "a", "Content-Length: 500000\r\n");
	send_text(fd, "hello");
	wait_for_count(&flows.begun, 1);
	close(fd);
	wait_for(&flows.ended);
	assert_int_equal(flows.rc, ERR_GONE);
	wait_for_count(&flows.released, 1);
	assert_int_equal(count_rows("SELECT count(*) FROM meta WHERE value = 'failure'"), 1);
}

static void test_dripping_client_is_cut_off(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_head(fd, "a", "Content-Length: 500000\r\n");
	int64_t start = clock_now_ns();
	for (int i = 0; i < 200 && sem_trywait(&flows.ended) < 0; i++) {
		send(fd, "x", 1, MSG_NOSIGNAL);
		struct timespec pause = {.tv_nsec = 20000000};
		nanosleep(&pause, NULL);
	}
	assert_int_equal(flows.finish_rc, ERR_REQUEST_TIMEOUT);
	assert_true(clock_now_ns() - start >= 290000000);
	close(fd);
}

static void test_slow_but_steady_client_is_served(void **state)
{
	(void)state;
	size_t piece = 70000,
	       n = 12; /* each more than what is asked for in 300 ms; all take twice that */
	char *body = make_body(piece * n);
	int fd = connect_unix();
	char head[100];
	snprintf(head, sizeof(head), "Content-Length: %zu\r\n", piece * n);
	send_head(fd, "a", head);
	for (size_t i = 0; i < n; i++) {
		struct timespec pause = {.tv_nsec = 50000000};
		send_bytes(fd, body + i * piece, piece);
		nanosleep(&pause, NULL);
	}
	expect_all_arrived(read_answer(fd), body, piece * n);
	close(fd);
	free(body);
}

/* Sends until the socket takes no more for a while; how much that was. */
static size_t send_until_blocked(int fd, const char *body, size_t size)
{
	size_t sent = 0;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		if (sent == size || poll(&p, 1, 300) <= 0)
			break;
		ssize_t n = send(fd, body + sent, size - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	fcntl(fd, F_SETFL, 0);
	return sent;
}

static void test_slow_consumer_holds_its_client_back_and_nobody_else(void **state)
{
	(void)state;
	size_t size = 16 * MIB;
	char *body = make_body(size);
	flows.hold = true;
	int fd = connect_unix();
	char head[100];
	snprintf(head, sizeof(head), "Content-Length: %zu\r\n", size);
	send_head(fd, "a", head);
	wait_for_count(&flows.begun, 1);
	size_t sent = send_until_blocked(fd, body, size);
	assert_true(sent >= UPLOAD_BUFFER);
	assert_true(sent < 4 * MIB); /* the pipe and the sockets' buffers */
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL); /* by the same, only thread */
	flows.hold = false;
	sem_post(&flows.go);
	send_bytes(fd, body + sent, size - sent);
	expect_all_arrived(read_answer(fd), body, size);
	close(fd);
	free(body);
}

static void test_client_that_leaves_while_it_is_held_back_is_noticed(void **state)
{
	(void)state;
	char *body = make_body(8 * MIB);
	flows.hold = true;
	int fd = connect_unix();
	send_head(fd, "a", "Content-Length: 99999999\r\n");
	wait_for_count(&flows.begun, 1);
	send_until_blocked(fd, body, 8 * MIB);
	close(fd);
	flows.hold = false;
	sem_post(&flows.go);
	wait_for(&flows.ended);
	assert_int_equal(flows.rc, ERR_GONE);
	free(body);
}

static void test_stopping_server_ends_uploads(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_head(fd, "a", "Content-Length: 500000\r\n");
	send_text(fd, "hello");
	wait_for_count(&flows.begun, 1);
	server_stop(world.server, 100);
	wait_for(&flows.ended);
	assert_int_equal(flows.rc, ERR_UNAVAILABLE);
	wait_for_count(&flows.released, 1);
	close(fd);
}

static void test_no_more_than_a_few_run_at_once(void **state)
{
	(void)state;
	int fds[FLOWS_MAX];
	for (int i = 0; i < FLOWS_MAX; i++) {
		fds[i] = connect_unix();
		send_head(fds[i], "a", "Content-Length: 500000\r\n");
		wait_for_count(&flows.begun, i + 1);
	}
	expect(put("a", "", "hello", 5), 429, "Retry-After");
	expect(ask("GET", A_BOOK "a", "", NULL), 429, NULL);
	for (int i = 0; i < FLOWS_MAX; i++)
		close(fds[i]);
	for (int i = 0; i < FLOWS_MAX; i++)
		wait_for(&flows.ended);
	wait_for_count(&flows.released, FLOWS_MAX + 2); /* the refused ones, too */
	flows.moved = 0;
	expect(put("a", "", "hello", 5), 200, "\"bytes\":5");
}

static void test_uploads_of_one_place_leave_room_for_others(void **state)
{
	(void)state;
	int fds[FLOWS_PER_KEY + 1];
	for (int i = 0; i < FLOWS_PER_KEY + 1; i++) {
		fds[i] = connect_unix();
		send_head(fds[i], i < FLOWS_PER_KEY ? "pool-a" : "pool-b",
		        "Content-Length: 500000\r\n");
		wait_for_count(&flows.begun, i + 1);
	}
	expect(put("pool-a", "", "hello", 5), 429, "of the same pool");
	expect(ask("GET", A_BOOK "pool-a", "", NULL), 429, "of the same pool");
	for (int i = 0; i < FLOWS_PER_KEY + 1; i++)
		close(fds[i]);
	wait_for_count(&flows.released, FLOWS_PER_KEY + 3);
	flows.moved = 0;
	expect(put("pool-a", "", "hello", 5), 200, "\"bytes\":5");
}

/* ---- downloads ---- */

static void expect_bytes(const struct answer *a, int64_t offset, int64_t length)
{
	const unsigned char *body = (const unsigned char *)a->body;
	assert_int_equal(a->len - (size_t)(a->body - a->text), length);
	for (int64_t i = 0; i < length; i++)
		if (body[i] != byte_at(offset + i))
			fail_msg("byte %lld is wrong", (long long)(offset + i));
}

static void test_download_arrives_whole(void **state)
{
	(void)state;
	struct answer a = ask("GET", A_BOOK "a", "", NULL);
	assert_int_equal(a.status, 200);
	assert_non_null(find_header(a.text, "Accept-Ranges: bytes"));
	assert_non_null(find_header(a.text, "Content-Type: application/octet-stream"));
	assert_non_null(find_header(a.text, "ETag: \"" NO_ONES "-4\""));
	expect_bytes(&a, 0, LENGTH);
	answer_done(&a);
	wait_for_count(&flows.released, 1);
}

static void test_range_is_sent_alone(void **state)
{
	(void)state;
	struct answer a = ask("GET", A_BOOK "a", "Range: bytes=1000000-2999999\r\n", NULL);
	assert_int_equal(a.status, 206);
	assert_non_null(find_header(a.text, "Content-Range: bytes 1000000-2999999/3145733"));
	expect_bytes(&a, 1000000, 2000000);
	answer_done(&a);
	a = ask("GET", A_BOOK "a", "Range: bytes=-5\r\nIf-Range: \"" NO_ONES "-4\"\r\n", NULL);
	assert_int_equal(a.status, 206);
	expect_bytes(&a, LENGTH - 5, 5);
	answer_done(&a);
	a = ask("GET", A_BOOK "a", "Range: bytes=-5\r\nIf-Range: \"" NO_ONES "-3\"\r\n", NULL);
	assert_int_equal(a.status, 200);
	expect_bytes(&a, 0, LENGTH);
	answer_done(&a);
	a = ask("GET", A_BOOK "a", "Range: bytes=3145733-\r\n", NULL);
	assert_non_null(find_header(a.text, "Content-Range: bytes */3145733"));
	expect(a, 416, "range_not_satisfiable");
}

static void test_head_tells_the_length_and_produces_nothing(void **state)
{
	(void)state;
	struct answer a = ask("HEAD", A_BOOK "a", "", NULL);
	assert_int_equal(a.status, 200);
	assert_non_null(find_header(a.text, "Content-Length: 3145733"));
	assert_string_equal(a.body, "");
	answer_done(&a);
	assert_int_equal(flows.begun, 0);
	wait_for_count(&flows.released, 1);
}

static void test_unknown_length_comes_in_chunks(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "GET " A_BOOK "endless HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	              "Range: bytes=5-9\r\n\r\n");
	struct answer a = read_all(fd);
	assert_int_equal(a.status, 200);
	assert_non_null(find_header(a.text, "Transfer-Encoding: chunked"));
	assert_true((int64_t)a.len > LENGTH);
	assert_memory_equal(a.text + a.len - 5, "0\r\n\r\n", 5);
	answer_done(&a);
	close(fd);
}

static void test_producer_that_fails_at_once_gives_a_problem(void **state)
{
	(void)state;
	expect(ask("GET", A_BOOK "burnt", "", NULL), 503, "on fire");
	expect(ask("GET", A_BOOK "none", "", NULL), 404, NULL);
}

static void test_producer_that_fails_later_cuts_the_connection(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "GET " A_BOOK "torn HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a = read_all(fd);
	assert_int_equal(a.status, 200);
	assert_true((int64_t)(a.len - (size_t)(a.body - a.text)) < LENGTH);
	answer_done(&a);
	close(fd);
}

static void test_reader_that_leaves_ends_the_producer(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "GET " A_BOOK "a HTTP/1.1\r\nHost: x\r\n\r\n");
	char some[1000];
	assert_true(recv(fd, some, sizeof(some), 0) > 0);
	close(fd);
	wait_for(&flows.ended);
	assert_int_equal(flows.rc, ERR_GONE);
	wait_for_count(&flows.released, 1);
}

static void test_slow_producer_suspends_its_client_and_nobody_else(void **state)
{
	(void)state;
	flows.hold = true;
	int fd = connect_unix();
	send_text(fd, "GET " A_BOOK "a HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_for_count(&flows.begun, 1);
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
	for (int i = 0; i < 3; i++) {
		sem_post(&flows.go);
		expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
	}
	flows.hold = false;
	sem_post(&flows.go);
	struct answer a = read_answer(fd);
	expect_bytes(&a, 0, LENGTH);
	answer_done(&a);
	close(fd);
}

static void test_stopping_server_ends_downloads(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "GET " A_BOOK "a HTTP/1.1\r\nHost: x\r\n\r\n");
	char some[1000];
	assert_true(recv(fd, some, sizeof(some), 0) > 0);
	server_stop(world.server, 100);
	wait_for(&flows.ended);
	assert_int_equal(flows.rc, ERR_UNAVAILABLE);
	close(fd);
}

int main(void)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup_flows, teardown_flows)
#define IMPATIENT(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown_flows)
	const struct CMUnitTest tests[] = {
	        TEST(test_body_beyond_the_limit_of_json_arrives_whole),
	        TEST(test_chunked_body_arrives_whole),
	        TEST(test_empty_body_is_one),
	        TEST(test_accepted_upload_is_asked_for_before_the_body),
	        TEST(test_refused_upload_is_answered_without_its_body),
	        TEST(test_short_refused_body_leaves_the_connection_usable),
	        TEST(test_handler_may_answer_without_a_body),
	        TEST(test_viewer_is_refused_before_the_body),
	        TEST(test_digest_is_checked),
	        TEST(test_too_much_is_answered_in_the_middle),
	        TEST(test_failing_consumer_is_answered_in_the_middle),
	        TEST(test_consumer_may_have_enough),
	        TEST(test_vanished_client_fails_the_upload),
	        IMPATIENT(test_dripping_client_is_cut_off),
	        IMPATIENT(test_slow_but_steady_client_is_served),
	        TEST(test_slow_consumer_holds_its_client_back_and_nobody_else),
	        TEST(test_client_that_leaves_while_it_is_held_back_is_noticed),
	        TEST(test_stopping_server_ends_uploads),
	        TEST(test_no_more_than_a_few_run_at_once),
	        TEST(test_uploads_of_one_place_leave_room_for_others),
	        TEST(test_download_arrives_whole),
	        TEST(test_range_is_sent_alone),
	        TEST(test_head_tells_the_length_and_produces_nothing),
	        TEST(test_unknown_length_comes_in_chunks),
	        TEST(test_producer_that_fails_at_once_gives_a_problem),
	        TEST(test_producer_that_fails_later_cuts_the_connection),
	        TEST(test_reader_that_leaves_ends_the_producer),
	        TEST(test_slow_producer_suspends_its_client_and_nobody_else),
	        TEST(test_stopping_server_ends_downloads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
