/* SPDX-License-Identifier: Apache-2.0 */
/* Recording what was seen of a domain. */
#include "compute/vm_observe.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/room.h"
#include "compute/vm_jobs.h"
#include "db/change_feed.h"
#include "hypervisor/domain_xml.h"
#include "operation/operation.h"

void vm_observation_done(struct vm_observation *seen)
{
	free(seen->name);
	free(seen->architecture);
	free(seen->machine);
	free(seen->description);
	*seen = (struct vm_observation){0};
}

static void fill_from_xml(struct vm_observation *seen, const struct domain_info *info)
{
	struct domain_facts facts = {0};
	const char *xml = info->xml ? info->xml : info->live_xml;
	if (!xml || domain_xml_parse(xml, &facts, NULL) < 0)
		return;
	seen->vcpus = facts.vcpus;
	seen->memory_bytes = facts.memory_bytes;
	seen->architecture = TAKE(facts.architecture);
	seen->machine = TAKE(facts.machine);
	seen->description = TAKE(facts.description);
	domain_facts_done(&facts);
	if (info->live_xml && domain_xml_parse(info->live_xml, &facts, NULL) == 0)
		seen->agent_connected = facts.agent_connected;
	domain_facts_done(&facts);
}

void vm_observation_fill(struct vm_observation *seen, const char *host_id, const char *id,
        const struct domain_info *info)
{
	vm_observation_done(seen);
	uuid_text_copy(seen->id, id);
	uuid_text_copy(seen->host_id, host_id);
	seen->at_ms = clock_wall_ms();
	seen->gone = info == NULL;
	if (!info)
		return;
	seen->name = xstrdup(info->name);
	seen->state = info->state;
	seen->reason = info->reason;
	seen->has_managed_save = info->has_managed_save;
	seen->is_ours = info->is_ours;
	fill_from_xml(seen, info);
}

enum vm_power vm_power_from_domain(enum domain_state state, bool has_managed_save)
{
	switch (state) {
	case DOMAIN_RUNNING:
	case DOMAIN_SHUTTING_DOWN:
	case DOMAIN_PMSUSPENDED:
		return POWER_RUNNING;
	case DOMAIN_PAUSED:
		return POWER_PAUSED;
	case DOMAIN_SHUTOFF:
	case DOMAIN_CRASHED:
		return has_managed_save ? POWER_SUSPENDED : POWER_STOPPED;
	default:
		return POWER_UNKNOWN;
	}
}

const char *vm_reason_text(enum domain_reason reason)
{
	switch (reason) {
	case DOMAIN_REASON_GUEST_SHUTDOWN:
		return "the guest shut down";
	case DOMAIN_REASON_DESTROYED:
		return "stopped by force";
	case DOMAIN_REASON_CRASHED:
		return "the guest or its hypervisor process crashed";
	case DOMAIN_REASON_SAVED:
		return "suspended to disk";
	case DOMAIN_REASON_FAILED:
		return "it failed to start or its process died";
	case DOMAIN_REASON_IO_ERROR:
		return "paused by a storage error";
	case DOMAIN_REASON_MIGRATED:
		return "migrated away";
	default:
		return "";
	}
}

enum vm_follow_up vm_decide_follow_up(const struct vm_spec *spec, enum vm_power desired,
        enum vm_power seen, enum domain_reason reason, bool is_busy)
{
	if (is_busy || seen != POWER_STOPPED || desired != POWER_RUNNING)
		return VM_FOLLOW_NONE;
	switch (reason) {
	case DOMAIN_REASON_GUEST_SHUTDOWN:
		return spec->restart_policy.on_guest_shutdown == ON_SHUTDOWN_RESTART
		               ? VM_FOLLOW_RESTART
		               : VM_FOLLOW_STAY_OFF;
	case DOMAIN_REASON_CRASHED:
	case DOMAIN_REASON_FAILED:
		return spec->restart_policy.on_crash == ON_CRASH_RESTART ? VM_FOLLOW_RESTART
		                                                         : VM_FOLLOW_STAY_OFF;
	case DOMAIN_REASON_NONE:
		return spec->has_autostart ? VM_FOLLOW_AUTOSTART : VM_FOLLOW_STAY_OFF;
	default:
		return VM_FOLLOW_STAY_OFF;
	}
}

