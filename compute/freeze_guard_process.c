/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard process: its start from the core loop, its messages, and its own main, which is all that runs in it.
 */
#include "compute/freeze_guard_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/freeze_guard.h"
#include "hypervisor/freeze_guard.h"

#define GUARD_FD         3
#define MESSAGE_MAX      4096
#define THAW_PAUSE_MS    500
#define THAW_DEADLINE_MS 600000

static const char *const news_names[] = {
        [FREEZE_NEWS_FROZEN] = "frozen",
        [FREEZE_NEWS_REFUSED] = "refused",
        [FREEZE_NEWS_UNANSWERED] = "unanswered",
        [FREEZE_NEWS_THAWED] = "thawed",
        [FREEZE_NEWS_GAVE_UP] = "gave_up",
};

/* ---- messages ---- */

/* Consumes `message`. */
static int send_message(int fd, json_t *message)
{
	char *text CLEANUP(cleanup_free) = json_dumps(message, JSON_COMPACT);
	json_decref(message);
	ssize_t n = text ? send(fd, text, strlen(text), MSG_NOSIGNAL) : -1;
	return n < 0 ? -1 : 0;
}

bool freeze_message_receive(int fd, json_t **ret_message, bool *ret_ended)
{
	char text[MESSAGE_MAX];
	ssize_t n = recv(fd, text, sizeof(text), 0);
	/* The other side ended with a word of ours unread; its own words are there still. */
	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, text, sizeof(text), 0);
	*ret_ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	*ret_message = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	return *ret_message != NULL;
}

int freeze_order_send(int fd, const struct freeze_order *order)
{
	return send_message(fd, json_pack("{s:s, s:s, s:b}", "uri", order->uri, "vm_id",
	                                order->vm_id, "freeze", (int)order->freeze));
}

/* ---- the start ---- */

/* The 22nd field of /proc/PID/stat; the second one may contain anything. -1: no such process. */
static int64_t read_start(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	const char *at = strrchr(text, ')');
	if (at && at[1] && at[2] == 'Z')
		return -1; /* ended, and not yet waited for */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoll(at + 1, NULL, 10) : -1;
}

bool freeze_process_is_alive(pid_t pid, int64_t start)
{
	return pid > 0 && read_start(pid) == start;
}

/* Signals as a fresh program expects them, a session of its own, and no file of ours. */
static int spawn(const char *vm_id, int fd, pid_t *ret_pid)
{
	char *const argv[] = {(char *)"berthd", (char *)FREEZE_GUARD_OPTION, (char *)vm_id, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(
	        &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fd, GUARD_FD);
	for (int i = 0; i < GUARD_FD; i++)
		posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_addclosefrom_np(&files, GUARD_FD + 1);
	posix_spawn_file_actions_addchdir_np(&files, "/");
	int rc = posix_spawn(ret_pid, "/proc/self/exe", &files, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	return rc;
}

int freeze_process_start(const char *vm_id, struct freeze_process *ret_process, struct err *e)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set_errno(e, errno, "making a socket for the freeze guard");
	int rc = spawn(vm_id, pair[1], &ret_process->pid);
	close(pair[1]);
	if (rc != 0) {
		close(pair[0]);
		return err_set_errno(e, rc, "starting the freeze guard");
	}
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	ret_process->fd = pair[0];
	ret_process->start = read_start(ret_process->pid);
	return 0;
}

/* ---- the guard's own main ---- */

static volatile sig_atomic_t is_asked_to_end;

static void on_signal(int number)
{
	(void)number;
	is_asked_to_end = 1;
}

/* Asked to end, it thaws first. */
static void take_signals(void)
{
	const struct sigaction thaw_now = {.sa_handler = on_signal};
	const struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGTERM, &thaw_now, NULL);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

static bool wait_for_word(void *arg, int timeout_ms)
{
	(void)arg;
	struct pollfd poller = {.fd = GUARD_FD, .events = POLLIN};
	return is_asked_to_end || poll(&poller, 1, timeout_ms) != 0;
}

static void tell(void *arg, enum freeze_news news, int rc, const struct err *e)
{
	const char *vm_id = arg;
	if (news == FREEZE_NEWS_GAVE_UP)
		syslog(LOG_ERR, "VM %s may still be frozen: its agent did not say \"thawed\": %s",
		        vm_id, e->message);
	send_message(GUARD_FD,
	        json_pack("{s:s, s:s, s:s, s:s, s:i}", "news", news_names[news], "code",
	                rc < 0 ? err_info(rc)->name : "", "message", rc < 0 ? e->message : "",
	                "hint", rc < 0 ? e->hint : "", "filesystems", rc < 0 ? 0 : rc));
}

int freeze_guard_main(const char *vm_id)
{
	json_t *order = NULL;
	bool ended;
	take_signals();
	openlog("berthd-freeze-guard", LOG_PID, LOG_DAEMON);
	if (!freeze_message_receive(GUARD_FD, &order, &ended))
		return EXIT_SUCCESS; /* berthd was gone before anything was begun */
	const char *uri = json_string_value(json_object_get(order, "uri"));
	const struct freeze_watch watch = {
	        .uri = uri ? uri : "",
	        .vm_id = vm_id,
	        .freeze = json_is_true(json_object_get(order, "freeze")),
	        .hold_ms = FREEZE_HOLD_MS,
	        .pause_ms = THAW_PAUSE_MS,
	        .deadline_ms = THAW_DEADLINE_MS,
	        .wait = wait_for_word,
	        .tell = tell,
	        .arg = (void *)vm_id,
	};
	freeze_watch_run(&watch);
	json_decref(order);
	/* What was told and not read would be an error to the other side, in place of the end. */
	char rest[64];
	while (recv(GUARD_FD, rest, sizeof(rest), MSG_DONTWAIT) > 0)
		;
	return EXIT_SUCCESS;
}
