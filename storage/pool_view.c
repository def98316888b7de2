/* SPDX-License-Identifier: Apache-2.0 */
/* Pools as they are answered: what was configured, how each host sees it, how full it is. */
#include "storage/pool_view.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"

struct seen {
	const char *state, *reason;
	int64_t since;
};

/* A host that does not answer tells nothing, whatever its last look said. */
static struct seen see(
        const struct pool_access *access, const struct pool_host *host, struct str *reason)
{
	if (!str_equal(host->host_state, "ok")) {
		str_printf(reason, "the host is %s%s%s", host->host_state,
		        str_is_empty(host->host_reason) ? "" : ": ", host->host_reason);
		return (struct seen){"unknown", str_text(reason), host->host_since};
	}
	if (!access->kind->libvirt_type)
		return (struct seen){
		        "unknown", "QEMU reaches it by itself: it is seen when a disk is used", 0};
	if (!host->is_seen)
		return (struct seen){"unknown", "it was not looked at yet", 0};
	return (struct seen){host->state, host->reason, host->since};
}

static void encode_host(
        const struct pool_access *access, const struct pool_host *host, struct json_writer *w)
{
	struct str reason CLEANUP(str_done) = {0};
	struct seen seen = see(access, host, &reason);
	json_object_begin(w);
	json_member_string(w, "host", host->host);
	json_member_string(w, "state", seen.state);
	json_member_string(w, "reason", seen.reason);
	json_member_time(w, "since", seen.since);
	json_member_int(w, "capacity_bytes", host->capacity_bytes);
	json_member_int(w, "allocation_bytes", host->allocation_bytes);
	json_member_int(w, "available_bytes", host->available_bytes);
	json_member_time(w, "checked_at", host->checked_at);
	json_object_end(w);
}

/* A shared pool has one capacity, seen by several; local ones add up. */
static int64_t add_capacity(const struct pool_access *access, int64_t sum, int64_t capacity)
{
	if (!access->shared)
		return sum + capacity;
	return capacity > sum ? capacity : sum;
}

static int64_t encode_hosts(
        const struct pool_access *access, const struct pool_host_list *hosts, struct json_writer *w)
{
	int64_t capacity = 0;
	json_key(w, "hosts");
	json_array_begin(w);
	for (size_t i = 0; i < hosts->len; i++) {
		const struct pool_host *host = &hosts->items[i];
		if (!pool_spec_has_host(&access->spec, host->host_id))
			continue;
		encode_host(access, host, w);
		capacity = add_capacity(access, capacity, host->capacity_bytes);
	}
	json_array_end(w);
	return capacity;
}

static void encode_overcommit(const struct pool_access *access, int64_t provisioned,
        int64_t capacity, struct json_writer *w)
{
	json_member_int(w, "provisioned_bytes", provisioned);
	json_key(w, "overcommit");
	json_object_begin(w);
	json_key(w, "ratio_limit");
	json_put_real(w, access->spec.overcommit_ratio);
	json_key(w, "now");
	if (capacity > 0)
		json_put_real(w, (double)provisioned / (double)capacity);
	else
		json_put_null(w);
	json_object_end(w);
}

static void encode(const struct pool_row *row, struct pool_access *access,
        const struct pool_host_list *hosts, int64_t provisioned, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	access->spec.shared = row->shared;
	access->spec.has_shared = true;
	pool_spec_encode(&access->spec, w);
	json_member_bool(w, "all_hosts", access->spec.hosts.len == 0);
	json_member_string(w, "state", row->state);
	int64_t capacity = encode_hosts(access, hosts, w);
	json_member_int(w, "volumes", row->volumes);
	encode_overcommit(access, provisioned, capacity, w);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}

int pool_encode(struct db *db, const struct pool_row *row, struct json_writer *w, struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	int64_t provisioned = 0;
	int rc = pool_access_fill(&access, row, NULL, e);
	if (rc == 0)
		rc = pool_store_hosts(db, row->id, &hosts, e);
	if (rc == 0)
		rc = pool_store_provisioned(db, row->id, NULL, &provisioned, e);
	if (rc == 0)
		encode(row, &access, &hosts, provisioned, w);
	return rc;
}
