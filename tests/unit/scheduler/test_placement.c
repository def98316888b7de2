/* SPDX-License-Identifier: Apache-2.0 */
/* The reason of every filter, what the score prefers, and rules that contradict each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "scheduler/placement.h"
#include "tests/unit/scheduler/fleet.h"

static char web[] = "web", db[] = "db", app[] = "app", h1[] = "h1", h2[] = "h2", h3[] = "h3",
            ssd[] = "ssd", lan[] = "lan", skylake[] = "Skylake", vm_a[] = "a", vm_b[] = "b",
            rack[] = "rack1", cold[] = "cold";
static struct field_label app_web = {app, web}, app_db = {app, db};

/* ---- a group of two hosts, h1 and h2, of 8 threads and 16 GiB ---- */

static struct inventory *two_hosts(const struct inventory_group *changed)
{
	struct inventory *inv = inventory_new();
	struct inventory_group group = changed ? *changed : a_group("g", OVERCOMMIT_STRICT);
	inventory_put_group(inv, &group);
	struct inventory_host a = a_host(h1, "g", 8, 16 * GIB), b = a_host(h2, "g", 8, 16 * GIB);
	assert_true(inventory_put_host(inv, &a));
	assert_true(inventory_put_host(inv, &b));
	return inv;
}

static struct placement_request small_vm(void)
{
	return (struct placement_request){.name = "new",
	        .asked = a_size(RESERVATION_STARTING, 1, GIB, 0),
	        .architecture = "x86_64"};
}

static void put(struct inventory *inv, const char *id, const char *host, struct field_label *label,
        int64_t size)
{
	struct inventory_vm vm = a_vm(id, host, a_size(RESERVATION_RUNNING, 1, size, 0));
	vm.labels = (struct field_labels){label, label != NULL};
	assert_true(inventory_put_vm(inv, &vm));
}

/* h1 is refused by this filter with these words; h2 is taken. */
static void expect_refusal(const struct inventory *inv, const struct placement_request *request,
        enum placement_filter filter, const char *words)
{
	struct placement p CLEANUP(placement_done) = {0};
	struct str text CLEANUP(str_done) = {0};
	place(inv, request, &p);
	assert_int_equal(p.ranked.len, 1);
	assert_string_equal(p.ranked.items[0].host->name, h2);
	assert_int_equal(p.refused.len, 1);
	assert_string_equal(
	        placement_filter_names[p.refused.items[0].filter], placement_filter_names[filter]);
	placement_refusal_text(&p, &p.refused.items[0], &text);
	if (!strstr(str_text(&text), words))
		fail_msg("\"%s\" does not say \"%s\"", str_text(&text), words);
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	placement_refusal_encode(&p, &p.refused.items[0], &w);
	json_object_end(&w);
	json_t *json = json_loads(str_text(&w.out), 0, NULL);
	assert_string_equal(
	        json_string_value(json_object_get(json, "filter")), placement_filter_names[filter]);
	assert_true(json_is_object(json_object_get(json, "numbers")));
	json_decref(json);
	assert_int_equal(placement_check(&p, NULL), 0);
}

/* Changes host h1. */
#define CHANGE_H1(inv, ...)                                                                        \
	do {                                                                                       \
		struct inventory_host h = *inventory_host(inv, h1);                                \
		__VA_ARGS__;                                                                       \
		assert_true(inventory_put_host(inv, &h));                                          \
	} while (0)

static void test_a_host_that_is_not_ok_is_refused_with_its_reason(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	assert_true(inventory_set_host_state(inv, h1, INVENTORY_HOST_DOWN, "no heartbeat for 8 s"));
	struct placement_request request = small_vm();
	expect_refusal(inv, &request, PLACEMENT_FILTER_STATE, "down: no heartbeat for 8 s");
	inventory_free(inv);
}

