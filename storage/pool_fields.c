/* SPDX-License-Identifier: Apache-2.0 */
/* The field tables of pools, what a kind takes of them, and the stored form. Pure. */
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool.h"

#define PATH_MAX_BYTES 1000
#define OVERCOMMIT_MAX 1000.0
#define QUOTA_MAX      ((int64_t)1 << 52) /* exact in JSON, too */

/* ---- checks of single texts ---- */

/* Absolute, and the only way to write that path: no "//", "." or "..", no slash at its end. */
static const char *check_path(const char *text)
{
	if (text[0] != '/')
		return "must be an absolute path";
	for (const char *part = text; part; part = strchr(part, '/')) {
		part++;
		size_t len = strcspn(part, "/");
		if (len == 0)
			return "must not be the root, contain \"//\" or end with a slash";
		if ((len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
			return "must not contain \".\" or \"..\"";
	}
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return "must not contain control characters";
	return NULL;
}

static bool consists_of(const char *text, const char *others)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(others, *text))
			return false;
	return true;
}

static const char *check_server(const char *text)
{
	if (!isalnum((unsigned char)text[0]) && text[0] != '[')
		return "must be HOST or HOST:PORT";
	if (!consists_of(text, ".-:[]"))
		return "must be HOST or HOST:PORT, a name or an address";
	return NULL;
}

static const char *check_source_name(const char *text)
{
	if (!isalnum((unsigned char)text[0]))
		return "must begin with a letter or a digit";
	if (!consists_of(text, "._+-/") || strstr(text, "..") || strstr(text, "//"))
		return "must consist of letters, digits and . _ + -";
	return NULL;
}

static const char *check_iscsi_name(const char *text)
{
	if (!str_starts_with(text, "iqn.") && !str_starts_with(text, "eui.") &&
	        !str_starts_with(text, "naa."))
		return "must be an iSCSI name (RFC 3720): iqn.*, eui.* or naa.*";
	return consists_of(text, ".:-") ? NULL : "must consist of letters, digits and . : -";
}

static const char *check_user(const char *text)
{
	return consists_of(text, "._-:@") ? NULL : "must consist of letters, digits and . _ - : @";
}

/* Also a subdirectory of a Gluster volume: absolute there, too. */
#define check_dir check_path

/* ---- tables ---- */

#define SOURCE(member) .offset = offsetof(struct pool_source, member)
#define SOURCE_FIELDS                                                                              \
	{.name = "hosts",                                                                          \
	        .type = FIELD_STRINGS,                                                             \
	        SOURCE(hosts),                                                                     \
	        .max = 16,                                                                         \
	        .check = check_server,                                                             \
	        .doc = "The servers, each HOST or HOST:PORT"},                                     \
	        {.name = "dir",                                                                    \
	                .type = FIELD_STRING,                                                      \
	                SOURCE(dir),                                                               \
	                .max = PATH_MAX_BYTES,                                                     \
	                .check = check_dir,                                                        \
	                .doc = "netfs, nfs-direct: the export; gluster: a directory in the "       \
	                       "volume"},                                                          \
	        {.name = "name",                                                                   \
	                .type = FIELD_STRING,                                                      \
	                SOURCE(name),                                                              \
	                .min = 1,                                                                  \
	                .max = 200,                                                                \
	                .check = check_source_name,                                                \
	                .doc = "logical: the volume group; rbd, zfs: the pool; gluster: the "      \
	                       "volume"},                                                          \
	        {.name = "device",                                                                 \
	                .type = FIELD_STRING,                                                      \
	                SOURCE(device),                                                            \
	                .max = 223,                                                                \
	                .check = check_iscsi_name,                                                 \
	                .doc = "iscsi, iscsi-direct: the target's name (IQN)"},                    \
	        {.name = "format",                                                                 \
	                .type = FIELD_STRING,                                                      \
	                SOURCE(format),                                                            \
	                .max = 20,                                                                 \
	                .doc = "netfs: nfs, cifs, glusterfs or auto; logical: lvm2"},              \
	        {.name = "initiator",                                                              \
	                .type = FIELD_STRING,                                                      \
	                SOURCE(initiator),                                                         \
	                .max = 223,                                                                \
	                .check = check_iscsi_name,                                                 \
	                .doc = "iscsi, iscsi-direct: the IQN the hosts call themselves"},          \
	{                                                                                          \
		.name = "user", .type = FIELD_STRING, SOURCE(user), .min = 1, .max = 128,          \
		.check = check_user, .doc = "rbd: the Ceph client; iscsi*: the CHAP user"          \
	}

