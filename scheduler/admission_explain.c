/* SPDX-License-Identifier: Apache-2.0 */
/* A refusal of admission in words and numbers: who holds most, and what would help. */
#include <inttypes.h>
#include <string.h>

#include "base/json_writer.h"
#include "base/number.h"
#include "scheduler/admission_internal.h"

#define MIB ((int64_t)1 << 20)

/* What each bound speaks of. */
struct bound_words {
	const char *asked;   /* "asked for %lld ..." */
	const char *limited; /* what the limit is a limit of */
	const char *unit;    /* suffix of the numbers' names */
	const char *pointer; /* of the member that asks */
	size_t held;         /* offset in struct holding, for the holders */
};
static const struct bound_words words[ADMISSION_BOUND_COUNT] = {
        [ADMISSION_THREADS] = {"vCPUs", "CPU threads", "vcpus", "/cpu/count",
                offsetof(struct holding, shared_vcpus)},
        [ADMISSION_SIZE] = {"bytes of memory with overhead", "bytes for guests", "bytes",
                "/memory/size_bytes", offsetof(struct holding, size_bytes)},
        [ADMISSION_FLOOR] = {"bytes of guaranteed memory with overhead", "bytes to guarantee",
                "bytes", "/memory/min_bytes", offsetof(struct holding, floor_bytes)},
        [ADMISSION_HUGEPAGES] = {"bytes of huge pages", "bytes of huge pages", "bytes",
                "/memory/hugepages", offsetof(struct holding, hugepage_bytes)},
        [ADMISSION_DEDICATED] = {"dedicated CPUs", "threads to dedicate", "vcpus", "/cpu/pinning",
                offsetof(struct holding, dedicated_vcpus)},
        [ADMISSION_VCPUS] = {"shared vCPUs", "vCPUs by the group's cpu_ratio", "vcpus",
                "/cpu/count", offsetof(struct holding, shared_vcpus)},
        [ADMISSION_CPU_RESERVATION] = {"hundredths of a thread reserved",
                "hundredths of shared threads", "cpu_hundredths", "/cpu/reservation_percent",
                offsetof(struct holding, reserved_percent)},
};

/* ---- who holds most ---- */

static int64_t amount_of(const struct vm_entry *vm, enum admission_bound bound)
{
	size_t offset = words[bound].held;
	if (bound == ADMISSION_FLOOR && vm->host->group->pub.mode == OVERCOMMIT_BALLOON)
		offset = offsetof(struct holding, start_bytes);
	int64_t amount = 0;
	memcpy(&amount, (const char *)&vm->holding + offset, sizeof(amount));
	return amount;
}

static bool is_before(const struct admission_holder *a, const struct admission_holder *b)
{
	if (!b->vm || a->amount != b->amount)
		return !b->vm || a->amount > b->amount;
	int order = strcmp(a->vm->name, b->vm->name);
	return (order ? order : strcmp(a->vm->id, b->vm->id)) < 0;
}

/* Keeps the largest, in order; 1 if there is one more of them now. */
static size_t insert_holder(
        struct admission_holder holders[ADMISSION_HOLDERS], struct admission_holder h)
{
	for (size_t i = 0; i < ADMISSION_HOLDERS; i++) {
		if (!is_before(&h, &holders[i]))
			continue;
		struct admission_holder moved = holders[i];
		holders[i] = h;
		if (!moved.vm)
			return 1;
		h = moved;
	}
	return 0;
}

size_t admission_find_holders(const struct inventory *inv, const struct inventory_host *pub,
        enum admission_bound bound, const char *vm_id,
        struct admission_holder ret_holders[ADMISSION_HOLDERS])
{
	const struct host_entry *host = host_entry_of(pub);
	size_t n = 0;
	(void)inv;
	memset(ret_holders, 0, ADMISSION_HOLDERS * sizeof(*ret_holders));
	for (size_t i = 0; i < host->vms.len; i++) {
		const struct vm_entry *vm = host->vms.items[i];
		struct admission_holder h = {&vm->pub, amount_of(vm, bound)};
		if (h.amount > 0 && !str_equal(vm->pub.id, vm_id))
			n += insert_holder(ret_holders, h);
	}
	return n;
}

