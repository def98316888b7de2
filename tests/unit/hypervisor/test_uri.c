/* SPDX-License-Identifier: Apache-2.0 */
/* The whitelist of host URIs. */
#include "hypervisor/uri.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver_fake.h"

static void assert_accepted(const char *uri, bool expect_local)
{
	bool is_local = !expect_local;
	struct err e = {0};
	if (uri_check(uri, /* allow_plain_tcp= */ true, &is_local, &e) != 0)
		fail_msg("%s: %s", uri, e.message);
	if (is_local != expect_local)
		fail_msg("%s: local is %d", uri, is_local);
}

static void assert_refused(const char *uri)
{
	bool is_local = false;
	struct err e = {0};
	if (uri_check(uri, /* allow_plain_tcp= */ true, &is_local, &e) != ERR_INVALID)
		fail_msg("%s was accepted", uri);
	assert_string_not_equal(e.message, "");
}

static void test_local_uris_are_accepted(void **state)
{
	(void)state;
	assert_accepted("qemu:///system", true);
	assert_accepted("qemu+unix:///system", true);
	assert_accepted("qemu+unix:///system?socket=/run/libvirt/libvirt-sock", true);
}

static void test_remote_uris_are_accepted(void **state)
{
	(void)state;
	static const char *const good[] = {
	        "qemu+ssh://h1/system",
	        "qemu+ssh://root@h1.example.org:2222/system",
	        "qemu+ssh://berth_user@10.0.0.7/system?keyfile=/etc/berth/id",
	        "qemu+ssh://h1/system?keyfile=/etc/berth/id&proxy=native",
	        "qemu+tls://h1:16514/system?pkipath=/etc/pki/berth",
	        "qemu+tls://[fd00::1]:16514/system",
	        "qemu+tcp://127.0.0.1:16509/system",
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_accepted(good[i], false);
}

static void test_test_driver_uris_are_accepted(void **state)
{
	(void)state;
	assert_accepted("test:///default", false);
	assert_accepted("test:///var/tmp/hosts/h1.xml", false);
}

static void test_plain_tcp_needs_permission(void **state)
{
	(void)state;
	bool is_local;
	struct err e = {0};
	assert_int_equal(uri_check("qemu+tcp://h1/system", false, &is_local, &e), ERR_INVALID);
	assert_string_not_equal(e.hint, "");
	assert_int_equal(uri_check("qemu+tcp://h1/system", true, &is_local, &e), 0);
}

static void test_fake_uris_need_enabled_fakes(void **state)
{
	(void)state;
	assert_refused("fake:///h1");
	fake_enable();
	assert_accepted("fake:///h1", false);
	assert_accepted("fake:///h1?delay_ms=3", false);
	assert_refused("fake:///");
	assert_refused("fake:///../h");
}

static void test_what_runs_programs_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	        "qemu+ext:///system?command=/bin/sh",
	        "qemu+ssh://h1/system?command=/tmp/x",
	        "qemu+ssh://h1/system?netcat=/tmp/x",
	        "qemu+ssh://h1/system?no_verify=1",
	        "qemu+ssh://h1/system?no_tty=0",
	        "qemu+ssh://-oProxyCommand=x/system",
	        "qemu+ssh://-h/system",
	        "qemu+ssh://-l@h1/system",
	        "qemu+ssh://a;b@h1/system",
	        "qemu+ssh://$(id)/system",
	        "qemu+ssh://h1%20-x/system",
	        "qemu+ssh://h1/system?keyfile=-oProxyCommand",
	        "qemu+ssh://h1/system?keyfile=/a b",
	        "qemu+ssh://h1/system?keyfile=/a/../etc/shadow",
	        "qemu+ssh://h1/system?keyfile=/a%26command=x",
	        "qemu+ssh://h1/system?sshauth=privkey",
	        "qemu+ssh://h1/system?known_hosts=/etc/berth/kh",
	        "qemu+ssh://h1/system?proxy=none",
	        "qemu+libssh2://h1/system",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(bad[i]);
}

static void test_malformed_uris_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	        "",
	        "qemu",
	        "qemu:///session",
	        "qemu:///systemx",
	        "qemu:///system/",
	        "qemu:///system?",
	        "qemu:///system?socket=/x",
	        "qemu:///system#x",
	        "qemu://h1/system",
	        "QEMU:///system",
	        " qemu:///system",
	        "qemu:///system\n",
	        "qemu+unix://h1/system",
	        "qemu+unix:///system?socket=",
	        "qemu+unix:///system?socket=/a&socket=/b",
	        "qemu+unix:///system?mode=direct",
	        "qemu+ssh:///system",
	        "qemu+ssh://@h1/system",
	        "qemu+ssh://h1:0/system",
	        "qemu+ssh://h1:65536/system",
	        "qemu+ssh://h1:/system",
	        "qemu+ssh://h1:22x/system",
	        "qemu+ssh://h..1/system",
	        "qemu+ssh://h1-/system",
	        "qemu+tls://u@h1/system",
	        "qemu+tls://[::1/system",
	        "qemu+tls://[:::]/system",
	        "qemu+tls://[fd00::1%25eth0]/system",
	        "test:///",
	        "test://h1/default",
	        "test:///a/../b",
	        "test:///default?x=1",
	        "xen:///system",
	        "esx://h/",
	        "http://h/system",
	        "/etc/passwd",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(bad[i]);
}

static void test_long_uris_are_refused(void **state)
{
	(void)state;
	struct str uri = {0};
	str_add(&uri, "qemu+ssh://h1/system?keyfile=/");
	for (int i = 0; i < 600; i++)
		str_add_char(&uri, 'a');
	assert_refused(str_text(&uri));
	str_done(&uri);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_local_uris_are_accepted),
	        cmocka_unit_test(test_remote_uris_are_accepted),
	        cmocka_unit_test(test_test_driver_uris_are_accepted),
	        cmocka_unit_test(test_plain_tcp_needs_permission),
	        cmocka_unit_test(test_fake_uris_need_enabled_fakes),
	        cmocka_unit_test(test_what_runs_programs_is_refused),
	        cmocka_unit_test(test_malformed_uris_are_refused),
	        cmocka_unit_test(test_long_uris_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
