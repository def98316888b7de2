/* SPDX-License-Identifier: Apache-2.0 */
/* What is declared and not yet written. */
#include <stdlib.h>

#include "scheduler/reservation.h"
#include "scheduler/cpu_layout.h"
#include "scheduler/inventory.h"
#include "scheduler/admission.h"
#include "scheduler/placement.h"
#include "scheduler/capacity.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"
void cpu_set_add(struct cpu_set *set, int cpu)
{
	abort();
}
bool cpu_set_has(const struct cpu_set *set, int cpu)
{
	abort();
}
int cpu_set_count(const struct cpu_set *set)
{
	abort();
}
void cpu_set_merge(struct cpu_set *set, const struct cpu_set *other)
{
	abort();
}
void cpu_set_subtract(struct cpu_set *set, const struct cpu_set *other)
{
	abort();
}
void cpu_set_format(const struct cpu_set *set, struct str *out)
{
	abort();
}
bool cpu_set_parse(const char *text, struct cpu_set *ret_set)
{
	abort();
}
int cpu_layout_choose(const struct cpu_topology *topology, const struct cpu_layout_request *request,
        struct cpu_layout *ret_layout, struct err *e)
{
	abort();
}
void place(
        const struct inventory *inv, const struct placement_request *request, struct placement *p)
{
	abort();
}
void placement_done(struct placement *p)
{
	abort();
}
void placement_refusal_text(
        const struct placement *p, const struct placement_refusal *refusal, struct str *out)
{
	abort();
}
void placement_refusal_encode(
        const struct placement *p, const struct placement_refusal *refusal, struct json_writer *w)
{
	abort();
}
int placement_check(const struct placement *p, struct err *e)
{
	abort();
}
int placement_check_rules(const char *vm_id, const char *name, const struct field_labels *labels,
        const struct placement_rules *rules, struct field_errors *errors)
{
	abort();
}
const char *const placement_filter_names[] = {NULL};
const char *const placement_part_names[] = {NULL};
void capacity_of_group(const struct inventory *inv, const struct inventory_group *group,
        const struct reservation *each, struct capacity *ret)
{
	abort();
}
void capacity_done(struct capacity *c)
{
	abort();
}
