/* SPDX-License-Identifier: Apache-2.0 */
/* The filters, and the order of what passes them. */
#include "scheduler/placement.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/placement_internal.h"

/* ---- filters ---- */

static bool passes_state(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	return p->request->any_state || j->host->pub.state == INVENTORY_HOST_OK;
}

static const struct inventory_architecture *find_architecture(
        const struct placing *p, const struct host_entry *host)
{
	for (size_t i = 0; i < host->pub.n_architectures; i++)
		if (strcmp(host->pub.architectures[i].name, p->request->architecture) == 0)
			return &host->pub.architectures[i];
	return NULL;
}

static bool passes_architecture(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	if (!p->request->architecture)
		return true;
	j->architecture = find_architecture(p, j->host);
	return j->architecture != NULL;
}

static bool passes_accelerator(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	enum placement_accelerator wanted = p->request->accelerator;
	return wanted == PLACEMENT_ANY_ACCELERATOR ||
	       (j->architecture && j->architecture->accelerator == wanted);
}

static bool passes_firmware(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	const struct placement_request *r = p->request;
	(void)ret_refusal;
	if (!r->needs_uefi && !r->needs_secure_boot)
		return true;
	return j->architecture && (!r->needs_uefi || j->architecture->has_uefi) &&
	       (!r->needs_secure_boot || j->architecture->has_secure_boot);
}

static bool has_text(const struct field_strings *texts, const char *wanted)
{
	for (size_t i = 0; i < texts->len; i++)
		if (strcmp(texts->items[i], wanted) == 0)
			return true;
	return false;
}

static bool has_texts(const struct field_strings *texts, const struct field_strings *wanted)
{
	for (size_t i = 0; i < wanted->len; i++)
		if (!has_text(texts, wanted->items[i]))
			return false;
	return true;
}

static bool passes_cpu_baseline(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	return !p->request->cpu_baseline || !j->architecture ||
	       j->architecture->cpu_models.len == 0 ||
	       has_text(&j->architecture->cpu_models, p->request->cpu_baseline);
}

static bool passes_pools(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	return has_texts(&j->host->pub.pools, &p->request->pools);
}

static bool passes_networks(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	return !j->host->pub.has_networks ||
	       has_texts(&j->host->pub.networks, &p->request->networks);
}

static void fill_sum(const struct judged *j, struct placement_refusal *ret_refusal)
{
	const struct admission_sum *sum = &j->admission.sums[j->admission.bound];
	ret_refusal->bound = j->admission.bound;
	ret_refusal->asked = sum->asked;
	ret_refusal->held = sum->held;
	ret_refusal->limit = sum->limit;
}

/* The first of the filters that need the arithmetic does it. */
static bool passes_host_too_small(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	struct holding own = {0};
	if (p->own)
		own = admission_own_holding(p->inv, j->host, p->request->vm_id);
	struct holding held = j->host->held;
	if (own.vms > 0)
		holding_subtract(&held, &own);
	admission_weigh(&j->host->limits, &held, &own, &p->asked, p->most_vcpus, &j->admission);
	if (!j->admission.is_never)
		return true;
	fill_sum(j, ret_refusal);
	return false;
}

static bool passes_capacity(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)p;
	if (admission_fits(&j->admission))
		return true;
	fill_sum(j, ret_refusal);
	return false;
}

static bool passes_affinity(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)ret_refusal;
	return j->mark->wants_met == p->n_wants;
}

static bool passes_anti_affinity(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	(void)p;
	(void)ret_refusal;
	return !j->mark->is_forbidden;
}

static bool passes_host_loss(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal)
{
	const struct group_entry *group = j->host->group;
	if (group->pub.survive_host_loss <= 0)
		return true;
	struct host_loss *loss = &p->scratch->losses.items[group->slot];
	if (!loss->is_prepared) {
		struct loss_item item = host_loss_item(group, &p->request->asked);
		host_loss_prepare(loss, p->inv, group, &item, p->own);
	}
	const struct host_entry *lost = NULL;
	if (host_loss_allows(loss, j->host, &lost))
		return true;
	struct loss_amounts amounts = host_loss_amounts(loss, j->host, lost);
	ret_refusal->lost = &lost->pub;
	ret_refusal->bound = amounts.bound;
	ret_refusal->asked = amounts.needed;
	ret_refusal->limit = amounts.free;
	return false;
}

