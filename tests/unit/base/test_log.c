/* SPDX-License-Identifier: Apache-2.0 */
/* The log on stderr: one line per message, whatever it contains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int real_stderr, pipe_out;

static void capture_begin(void)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	real_stderr = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	pipe_out = ends[0];
	clock_fake_set(1000);
}

/* Everything written since capture_begin. */
static const char *capture_end(void)
{
	static char text[4096];
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	clock_fake_set(-1);
	ssize_t len = read(pipe_out, text, sizeof(text) - 1);
	close(pipe_out);
	text[len > 0 ? len : 0] = '\0';
	return text;
}

static int use_stderr(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_init(LOG_LEVEL_INFO);
	return 0;
}

static void test_a_message_is_one_line_with_time_and_level(void **state)
{
	(void)state;
	capture_begin();
	log_warning("%s is %d", "x", 5);
	assert_string_equal(
	        capture_end(), "time=1970-01-01T00:00:01.000Z level=warning msg=\"x is 5\"\n");
}

static void test_hostile_text_cannot_forge_a_line(void **state)
{
	(void)state;
	capture_begin();
	log_error("a\nlevel=info msg=\"b\" \\ \x1b[0m");
	assert_string_equal(capture_end(),
	        "time=1970-01-01T00:00:01.000Z level=error "
	        "msg=\"a\\x0alevel=info msg=\\\"b\\\" \\\\ \\x1b[0m\"\n");
}

static void test_levels_below_the_lowest_are_dropped(void **state)
{
	(void)state;
	capture_begin();
	log_debug("quiet");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("loud");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("quiet");
	log_err(LOG_LEVEL_INFO, NULL, "quiet");
	log_set_level(LOG_LEVEL_INFO);
	assert_string_equal(
	        capture_end(), "time=1970-01-01T00:00:01.000Z level=debug msg=\"loud\"\n");
}

static void log_in_scope(void)
{
	LOG_SCOPE("operation_id", "op 1");
	log_info("inner");
}

static void test_scopes_add_their_fields_until_they_end(void **state)
{
	(void)state;
	capture_begin();
	{
		LOG_SCOPE("request_id", "r1");
		log_in_scope();
		log_info("outer");
	}
	log_info("none");
	assert_string_equal(capture_end(),
	        "time=1970-01-01T00:00:01.000Z level=info msg=\"inner\" operation_id=\"op 1\" "
	        "request_id=\"r1\"\n"
	        "time=1970-01-01T00:00:01.000Z level=info msg=\"outer\" request_id=\"r1\"\n"
	        "time=1970-01-01T00:00:01.000Z level=info msg=\"none\"\n");
}

static void test_an_error_value_shows_code_and_source(void **state)
{
	(void)state;
	struct err e = {0};
	err_set(&e, ERR_HYPERVISOR, "no");
	e.source = ERR_SOURCE_LIBVIRT;
	e.source_code = 38;
	capture_begin();
	log_err(LOG_LEVEL_ERROR, &e, "start of %s", "web");
	const char *text = capture_end();
	assert_non_null(strstr(text, "msg=\"start of web\" error=\"no\" code=hypervisor"));
	assert_non_null(strstr(text, ":38"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_message_is_one_line_with_time_and_level),
	        cmocka_unit_test(test_hostile_text_cannot_forge_a_line),
	        cmocka_unit_test(test_levels_below_the_lowest_are_dropped),
	        cmocka_unit_test(test_scopes_add_their_fields_until_they_end),
	        cmocka_unit_test(test_an_error_value_shows_code_and_source),
	};
	return cmocka_run_group_tests(tests, use_stderr, NULL);
}
