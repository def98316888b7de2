/* SPDX-License-Identifier: Apache-2.0 */
/* What was seen of domains becomes what they hold. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "base/str.h"
#include "compute/host_store.h"
#include "compute/room.h"
#include "compute/room_cpus.h"
#include "compute/room_store.h"
#include "compute/room_wish.h"
#include "scheduler/admission.h"

#define UPGRADE_KEY "allocation"

/* Pins of another kind are another configuration's, which an operation between has left behind. */
static int from_spec(const char *stored, struct room_row *row, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_spec_load(stored, &spec, e);
	if (rc < 0)
		return rc;
	row->held = room_reservation(&spec, RESERVATION_RUNNING);
	row->max_bytes = room_max_bytes(&spec);
	if (row->cpus && room_cpus_kind(row->cpus) != (enum vm_pinning)spec.cpu.pinning) {
		free(TAKE(row->cpus));
		row->cpus_due++;
	}
	return 0;
}

/* Of a domain that is not ours nothing is known but its definition, and nothing moves its balloon. */
static void from_definition(const struct room_seen *seen, struct room_row *row)
{
	row->max_bytes = seen->memory_bytes;
	row->held = (struct reservation){
	        .state = RESERVATION_RUNNING,
	        .size_bytes = seen->memory_bytes,
	        .min_bytes = seen->memory_bytes,
	        .booked_bytes = seen->memory_bytes,
	        .overhead_bytes = admission_overhead_bytes(seen->vcpus, seen->memory_bytes),
	        .vcpus = seen->vcpus,
	        .max_vcpus = seen->vcpus,
	        .inflexible = true,
	};
}

/* A new process: what it booted with. It may have been defined before what others own changed, or, if nothing was granted,
 * have been started by others, as it was defined once. */
static int put_running(struct db *db, const struct room_seen *seen, struct room_row *row,
        bool was_granted, struct err *e)
{
	int rc = 0;
	uuid_text_copy(row->vm_id, seen->vm_id);
	uuid_text_copy(row->host_id, seen->host_id);
	if (seen->spec)
		rc = from_spec(seen->spec, row, e);
	else
		from_definition(seen, row);
	if (row->cpus || (seen->spec && !was_granted))
		row->cpus_due++;
	if (row->cpus_due > 0 || row->held.dedicated)
		room_touch_cpus(db, row->host_id);
	return rc < 0 ? rc : room_store_put(db, row, e);
}

static bool is_settled(const struct room_seen *seen, const struct room_row *row, bool found)
{
	if (!seen->has_process)
		return !found;
	if (!found || row->held.state != RESERVATION_RUNNING)
		return false;
	return seen->spec ||
	       (row->held.size_bytes == seen->memory_bytes && row->held.vcpus == seen->vcpus);
}

int room_observe(struct db *db, const struct room_seen *seen, struct err *e)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false, may_start = false;
	int rc = room_store_get(db, seen->vm_id, seen->host_id, &row, &found, e);
	if (rc < 0 || is_settled(seen, &row, found))
		return rc;
	/* While an operation may give it a process the grant stands: this was seen before or amidst of it. */
	rc = room_store_has_giver(db, seen->vm_id, &may_start, e);
	if (rc < 0 || (found && may_start))
		return rc;
	if (seen->has_process)
		return put_running(db, seen, &row, found, e);
	if (row.cpus || row.held.dedicated)
		room_touch_cpus(db, seen->host_id);
	return room_store_delete(db, seen->vm_id, seen->host_id, e);
}

/* ---- growth that was refused ---- */

int room_held_bytes(
        struct db *db, const char *vm_id, const char *host_id, int64_t *ret_bytes, struct err *e)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	int rc = room_store_get(db, vm_id, host_id, &row, &found, e);
	*ret_bytes = rc == 0 && found ? row.held.size_bytes : 0;
	return rc;
}

int room_return_growth(
        struct db *db, const char *vm_id, const char *host_id, int64_t held_bytes, struct err *e)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	int rc = room_store_get(db, vm_id, host_id, &row, &found, e);
	if (rc < 0 || !found || row.held.state != RESERVATION_RUNNING || held_bytes <= 0 ||
	        row.held.size_bytes <= held_bytes)
		return rc;
	row.held.size_bytes = held_bytes;
	row.held.min_bytes = int64_min(row.held.min_bytes, held_bytes);
	row.held.booked_bytes = int64_min(row.held.booked_bytes, held_bytes);
	return room_store_put(db, &row, e);
}

int room_agrees(struct db *db, const char *vm_id, const char *host_id, bool has_process,
        bool *ret_agrees, struct err *e)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	int rc = room_store_get(db, vm_id, host_id, &row, &found, e);
	*ret_agrees = has_process ? found && row.held.state == RESERVATION_RUNNING : !found;
	return rc;
}

/* ---- after an upgrade ---- */

static int fill_in(struct db *db, const char *id, const char *stored, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	int rc = vm_spec_load(stored, &spec, e);
	if (rc == 0)
		rc = vm_store_set_copies(db, id, &spec, e);
	if (rc == 0)
		rc = vm_store_get(db, id, &vm, e);
	if (rc == 0)
		rc = room_store_get(db, id, vm.host_id, &row, &found, e);
	if (rc < 0 || !found || !vm.managed)
		return rc;
	row.held = room_reservation(&spec, RESERVATION_RUNNING);
	row.max_bytes = room_max_bytes(&spec);
	return room_store_put(db, &row, e);
}

int room_upgrade(struct db *db, struct err *e)
{
	bool is_done = false;
	int rc = host_store_meta_get(db, UPGRADE_KEY, &is_done, e);
	if (rc < 0 || is_done)
		return rc;
	rc = room_store_each_vm(db, fill_in, e);
	return rc < 0 ? rc : host_store_meta_set(db, UPGRADE_KEY, "1", e);
}
