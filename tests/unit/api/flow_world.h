/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of uploads and downloads: two routes, what their work does and sees, and a client. */
#pragma once

#include "api_world.h"

#include <fcntl.h>
#include <sodium.h>

#include "api/download.h"
#include "api/flow.h"
#include "api/upload.h"

#define MIB     ((size_t)1024 * 1024)
#define A_DEED  "/api/v1/deeds/"
#define A_BOOK  "/api/v1/books/"
#define LENGTH  ((int64_t)(3 * MIB + 5))
#define NO_ONES "00000000-0000-4000-8000-000000000001"

/* What the consumer and the producer of the test do and see; one at a time. */
static struct {
	struct bulk *bulk;
	_Atomic int begun, finished, released;
	_Atomic int64_t moved;
	_Atomic int rc; /* the end as the work saw it */
	_Atomic int finish_rc;
	_Atomic bool hold; /* the work waits for `go` before each block */
	sem_t go, ended;
	char finish_message[200];
	unsigned char digest[32];
} flows;

static unsigned char byte_at(int64_t i)
{
	return (unsigned char)(i * 11 + i / 257);
}

/* ---- routes ---- */

/* "pool-X" has a place that may hang, with that key. */
static const char *key_of(const char *name)
{
	return strncmp(name, "pool-", 5) == 0 ? name : NULL;
}

static int consume(struct upload *upload, void *arg, struct err *e)
{
	unsigned char block[8192];
	crypto_hash_sha256_state hash;
	crypto_hash_sha256_init(&hash);
	const char *deed = arg;
	int64_t n = 0;
	flows.begun++;
	for (;;) {
		if (flows.hold)
			sem_wait(&flows.go);
		n = upload_read(upload, block, sizeof(block), e);
		if (n <= 0)
			break;
		flows.moved += n;
		crypto_hash_sha256_update(&hash, block, (unsigned long long)n);
		if (strcmp(deed, "full") == 0 && flows.moved > (int64_t)MIB)
			n = err_set(e, ERR_DISK_FULL, "the disk is full");
		if (n < 0 || (strcmp(deed, "enough") == 0 && flows.moved > (int64_t)MIB))
			break;
	}
	crypto_hash_sha256_final(&hash, flows.digest);
	flows.rc = n < 0 ? (int)n : 0;
	return n < 0 ? (int)n : 0;
}

static int finish(struct request *rq, struct reply *reply, void *arg, int rc,
        const struct err *error, struct err *e)
{
	(void)arg;
	assert_non_null(rq->db);
	flows.finished++;
	flows.finish_rc = rc;
	if (error)
		snprintf(flows.finish_message, sizeof(flows.finish_message), "%.199s",
		        error->message);
	sem_post(&flows.ended);
	if (rc < 0)
		return insert_thing(rq->db, "failure", e);
	int made = insert_thing(rq->db, "success", e);
	json_object_begin(&reply->body);
	json_member_int(&reply->body, "bytes", flows.moved);
	json_object_end(&reply->body);
	return made;
}

static void release(void *arg)
{
	free(arg);
	flows.released++;
}

static const struct upload_handlers upload_handlers = {
        .consume = consume, .finish = finish, .release = release};

static int deed_put(struct request *rq, struct reply *reply, struct err *e)
{
	const char *deed = rq->params[0];
	if (strcmp(deed, "refused") == 0)
		return err_set(e, ERR_IN_USE, "deed %s is in use", deed);
	if (strcmp(deed, "done") == 0) {
		reply->status = 204;
		return 0;
	}
	if (strcmp(deed, "unlucky") == 0) { /* the mutation fails after it was opened */
		int rc = upload_open(rq, &upload_handlers, xstrdup(deed), NULL, INT64_MAX, e);
		return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "changed my mind");
	}
	return upload_open(rq, &upload_handlers, xstrdup(deed), key_of(deed),
	        strcmp(deed, "small") == 0 ? (int64_t)MIB : INT64_MAX, e);
}

static int produce(
        struct download *download, int64_t offset, int64_t length, void *arg, struct err *e)
{
	const char *book = arg;
	unsigned char block[10000];
	int rc = 0;
	flows.begun++;
	if (strcmp(book, "burnt") == 0)
		rc = err_set(e, ERR_HOST_DOWN, "the library is on fire");
	int64_t end = length < 0 ? LENGTH : offset + length;
	for (int64_t at = offset; at < end && rc == 0;) {
		if (flows.hold)
			sem_wait(&flows.go);
		int64_t n = end - at < (int64_t)sizeof(block) ? end - at : (int64_t)sizeof(block);
		for (int64_t i = 0; i < n; i++)
			block[i] = byte_at(at + i);
		rc = download_write(download, block, (size_t)n, e);
		at += n;
		flows.moved += n;
		if (rc == 0 && strcmp(book, "torn") == 0 && flows.moved > (int64_t)MIB)
			rc = err_set(e, ERR_HOST_DOWN, "half of it is missing");
	}
	flows.rc = rc;
	sem_post(&flows.ended);
	return rc;
}

