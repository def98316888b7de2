/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: hosts that are and reach the same. */
#include <string.h>

#include "scheduler/inventory_internal.h"

/* A text may hold anything but NUL, so its length goes before it. */
static void spell_text(struct str *key, const char *text)
{
	str_printf(key, "%zu:%s", strlen(text), text);
}

static void spell_texts(struct str *key, const struct field_strings *texts)
{
	str_printf(key, "%zu;", texts->len);
	for (size_t i = 0; i < texts->len; i++)
		spell_text(key, texts->items[i]);
}

static void spell_profile(struct str *key, const struct inventory_host *host)
{
	for (size_t i = 0; i < host->n_architectures; i++) {
		const struct inventory_architecture *a = &host->architectures[i];
		spell_text(key, a->name);
		str_printf(key, "%d%d%d", (int)a->accelerator, a->has_uefi, a->has_secure_boot);
		spell_texts(key, &a->cpu_models);
	}
	str_printf(key, ";%d", host->has_networks);
	spell_texts(key, &host->pools);
	spell_texts(key, &host->networks);
}

const struct profile *profile_join(struct inventory *inv, const struct inventory_host *host)
{
	str_reset(&inv->word);
	spell_profile(&inv->word, host);
	struct profile *profile = map_get(inv->profiles_by_key, str_text(&inv->word));
	if (!profile) {
		profile = xcalloc(1, sizeof(*profile) + inv->word.len + 1);
		memcpy(profile->key, str_text(&inv->word), inv->word.len);
		profile->slot = inv->profiles.len;
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
		VEC_PUSH(&inv->profiles, profile);
		map_put(inv->profiles_by_key, profile->key, profile);
	}
	profile->hosts++;
	return profile;
}

void profile_leave(struct inventory *inv, const struct profile *left)
{
	struct profile *profile = inv->profiles.items[left->slot];
	if (--profile->hosts > 0)
		return;
	struct profile *last = inv->profiles.items[--inv->profiles.len];
	inv->profiles.items[profile->slot] = last;
	last->slot = profile->slot;
	map_remove(inv->profiles_by_key, profile->key);
	free(profile);
}
