/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a confined tool.
 *
 *	make the confinement and pipes -> fork -> child: descriptors, limits, confinement, exec
 *	                                    \-> follow its output until both pipes end -> wait
 *
 * Between fork and exec the child of a program with threads may do no more than a signal handler: system calls.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process_confine.h"

#define POLL_MS   200
#define REAP_MS   5
#define FILES_MAX 64

struct child {
	const struct process_config *config;
	struct confinement confinement;
	int null_fd, output[2], errors[2], failure[2]; /* pipes: read end, write end */
	pid_t parent, pid;
};

/* ---- the child ---- */

static int limit(int resource, int64_t value)
{
	const struct rlimit l = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
	return setrlimit((__rlimit_resource_t)resource, &l);
}

static int set_limits(const struct process_config *config)
{
	if (limit(RLIMIT_AS, config->memory_bytes) < 0 ||
	        limit(RLIMIT_CPU, config->cpu_seconds) < 0 ||
	        limit(RLIMIT_FSIZE, config->file_bytes) < 0 || limit(RLIMIT_CORE, 0) < 0 ||
	        limit(RLIMIT_NOFILE, FILES_MAX) < 0)
		return errno;
	return 0;
}

/* Out of the way of the numbers that are to be given out. */
static int move_up(int *fd)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, 32);
	if (moved < 0)
		return errno;
	*fd = moved;
	return 0;
}

static int set_files(struct child *c, int files[PROCESS_FILES_MAX])
{
	size_t n = c->config->n_files;
	int rc = move_up(&c->null_fd);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = move_up(&files[i]);
	if (rc == 0)
		rc = move_up(&c->output[1]);
	if (rc == 0)
		rc = move_up(&c->errors[1]);
	if (rc == 0)
		rc = move_up(&c->failure[1]);
	if (rc == 0)
		rc = move_up(&c->confinement.ruleset_fd);
	if (rc != 0)
		return rc;
	if (dup2(c->null_fd, 0) < 0 || dup2(c->output[1], 1) < 0 || dup2(c->errors[1], 2) < 0)
		return errno;
	for (size_t i = 0; i < n; i++)
		if (dup2(files[i], PROCESS_FIRST_FILE + (int)i) < 0)
			return errno;
	return 0;
}

static int set_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	signal(SIGXFSZ,
	        SIG_IGN); /* so that a file that grows too large is an error it can report */
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? errno : 0;
}

