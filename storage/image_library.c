/* SPDX-License-Identifier: Apache-2.0 */
/* The image library's directory. Lock: `lock` guards the lists of uploads and of claims, for moments. */
#include "storage/image_library.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/beneath.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "storage/image_fetch.h"

#define STALL_MS 30000

struct upload_claim {
	char id[UUID_TEXT_SIZE];
};

struct room_claim {
	char id[UUID_TEXT_SIZE];
	int64_t bytes;
};

struct images {
	struct image_options options; /* texts owned */
	int staging_fd, library_fd;
	pthread_mutex_t lock;
	VEC(struct upload_claim) uploads;
	VEC(struct room_claim) rooms;
	struct image_work *works; /* core loop */
};

static int open_directories(struct images *images, struct err *e)
{
	int root CLEANUP(cleanup_fd) = beneath_open_root(images->options.directory, e);
	if (root < 0)
		return root;
	images->staging_fd = beneath_open_directory(root, "staging", e);
	if (images->staging_fd < 0)
		return images->staging_fd;
	images->library_fd = beneath_open_directory(root, "library", e);
	return images->library_fd < 0 ? images->library_fd : 0;
}

int images_new(const struct image_options *options, struct images **ret_images, struct err *e)
{
	struct images *images = xcalloc(1, sizeof(*images));
	images->options = *options;
	images->options.directory = xstrdup(options->directory);
	images->options.qemu_img = xstrdup(options->qemu_img);
	if (images->options.stall_ms == 0)
		images->options.stall_ms = STALL_MS;
	images->staging_fd = images->library_fd = -1;
	pthread_mutex_init(&images->lock, NULL);
	int rc = open_directories(images, e);
	if (rc == 0)
		rc = image_fetch_init(e);
	if (rc < 0)
		images_free(images);
	else
		*ret_images = images;
	return rc;
}

void images_free(struct images *images)
{
	if (!images)
		return;
	image_works_release(images->works);
	VEC_DONE(&images->uploads);
	VEC_DONE(&images->rooms);
	cleanup_fd(&images->staging_fd);
	cleanup_fd(&images->library_fd);
	pthread_mutex_destroy(&images->lock);
	free((char *)(uintptr_t)images->options.directory);
	free((char *)(uintptr_t)images->options.qemu_img);
	free(images);
}

const struct image_options *images_options(const struct images *images)
{
	return &images->options;
}

/* ---- uploads ---- */

static size_t find_claim(const struct images *images, const char *id)
{
	size_t i = 0;
	while (i < images->uploads.len && !str_equal(images->uploads.items[i].id, id))
		i++;
	return i;
}

bool images_claim_upload(struct images *images, const char *id)
{
	LOCK_SCOPE(&images->lock);
	if (find_claim(images, id) < images->uploads.len)
		return false;
	struct upload_claim claim = {0};
	uuid_text_copy(claim.id, id);
	VEC_PUSH(&images->uploads, claim);
	return true;
}

void images_release_upload(struct images *images, const char *id)
{
	LOCK_SCOPE(&images->lock);
	size_t i = find_claim(images, id);
	if (i < images->uploads.len)
		images->uploads.items[i] = images->uploads.items[--images->uploads.len];
}

/* ---- room ---- */

/* Under the lock. */
static struct room_claim *find_room(struct images *images, const char *id)
{
	for (size_t i = 0; i < images->rooms.len; i++)
		if (str_equal(images->rooms.items[i].id, id))
			return &images->rooms.items[i];
	return NULL;
}

void images_claim_room(struct images *images, const char *id, int64_t bytes)
{
	LOCK_SCOPE(&images->lock);
	struct room_claim *claim = find_room(images, id);
	struct room_claim new_claim = {.bytes = bytes};
	if (claim && bytes > 0) {
		claim->bytes = bytes;
	} else if (claim) {
		*claim = images->rooms.items[--images->rooms.len];
	} else if (bytes > 0) {
		uuid_text_copy(new_claim.id, id);
		VEC_PUSH(&images->rooms, new_claim);
	}
}

int64_t images_claimed_room(struct images *images, const char *id)
{
	LOCK_SCOPE(&images->lock);
	const struct room_claim *claim = find_room(images, id);
	return claim ? claim->bytes : 0;
}

struct image_work **images_works(struct images *images)
{
	return &images->works;
}

/* ---- files ---- */

static int directory_of(const struct images *images, enum image_file which)
{
	return which == IMAGE_FILE_KEPT ? images->library_fd : images->staging_fd;
}

static char *name_of(const char *id, enum image_file which)
{
	static const char *const suffixes[] = {
	        [IMAGE_FILE_UPLOAD] = "upload",
	        [IMAGE_FILE_DISK] = "disk",
	        [IMAGE_FILE_CONVERTED] = "qcow2",
	        [IMAGE_FILE_KEPT] = "qcow2",
	};
	return str_format("%s.%s", id, suffixes[which]);
}

int images_open(const struct images *images, const char *id, enum image_file which, int flags,
        struct err *e)
{
	char *name CLEANUP(cleanup_free) = name_of(id, which);
	return beneath_open(directory_of(images, which), name, flags, e);
}

int images_remove(const struct images *images, const char *id, enum image_file which, struct err *e)
{
	char *name CLEANUP(cleanup_free) = name_of(id, which);
	return beneath_unlink(directory_of(images, which), name, e);
}

int images_clear_staging(const struct images *images, const char *id, struct err *e)
{
	int rc = images_remove(images, id, IMAGE_FILE_UPLOAD, e);
	if (rc == 0)
		rc = images_remove(images, id, IMAGE_FILE_DISK, e);
	return rc < 0 ? rc : images_remove(images, id, IMAGE_FILE_CONVERTED, e);
}

/* Done before: the conversion is gone and the kept file is there. */
static int check_kept(const struct images *images, const char *id, struct err *e)
{
	int fd CLEANUP(cleanup_fd) = images_open(images, id, IMAGE_FILE_KEPT, O_RDONLY, e);
	return fd < 0 ? fd : 0;
}

int images_keep(const struct images *images, const char *id, struct err *e)
{
	int fd CLEANUP(cleanup_fd) = images_open(images, id, IMAGE_FILE_CONVERTED, O_RDWR, e);
	if (fd == ERR_NOT_FOUND) {
		err_clear(e);
		return check_kept(images, id, e);
	}
	if (fd < 0)
		return fd;
	if (fsync(fd) < 0)
		return err_set_errno(e, errno, "syncing the converted image");
	char *from CLEANUP(cleanup_free) = name_of(id, IMAGE_FILE_CONVERTED);
	char *to CLEANUP(cleanup_free) = name_of(id, IMAGE_FILE_KEPT);
	int rc = beneath_rename(images->staging_fd, from, images->library_fd, to, e);
	if (rc == 0)
		rc = beneath_sync_directory(images->library_fd, e);
	return rc < 0 ? rc : beneath_sync_directory(images->staging_fd, e);
}

int images_check_room(const struct images *images, int64_t bytes, struct err *e)
{
	struct statvfs st;
	if (fstatvfs(images->staging_fd, &st) < 0)
		return err_set_errno(e, errno, "looking at the image library's disk");
	int64_t available = (int64_t)(st.f_bavail * st.f_frsize);
	if (bytes <= available)
		return 0;
	err_set(e, ERR_DISK_FULL, "the image library has %lld bytes left, %lld are needed",
	        (long long)available, (long long)bytes);
	return err_numbers(e, "{\"asked_bytes\":%lld,\"free_bytes\":%lld}", (long long)bytes,
	        (long long)available);
}
