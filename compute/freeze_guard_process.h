/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard as a process: how it is started, and what it and berthd tell each other, one JSON object per message over a
 * pair of sockets. Its end is the end of the other side.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* berthd -> guard, first: what to do. Anything after it: thaw now. */
struct freeze_order {
	const char *uri, *vm_id;
	bool freeze; /* false: thaw what someone left */
};

struct freeze_process {
	pid_t pid;
	int64_t start; /* of /proc/PID/stat: with the pid it names the process for ever */
	int fd;        /* our end, non-blocking; -1: closed */
};

/* Starts berthd's own program as guard, in a session of its own, with nothing of ours open but its socket. Core loop. */
int freeze_process_start(const char *vm_id, struct freeze_process *ret_process, struct err *e);
bool freeze_process_is_alive(pid_t pid, int64_t start);

int freeze_order_send(int fd, const struct freeze_order *order);
/* True if one came; *ret_ended when the guard has closed its end. */
bool freeze_message_receive(int fd, json_t **ret_message, bool *ret_ended);
