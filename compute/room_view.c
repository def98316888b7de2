/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of /placements and /capacity. */
#include "compute/room_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/room_wish.h"
#include "scheduler/capacity.h"
#include "scheduler/placement.h"

#define READ_ONLY .flags = FIELD_READ_ONLY
/* Described here, written below: the tables have no struct behind them. */
struct nothing {
	int64_t unused;
};

/* ---- a ranking ---- */

static const struct field ranked_fields[] = {
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "Name"},
        {.name = "score", .type = FIELD_REAL, READ_ONLY, .doc = "The lowest is the best"},
        {.name = "parts", .type = FIELD_JSON, READ_ONLY, .doc = "What the score is the sum of"},
};
static const struct field_table ranked_table =
        FIELD_TABLE("PlacementRanked", struct nothing, ranked_fields);
static const struct field refused_fields[] = {
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "Name"},
        {.name = "filter",
                .type = FIELD_ENUM,
                .names = placement_filter_names,
                READ_ONLY,
                .doc = "The first that refused it"},
        {.name = "detail", .type = FIELD_STRING, READ_ONLY, .doc = "Why, in a sentence"},
        {.name = "numbers", .type = FIELD_JSON, READ_ONLY, .doc = "The arithmetic, if any"},
};
static const struct field_table refused_table =
        FIELD_TABLE("PlacementRefused", struct nothing, refused_fields);
static const struct field placement_answer_fields[] = {
        {.name = "ranking",
                .type = FIELD_LIST,
                .sub = &ranked_table,
                READ_ONLY,
                .doc = "Hosts that would take it, best first"},
        {.name = "refused",
                .type = FIELD_LIST,
                .sub = &refused_table,
                READ_ONLY,
                .doc = "All others, with the reason"},
};
const struct field_table room_placement_fields =
        FIELD_TABLE("Placement", struct nothing, placement_answer_fields);

static void encode_ranked(const struct placement_choice *choice, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "host", choice->host->name);
	json_key(w, "score");
	json_put_real(w, choice->score);
	json_key(w, "parts");
	json_object_begin(w);
	for (int part = 0; part < PLACEMENT_PART_COUNT; part++) {
		json_key(w, placement_part_names[part]);
		json_put_real(w, (double)choice->parts[part]);
	}
	json_object_end(w);
	json_object_end(w);
}

static void encode_placement(const struct placement *places, struct json_writer *w)
{
	json_object_begin(w);
	json_key(w, "ranking");
	json_array_begin(w);
	for (const struct placement_choice *choice = places->ranked.items;
	        choice < places->ranked.items + places->ranked.len; choice++)
		encode_ranked(choice, w);
	json_array_end(w);
	json_key(w, "refused");
	json_array_begin(w);
	for (const struct placement_refusal *refusal = places->refused.items;
	        refusal < places->refused.items + places->refused.len; refusal++) {
		json_object_begin(w);
		json_member_string(w, "host", refusal->host->name);
		placement_refusal_encode(places, refusal, w);
		json_object_end(w);
	}
	json_array_end(w);
	json_object_end(w);
}

static bool is_called(const char *wanted, const char *id, const char *name)
{
	return str_equal(wanted, id) || str_equal(wanted, name);
}

static const struct inventory_group *find_group(
        const struct inventory *inventory, const char *name_or_id)
{
	size_t cursor = 0;
	const struct inventory_group *group;
	while ((group = inventory_next_group(inventory, &cursor)))
		if (is_called(name_or_id, group->id, group->name))
			return group;
	return NULL;
}

static const struct inventory_host *find_host(
        const struct inventory *inventory, const char *name_or_id)
{
	size_t cursor = 0;
	const struct inventory_host *host;
	while ((host = inventory_next_host(inventory, &cursor)))
		if (is_called(name_or_id, host->id, host->name))
			return host;
	return NULL;
}

/* The names in the request become ids. */
static int find_where(const struct inventory *inventory, const struct vm_spec *spec,
        struct placement_request *place, struct err *e)
{
	if (spec->host_group) {
		const struct inventory_group *group = find_group(inventory, spec->host_group);
		if (!group)
			return err_set_at(e, ERR_REFERENCE, "/host_group",
			        "there is no host group named %s", spec->host_group);
		place->group_id = group->id;
	}
	if (spec->host) {
		const struct inventory_host *host = find_host(inventory, spec->host);
		if (!host)
			return err_set_at(
			        e, ERR_REFERENCE, "/host", "there is no host named %s", spec->host);
		place->host_id = host->id;
	}
	return 0;
}

