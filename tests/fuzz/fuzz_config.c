/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the configuration file: loaded whole or refused with a line number and nothing to release.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	bool verbose;
	int level;
	int64_t workers, cache_bytes, timeout_ms;
	char *listen, *state_dir;
	struct config_list hosts;
};

static const char *const level_names[] = {"error", "info", NULL};

static const struct config_option options[] = {
        {.name = "dir", .type = CONFIG_PATH, .offset = offsetof(struct settings, state_dir)},
        {.name = "s.listen", .type = CONFIG_STRING, .offset = offsetof(struct settings, listen)},
        {.name = "s.workers",
                .type = CONFIG_INT,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, workers),
                .min = 1,
                .max = 64,
                .default_text = "2"},
        {.name = "s.timeout",
                .type = CONFIG_DURATION,
                .offset = offsetof(struct settings, timeout_ms)},
        {.name = "s.cache",
                .type = CONFIG_SIZE,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, cache_bytes)},
        {.name = "l.level",
                .type = CONFIG_ENUM,
                .offset = offsetof(struct settings, level),
                .names = level_names},
        {.name = "l.verbose", .type = CONFIG_BOOL, .offset = offsetof(struct settings, verbose)},
        {.name = "l.hosts",
                .type = CONFIG_LIST,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, hosts)},
};
static const struct config_table table = CONFIG_TABLE(struct settings, options);

static void check_loaded(struct settings *s)
{
	if (s->workers < 1 || s->workers > 64 || s->level > 1 || s->cache_bytes < 0 ||
	        (s->state_dir[0] && s->state_dir[0] != '/'))
		abort();
	struct settings now;
	const char *kept[sizeof(options) / sizeof(options[0])];
	if (config_load(&table, NULL, &now, NULL) < 0)
		abort();
	config_reload(&table, &now, s, kept);
	config_release(&table, &now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s;
	struct err e = {0};
	int rc = config_load_text(&table, "f", (const char *)data, size, &s, &e);
	if (rc == 0)
		check_loaded(&s);
	else if (rc != ERR_INVALID || strncmp(e.message, "f, line ", 8) != 0 || s.listen)
		abort();
	config_release(&table, &s);
	return 0;
}
