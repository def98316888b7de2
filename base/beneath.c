/* SPDX-License-Identifier: Apache-2.0 */
/* Files beneath a directory, by openat2. */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINKLESS (RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
/* A rename elsewhere in the file system makes the kernel give up a look-up that it cannot prove to be beneath. */
#define TRIES 100

static int open_resolving(
        int directory_fd, const char *name, int flags, mode_t mode, unsigned resolve)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
	        .mode = flags & O_CREAT ? mode : 0,
	        .resolve = resolve};
	long fd = -1;
	for (int i = 0; i < TRIES; i++) {
		fd = syscall(SYS_openat2, directory_fd, name, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return (int)fd;
}

static int open_beneath(int directory_fd, const char *name, int flags, mode_t mode)
{
	return open_resolving(directory_fd, name, flags, mode, LINKLESS | RESOLVE_BENEATH);
}

static int explain(int saved_errno, const char *name, struct err *e)
{
	if (saved_errno == ELOOP || saved_errno == EXDEV)
		return err_set(e, ERR_HOST_PERMISSION,
		        "%s is a link or leads out of its directory: it is not followed", name);
	return err_set_errno(e, saved_errno, "opening %s", name);
}

int beneath_open_root(const char *path, struct err *e)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "creating the directory %s", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(e, errno, "opening the directory %s", path);
	struct stat st;
	if (fstat(fd, &st) == 0 && !(st.st_mode & S_IWOTH))
		return fd;
	close(fd);
	return err_set(
	        e, ERR_HOST_PERMISSION, "the directory %s may be written to by everybody", path);
}

int beneath_open_existing(const char *path, struct err *e)
{
	int fd = open_resolving(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, LINKLESS);
	return fd < 0 ? explain(errno, path, e) : fd;
}

int beneath_open_directory(int root_fd, const char *name, struct err *e)
{
	if (mkdirat(root_fd, name, 0700) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "creating the directory %s", name);
	int fd = open_beneath(root_fd, name, O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? explain(errno, name, e) : fd;
}

int beneath_open(int directory_fd, const char *name, int flags, struct err *e)
{
	/* NONBLOCK: a pipe put in its place must not hold us. */
	const int always = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd = open_beneath(directory_fd, name, flags | always, 0600);
	if (fd < 0)
		return explain(errno, name, e);
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink <= 1)
		return fd;
	close(fd);
	return err_set(e, ERR_HOST_PERMISSION, "%s is not a plain file of its own", name);
}

/* One component: a name with a slash could be led astray by a link in it. */
static int check_component(const char *name, struct err *e)
{
	if (name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		return 0;
	return err_set(e, ERR_INTERNAL, "%s is not a file's name", name);
}

int beneath_unlink(int directory_fd, const char *name, struct err *e)
{
	int rc = check_component(name, e);
	if (rc < 0)
		return rc;
	if (unlinkat(directory_fd, name, 0) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "removing %s", name);
	return 0;
}

int beneath_rename(int from_fd, const char *from, int to_fd, const char *to, struct err *e)
{
	int rc = check_component(from, e);
	if (rc == 0)
		rc = check_component(to, e);
	if (rc < 0)
		return rc;
	if (renameat(from_fd, from, to_fd, to) < 0)
		return err_set_errno(e, errno, "renaming %s to %s", from, to);
	return 0;
}

int beneath_sync_directory(int directory_fd, struct err *e)
{
	return fsync(directory_fd) < 0 ? err_set_errno(e, errno, "syncing a directory") : 0;
}
