/* SPDX-License-Identifier: Apache-2.0 */
/* The library's quota, before and during what takes room. */
#include "storage/image_room.h"

#include "storage/image_store.h"

#define STEP_BYTES                                                                                 \
	((int64_t)16 << 20) /* claimed ahead: others may be refused that much too early */

struct sum {
	struct images *images;
	int64_t bytes;
};

static void add(void *arg, const char *id, int64_t bytes)
{
	struct sum *sum = arg;
	int64_t claimed = images_claimed_room(sum->images, id);
	sum->bytes += claimed > bytes ? claimed : bytes;
}

int image_quota_left(
        struct db *db, struct images *images, const char *id, int64_t *ret_bytes, struct err *e)
{
	int64_t quota = images_options(images)->quota_bytes;
	struct sum used = {.images = images};
	*ret_bytes = INT64_MAX;
	if (quota == 0)
		return 0;
	int rc = image_store_each_used(db, id, add, &used, e);
	*ret_bytes = used.bytes < quota ? quota - used.bytes : 0;
	return rc;
}

int image_quota_refuse(int64_t asked, int64_t left, struct err *e)
{
	err_set(e, ERR_LIMIT, "the image has %lld bytes or more, the quota leaves %lld",
	        (long long)asked, (long long)left);
	err_numbers(e, "{\"asked_bytes\":%lld,\"limit_bytes\":%lld}", (long long)asked,
	        (long long)left);
	return err_hint(e, "delete images, or raise images.quota_bytes");
}

struct claim {
	struct image_room *room;
	int64_t wanted, left;
};

/* Writer thread. */
static int claim_job(struct db *db, void *arg, struct err *e)
{
	struct claim *claim = arg;
	struct image_room *room = claim->room;
	int rc = image_quota_left(db, room->images, room->id, &claim->left, e);
	if (rc < 0)
		return rc;
	room->claimed = claim->wanted < claim->left ? claim->wanted : claim->left;
	images_claim_room(room->images, room->id, room->claimed);
	return 0;
}

int image_room_take(struct image_room *room, int64_t bytes, struct err *e)
{
	struct claim claim = {.room = room, .wanted = bytes + STEP_BYTES};
	if (bytes <= room->claimed || images_options(room->images)->quota_bytes == 0)
		return 0;
	int rc = writer_run(room->writer, claim_job, &claim, e);
	return rc < 0 || bytes <= room->claimed ? rc : image_quota_refuse(bytes, claim.left, e);
}
