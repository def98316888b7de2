/* SPDX-License-Identifier: Apache-2.0 */
/* Pool kinds and what a user may write of them; how QEMU names a file in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool.h"
#include "storage/pool_preflight.h"

/* Decodes and checks as the API does. */
static int check(const char *text, struct pool_spec *spec, struct field_errors *errors)
{
	struct err e = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(text, 0, NULL);
	assert_non_null(json);
	int rc = field_decode(&pool_write_fields, json, FIELD_DECODE_CREATE, spec, errors);
	return rc < 0 ? rc : pool_spec_check(spec, errors, &e);
}

static bool has_error(const struct field_errors *errors, const char *pointer)
{
	for (size_t i = 0; i < errors->len; i++)
		if (str_equal(errors->items[i].pointer, pointer))
			return true;
	return false;
}

static void assert_accepted(const char *text)
{
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	struct field_errors errors = {0};
	if (check(text, &spec, &errors) < 0)
		fail_msg("%s: %s %s", text, errors.items[0].pointer, errors.items[0].detail);
}

/* Refused with exactly these pointers; ends with NULL. */
static void assert_refused(const char *text, const char *const *pointers)
{
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	struct field_errors errors = {0};
	size_t n = 0;
	assert_int_equal(check(text, &spec, &errors), ERR_INVALID);
	for (; pointers[n]; n++)
		if (!has_error(&errors, pointers[n]))
			fail_msg("%s: no error at %s", text, pointers[n]);
	assert_int_equal(errors.len, n);
}
#define REFUSED(text, ...) assert_refused(text, (const char *const[]){__VA_ARGS__, NULL})

static void test_each_kind_is_found_by_its_name(void **state)
{
	(void)state;
	size_t n = 0;
	for (; pool_kind_names[n]; n++) {
		const struct pool_kind *kind = pool_kind_find(pool_kind_names[n]);
		assert_non_null(kind);
		assert_string_equal(kind->name, pool_kind_names[n]);
		struct pool_spec spec = {.kind = (int)n};
		assert_ptr_equal(pool_kind_of(&spec), kind);
		assert_int_equal(kind->required & ~kind->allowed, 0);
		assert_true(kind->libvirt_type || kind->flags & POOL_ADOPT_ONLY);
		assert_int_equal(kind->source == DOMAIN_SOURCE_NETWORK, kind->protocol != NULL);
		assert_int_equal((kind->allowed & POOL_HAS_USER) != 0, kind->secret_usage != NULL);
	}
	assert_int_equal(n, 9);
	assert_null(pool_kind_find("floppy"));
}

static void test_complete_pools_of_each_kind_are_accepted(void **state)
{
	(void)state;
	assert_accepted("{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/srv/vms\"}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/srv/vms\",\"shared\":true}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"netfs\",\"path\":\"/mnt/nas\",\"source\":"
	                "{\"hosts\":[\"nas\"],\"dir\":\"/export\",\"format\":\"nfs\"}}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"logical\",\"source\":{\"name\":\"vg0\"}}");
	assert_accepted(
	        "{\"name\":\"a\",\"kind\":\"iscsi\",\"source\":{\"hosts\":[\"10.0.0.1:3260\"]"
	        ",\"device\":\"iqn.2026-01.org.example:t1\"}}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"iscsi-direct\",\"source\":{\"hosts\":[\"san\"],"
	                "\"device\":\"iqn.2026-01.org.example:t1\",\"initiator\":"
	                "\"iqn.2026-01.org.example:i1\",\"user\":\"u\",\"secret\":\"s\"}}");
	assert_accepted(
	        "{\"name\":\"a\",\"kind\":\"rbd\",\"source\":{\"hosts\":[\"m1\",\"[::1]:3300\"]"
	        ",\"name\":\"rbd\",\"user\":\"admin\",\"secret\":\"QUJD\"}}");
	assert_accepted(
	        "{\"name\":\"a\",\"kind\":\"gluster\",\"source\":{\"hosts\":[\"g\"],\"name\":"
	        "\"vol\",\"dir\":\"/vms\"}}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"zfs\",\"source\":{\"name\":\"tank/vms\"}}");
	assert_accepted("{\"name\":\"a\",\"kind\":\"nfs-direct\",\"source\":{\"hosts\":[\"nas\"],"
	                "\"dir\":\"/export\"}}");
}

