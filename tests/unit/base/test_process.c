/* SPDX-License-Identifier: Apache-2.0 */
/* A confined tool can do its work and nothing else; files beneath a directory are found there and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/process.h"

struct heard {
	char text[4096];
	size_t len;
};

static void on_output(void *arg, const char *text, size_t n)
{
	struct heard *heard = arg;
	if (n > sizeof(heard->text) - 1 - heard->len)
		n = sizeof(heard->text) - 1 - heard->len;
	memcpy(heard->text + heard->len, text, n);
	heard->len += n;
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

struct run {
	struct heard heard;
	struct process_result result;
	struct err e;
};

static int run_tool(struct run *run, const char *const *argv, int fd, bool is_writable)
{
	struct process_config config = {
	        .argv = argv,
	        .files = {{.fd = fd, .is_writable = is_writable}},
	        .n_files = fd >= 0 ? 1 : 0,
	        .memory_bytes = (int64_t)1 << 30,
	        .cpu_seconds = 10,
	        .file_bytes = 1 << 20,
	        .on_output = on_output,
	        .arg = &run->heard,
	};
	*run = (struct run){0};
	return process_run(&config, &run->result, &run->e);
}

static void test_tool_reads_the_file_it_was_given(void **state)
{
	(void)state;
	struct run run;
	char path[] = "/tmp/berth-process-XXXXXX";
	int fd CLEANUP(cleanup_fd) = mkstemp(path);
	assert_int_equal(write(fd, "given", 5), 5);
	const char *argv[] = {"/bin/cat", "/proc/self/fd/3", NULL};
	assert_int_equal(run_tool(&run, argv, fd, false), 0);
	unlink(path);
	assert_string_equal(run.result.errors, "");
	assert_int_equal(run.result.exit_code, 0);
	assert_string_equal(run.heard.text, "given");
}

static void test_tool_cannot_open_other_files(void **state)
{
	(void)state;
	static const char *const others[] = {"/etc/passwd", "/proc/self/environ", "/proc/1/cmdline",
	        "/root", "/tmp", "/dev/zero"};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct run run;
		const char *argv[] = {"/bin/cat", others[i], NULL};
		assert_int_equal(run_tool(&run, argv, -1, false), 0);
		if (run.result.exit_code == 0 || run.heard.len > 0)
			fail_msg("%s was read: %.40s", others[i], run.heard.text);
		assert_non_null(strstr(run.result.errors, "denied"));
	}
}

static void test_tool_cannot_write_what_it_may_read(void **state)
{
	(void)state;
	struct run run;
	char path[] = "/tmp/berth-process-XXXXXX", from[] = "of=/proc/self/fd/3";
	int fd CLEANUP(cleanup_fd) = mkstemp(path);
	const char *argv[] = {"/bin/dd", from, "bs=4096", "count=1", "if=/dev/null", NULL};
	assert_int_equal(run_tool(&run, argv, fd, false), 0);
	assert_int_not_equal(run.result.exit_code, 0);
	assert_int_equal(run_tool(&run, argv, fd, true), 0);
	assert_int_equal(run.result.exit_code, 0);
	unlink(path);
}

static void test_tool_starts_no_other_program(void **state)
{
	(void)state;
	struct run run;
	const char *argv[] = {"/bin/sh", "-c", "/bin/echo started; :", NULL};
	assert_int_equal(run_tool(&run, argv, -1, false), 0);
	assert_int_not_equal(run.result.exit_code, 0);
	assert_null(strstr(run.heard.text, "started"));
}

static void test_tool_has_an_empty_environment_and_no_other_descriptors(void **state)
{
	(void)state;
	struct run run;
	setenv("SECRET", "value", 1);
	const char *argv[] = {"/usr/bin/env", NULL};
	assert_int_equal(run_tool(&run, argv, -1, false), 0);
	assert_string_equal(run.heard.text, "LC_ALL=C\nPATH=/usr/bin:/bin\n");
	unsetenv("SECRET");
	int open_here CLEANUP(cleanup_fd) = fcntl(0, F_DUPFD, 20); /* survives an exec */
	const char *shell[] = {"/bin/sh", "-c",
	        "for i in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$i ] && echo $i; done; "
	        "[ -e /proc/self/fd/20 ] && echo 20; true",
	        NULL};
	assert_int_equal(run_tool(&run, shell, -1, false), 0);
	assert_null(strstr(run.heard.text, "20"));
}

static void test_cancelled_tool_is_killed(void **state)
{
	(void)state;
	static const char *const argv[] = {"/bin/sleep", "1000", NULL};
	const struct process_config config = {.argv = argv,
	        .memory_bytes = (int64_t)1 << 30,
	        .cpu_seconds = 10,
	        .file_bytes = 1 << 20,
	        .is_cancelled = always};
	struct process_result result;
	struct err e = {0};
	assert_int_equal(process_run(&config, &result, &e), ERR_CANCELLED);
	assert_int_equal(result.signal, 9);
}

static void test_missing_program_is_an_error(void **state)
{
	(void)state;
	struct run run;
	const char *argv[] = {"/nowhere/tool", NULL};
	assert_int_equal(run_tool(&run, argv, -1, false), ERR_NOT_FOUND);
}