static void test_hardware_and_firmware_are_named(void **state)
{
	(void)state;
	static const struct inventory_architecture
	        arm[] = {{"aarch64", PLACEMENT_KVM, true, true, {0}}},
	        tcg[] = {{"x86_64", PLACEMENT_TCG, true, true, {0}}},
	        bios[] = {{"x86_64", PLACEMENT_KVM, false, false, {0}}},
	        uefi[] = {{"x86_64", PLACEMENT_KVM, true, false, {0}}};
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	CHANGE_H1(inv, h.architectures = arm);
	expect_refusal(inv, &request, PLACEMENT_FILTER_ARCHITECTURE, "x86_64 guests but aarch64");
	request.accelerator = PLACEMENT_KVM;
	CHANGE_H1(inv, h.architectures = tcg);
	expect_refusal(inv, &request, PLACEMENT_FILTER_ACCELERATOR, "with kvm");
	request.needs_uefi = true;
	CHANGE_H1(inv, h.architectures = bios);
	expect_refusal(inv, &request, PLACEMENT_FILTER_FIRMWARE, "no UEFI firmware");
	request.needs_secure_boot = true;
	CHANGE_H1(inv, h.architectures = uefi);
	expect_refusal(inv, &request, PLACEMENT_FILTER_FIRMWARE, "secure boot");
	inventory_free(inv);
}

static void test_cpu_model_pools_and_networks_are_named(void **state)
{
	(void)state;
	static char other[] = "Opteron_G5";
	char *cpus[] = {other}, *pools[] = {ssd}, *networks[] = {lan};
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	const struct inventory_architecture old_cpu = {
	        "x86_64", PLACEMENT_KVM, true, true, {cpus, 1}};
	struct inventory_host second = *inventory_host(inv, h2);
	second.pools = (struct field_strings){pools, 1};
	assert_true(inventory_put_host(inv, &second));
	CHANGE_H1(inv, h.architectures = &old_cpu); /* h2's are not known, which refuses nothing */
	request.cpu_baseline = skylake;
	expect_refusal(inv, &request, PLACEMENT_FILTER_CPU_BASELINE, "Skylake");
	request.cpu_baseline = NULL;
	request.pools = (struct field_strings){pools, 1};
	expect_refusal(inv, &request, PLACEMENT_FILTER_POOLS, "pool ssd");
	request.pools.len = 0;
	request.networks = (struct field_strings){networks, 1};
	CHANGE_H1(inv, h.has_networks = true); /* h2's are not known, which refuses nothing */
	expect_refusal(inv, &request, PLACEMENT_FILTER_NETWORKS, "network lan");
	inventory_free(inv);
}

static void test_too_small_and_too_full_are_told_apart_with_numbers(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	put(inv, "big", h1, NULL, 16 * GIB);
	expect_refusal(inv, &request, PLACEMENT_FILTER_CAPACITY,
	        "1073741824 bytes of memory with overhead were asked for, host \"h1\" has 0 free");
	inventory_remove_vm(inv, "big", NULL);
	CHANGE_H1(inv, h.memory_bytes = GIB / 2);
	expect_refusal(inv, &request, PLACEMENT_FILTER_HOST_TOO_SMALL, "536870912");
	inventory_free(inv);
}

static struct placement_rule rule(bool is_anti, enum placement_target target, char **name)
{
	return (struct placement_rule){
	        .is_anti = is_anti, .is_hard = true, .target = target, .names = {name, 1}};
}

