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
struct holding reservation_holding(const struct reservation *r)
{
	abort();
}
void holding_add(struct holding *sum, const struct holding *h)
{
	abort();
}
void holding_subtract(struct holding *sum, const struct holding *h)
{
	abort();
}
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
enum inventory_host_state inventory_host_state_from_name(const char *name)
{
	abort();
}
struct inventory *inventory_new(void)
{
	abort();
}
void inventory_free(struct inventory *inv)
{
	abort();
}
void inventory_put_group(struct inventory *inv, const struct inventory_group *group)
{
	abort();
}
bool inventory_put_host(struct inventory *inv, const struct inventory_host *host)
{
	abort();
}
bool inventory_put_vm(struct inventory *inv, const struct inventory_vm *vm)
{
	abort();
}
bool inventory_set_host_vms(
        struct inventory *inv, const char *host_id, const struct inventory_vm *vms, size_t n_vms)
{
	abort();
}
bool inventory_remove_group(struct inventory *inv, const char *id)
{
	abort();
}
void inventory_remove_host(struct inventory *inv, const char *id)
{
	abort();
}
void inventory_remove_vm(struct inventory *inv, const char *vm_id, const char *host_id)
{
	abort();
}
bool inventory_set_host_state(struct inventory *inv, const char *host_id,
        enum inventory_host_state state, const char *reason)
{
	abort();
}
bool inventory_set_host_busy(struct inventory *inv, const char *host_id, int64_t cpu_busy_percent)
{
	abort();
}
const struct inventory_group *inventory_group(const struct inventory *inv, const char *id)
{
	abort();
}
const struct inventory_host *inventory_host(const struct inventory *inv, const char *id)
{
	abort();
}
const struct inventory_vm *inventory_vm(
        const struct inventory *inv, const char *vm_id, const char *host_id)
{
	abort();
}
struct holding inventory_held(const struct inventory *inv, const char *host_id)
{
	abort();
}
const struct inventory_group *inventory_next_group(const struct inventory *inv, size_t *cursor)
{
	abort();
}
const struct inventory_host *inventory_next_host(const struct inventory *inv, size_t *cursor)
{
	abort();
}
const struct inventory_vm *inventory_next_vm(
        const struct inventory *inv, const char *host_id, size_t *cursor)
{
	abort();
}
size_t inventory_count_hosts(const struct inventory *inv)
{
	abort();
}
size_t inventory_count_vms(const struct inventory *inv)
{
	abort();
}
const char *const inventory_host_state_names[] = {NULL};
int64_t admission_overhead_bytes(int64_t max_vcpus, int64_t max_bytes)
{
	abort();
}
void admission_decide(const struct inventory *inv, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct admission *ret)
{
	abort();
}
size_t admission_find_holders(const struct inventory *inv, const struct inventory_host *host,
        enum admission_bound bound, const char *vm_id,
        struct admission_holder ret_holders[ADMISSION_HOLDERS])
{
	abort();
}
int admission_admit(const struct inventory *inv, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct admission *ret, struct err *e)
{
	abort();
}
const char *const admission_bound_names[] = {NULL};
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
