/* SPDX-License-Identifier: Apache-2.0 */
/* A refused host in words and numbers, made when someone wants to read them. */
#include <inttypes.h>

#include "scheduler/placement_internal.h"

#define REASONS_SHOWN 3

typedef void (*words_fn)(
        const struct placement *p, const struct placement_refusal *r, struct str *out);
typedef void (*numbers_fn)(
        const struct placement *p, const struct placement_refusal *r, struct json_writer *w);

/* ---- what the host is ---- */

static void say_state(const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	const char *reason = r->host->state_reason;
	(void)p;
	str_printf(out, "it is %s", inventory_host_state_names[r->host->state]);
	if (!str_is_empty(reason))
		str_printf(out, ": %s", reason);
}

static void say_architecture(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	str_printf(out, "it runs no %s guests but", p->request->architecture);
	for (size_t i = 0; i < r->host->n_architectures; i++)
		str_printf(out, "%s %s", i ? "," : "", r->host->architectures[i].name);
	if (r->host->n_architectures == 0)
		str_add(out, " none that is known");
}

static void say_accelerator(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	(void)r;
	str_printf(out, "it does not run %s guests with %s",
	        p->request->architecture ? p->request->architecture : "these",
	        p->request->accelerator == PLACEMENT_KVM ? "kvm" : "tcg");
}

static void say_firmware(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	(void)r;
	str_printf(out, "it has no UEFI firmware%s",
	        p->request->needs_secure_boot ? " with secure boot" : "");
}

static void say_cpu_baseline(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	(void)r;
	str_printf(out, "its CPUs cannot be given to a guest as %s", p->request->cpu_baseline);
}

static const char *first_missing(
        const struct field_strings *texts, const struct field_strings *wanted)
{
	for (size_t i = 0; i < wanted->len; i++) {
		size_t j = 0;
		while (j < texts->len && !str_equal(texts->items[j], wanted->items[i]))
			j++;
		if (j == texts->len)
			return wanted->items[i];
	}
	return "";
}

static void say_pools(const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	str_printf(out, "it does not reach pool %s",
	        first_missing(&r->host->pools, &p->request->pools));
}

static void say_networks(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	str_printf(out, "it has no active network %s",
	        first_missing(&r->host->networks, &p->request->networks));
}

/* ---- what it holds ---- */

static void explain_admission(
        const struct placement *p, const struct placement_refusal *r, struct err *e)
{
	admission_admit(p->inventory, r->host, &p->request->asked, p->request->vm_id, NULL, e);
}

static void say_admission(
        const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	struct err e = {0};
	explain_admission(p, r, &e);
	str_add(out, e.message);
}

static void put_admission(
        const struct placement *p, const struct placement_refusal *r, struct json_writer *w)
{
	struct err e = {0};
	explain_admission(p, r, &e);
	if (e.numbers[0])
		json_splice_members(w, e.numbers);
}

static void say_loss(const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	(void)p;
	str_printf(out, "if host \"%s\" were lost, its VMs would not find room on the others",
	        r->lost->name);
	if (r->bound != ADMISSION_NONE)
		str_printf(out, ": of %s they need %" PRId64 ", the others have %" PRId64 " free",
		        admission_bound_names[r->bound], r->asked, r->limit);
}

static void put_loss(
        const struct placement *p, const struct placement_refusal *r, struct json_writer *w)
{
	(void)p;
	json_member_string(w, "lost_host", r->lost->name);
	if (r->bound == ADMISSION_NONE)
		return;
	json_member_string(w, "bound", admission_bound_names[r->bound]);
	json_member_int(w, "needed", r->asked);
	json_member_int(w, "free", r->limit);
}

/* ---- rules ---- */

static void say_labels(const struct field_labels *labels, struct str *out)
{
	for (size_t i = 0; i < labels->len; i++)
		str_printf(
		        out, "%s%s=%s", i ? "," : "", labels->items[i].key, labels->items[i].value);
}

