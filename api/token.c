/* SPDX-License-Identifier: Apache-2.0 */
/* API tokens: making, recognising and revoking them. */
#include "api/token.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/change_feed.h"

#define SECRET_BYTES 32
#define PREFIX_LEN   (sizeof(TOKEN_SECRET_PREFIX) - 1)

static_assert(crypto_hash_sha256_BYTES == TOKEN_DIGEST_SIZE, "SHA-256");
static_assert(PREFIX_LEN + sodium_base64_ENCODED_LEN(
                                   SECRET_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING) ==
                      TOKEN_SECRET_SIZE,
        "prefix, base64url, NUL");

static void make_secret(char ret_secret[TOKEN_SECRET_SIZE])
{
	unsigned char raw[SECRET_BYTES];
	randombytes_buf(raw, sizeof(raw));
	memcpy(ret_secret, TOKEN_SECRET_PREFIX, PREFIX_LEN);
	sodium_bin2base64(ret_secret + PREFIX_LEN, TOKEN_SECRET_SIZE - PREFIX_LEN, raw, sizeof(raw),
	        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(raw, sizeof(raw));
}

static void digest_secret(const char *secret, unsigned char ret_digest[TOKEN_DIGEST_SIZE])
{
	crypto_hash_sha256(ret_digest, (const unsigned char *)secret, strlen(secret));
}

static int add_change(struct db *db, const char *event, const struct token *token, struct err *e)
{
	const struct change change = {
	        .kind = "token", .event = event, .object_id = token->id, .name = token->name};
	return change_add(db, &change, e);
}

static int check_spec(const struct token_spec *spec, int64_t now_ms, struct err *e)
{
	if (spec->expires_at == 0 || spec->expires_at > now_ms)
		return 0;
	return err_set_at(e, ERR_INVALID, "/expires_at", "the token %s would have expired already",
	        spec->name);
}

int token_create(struct db *db, const struct token_spec *spec, struct token *ret_token,
        char ret_secret[TOKEN_SECRET_SIZE], struct err *e)
{
	int64_t now_ms = clock_wall_ms();
	int rc = check_spec(spec, now_ms, e);
	if (rc < 0)
		return rc;
	if (sodium_init() < 0)
		return err_set(e, ERR_INTERNAL, "the system gives no random numbers");
	struct token token CLEANUP(token_done) = {
	        .name = xstrdup(spec->name),
	        .role = spec->role,
	        .expires_at = spec->expires_at,
	        .created_at = now_ms,
	        .version = 1,
	};
	uuid_make(token.id);
	char secret[TOKEN_SECRET_SIZE];
	unsigned char digest[TOKEN_DIGEST_SIZE];
	make_secret(secret);
	digest_secret(secret, digest);
	rc = token_store_insert(db, &token, digest, e);
	if (rc == 0)
		rc = add_change(db, "created", &token, e);
	if (rc == 0) {
		memcpy(ret_secret, secret, sizeof(secret));
		*ret_token = token;
		token.name = NULL;
	}
	sodium_memzero(secret, sizeof(secret));
	return rc;
}

/* What cannot be a token needs no look into the database. */
static bool is_token_shaped(const char *secret)
{
	return str_starts_with(secret, TOKEN_SECRET_PREFIX) &&
	       strlen(secret) == TOKEN_SECRET_SIZE - 1;
}

int token_find_by_secret(struct db *db, const char *secret, struct token *ret_token, struct err *e)
{
	struct token token CLEANUP(token_done) = {0};
	unsigned char digest[TOKEN_DIGEST_SIZE];
	bool found = false;
	if (is_token_shaped(secret)) {
		digest_secret(secret, digest);
		int rc = token_store_find_digest(db, digest, &token, &found, e);
		if (rc < 0)
			return rc;
	}
	if (!found)
		return err_set(e, ERR_UNAUTHENTICATED, "the token is not known");
	if (token.expires_at != 0 && token.expires_at <= clock_wall_ms())
		return err_set(e, ERR_UNAUTHENTICATED, "the token %s has expired", token.name);
	*ret_token = token;
	token.name = NULL;
	return 0;
}

int token_delete(struct db *db, const struct token *token, struct err *e)
{
	int rc = token_store_delete(db, token->id, e);
	return rc < 0 ? rc : add_change(db, "deleted", token, e);
}