/* Everything but what was given out goes: close-on-exec suffices, but not all of a program's libraries set it. */
static void close_others(const struct child *c)
{
	int keep[] = {c->failure[1], c->confinement.ruleset_fd};
	if (keep[0] > keep[1]) {
		int low = keep[1];
		keep[1] = keep[0];
		keep[0] = low;
	}
	unsigned from = PROCESS_FIRST_FILE + (unsigned)c->config->n_files;
	for (size_t i = 0; i < ARRAY_LEN(keep); i++) {
		if ((unsigned)keep[i] > from)
			syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	syscall(SYS_close_range, from, ~0U, 0);
}

static int become_tool(struct child *c)
{
	int files[PROCESS_FILES_MAX] = {0};
	for (size_t i = 0; i < c->config->n_files; i++)
		files[i] = c->config->files[i].fd;
	if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return errno;
	if (getppid() != c->parent) /* it died before the line above */
		return ESRCH;
	umask(077);
	int rc = set_files(c, files);
	if (rc == 0)
		rc = set_signals();
	if (rc == 0)
		rc = chdir("/") < 0 ? errno : 0;
	if (rc != 0)
		return rc;
	close_others(c);
	rc = set_limits(c->config);
	return rc != 0 ? rc : confinement_put_on(&c->confinement);
}

static _Noreturn void run_child(struct child *c)
{
	static const char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
	int rc = become_tool(c);
	if (rc == 0) {
		execve(c->config->argv[0], (char *const *)(uintptr_t)c->config->argv,
		        (char *const *)(uintptr_t)environment);
		rc = errno;
	}
	if (write(c->failure[1], &rc, sizeof(rc)) < 0)
		_exit(126);
	_exit(127);
}

/* ---- the caller ---- */

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(struct child *c)
{
	close_end(&c->null_fd);
	for (int i = 0; i < 2; i++) {
		close_end(&c->output[i]);
		close_end(&c->errors[i]);
		close_end(&c->failure[i]);
	}
	confinement_done(&c->confinement);
}

static int open_all(struct child *c, struct err *e)
{
	c->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (c->null_fd < 0 || pipe2(c->output, O_CLOEXEC) < 0 || pipe2(c->errors, O_CLOEXEC) < 0 ||
	        pipe2(c->failure, O_CLOEXEC) < 0)
		return err_set_errno(e, errno, "making pipes for %s", c->config->argv[0]);
	return confinement_make(c->config, &c->confinement, e);
}

static int start(struct child *c, struct err *e)
{
	c->parent = getpid();
	c->pid = fork();
	if (c->pid == 0)
		run_child(c);
	if (c->pid < 0)
		return err_set_errno(e, errno, "starting %s", c->config->argv[0]);
	close_end(&c->output[1]);
	close_end(&c->errors[1]);
	close_end(&c->failure[1]);
	int failure = 0;
	ssize_t n;
	while ((n = read(c->failure[0], &failure, sizeof(failure))) < 0 && errno == EINTR)
		;
	return n == sizeof(failure) ? err_set_errno(e, failure, "starting %s", c->config->argv[0])
	                            : 0;
}

static void take_output(struct child *c)
{
	char text[4096];
	ssize_t n = read(c->output[0], text, sizeof(text));
	if (n <= 0)
		close_end(&c->output[0]);
	else if (c->config->on_output)
		c->config->on_output(c->config->arg, text, (size_t)n);
}

static void take_errors(struct child *c, struct process_result *result)
{
	char text[1024];
	ssize_t n = read(c->errors[0], text, sizeof(text));
	size_t used = strlen(result->errors), room = sizeof(result->errors) - 1 - used;
	if (n <= 0)
		close_end(&c->errors[0]);
	else
		memcpy(result->errors + used, text, (size_t)n < room ? (size_t)n : room);
}

/* Until it has closed both; true if it shall be killed. */
static bool follow(struct child *c, struct process_result *result)
{
	while (c->output[0] >= 0 || c->errors[0] >= 0) {
		struct pollfd fds[] = {{.fd = c->output[0], .events = POLLIN},
		        {.fd = c->errors[0], .events = POLLIN}};
		int n = poll(fds, ARRAY_LEN(fds), POLL_MS);
		if (n > 0 && fds[0].revents)
			take_output(c);
		if (n > 0 && fds[1].revents)
			take_errors(c, result);
		if (c->config->is_cancelled && c->config->is_cancelled(c->config->arg))
			return true;
	}
	return false;
}

/* Until it has ended: it may live on without its pipes. True if it was killed meanwhile. */
static bool reap(struct child *c, struct process_result *result, bool is_killed)
{
	int status = 0;
	pid_t pid;
	while ((pid = waitpid(c->pid, &status, is_killed ? 0 : WNOHANG)) <= 0) {
		if (pid < 0 && errno != EINTR)
			break;
		if (!is_killed && c->config->is_cancelled &&
		        c->config->is_cancelled(c->config->arg)) {
			kill(c->pid, SIGKILL);
			is_killed = true;
		} else if (!is_killed) {
			poll(NULL, 0, REAP_MS);
		}
	}
	result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return is_killed;
}

static int run(struct child *c, struct process_result *result, struct err *e)
{
	int rc = open_all(c, e);
	if (rc == 0)
		rc = start(c, e);
	if (c->pid <= 0)
		return rc;
	bool is_killed = rc < 0 || follow(c, result);
	if (is_killed)
		kill(c->pid, SIGKILL);
	is_killed = reap(c, result, is_killed);
	if (rc < 0 || !is_killed)
		return rc;
	return err_set(e, ERR_CANCELLED, "cancelled");
}

int process_run(
        const struct process_config *config, struct process_result *ret_result, struct err *e)
{
	struct child c = {.config = config,
	        .confinement = {.ruleset_fd = -1},
	        .null_fd = -1,
	        .output = {-1, -1},
	        .errors = {-1, -1},
	        .failure = {-1, -1}};
	*ret_result = (struct process_result){.exit_code = -1};
	int rc = run(&c, ret_result, e);
	close_all(&c);
	return rc;
}
