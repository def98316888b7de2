/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of hosts: registering, changing, removing, and when work may be sent there. Writer
 * thread. */
#include "compute/host.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/host_group_store.h"
#include "compute/host_live.h"
#include "compute/host_store.h"
#include "compute/host_view.h"
#include "db/change_feed.h"
#include "hypervisor/uri.h"

#define LOCAL_URI "qemu:///system"
/* Set once a local hypervisor was registered, so that one that was removed stays removed. */
#define LOCAL_KEY "local_host_registered"

static int add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	struct change change = {.kind = "host", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

static int add_connecting(struct db *db, const struct host_row *row, struct err *e)
{
	struct change change = {.kind = "host",
	        .event = "state",
	        .object_id = row->id,
	        .name = row->name,
	        .data = "{\"state\":\"connecting\",\"reason\":\"\"}"};
	return change_add(db, &change, e);
}

/* ---- what a specification must satisfy ---- */

static bool has_password(const char *uri)
{
	const char *authority = strstr(uri, "://");
	if (!authority)
		return false;
	authority += 3;
	size_t len = strcspn(authority, "/?#");
	const char *at = memrchr(authority, '@', len);
	return at && memchr(authority, ':', (size_t)(at - authority));
}

static int check_uri(const char *uri, bool allow_plain_tcp, bool *ret_is_local, struct err *e)
{
	/* First, so that no message of anyone repeats the password. */
	if (has_password(uri)) {
		err_set_at(e, ERR_INVALID, "/uri", "a password in the URI is not accepted");
		return err_hint(
		        e, "use SSH keys (qemu+ssh://) or client certificates (qemu+tls://)");
	}
	int rc = uri_check(uri, allow_plain_tcp, ret_is_local, e);
	if (rc < 0 && e)
		snprintf(e->pointer, sizeof(e->pointer), "/uri");
	return rc;
}

/*
 * Two entries for one hypervisor would count its memory twice and start a VM twice. libvirt's test
 * driver is exempt: it is for trying things, and has no guests that could suffer.
 */
static int check_uri_unused(struct db *db, const char *uri, const char *id, struct err *e)
{
	char *other CLEANUP(cleanup_free) = NULL;
	if (str_starts_with(uri, "test:"))
		return 0;
	int rc = host_store_find_uri(db, uri, id, &other, e);
	if (rc < 0 || !other)
		return rc;
	return err_set_at(e, ERR_EXISTS, "/uri", "host %s has this URI already", other);
}

static int find_group(struct db *db, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct host_group_row group CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, name, &group, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/group", "no host group named %s", name);
	if (rc == 0)
		memcpy(ret_id, group.id, UUID_TEXT_SIZE);
	return rc;
}

/* A checked specification in the form of the row. */
struct checked {
	char group_id[UUID_TEXT_SIZE];
	char *extra; /* owned */
	bool is_local;
	struct host_record record; /* borrows from the specification and from this */
};

static void checked_done(struct checked *checked)
{
	free(checked->extra);
}

static int check_spec(struct db *db, struct hosts *h, const struct host_spec *spec, const char *id,
        struct checked *ret_checked, struct err *e)
{
	int rc = check_uri(spec->uri, hosts_allow_plain_tcp(h), &ret_checked->is_local, e);
	if (rc < 0 || (rc = check_uri_unused(db, spec->uri, id, e)) < 0)
		return rc;
	rc = find_group(db, spec->group, ret_checked->group_id, e);
	if (rc < 0)
		return rc;
	struct json_writer w = {0};
	field_encode(&host_extra_fields, spec, FIELD_ENCODE_STORE, &w);
	ret_checked->extra = str_take(&w.out);
	ret_checked->record = (struct host_record){
	        .id = id,
	        .name = spec->name,
	        .uri = spec->uri,
	        .access = ret_checked->is_local ? "local" : "remote",
	        .group_id = ret_checked->group_id,
	        .accelerator = host_accelerator_names[spec->accelerator],
	        .spec = ret_checked->extra,
	};
	return 0;
}

static int name_taken(int rc, const char *name, struct err *e)
{
	if (rc != ERR_EXISTS)
		return rc;
	return err_set_at(e, ERR_EXISTS, "/name", "a host named %s exists", name);
}

/* Tells the live side, which reads the row as it is now. */
static int follow(
        struct db *db, struct hosts *h, enum host_follow what, const char *id, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, id, &row, e);
	if (rc == 0)
		hosts_follow(h, db, what, &row);
	return rc;
}

/* ---- mutations ---- */