static void say_target(const struct placement_rule *rule, struct str *out)
{
	static const char *const kinds[] = {
	        [PLACEMENT_TARGET_VMS] = "VM ",
	        [PLACEMENT_TARGET_VM_LABELS] = "VMs with ",
	        [PLACEMENT_TARGET_HOSTS] = "host ",
	        [PLACEMENT_TARGET_HOST_LABELS] = "hosts with ",
	        [PLACEMENT_TARGET_FAILURE_DOMAINS] = "failure domain ",
	};
	str_add(out, kinds[rule->target]);
	for (size_t i = 0; i < rule->names.len; i++)
		str_printf(out, "%s%s", i ? ", " : "", rule->names.items[i]);
	say_labels(&rule->labels, out);
	if (rule->scope == PLACEMENT_SCOPE_FAILURE_DOMAIN)
		str_add(out, " by failure domain");
}

static struct rule_reason find_reason(const struct placement *p, const struct placement_refusal *r)
{
	struct placing placing = placing_of(p);
	return rules_explain(
	        &placing, host_entry_of(r->host), r->filter == PLACEMENT_FILTER_ANTI_AFFINITY);
}

static void say_rule(const struct placement *p, const struct placement_refusal *r, struct str *out)
{
	struct rule_reason reason = find_reason(p, r);
	if (!reason.rule)
		return;
	if (reason.owner)
		str_printf(out, "VM %s, on host %s, has ", reason.owner->name,
		        inventory_host(p->inventory, reason.owner->host_id)->name);
	else
		str_add(out, "it has ");
	str_add(out, reason.rule->is_anti ? "anti-affinity to " : "affinity to ");
	say_target(reason.rule, out);
	if (reason.other && !reason.owner)
		str_printf(out, ", and VM %s is on host %s", reason.other->name,
		        inventory_host(p->inventory, reason.other->host_id)->name);
}

static void put_rule(
        const struct placement *p, const struct placement_refusal *r, struct json_writer *w)
{
	struct rule_reason reason = find_reason(p, r);
	const struct inventory_vm *vm = reason.owner ? reason.owner : reason.other;
	if (!vm)
		return;
	json_member_string(w, "vm", vm->name);
	json_member_string(w, "vm_host", inventory_host(p->inventory, vm->host_id)->name);
}

/* ---- all of them ---- */

static const struct {
	words_fn words;
	numbers_fn numbers; /* NULL: it compares none */
	const char *hint;   /* NULL: none */
} explanations[PLACEMENT_FILTER_COUNT] = {
        [PLACEMENT_FILTER_STATE] = {say_state, NULL, NULL},
        [PLACEMENT_FILTER_ARCHITECTURE] = {say_architecture, NULL, NULL},
        [PLACEMENT_FILTER_ACCELERATOR] = {say_accelerator, NULL, NULL},
        [PLACEMENT_FILTER_FIRMWARE] = {say_firmware, NULL, NULL},
        [PLACEMENT_FILTER_CPU_BASELINE] = {say_cpu_baseline, NULL, NULL},
        [PLACEMENT_FILTER_POOLS] = {say_pools, NULL, NULL},
        [PLACEMENT_FILTER_NETWORKS] = {say_networks, NULL,
                "start the network on the host; that is seen within 10 s"},
        [PLACEMENT_FILTER_HOST_TOO_SMALL] = {say_admission, put_admission, NULL},
        [PLACEMENT_FILTER_CAPACITY] = {say_admission, put_admission, NULL},
        [PLACEMENT_FILTER_AFFINITY] = {say_rule, put_rule, NULL},
        [PLACEMENT_FILTER_ANTI_AFFINITY] = {say_rule, put_rule, NULL},
        [PLACEMENT_FILTER_HOST_LOSS] = {say_loss, put_loss, NULL},
};

void placement_refusal_text(
        const struct placement *p, const struct placement_refusal *refusal, struct str *out)
{
	str_printf(out, "host \"%s\": ", refusal->host->name);
	explanations[refusal->filter].words(p, refusal, out);
}

