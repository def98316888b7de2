/* SPDX-License-Identifier: Apache-2.0 */
/* Writes cloud-init's NoCloud seed. */
#include "storage/cloud_init.h"

#include <archive.h>
#include <archive_entry.h>
#include <crypt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define SEED_MAX ((size_t)4 << 20)

int cloud_init_hash_password(const char *password, char **ret_hash, struct err *e)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data CLEANUP(cleanup_free) = xcalloc(1, sizeof(*data));
	const char *hash = NULL;
	if (crypt_gensalt_rn("$6$", 0, NULL, 0, salt, sizeof(salt)))
		hash = crypt_r(password, salt, data);
	if (!hash || hash[0] == '*')
		return err_set(e, ERR_INTERNAL, "hashing a password failed");
	*ret_hash = xstrdup(hash);
	sodium_memzero(data, sizeof(*data));
	return 0;
}

static void add_text(crypto_generichash_state *state, const char *text)
{
	if (text)
		crypto_generichash_update(state, (const unsigned char *)text, strlen(text));
	crypto_generichash_update(state, (const unsigned char *)"", 1);
}

void cloud_init_instance_id(const struct cloud_init_data *data, const char *vm_id, char ret_id[48])
{
	crypto_generichash_state state;
	unsigned char digest[16];
	char text[2 * sizeof(digest) + 1];
	crypto_generichash_init(&state, NULL, 0, sizeof(digest));
	add_text(&state, vm_id);
	add_text(&state, data->hostname);
	for (size_t i = 0; data->ssh_keys && i < data->ssh_keys->len; i++)
		add_text(&state, data->ssh_keys->items[i]);
	add_text(&state, data->user_data);
	add_text(&state, data->meta_data);
	add_text(&state, data->network_config);
	add_text(&state, data->password_hash);
	crypto_generichash_final(&state, digest, sizeof(digest));
	snprintf(ret_id, 48, "iid-%s", sodium_bin2hex(text, sizeof(text), digest, sizeof(digest)));
}

/* ---- the documents; JSON is YAML ---- */

static char *dump(const char *first_line, json_t *json)
{
	char *text CLEANUP(cleanup_free) = json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	return str_format("%s%s\n", first_line, text);
}

static char *make_meta_data(const struct cloud_init_data *data)
{
	if (data->meta_data)
		return xstrdup(data->meta_data);
	json_t *meta = json_pack(
	        "{s:s, s:s}", "instance-id", data->instance_id, "local-hostname", data->hostname);
	if (data->ssh_keys && data->ssh_keys->len > 0) {
		json_t *keys = json_array();
		for (size_t i = 0; i < data->ssh_keys->len; i++)
			json_array_append_new(keys, json_string(data->ssh_keys->items[i]));
		json_object_set_new(meta, "public-keys", keys);
	}
	return dump("", meta);
}

/* NULL without a password. */
static char *make_vendor_data(const struct cloud_init_data *data)
{
	if (!data->password_hash)
		return NULL;
	json_t *config = json_pack("{s:b, s:{s:b}}", "ssh_pwauth", 1, "chpasswd", "expire", 0);
	if (data->default_user)
		json_object_set_new(json_object_get(config, "chpasswd"), "users",
		        json_pack("[{s:s, s:s}]", "name", data->default_user, "password",
		                data->password_hash));
	else
		json_object_set_new(config, "password", json_string(data->password_hash));
	return dump("#cloud-config\n", config);
}

/* ---- the ISO ---- */

static int archive_failed(struct archive *iso, struct err *e)
{
	const char *why = archive_error_string(iso);
	return err_set(
	        e, ERR_INTERNAL, "writing a cloud-init seed: %s", why ? why : "unknown error");
}

static int add_file(struct archive *iso, const char *name, const char *content, struct err *e)
{
	if (!content)
		return 0;
	size_t n = strlen(content);
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0444);
	archive_entry_set_size(entry, (la_int64_t)n);
	archive_entry_set_mtime(entry, 0, 0);
	bool fine = archive_write_header(iso, entry) == ARCHIVE_OK &&
	            archive_write_data(iso, content, n) == (la_ssize_t)n;
	archive_entry_free(entry);
	return fine ? 0 : archive_failed(iso, e);
}

static int write_files(struct archive *iso, const struct cloud_init_data *data, struct err *e)
{
	char *meta CLEANUP(cleanup_free) = make_meta_data(data);
	char *vendor CLEANUP(cleanup_free) = make_vendor_data(data);
	int rc = add_file(iso, "meta-data", meta, e);
	if (rc == 0)
		rc = add_file(iso, "user-data",
		        data->user_data ? data->user_data : "#cloud-config\n{}\n", e);
	if (rc == 0)
		rc = add_file(iso, "vendor-data", vendor, e);
	return rc < 0 ? rc : add_file(iso, "network-config", data->network_config, e);
}

int cloud_init_build(
        const struct cloud_init_data *data, void **ret_iso, size_t *ret_n, struct err *e)
{
	void *bytes CLEANUP(cleanup_free) = xcalloc(1, SEED_MAX);
	struct archive *iso = archive_write_new();
	size_t used = 0;
	int rc = 0;
	if (!iso || archive_write_set_format_iso9660(iso) != ARCHIVE_OK ||
	        archive_write_set_format_option(iso, "iso9660", "volume-id", "CIDATA") !=
	                ARCHIVE_OK ||
	        archive_write_set_format_option(iso, "iso9660", "joliet", "1") != ARCHIVE_OK ||
	        archive_write_set_format_option(iso, "iso9660", "rockridge", "1") != ARCHIVE_OK ||
	        archive_write_set_bytes_per_block(iso, 0) != ARCHIVE_OK ||
	        archive_write_open_memory(iso, bytes, SEED_MAX, &used) != ARCHIVE_OK)
		rc = archive_failed(iso, e);
	if (rc == 0)
		rc = write_files(iso, data, e);
	if (rc == 0 && archive_write_close(iso) != ARCHIVE_OK)
		rc = archive_failed(iso, e);
	archive_write_free(iso);
	if (rc < 0)
		return rc;
	*ret_iso = TAKE(bytes);
	*ret_n = used;
	return 0;
}