static void cleanup_placement(struct placement *places)
{
	placement_done(places);
}

int room_view_rank(void *arg, const struct inventory *inventory, struct err *e)
{
	const struct room_ranking *ranking = arg;
	struct room_request request CLEANUP(room_request_done) = {0};
	struct placement places CLEANUP(cleanup_placement) = {0};
	room_request_fill(&request, ranking->spec, NULL, ROOM_ANY_HOST);
	int rc = find_where(inventory, ranking->spec, &request.place, e);
	if (rc < 0)
		return rc;
	place(inventory, &request.place, &places);
	encode_placement(&places, ranking->w);
	return 0;
}

/* ---- capacity ---- */

#define COUNT(text, doc_text)                                                                      \
	{                                                                                          \
		.name = text, .type = FIELD_INT, READ_ONLY, .doc = doc_text                        \
	}
static const struct field memory_fields[] = {
        COUNT("total_bytes", "Of hosts that are ok, like all sums here"),
        COUNT("reserved_bytes", "Kept for the hosts themselves"),
        COUNT("usable_bytes", "The difference"),
        COUNT("configured_bytes", "Sizes of VMs with a process, and their overhead"),
        COUNT("guaranteed_bytes", "Floors, and overhead"),
        COUNT("booked_bytes", "What guests may have at this moment, and overhead"),
        COUNT("free_bytes", "May still be asked for, under the group's mode"),
        COUNT("hugepage_bytes", "Huge pages"),
        COUNT("hugepage_held_bytes", "Of them held"),
};
static const struct field_table memory_table =
        FIELD_TABLE("CapacityMemory", struct nothing, memory_fields);
static const struct field cpu_fields[] = {
        COUNT("threads", "CPU threads"),
        COUNT("dedicated_vcpus", "Of them given to VMs with pinning dedicated"),
        COUNT("shared_vcpus", "vCPUs of the other VMs"),
        COUNT("vcpus_limit", "Shared threads times cpu_ratio"),
        COUNT("free_vcpus", "May still be asked for"),
        COUNT("reserved_percent", "Reserved, in hundredths of a thread"),
};
static const struct field_table cpu_table = FIELD_TABLE("CapacityCpu", struct nothing, cpu_fields);
static const struct field largest_fields[] = {
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "Where; null: nowhere"},
        COUNT("memory_bytes", "The most memory one VM can still be given"),
        COUNT("vcpus", "The most vCPUs"),
};
static const struct field_table largest_table =
        FIELD_TABLE("CapacityLargest", struct nothing, largest_fields);
static const struct field loss_fields[] = {
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "The host that would be lost"},
        COUNT("vms", "VMs on it"),
        COUNT("homeless", "Of them without room elsewhere"),
        COUNT("missing_bytes", "Memory they would need"),
        COUNT("missing_vcpus", "vCPUs they would need"),
};
static const struct field_table loss_table =
        FIELD_TABLE("CapacityLoss", struct nothing, loss_fields);
static const struct field group_fields[] = {
        {.name = "group", .type = FIELD_STRING, READ_ONLY, .doc = "Name"},
        COUNT("hosts", "Hosts"),
        COUNT("hosts_ok", "Of them ok"),
        COUNT("vms", "VMs that hold something"),
        {.name = "memory", .type = FIELD_OBJECT, .sub = &memory_table, READ_ONLY, .doc = "Memory"},
        {.name = "cpu", .type = FIELD_OBJECT, .sub = &cpu_table, READ_ONLY, .doc = "CPU"},
        COUNT("fits", "How many more VMs of the asked size"),
        {.name = "largest",
                .type = FIELD_OBJECT,
                .sub = &largest_table,
                READ_ONLY,
                .doc = "The largest single VM"},
        {.name = "survives_host_loss",
                .type = FIELD_BOOL,
                READ_ONLY,
                .doc = "Whether any one host could fail"},
        {.name = "losses",
                .type = FIELD_LIST,
                .sub = &loss_table,
                READ_ONLY,
                .doc = "Hosts whose loss the others could not take"},
};
static const struct field_table group_table =
        FIELD_TABLE("CapacityGroup", struct nothing, group_fields);
static const struct field capacity_answer_fields[] = {
        {.name = "groups", .type = FIELD_LIST, .sub = &group_table, READ_ONLY, .doc = "By name"},
};
const struct field_table room_capacity_fields =
        FIELD_TABLE("Capacity", struct nothing, capacity_answer_fields);

