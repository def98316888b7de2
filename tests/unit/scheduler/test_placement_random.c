/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random small fleets against a checker that shares nothing with the code under test: plain loops
 * over plain arrays, and an exact search for the loss of each host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/placement.h"
#include "tests/unit/scheduler/fleet.h"

#define HOSTS_MAX 4
#define VMS_MAX   9
#define NEWCOMER  (VMS_MAX - 1) /* its place in the arrays, if it is no VM of the fleet */

struct fleet {
	struct inventory_group group;
	int n_hosts, n_vms;
	struct inventory_host hosts[HOSTS_MAX];
	struct inventory_vm vms[VMS_MAX];
	int at[VMS_MAX]; /* host of each VM, -1: nowhere */
	char names[VMS_MAX][8];
	struct field_label labels[VMS_MAX];
	struct placement_rule rules[VMS_MAX][2];
	char *targets[VMS_MAX][2];
};

static char app[] = "app";
static char *const apps[] = {(char[]){"web"}, (char[]){"db"}};
static char *const hosts[] = {(char[]){"h0"}, (char[]){"h1"}, (char[]){"h2"}, (char[]){"h3"}};
static const char *const domains[] = {"d0", "d1", NULL};

/* ---- the checker's arithmetic ---- */

static bool holds(const struct fleet *f, int vm)
{
	return f->vms[vm].reservation.state != RESERVATION_NONE;
}

static int64_t floor_of(const struct reservation *r, bool starts_count)
{
	bool starts = r->state == RESERVATION_STARTING;
	if (starts && (starts_count || r->inflexible))
		return r->size_bytes;
	if (r->inflexible)
		return r->booked_bytes > r->min_bytes ? r->booked_bytes : r->min_bytes;
	return r->min_bytes;
}

/* Whether a host keeps all promises with exactly the VMs that `at` puts on it. */
static bool host_is_kept(const struct fleet *f, const int *at, int host, bool starts_count)
{
	int64_t size = 0, floor = 0, vcpus = 0, dedicated = 0, percent = 0;
	const struct inventory_host *h = &f->hosts[host];
	bool balloon = f->group.mode == OVERCOMMIT_BALLOON;
	for (int i = 0; i < VMS_MAX; i++) {
		const struct reservation *r = &f->vms[i].reservation;
		if (at[i] != host || !holds(f, i))
			continue;
		size += r->size_bytes + r->overhead_bytes;
		floor += floor_of(r, starts_count && balloon) + r->overhead_bytes;
		dedicated += r->dedicated ? r->vcpus : 0;
		vcpus += r->dedicated ? 0 : r->vcpus;
		percent += r->dedicated ? 0 : r->vcpus * r->reservation_percent;
		if (r->vcpus > h->cpu_threads)
			return false;
	}
	int64_t usable = h->memory_bytes - f->group.reserve_memory_bytes;
	int64_t shared = h->cpu_threads * (100 - f->group.reserve_cpu_percent) - 100 * dedicated;
	if (f->group.mode == OVERCOMMIT_STRICT && size > usable)
		return false;
	if (f->group.mode == OVERCOMMIT_RATIO && size * 2 > usable * 3)
		return false;
	if (f->group.mode != OVERCOMMIT_STRICT && floor > usable)
		return false;
	return percent <= shared && vcpus * 100 <= shared * 4 && shared >= 0;
}

/* Exact: tries every host for every VM from `vm` on that is on the lost host. */
static bool can_move_all(const struct fleet *f, int *at, int lost, int vm)
{
	while (vm < VMS_MAX && (at[vm] != lost || !holds(f, vm)))
		vm++;
	if (vm == VMS_MAX)
		return true;
	for (int h = 0; h < f->n_hosts; h++) {
		if (h == lost || f->hosts[h].state != INVENTORY_HOST_OK)
			continue;
		at[vm] = h;
		bool done = host_is_kept(f, at, h, false) && can_move_all(f, at, lost, vm + 1);
		at[vm] = lost;
		if (done)
			return true;
	}
	return false;
}