static int add_change(struct db *db, const char *event, const char *id, const char *name,
        enum vm_power power, const char *reason, struct err *e)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_string(&w, "power", vm_power_names[power]);
	json_member_string(&w, "reason", reason);
	json_object_end(&w);
	const struct change change = {
	        .kind = "vm", .event = event, .object_id = id, .name = name, .data = w.out.data};
	return change_add(db, &change, e);
}

/* ---- foreign domains: rows that only mirror ---- */

static char *foreign_spec(const struct vm_observation *seen)
{
	struct vm_spec spec = {
	        .description = seen->description,
	        .architecture = seen->architecture,
	        .machine = seen->machine,
	        .cpu = {.count = seen->vcpus},
	        .memory = {.size_bytes = seen->memory_bytes, .shares = 1000, .merge = true},
	};
	return vm_spec_store(&spec); /* borrows: not released */
}

static struct vm_insert foreign_row(const struct vm_observation *seen, const char *spec)
{
	return (struct vm_insert){
	        .id = seen->id,
	        .name = seen->name,
	        .host_id = seen->host_id,
	        .spec = spec,
	        .power_reason = vm_reason_text(seen->reason),
	        .desired_power = POWER_STOPPED,
	        .power = vm_power_from_domain(seen->state, seen->has_managed_save),
	        .vcpus = seen->vcpus,
	        .memory_bytes = seen->memory_bytes,
	        .autostart_priority = -1,
	};
}

static int observe_new(struct db *db, const struct vm_observation *seen, struct err *e)
{
	char *spec CLEANUP(cleanup_free) = foreign_spec(seen);
	const struct vm_insert row = foreign_row(seen, spec);
	int rc = vm_store_insert(db, &row, e);
	return rc < 0 ? rc : add_change(db, "created", seen->id, seen->name, row.power, "", e);
}

static int observe_foreign(struct db *db, const struct vm_observation *seen,
        const struct vm_row *before, struct err *e)
{
	if (seen->gone) {
		if (!str_equal(before->host_id, seen->host_id))
			return 0;
		int rc = vm_store_delete(db, seen->id, e);
		return rc < 0 ? rc
		              : add_change(db, "deleted", seen->id, before->name, POWER_UNKNOWN,
		                        "its definition is gone", e);
	}
	char *spec CLEANUP(cleanup_free) = foreign_spec(seen);
	if (str_equal(spec, before->spec) && str_equal(seen->name, before->name) &&
	        str_equal(seen->host_id, before->host_id))
		return 0;
	const struct vm_insert row = foreign_row(seen, spec);
	int rc = vm_store_set_foreign(db, seen->id, &row, e);
	return rc < 0 ? rc
	              : add_change(
	                        db, "updated", seen->id, seen->name, before->recorded_power, "", e);
}

/* ---- power, of ours and of foreign ones ---- */

static int record_power(struct db *db, const struct vm_observation *seen,
        const struct vm_row *before, enum vm_power power, struct err *e)
{
	const char *reason =
	        seen->gone ? "its definition is gone from the host" : vm_reason_text(seen->reason);
	if (power == before->recorded_power && str_equal(reason, before->power_reason))
		return 0;
	int64_t since = power == before->recorded_power ? before->power_since : seen->at_ms;
	int rc = vm_store_set_power(db, seen->id, power, reason, since, e);
	if (rc == 0 && power == POWER_STOPPED &&
	        (before->active_spec || strcmp(before->guest, "{}") != 0)) {
		rc = vm_store_set_active(db, seen->id, NULL, "{}", e);
		if (rc == 0)
			rc = vm_store_set_guest(db, seen->id, "{}", e);
	}
	return rc < 0 ? rc : add_change(db, "power", seen->id, before->name, power, reason, e);
}

