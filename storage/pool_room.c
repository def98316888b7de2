/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a pool can be worked with, through which host, and whether it has room. Any connection. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "storage/pool_store.h"

/* ---- through which host ---- */

static int get_ready(
        struct db *db, const char *pool_id, struct pool_access *ret_access, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, pool_id, &row, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_REFERENCE, "no pool with id %s", pool_id);
	if (rc == 0 && !str_equal(row.state, "ready"))
		return err_set(e, ERR_WRONG_STATE, "pool %s is %s", row.name, row.state);
	return rc < 0 ? rc : pool_access_fill(ret_access, &row, NULL, e);
}

/* As its last look found it; one that was not looked at yet may be worked with. */
static bool is_usable(const struct pool_host *host)
{
	return !host->is_seen || str_equal(host->state, "ok");
}

static int not_usable(const char *pool, const struct pool_host *host, struct err *e)
{
	char since[CLOCK_TEXT_SIZE];
	clock_format(host->since, since);
	if (str_equal(host->state, "unknown"))
		err_set(e, ERR_UNAVAILABLE, "pool %s on host %s has not answered since %s: %s",
		        pool, host->host, since, host->reason);
	else
		err_set(e, ERR_UNAVAILABLE, "pool %s on host %s does not work since %s: %s", pool,
		        host->host, since, host->reason);
	return err_hint(e, "it is looked at again and again; other pools are not affected");
}

int pool_check_host(struct db *db, const char *pool_id, const char *host_id, struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct pool_host host CLEANUP(pool_host_done) = {0};
	int rc = get_ready(db, pool_id, &access, e);
	if (rc == 0)
		rc = pool_store_host(db, pool_id, host_id, &host, e);
	if (rc < 0)
		return rc;
	if (!pool_spec_has_host(&access.spec, host_id))
		return err_set(
		        e, ERR_REFERENCE, "host %s does not reach pool %s", host.host, access.name);
	return is_usable(&host) ? 0 : not_usable(access.name, &host, e);
}

/* 2: was seen to work, 1: may work, 0: not now. */
static int rank(const struct pool_host *host)
{
	if (!str_equal(host->host_state, "ok") || !is_usable(host))
		return 0;
	return host->is_seen ? 2 : 1;
}

static void add_reason(struct str *why, const struct pool_host *host)
{
	bool is_down = !str_equal(host->host_state, "ok");
	str_printf(why, "%shost %s: %s", why->len ? "; " : "", host->host,
	        is_down ? host->host_state : host->reason);
}

