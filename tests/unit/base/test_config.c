/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration loader: values, refusals with file, line and key, reload, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/config.h"

struct settings {
	bool verbose;
	int level;
	int64_t workers, cache_bytes, timeout_ms;
	char *listen, *state_dir;
	struct config_list hosts;
};

static const char *const level_names[] = {"error", "info", "debug", NULL};

static const struct config_option options[] = {
        {.name = "state_dir",
                .type = CONFIG_PATH,
                .offset = offsetof(struct settings, state_dir),
                .default_text = "/var/lib/berth",
                .doc = "Where everything lies."},
        {.name = "server.listen",
                .type = CONFIG_STRING,
                .offset = offsetof(struct settings, listen),
                .default_text = "127.0.0.1:8470",
                .max = 40,
                .doc = ".Address to \\ listen on."},
        {.name = "server.workers",
                .type = CONFIG_INT,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, workers),
                .default_text = "2",
                .min = 1,
                .max = 4,
                .doc = "Threads."},
        {.name = "server.timeout",
                .type = CONFIG_DURATION,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, timeout_ms),
                .default_text = "30s",
                .min = 1000,
                .max = 3600000,
                .doc = "How long."},
        {.name = "server.cache",
                .type = CONFIG_SIZE,
                .offset = offsetof(struct settings, cache_bytes),
                .default_text = "8MiB",
                .doc = "Bytes of cache."},
        {.name = "log.level",
                .type = CONFIG_ENUM,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, level),
                .default_text = "info",
                .names = level_names,
                .doc = "Lowest level."},
        {.name = "log.verbose",
                .type = CONFIG_BOOL,
                .offset = offsetof(struct settings, verbose),
                .doc = "More."},
        {.name = "log.hosts",
                .type = CONFIG_LIST,
                .flags = CONFIG_RELOADABLE,
                .offset = offsetof(struct settings, hosts),
                .doc = "Hosts."},
};
static const struct config_table table = CONFIG_TABLE(struct settings, options);

static int load(const char *text, struct settings *s, struct err *e)
{
	return config_load_text(&table, "berth.conf", text, strlen(text), s, e);
}

static void test_without_a_file_the_defaults_hold(void **state)
{
	(void)state;
	struct settings s;
	assert_int_equal(config_load(&table, NULL, &s, NULL), 0);
	assert_string_equal(s.state_dir, "/var/lib/berth");
	assert_string_equal(s.listen, "127.0.0.1:8470");
	assert_int_equal(s.workers, 2);
	assert_int_equal(s.timeout_ms, 30000);
	assert_int_equal(s.cache_bytes, 8 << 20);
	assert_int_equal(s.level, 1);
	assert_false(s.verbose);
	assert_int_equal(s.hosts.len, 0);
	config_release(&table, &s);
	assert_null(s.listen);
	config_release(&table, &s);
}

static void test_values_of_every_type_are_read(void **state)
{
	(void)state;
	struct settings s;
	struct err e = {0};
	int rc = load("# comment\nstate_dir = /srv/x y\n\n[server]\nlisten=[::1]:80 ; note\n"
	              "workers : 4\r\ntimeout = 5m\ncache=1 G\n[log]\nlevel=debug\nverbose=yes\n"
	              "hosts = a, b c ,,d",
	        &s, &e);
	assert_string_equal(e.message, "");
	assert_int_equal(rc, 0);
	assert_string_equal(s.state_dir, "/srv/x y");
	assert_string_equal(s.listen, "[::1]:80");
	assert_int_equal(s.workers, 4);
	assert_int_equal(s.timeout_ms, 300000);
	assert_int_equal(s.cache_bytes, 1 << 30);
	assert_int_equal(s.level, 2);
	assert_true(s.verbose);
	assert_int_equal(s.hosts.len, 3);
	assert_string_equal(s.hosts.items[1], "b c");
	config_release(&table, &s);
}

static void test_each_mistake_is_refused_with_line_and_key(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
	        {"nope=1", "berth.conf, line 1: there is no option 'nope'"},
	        {"[server]\nstate_dir=/x",
	                "berth.conf, line 2: there is no option 'server.state_dir'"},
	        {"\n[log]\nverbose=maybe",
	                "berth.conf, line 3: 'log.verbose' must be true or false"},
	        {"[log]\nlevel=loud",
	                "berth.conf, line 2: 'log.level' must be one of error, info, debug"},
	        {"[server]\nworkers=5",
	                "berth.conf, line 2: 'server.workers' must be a whole number from 1 to 4"},
	        {"[server]\nworkers=two",
	                "berth.conf, line 2: 'server.workers' must be a whole number from 1 to 4"},
	        {"[server]\ntimeout=30", "berth.conf, line 2: 'server.timeout' must be a duration "
	                                 "like 30s from 1s to 1h"},
	        {"[server]\ntimeout=999999999999999999d",
	                "berth.conf, line 2: 'server.timeout' must be a duration like 30s from 1s "
	                "to 1h"},
	        {"[server]\ncache=-1",
	                "berth.conf, line 2: 'server.cache' must be a size like 64MiB"},
	        {"[server]\ncache=9999999999T",
	                "berth.conf, line 2: 'server.cache' must be a size like 64MiB"},
	        {"state_dir=x", "berth.conf, line 1: 'state_dir' must be an absolute path"},
	        {"[server]\nlisten=12345678901234567890123456789012345678901",
	                "berth.conf, line 2: 'server.listen' must have from 0 to 40 bytes, not 41"},
	        {"[server]\nworkers=1\nworkers=2",
	                "berth.conf, line 3: 'server.workers' is set twice"},
	        {"[server]\nworkers=1\n  2",
	                "berth.conf, line 3: is neither [section] nor key = value nor a comment"},
	        {"[server",
	                "berth.conf, line 1: is neither [section] nor key = value nor a comment"},
	        {"what", "berth.conf, line 1: is neither [section] nor key = value nor a comment"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings s;
		struct err e = {0};
		assert_int_equal(load(cases[i].text, &s, &e), ERR_INVALID);
		assert_string_equal(e.message, cases[i].message);
		assert_null(s.listen); /* nothing is left to release */
	}
}