static int find_fatal_loss(const struct fleet *f, const int *at)
{
	int copy[VMS_MAX];
	memcpy(copy, at, sizeof(copy));
	for (int h = 0; h < f->n_hosts; h++)
		if (!can_move_all(f, copy, h, 0))
			return h;
	return -1;
}

/* ---- the checker's rules ---- */

static bool same_scope(const struct fleet *f, const struct placement_rule *r, int a, int b)
{
	const char *x = f->hosts[a].failure_domain, *y = f->hosts[b].failure_domain;
	return a == b ||
	       (r->scope == PLACEMENT_SCOPE_FAILURE_DOMAIN && x && y && strcmp(x, y) == 0);
}

static bool is_target(const struct fleet *f, const struct placement_rule *r, int vm)
{
	if (r->target == PLACEMENT_TARGET_VMS)
		return strcmp(r->names.items[0], f->vms[vm].name) == 0;
	return f->vms[vm].labels.len > 0 &&
	       strcmp(f->vms[vm].labels.items[0].value, r->labels.items[0].value) == 0;
}

static bool host_matches(const struct fleet *f, const struct placement_rule *r, int host)
{
	const char *name = r->target == PLACEMENT_TARGET_HOSTS ? f->hosts[host].name
	                                                       : f->hosts[host].failure_domain;
	return name && strcmp(name, r->names.items[0]) == 0;
}

/* Whether VM `v` has this rule broken; `by` >= 0: by this VM alone. */
static bool is_broken(
        const struct fleet *f, const int *at, int v, const struct placement_rule *r, int by)
{
	int near = 0, far = 0;
	if (r->target == PLACEMENT_TARGET_HOSTS || r->target == PLACEMENT_TARGET_FAILURE_DOMAINS)
		return host_matches(f, r, at[v]) == r->is_anti;
	for (int i = 0; i < VMS_MAX; i++) {
		if (i == v || at[i] < 0 || !is_target(f, r, i) || (by >= 0 && i != by))
			continue;
		if (same_scope(f, r, at[i], at[v]))
			near++;
		else
			far++;
	}
	return r->is_anti ? near > 0 : near == 0 && far > 0;
}

static bool breaks_other(const struct fleet *f, const int *before, const int *after, int newcomer,
        int v, const struct placement_rule *r)
{
	if (r->target != PLACEMENT_TARGET_VMS && r->target != PLACEMENT_TARGET_VM_LABELS)
		return false;
	if (r->is_anti || r->target == PLACEMENT_TARGET_VMS)
		return is_broken(f, after, v, r, newcomer);
	return is_broken(f, after, v, r, -1) && !is_broken(f, before, v, r, -1);
}

/* Of the kind that is asked about: the newcomer's hard rules, and those of others about it. */
static bool breaks_rule(
        const struct fleet *f, const int *before, const int *after, int newcomer, bool is_anti)
{
	for (int v = 0; v < VMS_MAX; v++) {
		if (after[v] < 0)
			continue;
		for (size_t i = 0; i < f->vms[v].rules.len; i++) {
			const struct placement_rule *r = &f->rules[v][i];
			if (!r->is_hard || r->is_anti != is_anti)
				continue;
			if (v == newcomer ? is_broken(f, after, v, r, -1)
			                  : breaks_other(f, before, after, newcomer, v, r))
				return true;
		}
	}
	return false;
}

/* ---- random fleets ---- */