/* ---- numbers ---- */

static void put_number(struct json_writer *w, const char *what, const char *unit, int64_t value)
{
	char key[48];
	snprintf(key, sizeof(key), "%s_%s", what, unit);
	json_member_int(w, key, value);
}

static void put_sum(struct json_writer *w, const struct admission_sum *sum, const char *unit)
{
	put_number(w, "asked", unit, sum->asked);
	put_number(w, "free", unit, int64_max(sum->limit - sum->held, 0));
	put_number(w, "held", unit, sum->held);
	put_number(w, "limit", unit, sum->limit);
}

static void put_holders(struct json_writer *w, const struct bound_words *bound,
        const struct admission_holder *holders, size_t n)
{
	json_key(w, "holders");
	json_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		json_object_begin(w);
		json_member_string(w, "vm", holders[i].vm->name);
		json_member_int(w, bound->unit, holders[i].amount);
		json_object_end(w);
	}
	json_array_end(w);
}

/* Names of foreign domains may be long: fewer holders rather than no numbers. */
static void set_numbers(
        struct err *e, const struct admission *a, const struct admission_holder *holders, size_t n)
{
	const struct bound_words *bound = &words[a->bound];
	for (size_t shown = n + 1; shown-- > 0;) {
		struct json_writer w CLEANUP(json_writer_done) = {0};
		json_object_begin(&w);
		json_member_string(&w, "bound", admission_bound_names[a->bound]);
		put_sum(&w, &a->sums[a->bound], bound->unit);
		if (a->bound == ADMISSION_SIZE || a->bound == ADMISSION_FLOOR) {
			json_member_int(&w, "usable_bytes", a->usable_bytes);
			json_member_int(&w, "reserved_bytes", a->reserved_bytes);
			json_member_int(&w, "host_bytes", a->total_bytes);
		}
		put_holders(&w, bound, holders, shown);
		json_object_end(&w);
		if (w.out.len < sizeof(e->numbers)) {
			err_numbers(e, "%s", str_text(&w.out));
			return;
		}
	}
}

/* ---- what would help ---- */

/* The largest whole-MiB size whose sum with its overhead still fits. */
static int64_t fitting_bytes(const struct admission *a, const struct reservation *asked)
{
	const struct admission_sum *sum = &a->sums[a->bound];
	int64_t free_bytes = int64_max(sum->limit - (a->is_never ? 0 : sum->held), 0);
	int64_t overhead = a->bound == ADMISSION_HUGEPAGES ? 0 : asked->overhead_bytes;
	return int64_max(free_bytes - overhead, 0) / MIB * MIB;
}

static void hint_memory(struct err *e, const struct admission *a,
        const struct inventory_group *group, const struct reservation *asked, const char *holder)
{
	int64_t fits = fitting_bytes(a, asked);
	const char *member = a->bound == ADMISSION_FLOOR && group->mode == OVERCOMMIT_RATIO
	                             ? "min_bytes"
	                             : "size_bytes";
	struct str text CLEANUP(str_done) = {0};
	if (fits > 0)
		str_printf(&text, "ask for a %s of at most %" PRId64, member, fits);
	else
		str_add(&text, "choose another host");
	if (!a->is_never && holder)
		str_printf(&text, ", stop or move %s", holder);
	if (a->bound == ADMISSION_SIZE && group->mode == OVERCOMMIT_STRICT && asked->min_bytes > 0)
		str_printf(&text, ", or let group %s overcommit", group->name);
	else
		str_add(&text, ", or choose a host with more room");
	err_hint(e, "%s", str_text(&text));
}