static void test_long_lines_and_nul_bytes_are_refused_not_split(void **state)
{
	(void)state;
	struct settings s;
	struct err e = {0};
	char *text = calloc(1, 10000);
	strcpy(text, "state_dir=/");
	memset(text + strlen(text), 'x', 1000);
	assert_int_equal(load(text, &s, &e), 0);
	assert_int_equal(strlen(s.state_dir), 1001);
	config_release(&table, &s);
	memset(text + strlen(text), 'x', 5000);
	strcat(text, "\nlog.level=info\n");
	assert_int_equal(load(text, &s, &e), ERR_INVALID);
	assert_non_null(strstr(e.message, "line 1: the line has more than"));
	free(text);
	assert_int_equal(config_load_text(&table, "f", "state_dir=/a\0b", 14, &s, &e), ERR_INVALID);
	assert_non_null(strstr(e.message, "NUL"));
}

static void test_a_file_is_read_and_a_missing_one_named(void **state)
{
	(void)state;
	char path[] = "/tmp/berth-config-XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, "[server]\nworkers=3\n", 19), 19);
	close(fd);
	struct settings s;
	struct err e = {0};
	assert_int_equal(config_load(&table, path, &s, &e), 0);
	assert_int_equal(s.workers, 3);
	config_release(&table, &s);
	unlink(path);
	assert_int_equal(config_load(&table, path, &s, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.message, path));
	assert_int_not_equal(config_load(&table, "/tmp", &s, &e), 0);
}

static void test_the_command_line_overrides(void **state)
{
	(void)state;
	struct settings s;
	struct err e = {0};
	config_load(&table, NULL, &s, NULL);
	assert_int_equal(config_set(&table, &s, "server.listen", "none", &e), 0);
	assert_string_equal(s.listen, "none");
	assert_int_equal(config_set(&table, &s, "state_dir", "rel", &e), ERR_INVALID);
	assert_string_equal(e.message, "'state_dir' must be an absolute path");
	assert_string_equal(s.state_dir, "/var/lib/berth");
	assert_int_equal(config_set(&table, &s, "x", "", &e), ERR_INVALID);
	config_release(&table, &s);
}

static void test_reload_takes_what_it_may_and_names_the_rest(void **state)
{
	(void)state;
	struct settings now, next;
	assert_int_equal(load("[log]\nhosts=a", &now, NULL), 0);
	assert_int_equal(load("state_dir=/new\n[server]\nworkers=4\ncache=1M\n[log]\nhosts=b,c\n"
	                      "level=error",
	                         &next, NULL),
	        0);
	const char *kept[sizeof(options) / sizeof(options[0])];
	assert_int_equal(config_reload(&table, &now, &next, kept), 2);
	assert_string_equal(kept[0], "state_dir");
	assert_string_equal(kept[1], "server.cache");
	assert_string_equal(now.state_dir, "/var/lib/berth");
	assert_int_equal(now.workers, 4);
	assert_int_equal(now.level, 0);
	assert_int_equal(now.hosts.len, 2);
	config_release(&table, &next);
	assert_string_equal(now.hosts.items[1], "c");
	config_release(&table, &now);
}

static char *print(void (*function)(const struct config_table *, FILE *))
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	function(&table, out);
	fclose(out);
	return text;
}

static void test_the_example_is_a_valid_file_of_defaults(void **state)
{
	(void)state;
	char *text CLEANUP(cleanup_free) = print(config_print_example);
	struct settings s;
	struct err e = {0};
	assert_int_equal(load(text, &s, &e), 0);
	config_release(&table, &s);
	/* and still so with every option switched on */
	for (char *c = text; *c; c++)
		if (*c == '#' && c[1] != ' ')
			*c = '\n';
	assert_int_equal(load(text, &s, &e), 0);
	assert_int_equal(s.timeout_ms, 30000);
	config_release(&table, &s);
	assert_non_null(strstr(text, "[log]\n"));
	assert_non_null(strstr(text, "# (one of error, info, debug; applied by a reload)\n"));
}

static void test_the_man_list_escapes_roff(void **state)
{
	(void)state;
	char *text CLEANUP(cleanup_free) = print(config_print_man);
	assert_non_null(strstr(text, ".Ss Section [server]\n.Bl -tag"));
	assert_non_null(strstr(text, ".It Cm listen\n\\&.Address to \\e listen on.\n"));
	assert_non_null(strstr(text, ".Ql 30s .\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_without_a_file_the_defaults_hold),
	        cmocka_unit_test(test_values_of_every_type_are_read),
	        cmocka_unit_test(test_each_mistake_is_refused_with_line_and_key),
	        cmocka_unit_test(test_long_lines_and_nul_bytes_are_refused_not_split),
	        cmocka_unit_test(test_a_file_is_read_and_a_missing_one_named),
	        cmocka_unit_test(test_the_command_line_overrides),
	        cmocka_unit_test(test_reload_takes_what_it_may_and_names_the_rest),
	        cmocka_unit_test(test_the_example_is_a_valid_file_of_defaults),
	        cmocka_unit_test(test_the_man_list_escapes_roff),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
