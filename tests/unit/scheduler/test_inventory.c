/* SPDX-License-Identifier: Apache-2.0 */
/* What is put in is found again, and the sums are right after any change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/inventory_internal.h"
#include "tests/unit/scheduler/fleet.h"

#define HOSTS 3
#define VMS   12

static const char *const host_ids[HOSTS] = {"h1", "h2", "h3"};

static struct inventory *three_hosts(enum overcommit_mode mode)
{
	struct inventory *inv = inventory_new();
	struct inventory_group group = a_group("g", mode);
	group.memory_ratio = 1.5;
	inventory_put_group(inv, &group);
	for (int i = 0; i < HOSTS; i++) {
		struct inventory_host h = a_host(host_ids[i], "g", 8, 8 * GIB);
		assert_true(inventory_put_host(inv, &h));
	}
	return inv;
}

static void test_what_is_unknown_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	struct inventory *inv = three_hosts(OVERCOMMIT_STRICT);
	struct inventory_host host = a_host("h9", "no such group", 1, GIB);
	assert_false(inventory_put_host(inv, &host));
	struct inventory_vm vm = a_vm("v", "h9", a_size(RESERVATION_RUNNING, 1, GIB, 0));
	assert_false(inventory_put_vm(inv, &vm));
	assert_false(inventory_set_host_vms(inv, "h9", &vm, 1));
	assert_false(inventory_set_host_state(inv, "h9", INVENTORY_HOST_OK, NULL));
	assert_false(inventory_remove_group(inv, "g"));
	assert_false(inventory_remove_group(inv, "x"));
	assert_int_equal(inventory_count_hosts(inv), HOSTS);
	assert_int_equal(inventory_count_vms(inv), 0);
	inventory_free(inv);
}

static void test_what_is_put_is_copied(void **state)
{
	(void)state;
	struct inventory *inv = three_hosts(OVERCOMMIT_STRICT);
	char id[] = "v1", key[] = "app", value[] = "web", target[] = "other";
	struct field_label label = {key, value};
	char *names[] = {target};
	struct placement_rule rule = {.names = {names, 1}};
	struct inventory_vm vm = a_vm(id, "h1", a_size(RESERVATION_RUNNING, 1, GIB, 0));
	vm.labels = (struct field_labels){&label, 1};
	vm.rules = (struct placement_rules){&rule, 1};
	assert_true(inventory_put_vm(inv, &vm));
	id[0] = key[0] = value[0] = target[0] = 'X';
	const struct inventory_vm *found = inventory_vm(inv, "v1", NULL);
	assert_non_null(found);
	assert_string_equal(found->labels.items[0].key, "app");
	assert_string_equal(found->labels.items[0].value, "web");
	assert_string_equal(found->rules.items[0].names.items[0], "other");
	assert_string_equal(found->host_id, "h1");
	inventory_free(inv);
}

static void test_an_entry_may_be_put_from_what_was_looked_up(void **state)
{
	(void)state;
	struct inventory *inv = three_hosts(OVERCOMMIT_STRICT);
	struct inventory_vm vm = a_vm("v1", "h1", a_size(RESERVATION_STARTING, 1, GIB, 0));
	assert_true(inventory_put_vm(inv, &vm));
	vm = *inventory_vm(inv, "v1", "h1");
	vm.reservation.state = RESERVATION_NONE;
	assert_true(inventory_put_vm(inv, &vm));
	struct inventory_host host = *inventory_host(inv, "h1");
	host.state_reason = "because";
	assert_true(inventory_put_host(inv, &host));
	host = *inventory_host(inv, "h1");
	assert_true(inventory_put_host(inv, &host));
	assert_string_equal(inventory_host(inv, "h1")->state_reason, "because");
	assert_int_equal(inventory_count_vms(inv), 1);
	assert_int_equal(inventory_held(inv, "h1").size_bytes, 0);
	inventory_remove_vm(inv, inventory_vm(inv, "v1", NULL)->id, NULL);
	assert_int_equal(inventory_count_vms(inv), 0);
	inventory_free(inv);
}

static void test_a_migrating_vm_holds_on_both_hosts(void **state)
{
	(void)state;
	struct inventory *inv = three_hosts(OVERCOMMIT_STRICT);
	struct inventory_vm vm = a_vm("v1", "h1", a_size(RESERVATION_RUNNING, 1, GIB, 0));
	assert_true(inventory_put_vm(inv, &vm));
	vm.host_id = "h2";
	assert_true(inventory_put_vm(inv, &vm));
	assert_int_equal(inventory_held(inv, "h1").size_bytes, GIB);
	assert_int_equal(inventory_held(inv, "h2").size_bytes, GIB);
	inventory_remove_vm(inv, "v1", "h1");
	assert_int_equal(inventory_held(inv, "h1").size_bytes, 0);
	assert_null(inventory_vm(inv, "v1", "h1"));
	assert_string_equal(inventory_vm(inv, "v1", NULL)->host_id, "h2");
	inventory_free(inv);
}

static void test_words_are_forgotten_with_what_carried_them(void **state)
{
	(void)state;
	struct inventory *inv = three_hosts(OVERCOMMIT_STRICT);
	size_t before = map_len(inv->tokens);
	char app[] = "app", web[] = "web", db[] = "db";
	struct field_label label = {app, web};
	char *names[] = {db};
	struct placement_rule rules[] = {{.names = {names, 1}},
	        {.target = PLACEMENT_TARGET_VM_LABELS, .labels = {&label, 1}}};
	struct inventory_vm vm = a_vm("v1", "h1", a_size(RESERVATION_RUNNING, 1, GIB, 0));
	vm.labels = (struct field_labels){&label, 1};
	vm.rules = (struct placement_rules){rules, 2};
	assert_true(inventory_put_vm(inv, &vm));
	assert_int_equal(map_len(inv->tokens), before + 3);
	inventory_remove_host(inv, "h1");
	assert_int_equal(map_len(inv->tokens), before - 2); /* its name is its id; its domain */
	inventory_free(inv);
}

