/* SPDX-License-Identifier: Apache-2.0 */
/* What the pool monitor reads: pools with their hosts, layers with what they stand on. */
#include "storage/pool_monitor_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

SQL(pool_monitor_pools, SQL_SCAN, "SELECT id FROM pool WHERE state = 'ready'");
SQL(pool_monitor_layers, 0,
        "SELECT layer.id, layer.file, layer.drift, layer.format, layer.size_bytes, "
        "layer.allocation_bytes, below.pool_id, below.file, below.format, layer.pulling "
        "FROM layer LEFT JOIN layer AS below ON below.id = layer.backing_id "
        "WHERE layer.pool_id = ?1 AND coalesce(layer.host_id, '') = coalesce(?2, '') "
        "AND layer.state = 'ready'");

/* Only if it is still what was compared. */
SQL(layer_set_found, 0,
        "UPDATE layer SET drift = ?2, allocation_bytes = ?3 "
        "WHERE id = ?1 AND state = 'ready' AND size_bytes = ?4 AND (drift <> ?2 OR "
        "allocation_bytes <> ?3)");
/* The volumes that are written through it or stand on it. */
SQL(volume_above_layer, SQL_SCAN, /* of the chain just built */
        "WITH RECURSIVE above (id, volume_id) AS ("
        "SELECT id, volume_id FROM layer WHERE id = ?1 "
        "UNION SELECT layer.id, layer.volume_id FROM layer JOIN above ON layer.backing_id = "
        "above.id) "
        "SELECT DISTINCT volume.id, volume.name, volume.drift FROM above "
        "JOIN volume ON volume.id = above.volume_id");
SQL(volume_layers_drift, SQL_SCAN, /* of the chain just built */
        "WITH RECURSIVE below (id, backing_id, drift) AS ("
        "SELECT id, backing_id, drift FROM layer WHERE volume_id = ?1 "
        "UNION SELECT layer.id, layer.backing_id, layer.drift FROM layer JOIN below ON layer.id "
        "= below.backing_id) "
        "SELECT drift FROM below WHERE drift <> '' ORDER BY id LIMIT 1");
SQL(volume_set_drift, 0, "UPDATE volume SET drift = ?2 WHERE id = ?1");
SQL(volume_drifted, 0, "SELECT id, name, drift FROM volume WHERE pool_id = ?1 AND drift <> ''");

/* ---- pairs ---- */

void pool_pairs_done(struct pool_pairs *pairs)
{
	free(pairs->items);
	*pairs = (struct pool_pairs){0};
}

typedef VEC(struct pool_pair) pair_vector;

static int add_pairs(struct db *db, const char *pool_id, pair_vector *pairs, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	int rc = pool_store_get(db, pool_id, &row, e);
	if (rc == 0)
		rc = pool_access_fill(&access, &row, NULL, e);
	if (rc != 0 || !access.kind->libvirt_type)
		return rc;
	rc = pool_store_hosts(db, pool_id, &hosts, e);
	for (size_t i = 0; rc == 0 && i < hosts.len; i++) {
		struct pool_pair pair = {.is_shared = access.shared};
		if (!pool_spec_has_host(&access.spec, hosts.items[i].host_id))
			continue;
		uuid_text_copy(pair.pool_id, pool_id);
		uuid_text_copy(pair.host_id, hosts.items[i].host_id);
		VEC_PUSH(pairs, pair);
	}
	return rc;
}

int pool_monitor_store_pairs(struct db *db, struct pool_pairs *ret_pairs, struct err *e)
{
	pair_vector pairs = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &pool_monitor_pools, NULL, 0, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		if ((rc = add_pairs(db, statement_text(s, 0), &pairs, e)) < 0)
			break;
	if (rc < 0)
		VEC_DONE(&pairs);
	else
		*ret_pairs = (struct pool_pairs){.items = pairs.items, .len = pairs.len};
	return rc;
}

/* ---- layers ---- */

/* The last other pool that was asked for: nearly always there is none, or one with the images. */
struct other_pool {
	struct pool_access access;
	bool is_loaded;
};

static void other_pool_done(struct other_pool *other)
{
	if (other->is_loaded)
		pool_access_done(&other->access);
	other->is_loaded = false;
}

static int find_pool(struct db *db, const struct pool_access *own, const char *pool_id,
        struct other_pool *other, const struct pool_access **ret_access, struct err *e)
{
	*ret_access = own;
	if (str_equal(own->id, pool_id))
		return 0;
	*ret_access = &other->access;
	if (other->is_loaded && str_equal(other->access.id, pool_id))
		return 0;
	other_pool_done(other);
	int rc = pool_access_load(db, pool_id, &other->access, e);
	other->is_loaded = rc == 0;
	return rc;
}