static void test_all_missing_and_foreign_members_are_named_at_once(void **state)
{
	(void)state;
	REFUSED("{\"name\":\"a\",\"kind\":\"dir\"}", "/path");
	REFUSED("{\"name\":\"a\",\"kind\":\"netfs\",\"source\":{\"device\":\"iqn.2026-01.a:b\"}}",
	        "/path", "/source/hosts", "/source/dir", "/source/device");
	REFUSED("{\"name\":\"a\",\"kind\":\"iscsi-direct\",\"path\":\"/x\"}", "/path",
	        "/source/hosts", "/source/device", "/source/initiator");
	REFUSED("{\"name\":\"a\",\"kind\":\"rbd\",\"source\":{\"hosts\":[\"m\"],\"name\":\"p\","
	        "\"secret\":\"s\"}}",
	        "/source/user");
	REFUSED("{\"name\":\"a\",\"kind\":\"netfs\",\"path\":\"/m\",\"shared\":false,\"source\":"
	        "{\"hosts\":[\"n\"],\"dir\":\"/e\",\"format\":\"ext4\"}}",
	        "/shared", "/source/format");
	REFUSED("{\"name\":\"a\",\"kind\":\"zfs\",\"shared\":true,\"source\":{\"name\":\"t\"}}",
	        "/shared");
}

static void test_odd_paths_and_names_are_refused(void **state)
{
	(void)state;
	static const char *const paths[] = {"relative", "/", "/a/../b", "/a/./b", "/a//b", "/a/",
	        "/..", "/a\\u0001b", "//a", NULL};
	for (const char *const *path = paths; *path; path++) {
		char *text CLEANUP(cleanup_free) =
		        str_format("{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"%s\"}", *path);
		REFUSED(text, "/path");
	}
	REFUSED("{\"name\":\"a\",\"kind\":\"logical\",\"source\":{\"name\":\"../vg\"}}",
	        "/source/name");
	REFUSED("{\"name\":\"a\",\"kind\":\"iscsi\",\"source\":{\"hosts\":[\"a b\"],\"device\":"
	        "\"target\"}}",
	        "/source/hosts/0", "/source/device");
}

static void test_stored_form_has_no_secret_and_comes_back(void **state)
{
	(void)state;
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	struct pool_spec again CLEANUP(pool_spec_done) = {0};
	struct field_errors errors = {0};
	struct err e = {0};
	assert_int_equal(
	        check("{\"name\":\"a\",\"kind\":\"rbd\",\"labels\":{\"k\":\"v\"},\"source\":"
	              "{\"hosts\":[\"m\"],\"name\":\"p\",\"user\":\"u\",\"secret\":"
	              "\"topsecret\"},\"overcommit_ratio\":2.5}",
	                &spec, &errors),
	        0);
	char *stored CLEANUP(cleanup_free) = pool_spec_store(&spec);
	assert_null(strstr(stored, "topsecret"));
	assert_int_equal(pool_spec_load(stored, "rbd", "", &again, &e), 0);
	assert_string_equal(again.source.user, "u");
	assert_string_equal(again.source.hosts.items[0], "m");
	assert_true(again.overcommit_ratio > 2.4 && again.overcommit_ratio < 2.6);
	assert_null(again.path);
	assert_null(again.source.secret);
}

static void test_empty_stored_form_is_a_directory_with_defaults(void **state)
{
	(void)state;
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	struct err e = {0};
	assert_int_equal(pool_spec_load("{}", "dir", "/p", &spec, &e), 0);
	assert_string_equal(pool_kind_of(&spec)->name, "dir");
	assert_string_equal(spec.path, "/p");
	assert_int_equal(spec.warn_percent, 85);
	assert_false(pool_spec_is_shared(&spec));
	assert_true(pool_spec_has_host(&spec, "any"));
}

/* ---- how QEMU names a file ---- */

static void fill(struct pool_access *access, const char *kind, const char *path, const char *spec,
        const char *secret)
{
	struct err e = {0};
	struct pool_row row = {.id = "6f0b8f52-0000-4000-8000-000000000001",
	        .name = xstrdup("p"),
	        .kind = xstrdup(kind),
	        .path = xstrdup(path),
	        .spec = xstrdup(spec)};
	assert_int_equal(pool_access_fill(access, &row, xstrdup(secret), &e), 0);
	pool_row_done(&row);
}

static void assert_named(const char *kind, const char *path, const char *spec, const char *file,
        const char *expected)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct domain_source source;
	char *name CLEANUP(cleanup_free) = NULL;
	fill(&access, kind, path, spec, NULL);
	pool_access_source(&access, file, "raw", &source, &name);
	assert_string_equal(name, expected);
	assert_ptr_equal(source.path, name);
	assert_string_equal(source.format, "raw");
	assert_int_equal(source.type, access.kind->source);
	assert_true(str_equal(source.protocol, access.kind->protocol));
}

