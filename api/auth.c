/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication and permissions. A token has 256 random bits, so guessing is hopeless however
 * fast; the limit on failures keeps a broken client from filling the log and the database's time. A
 * right token is therefore never made to wait for the failures of others behind the same address.
 */
#include "api/auth.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/token.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define REMEMBERED 16  /* tokens per thread */
#define SLOTS      256 /* a new address takes over an old one's slot: forgetting is harmless */

struct slot {
	char address[64];
	int64_t since_ms;
	int failures;
};

struct auth {
	pthread_mutex_t lock; /* slots */
	struct slot slots[SLOTS];
};

struct auth *auth_new(void)
{
	struct auth *auth = xcalloc(1, sizeof(*auth));
	pthread_mutex_init(&auth->lock, NULL);
	return auth;
}

void auth_free(struct auth *auth)
{
	if (!auth)
		return;
	pthread_mutex_destroy(&auth->lock);
	free(auth);
}

static struct slot *find_slot(struct auth *auth, const char *address)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (const char *at = address; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 16777619u;
	return &auth->slots[hash % SLOTS];
}

/* Counts a failure; the seconds to wait if there were too many, else 0. */
static int count_failure(struct auth *auth, const char *address)
{
	int64_t now_ms = clock_now_ms();
	LOCK_SCOPE(&auth->lock);
	struct slot *slot = find_slot(auth, address);
	bool is_other = strcmp(slot->address, address) != 0;
	if (is_other || now_ms - slot->since_ms >= AUTH_FAILURES_WINDOW_MS) {
		*slot = (struct slot){.since_ms = now_ms};
		snprintf(slot->address, sizeof(slot->address), "%s", address);
	}
	if (++slot->failures <= AUTH_FAILURES_MAX)
		return 0;
	return (int)((slot->since_ms + AUTH_FAILURES_WINDOW_MS - now_ms) / 1000) + 1;
}

static int fail(struct auth *auth, const struct peer *peer, int *ret_retry_after_s, struct err *e)
{
	int seconds = count_failure(auth, peer->is_unix ? peer->name : peer->address);
	if (seconds == 0)
		return ERR_UNAUTHENTICATED;
	*ret_retry_after_s = seconds;
	return err_set(e, ERR_LIMIT, "too many requests without a valid token; wait %d s", seconds);
}

/*
 * A token that was good is good until something changes: each thread remembers its newest ones by
 * digest, with the number of commits up to then. A commit that revokes a token counts on before it
 * is answered.
 */
struct remembered {
	unsigned char digest[crypto_hash_sha256_BYTES];
	uint64_t commits; /* 0: nothing is here */
	int64_t expires_at;
	struct principal principal;
};
static _Thread_local struct remembered memory[REMEMBERED];
static _Atomic uint64_t commits = 1;

void auth_forget_tokens(void)
{
	atomic_fetch_add(&commits, 1);
}

static int look_up(const char *secret, struct db *db, struct remembered *ret_found, struct err *e)
{
	struct token token CLEANUP(token_done) = {0};
	int rc = token_find_by_secret(db, secret, &token, e);
	if (rc < 0)
		return rc;
	struct principal *principal = &ret_found->principal;
	*principal = (struct principal){.kind = PRINCIPAL_TOKEN, .role = (int)token.role};
	snprintf(principal->name, sizeof(principal->name), "token:%.80s", token.name);
	ret_found->expires_at = token.expires_at;
	return 0;
}

static int identify_by_token(
        const char *secret, struct db *db, struct principal *ret_principal, struct err *e)
{
	struct remembered fresh = {.commits = atomic_load(&commits)}; /* before the look */
	crypto_hash_sha256(fresh.digest, (const unsigned char *)secret, strlen(secret));
	struct remembered *slot = &memory[fresh.digest[0] % REMEMBERED];
	bool is_known = slot->commits == fresh.commits &&
	                memcmp(slot->digest, fresh.digest, sizeof(fresh.digest)) == 0 &&
	                (slot->expires_at == 0 || slot->expires_at > clock_wall_ms());
	if (!is_known) {
		int rc = look_up(secret, db, &fresh, e);
		if (rc < 0)
			return rc;
		*slot = fresh;
	}
	*ret_principal = slot->principal;
	return 0;
}

static int identify_by_header(
        const char *authorization, struct db *db, struct principal *ret_principal, struct err *e)
{
	if (strncasecmp(authorization, "Bearer ", 7) != 0 || !db)
		return err_set(e, ERR_UNAUTHENTICATED, "the Authorization must be: Bearer TOKEN");
	const char *secret = authorization + 7;
	return identify_by_token(secret + strspn(secret, " "), db, ret_principal, e);
}

int auth_identify(struct auth *auth, const struct peer *peer, const char *authorization,
        struct db *db, struct principal *ret_principal, int *ret_retry_after_s, struct err *e)
{
	int rc;
	if (authorization) {
		rc = identify_by_header(authorization, db, ret_principal, e);
	} else if (peer->is_unix && peer->is_admin) {
		ret_principal->kind = PRINCIPAL_PEER;
		ret_principal->role = TOKEN_ADMIN;
		snprintf(ret_principal->name, sizeof(ret_principal->name), "%s", peer->name);
		return 0;
	} else {
		rc = err_set(e, ERR_UNAUTHENTICATED, "a bearer token is needed");
	}
	return rc == ERR_UNAUTHENTICATED ? fail(auth, peer, ret_retry_after_s, e) : rc;
}

static const char *const operator_permissions[] = {"vm.*", "volume.*", "operation.*", "pool.read",
        "network.read", "host.read", "host_group.read", "placement.read", "capacity.read",
        "event.read", "system.read", NULL};
static const char *const viewer_permissions[] = {"*.read", NULL};
static const char *const admin_permissions[] = {"*", NULL};

static const char *const *const permissions_of[TOKEN_ROLES] = {
        [TOKEN_VIEWER] = viewer_permissions,
        [TOKEN_OPERATOR] = operator_permissions,
        [TOKEN_ADMIN] = admin_permissions,
};

/* The pattern's star stands for any text: at its beginning, its end, or alone. */
static bool matches(const char *pattern, const char *permission)
{
	size_t len = strlen(pattern), permission_len = strlen(permission);
	if (strcmp(pattern, "*") == 0)
		return true;
	if (pattern[0] == '*')
		return permission_len >= len - 1 &&
		       strcmp(permission + permission_len - (len - 1), pattern + 1) == 0;
	if (pattern[len - 1] == '*')
		return strncmp(permission, pattern, len - 1) == 0;
	return strcmp(pattern, permission) == 0;
}

/* What a viewer must not see though it only reads. */
static bool is_admins_only(const char *permission)
{
	return strncmp(permission, "token.", 6) == 0;
}

bool auth_role_may(int role, const char *permission)
{
	if (role < 0 || role >= TOKEN_ROLES)
		return false;
	if (is_admins_only(permission) && role != TOKEN_ADMIN)
		return false;
	for (const char *const *pattern = permissions_of[role]; *pattern; pattern++)
		if (matches(*pattern, permission))
			return true;
	return false;
}

int auth_check_permission(const struct principal *principal, const char *permission, struct err *e)
{
	if (auth_role_may(principal->role, permission))
		return 0;
	return err_set(e, ERR_FORBIDDEN, "%s has the role %s, which lacks the permission %s",
	        principal->name, token_role_names[principal->role], permission);
}