/* CPUs of its own leave too few for those that share the rest: it asks for none of those itself. */
static bool narrows(const struct admission *a)
{
	return a->sums[ADMISSION_DEDICATED].asked > 0 &&
	       (a->bound == ADMISSION_VCPUS || a->bound == ADMISSION_CPU_RESERVATION);
}

static void hint_cpu(struct err *e, const struct admission *a, const char *holder)
{
	const struct admission_sum *sum = &a->sums[a->bound];
	int64_t left = int64_max(sum->limit - (a->is_never ? 0 : sum->held), 0);
	if (narrows(a)) {
		err_hint(e, "choose pinning auto or another host%s%s",
		        holder ? ", or stop or move " : "", holder ? holder : "");
		return;
	}
	switch (a->bound) {
	case ADMISSION_CPU_RESERVATION:
		err_hint(e, "lower reservation_percent, or choose a host with more free CPUs");
		return;
	case ADMISSION_VCPUS:
		err_hint(e, "at most %" PRId64 " vCPUs fit; raise the group's cpu_ratio%s%s", left,
		        holder ? ", or stop or move " : "", holder ? holder : "");
		return;
	default:
		err_hint(e, "ask for at most %" PRId64 " vCPUs, or choose a larger host", left);
	}
}

static bool is_memory(enum admission_bound bound)
{
	return strcmp(words[bound].unit, "bytes") == 0;
}

static void say_narrowed(
        struct err *e, const struct inventory_host *host, const struct admission *a)
{
	const struct admission_sum *sum = &a->sums[a->bound];
	err_set_at(e, ERR_NO_CAPACITY, words[ADMISSION_DEDICATED].pointer,
	        "with %" PRId64 " dedicated CPUs for this VM, host \"%s\" has %" PRId64
	        " %s left, and other VMs hold %" PRId64,
	        a->sums[ADMISSION_DEDICATED].asked, host->name, sum->limit, words[a->bound].limited,
	        sum->held);
}

static int explain(const struct inventory *inv, const struct inventory_host *pub,
        const struct reservation *asked, const char *vm_id, const struct admission *a,
        struct err *e)
{
	const struct bound_words *bound = &words[a->bound];
	const struct admission_sum *sum = &a->sums[a->bound];
	struct admission_holder holders[ADMISSION_HOLDERS];
	size_t n = a->bound == ADMISSION_THREADS
	                   ? 0
	                   : admission_find_holders(inv, pub, a->bound, vm_id, holders);
	if (a->is_never)
		err_set_at(e, ERR_UNPROCESSABLE, bound->pointer,
		        "%" PRId64 " %s were asked for, host \"%s\" has %" PRId64 " %s in all",
		        sum->asked, bound->asked, pub->name, sum->limit, bound->limited);
	else if (narrows(a))
		say_narrowed(e, pub, a);
	else
		err_set_at(e, ERR_NO_CAPACITY, bound->pointer,
		        "%" PRId64 " %s were asked for, host \"%s\" has %" PRId64
		        " free: of %" PRId64 " %s %" PRId64 " are held",
		        sum->asked, bound->asked, pub->name, int64_max(sum->limit - sum->held, 0),
		        sum->limit, bound->limited, sum->held);
	if (!e)
		return a->is_never ? ERR_UNPROCESSABLE : ERR_NO_CAPACITY;
	set_numbers(e, a, holders, n);
	const char *holder = n > 0 ? holders[0].vm->name : NULL;
	if (is_memory(a->bound))
		hint_memory(e, a, &host_entry_of(pub)->group->pub, asked, holder);
	else
		hint_cpu(e, a, holder);
	return e->code;
}

int admission_admit(const struct inventory *inv, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct admission *ret, struct err *e)
{
	struct admission decided;
	admission_decide(inv, host, asked, vm_id, &decided);
	if (ret)
		*ret = decided;
	if (admission_fits(&decided))
		return 0;
	return explain(inv, host, asked, vm_id, &decided, e);
}
