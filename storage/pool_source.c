/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two pools lead to the same storage, so that what lies there is not given out twice. */
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"

static bool have_one_in_common(const struct field_strings *a, const struct field_strings *b)
{
	for (size_t i = 0; i < a->len; i++)
		for (size_t j = 0; j < b->len; j++)
			if (str_equal(a->items[i], b->items[j]))
				return true;
	return false;
}

/* Paths and names are relative to a server; an iSCSI target's name is its own in the whole world (RFC 7143, 4.2.7). */
bool pool_source_is_same(const struct pool_spec *a, const struct pool_spec *b)
{
	unsigned both = pool_kind_of(a)->required & pool_kind_of(b)->required;
	if (both & POOL_HAS_DEVICE)
		return strcasecmp(a->source.device, b->source.device) == 0;
	return pool_kind_of(a) == pool_kind_of(b) && str_equal(a->source.name, b->source.name) &&
	       str_equal(a->source.dir, b->source.dir) &&
	       have_one_in_common(&a->source.hosts, &b->source.hosts);
}

struct search {
	struct db *db;
	const struct pool_access *access;
	const char *file;
};

static int check_other(void *arg, const char *pool_id, const char *volume, struct err *e)
{
	const struct search *search = arg;
	struct pool_access other CLEANUP(pool_access_done) = {0};
	int rc = pool_access_load(search->db, pool_id, &other, e);
	if (rc < 0 || !pool_source_is_same(&search->access->spec, &other.spec))
		return rc;
	err_set_at(e, ERR_IN_USE, "/existing_file",
	        "%s is volume %s of pool %s, which leads to the same storage as pool %s",
	        search->file, volume, other.name, search->access->name);
	return err_hint(e, "use that volume, or delete it there first: its data stays");
}

int pool_check_file_is_free(
        struct db *db, const struct pool_access *access, const char *file, struct err *e)
{
	struct search search = {.db = db, .access = access, .file = file};
	return pool_store_file_elsewhere(db, access->id, file, check_other, &search, e);
}