static const struct field source_fields[] = {SOURCE_FIELDS};
static const struct field_table source_table =
        FIELD_TABLE("PoolSource", struct pool_source, source_fields);

static const struct field source_write_fields[] = {
        SOURCE_FIELDS,
        {.name = "secret",
                .type = FIELD_STRING,
                SOURCE(secret),
                .flags = FIELD_SECRET,
                .min = 1,
                .max = 1000,
                .doc = "The user's key (rbd: base64) or password (iscsi*); never answered. Left "
                       "out, the one that is known stays"},
};
static const struct field_table source_write_table =
        FIELD_TABLE("PoolSourceWrite", struct pool_source, source_write_fields);

#define OF(member) .offset = offsetof(struct pool_spec, member)
#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING, OF(name), .flags = FIELD_REQUIRED,           \
		.max = 63, .check = field_check_name, .format = "^[a-z][a-z0-9-]{0,62}$",          \
		.doc = "Unique name; libvirt knows the pool as berth-NAME"                         \
	}
#define CONFIG_FIELDS(source_member_table, kind_flags)                                             \
	{.name = "kind",                                                                           \
	        .type = FIELD_ENUM,                                                                \
	        OF(kind),                                                                          \
	        .flags = kind_flags,                                                               \
	        .names = pool_kind_names,                                                          \
	        .doc = "dir: a directory; netfs: an NFS or SMB export that hosts mount; logical: " \
	               "LVM; iscsi, iscsi-direct: a SAN's logical units; rbd: Ceph; gluster; "     \
	               "zfs; "                                                                     \
	               "nfs-direct: NFS by QEMU itself"},                                          \
	        {.name = "path",                                                                   \
	                .type = FIELD_STRING,                                                      \
	                OF(path),                                                                  \
	                .max = PATH_MAX_BYTES,                                                     \
	                .check = check_path,                                                       \
	                .doc = "dir, netfs: the directory on the hosts"},                          \
	        {.name = "description",                                                            \
	                .type = FIELD_STRING,                                                      \
	                OF(description),                                                           \
	                .max = 4096,                                                               \
	                .doc = "Free text"},                                                       \
	        {.name = "labels",                                                                 \
	                .type = FIELD_LABELS,                                                      \
	                OF(labels),                                                                \
	                .max = 64,                                                                 \
	                .doc = "Key-value pairs to select by"},                                    \
	        {.name = "shared",                                                                 \
	                .type = FIELD_BOOL,                                                        \
	                OF(shared),                                                                \
	                .present = offsetof(struct pool_spec, has_shared),                         \
	                .doc = "Whether all its hosts see the same content; dir: as asked for, "   \
	                       "false by default; else as its kind has it"},                       \
	        {.name = "source",                                                                 \
	                .type = FIELD_OBJECT,                                                      \
	                OF(source),                                                                \
	                .sub = source_member_table,                                                \
	                .doc = "Where its content comes from"},                                    \
	        {.name = "overcommit_ratio",                                                       \
	                .type = FIELD_REAL,                                                        \
	                OF(overcommit_ratio),                                                      \
	                .real_min = 0,                                                             \
	                .real_max = OVERCOMMIT_MAX,                                                \
	                .default_text = "0",                                                       \
	                .doc = "Sum of the volumes' sizes per byte of capacity that is allowed; "  \
	                       "0: no limit"},                                                     \
	        {.name = "warn_percent",                                                           \
	                .type = FIELD_INT,                                                         \
	                OF(warn_percent),                                                          \
	                .min = 1,                                                                  \
	                .max = 100,                                                                \
	                .default_text = "85",                                                      \
	                .doc = "Percentage of the capacity in use from which on an event pool/"    \
	                       "filling warns"},                                                   \
	        {.name = "quota_bytes",                                                            \
	                .type = FIELD_INT,                                                         \
	                OF(quota_bytes),                                                           \
	                .min = 0,                                                                  \
	                .max = QUOTA_MAX,                                                          \
	                .default_text = "0",                                                       \
	                .doc = "Bytes that the volumes' sizes may sum up to; 0: no limit"},        \
	{                                                                                          \
		.name = "file_pool", .type = FIELD_STRING, OF(file_pool), .max = 63,               \
		.doc = "Of a pool that holds no files: the pool where snapshots' overlays, saved " \
		       "memory and images' copies of its volumes lie; none: pool default"          \
	}
