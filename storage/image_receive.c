/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving an upload into the staging directory. */
#include "storage/image_receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static int cut(struct image_receiver *receiver, int64_t bytes, struct err *e)
{
	struct stat st;
	if (fstat(receiver->fd, &st) < 0)
		return err_set_errno(e, errno, "looking at the upload");
	if (st.st_size < bytes)
		return err_set(e, ERR_RANGE,
		        "of the upload %lld bytes are left: it begins anew at 0",
		        (long long)st.st_size);
	if (ftruncate(receiver->fd, bytes) < 0)
		return err_set_errno(
		        e, errno, "cutting the upload to %lld bytes", (long long)bytes);
	receiver->received = bytes;
	receiver->is_looked_at = bytes >= IMAGE_HEAD_BYTES;
	return 0;
}

int image_receiver_open(struct image_receiver *receiver, struct err *e)
{
	receiver->fd =
	        images_open(receiver->images, receiver->id, IMAGE_FILE_UPLOAD, O_RDWR | O_CREAT, e);
	if (receiver->fd < 0)
		return receiver->fd;
	int rc = cut(receiver, receiver->first, e);
	if (rc == 0 && receiver->total > receiver->first)
		rc = images_check_room(receiver->images, receiver->total - receiver->first, e);
	return rc;
}

static int look_at_head(struct image_receiver *receiver, size_t n, struct err *e)
{
	struct image_facts facts;
	char *head CLEANUP(cleanup_free) = xcalloc(1, IMAGE_HEAD_BYTES);
	int64_t total = receiver->total >= 0 ? receiver->total : INT64_MAX / 2;
	receiver->is_looked_at = true;
	if (pread(receiver->fd, head, n, 0) != (ssize_t)n)
		return err_set_errno(e, errno, "reading the upload");
	return image_inspect_head(head, n, total, receiver->format,
	        receiver->total >= 0 ? images_options(receiver->images)->max_virtual_bytes : 0,
	        &facts, e);
}

static int write_all(struct image_receiver *receiver, const char *bytes, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t done = pwrite(receiver->fd, bytes, n, receiver->received);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(e, errno, "writing the upload");
		bytes += done;
		n -= (size_t)done;
		receiver->received += done;
	}
	return 0;
}

int image_receiver_take(struct image_receiver *receiver, const void *bytes, size_t n, struct err *e)
{
	int rc = write_all(receiver, bytes, n, e);
	if (rc == 0 && !receiver->is_looked_at && receiver->received >= IMAGE_HEAD_BYTES)
		rc = look_at_head(receiver, IMAGE_HEAD_BYTES, e);
	return rc;
}

int image_receiver_end(struct image_receiver *receiver, struct err *e)
{
	receiver->total = receiver->received;
	if (receiver->received == 0)
		return err_set(e, ERR_UNPROCESSABLE, "it is empty");
	return receiver->is_looked_at ? 0 : look_at_head(receiver, (size_t)receiver->received, e);
}

int image_receiver_sync(struct image_receiver *receiver, struct err *e)
{
	return fdatasync(receiver->fd) < 0 ? err_set_errno(e, errno, "syncing the upload") : 0;
}

int image_receiver_rewind(struct image_receiver *receiver, struct err *e)
{
	return cut(receiver, receiver->first, e);
}

void image_receiver_close(struct image_receiver *receiver)
{
	cleanup_fd(&receiver->fd);
	receiver->fd = -1;
}
