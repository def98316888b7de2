/* SPDX-License-Identifier: Apache-2.0 */
/* What one cycle leaves behind, as one writer job: booked bytes, marks and events. Filled and ended on the core loop. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "compute/balloon_internal.h"
#include "compute/balloon_store.h"
#include "db/change_feed.h"
#include "db/writer.h"

struct booking {
	char vm_id[UUID_TEXT_SIZE];
	int64_t bytes;
};
struct mark {
	char *key, *value; /* owned; value NULL: removed */
};
struct event {
	const char *kind, *event; /* constants */
	char id[UUID_TEXT_SIZE];
	char *name, *data; /* owned */
};

struct balloon_record {
	struct balloons *all; /* borrowed */
	char host_id[UUID_TEXT_SIZE];
	VEC(struct booking) bookings;
	VEC(struct mark) marks;
	VEC(struct event) events;
	int rc;
};

struct balloon_record *balloon_record_new(struct balloon_site *site)
{
	struct balloon_record *record = xcalloc(1, sizeof(*record));
	record->all = site->all;
	uuid_text_copy(record->host_id, site->id);
	return record;
}

void balloon_record_free(struct balloon_record *record)
{
	if (!record)
		return;
	VEC_FOR_EACH (&record->marks, mark) {
		free(mark->key);
		free(mark->value);
	}
	VEC_FOR_EACH (&record->events, event) {
		free(event->name);
		free(event->data);
	}
	VEC_DONE(&record->bookings);
	VEC_DONE(&record->marks);
	VEC_DONE(&record->events);
	free(record);
}

bool balloon_record_is_empty(const struct balloon_record *record)
{
	return record->bookings.len + record->marks.len + record->events.len == 0;
}

void balloon_record_book(struct balloon_record *record, const char *vm_id, int64_t booked_bytes)
{
	struct booking booking = {.bytes = booked_bytes};
	uuid_text_copy(booking.vm_id, vm_id);
	VEC_PUSH(&record->bookings, booking);
}

void balloon_record_mark(
        struct balloon_record *record, const char *prefix, const char *id, const char *value)
{
	struct mark mark = {.key = str_format("%s%s", prefix, id), .value = xstrdup(value)};
	VEC_PUSH(&record->marks, mark);
}

void balloon_record_event(struct balloon_record *record, const char *kind, const char *event,
        const char *id, const char *name, struct json_writer *data)
{
	struct event added = {
	        .kind = kind, .event = event, .name = xstrdup(name), .data = str_take(&data->out)};
	uuid_text_copy(added.id, id);
	VEC_PUSH(&record->events, added);
}

int64_t balloon_record_booked(const struct balloon_record *record, const char *vm_id)
{
	for (size_t i = 0; i < record->bookings.len; i++)
		if (strcmp(record->bookings.items[i].vm_id, vm_id) == 0)
			return record->bookings.items[i].bytes;
	return 0;
}

static int write_events(struct db *db, struct balloon_record *record, struct err *e)
{
	int rc = 0;
	VEC_FOR_EACH (&record->events, event) {
		const struct change change = {.kind = event->kind,
		        .event = event->event,
		        .object_id = event->id,
		        .name = event->name,
		        .data = event->data};
		if ((rc = change_add(db, &change, e)) < 0)
			break;
	}
	return rc;
}

static int write_record(struct db *db, void *arg, struct err *e)
{
	struct balloon_record *record = arg;
	int rc = 0;
	VEC_FOR_EACH (&record->bookings, booking)
		if (rc == 0)
			rc = balloon_store_book(
			        db, record->host_id, booking->vm_id, booking->bytes, e);
	VEC_FOR_EACH (&record->marks, mark)
		if (rc == 0)
			rc = balloon_store_mark(db, mark->key, mark->value, e);
	return rc < 0 ? rc : write_events(db, record, e);
}

static void on_written_back(void *arg)
{
	struct balloon_record *record = arg;
	struct balloon_site *site = balloons_find(record->all, record->host_id);
	if (site) {
		site->is_recording = false;
		balloon_site_recorded(site, record, record->rc);
	}
	balloon_record_free(record);
}

/* Writer thread. */
static void on_written(void *arg, int rc, const struct err *e)
{
	struct balloon_record *record = arg;
	if (rc < 0 && rc != ERR_UNAVAILABLE)
		log_err(LOG_LEVEL_ERROR, e,
		        "what the balloons of a host need could not be recorded");
	record->rc = rc;
	loop_post(record->all->config.services->loop, on_written_back, record);
}

void balloon_record_submit(struct balloon_record *record)
{
	struct balloons *all = record->all;
	struct balloon_site *site = balloons_find(all, record->host_id);
	site->is_recording = true;
	site->records++;
	writer_submit(all->config.services->writer,
	        (struct writer_job){.run = write_record, .done = on_written, .arg = record});
}

/* Writer thread. */
static void on_events_written(void *arg, int rc, const struct err *e)
{
	if (rc < 0 && rc != ERR_UNAVAILABLE)
		log_err(LOG_LEVEL_ERROR, e, "events of a host's guests could not be recorded");
	balloon_record_free(arg);
}

void balloon_record_submit_events(struct balloon_record *record)
{
	writer_submit(record->all->config.services->writer,
	        (struct writer_job){.run = write_record, .done = on_events_written, .arg = record});
}
