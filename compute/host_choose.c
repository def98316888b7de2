/* SPDX-License-Identifier: Apache-2.0 */
/* Which host takes a VM that names none: ok, large enough, the fewest configured bytes; ties by
 * name. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "compute/host_group.h"
#include "compute/host_group_store.h"
#include "compute/host_store.h"

/* Refusals named in the message; the others are only counted. */
#define REASONS_SHOWN 3

int host_store_get_admission(
        struct db *db, const struct host_row *row, struct admission_host *ret_host, struct err *e)
{
	struct host_group_row group CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, row->group_id, &group, e);
	if (rc < 0)
		return rc;
	*ret_host = (struct admission_host){
	        .name = row->name,
	        .cpu_threads = row->cpu_threads,
	        .memory_bytes = row->memory_bytes,
	        .reserved_bytes = group.spec.host_reserve.memory_bytes,
	};
	return 0;
}

struct choice {
	struct db *db;
	int64_t vcpus, memory_bytes;
	VEC(char *) fitting; /* ids in order of names; owned */
	struct str reasons;
	char only[UUID_TEXT_SIZE]; /* the first host's id */
	struct err only_why;       /* what it cannot do; code 0: it could */
	int hosts, refused, unavailable;
	int rc;
	struct err *e;
};

static void choice_done(struct choice *c)
{
	VEC_FOR_EACH (&c->fitting, id) {
		free(*id);
	}
	VEC_DONE(&c->fitting);
	str_done(&c->reasons);
}

static void refuse(struct choice *c, const struct err *why)
{
	if (c->refused++ < REASONS_SHOWN)
		str_printf(&c->reasons, "%s%s", c->reasons.len ? "; " : "", why->message);
	else if (c->refused == REASONS_SHOWN + 1)
		str_add(&c->reasons, "; ...");
}

/* Whether the host could take it, were it there; then whether it is. */
static int judge(struct choice *c, const struct host_row *row, struct err *why)
{
	struct admission_host host = {0};
	c->rc = host_store_get_admission(c->db, row, &host, c->e);
	if (c->rc < 0)
		return c->rc;
	int rc = admission_check(&host, c->vcpus, c->memory_bytes, why);
	if (c->hosts++ == 0) {
		memcpy(c->only, row->id, sizeof(c->only));
		c->only_why = *why;
	}
	if (rc == 0 && (rc = host_check_available(row, why)) < 0)
		c->unavailable++;
	return rc;
}

static void consider(void *arg, const struct host_row *row)
{
	struct choice *c = arg;
	struct err why = {0};
	if (c->rc < 0)
		return;
	if (judge(c, row, &why) == 0)
		VEC_PUSH(&c->fitting, xstrdup(row->id));
	else if (c->rc == 0)
		refuse(c, &why);
}

static int refuse_all(const struct choice *c, struct err *e)
{
	if (c->hosts == 0) {
		err_set(e, ERR_NO_CAPACITY, "no host is registered");
		return err_hint(e, "register one with POST /api/v1/hosts");
	}
	if (c->unavailable == c->refused) {
		err_set(e, ERR_HOST_DOWN, "none of %d hosts answers: %s", c->refused,
		        str_text(&c->reasons));
		return err_hint(
		        e, "try again later, or name a host and wait for it with ?wait=SECONDS");
	}
	err_set(e, ERR_NO_CAPACITY, "none of %d hosts can take it: %s", c->refused,
	        str_text(&c->reasons));
	return err_numbers(e, "{\"hosts\":%d,\"asked_vcpus\":%lld,\"asked_bytes\":%lld}",
	        c->refused, (long long)c->vcpus, (long long)c->memory_bytes);
}

static int find_emptiest(struct choice *c, const char **ret_id, struct err *e)
{
	int64_t least = INT64_MAX;
	*ret_id = c->fitting.items[0];
	if (c->fitting.len == 1)
		return 0;
	VEC_FOR_EACH (&c->fitting, id) {
		struct host_allocation allocation = {0};
		int rc = host_store_get_allocation(c->db, *id, &allocation, e);
		if (rc < 0)
			return rc;
		if (allocation.memory_bytes < least) {
			least = allocation.memory_bytes;
			*ret_id = *id;
		}
	}
	return 0;
}

int host_store_choose(
        struct db *db, int64_t vcpus, int64_t memory_bytes, struct host_row *ret_row, struct err *e)
{
	struct choice c CLEANUP(choice_done) = {
	        .db = db, .vcpus = vcpus, .memory_bytes = memory_bytes, .e = e};
	int rc = host_store_each(db, consider, &c, e);
	if (rc < 0 || c.rc < 0)
		return rc < 0 ? rc : c.rc;
	if (c.hosts == 1) {
		if (e && c.only_why.code)
			*e = c.only_why;
		return c.only_why.code ? c.only_why.code : host_store_get(db, c.only, ret_row, e);
	}
	if (c.fitting.len == 0)
		return refuse_all(&c, e);
	const char *id = NULL;
	rc = find_emptiest(&c, &id, e);
	return rc < 0 ? rc : host_store_get(db, id, ret_row, e);
}