static void test_qemu_reaches_a_file_of_each_kind(void **state)
{
	(void)state;
	assert_named("dir", "/srv/vms", "{}", "x.qcow2", "/srv/vms/x.qcow2");
	assert_named("netfs", "/mnt/nas", "{}", "x.raw", "/mnt/nas/x.raw");
	assert_named("logical", "", "{\"source\":{\"name\":\"vg0\"}}", "x", "/dev/vg0/x");
	assert_named("zfs", "", "{\"source\":{\"name\":\"tank\"}}", "x", "/dev/zvol/tank/x");
	assert_named("iscsi", "", "{\"source\":{\"hosts\":[\"10.0.0.1\"],\"device\":\"iqn.x:t\"}}",
	        "unit:0:0:3", "/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x:t-lun-3");
	assert_named("iscsi", "",
	        "{\"source\":{\"hosts\":[\"10.0.0.1:3261\"],\"device\":\"iqn.x:t\"}}", "unit:0:0:0",
	        "/dev/disk/by-path/ip-10.0.0.1:3261-iscsi-iqn.x:t-lun-0");
	assert_named("iscsi-direct", "", "{\"source\":{\"device\":\"iqn.x:t\"}}", "unit:0:0:3",
	        "iqn.x:t/3");
	assert_named("rbd", "", "{\"source\":{\"name\":\"rbd\"}}", "x.raw", "rbd/x.raw");
	assert_named("gluster", "", "{\"source\":{\"name\":\"vol\"}}", "x", "vol/x");
	assert_named(
	        "gluster", "", "{\"source\":{\"name\":\"vol\",\"dir\":\"/d\"}}", "x", "vol/d/x");
	assert_named("nfs-direct", "", "{\"source\":{\"dir\":\"/export\"}}", "x", "/export/x");
}

static void test_network_source_carries_servers_and_credentials(void **state)
{
	(void)state;
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct domain_source source;
	char *name CLEANUP(cleanup_free) = NULL;
	fill(&access, "rbd", "",
	        "{\"source\":{\"name\":\"rbd\",\"hosts\":[\"m1\",\"m2:3300\"],\"user\":\"u\"}}",
	        "key");
	pool_access_source(&access, "x", "raw", &source, &name);
	assert_string_equal(source.hosts[0], "m1");
	assert_string_equal(source.hosts[1], "m2:3300");
	assert_null(source.hosts[2]);
	assert_string_equal(source.user, "u");
	assert_string_equal(source.secret_id, access.id);
	assert_string_equal(access.config.secret_id, access.id);
	assert_string_equal(access.config.name, "berth-p");
	assert_string_equal(access.config.type, "rbd");
}

/* ---- words for failures ---- */

static void explain(const char *message, struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	fill(&access, "dir", "/srv/vms", "{}", NULL);
	err_set(e, ERR_HYPERVISOR, "%s", message);
	pool_explain(&access, e);
}

static void test_failures_are_explained_in_words(void **state)
{
	(void)state;
	static const struct {
		const char *message, *words, *hint;
	} cases[] = {
	        {"Could not open '/srv/vms/x': Permission denied", "r, w and x",
	                "namei -l /srv/vms"},
	        {"apparmor=DENIED: Permission denied", "AppArmor", "apparmor.d"},
	        {"SELinux policy denies access", "SELinux", "restorecon"},
	        {"mount.nfs: No such device", "no NFS client", "nfs-direct"},
	        {"mount.nfs: Connection refused", "refuses the connection", "listens"},
	        {"mount.nfs: access denied by server", "cannot mount the NFS export", "exports"},
	        {"error connecting: Authentication failed", "user or the secret", "source.secret"},
	        {"cannot fill file: No space left on device", "is full", "free space"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {0};
		explain(cases[i].message, &e);
		assert_non_null(strstr(e.message, cases[i].words));
		assert_non_null(strstr(e.message, cases[i].message)); /* the original stays */
		assert_non_null(strstr(e.hint, cases[i].hint));
		assert_int_equal(e.code, ERR_HYPERVISOR);
	}
}

static void test_unknown_failure_stays_as_it_is(void **state)
{
	(void)state;
	struct err e = {0};
	explain("something else", &e);
	assert_string_equal(e.message, "something else");
	assert_string_equal(e.hint, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_each_kind_is_found_by_its_name),
	        cmocka_unit_test(test_complete_pools_of_each_kind_are_accepted),
	        cmocka_unit_test(test_all_missing_and_foreign_members_are_named_at_once),
	        cmocka_unit_test(test_odd_paths_and_names_are_refused),
	        cmocka_unit_test(test_stored_form_has_no_secret_and_comes_back),
	        cmocka_unit_test(test_empty_stored_form_is_a_directory_with_defaults),
	        cmocka_unit_test(test_qemu_reaches_a_file_of_each_kind),
	        cmocka_unit_test(test_network_source_carries_servers_and_credentials),
	        cmocka_unit_test(test_failures_are_explained_in_words),
	        cmocka_unit_test(test_unknown_failure_stays_as_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