const char *const placement_filter_names[] = {
        [PLACEMENT_FILTER_STATE] = "state",
        [PLACEMENT_FILTER_ARCHITECTURE] = "architecture",
        [PLACEMENT_FILTER_ACCELERATOR] = "accelerator",
        [PLACEMENT_FILTER_FIRMWARE] = "firmware",
        [PLACEMENT_FILTER_CPU_BASELINE] = "cpu_baseline",
        [PLACEMENT_FILTER_POOLS] = "pools",
        [PLACEMENT_FILTER_NETWORKS] = "networks",
        [PLACEMENT_FILTER_HOST_TOO_SMALL] = "host_too_small",
        [PLACEMENT_FILTER_CAPACITY] = "capacity",
        [PLACEMENT_FILTER_AFFINITY] = "affinity",
        [PLACEMENT_FILTER_ANTI_AFFINITY] = "anti_affinity",
        [PLACEMENT_FILTER_HOST_LOSS] = "host_loss",
        [PLACEMENT_FILTER_COUNT] = NULL,
};

static bool (*const filters[PLACEMENT_FILTER_COUNT])(
        const struct placing *p, struct judged *j, struct placement_refusal *ret_refusal) = {
        [PLACEMENT_FILTER_STATE] = passes_state,
        [PLACEMENT_FILTER_ARCHITECTURE] = passes_architecture,
        [PLACEMENT_FILTER_ACCELERATOR] = passes_accelerator,
        [PLACEMENT_FILTER_FIRMWARE] = passes_firmware,
        [PLACEMENT_FILTER_CPU_BASELINE] = passes_cpu_baseline,
        [PLACEMENT_FILTER_POOLS] = passes_pools,
        [PLACEMENT_FILTER_NETWORKS] = passes_networks,
        [PLACEMENT_FILTER_HOST_TOO_SMALL] = passes_host_too_small,
        [PLACEMENT_FILTER_CAPACITY] = passes_capacity,
        [PLACEMENT_FILTER_AFFINITY] = passes_affinity,
        [PLACEMENT_FILTER_ANTI_AFFINITY] = passes_anti_affinity,
        [PLACEMENT_FILTER_HOST_LOSS] = passes_host_loss,
};

/* ---- judging ---- */

#define FIRST_OF_PROFILE PLACEMENT_FILTER_ARCHITECTURE
#define LAST_OF_PROFILE  PLACEMENT_FILTER_NETWORKS
#define NOT_ASKED        UINT8_MAX

/* The filter that refuses all hosts of this profile, or PLACEMENT_FILTER_COUNT. */
static enum placement_filter judge_profile(
        const struct placing *p, struct judged *j, struct placement_refusal *refusal)
{
	uint8_t *verdict = &p->scratch->verdicts.items[j->host->profile->slot];
	if (*verdict != NOT_ASKED)
		return *verdict;
	*verdict = PLACEMENT_FILTER_COUNT;
	for (int i = FIRST_OF_PROFILE; i <= LAST_OF_PROFILE; i++) {
		if (filters[i](p, j, refusal))
			continue;
		*verdict = (uint8_t)i;
		break;
	}
	return *verdict;
}

static enum placement_filter find_refusal(
        const struct placing *p, struct judged *j, struct placement_refusal *refusal)
{
	for (int i = 0; i < FIRST_OF_PROFILE; i++)
		if (!filters[i](p, j, refusal))
			return (enum placement_filter)i;
	enum placement_filter of_profile = judge_profile(p, j, refusal);
	if (of_profile != PLACEMENT_FILTER_COUNT)
		return of_profile;
	for (int i = LAST_OF_PROFILE + 1; i < PLACEMENT_FILTER_COUNT; i++)
		if (!filters[i](p, j, refusal))
			return (enum placement_filter)i;
	return PLACEMENT_FILTER_COUNT;
}

static void judge(const struct placing *p, const struct host_entry *host, struct placement *ret)
{
	struct judged j = {.host = host, .mark = &p->scratch->marks.items[host->slot]};
	struct placement_refusal refusal = {.host = &host->pub, .bound = ADMISSION_NONE};
	refusal.filter = find_refusal(p, &j, &refusal);
	if (refusal.filter != PLACEMENT_FILTER_COUNT) {
		VEC_PUSH(&ret->refused, refusal);
		return;
	}
	struct placement_choice choice;
	placement_score(p, &j, &choice);
	VEC_PUSH(&p->scratch->unsorted, choice);
}

