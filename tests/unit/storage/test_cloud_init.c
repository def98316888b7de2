/* SPDX-License-Identifier: Apache-2.0 */
/* cloud-init's seed: what is written is what cloud-init reads, and what it would not understand is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <crypt.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/cloud_init.h"

/* The content of a file in the ISO, read by libarchive; NULL if it is not there. Caller frees. */
static char *file_of(const void *iso, size_t n, const char *name)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	char *found = NULL;
	archive_read_support_format_iso9660(a);
	assert_int_equal(archive_read_open_memory(a, iso, n), ARCHIVE_OK);
	while (!found && archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		if (strcmp(archive_entry_pathname(entry), name) != 0)
			continue;
		size_t size = (size_t)archive_entry_size(entry);
		found = calloc(1, size + 1);
		assert_int_equal(archive_read_data(a, found, size), size);
	}
	archive_read_free(a);
	return found;
}

static const struct field_strings keys = {
        .items = (char *[]){"ssh-ed25519 AAAA me", "ssh-rsa BBBB \"quoted\""}, .len = 2};

static void test_fields_become_the_documents_of_nocloud(void **state)
{
	(void)state;
	const struct cloud_init_data data = {
	        .instance_id = "iid-1",
	        .hostname = "web1",
	        .ssh_keys = &keys,
	        .user_data = "#cloud-config\npackages: [nginx]\n",
	        .network_config = "version: 2\n",
	        .password_hash = "$6$salt$hash",
	        .default_user = "debian",
	};
	void *iso CLEANUP(cleanup_free) = NULL;
	size_t n = 0;
	assert_int_equal(cloud_init_build(&data, &iso, &n, NULL), 0);
	assert_true(n > 32768 && n <= (size_t)4 << 20);
	assert_memory_equal((const char *)iso + 32768 + 40, "CIDATA ", 7); /* ECMA-119 8.4.7 */
	char *meta_text CLEANUP(cleanup_free) = file_of(iso, n, "meta-data");
	json_t *meta CLEANUP(cleanup_json) = json_loads(meta_text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(meta, "local-hostname")), "web1");
	assert_string_equal(
	        json_string_value(json_array_get(json_object_get(meta, "public-keys"), 1)),
	        keys.items[1]);
	char *user CLEANUP(cleanup_free) = file_of(iso, n, "user-data");
	assert_string_equal(user, data.user_data);
	char *network CLEANUP(cleanup_free) = file_of(iso, n, "network-config");
	assert_string_equal(network, data.network_config);
	char *vendor CLEANUP(cleanup_free) = file_of(iso, n, "vendor-data");
	assert_true(str_starts_with(vendor, "#cloud-config\n"));
	json_t *config CLEANUP(cleanup_json) = json_loads(strchr(vendor, '\n'), 0, NULL);
	json_t *user_entry =
	        json_array_get(json_object_get(json_object_get(config, "chpasswd"), "users"), 0);
	assert_string_equal(
	        json_string_value(json_object_get(user_entry, "password")), data.password_hash);
}

static void test_a_seed_without_password_has_no_vendor_data(void **state)
{
	(void)state;
	const struct cloud_init_data data = {.instance_id = "iid-1", .hostname = "h"};
	void *iso CLEANUP(cleanup_free) = NULL;
	size_t n = 0;
	assert_int_equal(cloud_init_build(&data, &iso, &n, NULL), 0);
	assert_null(file_of(iso, n, "vendor-data"));
	char *user CLEANUP(cleanup_free) = file_of(iso, n, "user-data");
	assert_true(str_starts_with(user, "#cloud-config\n"));
}

static void test_the_instance_id_changes_with_each_document_and_not_by_itself(void **state)
{
	(void)state;
	struct cloud_init_data data = {.hostname = "h"};
	char first[48], again[48], other[48], third[48];
	cloud_init_instance_id(&data, "vm", first);
	cloud_init_instance_id(&data, "vm", again);
	assert_string_equal(first, again);
	data.user_data = "#!/bin/sh\n";
	cloud_init_instance_id(&data, "vm", other);
	assert_string_not_equal(first, other);
	cloud_init_instance_id(&data, "vm2", third);
	assert_string_not_equal(other, third);
}

static void test_a_password_is_hashed_by_crypt_with_a_salt_of_its_own(void **state)
{
	(void)state;
	char *a CLEANUP(cleanup_free) = NULL;
	char *b CLEANUP(cleanup_free) = NULL;
	assert_int_equal(cloud_init_hash_password("secret", &a, NULL), 0);
	assert_int_equal(cloud_init_hash_password("secret", &b, NULL), 0);
	assert_true(str_starts_with(a, "$6$"));
	assert_string_not_equal(a, b);
	assert_string_equal(crypt("secret", a), a);
	assert_string_not_equal(crypt("Secret", a), a);
}

static size_t problems(const char *user, const char *meta, const char *network)
{
	struct field_errors *errors = calloc(1, sizeof(*errors));
	int rc = cloud_init_check("/cloud_init", user, meta, network, errors);
	size_t n = errors->len;
	assert_int_equal(rc, n ? ERR_INVALID : 0);
	free(errors);
	return n;
}

static void test_documents_that_cloud_init_would_not_understand_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"packages: [a]", "#cloud-config\n- a list\n",
	        "#cloud-config\npackages: [", "#cloud-config\nrunncmd: [ls]\n", "", "hello",
	        "#cloud-config\n\tpackages: x\n"};
	static const char *const good[] = {"#cloud-config\n", "#cloud-config\nruncmd: [ls]\n",
	        "#!/bin/sh\necho\n", "Content-Type: multipart/mixed; boundary=x\n",
	        "## template: jinja\n#cloud-config\n{% if x %}\n"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_not_equal(problems(bad[i], NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(problems(good[i], NULL, NULL), 0);
	assert_int_equal(problems(NULL, "instance-id: x\n", "version: 1\nconfig: []\n"), 0);
	assert_int_equal(problems(NULL, "- x\n", "config: []\n"), 2);
	assert_int_equal(problems("#cloud-config\nfoo: 1\nbar: 2\n", NULL, NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_fields_become_the_documents_of_nocloud),
	        cmocka_unit_test(test_a_seed_without_password_has_no_vendor_data),
	        cmocka_unit_test(test_the_instance_id_changes_with_each_document_and_not_by_itself),
	        cmocka_unit_test(test_a_password_is_hashed_by_crypt_with_a_salt_of_its_own),
	        cmocka_unit_test(test_documents_that_cloud_init_would_not_understand_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
