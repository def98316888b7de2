/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers: the files of backing chains. A volume is written through its top layer (volume.layer_id); a layer below others
 * is never written again, except by a merge. Snapshots and images hold layers; linked clones stand on them.
 *
 *	image's copy <-- layer A <-- layer B (held by snapshot S) <-- layer C (the volume writes here)
 *	                     ^------ layer D (a branch, held by snapshot T)
 *
 * The row is there before the file and leaves after it. Format, size and the layer below are recorded and given to
 * QEMU as recorded; nothing is read from a header. A row's `file` is named after the layer that was there first: a merge
 * (commit) lets the upper layer take over the lower one's file.
 */
#pragma once

#include "storage/pool.h"

struct layer_row {
	char id[UUID_TEXT_SIZE];
	char pool_id[UUID_TEXT_SIZE];
	char host_id[UUID_TEXT_SIZE];    /* "": shared pool */
	char backing_id[UUID_TEXT_SIZE]; /* "": the lowest */
	char volume_id[UUID_TEXT_SIZE];  /* "": an image's copy */
	char image_id[UUID_TEXT_SIZE];   /* "": a volume's */
	char *file, *drift;              /* owned */
	char format[8];
	char state[12];
	int64_t size_bytes, allocation_bytes, created_at;
	bool is_pulling; /* its header may name a lower layer than backing_id, or none: layer_mark_pulling */
};
void layer_row_done(struct layer_row *row);

/* ---- rules: writer thread ---- */
struct layer_request {
	const char *id;                /* NULL: a new one */
	const char *pool_id, *host_id; /* host_id NULL: shared */
	const char *format;
	int64_t size_bytes;
	const char *backing_id, *volume_id, *image_id; /* NULL: none */
	const char *file; /* NULL: "ID.FORMAT"; an adopted volume has the name it has */
};
/* Inserts a row in state "creating". */
int layer_reserve(struct db *db, const struct layer_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e);
int layer_mark_ready(struct db *db, const char *id, struct err *e);
int layer_mark_deleting(struct db *db, const char *id, struct err *e);
int layer_forget(
        struct db *db, const char *id, struct err *e); /* the file is gone; missing row: success */
/*
 * After `upper` was committed into `lower`, the layer below it: upper takes over lower's file with its pool, format and backing;
 * lower's row gets upper's old file and state "deleting", and nothing stands on it. The caller deletes that file, then forgets it.
 * Called again: nothing changes.
 */
int layer_merge_down(struct db *db, const char *upper_id, const char *lower_id, struct err *e);
/*
 * Before all that lies between `id` and a layer further down is pulled into it. QEMU writes the outcome into the header of its file
 * before what was pulled is durable, so from then on the header is not believed, and what is recorded below is read all the same;
 * until layer_set_backing, or `is_pulling` false: the header still says what is recorded.
 */
int layer_mark_pulling(struct db *db, const char *id, bool is_pulling, struct err *e);
/* After everything between `id` and `base_id` (NULL: everything below) was pulled into it. */
int layer_set_backing(struct db *db, const char *id, const char *base_id, struct err *e);
int layer_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e);

/* ---- queries: any connection ---- */
int layer_store_get(struct db *db, const char *id, struct layer_row *ret_row, struct err *e);
struct layer_list {
	struct layer_row *items; /* owned */
	size_t len;
};
void layer_list_done(struct layer_list *list);
/* All layers of a volume, in no order. */
int layer_store_of_volume(
        struct db *db, const char *volume_id, struct layer_list *ret_list, struct err *e);
/* Those that stand directly on it. */
int layer_store_children(struct db *db, const char *id, struct layer_list *ret_list, struct err *e);
/* Calls `each` for the VMs whose volumes have layers that are being deleted. */
int layer_store_each_leftover(struct db *db,
        int (*each)(struct db *db, void *arg, const char *vm_id, struct err *e), void *arg,
        struct err *e);
/* The copies of an image. */
int layer_store_of_image(
        struct db *db, const char *image_id, struct layer_list *ret_list, struct err *e);

/* ---- chains ---- */

/* A chain as it is given to QEMU: top first. Owns all it points at; may travel between threads. */
struct layer_chain {
	struct layer_row *layers;
	struct pool_access **pools; /* of layers[i]; the same pointer for neighbours in one pool */
	struct domain_source *sources;
	char **paths; /* owned texts behind sources[i].path */
	size_t len;
};
/* Whether layers[i] lies in another pool than the layer above it: what is done once per pool is done for it. */
static inline bool layer_chain_enters_pool(const struct layer_chain *chain, size_t i)
{
	return i == 0 || chain->pools[i] != chain->pools[i - 1];
}
/* Any connection. ERR_INTERNAL for a loop. */
int layer_chain_load(
        struct db *db, const char *top_id, struct layer_chain *ret_chain, struct err *e);
void layer_chain_done(struct layer_chain *chain);
/*
 * Lane thread: pools are ensured and each file is there, with the size, backing file and (qcow2) format recorded.
 * ERR_UNPROCESSABLE names the first difference ("drift"): nothing is guessed around.
 */
int layer_chain_check(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Lane thread: makes layers[0]'s file, empty, standing on layers[1] if there is one. Existing: success. */
int layer_chain_create_top(const struct layer_chain *chain, bool preallocate,
        const struct driver *driver, struct driver_connection *c, struct err *e);
/*
 * Lane thread: whether layers[0] stands on nothing, whatever is recorded: the header of a qcow2 file is QEMU's, and it writes
 * there that nothing is below only when a pull is complete. On a network source it says so from the beginning, so there the
 * answer is no: a pull is repeated.
 */
int layer_chain_is_flat(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, bool *ret_flat, struct err *e);
/* Lane thread: removes layers[0]'s file. Missing: success. ERR_IN_USE names the domain, whosever it is, that runs with it
 * or was suspended with it. */
int layer_chain_delete_top(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* The same for a file of ours by its name in its pool. The one place where layers' and images' files are deleted. */
int layer_file_delete(const struct pool_access *pool, const char *file, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Lane thread: removes the files of all layers of a volume, whatever shape they form. `db`: the thread's reader. */
int layer_delete_all_of_volume(struct db *db, const char *volume_id, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* The same of all but one (NULL: of all). */
int layer_delete_others_of_volume(struct db *db, const char *volume_id, const char *but,
        const struct driver *driver, struct driver_connection *c, struct err *e);
/* The longest chain that can be read, image included. */
#define LAYER_CHAIN_MAX 64
/* The longest that may be made: option storage.max_chain_depth, at most LAYER_CHAIN_MAX. Any thread, at any time. */
void layer_set_max_chain_depth(int64_t layers);
int64_t layer_max_chain_depth(void);