int pool_choose_host(
        struct db *db, const char *pool_id, char ret_host_id[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	struct str why CLEANUP(str_done) = {0};
	int rc = get_ready(db, pool_id, &access, e);
	if (rc == 0)
		rc = pool_store_hosts(db, pool_id, &hosts, e);
	if (rc < 0)
		return rc;
	const struct pool_host *best = NULL;
	for (size_t i = 0; i < hosts.len; i++) {
		const struct pool_host *host = &hosts.items[i];
		if (!pool_spec_has_host(&access.spec, host->host_id))
			continue;
		if (rank(host) > (best ? rank(best) : 0))
			best = host;
		if (rank(host) == 0 && why.len < 200)
			add_reason(&why, host);
	}
	if (!best)
		return err_set(e, ERR_UNAVAILABLE, "no host reaches pool %s now%s%s", access.name,
		        why.len ? ": " : "", str_text(&why));
	uuid_text_copy(ret_host_id, best->host_id);
	return 0;
}

/* ---- room ---- */

static int check_quota(
        const struct pool_access *access, int64_t provisioned, int64_t size, struct err *e)
{
	int64_t quota = access->spec.quota_bytes;
	if (quota == 0 || size <= quota - provisioned)
		return 0;
	err_set(e, ERR_DISK_FULL,
	        "pool %s has a quota of %lld bytes, of which %lld are given out: %lld more do not "
	        "fit",
	        access->name, (long long)quota, (long long)provisioned, (long long)size);
	err_numbers(e, "{\"asked_bytes\":%lld,\"provisioned_bytes\":%lld,\"quota_bytes\":%lld}",
	        (long long)size, (long long)provisioned, (long long)quota);
	return err_hint(e, "delete volumes, or raise the pool's quota_bytes");
}

static int check_thin(const struct pool_access *access, const struct pool_host *host,
        int64_t provisioned, int64_t size, struct err *e)
{
	double ratio = access->spec.overcommit_ratio;
	double limit = (double)host->capacity_bytes * ratio;
	if (ratio <= 0 || (double)provisioned + (double)size <= limit)
		return 0;
	err_set(e, ERR_DISK_FULL,
	        "pool %s on host %s may give out %.0f bytes (%lld of capacity times %g), %lld are "
	        "given out: %lld more do not fit",
	        access->name, host->host, limit, (long long)host->capacity_bytes, ratio,
	        (long long)provisioned, (long long)size);
	err_numbers(e,
	        "{\"asked_bytes\":%lld,\"provisioned_bytes\":%lld,\"capacity_bytes\":%lld,"
	        "\"overcommit_ratio\":%g}",
	        (long long)size, (long long)provisioned, (long long)host->capacity_bytes, ratio);
	return err_hint(e, "delete volumes, add space, or raise the pool's overcommit_ratio");
}

static int check_full(
        const struct pool_access *access, const struct pool_host *host, int64_t size, struct err *e)
{
	if (size <= host->available_bytes)
		return 0;
	err_set(e, ERR_DISK_FULL, "pool %s on host %s has %lld bytes left: %lld do not fit",
	        access->name, host->host, (long long)host->available_bytes, (long long)size);
	err_numbers(e, "{\"asked_bytes\":%lld,\"available_bytes\":%lld,\"capacity_bytes\":%lld}",
	        (long long)size, (long long)host->available_bytes, (long long)host->capacity_bytes);
	return err_hint(e, "delete volumes or add space");
}

/* The host whose numbers count: a shared pool's are the same on each that sees it. */
static int find_numbers(struct db *db, const struct pool_access *access, const char *host_id,
        struct pool_host *ret_host, struct err *e)
{
	char chosen[UUID_TEXT_SIZE];
	if (!host_id && pool_choose_host(db, access->id, chosen, NULL) == 0)
		host_id = chosen;
	return host_id ? pool_store_host(db, access->id, host_id, ret_host, e) : 0;
}

/* Also to resizes that are under way. */
static int count_given_out(
        struct db *db, const char *pool_id, const char *host_id, int64_t *ret_bytes, struct err *e)
{
	int64_t provisioned = 0, growing = 0;
	int rc = pool_store_provisioned(db, pool_id, host_id, &provisioned, e);
	if (rc == 0)
		rc = pool_store_growing(db, pool_id, host_id, &growing, e);
	*ret_bytes = provisioned + growing;
	return rc;
}

int pool_check_room(struct db *db, const struct pool_access *access, const char *host_id,
        int64_t size_bytes, bool full, struct err *e)
{
	struct pool_host host CLEANUP(pool_host_done) = {0};
	int64_t everywhere = 0, here = 0;
	int rc = count_given_out(db, access->id, NULL, &everywhere, e);
	if (rc == 0)
		rc = check_quota(access, everywhere, size_bytes, e);
	if (rc == 0)
		rc = find_numbers(db, access, host_id, &host, e);
	if (rc < 0 || host.capacity_bytes <= 0) /* not known: the storage itself will tell */
		return rc;
	if (full || !(access->kind->flags & POOL_THIN))
		rc = check_full(access, &host, size_bytes, e);
	if (rc == 0)
		rc = count_given_out(db, access->id, access->shared ? NULL : host_id, &here, e);
	return rc < 0 ? rc : check_thin(access, &host, here, size_bytes, e);
}