int vm_observe_listed(
        struct db *db, const struct vm_row *row, const struct domain_info *info, struct err *e)
{
	struct vm_observation seen = {.gone = info == NULL, .at_ms = clock_wall_ms()};
	uuid_text_copy(seen.id, row->id);
	if (info)
		seen.reason = info->reason;
	enum vm_power power =
	        info ? vm_power_from_domain(info->state, info->has_managed_save) : POWER_STOPPED;
	return record_power(db, &seen, row, power, e);
}

static int decide(struct db *db, const struct vm_observation *seen, const struct vm_row *row,
        struct vm_observed *observed, struct err *e)
{
	if (observed->power != POWER_STOPPED || row->desired_power != POWER_RUNNING)
		return 0;
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = vm_jobs_find_busy(db, row->id, busy, kind, e);
	if (rc < 0)
		return rc;
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	rc = vm_spec_load(row->spec, &spec, e);
	if (rc < 0)
		return rc;
	observed->follow_up = vm_decide_follow_up(
	        &spec, row->desired_power, observed->power, seen->reason, busy[0] != '\0');
	observed->autostart_priority = spec.autostart.priority;
	observed->autostart_delay_ms = spec.autostart.delay_seconds * 1000;
	if (observed->follow_up != VM_FOLLOW_STAY_OFF)
		return 0;
	rc = vm_store_set_desired(db, row->id, POWER_STOPPED, e);
	return rc < 0 ? rc
	              : add_change(db, "stays_off", row->id, row->name, POWER_STOPPED,
	                        vm_reason_text(seen->reason), e);
}

/* ---- what it holds ---- */

/* `row` is NULL where the VM of that name is not the one we look after. */
static int observe_room(
        struct db *db, const struct vm_observation *seen, const struct vm_row *row, struct err *e)
{
	if (!seen->gone && seen->state == DOMAIN_UNKNOWN)
		return 0;
	const char *spec = NULL;
	if (row && row->managed)
		spec = row->active_spec ? row->active_spec : row->spec;
	const struct room_seen room = {
	        .vm_id = seen->id,
	        .host_id = seen->host_id,
	        .has_process = !seen->gone && !domain_state_is_off(seen->state),
	        .spec = spec,
	        .vcpus = seen->vcpus,
	        .memory_bytes = seen->memory_bytes,
	};
	return room_observe(db, &room, e);
}

int vm_observe(struct db *db, const struct vm_observation *seen, struct vm_observed *ret_observed,
        struct err *e)
{
	struct vm_row before CLEANUP(vm_row_done) = {0};
	bool found = false;
	*ret_observed = (struct vm_observed){.power = POWER_UNKNOWN};
	int rc = vm_store_find(db, seen->id, &before, &found, e);
	if (rc < 0)
		return rc;
	if (!found) {
		if (seen->gone)
			return 0;
		rc = observe_new(db, seen, e);
		if (rc == 0)
			rc = observe_room(db, seen, NULL, e);
		ret_observed->known = rc == 0;
		ret_observed->power = vm_power_from_domain(seen->state, seen->has_managed_save);
		return rc;
	}
	if (before.managed && !str_equal(before.host_id, seen->host_id))
		return observe_room(db, seen, NULL, e); /* another host's copy of the name: not
		                                           the one we look after */
	ret_observed->managed = before.managed;
	ret_observed->known = before.managed || !seen->gone;
	ret_observed->power = seen->gone
	                              ? POWER_STOPPED
	                              : vm_power_from_domain(seen->state, seen->has_managed_save);
	if (!before.managed && (rc = observe_foreign(db, seen, &before, e)) < 0)
		return rc;
	if (!ret_observed->known)
		return 0;
	rc = record_power(db, seen, &before, ret_observed->power, e);
	if (rc == 0)
		rc = observe_room(db, seen, &before, e);
	if (rc == 0 && before.managed)
		rc = decide(db, seen, &before, ret_observed, e);
	return rc;
}
