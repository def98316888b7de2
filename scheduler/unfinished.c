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
void capacity_of_group(const struct inventory *inv, const struct inventory_group *group,
        const struct reservation *each, struct capacity *ret)
{
	abort();
}
void capacity_done(struct capacity *c)
{
	abort();
}