/* ---- sums ---- */

static void check_host(const struct inventory *inv, const char *host_id)
{
	struct holding sum = {0};
	size_t cursor = 0;
	for (const struct inventory_vm *vm; (vm = inventory_next_vm(inv, host_id, &cursor));) {
		struct holding h = reservation_holding(&vm->reservation);
		holding_add(&sum, &h);
	}
	struct holding held = inventory_held(inv, host_id);
	assert_memory_equal(&sum, &held, sizeof(sum));
}

static struct reservation random_reservation(void)
{
	struct reservation r = {
	        .state = random_below(2) ? RESERVATION_STARTING : RESERVATION_RUNNING,
	        .vcpus = 1 + random_below(4),
	        .size_bytes = (1 + random_below(40)) * 128 * MIB,
	        .reservation_percent = random_below(3) * 25,
	        .dedicated = random_below(8) == 0,
	        .inflexible = random_below(6) == 0,
	};
	r.min_bytes = r.size_bytes / (1 + random_below(3));
	r.booked_bytes = r.min_bytes + (r.size_bytes - r.min_bytes) / 2;
	r.overhead_bytes = admission_overhead_bytes(r.vcpus, r.size_bytes);
	return r;
}

/* The promises of a host, counted without the code under test. */
static void check_promises(const struct inventory *inv, enum overcommit_mode mode, const char *host)
{
	int64_t size = 0, floor = 0, vcpus = 0, dedicated = 0, percent = 0;
	size_t cursor = 0;
	for (const struct inventory_vm *vm; (vm = inventory_next_vm(inv, host, &cursor));) {
		const struct reservation *r = &vm->reservation;
		bool starts = r->state == RESERVATION_STARTING;
		if (r->state == RESERVATION_NONE)
			continue;
		size += r->size_bytes + r->overhead_bytes;
		int64_t least = r->min_bytes;
		if (r->inflexible)
			least = starts ? r->size_bytes : r->booked_bytes;
		if (mode == OVERCOMMIT_BALLOON && starts)
			least = r->size_bytes;
		floor += least + r->overhead_bytes;
		if (r->dedicated)
			dedicated += r->vcpus;
		vcpus += r->dedicated ? 0 : r->vcpus;
		percent += r->dedicated ? 0 : r->vcpus * r->reservation_percent;
	}
	if (mode == OVERCOMMIT_STRICT)
		assert_true(size <= 8 * GIB);
	if (mode == OVERCOMMIT_RATIO)
		assert_true(size <= 12 * GIB);
	assert_true(mode == OVERCOMMIT_STRICT || floor <= 8 * GIB);
	assert_true(vcpus <= (8 - dedicated) * 4);
	assert_true(percent <= (8 - dedicated) * 100);
}