static void make_rule(struct fleet *f, int vm, size_t i)
{
	struct placement_rule *r = &f->rules[vm][i];
	int target = (int)random_below(VMS_MAX);
	*r = (struct placement_rule){
	        .is_anti = random_below(3) > 0, .is_hard = random_below(4) > 0};
	r->scope = random_below(3) ? PLACEMENT_SCOPE_HOST : PLACEMENT_SCOPE_FAILURE_DOMAIN;
	switch (random_below(6)) {
	case 0:
		r->target = PLACEMENT_TARGET_HOSTS;
		f->targets[vm][i] = hosts[random_below(f->n_hosts)];
		break;
	case 1:
		r->target = PLACEMENT_TARGET_FAILURE_DOMAINS;
		f->targets[vm][i] = (char *)(uintptr_t)domains[random_below(2)];
		break;
	case 2:
	case 3:
		r->target = PLACEMENT_TARGET_VM_LABELS;
		r->labels = (struct field_labels){&f->labels[random_below(VMS_MAX)], 1};
		return;
	default:
		r->target = PLACEMENT_TARGET_VMS;
		f->targets[vm][i] = f->names[target == vm ? (vm + 1) % VMS_MAX : target];
	}
	r->names = (struct field_strings){&f->targets[vm][i], 1};
}

static struct reservation make_size(void)
{
	struct reservation r = {
	        .state = random_below(3) ? RESERVATION_RUNNING : RESERVATION_STARTING,
	        .vcpus = 1 + random_below(4),
	        .size_bytes = (1 + random_below(24)) * 256 * MIB,
	        .reservation_percent = random_below(2) * 50,
	        .dedicated = random_below(8) == 0,
	        .inflexible = random_below(8) == 0,
	};
	r.min_bytes = r.size_bytes / (1 + random_below(3));
	r.booked_bytes = (r.size_bytes + r.min_bytes) / 2;
	r.overhead_bytes = admission_overhead_bytes(r.vcpus, r.size_bytes);
	return r;
}

static void make_vm(struct fleet *f, int i, bool has_rules)
{
	struct inventory_vm *vm = &f->vms[i];
	*vm = (struct inventory_vm){.id = f->names[i], .name = f->names[i]};
	if (random_below(3))
		vm->labels = (struct field_labels){&f->labels[i], 1};
	vm->reservation = make_size();
	if (!has_rules)
		return;
	vm->rules = (struct placement_rules){f->rules[i], (size_t)random_below(3)};
	for (size_t r = 0; r < vm->rules.len; r++)
		make_rule(f, i, r);
}

static void make_hosts(struct fleet *f)
{
	f->group = a_group("g", (enum overcommit_mode)random_below(3));
	f->group.memory_ratio = 1.5;
	f->group.reserve_memory_bytes = random_below(2) * GIB;
	f->group.reserve_cpu_percent = random_below(2) * 25;
	f->group.survive_host_loss = random_below(3) > 0;
	f->group.policy = (enum placement_policy)random_below(2);
	f->n_hosts = 1 + (int)random_below(HOSTS_MAX);
	for (int i = 0; i < f->n_hosts; i++) {
		f->hosts[i] =
		        a_host(hosts[i], "g", 4 + random_below(5), (6 + random_below(6)) * GIB);
		f->hosts[i].failure_domain = domains[random_below(3)];
		f->hosts[i].cpu_busy_percent = random_below(100) - 1;
		if (random_below(8) == 0)
			f->hosts[i].state = INVENTORY_HOST_DRAINING;
	}
}

static void make_fleet(struct fleet *f, bool has_rules)
{
	*f = (struct fleet){0};
	make_hosts(f);
	for (int i = 0; i < VMS_MAX; i++) {
		snprintf(f->names[i], sizeof(f->names[i]), "v%c", 'a' + i);
		f->labels[i] = (struct field_label){app, apps[random_below(2)]};
		f->at[i] = -1;
	}
	f->n_vms = (int)random_below(VMS_MAX);
	for (int i = 0; i < f->n_vms; i++) {
		make_vm(f, i, has_rules);
		f->at[i] = (int)random_below(f->n_hosts);
		if (random_below(6) == 0)
			f->vms[i].reservation.state = RESERVATION_NONE;
		if (!host_is_kept(f, f->at, f->at[i], true))
			f->at[i] = -1;
	}
	make_vm(f, NEWCOMER, has_rules);
	f->vms[NEWCOMER].reservation.state = RESERVATION_STARTING;
}