#define HOSTS_FIELD                                                                                \
	{                                                                                          \
		.name = "hosts", .type = FIELD_STRINGS, OF(hosts), .max = 1000,                    \
		.doc = "Names of the hosts that reach it; none: all hosts"                         \
	}

static const struct field write_fields[] = {
        NAME_FIELD, CONFIG_FIELDS(&source_write_table, FIELD_REQUIRED), HOSTS_FIELD};
const struct field_table pool_write_fields =
        FIELD_TABLE("PoolWrite", struct pool_spec, write_fields);

static const struct field config_fields[] = {CONFIG_FIELDS(&source_table, 0), HOSTS_FIELD};
const struct field_table pool_config_fields =
        FIELD_TABLE("PoolConfig", struct pool_spec, config_fields);

static const struct field shown_fields[] = {CONFIG_FIELDS(&source_table, 0)};
static const struct field_table shown_table = FIELD_TABLE(NULL, struct pool_spec, shown_fields);

void pool_spec_encode(const struct pool_spec *spec, struct json_writer *w)
{
	field_encode_members(&shown_table, spec, FIELD_ENCODE_ANSWER, w);
}

/* Answers: described here, written by pool_view.c, where "hosts" tells how each sees the pool. */
#define READ_ONLY .flags = FIELD_READ_ONLY
static const char *const state_names[] = {"creating", "ready", "deleting", NULL};
static const char *const host_state_names[] = {"ok", "error", "unknown", NULL};
struct host_answer {
	int unused;
};
static const struct field host_fields[] = {
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "The host's name"},
        {.name = "state",
                .type = FIELD_ENUM,
                .names = host_state_names,
                READ_ONLY,
                .doc = "error: the host reports a failure; unknown: no answer, or not looked at"},
        {.name = "reason", .type = FIELD_STRING, READ_ONLY, .doc = "Why it is not ok, or \"\""},
        {.name = "since",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Since when it is so"},
        {.name = "capacity_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Bytes, as last seen"},
        {.name = "allocation_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Bytes in use"},
        {.name = "available_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Bytes left"},
        {.name = "checked_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When it answered last"},
};
static const struct field_table host_table =
        FIELD_TABLE("PoolHost", struct host_answer, host_fields);

static const struct field overcommit_fields[] = {
        {.name = "ratio_limit",
                .type = FIELD_REAL,
                READ_ONLY,
                .doc = "overcommit_ratio; 0: no limit"},
        {.name = "now",
                .type = FIELD_REAL,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "provisioned_bytes per byte of capacity; null: capacity is not known"},
};
static const struct field_table overcommit_table =
        FIELD_TABLE("PoolOvercommit", struct host_answer, overcommit_fields);

static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, OF(name), .doc = "Unique name"},
        CONFIG_FIELDS(&source_table, 0),
        {.name = "all_hosts",
                .type = FIELD_BOOL,
                READ_ONLY,
                .doc = "Whether every host is to reach it: no `hosts` were given"},
        {.name = "state",
                .type = FIELD_ENUM,
                .names = state_names,
                READ_ONLY,
                .doc = "creating: its preflight runs"},
        {.name = "hosts",
                .type = FIELD_LIST,
                .sub = &host_table,
                READ_ONLY,
                .doc = "How each of its hosts sees it"},
        {.name = "volumes", .type = FIELD_INT, READ_ONLY, .doc = "Volumes in it, on all hosts"},
        {.name = "provisioned_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Sum of the volumes' sizes and of the images' copies, on all hosts"},
        {.name = "overcommit",
                .type = FIELD_OBJECT,
                .sub = &overcommit_table,
                READ_ONLY,
                .doc = "Thin space"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version", .type = FIELD_INT, READ_ONLY, .doc = "Counts changes"},
};
const struct field_table pool_fields = FIELD_TABLE("Pool", struct pool_spec, answer_fields);