int host_create(struct db *db, struct hosts *h, const struct host_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct checked checked CLEANUP(checked_done) = {0};
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	int rc = check_spec(db, h, spec, id, &checked, e);
	if (rc < 0)
		return rc;
	rc = host_store_insert(db, &checked.record, clock_wall_ms(), e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	if (str_equal(spec->uri, LOCAL_URI))
		rc = host_store_meta_set(db, LOCAL_KEY, "1", e);
	if (rc == 0)
		rc = add_change(db, "created", id, spec->name, e);
	if (rc == 0)
		rc = follow(db, h, HOST_ADDED, id, e);
	if (rc == 0)
		memcpy(ret_id, id, UUID_TEXT_SIZE);
	return rc;
}

static int add_vm_deleted(struct db *db, const char *id, const char *name, struct err *e)
{
	struct change change = {.kind = "vm", .event = "deleted", .object_id = id, .name = name};
	return change_add(db, &change, e);
}

static int check_unused(struct db *db, const struct host_row *row, const char *verb, struct err *e)
{
	struct host_usage usage CLEANUP(host_usage_done) = {0};
	int rc = host_store_get_usage(db, row->id, &usage, e);
	if (rc < 0 || usage.vms + usage.volumes + usage.operations == 0)
		return rc;
	err_set(e, ERR_IN_USE,
	        "host %s cannot be %s: %lld managed VMs, %lld volumes and %lld unfinished "
	        "operations are there: %s",
	        row->name, verb, (long long)usage.vms, (long long)usage.volumes,
	        (long long)usage.operations, str_text(&usage.names));
	err_numbers(e, "{\"vms\":%lld,\"volumes\":%lld,\"operations\":%lld}", (long long)usage.vms,
	        (long long)usage.volumes, (long long)usage.operations);
	return err_hint(e, "delete or move them first");
}

/* Another hypervisor from now on: what was learnt of the old one is void. */
static int leave_old_uri(struct db *db, const struct host_row *row, struct err *e)
{
	int rc = check_unused(db, row, "pointed at another URI", e);
	if (rc == 0)
		rc = host_store_delete_foreign(db, row->id, add_vm_deleted, e);
	if (rc == 0)
		rc = host_store_forget_facts(db, row->id, clock_wall_ms(), e);
	if (rc == 0)
		rc = add_connecting(db, row, e);
	return rc;
}

int host_replace(struct db *db, struct hosts *h, const struct host_row *row,
        const struct host_spec *spec, struct err *e)
{
	struct checked checked CLEANUP(checked_done) = {0};
	int rc = check_spec(db, h, spec, row->id, &checked, e);
	if (rc == 0 && !str_equal(spec->uri, row->uri))
		rc = leave_old_uri(db, row, e);
	if (rc < 0)
		return rc;
	rc = host_store_update(db, &checked.record, e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	rc = add_change(db, "updated", row->id, spec->name, e);
	return rc < 0 ? rc : follow(db, h, HOST_CHANGED, row->id, e);
}

int host_update(struct db *db, struct hosts *h, const struct host_row *row, json_t *patch,
        struct field_errors *errors, struct err *e)
{
	struct host_spec spec CLEANUP(host_spec_done) = {0};
	json_t *base = host_patch_base(row);
	json_t *merged = field_merge_patch(base, patch);
	int rc = field_decode(&host_spec_fields, merged, FIELD_DECODE_CREATE, &spec, errors);
	json_decref(base);
	json_decref(merged);
	if (rc < 0)
		return err_set(e, rc, "the patch does not lead to a valid host");
	return host_replace(db, h, row, &spec, e);
}

int host_delete(struct db *db, struct hosts *h, const struct host_row *row, struct err *e)
{
	int rc = check_unused(db, row, "removed", e);
	if (rc == 0)
		rc = host_store_delete_foreign(db, row->id, add_vm_deleted, e);
	if (rc == 0)
		rc = host_store_forget_copies(db, row->id, e);
	if (rc == 0)
		rc = host_store_delete(db, row->id, e);
	if (rc == 0)
		rc = add_change(db, "deleted", row->id, row->name, e);
	if (rc == 0)
		hosts_follow(h, db, HOST_REMOVED, row);
	return rc;
}

/* ---- the local host ---- */

/* This machine's name as far as our rule for names takes it. */
static void local_name(char ret_name[64])
{
	char machine[HOST_NAME_MAX + 1] = "";
	if (gethostname(machine, sizeof(machine) - 1) != 0)
		machine[0] = '\0';
	size_t len = 0;
	if (!isalpha((unsigned char)machine[0]))
		len = (size_t)snprintf(ret_name, 64, "host-");
	for (const char *c = machine; *c && *c != '.' && len < 63; c++)
		ret_name[len++] =
		        isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '-';
	while (len > 0 && ret_name[len - 1] == '-')
		len--;
	ret_name[len] = '\0';
	if (field_check_name(ret_name))
		snprintf(ret_name, 64, "local");
}

int hosts_register_local(struct db *db, struct hosts *h, struct err *e)
{
	bool was_registered = false;
	char *other CLEANUP(cleanup_free) = NULL;
	int rc = host_store_meta_get(db, LOCAL_KEY, &was_registered, e);
	if (rc < 0 || was_registered)
		return rc;
	if ((rc = host_store_find_uri(db, LOCAL_URI, "", &other, e)) < 0 || other)
		return rc;
	char name[64], group[] = "default", uri[] = LOCAL_URI, id[UUID_TEXT_SIZE];
	local_name(name);
	struct host_spec spec = {.name = name, .uri = uri, .group = group};
	rc = host_create(db, h, &spec, id, e);
	if (rc == ERR_EXISTS) { /* another machine was registered under that name */
		uuid_make(id);
		snprintf(name, sizeof(name), "local-%s", id + UUID_TEXT_SIZE - 1 - 8);
		rc = host_create(db, h, &spec, id, e);
	}
	if (rc == 0)
		log_info("registered the local host as %s", name);
	return rc;
}

/* ---- is it there? ---- */

int host_check_available(const struct host_row *row, struct err *e)
{
	if (str_equal(row->state, host_state_name(HOST_OK)))
		return 0;
	char since[CLOCK_TEXT_SIZE];
	clock_format(row->state_since, since);
	bool is_slow = str_equal(row->state, host_state_name(HOST_SLOW));
	err_set(e, is_slow ? ERR_HOST_SLOW : ERR_HOST_DOWN, "host %s is %s since %s%s%s", row->name,
	        row->state, since, row->state_reason[0] ? ": " : "", row->state_reason);
	return err_hint(e, "try again later, or wait for it with ?wait=SECONDS");
}
