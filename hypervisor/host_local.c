/* SPDX-License-Identifier: Apache-2.0 */
/* This machine's own files: /proc/meminfo, /proc/pressure, /sys/kernel/mm/ksm/run. Any thread. */
#include "hypervisor/host_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define KSM_RUN_PATH "/sys/kernel/mm/ksm/run"

/* False: no such file. Long files are cut: what is looked for stands at the beginning. */
static bool read_text(const char *root, const char *path, char *ret_text, size_t size)
{
	char *full CLEANUP(cleanup_free) = str_format("%s%s", root, path);
	int fd CLEANUP(cleanup_fd) = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, ret_text, size - 1);
	ret_text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The number behind `key`, which begins a line; false without it. */
static bool find_number(const char *text, const char *key, int64_t *ret_number)
{
	size_t len = strlen(key);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) != 0)
			continue;
		char *end = NULL;
		long long number = strtoll(line + len, &end, 10);
		if (end == line + len || number < 0)
			return false;
		*ret_number = number;
		return true;
	}
	return false;
}

static void read_memory(const char *root, struct host_stats *stats)
{
	const struct {
		const char *key;
		int64_t *bytes;
	} table[] = {
	        {"SwapTotal:", &stats->swap_total_bytes}, {"SwapFree:", &stats->swap_free_bytes}};
	char text[4096];
	int64_t kib = 0;
	if (!read_text(root, "/proc/meminfo", text, sizeof(text)))
		return;
	if (find_number(text, "MemAvailable:", &kib)) {
		stats->memory_available_bytes = kib * 1024;
		stats->memory_available_is_estimate = false;
	}
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (find_number(text, table[i].key, &kib))
			*table[i].bytes = kib * 1024;
}

/* A line is "some avg10=0.12 avg60=0.05 avg300=0.01 total=123456" (Documentation/accounting/psi). */
static void read_line(const char *text, const char *kind, int64_t *ret_us, double *ret_avg10)
{
	const char *line = strstr(text, kind);
	double avg10 = 0;
	long long total_us = 0;
	if (!line || sscanf(line + strlen(kind), " avg10=%lf avg60=%*f avg300=%*f total=%lld",
	                     &avg10, &total_us) != 2)
		return;
	*ret_us = total_us;
	*ret_avg10 = avg10;
}

static void read_pressure(const char *root, const char *path, struct host_pressure *pressure)
{
	char text[512];
	if (!read_text(root, path, text, sizeof(text)))
		return;
	read_line(text, "some", &pressure->some_us, &pressure->some_avg10_percent);
	read_line(text, "full", &pressure->full_us, &pressure->full_avg10_percent);
}

void host_local_read_stats(const char *root, struct host_stats *stats)
{
	read_memory(root, stats);
	read_pressure(root, "/proc/pressure/memory", &stats->memory_pressure);
	read_pressure(root, "/proc/pressure/cpu", &stats->cpu_pressure);
}

enum ksm_run host_local_read_ksm_run(const char *root)
{
	char text[16];
	if (!read_text(root, KSM_RUN_PATH, text, sizeof(text)) || text[0] < '0' || text[0] > '2')
		return KSM_RUN_UNKNOWN;
	return (enum ksm_run)(text[0] - '0');
}

bool host_local_can_set_ksm_run(const char *root)
{
	char *path CLEANUP(cleanup_free) = str_format("%s%s", root, KSM_RUN_PATH);
	return access(path, W_OK) == 0;
}

int host_local_set_ksm_run(const char *root, enum ksm_run run, struct err *e)
{
	char *path CLEANUP(cleanup_free) = str_format("%s%s", root, KSM_RUN_PATH);
	int fd CLEANUP(cleanup_fd) = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	const char digit = (char)('0' + run);
	if (fd >= 0 && write(fd, &digit, 1) == 1)
		return 0;
	if (errno == ENOENT)
		return err_set(e, ERR_UNSUPPORTED, "this machine's kernel has no KSM");
	return err_set(e, ERR_HOST_PERMISSION, "writing %s: %s", KSM_RUN_PATH, strerror(errno));
}
