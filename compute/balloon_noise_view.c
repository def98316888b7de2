/* SPDX-License-Identifier: Apache-2.0 */
/* The newest verdict on each guest's neighbours, as answered. Written on the core loop, read by any thread. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "compute/balloon_internal.h"

#define RO_OR_NULL     .flags = FIELD_READ_ONLY | FIELD_NULLABLE
#define NOISE(member)  .offset = offsetof(struct balloon_noise_view, member)
#define IF_GIVEN(flag) .present = offsetof(struct balloon_noise_view, flag)
static const struct field noise_fields[] = {
        {.name = "suffers",
                .type = FIELD_BOOL,
                .flags = FIELD_READ_ONLY,
                NOISE(suffers),
                .doc = "Whether it is kept from computing by others"},
        {.name = "delay_percent",
                .type = FIELD_REAL,
                RO_OR_NULL,
                NOISE(delay_percent),
                IF_GIVEN(has_delay),
                .doc = "Of the time that its vCPUs wanted to run, how much they waited"},
        {.name = "used_cpus",
                .type = FIELD_REAL,
                RO_OR_NULL,
                NOISE(used_cpus),
                IF_GIVEN(has_used),
                .doc = "CPU time used, in CPUs"},
        {.name = "fair_cpus",
                .type = FIELD_REAL,
                .flags = FIELD_READ_ONLY,
                NOISE(fair_cpus),
                .doc = "Its share of the host by weights, in CPUs"},
        {.name = "cause_id",
                .type = FIELD_STRING,
                RO_OR_NULL,
                NOISE(cause_id),
                .doc = "The VM that uses most above its share; null: no single one does"},
        {.name = "cause", .type = FIELD_STRING, RO_OR_NULL, NOISE(cause), .doc = "Its name"},
        {.name = "cause_used_cpus",
                .type = FIELD_REAL,
                RO_OR_NULL,
                NOISE(cause_used_cpus),
                IF_GIVEN(has_cause),
                .doc = "CPU time that it uses, in CPUs"},
        {.name = "cause_fair_cpus",
                .type = FIELD_REAL,
                RO_OR_NULL,
                NOISE(cause_fair_cpus),
                IF_GIVEN(has_cause),
                .doc = "Its share, in CPUs"},
};
const struct field_table balloon_noise_table =
        FIELD_TABLE("VmNoise", struct balloon_noise_view, noise_fields);

static void free_view(struct balloon_noise_view *view)
{
	if (!view)
		return;
	free(view->cause_id);
	free(view->cause);
	free(view);
}

void balloon_noise_publish(
        struct balloons *all, const char *vm_id, const struct balloon_noise_view *view)
{
	struct balloon_noise_view *copy = NULL;
	if (view) {
		copy = xmemdup(view, sizeof(*view));
		copy->cause_id = xstrdup(view->cause_id);
		copy->cause = xstrdup(view->cause);
	}
	LOCK_SCOPE(&all->lock);
	free_view(map_remove(all->noise_views, vm_id));
	if (copy)
		map_put(all->noise_views, vm_id, copy);
}

void balloon_noise_views_free(struct balloons *all)
{
	size_t cursor = 0;
	void *view;
	while (map_next(all->noise_views, &cursor, NULL, &view))
		free_view(view);
	map_free(all->noise_views);
}

void balloons_encode_noise(struct balloons *all, const char *vm_id, struct json_writer *w)
{
	LOCK_SCOPE(&all->lock);
	const struct balloon_noise_view *view = map_get(all->noise_views, vm_id);
	if (view)
		field_encode(&balloon_noise_table, view, FIELD_ENCODE_ANSWER, w);
	else
		json_put_null(w);
}
