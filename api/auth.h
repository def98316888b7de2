/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, and may they: bearer tokens, peer credentials of the unix socket, permissions of roles.
 * Failures are counted per address; beyond a few the address has to wait. Any thread.
 */
#pragma once

#include "api/route.h"

/* Who is at the other end of a connection; fixed when it is accepted. */
struct peer {
	bool is_unix;
	bool is_admin;    /* unix socket: root, or a member of the admins' group */
	char name[64];    /* unix socket: "root@unix" */
	char address[48]; /* TCP: without the port */
};

#define AUTH_FAILURES_MAX       20 /* within AUTH_FAILURES_WINDOW_MS, before an address has to wait */
#define AUTH_FAILURES_WINDOW_MS 10000

struct auth;

struct auth *auth_new(void);
void auth_free(struct auth *auth);
/*
 * `authorization`: the header's value or NULL. Fills *ret_principal. ERR_UNAUTHENTICATED, or
 * ERR_LIMIT with *ret_retry_after_s. `db` is a connection for reading tokens.
 */
int auth_identify(struct auth *auth, const struct peer *peer, const char *authorization,
        struct db *db, struct principal *ret_principal, int *ret_retry_after_s, struct err *e);
/* After every commit that added changes, before its requests are answered: tokens may have been
 * revoked. Any thread. */
void auth_forget_tokens(void);
/* Whether the role has the permission ("vm.read"). Pure. */
bool auth_role_may(int role, const char *permission);
/* ERR_FORBIDDEN names the principal and the permission. */
int auth_check_permission(const struct principal *principal, const char *permission, struct err *e);
