/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock and seccomp for base/process.c. */
#include "base/process_confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13) /* ABI 2 */
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#endif
#define ACCESS_ABI_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define ACCESS_READ  LANDLOCK_ACCESS_FS_READ_FILE
#define ACCESS_RUN   (ACCESS_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define ACCESS_WRITE (ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)

/* What a program of the system needs to begin; missing ones are passed over. */
static const struct {
	const char *path;
	uint64_t access;
} system_paths[] = {
        {"/lib", ACCESS_RUN},
        {"/lib64", ACCESS_RUN},
        {"/usr/lib", ACCESS_RUN},
        {"/usr/lib64", ACCESS_RUN},
        {"/etc/ld.so.cache", ACCESS_READ},
        {"/dev/null", ACCESS_WRITE},
};

/* Files, memory, threads of its own, time. Neither sockets nor other processes nor mounts. */
static const char *const system_calls[] = {"access", "arch_prctl", "brk", "clock_getres",
        "clock_gettime", "clock_nanosleep", "close", "close_range", "copy_file_range", "dup",
        "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2",
        "execve", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fallocate",
        "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "futex", "getcwd",
        "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getrlimit", "gettid",
        "gettimeofday", "getuid", "ioctl", "lseek", "lstat", "madvise", "membarrier", "mmap",
        "mprotect", "mremap", "munmap", "nanosleep", "newfstatat", "open", "openat", "pipe2",
        "poll", "ppoll", "prctl", "pread64", "preadv", "preadv2", "prlimit64", "pselect6",
        "pwrite64", "pwritev", "pwritev2", "read", "readlink", "readlinkat", "readv",
        "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
        "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sched_getaffinity", "sched_yield",
        "select", "set_robust_list", "set_tid_address", "sigaltstack", "signalfd4", "stat",
        "statfs", "statx", "sync_file_range", "sysinfo", "tgkill", "timerfd_create",
        "timerfd_settime", "timer_create", "timer_delete", "timer_settime", "uname", "write",
        "writev"};

/* ---- files ---- */

static int add_rule(int ruleset_fd, int fd, uint64_t access, uint64_t known, struct err *e)
{
	const struct landlock_path_beneath_attr rule = {
	        .allowed_access = access & known, .parent_fd = fd};
	if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return err_set_errno(e, errno, "confining a tool to its files");
	return 0;
}

static int add_path(
        int ruleset_fd, const char *path, uint64_t access, uint64_t known, struct err *e)
{
	int fd CLEANUP(cleanup_fd) = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "opening %s", path);
	if (S_ISDIR(st.st_mode))
		access |= LANDLOCK_ACCESS_FS_READ_DIR;
	return add_rule(ruleset_fd, fd, access, known, e);
}

static int add_rules(
        const struct process_config *config, int ruleset_fd, uint64_t known, struct err *e)
{
	int rc = add_path(ruleset_fd, config->argv[0], ACCESS_RUN, known, e);
	for (size_t i = 0; i < ARRAY_LEN(system_paths) && rc == 0; i++)
		rc = add_path(ruleset_fd, system_paths[i].path, system_paths[i].access, known, e);
	for (size_t i = 0; i < config->n_files && rc == 0; i++)
		rc = add_rule(ruleset_fd, config->files[i].fd,
		        config->files[i].is_writable ? ACCESS_WRITE : ACCESS_READ, known, e);
	return rc;
}

static int make_ruleset(const struct process_config *config, int *ret_fd, struct err *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1) {
		err_set(e, ERR_UNSUPPORTED,
		        "%s cannot be confined: this kernel has no Landlock (%s)", config->argv[0],
		        strerror(errno));
		return err_hint(e, "Linux 5.13 or newer with landlock among its security modules");
	}
	uint64_t known = ACCESS_ABI_1;
	if (abi >= 2)
		known |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		known |= LANDLOCK_ACCESS_FS_TRUNCATE;
	const struct landlock_ruleset_attr attr = {.handled_access_fs = known};
	int fd =
	        (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (fd < 0)
		return err_set_errno(e, errno, "confining a tool to its files");
	int rc = add_rules(config, fd, known, e);
	if (rc < 0)
		close(fd);
	else
		*ret_fd = fd;
	return rc;
}

/* ---- system calls ---- */

static int add_calls(scmp_filter_ctx ctx)
{
	int rc = 0;
	for (size_t i = 0; i < ARRAY_LEN(system_calls) && rc == 0; i++) {
		int number = seccomp_syscall_resolve_name(system_calls[i]);
		if (number != __NR_SCMP_ERROR)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number, 0);
	}
	if (rc == 0) /* threads, not processes */
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (rc == 0) /* its flags lie in memory, which a filter cannot see: glibc then uses clone */
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return rc;
}

/* The program's text, by way of a file without a name. */
static int export_filter(scmp_filter_ctx ctx, struct confinement *confinement)
{
	int fd CLEANUP(cleanup_fd) = memfd_create("filter", MFD_CLOEXEC);
	struct stat st;
	int rc = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	if (rc < 0 || fstat(fd, &st) < 0)
		return rc < 0 ? rc : -errno;
	confinement->filter = xcalloc(1, (size_t)st.st_size);
	confinement->n_filter = (size_t)st.st_size / sizeof(struct sock_filter);
	return pread(fd, confinement->filter, (size_t)st.st_size, 0) == st.st_size ? 0 : -EIO;
}

static int make_filter(struct confinement *confinement, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!ctx)
		return err_set(e, ERR_UNSUPPORTED, "this system has no seccomp");
	int rc = add_calls(ctx);
	if (rc == 0)
		rc = export_filter(ctx, confinement);
	seccomp_release(ctx);
	return rc < 0 ? err_set_errno(e, -rc, "making a filter of system calls") : 0;
}

int confinement_make(
        const struct process_config *config, struct confinement *ret_confinement, struct err *e)
{
	struct confinement made = {.ruleset_fd = -1};
	int rc = make_ruleset(config, &made.ruleset_fd, e);
	if (rc == 0)
		rc = make_filter(&made, e);
	if (rc < 0)
		confinement_done(&made);
	else
		*ret_confinement = made;
	return rc;
}

void confinement_done(struct confinement *confinement)
{
	if (confinement->ruleset_fd >= 0)
		close(confinement->ruleset_fd);
	free(confinement->filter);
	*confinement = (struct confinement){.ruleset_fd = -1};
}

int confinement_put_on(const struct confinement *confinement)
{
	const struct sock_fprog program = {
	        .len = (unsigned short)confinement->n_filter, .filter = confinement->filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	        syscall(SYS_landlock_restrict_self, confinement->ruleset_fd, 0) < 0 ||
	        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return errno;
	return 0;
}
