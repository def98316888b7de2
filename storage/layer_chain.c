/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: layers from a top one down, with all that QEMU must be told of them. Any thread with a connection. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "storage/layer_store.h"

static atomic_int_least64_t max_chain_depth = 16;

void layer_set_max_chain_depth(int64_t layers)
{
	atomic_store(&max_chain_depth, layers < LAYER_CHAIN_MAX ? layers : LAYER_CHAIN_MAX);
}

int64_t layer_max_chain_depth(void)
{
	return atomic_load(&max_chain_depth);
}

static void free_pool(struct pool_access *pool)
{
	if (pool)
		pool_access_done(pool);
	free(pool);
}

void layer_chain_done(struct layer_chain *chain)
{
	for (size_t i = 0; i < chain->len; i++) {
		layer_row_done(&chain->layers[i]);
		free(chain->paths[i]);
		if (layer_chain_enters_pool(chain, i))
			free_pool(chain->pools[i]);
	}
	free(chain->layers);
	free(chain->paths);
	free(chain->pools);
	free(chain->sources);
	*chain = (struct layer_chain){0};
}

/* The rows of the chain, top first. On an error the caller releases what there is. */
static int load_rows(struct db *db, const char *top_id, struct layer_chain *chain, struct err *e)
{
	VEC(struct layer_row) rows = {0};
	char next[UUID_TEXT_SIZE];
	uuid_text_copy(next, top_id);
	int rc = 0;
	while (rc == 0 && next[0] && rows.len < LAYER_CHAIN_MAX) {
		struct layer_row row = {0};
		rc = layer_store_get(db, next, &row, e);
		if (rc < 0)
			break;
		VEC_PUSH(&rows, row);
		uuid_text_copy(next, row.backing_id);
	}
	chain->layers = rows.items;
	chain->len = rows.len;
	if (rc == 0 && next[0])
		rc = err_set(e, ERR_INTERNAL, "the chain of layer %s has more than %d layers",
		        top_id, LAYER_CHAIN_MAX);
	return rc;
}

static int load_pool(struct db *db, struct layer_chain *chain, size_t i, struct err *e)
{
	const char *id = chain->layers[i].pool_id;
	if (i > 0 && str_equal(id, chain->layers[i - 1].pool_id)) {
		chain->pools[i] = chain->pools[i - 1];
		return 0;
	}
	chain->pools[i] = xcalloc(1, sizeof(*chain->pools[i]));
	return pool_access_load(db, id, chain->pools[i], e);
}

int layer_chain_load(
        struct db *db, const char *top_id, struct layer_chain *ret_chain, struct err *e)
{
	struct layer_chain chain = {0};
	int rc = load_rows(db, top_id, &chain, e);
	chain.paths = xcalloc(chain.len + 1, sizeof(chain.paths[0]));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	chain.pools = xcalloc(chain.len + 1, sizeof(chain.pools[0]));
	chain.sources = xcalloc(chain.len + 1, sizeof(chain.sources[0]));
	for (size_t i = 0; i < chain.len && rc == 0; i++) {
		rc = load_pool(db, &chain, i, e);
		if (rc == 0)
			pool_access_source(chain.pools[i], chain.layers[i].file,
			        chain.layers[i].format, &chain.sources[i], &chain.paths[i]);
	}
	if (rc < 0)
		layer_chain_done(&chain);
	else
		*ret_chain = chain;
	return rc;
}