void placement_refusal_encode(
        const struct placement *p, const struct placement_refusal *refusal, struct json_writer *w)
{
	struct str text CLEANUP(str_done) = {0};
	placement_refusal_text(p, refusal, &text);
	json_member_string(w, "filter", placement_filter_names[refusal->filter]);
	json_member_string(w, "detail", str_text(&text));
	json_key(w, "numbers");
	json_object_begin(w);
	if (explanations[refusal->filter].numbers)
		explanations[refusal->filter].numbers(p, refusal, w);
	json_object_end(w);
}

/* ---- the answer as a whole ---- */

static int refuse_one(const struct placement *p, struct err *e)
{
	const struct placement_refusal *r = &p->refused.items[0];
	if (r->filter == PLACEMENT_FILTER_HOST_TOO_SMALL || r->filter == PLACEMENT_FILTER_CAPACITY)
		return admission_admit(
		        p->inventory, r->host, &p->request->asked, p->request->vm_id, NULL, e);
	struct str text CLEANUP(str_done) = {0};
	struct json_writer w CLEANUP(json_writer_done) = {0};
	placement_refusal_text(p, r, &text);
	err_set(e, ERR_NO_CAPACITY, "%s", str_text(&text));
	json_object_begin(&w);
	json_member_string(&w, "filter", placement_filter_names[r->filter]);
	if (explanations[r->filter].numbers)
		explanations[r->filter].numbers(p, r, &w);
	json_object_end(&w);
	err_numbers(e, "%s", str_text(&w.out));
	if (explanations[r->filter].hint)
		err_hint(e, "%s", explanations[r->filter].hint);
	return ERR_NO_CAPACITY;
}

/* Hosts by filter, as numbers; all of them for one reason: the same host at another time helps no
 * more than now, if it is that they are too small. */
static int refuse_all(const struct placement *p, struct err *e)
{
	int64_t counts[PLACEMENT_FILTER_COUNT] = {0};
	struct str reasons CLEANUP(str_done) = {0};
	struct json_writer w CLEANUP(json_writer_done) = {0};
	for (size_t i = 0; i < p->refused.len; i++) {
		counts[p->refused.items[i].filter]++;
		if (i >= REASONS_SHOWN)
			continue;
		str_add(&reasons, i ? "; " : "");
		placement_refusal_text(p, &p->refused.items[i], &reasons);
	}
	bool is_never = (size_t)counts[PLACEMENT_FILTER_HOST_TOO_SMALL] == p->refused.len;
	json_object_begin(&w);
	json_member_int(&w, "hosts", (int64_t)p->refused.len);
	for (int i = 0; i < PLACEMENT_FILTER_COUNT; i++)
		if (counts[i] > 0)
			json_member_int(&w, placement_filter_names[i], counts[i]);
	json_object_end(&w);
	err_set(e, is_never ? ERR_UNPROCESSABLE : ERR_NO_CAPACITY,
	        "none of %zu hosts can take it: %s%s", p->refused.len, str_text(&reasons),
	        p->refused.len > REASONS_SHOWN ? "; ..." : "");
	err_numbers(e, "%s", str_text(&w.out));
	err_hint(e, "POST /api/v1/placements names the reason for every host");
	return is_never ? ERR_UNPROCESSABLE : ERR_NO_CAPACITY;
}

int placement_check(const struct placement *p, struct err *e)
{
	if (p->ranked.len > 0)
		return 0;
	if (p->refused.len > 1)
		return refuse_all(p, e);
	if (p->refused.len == 1) {
		int rc = refuse_one(p, e);
		return e ? rc : ERR_NO_CAPACITY;
	}
	err_set(e, ERR_NO_CAPACITY, "there is no host to place it on");
	err_hint(e, "register one with POST /api/v1/hosts");
	return ERR_NO_CAPACITY;
}
