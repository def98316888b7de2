/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /events: the change feed as server-sent events, or as a JSON list with Accept: application/json.
 *
 * A stream is a query over the feed by number, asked again at each wake: replay and live are the
 * same path. A connection that asks with a revoked or expired token ends at the next event or
 * heartbeat.
 */
#include <stdlib.h>
#include <string.h>

#include "api/exchange.h"
#include "api/stream.h"
#include "api/token_store.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/problem.h"
#include "db/change_feed.h"
#include "db/reader.h"

#define ROWS_PER_TURN 64
#define TURNS_MAX     50 /* without an event that is wanted, at once */
#define LIST_MAX      1000
#define LIST_DEFAULT  100

extern const struct route_table events_routes;

static int get_events(struct request *rq, struct reply *reply, struct err *e);

struct event_view {
	int64_t id, at;
	char *kind, *event, *object_id, *name, *data;
};
static const struct field view_array[] = {
        {.name = "id",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, id),
                .doc = "Its number; numbers only grow"},
        {.name = "at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, at),
                .doc = "When it was recorded"},
        {.name = "kind",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, kind),
                .doc = "Kind of the object: vm, host, operation, ..."},
        {.name = "event",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, event),
                .doc = "What happened: created, updated, deleted, power, ..."},
        {.name = "object_id",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, object_id),
                .doc = "The object's id"},
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .offset = offsetof(struct event_view, name),
                .doc = "Its name at that moment"},
        {.name = "data",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct event_view, data),
                .doc = "What changed"},
};
static const struct field_table event_fields = FIELD_TABLE("Event", struct event_view, view_array);

static const struct query_param event_query[] = {
        {"after", QUERY_INT, 0, INT64_MAX,
                "The number of the last event seen; the newest unless given."},
        {"kind", QUERY_TEXT, 0, 256, "Only of these kinds, joined by commas."},
        {"object", QUERY_TEXT, 0, 64, "Only of the object with this id or name."},
        {"page_size", QUERY_INT, 1, LIST_MAX,
                "JSON list only: how many at most; 100 unless given."},
        {0},
};
static const int event_errors[] = {ERR_GONE, ERR_LIMIT, ERR_NOT_ACCEPTABLE, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/events",
                .permission = "event.read",
                .mode = ROUTE_STREAM,
                .query = event_query,
                .response = &event_fields,
                .errors = event_errors,
                .status = 200,
                .id = "event_stream",
                .summary = "Follow what happens, as server-sent events; a list with Accept: "
                           "application/json",
                .handler = get_events},
};

const struct route_table events_routes = {
        .tag = "Events", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* A stream's place in the feed, and what it wants of it. */
struct follower {
	struct readers *readers;
	int64_t after;
	char *kinds, *object; /* owned, or NULL */
	struct principal principal;
};

static void follower_free(void *arg)
{
	struct follower *f = arg;
	free(f->kinds);
	free(f->object);
	free(f);
}

static bool is_in_list(const char *list, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = list; *at;) {
		size_t item_len = strcspn(at, ",");
		if (item_len == len && memcmp(at, word, len) == 0)
			return true;
		at += item_len + (at[item_len] == ',');
	}
	return false;
}

static bool is_wanted(const struct change_row *row, const char *kinds, const char *object)
{
	if (kinds && !is_in_list(kinds, row->kind))
		return false;
	return !object || strcmp(object, row->object_id) == 0 || str_equal(object, row->name);
}

static void encode(const struct change_row *row, struct json_writer *w)
{
	const struct event_view view = {.id = row->seq,
	        .at = row->at,
	        .kind = row->kind,
	        .event = row->event,
	        .object_id = row->object_id,
	        .name = row->name,
	        .data = row->data};
	field_encode(&event_fields, &view, FIELD_ENCODE_ANSWER, w);
}

static void write_sse(const struct change_row *row, struct str *out)
{
	str_printf(
	        out, "id: %lld\nevent: %s.%s\ndata: ", (long long)row->seq, row->kind, row->event);
	struct json_writer w = {.out = *out};
	encode(row, &w);
	*out = w.out;
	str_add(out, "\n\n");
}

/* Whether the token is still good: it may have been revoked since. */
static bool is_still_known(const struct follower *f, struct db *db)
{
	if (f->principal.kind != PRINCIPAL_TOKEN)
		return true;
	struct token token CLEANUP(token_done) = {0};
	if (token_store_get(db, strchr(f->principal.name, ':') + 1, &token, NULL) < 0)
		return false;
	return token.expires_at == 0 || token.expires_at > clock_wall_ms();
}

/* The stream's last words when it cannot go on. */
static int write_end(const struct err *e, struct str *out)
{
	struct json_writer w = {0};
	json_object_begin(&w);
	problem_encode_members(e, &w);
	json_object_end(&w);
	str_printf(out, "event: error\ndata: %s\n\n", w.out.data);
	json_writer_done(&w);
	return 0;
}

