/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing a pool's files with the layers recorded in it. */
#include "storage/pool_drift.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"

void drift_layers_done(struct drift_layers *layers)
{
	for (size_t i = 0; i < layers->len; i++) {
		free(layers->items[i].file);
		free(layers->items[i].drift);
		free(layers->items[i].backing_path);
	}
	free(layers->items);
	*layers = (struct drift_layers){0};
}

void drift_verdicts_done(struct drift_verdicts *verdicts)
{
	for (size_t i = 0; i < verdicts->len; i++)
		free(verdicts->items[i].drift);
	free(verdicts->items);
	*verdicts = (struct drift_verdicts){0};
}

static char *compare_raw(const struct drift_layer *layer, const struct pool_kind *kind,
        const struct volume_info *found)
{
	int64_t recorded = layer->size_bytes, size = found->capacity_bytes;
	if (found->format[0] && !str_equal(found->format, "raw"))
		return xstrdup(""); /* the size in a guest's header means nothing */
	if (pool_kind_is_size(kind, recorded, size))
		return xstrdup("");
	return str_format("file %s has %lld bytes, not %lld", layer->file, (long long)size,
	        (long long)recorded);
}

static const char *or_nothing(const char *path)
{
	return path ? path : "nothing";
}

static char *compare_qcow2(const struct drift_layer *layer, const struct volume_info *found)
{
	if (!str_equal(found->format, "qcow2"))
		return str_format("file %s is %s, not qcow2", layer->file,
		        found->format[0] ? found->format : "unreadable");
	if (found->capacity_bytes != layer->size_bytes)
		return str_format("file %s holds a disk of %lld bytes, not %lld", layer->file,
		        (long long)found->capacity_bytes, (long long)layer->size_bytes);
	if (layer->checks_backing && !str_equal(found->backing_path, layer->backing_path))
		return str_format("file %s stands on %s, not on %s", layer->file,
		        or_nothing(found->backing_path), or_nothing(layer->backing_path));
	return xstrdup("");
}

char *pool_drift_compare(const struct drift_layer *layer, const struct pool_kind *kind,
        const struct volume_info *found)
{
	if (!found)
		return str_format("file %s is not there", layer->file);
	if (str_equal(layer->format, "raw"))
		return compare_raw(layer, kind, found);
	return compare_qcow2(layer, found);
}

/* By name, and by the last part of the path: iSCSI's units are recorded by their device's name. */
static struct map *index_found(const struct volume_info_list *found)
{
	struct map *index = map_new();
	for (size_t i = 0; i < found->len; i++) {
		struct volume_info *info = &found->items[i];
		const char *slash = info->path ? strrchr(info->path, '/') : NULL;
		map_put(index, info->name, info);
		if (slash && !str_equal(slash + 1, info->name))
			map_put(index, slash + 1, info);
	}
	return index;
}

void pool_drift_judge(const struct drift_layers *layers, const struct pool_kind *kind,
        const struct volume_info_list *found, struct drift_verdicts *ret_verdicts)
{
	VEC(struct drift_verdict) verdicts = {0};
	struct map *index = index_found(found);
	for (size_t i = 0; i < layers->len; i++) {
		const struct drift_layer *layer = &layers->items[i];
		const struct volume_info *info = map_get(index, layer->file);
		struct drift_verdict verdict = {
		        .drift = pool_drift_compare(layer, kind, info),
		        .size_bytes = layer->size_bytes,
		        .allocation_bytes = info ? info->allocation_bytes : layer->allocation_bytes,
		};
		bool is_same = str_equal(verdict.drift, layer->drift);
		if (is_same && verdict.allocation_bytes == layer->allocation_bytes) {
			free(verdict.drift);
			continue;
		}
		uuid_text_copy(verdict.layer_id, layer->id);
		verdict.is_new = !is_same && verdict.drift[0];
		VEC_PUSH(&verdicts, verdict);
	}
	map_free(index);
	*ret_verdicts = (struct drift_verdicts){.items = verdicts.items, .len = verdicts.len};
}

static bool has(const struct drift_verdicts *verdicts, const struct drift_verdict *wanted)
{
	for (size_t i = 0; i < verdicts->len; i++)
		if (str_equal(verdicts->items[i].layer_id, wanted->layer_id) &&
		        str_equal(verdicts->items[i].drift, wanted->drift))
			return true;
	return false;
}

size_t pool_drift_confirm(const struct drift_verdicts *verdicts,
        const struct drift_verdicts *earlier, struct drift_verdicts *ret_confirmed)
{
	VEC(struct drift_verdict) confirmed = {0};
	for (size_t i = 0; i < verdicts->len; i++) {
		struct drift_verdict verdict = verdicts->items[i];
		if (verdict.is_new && !has(earlier, &verdict))
			continue;
		verdict.drift = xstrdup(verdict.drift);
		VEC_PUSH(&confirmed, verdict);
	}
	*ret_confirmed = (struct drift_verdicts){.items = confirmed.items, .len = confirmed.len};
	return verdicts->len - confirmed.len;
}
