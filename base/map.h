/* SPDX-License-Identifier: Apache-2.0 */
/* A hash map from text to pointer; keys are copied, values borrowed. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_new(void);
void map_free(struct map *m); /* values are the caller's */
/* Stores; returns the value that was there before, or NULL. `value` must not be NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_get(const struct map *m, const char *key); /* NULL if absent */
void *map_remove(struct map *m, const char *key);    /* returns what was there */
size_t map_len(const struct map *m);
/* Iterates in no particular order: start with *cursor = 0; false at the end. No change meanwhile,
 * except removing the key just returned. */
bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value);