static void put_vm(struct inventory *inv, const struct fleet *f, int i)
{
	struct inventory_vm vm = f->vms[i];
	if (i == NEWCOMER || f->at[i] < 0)
		return;
	vm.host_id = hosts[f->at[i]];
	assert_true(inventory_put_vm(inv, &vm));
}

static struct inventory *build(const struct fleet *f, bool backwards)
{
	struct inventory *inv = inventory_new();
	inventory_put_group(inv, &f->group);
	for (int i = 0; i < f->n_hosts; i++)
		assert_true(inventory_put_host(inv, &f->hosts[backwards ? f->n_hosts - 1 - i : i]));
	for (int i = 0; i < VMS_MAX; i++)
		put_vm(inv, f, backwards ? VMS_MAX - 1 - i : i);
	return inv;
}

/* ---- one fleet ---- */

struct tally {
	int64_t ranked, refused[PLACEMENT_FILTER_COUNT], too_careful;
};

static void check_ranked(const struct fleet *f, int newcomer, int host, struct tally *tally)
{
	int after[VMS_MAX];
	memcpy(after, f->at, sizeof(after));
	after[newcomer] = host;
	assert_int_equal(f->hosts[host].state, INVENTORY_HOST_OK);
	assert_true(host_is_kept(f, after, host, true));
	assert_false(breaks_rule(f, f->at, after, newcomer, false));
	assert_false(breaks_rule(f, f->at, after, newcomer, true));
	assert_true(!f->group.survive_host_loss || find_fatal_loss(f, after) < 0);
	tally->ranked++;
}

static void check_refused(const struct fleet *f, int newcomer,
        const struct placement_refusal *refusal, struct tally *tally)
{
	int after[VMS_MAX], alone[VMS_MAX];
	int host = refusal->host->name[1] - '0';
	memcpy(after, f->at, sizeof(after));
	memset(alone, 0xff, sizeof(alone));
	after[newcomer] = alone[newcomer] = host;
	tally->refused[refusal->filter]++;
	switch (refusal->filter) {
	case PLACEMENT_FILTER_STATE:
		assert_int_not_equal(f->hosts[host].state, INVENTORY_HOST_OK);
		break;
	case PLACEMENT_FILTER_HOST_TOO_SMALL:
		assert_false(host_is_kept(f, alone, host, true));
		break;
	case PLACEMENT_FILTER_CAPACITY:
		assert_true(host_is_kept(f, alone, host, true));
		assert_false(host_is_kept(f, after, host, true));
		break;
	case PLACEMENT_FILTER_AFFINITY:
		assert_true(breaks_rule(f, f->at, after, newcomer, false));
		break;
	case PLACEMENT_FILTER_ANTI_AFFINITY:
		assert_true(breaks_rule(f, f->at, after, newcomer, true));
		break;
	case PLACEMENT_FILTER_HOST_LOSS:
		assert_true(f->group.survive_host_loss);
		tally->too_careful += find_fatal_loss(f, after) < 0;
		break;
	default:
		fail_msg("no host lacks %s", placement_filter_names[refusal->filter]);
	}
}

static void check_same(const struct placement *a, const struct placement *b)
{
	assert_int_equal(a->ranked.len, b->ranked.len);
	assert_int_equal(a->refused.len, b->refused.len);
	for (size_t i = 0; i < a->ranked.len; i++) {
		assert_string_equal(a->ranked.items[i].host->id, b->ranked.items[i].host->id);
		assert_memory_equal(
		        &a->ranked.items[i].score, &b->ranked.items[i].score, sizeof(double));
	}
	for (size_t i = 0; i < a->refused.len; i++) {
		struct str x CLEANUP(str_done) = {0}, y CLEANUP(str_done) = {0};
		placement_refusal_text(a, &a->refused.items[i], &x);
		placement_refusal_text(b, &b->refused.items[i], &y);
		assert_string_equal(str_text(&x), str_text(&y));
		assert_true(x.len > strlen("host \"h0\": "));
	}
}

