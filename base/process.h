/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a tool on data that strangers made, confined: it can open nothing but the system's libraries and the files
 * handed to it (Landlock), has no network and only the system calls on a short list (seccomp), no new privileges, an
 * empty environment, bounded memory, CPU time and file size, a process group of its own, and dies with its caller.
 * No shell; no rights are needed for it.
 *
 * Blocks until the tool has ended; any thread that lives as long (the tool is killed when the thread that started it
 * ends). ERR_UNSUPPORTED where the kernel cannot confine it: it is not run then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PROCESS_FILES_MAX  4
#define PROCESS_FIRST_FILE 3 /* files[i] is its descriptor 3 + i, also as /proc/self/fd/3 */

struct process_file {
	int fd; /* borrowed */
	bool is_writable;
};

struct process_config {
	const char *const *argv; /* argv[0]: the program's absolute path; ends with NULL */
	struct process_file files[PROCESS_FILES_MAX];
	size_t n_files;
	int64_t memory_bytes, cpu_seconds,
	        file_bytes; /* of its address space, CPU time, each file it writes */
	/* As it comes, not terminated; may be NULL. */
	void (*on_output)(void *arg, const char *text, size_t n);
	/* Asked several times a second; true: it is killed and the result is ERR_CANCELLED. May be NULL. */
	bool (*is_cancelled)(void *arg);
	void *arg;
};

struct process_result {
	int exit_code; /* -1: ended by a signal */
	int signal;
	char errors[2048]; /* the beginning of what it wrote to stderr */
};

int process_run(
        const struct process_config *config, struct process_result *ret_result, struct err *e);