static void test_own_rules_refuse_hosts(void **state)
{
	(void)state;
	char *names[] = {vm_a}, *first[] = {h1}, *second[] = {h2}, *racks[] = {rack};
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	struct placement_rule r = rule(true, PLACEMENT_TARGET_VMS, names);
	request.rules = (struct placement_rules){&r, 1};
	put(inv, vm_a, h1, &app_web, MIB);
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY,
	        "anti-affinity to VM a, and VM a is on host h1");
	r = rule(true, PLACEMENT_TARGET_VM_LABELS, NULL);
	r.names.len = 0;
	r.labels = (struct field_labels){&app_web, 1};
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY, "VMs with app=web");
	r = rule(true, PLACEMENT_TARGET_HOSTS, first);
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY, "anti-affinity to host h1");
	r = rule(false, PLACEMENT_TARGET_HOSTS, second);
	expect_refusal(inv, &request, PLACEMENT_FILTER_AFFINITY, "affinity to host h2");
	put(inv, vm_a, h2, &app_web, MIB);
	inventory_remove_vm(inv, vm_a, h1);
	r = rule(false, PLACEMENT_TARGET_VMS, names);
	expect_refusal(inv, &request, PLACEMENT_FILTER_AFFINITY, "VM a is on host h2");
	CHANGE_H1(inv, h.failure_domain = rack);
	r = rule(true, PLACEMENT_TARGET_FAILURE_DOMAINS, racks);
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY, "failure domain rack1");
	CHANGE_H1(inv, h.labels = ((struct field_labels){&app_db, 1}));
	r = (struct placement_rule){.is_anti = true,
	        .is_hard = true,
	        .target = PLACEMENT_TARGET_HOST_LABELS,
	        .labels = {&app_db, 1}};
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY, "hosts with app=db");
	inventory_free(inv);
}

static void test_rules_of_placed_vms_bind_the_newcomer(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	struct placement_rule r = {.is_anti = true,
	        .is_hard = true,
	        .target = PLACEMENT_TARGET_VM_LABELS,
	        .labels = {&app_web, 1}};
	struct inventory_vm vm = a_vm(vm_a, h1, a_size(RESERVATION_RUNNING, 1, MIB, 0));
	vm.rules = (struct placement_rules){&r, 1};
	assert_true(inventory_put_vm(inv, &vm));
	request.labels = (struct field_labels){&app_web, 1};
	expect_refusal(inv, &request, PLACEMENT_FILTER_ANTI_AFFINITY,
	        "VM a, on host h1, has anti-affinity to VMs with app=web");
	r.is_anti = false;
	vm.host_id = h2;
	assert_true(inventory_put_vm(inv, &vm));
	inventory_remove_vm(inv, vm_a, h1);
	expect_refusal(inv, &request, PLACEMENT_FILTER_AFFINITY, "VM a, on host h2, has affinity");
	inventory_free(inv);
}

static void test_apart_by_failure_domain_refuses_the_whole_rack(void **state)
{
	(void)state;
	char *names[] = {vm_a};
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	struct placement_rule r = rule(true, PLACEMENT_TARGET_VMS, names);
	r.scope = PLACEMENT_SCOPE_FAILURE_DOMAIN;
	request.rules = (struct placement_rules){&r, 1};
	struct inventory_host third = a_host(h3, "g", 8, 16 * GIB);
	third.failure_domain = rack;
	assert_true(inventory_put_host(inv, &third));
	CHANGE_H1(inv, h.failure_domain = rack);
	put(inv, vm_a, h3, NULL, MIB);
	struct placement p CLEANUP(placement_done) = {0};
	place(inv, &request, &p);
	assert_int_equal(p.ranked.len, 1);
	assert_string_equal(p.ranked.items[0].host->name, h2);
	assert_int_equal(p.refused.len, 2);
	inventory_free(inv);
}

static void test_a_loss_that_could_not_be_absorbed_is_named(void **state)
{
	(void)state;
	struct inventory_group group = a_group("g", OVERCOMMIT_STRICT);
	group.survive_host_loss = 1;
	struct inventory *inv = two_hosts(&group);
	struct placement_request request = small_vm();
	put(inv, vm_a, h2, NULL, 10 * GIB);
	request.asked.size_bytes = 8 * GIB; /* on h1: 10 and 8 do not fit one host */
	struct placement p CLEANUP(placement_done) = {0};
	struct str text CLEANUP(str_done) = {0};
	place(inv, &request, &p);
	assert_int_equal(p.ranked.len, 0);
	assert_int_equal(p.refused.items[0].filter, PLACEMENT_FILTER_HOST_LOSS);
	placement_refusal_text(&p, &p.refused.items[0], &text);
	assert_non_null(strstr(str_text(&text), "if host \"h2\" were lost"));
	assert_non_null(strstr(str_text(&text), "10737418240"));
	struct err e = {0};
	assert_int_equal(placement_check(&p, &e), ERR_NO_CAPACITY);
	request.asked.size_bytes = 6 * GIB;
	place(inv, &request, &p);
	assert_int_equal(p.ranked.len, 2); /* either host can hold both */
	inventory_free(inv);
}

