/* SPDX-License-Identifier: Apache-2.0 */
/* Whether cloud-init will understand what a user gives it, as far as that can be told without running it. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "storage/cloud_init.h"

/* Top-level keys of cloud-config: schema-cloud-config-v1.json of cloud-init 22.4, and those it reads besides. */
static const char *const known_keys[] = {
        "allow_public_ssh_keys",
        "ansible",
        "apk_repos",
        "apt",
        "apt_pipelining",
        "apt_reboot_if_required",
        "apt_update",
        "apt_upgrade",
        "authkey_hash",
        "autoinstall",
        "bootcmd",
        "byobu_by_default",
        "ca-certs",
        "ca_certs",
        "chef",
        "chpasswd",
        "cloud_config_modules",
        "cloud_final_modules",
        "cloud_init_modules",
        "create_hostname_file",
        "datasource",
        "datasource_list",
        "debug",
        "device_aliases",
        "disable_ec2_metadata",
        "disable_root",
        "disable_root_opts",
        "disk_setup",
        "drivers",
        "fan",
        "final_message",
        "fqdn",
        "fs_setup",
        "groups",
        "growpart",
        "grub-dpkg",
        "grub_dpkg",
        "hostname",
        "keyboard",
        "landscape",
        "launch-index",
        "locale",
        "locale_configfile",
        "lxd",
        "manage_etc_hosts",
        "manage_resolv_conf",
        "manual_cache_clean",
        "mcollective",
        "merge_how",
        "merge_type",
        "migrate",
        "mount_default_fields",
        "mounts",
        "network",
        "no_ssh_fingerprints",
        "ntp",
        "output",
        "package_reboot_if_required",
        "package_update",
        "package_upgrade",
        "packages",
        "password",
        "phone_home",
        "power_state",
        "prefer_fqdn_over_hostname",
        "preserve_hostname",
        "puppet",
        "random_seed",
        "reporting",
        "resize_rootfs",
        "resolv_conf",
        "rh_subscription",
        "rsyslog",
        "runcmd",
        "salt_minion",
        "snap",
        "spacewalk",
        "ssh",
        "ssh_authorized_keys",
        "ssh_deletekeys",
        "ssh_fp_console_blacklist",
        "ssh_genkeytypes",
        "ssh_import_id",
        "ssh_key_console_blacklist",
        "ssh_keys",
        "ssh_publish_hostkeys",
        "ssh_pwauth",
        "ssh_quiet_keygen",
        "swap",
        "system_info",
        "timezone",
        "ubuntu-advantage",
        "ubuntu_advantage",
        "updates",
        "user",
        "users",
        "vendor_data",
        "vendor_data2",
        "wireguard",
        "write_files",
        "yum_repo_dir",
        "yum_repos",
        "zypper",
};

/* How user-data may begin besides "#cloud-config" (cloud-init's documentation, "User-data formats"). */
static const char *const other_formats[] = {"#!", "#include", "#cloud-boothook", "#part-handler",
        "#cloud-config-archive", "## template: jinja", "Content-Type: multipart",
        "MIME-Version:", "From nobody"};

static bool is_known(const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(known_keys); i++)
		if (strcmp(known_keys[i], key) == 0)
			return true;
	return false;
}

struct check {
	const char *pointer;
	struct field_errors *errors;
};

static void check_keys(const struct check *check, yaml_document_t *document, yaml_node_t *root)
{
	for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
	        pair < root->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(document, pair->key);
		if (key->type != YAML_SCALAR_NODE)
			field_errors_add(check->errors, "bad_value", check->pointer,
			        "has a key that is no text");
		else if (!is_known((const char *)key->data.scalar.value))
			field_errors_add(check->errors, "bad_value", check->pointer,
			        "has the key %.60s, which cloud-init does not know",
			        (const char *)key->data.scalar.value);
	}
}

static bool has_key(yaml_document_t *document, yaml_node_t *root, const char *name)
{
	for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
	        pair < root->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(document, pair->key);
		if (key->type == YAML_SCALAR_NODE &&
		        strcmp((const char *)key->data.scalar.value, name) == 0)
			return true;
	}
	return false;
}

enum document_kind { DOCUMENT_CLOUD_CONFIG, DOCUMENT_META_DATA, DOCUMENT_NETWORK };

static void check_root(
        const struct check *check, yaml_document_t *document, enum document_kind kind)
{
	yaml_node_t *root = yaml_document_get_root_node(document);
	if (!root && kind == DOCUMENT_CLOUD_CONFIG)
		return; /* nothing but the first line */
	if (!root || root->type != YAML_MAPPING_NODE)
		field_errors_add(
		        check->errors, "bad_value", check->pointer, "must be a YAML mapping");
	else if (kind == DOCUMENT_CLOUD_CONFIG)
		check_keys(check, document, root);
	else if (kind == DOCUMENT_NETWORK && !has_key(document, root, "version") &&
	         !has_key(document, root, "network"))
		field_errors_add(
		        check->errors, "missing", check->pointer, "must say its version (1 or 2)");
}

static void check_yaml(const struct check *check, const char *text, enum document_kind kind)
{
	yaml_parser_t parser;
	yaml_document_t document;
	if (!yaml_parser_initialize(&parser))
		return;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
	if (yaml_parser_load(&parser, &document)) {
		check_root(check, &document, kind);
		yaml_document_delete(&document);
	} else {
		field_errors_add(check->errors, "bad_value", check->pointer,
		        "is not YAML: %s in line %zu", parser.problem ? parser.problem : "error",
		        parser.problem_mark.line + 1);
	}
	yaml_parser_delete(&parser);
}

static bool is_cloud_config(const char *text)
{
	size_t n = strlen("#cloud-config");
	return strncmp(text, "#cloud-config", n) == 0 && strchr(" \t\r\n", text[n]);
}

static void check_user_data(const struct check *check, const char *text)
{
	if (is_cloud_config(text)) {
		check_yaml(check, text, DOCUMENT_CLOUD_CONFIG);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(other_formats); i++)
		if (strncmp(text, other_formats[i], strlen(other_formats[i])) == 0)
			return;
	field_errors_add(check->errors, "bad_value", check->pointer,
	        "begins with nothing that cloud-init knows, such as #cloud-config or #!");
}

int cloud_init_check(const char *base, const char *user_data, const char *meta_data,
        const char *network_config, struct field_errors *errors)
{
	size_t before = errors->len;
	char pointer[96];
	const struct check check = {.pointer = pointer, .errors = errors};
	snprintf(pointer, sizeof(pointer), "%s/user_data", base);
	if (user_data)
		check_user_data(&check, user_data);
	snprintf(pointer, sizeof(pointer), "%s/meta_data", base);
	if (meta_data)
		check_yaml(&check, meta_data, DOCUMENT_META_DATA);
	snprintf(pointer, sizeof(pointer), "%s/network_config", base);
	if (network_config)
		check_yaml(&check, network_config, DOCUMENT_NETWORK);
	return errors->len > before ? ERR_INVALID : 0;
}
