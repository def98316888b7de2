/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table token. */
#pragma once

#include "base/uuid.h"
#include "db/db.h"

#define TOKEN_DIGEST_SIZE 32

/* In order of power: who forgets to set one gets the least. */
enum token_role { TOKEN_VIEWER, TOKEN_OPERATOR, TOKEN_ADMIN, TOKEN_ROLES };
extern const char *const token_role_names[TOKEN_ROLES + 1]; /* ends with NULL */

struct token {
	char id[UUID_TEXT_SIZE];
	char *name; /* owned */
	enum token_role role;
	int64_t expires_at; /* wall ms; 0: never */
	int64_t created_at;
	int64_t version;
};
void token_done(struct token *token);

/* ERR_EXISTS names the token. Writer thread. */
int token_store_insert(struct db *db, const struct token *token,
        const unsigned char digest[TOKEN_DIGEST_SIZE], struct err *e);
/* By name or UUID; ERR_NOT_FOUND. */
int token_store_get(struct db *db, const char *name_or_id, struct token *ret_token, struct err *e);
/* Expired ones too. */
int token_store_find_digest(struct db *db, const unsigned char digest[TOKEN_DIGEST_SIZE],
        struct token *ret_token, bool *ret_found, struct err *e);
/* ERR_NOT_FOUND. Writer thread. */
int token_store_delete(struct db *db, const char *id, struct err *e);

/* One page of the list; the row is borrowed for the call. */
/* `each` gets every row, borrowed for the call; a negative result ends the walk and is returned. */
int token_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct token *token), void *arg, struct err *e);