static void encode_memory(const struct capacity *c, struct json_writer *w)
{
	json_key(w, "memory");
	json_object_begin(w);
	json_member_int(w, "total_bytes", c->total_bytes);
	json_member_int(w, "reserved_bytes", c->reserved_bytes);
	json_member_int(w, "usable_bytes", c->usable_bytes);
	json_member_int(w, "configured_bytes", c->configured_bytes);
	json_member_int(w, "guaranteed_bytes", c->guaranteed_bytes);
	json_member_int(w, "booked_bytes", c->booked_bytes);
	json_member_int(w, "free_bytes", c->free_bytes);
	json_member_int(w, "hugepage_bytes", c->hugepage_bytes);
	json_member_int(w, "hugepage_held_bytes", c->hugepage_held_bytes);
	json_object_end(w);
}

static void encode_cpu(const struct capacity *c, struct json_writer *w)
{
	json_key(w, "cpu");
	json_object_begin(w);
	json_member_int(w, "threads", c->threads);
	json_member_int(w, "dedicated_vcpus", c->dedicated_vcpus);
	json_member_int(w, "shared_vcpus", c->shared_vcpus);
	json_member_int(w, "vcpus_limit", c->vcpus_limit);
	json_member_int(w, "free_vcpus", c->free_vcpus);
	json_member_int(w, "reserved_percent", c->reserved_percent);
	json_object_end(w);
}

static void encode_losses(const struct capacity *c, struct json_writer *w)
{
	json_member_bool(w, "survives_host_loss", c->survives_host_loss);
	json_key(w, "losses");
	json_array_begin(w);
	for (const struct capacity_loss *loss = c->losses.items;
	        loss < c->losses.items + c->losses.len; loss++) {
		json_object_begin(w);
		json_member_string(w, "host", loss->host->name);
		json_member_int(w, "vms", loss->vms);
		json_member_int(w, "homeless", loss->homeless);
		json_member_int(w, "missing_bytes", loss->missing_bytes);
		json_member_int(w, "missing_vcpus", loss->missing_vcpus);
		json_object_end(w);
	}
	json_array_end(w);
}

static void encode_capacity(const struct capacity *c, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "group", c->group->name);
	json_member_int(w, "hosts", c->hosts);
	json_member_int(w, "hosts_ok", c->hosts_ok);
	json_member_int(w, "vms", c->vms);
	encode_memory(c, w);
	encode_cpu(c, w);
	json_member_int(w, "fits", c->fits);
	json_key(w, "largest");
	json_object_begin(w);
	json_member_string(w, "host", c->largest_host ? c->largest_host->name : NULL);
	json_member_int(w, "memory_bytes", c->largest_bytes);
	json_member_int(w, "vcpus", c->largest_vcpus);
	json_object_end(w);
	encode_losses(c, w);
	json_object_end(w);
}

/* In a struct, so that vectors of it are no vectors of pointers. */
struct named_group {
	const struct inventory_group *group;
};

static int by_name(const void *a, const void *b)
{
	const struct named_group *first = a, *second = b;
	return strcmp(first->group->name, second->group->name);
}

static void encode_group(const struct inventory *inventory, const struct inventory_group *group,
        const struct room_capacity *asked)
{
	const struct vm_spec spec = {
	        .cpu = {.count = asked->vcpus}, .memory = {.size_bytes = asked->memory_bytes}};
	const struct reservation each = room_reservation(&spec, RESERVATION_STARTING);
	struct capacity capacity CLEANUP(capacity_done) = {0};
	capacity_of_group(inventory, group, &each, &capacity);
	encode_capacity(&capacity, asked->w);
}

int room_view_capacity(void *arg, const struct inventory *inventory, struct err *e)
{
	const struct room_capacity *asked = arg;
	VEC(struct named_group) groups = {0};
	size_t cursor = 0;
	const struct inventory_group *group;
	while ((group = inventory_next_group(inventory, &cursor)))
		if (!asked->group || is_called(asked->group, group->id, group->name))
			VEC_PUSH(&groups, (struct named_group){group});
	if (asked->group && groups.len == 0) {
		VEC_DONE(&groups);
		return err_set(e, ERR_NOT_FOUND, "no host group named \"%s\"", asked->group);
	}
	if (groups.len > 1)
		qsort(groups.items, groups.len, sizeof(groups.items[0]), by_name);
	json_object_begin(asked->w);
	json_key(asked->w, "groups");
	json_array_begin(asked->w);
	VEC_FOR_EACH (&groups, item)
		encode_group(inventory, item->group, asked);
	json_array_end(asked->w);
	json_object_end(asked->w);
	VEC_DONE(&groups);
	return 0;
}