static int read_backing(struct db *db, const struct pool_access *own, struct other_pool *other,
        struct statement *s, struct drift_layer *layer, struct err *e)
{
	const struct pool_access *access;
	struct domain_source source;
	layer->checks_backing = own->kind->source == DOMAIN_SOURCE_FILE && !statement_int(s, 9);
	if (statement_is_null(s, 6))
		return 0;
	int rc = find_pool(db, own, statement_text(s, 6), other, &access, e);
	if (rc < 0)
		return rc;
	pool_access_source(
	        access, statement_text(s, 7), statement_text(s, 8), &source, &layer->backing_path);
	if (access->kind->source == DOMAIN_SOURCE_NETWORK) /* headers name these by URLs */
		layer->checks_backing = false;
	return 0;
}

static void read_layer(struct statement *s, struct drift_layer *layer)
{
	uuid_text_copy(layer->id, statement_text(s, 0));
	layer->file = statement_text_copy(s, 1);
	layer->drift = statement_text_copy(s, 2);
	snprintf(layer->format, sizeof(layer->format), "%s", statement_text(s, 3));
	layer->size_bytes = statement_int(s, 4);
	layer->allocation_bytes = statement_int(s, 5);
}

int pool_monitor_store_layers(struct db *db, const struct pool_access *access, const char *host_id,
        struct drift_layers *ret_layers, struct err *e)
{
	VEC(struct drift_layer) layers = {0};
	struct other_pool other CLEANUP(other_pool_done) = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &pool_monitor_layers,
	        SQL_BINDS(SQL_TEXT(access->id), SQL_TEXT(host_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct drift_layer layer = {0};
		read_layer(s, &layer);
		rc = read_backing(db, access, &other, s, &layer, e);
		VEC_PUSH(&layers, layer);
		if (rc < 0)
			break;
	}
	struct drift_layers list = {.items = layers.items, .len = layers.len};
	if (rc < 0)
		drift_layers_done(&list);
	else
		*ret_layers = list;
	return rc;
}

/* ---- drift ---- */

int pool_monitor_store_put_layer(
        struct db *db, const struct drift_verdict *verdict, bool *ret_changed, struct err *e)
{
	int rc = db_run(db, &layer_set_found,
	        SQL_BINDS(SQL_TEXT(verdict->layer_id), SQL_TEXT(verdict->drift),
	                SQL_INT(verdict->allocation_bytes), SQL_INT(verdict->size_bytes)),
	        e);
	*ret_changed = rc == 0 && db_changes(db) > 0;
	return rc;
}

/* Read as a whole before `each` writes. */
struct found_volume {
	char *id, *name, *drift; /* owned */
};

static int each_volume(struct db *db, const struct sql_text *sql, const char *id,
        pool_volume_fn each, struct err *e)
{
	VEC(struct found_volume) found = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct found_volume volume = {statement_text_copy(s, 0), statement_text_copy(s, 1),
		        statement_text_copy(s, 2)};
		VEC_PUSH(&found, volume);
	}
	VEC_FOR_EACH (&found, volume) {
		if (rc == 0)
			rc = each(db, volume->id, volume->name, volume->drift, e);
		free(volume->id);
		free(volume->name);
		free(volume->drift);
	}
	VEC_DONE(&found);
	return rc;
}

int pool_monitor_store_above(
        struct db *db, const char *layer_id, pool_volume_fn each, struct err *e)
{
	return each_volume(db, &volume_above_layer, layer_id, each, e);
}

int pool_monitor_store_drifted(
        struct db *db, const char *pool_id, pool_volume_fn each, struct err *e)
{
	return each_volume(db, &volume_drifted, pool_id, each, e);
}

int pool_monitor_store_find_drift(
        struct db *db, const char *volume_id, char **ret_drift, struct err *e)
{
	int rc = db_find_text(
	        db, &volume_layers_drift, SQL_BINDS(SQL_TEXT(volume_id)), ret_drift, e);
	if (rc == 0)
		*ret_drift = xstrdup("");
	return rc < 0 ? rc : 0;
}

int pool_monitor_store_set_drift(
        struct db *db, const char *volume_id, const char *drift, struct err *e)
{
	return db_run(db, &volume_set_drift, SQL_BINDS(SQL_TEXT(volume_id), SQL_TEXT(drift)), e);
}
