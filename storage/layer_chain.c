/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: layers from a top one down, with all that QEMU must be told of them. Any thread with a connection. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "storage/layer_store.h"

void layer_chain_done(struct layer_chain *chain)
{
	for (size_t i = 0; i < chain->len; i++) {
		layer_row_done(&chain->layers[i]);
		free(chain->paths[i]);
		if (chain->pools[i])
			pool_access_done(chain->pools[i]);
		free(chain->pools[i]);
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
		chain.pools[i] = xcalloc(1, sizeof(*chain.pools[i]));
		rc = pool_access_load(db, chain.layers[i].pool_id, chain.pools[i], e);
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
