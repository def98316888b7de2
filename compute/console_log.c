/* SPDX-License-Identifier: Apache-2.0 */
/* Reading console logs. virtlogd on the host bounds and rotates them. */
#include "compute/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/cleanup.h"
#include "compute/vm_domain.h"
#include "compute/vm_live.h"

/* The directory is looked up anew each time, as libvirt does that writes there: a file of another day is not read. */
static int open_log(const char *directory, const char *name, struct err *e)
{
	int dir CLEANUP(cleanup_fd) = beneath_open_existing(directory, e);
	return dir < 0 ? dir : beneath_open(dir, name, O_RDONLY, e);
}

/* A guest may print anything: what is not printable ASCII or a line break becomes '?'. */
static void add_printable(struct str *text, const char *data, size_t len)
{
	str_reserve(text, len);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];
		bool fine = c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f);
		if (c != '\r')
			str_add_char(text, fine ? (char)c : '?');
	}
}

static int read_end(int fd, size_t max_bytes, struct str *text, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "looking at the console log");
	off_t at = st.st_size > (off_t)max_bytes ? st.st_size - (off_t)max_bytes : 0;
	char chunk[16384];
	while (max_bytes > 0) {
		size_t want = max_bytes < sizeof(chunk) ? max_bytes : sizeof(chunk);
		ssize_t got = pread(fd, chunk, want, at);
		if (got < 0)
			return err_set_errno(e, errno, "reading the console log");
		if (got == 0)
			break;
		add_printable(text, chunk, (size_t)got);
		at += got;
		max_bytes -= (size_t)got;
	}
	return 0;
}

int console_log_read(struct db *db, struct vms *vms, const struct vm_row *row, size_t max_bytes,
        struct str *text, struct err *e)
{
	struct host_row host CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, row->host_id, &host, e);
	if (rc < 0)
		return rc;
	if (strcmp(host.access, "local") != 0)
		return err_set(e, ERR_UNSUPPORTED,
		        "the console log of VM %s lies on host %s, which is remote", row->name,
		        host.name);
	str_add(text, "");
	char *path CLEANUP(cleanup_free) = vm_console_path(vms->console_directory, row->id);
	int fd CLEANUP(cleanup_fd) = open_log(vms->console_root, strrchr(path, '/') + 1, e);
	if (fd >= 0)
		return read_end(fd, max_bytes, text, e);
	if (fd != ERR_NOT_FOUND)
		return err_prefix(e, "the console log of VM %s", row->name);
	err_clear(e);
	return 0;
}