static void test_what_no_host_could_ever_hold_is_unprocessable(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	request.asked.size_bytes = 17 * GIB;
	struct placement p CLEANUP(placement_done) = {0};
	struct err e = {0};
	place(inv, &request, &p);
	assert_int_equal(placement_check(&p, &e), ERR_UNPROCESSABLE);
	json_t *numbers = json_loads(e.numbers, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(numbers, "host_too_small")), 2);
	json_decref(numbers);
	request.host_id = h1;
	place(inv, &request, &p);
	assert_int_equal(p.refused.len, 1);
	assert_int_equal(placement_check(&p, &e), ERR_UNPROCESSABLE);
	assert_string_equal(e.pointer, "/memory/size_bytes");
	inventory_free(inv);
}

static void test_a_request_may_be_restricted(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	struct placement p CLEANUP(placement_done) = {0};
	request.not_host_id = h1;
	place(inv, &request, &p);
	assert_int_equal(p.ranked.len, 1);
	assert_int_equal(p.refused.len, 0);
	request.not_host_id = NULL;
	request.group_id = "other";
	place(inv, &request, &p);
	assert_int_equal(p.ranked.len + p.refused.len, 0);
	struct err e = {0};
	assert_int_equal(placement_check(&p, &e), ERR_NO_CAPACITY);
	inventory_free(inv);
}

/* ---- the score ---- */

static const char *best(const struct inventory *inv, const struct placement_request *request)
{
	struct placement p CLEANUP(placement_done) = {0};
	place(inv, request, &p);
	return p.ranked.items[0].host->name;
}

static void test_spread_and_pack_prefer_opposite_hosts(void **state)
{
	(void)state;
	struct inventory_group group = a_group("g", OVERCOMMIT_STRICT);
	struct inventory *inv = two_hosts(&group);
	struct placement_request request = small_vm();
	assert_string_equal(best(inv, &request), h1); /* a tie: by name */
	put(inv, vm_a, h1, NULL, 4 * GIB);
	assert_string_equal(best(inv, &request), h2);
	group.policy = PLACEMENT_PACK;
	inventory_put_group(inv, &group);
	assert_string_equal(best(inv, &request), h1);
	inventory_free(inv);
}

static void test_busy_cpus_are_avoided(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	assert_true(inventory_set_host_busy(inv, h1, 90));
	assert_true(inventory_set_host_busy(inv, h2, 10));
	assert_string_equal(best(inv, &request), h2);
	inventory_free(inv);
}

static void test_big_slots_are_not_broken_up(void **state)
{
	(void)state;
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	/* h1: 4 GiB + 1 free: a slot of 4 would break; h2 has 3.9 free, one that is broken. */
	put(inv, vm_a, h1, NULL, 12 * GIB - MIB);
	put(inv, vm_b, h2, NULL, 12 * GIB + 100 * MIB);
	assert_string_equal(best(inv, &request), h2);
	inventory_free(inv);
}

static void test_soft_rules_outweigh_balance(void **state)
{
	(void)state;
	char *names[] = {vm_a};
	struct inventory *inv = two_hosts(NULL);
	struct placement_request request = small_vm();
	struct placement_rule r = rule(false, PLACEMENT_TARGET_VMS, names);
	r.is_hard = false;
	request.rules = (struct placement_rules){&r, 1};
	put(inv, vm_a, h1, NULL, 12 * GIB);
	assert_string_equal(best(inv, &request), h1);
	r.is_anti = true;
	put(inv, vm_b, h2, NULL, 14 * GIB);
	assert_string_equal(best(inv, &request), h2);
	inventory_free(inv);
}

/* ---- contradictions ---- */

static void expect_contradiction(const struct placement_rules *rules, const char *pointer)
{
	struct field_errors errors = {0};
	int rc = placement_check_rules("id", "me", rules, &errors);
	assert_int_equal(rc, pointer ? ERR_INVALID : 0);
	assert_int_equal(errors.len, pointer ? 1 : 0);
	if (pointer)
		assert_string_equal(errors.items[0].pointer, pointer);
}

