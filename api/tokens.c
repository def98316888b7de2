/* SPDX-License-Identifier: Apache-2.0 */
/* /tokens: API tokens. The secret is in the answer to the creation and nowhere else. */
#include <string.h>

#include "api/list.h"
#include "api/token.h"
#include "base/cleanup.h"

extern const struct route_table tokens_routes;

static int list_tokens(struct request *rq, struct reply *reply, struct err *e);
static int get_token(struct request *rq, struct reply *reply, struct err *e);
static int create_token(struct request *rq, struct reply *reply, struct err *e);
static int delete_token(struct request *rq, struct reply *reply, struct err *e);

/* What a client may write. */
struct token_input {
	char *name;
	int role;
	int64_t expires_at;
};

static const struct field input_array[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_REQUIRED,
                .offset = offsetof(struct token_input, name),
                .min = 1,
                .max = 63,
                .check = field_check_name,
                .format = "^[a-z][a-z0-9-]{0,62}$",
                .doc = "Unique name"},
        {.name = "role",
                .type = FIELD_ENUM,
                .flags = FIELD_REQUIRED,
                .offset = offsetof(struct token_input, role),
                .names = token_role_names,
                .doc = "What its holder may do: viewer, operator or admin"},
        {.name = "expires_at",
                .type = FIELD_TIME,
                .offset = offsetof(struct token_input, expires_at),
                .doc = "When it stops working; never unless given"},
};
static const struct field_table input_fields =
        FIELD_TABLE("TokenInput", struct token_input, input_array);

/* What is answered. */
struct token_view {
	char *id, *name, *secret;
	int role;
	int64_t expires_at, created_at, version;
};

static const struct field view_array[] = {
        {.name = "id",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, id),
                .doc = "UUID"},
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, name),
                .doc = "Unique name"},
        {.name = "role",
                .type = FIELD_ENUM,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, role),
                .names = token_role_names,
                .doc = "What its holder may do"},
        {.name = "expires_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .offset = offsetof(struct token_view, expires_at),
                .doc = "When it stops working; null: never"},
        {.name = "created_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, created_at),
                .doc = "When it was made"},
        {.name = "version",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, version),
                .doc = "Counts changes"},
        {.name = "secret",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct token_view, secret),
                .doc = "The bearer token itself; only in the answer to its creation"},
};
static const struct field_table view_fields = FIELD_TABLE("Token", struct token_view, view_array);

#define BOTH (FILTER_FILTERABLE | FILTER_SORTABLE)
static const struct filter_column columns[] = {
        {.name = "name", .sql = "name", .flags = BOTH | FILTER_UNIQUE},
        {.name = "id", .sql = "id", .flags = BOTH | FILTER_UNIQUE},
        {.name = "role", .sql = "role", .flags = FILTER_FILTERABLE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, ERR_UNSUPPORTED, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_PRECONDITION, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/tokens",
                .permission = "token.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &view_fields,
                .columns = columns,
                .status = 200,
                .id = "token_list",
                .summary = "List tokens, without their secrets",
                .handler = list_tokens},
        {.method = "POST",
                .path = "/tokens",
                .permission = "token.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_SECRET_ANSWER,
                .body = &input_fields,
                .response = &view_fields,
                .errors = create_errors,
                .status = 201,
                .id = "token_create",
                .summary = "Make a token; its secret is shown this once",
                .handler = create_token},
        {.method = "GET",
                .path = "/tokens/{token}",
                .permission = "token.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &view_fields,
                .errors = read_errors,
                .status = 200,
                .id = "token_get",
                .summary = "Read a token, without its secret",
                .handler = get_token},
        {.method = "DELETE",
                .path = "/tokens/{token}",
                .permission = "token.write",
                .mode = ROUTE_WRITE,
                .errors = delete_errors,
                .status = 204,
                .id = "token_delete",
                .summary = "Revoke a token at once",
                .handler = delete_token},
};

const struct route_table tokens_routes = {
        .tag = "Tokens", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static void encode(const struct token *token, const char *secret, struct json_writer *w)
{
	struct token_view view = {.id = (char *)(uintptr_t)token->id,
	        .name = token->name,
	        .secret = (char *)(uintptr_t)secret,
	        .role = (int)token->role,
	        .expires_at = token->expires_at,
	        .created_at = token->created_at,
	        .version = token->version};
	field_encode(&view_fields, &view, FIELD_ENCODE_ANSWER, w);
}

static int write_row(void *arg, const struct token *token)
{
	struct list *list = arg;
	struct sql_bind values[ARRAY_LEN(columns) - 1] = {
	        LIST_TEXT(token->name), LIST_TEXT(token->id)};
	if (list_item(list, values))
		encode(token, NULL, list_writer(list));
	return 0;
}

static int list_tokens(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = token_store_list(rq->db, &rq->list->page, write_row, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int get_token(struct request *rq, struct reply *reply, struct err *e)
{
	struct token token CLEANUP(token_done) = {0};
	int rc = token_store_get(rq->db, rq->params[0], &token, e);
	if (rc < 0)
		return rc;
	encode(&token, NULL, &reply->body);
	reply_etag(reply, token.id, token.version);
	return 0;
}

static int create_token(struct request *rq, struct reply *reply, struct err *e)
{
	const struct token_input *input = rq->body;
	struct token token CLEANUP(token_done) = {0};
	char secret[TOKEN_SECRET_SIZE];
	const struct token_spec spec = {.name = input->name,
	        .role = (enum token_role)input->role,
	        .expires_at = input->expires_at};
	int rc = token_create(rq->db, &spec, &token, secret, e);
	if (rc < 0)
		return rc;
	/* a dry run's token will never exist, so neither does its secret */
	encode(&token, rq->dry_run ? NULL : secret, &reply->body);
	explicit_bzero(secret, sizeof(secret));
	reply_etag(reply, token.id, token.version);
	reply_location(reply, "/api/v1/tokens/%s", token.name);
	return 0;
}

static int delete_token(struct request *rq, struct reply *reply, struct err *e)
{
	(void)reply;
	struct token token CLEANUP(token_done) = {0};
	int rc = token_store_get(rq->db, rq->params[0], &token, e);
	if (rc == 0)
		rc = request_check_match(rq, token.id, token.version, e);
	return rc < 0 ? rc : token_delete(rq->db, &token, e);
}
