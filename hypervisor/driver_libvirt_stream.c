/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume's bytes through libvirt's streams, blocking, on the given connection. A stream that is not finished is
 * aborted: libvirt tells a failure on the host's side with the next block or at the end. Bulk threads.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

/* What libvirt's own virStreamSendAll takes: the payload of one message that every libvirtd accepts. */
#define BLOCK_BYTES ((size_t)262120)
/* Of a download that may be under way at once. */
#define WINDOW_BYTES ((int64_t)4 * 1024 * 1024)

/* Ends what has begun and was not finished. */
static void cleanup_stream(virStreamPtr *stream)
{
	if (!*stream)
		return;
	virStreamAbort(*stream);
	virStreamFree(*stream);
}

static int finish(virStreamPtr *stream, const char *volume, struct err *e)
{
	virStreamPtr ended = TAKE(*stream);
	int r = virStreamFinish(ended) < 0 ? libvirt_error_take(e, "finishing volume %s", volume)
	                                   : 0;
	virStreamFree(ended);
	return r;
}

static size_t next_block(int64_t length, int64_t done)
{
	int64_t left = length > 0 ? length - done : (int64_t)BLOCK_BYTES;
	return left < (int64_t)BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
}

static int check_length(
        const char *what, const char *volume, int64_t length, int64_t done, struct err *e)
{
	if (length == 0 || done == length)
		return 0;
	return err_set(e, ERR_UNPROCESSABLE, "the %s of volume %s ended after %lld of %lld bytes",
	        what, volume, (long long)done, (long long)length);
}

static int open_stream(struct driver_connection *c, virStreamPtr *ret_stream, struct err *e)
{
	*ret_stream = virStreamNew(c->libvirt, 0);
	return *ret_stream ? 0 : libvirt_error_take(e, "opening a stream");
}

/* --- upload --- */

static int send_all(
        virStreamPtr stream, const char *volume, const char *bytes, size_t n, struct err *e)
{
	while (n > 0) {
		int sent = virStreamSend(stream, bytes, n);
		if (sent < 0)
			return libvirt_error_take(e, "writing volume %s", volume);
		bytes += sent;
		n -= (size_t)sent;
	}
	return 0;
}

static int send_source(virStreamPtr stream, const char *volume, int64_t length,
        const struct volume_source *from, struct err *e)
{
	char *buffer CLEANUP(cleanup_free) = xcalloc(1, BLOCK_BYTES);
	int64_t done = 0;
	for (size_t want; (want = next_block(length, done)) > 0;) {
		int64_t got = from->read(from->arg, buffer, want, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		int r = send_all(stream, volume, buffer, (size_t)got, e);
		if (r < 0)
			return r;
		done += got;
	}
	return check_length("upload", volume, length, done, e);
}

int libvirt_volume_upload(struct driver_connection *c, const char *pool, const char *name,
        int64_t offset, int64_t length, const struct volume_source *from, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	int r = libvirt_volume_find(c, pool, name, &volume, e);
	if (r < 0)
		return r;
	virStreamPtr stream CLEANUP(cleanup_stream) = NULL;
	r = open_stream(c, &stream, e);
	if (r < 0)
		return r;
	if (virStorageVolUpload(
	            volume, stream, (unsigned long long)offset, (unsigned long long)length, 0) < 0)
		return libvirt_error_take(e, "writing volume %s in pool %s", name, pool);
	r = send_source(stream, name, length, from, e);
	return r < 0 ? r : finish(&stream, name, e);
}

/* --- download --- */

/* All of one stream; *ret_got bytes, also on errors. */
static int receive_all(virStreamPtr stream, const char *volume, const struct volume_sink *to,
        int64_t *ret_got, struct err *e)
{
	char *buffer CLEANUP(cleanup_free) = xcalloc(1, BLOCK_BYTES);
	for (;;) {
		int got = virStreamRecv(stream, buffer, BLOCK_BYTES);
		if (got < 0)
			return libvirt_error_take(e, "reading volume %s", volume);
		if (got == 0)
			return 0;
		int r = to->write(to->arg, buffer, (size_t)got, e);
		if (r < 0)
			return r;
		*ret_got += got;
	}
}

static int download_window(struct driver_connection *c, virStorageVolPtr volume, const char *name,
        int64_t offset, int64_t length, const struct volume_sink *to, int64_t *ret_got,
        struct err *e)
{
	virStreamPtr stream CLEANUP(cleanup_stream) = NULL;
	int r = open_stream(c, &stream, e);
	if (r < 0)
		return r;
	if (virStorageVolDownload(
	            volume, stream, (unsigned long long)offset, (unsigned long long)length, 0) < 0)
		return libvirt_error_take(e, "reading volume %s", name);
	r = receive_all(stream, name, to, ret_got, e);
	return r < 0 ? r : finish(&stream, name, e);
}

/*
 * In pieces: libvirt's client takes all that its server sends into memory, however slowly it is read here, and the server
 * sends all that was asked for.
 */
int libvirt_volume_download(struct driver_connection *c, const char *pool, const char *name,
        int64_t offset, int64_t length, const struct volume_sink *to, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	int r = libvirt_volume_find(c, pool, name, &volume, e);
	int64_t done = 0, want, got;
	if (r < 0)
		return r;
	do {
		want = length > 0 && length - done < WINDOW_BYTES ? length - done : WINDOW_BYTES;
		got = 0;
		r = download_window(c, volume, name, offset + done, want, to, &got, e);
		if (r < 0)
			return r;
		done += got;
	} while (got == want && done != length);
	return check_length("download", name, length, done, e);
}
