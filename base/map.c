/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing and tombstones; FNV-1a (Fowler, Noll, Vo) hashes. */
#include "base/map.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct slot {
	char *key; /* owned; NULL: never used; `tombstone`: removed */
	void *value;
	uint64_t hash;
};

struct map {
	struct slot *slots;
	size_t capacity; /* a power of two */
	size_t used;     /* with tombstones */
	size_t len;
};

static char tombstone[1];

static uint64_t hash_text(const char *text)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return h;
}

static bool is_live(const struct slot *s)
{
	return s->key && s->key != tombstone;
}

struct map *map_new(void)
{
	struct map *m = xcalloc(1, sizeof(*m));
	m->capacity = 16;
	m->slots = xcalloc(m->capacity, sizeof(*m->slots));
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->capacity; i++)
		if (is_live(&m->slots[i]))
			free(m->slots[i].key);
	free(m->slots);
	free(m);
}

static struct slot *find(const struct map *m, const char *key, uint64_t hash)
{
	for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
		struct slot *s = &m->slots[i];
		if (!s->key)
			return NULL;
		if (is_live(s) && s->hash == hash && strcmp(s->key, key) == 0)
			return s;
	}
}

static void insert(struct map *m, char *key, void *value, uint64_t hash)
{
	size_t i = hash & (m->capacity - 1);
	while (m->slots[i].key)
		i = (i + 1) & (m->capacity - 1);
	m->slots[i] = (struct slot){.key = key, .value = value, .hash = hash};
	m->used++;
	m->len++;
}

static void rehash(struct map *m)
{
	struct slot *old = m->slots;
	size_t old_capacity = m->capacity;
	m->capacity = 16;
	while (m->capacity < m->len * 4)
		m->capacity *= 2;
	m->slots = xcalloc(m->capacity, sizeof(*m->slots));
	m->used = m->len = 0;
	for (size_t i = 0; i < old_capacity; i++)
		if (is_live(&old[i]))
			insert(m, old[i].key, old[i].value, old[i].hash);
	free(old);
}

void *map_put(struct map *m, const char *key, void *value)
{
	uint64_t hash = hash_text(key);
	struct slot *s = find(m, key, hash);
	if (s) {
		void *before = s->value;
		s->value = value;
		return before;
	}
	if ((m->used + 1) * 4 > m->capacity * 3)
		rehash(m);
	insert(m, xstrdup(key), value, hash);
	return NULL;
}

void *map_get(const struct map *m, const char *key)
{
	const struct slot *s = find(m, key, hash_text(key));
	return s ? s->value : NULL;
}

void *map_remove(struct map *m, const char *key)
{
	struct slot *s = find(m, key, hash_text(key));
	if (!s)
		return NULL;
	void *value = s->value;
	free(s->key);
	*s = (struct slot){.key = tombstone};
	m->len--;
	return value;
}

size_t map_len(const struct map *m)
{
	return m->len;
}

bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value)
{
	for (; *cursor < m->capacity; (*cursor)++) {
		const struct slot *s = &m->slots[*cursor];
		if (!is_live(s))
			continue;
		if (ret_key)
			*ret_key = s->key;
		*ret_value = s->value;
		(*cursor)++;
		return true;
	}
	return false;
}
