/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of table token. */
#include "api/token_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define TOKEN_COLUMNS "id, name, role, expires_at, created_at, version"

const char *const token_role_names[TOKEN_ROLES + 1] = {
        [TOKEN_VIEWER] = "viewer",
        [TOKEN_OPERATOR] = "operator",
        [TOKEN_ADMIN] = "admin",
};

void token_done(struct token *token)
{
	free(token->name);
	*token = (struct token){0};
}

/* A word this program does not know is the least powerful role. */
static enum token_role role_from_name(const char *name)
{
	for (int role = 0; role < TOKEN_ROLES; role++)
		if (str_equal(token_role_names[role], name))
			return (enum token_role)role;
	return TOKEN_VIEWER;
}

static void read_row(struct statement *s, struct token *token)
{
	*token = (struct token){
	        .name = statement_text_copy(s, 1),
	        .role = role_from_name(statement_text(s, 2)),
	        .expires_at = statement_int(s, 3),
	        .created_at = statement_int(s, 4),
	        .version = statement_int(s, 5),
	};
	snprintf(token->id, sizeof(token->id), "%s", statement_text(s, 0));
}

SQL(token_insert, 0,
        "INSERT INTO token (id, name, digest, role, expires_at, created_at, version) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)");

int token_store_insert(struct db *db, const struct token *token,
        const unsigned char digest[TOKEN_DIGEST_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, token_insert.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, token->id);
	statement_bind_text(s, 2, token->name);
	statement_bind_blob(s, 3, digest, TOKEN_DIGEST_SIZE);
	statement_bind_text(s, 4, token_role_names[token->role]);
	statement_bind_int(s, 5, token->expires_at);
	statement_bind_int(s, 6, token->created_at);
	statement_bind_int(s, 7, token->version);
	rc = statement_run(s, e);
	if (rc == ERR_EXISTS)
		return err_set_at(
		        e, ERR_EXISTS, "/name", "a token named %s exists already", token->name);
	return rc;
}

SQL(token_by_id, 0, "SELECT " TOKEN_COLUMNS " FROM token WHERE id = ?");
SQL(token_by_name, 0, "SELECT " TOKEN_COLUMNS " FROM token WHERE name = ?");

int token_store_get(struct db *db, const char *name_or_id, struct token *ret_token, struct err *e)
{
	const char *sql = uuid_is_shaped(name_or_id) ? token_by_id.text : token_by_name.text;
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, sql, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, name_or_id);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "there is no token %s", name_or_id);
	read_row(s, ret_token);
	return 0;
}

SQL(token_by_digest, 0, "SELECT " TOKEN_COLUMNS " FROM token WHERE digest = ?");

int token_store_find_digest(struct db *db, const unsigned char digest[TOKEN_DIGEST_SIZE],
        struct token *ret_token, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, token_by_digest.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_blob(s, 1, digest, TOKEN_DIGEST_SIZE);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	*ret_found = rc == 1;
	if (rc == 1)
		read_row(s, ret_token);
	return 0;
}

SQL(token_delete_row, 0, "DELETE FROM token WHERE id = ?");

int token_store_delete(struct db *db, const char *id, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, token_delete_row.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	if ((rc = statement_run(s, e)) < 0)
		return rc;
	return db_changes(db) > 0 ? 0 : err_set(e, ERR_NOT_FOUND, "there is no token %s", id);
}

int token_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct token *token), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc =
	        db_prepare_page(db, "SELECT " TOKEN_COLUMNS " FROM token", page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1) {
		struct token token CLEANUP(token_done) = {0};
		read_row(s, &token);
		if ((rc = each(arg, &token)) < 0)
			return rc;
	}
	return rc;
}
