/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img, confined. */
#include "storage/qemu_img.h"

#include <stdlib.h>
#include <string.h>

#include "base/process.h"

#define MEMORY_BYTES     ((int64_t)4 << 30)
#define CPU_SECONDS      600
#define BYTES_PER_SECOND ((int64_t)10 << 20) /* of CPU time, more is given by this */

double qemu_img_parse_progress(const char *text, size_t n)
{
	char number[16];
	for (size_t i = n; i-- > 0;) {
		if (text[i] != '(')
			continue;
		size_t len = n - i - 1 < sizeof(number) - 1 ? n - i - 1 : sizeof(number) - 1;
		memcpy(number, text + i + 1, len);
		number[len] = '\0';
		char *end;
		double percent = strtod(number, &end);
		if (end > number && *end == '/' && percent >= 0 && percent <= 100)
			return percent;
	}
	return -1;
}

static void on_output(void *arg, const char *text, size_t n)
{
	const struct qemu_img_convert *convert = arg;
	double percent = qemu_img_parse_progress(text, n);
	if (percent >= 0 && convert->on_progress)
		convert->on_progress(convert->arg, percent);
}

static bool is_cancelled(void *arg)
{
	const struct qemu_img_convert *convert = arg;
	return convert->is_cancelled && convert->is_cancelled(convert->arg);
}

/* One line of what it said, without control characters. */
static void first_line(char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
}

static int explain(
        const struct qemu_img_convert *convert, struct process_result *result, struct err *e)
{
	if (strstr(result->errors, "No space left on device"))
		return err_set(e, ERR_DISK_FULL, "no space is left for the converted image");
	if (strstr(result->errors, "File too large")) {
		err_set(e, ERR_UNPROCESSABLE, "the converted image would have more than %lld bytes",
		        (long long)convert->max_bytes);
		return err_hint(e, "options images.max_bytes and images.quota_bytes");
	}
	first_line(result->errors);
	if (result->exit_code < 0)
		return err_set(e, ERR_UNPROCESSABLE, "qemu-img was ended by signal %d: %s",
		        result->signal, result->errors);
	return err_set(e, ERR_UNPROCESSABLE, "qemu-img ended with %d: %s", result->exit_code,
	        result->errors);
}

int qemu_img_convert(const struct qemu_img_convert *convert, struct err *e)
{
	const char *argv[] = {convert->program, "convert", "-p", "-f",
	        image_format_names[convert->format], "-O", "qcow2", "-o", "compat=1.1",
	        "/proc/self/fd/3", "/proc/self/fd/4", NULL};
	const struct process_config config = {
	        .argv = argv,
	        .files = {{.fd = convert->from_fd}, {.fd = convert->to_fd, .is_writable = true}},
	        .n_files = 2,
	        .memory_bytes = MEMORY_BYTES,
	        .cpu_seconds = CPU_SECONDS + convert->virtual_bytes / BYTES_PER_SECOND,
	        .file_bytes = convert->max_bytes,
	        .on_output = on_output,
	        .is_cancelled = is_cancelled,
	        .arg = (void *)(uintptr_t)convert,
	};
	struct process_result result;
	int rc = process_run(&config, &result, e);
	if (rc < 0)
		return rc;
	return result.exit_code == 0 ? 0 : explain(convert, &result, e);
}