/* ---- beneath ---- */

struct place {
	char path[32];
	int root, inner;
};

static int setup_place(void **state)
{
	static struct place place;
	snprintf(place.path, sizeof(place.path), "/tmp/berth-beneath-XXXXXX");
	assert_non_null(mkdtemp(place.path));
	place.root = beneath_open_root(place.path, NULL);
	assert_true(place.root >= 0);
	place.inner = beneath_open_directory(place.root, "inner", NULL);
	assert_true(place.inner >= 0);
	*state = &place;
	return 0;
}

static int teardown_place(void **state)
{
	struct place *place = *state;
	static const char *const names[] = {"file", "link", "hard", "pipe", "moved"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(place->inner, names[i], 0);
	unlinkat(place->root, "outside", 0);
	unlinkat(place->root, "inner", AT_REMOVEDIR);
	close(place->inner);
	close(place->root);
	return rmdir(place->path);
}

static void test_nothing_outside_is_opened(void **state)
{
	struct place *place = *state;
	static const char *const names[] = {
	        "../outside", "/etc/passwd", "..", "inner/../../x", "link"};
	int outside CLEANUP(cleanup_fd) =
	        beneath_open(place->root, "outside", O_RDWR | O_CREAT, NULL);
	assert_true(outside >= 0);
	assert_int_equal(symlinkat("../outside", place->inner, "link"), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct err e = {0};
		assert_true(beneath_open(place->inner, names[i], O_RDONLY, &e) < 0);
		assert_true(e.message[0]);
	}
	struct err e = {0};
	assert_int_equal(
	        beneath_open(place->inner, "link", O_RDWR | O_CREAT, &e), ERR_HOST_PERMISSION);
}

static void test_existing_directory_is_reached_without_links(void **state)
{
	struct place *place = *state;
	struct err e = {0};
	char inner[64], link[64], beyond[80];
	snprintf(inner, sizeof(inner), "%s/inner", place->path);
	snprintf(link, sizeof(link), "%s/outside", place->path);
	snprintf(beyond, sizeof(beyond), "%s/inner", link);
	int fd CLEANUP(cleanup_fd) = beneath_open_existing(inner, &e);
	assert_true(fd >= 0);
	assert_int_equal(beneath_open_existing(beyond, &e), ERR_NOT_FOUND);
	assert_int_equal(symlink(place->path, link), 0);
	assert_int_equal(beneath_open_existing(link, &e), ERR_HOST_PERMISSION);
	assert_int_equal(beneath_open_existing(beyond, &e), ERR_HOST_PERMISSION);
}

static void test_only_plain_files_of_their_own_are_opened(void **state)
{
	struct place *place = *state;
	struct err e = {0};
	int outside CLEANUP(cleanup_fd) =
	        beneath_open(place->root, "outside", O_RDWR | O_CREAT, NULL);
	assert_int_equal(linkat(place->root, "outside", place->inner, "hard", 0), 0);
	assert_int_equal(mkfifoat(place->inner, "pipe", 0600), 0);
	assert_true(beneath_open(place->inner, "hard", O_RDWR, &e) < 0);
	assert_true(beneath_open(place->inner, "pipe", O_RDONLY, &e) < 0); /* and does not wait */
	assert_int_equal(beneath_open(place->inner, "missing", O_RDONLY, &e), ERR_NOT_FOUND);
}

static void test_files_are_private_renamed_and_removed(void **state)
{
	struct place *place = *state;
	struct stat st;
	int fd CLEANUP(cleanup_fd) = beneath_open(place->inner, "file", O_RDWR | O_CREAT, NULL);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(beneath_rename(place->inner, "file", place->inner, "moved", NULL), 0);
	assert_int_equal(beneath_sync_directory(place->inner, NULL), 0);
	assert_int_equal(beneath_unlink(place->inner, "moved", NULL), 0);
	assert_int_equal(beneath_unlink(place->inner, "moved", NULL), 0);
	assert_int_equal(beneath_unlink(place->inner, "../outside", NULL), ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tool_reads_the_file_it_was_given),
	        cmocka_unit_test(test_tool_cannot_open_other_files),
	        cmocka_unit_test(test_tool_cannot_write_what_it_may_read),
	        cmocka_unit_test(test_tool_starts_no_other_program),
	        cmocka_unit_test(test_tool_has_an_empty_environment_and_no_other_descriptors),
	        cmocka_unit_test(test_cancelled_tool_is_killed),
	        cmocka_unit_test(test_missing_program_is_an_error),
	        cmocka_unit_test_setup_teardown(
	                test_nothing_outside_is_opened, setup_place, teardown_place),
	        cmocka_unit_test_setup_teardown(test_existing_directory_is_reached_without_links,
	                setup_place, teardown_place),
	        cmocka_unit_test_setup_teardown(
	                test_only_plain_files_of_their_own_are_opened, setup_place, teardown_place),
	        cmocka_unit_test_setup_teardown(
	                test_files_are_private_renamed_and_removed, setup_place, teardown_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