static void grant(struct inventory *inv, const char *id, const char *host_id)
{
	struct reservation r = random_reservation();
	const struct inventory_vm *old = inventory_vm(inv, id, host_id);
	/* A running VM does not become a starting one by a change. */
	if (old && old->reservation.state == RESERVATION_RUNNING)
		r.state = RESERVATION_RUNNING;
	else
		r.state = RESERVATION_STARTING;
	if (admission_admit(inv, inventory_host(inv, host_id), &r, id, NULL, NULL) < 0)
		return;
	struct inventory_vm vm = a_vm(id, host_id, r);
	assert_true(inventory_put_vm(inv, &vm));
}

/* Seen running: from then on the floor counts, and it can never hold more than before. */
static void see_running(struct inventory *inv, const char *id, const char *host_id)
{
	const struct inventory_vm *old = inventory_vm(inv, id, host_id);
	if (!old || old->reservation.state != RESERVATION_STARTING)
		return;
	struct inventory_vm vm = *old;
	vm.reservation.state = RESERVATION_RUNNING;
	assert_true(inventory_put_vm(inv, &vm));
}

static void interleave(struct inventory *inv, enum overcommit_mode mode)
{
	for (int step = 0; step < 40; step++) {
		char id[16];
		snprintf(id, sizeof(id), "v%d", (int)random_below(VMS));
		const char *host = host_ids[random_below(HOSTS)];
		switch (random_below(4)) {
		case 0:
			inventory_remove_vm(inv, id, host);
			break;
		case 1:
			see_running(inv, id, host);
			break;
		default:
			grant(inv, id, host);
		}
		check_host(inv, host);
		check_promises(inv, mode, host);
	}
}

static void test_random_interleavings_keep_sums_and_promises(void **state)
{
	(void)state;
	int rounds = test_rounds(1000, 10000);
	for (int i = 0; i < rounds; i++) {
		random_seed((uint64_t)i);
		enum overcommit_mode mode = (enum overcommit_mode)(i % 3);
		struct inventory *inv = three_hosts(mode);
		interleave(inv, mode);
		for (int h = 0; h < HOSTS; h++)
			assert_true(inventory_set_host_vms(inv, host_ids[h], NULL, 0));
		for (int h = 0; h < HOSTS; h++) {
			struct holding nothing = {0}, held = inventory_held(inv, host_ids[h]);
			assert_memory_equal(&held, &nothing, sizeof(held));
		}
		inventory_free(inv);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_is_unknown_is_refused_and_changes_nothing),
	        cmocka_unit_test(test_what_is_put_is_copied),
	        cmocka_unit_test(test_an_entry_may_be_put_from_what_was_looked_up),
	        cmocka_unit_test(test_a_migrating_vm_holds_on_both_hosts),
	        cmocka_unit_test(test_words_are_forgotten_with_what_carried_them),
	        cmocka_unit_test(test_random_interleavings_keep_sums_and_promises),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