static void test_rules_that_contradict_each_other_are_found(void **state)
{
	(void)state;
	char me[] = "me", *self[] = {me}, *a[] = {vm_a}, *first[] = {h1}, *both[] = {h1, h2},
	     *second[] = {h2}, *warm[] = {rack}, *other[] = {cold};
	struct placement_rule r[2] = {rule(false, PLACEMENT_TARGET_VMS, self)};
	struct placement_rules one = {r, 1}, two = {r, 2};
	expect_contradiction(&one, "/placement/affinity/0");
	r[0] = rule(true, PLACEMENT_TARGET_VMS, self);
	expect_contradiction(&one, "/placement/anti_affinity/0");
	r[0] = (struct placement_rule){.target = PLACEMENT_TARGET_VMS};
	expect_contradiction(&one, "/placement/affinity/0");
	r[0] = rule(false, PLACEMENT_TARGET_VMS, a);
	r[1] = rule(true, PLACEMENT_TARGET_VMS, a);
	expect_contradiction(&two, "/placement/anti_affinity/0");
	r[0].scope = PLACEMENT_SCOPE_FAILURE_DOMAIN; /* the same rack, another host of it */
	expect_contradiction(&two, NULL);
	r[1].is_hard = false;
	r[0].scope = PLACEMENT_SCOPE_HOST;
	expect_contradiction(&two, NULL);
	r[0] = rule(false, PLACEMENT_TARGET_HOSTS, both);
	r[0].names.len = 2;
	r[1] = rule(true, PLACEMENT_TARGET_HOSTS, first);
	expect_contradiction(&two, NULL);
	r[1].names = r[0].names;
	expect_contradiction(&two, "/placement/anti_affinity/0");
	r[0] = rule(false, PLACEMENT_TARGET_HOSTS, first);
	r[1] = rule(false, PLACEMENT_TARGET_HOSTS, second);
	expect_contradiction(&two, "/placement/affinity/1");
	r[0] = rule(false, PLACEMENT_TARGET_FAILURE_DOMAINS, warm);
	r[1] = rule(false, PLACEMENT_TARGET_FAILURE_DOMAINS, other);
	expect_contradiction(&two, "/placement/affinity/1");
	r[0] = (struct placement_rule){
	        .is_hard = true, .target = PLACEMENT_TARGET_VM_LABELS, .labels = {&app_web, 1}};
	r[1] = r[0];
	r[1].is_anti = true;
	expect_contradiction(&two, "/placement/anti_affinity/0");
	r[1].labels.items = &app_db;
	expect_contradiction(&two, NULL);
	struct placement_rules spread = {&r[1], 1}; /* apart from its like */
	r[1].labels.items = &app_web;
	expect_contradiction(&spread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_host_that_is_not_ok_is_refused_with_its_reason),
	        cmocka_unit_test(test_hardware_and_firmware_are_named),
	        cmocka_unit_test(test_cpu_model_pools_and_networks_are_named),
	        cmocka_unit_test(test_too_small_and_too_full_are_told_apart_with_numbers),
	        cmocka_unit_test(test_own_rules_refuse_hosts),
	        cmocka_unit_test(test_rules_of_placed_vms_bind_the_newcomer),
	        cmocka_unit_test(test_apart_by_failure_domain_refuses_the_whole_rack),
	        cmocka_unit_test(test_a_loss_that_could_not_be_absorbed_is_named),
	        cmocka_unit_test(test_what_no_host_could_ever_hold_is_unprocessable),
	        cmocka_unit_test(test_a_request_may_be_restricted),
	        cmocka_unit_test(test_spread_and_pack_prefer_opposite_hosts),
	        cmocka_unit_test(test_busy_cpus_are_avoided),
	        cmocka_unit_test(test_big_slots_are_not_broken_up),
	        cmocka_unit_test(test_soft_rules_outweigh_balance),
	        cmocka_unit_test(test_rules_that_contradict_each_other_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
