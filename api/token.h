/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API tokens: 32 random bytes shown once, as "berth_" and base64url; the database keeps their
 * SHA-256. The secret has full entropy, so a plain digest is enough, and looking it up by index
 * tells nothing about other tokens.
 */
#pragma once

#include "api/token_store.h"

#define TOKEN_SECRET_PREFIX "berth_"
#define TOKEN_SECRET_SIZE   50 /* prefix, 43 characters, NUL */

struct token_spec {
	const char *name; /* borrowed; checked by the field table */
	enum token_role role;
	int64_t expires_at; /* wall ms; 0: never */
};

/* Makes a token and its change row. The secret exists nowhere else afterwards. ERR_EXISTS for a
 * name in use, ERR_INVALID for an expiry in the past. Writer thread. */
int token_create(struct db *db, const struct token_spec *spec, struct token *ret_token,
        char ret_secret[TOKEN_SECRET_SIZE], struct err *e);
/* Whose secret it is; ERR_UNAUTHENTICATED if nobody's (any more). Any connection. */
int token_find_by_secret(struct db *db, const char *secret, struct token *ret_token, struct err *e);
/* Revokes it at once. Writer thread. */
int token_delete(struct db *db, const struct token *token, struct err *e);