static bool is_looked_at(const struct placement_request *request, const struct host_entry *host)
{
	if (request->host_id && strcmp(host->pub.id, request->host_id) != 0)
		return false;
	if (request->not_host_id && strcmp(host->pub.id, request->not_host_id) == 0)
		return false;
	return !request->group_id || strcmp(host->group->pub.id, request->group_id) == 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct choice_key *x = a, *y = b;
	if (x->score != y->score)
		return x->score < y->score ? -1 : 1;
	return x->index < y->index ? -1 : 1; /* hosts were judged by name, then id */
}

/* The keys are sorted in place of the choices, which are large. */
static void rank(struct placement_scratch *s, struct placement *ret)
{
	s->keys.len = 0;
	VEC_RESERVE(&s->keys, s->unsorted.len);
	for (uint32_t i = 0; i < s->unsorted.len; i++)
		s->keys.items[s->keys.len++] = (struct choice_key){s->unsorted.items[i].score, i};
	if (s->keys.len > 1)
		qsort(s->keys.items, s->keys.len, sizeof(*s->keys.items), compare_keys);
	VEC_RESERVE(&ret->ranked, s->keys.len);
	VEC_FOR_EACH (&s->keys, key) {
		ret->ranked.items[ret->ranked.len++] = s->unsorted.items[key->index];
	}
}

/* ---- the whole ---- */

static void grow_losses(struct placement_scratch *s, size_t groups)
{
	while (s->losses.len < groups)
		VEC_PUSH(&s->losses, (struct host_loss){0});
	for (size_t i = 0; i < s->losses.len; i++)
		s->losses.items[i].is_prepared = false;
}

static void reset(struct placement *ret, const struct inventory *inv)
{
	if (!ret->scratch)
		ret->scratch = xcalloc(1, sizeof(*ret->scratch));
	struct placement_scratch *s = ret->scratch;
	ret->ranked.len = ret->refused.len = s->unsorted.len = 0;
	VEC_RESERVE(&s->marks, inv->hosts.len);
	s->marks.len = inv->hosts.len;
	if (s->marks.len > 0)
		memset(s->marks.items, 0, s->marks.len * sizeof(*s->marks.items));
	VEC_RESERVE(&s->verdicts, inv->profiles.len);
	s->verdicts.len = inv->profiles.len;
	if (s->verdicts.len > 0)
		memset(s->verdicts.items, NOT_ASKED, s->verdicts.len);
	grow_losses(s, inv->group_list.len);
}

struct placing placing_of(const struct placement *ret)
{
	const struct placement_request *request = ret->request;
	return (struct placing){
	        .inv = ret->inventory,
	        .request = request,
	        .scratch = ret->scratch,
	        .asked = reservation_holding(&request->asked),
	        .most_vcpus = reservation_most_vcpus(&request->asked),
	        .own = request->vm_id ? index_find(ret->inventory, WORD_VM, request->vm_id) : NULL,
	};
}

/* Hosts lie apart in memory: asked for some time before they are needed. */
#define AHEAD 6
static void fetch(const struct host_entry *host)
{
	__builtin_prefetch(&host->pub.state);
	__builtin_prefetch(&host->profile);
	__builtin_prefetch((const char *)&host->limits + 56);
	__builtin_prefetch((const char *)&host->held + 64);
}

void place(
        const struct inventory *inv, const struct placement_request *request, struct placement *ret)
{
	ret->inventory = inv;
	ret->request = request;
	reset(ret, inv);
	struct placing p = placing_of(ret);
	rules_mark(&p);
	for (size_t i = 0; i < inv->hosts.len; i++) {
		if (i + AHEAD < inv->hosts.len)
			fetch(inv->hosts.items[i + AHEAD]);
		if (is_looked_at(request, inv->hosts.items[i]))
			judge(&p, inv->hosts.items[i], ret);
	}
	rank(ret->scratch, ret);
}

void placement_done(struct placement *ret)
{
	struct placement_scratch *s = ret->scratch;
	VEC_DONE(&ret->ranked);
	VEC_DONE(&ret->refused);
	if (!s)
		return;
	VEC_FOR_EACH (&s->losses, loss) {
		host_loss_done(loss);
	}
	VEC_DONE(&s->losses);
	VEC_DONE(&s->marks);
	VEC_DONE(&s->verdicts);
	VEC_DONE(&s->unsorted);
	VEC_DONE(&s->keys);
	free(s);
	ret->scratch = NULL;
}