/* One turn within a read transaction; false: the feed has no more rows now. */
static int read_turn(
        struct follower *f, struct db *db, struct str *out, bool *ret_more, struct err *e)
{
	struct change_row rows[ROWS_PER_TURN];
	size_t n = 0;
	int rc = change_read(db, f->after, ROWS_PER_TURN, rows, &n, e);
	*ret_more = rc == 0 && n == ROWS_PER_TURN;
	bool is_known = true;
	for (size_t i = 0; i < n; i++) {
		f->after = rows[i].seq;
		if (strcmp(rows[i].kind, "token") == 0)
			is_known = is_known && is_still_known(f, db);
		if (is_known && is_wanted(&rows[i], f->kinds, f->object))
			write_sse(&rows[i], out);
		change_row_done(&rows[i]);
	}
	return is_known ? rc : err_set(e, ERR_UNAUTHENTICATED, "the token was revoked");
}

static int read_feed(struct follower *f, struct str *out, struct err *e)
{
	struct db *db = NULL;
	int rc = readers_get(f->readers, &db, e);
	bool more = true;
	for (int turns = 0; rc == 0 && more && out->len == 0; turns++) {
		if (turns == TURNS_MAX)
			str_add(out, ": searching\n\n"); /* lets others have the thread */
		else
			rc = read_turn(f, db, out, &more, e);
	}
	return rc;
}

static int fill(void *arg, struct str *out)
{
	struct follower *f = arg;
	struct err e = {0};
	int rc = f->after < 0 ? -1 : read_feed(f, out, &e);
	if (rc == ERR_GONE) {
		f->after = -1; /* say why, then end at the next turn */
		return write_end(&e, out);
	}
	return rc;
}

static int heartbeat(void *arg, struct str *out)
{
	struct follower *f = arg;
	struct db *db = NULL;
	if (readers_get(f->readers, &db, NULL) < 0 || !is_still_known(f, db))
		return -1;
	str_add(out, ": still here\n\n");
	return 0;
}

static const struct stream_source source = {
        .fill = fill, .heartbeat = heartbeat, .release = follower_free};

/* Where to begin: Last-Event-ID wins over `after`, as a browser that reconnects repeats the URL. */
static int find_start(struct request *rq, bool is_list, int64_t *ret_after, struct err *e)
{
	const char *last = rq->exchange->headers[HEADER_LAST_EVENT_ID];
	long long number;
	if (last && (!str_to_int64(last, &number) || number < 0))
		return err_set(e, ERR_MALFORMED, "the Last-Event-ID is not a number: %.40s", last);
	if (last) {
		*ret_after = number;
		return 0;
	}
	if (request_query(rq, "after") || is_list) {
		*ret_after = request_query_int(rq, "after", 0);
		return 0;
	}
	return change_newest(rq->db, ret_after, e);
}

/* Up to ROWS_PER_TURN events after *after, no more than *left of those that are wanted. */
static int list_turn(struct request *rq, struct json_writer *w, int64_t *after, int64_t *left,
        bool *ret_more, struct err *e)
{
	struct change_row rows[ROWS_PER_TURN];
	size_t n = 0;
	int rc = change_read(rq->db, *after, ROWS_PER_TURN, rows, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (*left > 0) {
			*after = rows[i].seq;
			if (is_wanted(&rows[i], request_query(rq, "kind"),
			            request_query(rq, "object"))) {
				encode(&rows[i], w);
				(*left)--;
			}
		}
		change_row_done(&rows[i]);
	}
	*ret_more = rc == 0 && n == ROWS_PER_TURN && *left > 0;
	return rc;
}

static int list_events(struct request *rq, struct reply *reply, int64_t after, struct err *e)
{
	struct json_writer *w = &reply->body;
	int64_t left = request_query_int(rq, "page_size", LIST_DEFAULT);
	int rc = 0;
	bool more = true;
	json_object_begin(w);
	json_key(w, "items");
	json_array_begin(w);
	for (int turns = 0; rc == 0 && more && turns < TURNS_MAX; turns++)
		rc = list_turn(rq, w, &after, &left, &more, e);
	json_array_end(w);
	json_member_int(w, "after", after); /* to go on from */
	json_object_end(w);
	return rc;
}

/* The browser's EventSource has no way to see a 410, but it reads the error and stops. */
static int check_start(struct request *rq, int64_t after, struct err *e)
{
	struct change_row row;
	size_t n = 0;
	int rc = change_read(rq->db, after, 1, &row, &n, e);
	if (rc == 0 && n > 0)
		change_row_done(&row);
	return rc;
}

static int follow(struct request *rq, struct reply *reply, int64_t after, struct err *e)
{
	int rc = check_start(rq, after, e);
	if (rc < 0)
		return rc;
	struct follower *f = xcalloc(1, sizeof(*f));
	f->readers = rq->app->readers;
	f->after = after;
	f->kinds = xstrdup(request_query(rq, "kind"));
	f->object = xstrdup(request_query(rq, "object"));
	f->principal = rq->principal;
	reply->content_type = "text/event-stream";
	return stream_open(rq, &source, f, e);
}

static int get_events(struct request *rq, struct reply *reply, struct err *e)
{
	const char *accept = rq->exchange->headers[HEADER_ACCEPT];
	bool is_list = accept && strstr(accept, "application/json") &&
	               !strstr(accept, "text/event-stream");
	int64_t after = 0;
	int rc = find_start(rq, is_list, &after, e);
	if (rc < 0)
		return rc;
	return is_list ? list_events(rq, reply, after, e) : follow(rq, reply, after, e);
}
