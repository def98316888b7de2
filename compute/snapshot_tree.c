/* SPDX-License-Identifier: Apache-2.0 */
/* Pure parts of snapshots: configurations and forecasts. */
#include "compute/snapshot_tree.h"

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/field.h"

#define FORECAST_OF 6 /* the newest snapshots that the pace is taken from */

static const char *const kept_members[] = {
        "labels", "description", "deletion_protection", "autostart", "restart_policy"};

int snapshot_tree_merge_spec(const char *then, const char *now, char **ret_spec, struct err *e)
{
	json_t *spec CLEANUP(cleanup_json) = json_loads(then, 0, NULL);
	json_t *current CLEANUP(cleanup_json) = json_loads(now, 0, NULL);
	if (!json_is_object(spec) || !json_is_object(current))
		return err_set(e, ERR_INTERNAL, "a stored configuration is not JSON");
	for (size_t i = 0; i < ARRAY_LEN(kept_members); i++) {
		json_t *kept = json_object_get(current, kept_members[i]);
		if (kept)
			json_object_set(spec, kept_members[i], kept);
		else
			json_object_del(spec, kept_members[i]);
	}
	*ret_spec = json_dumps(spec, JSON_COMPACT);
	return 0;
}

static json_t *value_or_null(json_t *value)
{
	return value ? json_incref(value) : json_null();
}

json_t *snapshot_tree_changes(const char *before, const char *after)
{
	json_t *answer = json_object();
	json_t *old CLEANUP(cleanup_json) = json_loads(before, 0, NULL);
	json_t *new CLEANUP(cleanup_json) = json_loads(after, 0, NULL);
	struct field_changes changes CLEANUP(field_changes_done) = {0};
	if (!old || !new)
		return answer;
	field_diff(old, new, &changes);
	for (size_t i = 0; i < changes.len; i++)
		json_object_set_new(answer, changes.items[i].pointer,
		        json_pack("{s:o, s:o}", "before", value_or_null(changes.items[i].before),
		                "after", value_or_null(changes.items[i].after)));
	return answer;
}

int64_t snapshot_tree_forecast(const int64_t *times, size_t n, int64_t left, int64_t now)
{
	if (n < 2)
		return 0;
	size_t first = n > FORECAST_OF ? n - FORECAST_OF : 0;
	int64_t pace = (times[n - 1] - times[first]) / (int64_t)(n - 1 - first);
	int64_t at = times[n - 1] + pace * (left < 0 ? 0 : left);
	return pace <= 0 ? 0 : at < now ? now : at;
}
