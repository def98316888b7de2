/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's own files, in a directory made for the test. */
#include "hypervisor/host_local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"

#define KIB 1024

static char root[32];

static void put(const char *path, const char *text)
{
	char *full CLEANUP(cleanup_free) = str_format("%s%s", root, path);
	FILE *f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int set_up(void **state)
{
	static const char *const folders[] = {"/proc", "/proc/pressure", "/sys", "/sys/kernel",
	        "/sys/kernel/mm", "/sys/kernel/mm/ksm"};
	(void)state;
	strcpy(root, "/tmp/bh-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		char *path CLEANUP(cleanup_free) = str_format("%s%s", root, folders[i]);
		mkdir(path, 0700);
	}
	return 0;
}

static int tear_down(void **state)
{
	static const char *const paths[] = {"/proc/pressure/memory", "/proc/pressure/cpu",
	        "/proc/pressure", "/proc/meminfo", "/proc", "/sys/kernel/mm/ksm/run",
	        "/sys/kernel/mm/ksm", "/sys/kernel/mm", "/sys/kernel", "/sys", ""};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		char *path CLEANUP(cleanup_free) = str_format("%s%s", root, paths[i]);
		remove(path);
	}
	return 0;
}

static void test_kernel_files_are_read(void **state)
{
	(void)state;
	struct host_stats s;
	host_stats_init(&s);
	s.memory_available_is_estimate = true;
	put("/proc/meminfo", "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:  600 kB\n"
	                     "SwapCached: 1 kB\nSwapTotal: 200 kB\nSwapFree: 150 kB\n");
	put("/proc/pressure/memory", "some avg10=1.50 avg60=0.20 avg300=0.00 total=12345\n"
	                             "full avg10=0.25 avg60=0.00 avg300=0.00 total=678\n");
	put("/proc/pressure/cpu", "some avg10=99.00 avg60=0.00 avg300=0.00 total=4294967296000\n");
	host_local_read_stats(root, &s);
	assert_int_equal(s.memory_available_bytes, 600 * KIB);
	assert_false(s.memory_available_is_estimate);
	assert_int_equal(s.swap_total_bytes, 200 * KIB);
	assert_int_equal(s.swap_free_bytes, 150 * KIB);
	assert_int_equal(s.memory_pressure.some_us, 12345);
	assert_int_equal(s.memory_pressure.full_us, 678);
	assert_true(s.memory_pressure.some_avg10_percent == 1.5);
	assert_true(s.memory_pressure.full_avg10_percent == 0.25);
	assert_int_equal(s.cpu_pressure.some_us, 4294967296000);
	assert_int_equal(s.cpu_pressure.full_us, -1);
}

static void test_missing_and_odd_files_leave_things_unknown(void **state)
{
	(void)state;
	struct host_stats s;
	host_stats_init(&s);
	host_local_read_stats(root, &s);
	assert_int_equal(s.memory_available_bytes, -1);
	assert_int_equal(s.memory_pressure.some_us, -1);
	put("/proc/meminfo", "MemAvailable:\nSwapTotal: -5 kB\nSwapFree: x");
	put("/proc/pressure/memory", "some avg10=nonsense\nfull");
	host_local_read_stats(root, &s);
	assert_int_equal(s.memory_available_bytes, -1);
	assert_int_equal(s.swap_total_bytes, -1);
	assert_int_equal(s.swap_free_bytes, -1);
	assert_int_equal(s.memory_pressure.some_us, -1);
	assert_int_equal(s.memory_pressure.full_us, -1);
}

static void test_ksm_is_read_and_switched(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(host_local_read_ksm_run(root), KSM_RUN_UNKNOWN);
	assert_false(host_local_can_set_ksm_run(root));
	assert_int_equal(host_local_set_ksm_run(root, KSM_RUN_RUNNING, &e), ERR_UNSUPPORTED);
	put("/sys/kernel/mm/ksm/run", "0\n");
	assert_int_equal(host_local_read_ksm_run(root), KSM_RUN_STOPPED);
	assert_true(host_local_can_set_ksm_run(root));
	assert_int_equal(host_local_set_ksm_run(root, KSM_RUN_RUNNING, &e), 0);
	assert_int_equal(host_local_read_ksm_run(root), KSM_RUN_RUNNING);
	put("/sys/kernel/mm/ksm/run", "7\n");
	assert_int_equal(host_local_read_ksm_run(root), KSM_RUN_UNKNOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_kernel_files_are_read),
	        TEST(test_missing_and_odd_files_leave_things_unknown),
	        TEST(test_ksm_is_read_and_switched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
