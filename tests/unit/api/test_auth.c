/* SPDX-License-Identifier: Apache-2.0 */
/* Who may what, and how often they may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api/auth.h"
#include "api/token_store.h"
#include "base/clock.h"

static void test_admin_may_everything(void **state)
{
	(void)state;
	assert_true(auth_role_may(TOKEN_ADMIN, "host.write"));
	assert_true(auth_role_may(TOKEN_ADMIN, "token.write"));
	assert_true(auth_role_may(TOKEN_ADMIN, "whatever"));
}

static void test_operator_works_with_vms_but_not_hosts(void **state)
{
	(void)state;
	assert_true(auth_role_may(TOKEN_OPERATOR, "vm.write"));
	assert_true(auth_role_may(TOKEN_OPERATOR, "volume.write"));
	assert_true(auth_role_may(TOKEN_OPERATOR, "operation.cancel"));
	assert_true(auth_role_may(TOKEN_OPERATOR, "host.read"));
	assert_false(auth_role_may(TOKEN_OPERATOR, "host.write"));
	assert_false(auth_role_may(TOKEN_OPERATOR, "pool.write"));
	assert_false(auth_role_may(TOKEN_OPERATOR, "token.read"));
	assert_false(auth_role_may(TOKEN_OPERATOR, "vm"));
	assert_false(auth_role_may(TOKEN_OPERATOR, "vmx.write"));
}

static void test_viewer_only_reads(void **state)
{
	(void)state;
	assert_true(auth_role_may(TOKEN_VIEWER, "vm.read"));
	assert_true(auth_role_may(TOKEN_VIEWER, "event.read"));
	assert_false(auth_role_may(TOKEN_VIEWER, "vm.write"));
	assert_false(auth_role_may(TOKEN_VIEWER, "operation.cancel"));
	assert_false(auth_role_may(TOKEN_VIEWER, "token.read"));
}

static void test_unknown_role_may_nothing(void **state)
{
	(void)state;
	assert_false(auth_role_may(-1, "vm.read"));
	assert_false(auth_role_may(TOKEN_ROLES, "vm.read"));
}

static const struct peer tcp = {.address = "192.0.2.7"};

static int identify(struct auth *auth, const struct peer *peer, int *ret_retry)
{
	struct err e = {0};
	struct principal principal = {0};
	*ret_retry = 0;
	return auth_identify(auth, peer, NULL, NULL, &principal, ret_retry, &e);
}

static void test_failures_are_limited_per_address(void **state)
{
	(void)state;
	struct auth *auth = auth_new();
	const struct peer other = {.address = "192.0.2.8"};
	int retry;
	clock_fake_set(5000);
	for (int i = 0; i < AUTH_FAILURES_MAX; i++)
		assert_int_equal(identify(auth, &tcp, &retry), ERR_UNAUTHENTICATED);
	assert_int_equal(identify(auth, &tcp, &retry), ERR_LIMIT);
	assert_in_range(retry, 1, 11);
	assert_int_equal(identify(auth, &other, &retry), ERR_UNAUTHENTICATED);
	clock_fake_set(5000 + AUTH_FAILURES_WINDOW_MS);
	assert_int_equal(identify(auth, &tcp, &retry), ERR_UNAUTHENTICATED);
	clock_fake_set(-1);
	auth_free(auth);
}

static void test_peers_of_the_unix_socket(void **state)
{
	(void)state;
	struct auth *auth = auth_new();
	struct peer peer = {.is_unix = true, .is_admin = true, .name = "root@unix"};
	struct principal principal = {0};
	struct err e = {0};
	int retry = 0;
	assert_int_equal(auth_identify(auth, &peer, NULL, NULL, &principal, &retry, &e), 0);
	assert_int_equal(principal.role, TOKEN_ADMIN);
	assert_string_equal(principal.name, "root@unix");
	peer.is_admin = false;
	assert_int_equal(auth_identify(auth, &peer, NULL, NULL, &principal, &retry, &e),
	        ERR_UNAUTHENTICATED);
	peer.is_admin = true; /* who brings a token is only what the token says */
	assert_int_equal(auth_identify(auth, &peer, "Basic eA==", NULL, &principal, &retry, &e),
	        ERR_UNAUTHENTICATED);
	auth_free(auth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_admin_may_everything),
	        cmocka_unit_test(test_operator_works_with_vms_but_not_hosts),
	        cmocka_unit_test(test_viewer_only_reads),
	        cmocka_unit_test(test_unknown_role_may_nothing),
	        cmocka_unit_test(test_failures_are_limited_per_address),
	        cmocka_unit_test(test_peers_of_the_unix_socket),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