static struct placement_request make_request(const struct fleet *f, int newcomer)
{
	const struct inventory_vm *vm = &f->vms[newcomer];
	return (struct placement_request){
	        .vm_id = newcomer == NEWCOMER ? NULL : vm->id,
	        .name = vm->name,
	        .labels = vm->labels,
	        .rules = vm->rules,
	        .asked = vm->reservation,
	        .architecture = "x86_64",
	};
}

static void check_fleet(struct fleet *f, struct tally *tally)
{
	/* Sometimes a VM that is there already is started again or moved. */
	int newcomer = random_below(4) || f->n_vms == 0 ? NEWCOMER : (int)random_below(f->n_vms);
	if (newcomer != NEWCOMER && f->at[newcomer] < 0)
		newcomer = NEWCOMER;
	struct inventory *inv = build(f, false), *other = build(f, true);
	f->vms[newcomer].reservation.state = RESERVATION_STARTING;
	struct placement_request request = make_request(f, newcomer);
	struct placement p CLEANUP(placement_done) = {0}, q CLEANUP(placement_done) = {0};
	place(inv, &request, &p);
	place(other, &request, &q);
	check_same(&p, &q);
	assert_int_equal(p.ranked.len + p.refused.len, f->n_hosts);
	unsigned seen = 0;
	for (size_t i = 0; i < p.ranked.len; i++) {
		int host = p.ranked.items[i].host->name[1] - '0';
		seen |= 1u << host;
		check_ranked(f, newcomer, host, tally);
		assert_true(i == 0 || p.ranked.items[i - 1].score <= p.ranked.items[i].score);
	}
	for (size_t i = 0; i < p.refused.len; i++) {
		seen |= 1u << (p.refused.items[i].host->name[1] - '0');
		check_refused(f, newcomer, &p.refused.items[i], tally);
	}
	assert_int_equal(seen, (1u << f->n_hosts) - 1); /* each host once */
	inventory_free(inv);
	inventory_free(other);
}

static void run(bool has_rules, struct tally *tally)
{
	int rounds = test_rounds(3000, 10000);
	for (int i = 0; i < rounds; i++) {
		struct fleet f;
		random_seed((uint64_t)i + (has_rules ? 1000000 : 0));
		make_fleet(&f, has_rules);
		check_fleet(&f, tally);
	}
}

static void test_random_fleets_keep_capacity_and_survive_losses(void **state)
{
	(void)state;
	struct tally tally = {0};
	run(/* has_rules= */ false, &tally);
	assert_true(tally.ranked > 500);
	assert_true(tally.refused[PLACEMENT_FILTER_CAPACITY] > 100);
	assert_true(tally.refused[PLACEMENT_FILTER_HOST_LOSS] > 100);
	/* The packing may give up where an exact search would not, but seldom. */
	assert_true(tally.too_careful * 100 <= tally.refused[PLACEMENT_FILTER_HOST_LOSS]);
	print_message("%lld ranked, %lld refused for a loss, %lld of them too carefully\n",
	        (long long)tally.ranked, (long long)tally.refused[PLACEMENT_FILTER_HOST_LOSS],
	        (long long)tally.too_careful);
}

static void test_random_rules_are_never_broken(void **state)
{
	(void)state;
	struct tally tally = {0};
	run(/* has_rules= */ true, &tally);
	assert_true(tally.ranked > 500);
	assert_true(tally.refused[PLACEMENT_FILTER_AFFINITY] > 100);
	assert_true(tally.refused[PLACEMENT_FILTER_ANTI_AFFINITY] > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_random_fleets_keep_capacity_and_survive_losses),
	        cmocka_unit_test(test_random_rules_are_never_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
