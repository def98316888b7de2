/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers call: query parameters, preconditions, and filling in the reply. The handler's
 * thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "operation/operation.h"
#include "operation/operation_store.h"

const char *request_query(const struct request *rq, const char *name)
{
	const struct exchange *ex = rq->exchange;
	for (size_t i = 0; i < ex->n_query; i++)
		if (strcmp(ex->query[i].name, name) == 0)
			return ex->query[i].value;
	return NULL;
}

bool request_query_bool(const struct request *rq, const char *name, bool fallback)
{
	const char *text = request_query(rq, name);
	return text ? strcmp(text, "true") == 0 : fallback;
}

int64_t request_query_int(const struct request *rq, const char *name, int64_t fallback)
{
	const char *text = request_query(rq, name);
	long long value;
	return text && str_to_int64(text, &value) ? value : fallback;
}

/* Whether a list of entity tags ("a", "b" or *) holds `tag`. Weak ones never match (RFC
 * 9110, 13.1.1). */
static bool has_tag(const char *list, const char *tag)
{
	size_t len = strlen(tag);
	const char *at = list + strspn(list, " \t");
	if (strcmp(at, "*") == 0)
		return true;
	while (*at) {
		at += strspn(at, " \t,");
		if (strncmp(at, tag, len) == 0 && strchr(" \t,", at[len]))
			return true;
		at += strcspn(at, ",");
	}
	return false;
}

static void format_tag(char *to, size_t size, const char *id, int64_t version)
{
	snprintf(to, size, "\"%s-%lld\"", id, (long long)version);
}

int request_check_match(const struct request *rq, const char *id, int64_t version, struct err *e)
{
	const char *wanted = rq->exchange->headers[HEADER_IF_MATCH];
	const char *unwanted = rq->exchange->headers[HEADER_IF_NONE_MATCH];
	char tag[UUID_TEXT_SIZE + 32];
	format_tag(tag, sizeof(tag), id, version);
	if (wanted && !has_tag(wanted, tag)) {
		err_set(e, ERR_PRECONDITION, "the current version is %s, If-Match asks for %.80s",
		        tag, wanted);
		return err_hint(e, "read the resource again and repeat the change on what it says");
	}
	if (unwanted && has_tag(unwanted, tag))
		return err_set(e, ERR_PRECONDITION,
		        "it exists, with version %s, and If-None-Match is %.80s", tag, unwanted);
	return 0;
}

bool request_is_create_only(const struct request *rq)
{
	const char *unwanted = rq->exchange->headers[HEADER_IF_NONE_MATCH];
	return unwanted && strcmp(unwanted, "*") == 0;
}

int request_check_name(const char *name, const char *path_name, struct err *e)
{
	if (str_equal(name, path_name))
		return 0;
	return err_set_at(e, ERR_INVALID, "/name", "must be \"%s\" as in the path, not \"%s\"",
	        path_name, name);
}

int request_check_absent(const struct request *rq, struct err *e)
{
	const char *wanted = rq->exchange->headers[HEADER_IF_MATCH];
	if (!wanted)
		return 0;
	return err_set(
	        e, ERR_PRECONDITION, "it does not exist, and If-Match asks for %.80s", wanted);
}

void reply_etag(struct reply *reply, const char *id, int64_t version)
{
	snprintf(reply->etag_id, sizeof(reply->etag_id), "%s", id);
	reply->etag_version = version;
}

void reply_location(struct reply *reply, const char *format, ...)
{
	struct str text = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&text, format, args);
	va_end(args);
	free(reply->location);
	reply->location = str_take(&text);
}

int reply_operation(
        struct request *rq, struct reply *reply, const char *operation_id, struct err *e)
{
	struct operation_row row CLEANUP(operation_row_done) = {0};
	int rc = operation_store_get(rq->db, operation_id, &row, e);
	if (rc < 0)
		return rc;
	operation_encode(rq->app->engine, &row, &reply->body);
	reply->status = 202;
	reply_location(reply, "/api/v1/operations/%s", operation_id);
	snprintf(reply->operation_id, sizeof(reply->operation_id), "%s", operation_id);
	return 0;
}

int request_check_busy(struct request *rq, const char *queue, struct err *e)
{
	if (!rq->if_busy_fail)
		return 0;
	char id[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy(rq->db, queue, id, kind, e);
	if (rc < 0 || !id[0])
		return rc;
	err_set(e, ERR_BUSY, "operation %s (%s) has not ended", id, kind);
	err_numbers(e, "{\"operation\":\"%s\",\"kind\":\"%s\"}", id, kind);
	return err_hint(e, "wait for it, or leave out if_busy=fail to queue behind it");
}