static const struct download_handlers download_handlers = {.produce = produce, .release = release};

static int book_get(struct request *rq, struct reply *reply, struct err *e)
{
	const char *book = rq->params[0];
	if (strcmp(book, "none") == 0)
		return err_set(e, ERR_NOT_FOUND, "no book named none");
	reply_etag(reply, NO_ONES, 4);
	return download_open(rq, reply, &download_handlers, xstrdup(book), key_of(book),
	        strcmp(book, "endless") == 0 ? -1 : LENGTH, e);
}

static const struct route flow_array[] = {
        {.method = "PUT",
                .path = "/deeds/{deed}",
                .permission = "vm.write",
                .mode = ROUTE_UPLOAD,
                .status = 200,
                .id = "deed_put",
                .summary = "s",
                .handler = deed_put},
        {.method = "GET",
                .path = "/books/{book}",
                .permission = "vm.read",
                .mode = ROUTE_DOWNLOAD,
                .status = 200,
                .id = "book_get",
                .summary = "s",
                .handler = book_get},
};
static const struct route_table flow_routes = {
        .tag = "Flow", .routes = flow_array, .n_routes = ARRAY_LEN(flow_array)};
static const struct route_table *const flow_tables[] = {
        &flow_routes, &test_routes, &system_routes, NULL};

/* ---- start and stop ---- */

static void serve(int body_timeout_ms)
{
	struct err e = {0};
	world_start();
	memset(&flows, 0, sizeof(flows));
	sem_init(&flows.go, 0, 0);
	sem_init(&flows.ended, 0, 0);
	flows.bulk = bulk_new(world.loop, FLOWS_MAX + 1);
	world.app.bulk = flows.bulk;
	world.config.threads = 1;
	world.config.body_timeout_ms = body_timeout_ms;
	world.config.header_timeout_ms = 200; /* how often deadlines are looked at */
	must(server_start(&world.config, &world.app, flow_tables, &world.server, &e), &e);
}

static int setup_flows(void **state)
{
	(void)state;
	serve(WORLD_PATIENCE_MS);
	return 0;
}

static int setup_impatient(void **state)
{
	(void)state;
	serve(300);
	return 0;
}

static void free_bulk(void *arg)
{
	bulk_free(flows.bulk);
	sem_post(arg);
}

static int teardown_flows(void **state)
{
	sem_t freed;
	(void)state;
	sem_init(&freed, 0, 0);
	server_stop(world.server, 1000);
	flows.hold = false;
	for (int i = 0; i < 10; i++)
		sem_post(&flows.go);
	loop_post(world.loop, free_bulk, &freed);
	sem_wait(&freed);
	world_stop();
	sem_destroy(&freed);
	sem_destroy(&flows.go);
	sem_destroy(&flows.ended);
	return 0;
}

/* ---- the client ---- */

static char *make_body(size_t size)
{
	char *body = xcalloc(1, size + 1);
	for (size_t i = 0; i < size; i++)
		body[i] = (char)byte_at((int64_t)i);
	return body;
}

static void send_head(int fd, const char *deed, const char *headers)
{
	struct str text = {0};
	str_printf(&text, "PUT " A_DEED "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", deed, headers);
	send_bytes(fd, text.data, text.len);
	str_done(&text);
}

static struct answer put(const char *deed, const char *headers, const char *body, size_t size)
{
	int fd = connect_unix();
	char head[300];
	snprintf(head, sizeof(head), "Content-Length: %zu\r\n%s", size, headers);
	send_head(fd, deed, head);
	send_bytes(fd, body, size);
	struct answer a = read_answer(fd);
	close(fd);
	return a;
}

static void send_chunk(int fd, const char *data, size_t n)
{
	char line[32];
	snprintf(line, sizeof(line), "%zx\r\n", n);
	send_text(fd, line);
	send_bytes(fd, data, n);
	send_text(fd, "\r\n");
}

static void wait_for(sem_t *what)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WORLD_PATIENCE_MS / 1000;
	if (sem_timedwait(what, &until) < 0)
		fail_msg("nothing happened in time");
}

static void wait_for_count(_Atomic int *count, int wanted)
{
	struct timespec pause = {.tv_nsec = 1000000};
	for (int i = 0; atomic_load(count) < wanted; i++) {
		if (i > WORLD_PATIENCE_MS)
			fail_msg("%d instead of %d in time", *count, wanted);
		nanosleep(&pause, NULL);
	}
}
