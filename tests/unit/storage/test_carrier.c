/* SPDX-License-Identifier: Apache-2.0 */
/* Carriers: one per operation, found again, gone without trace. */
#include "tests/unit/storage/volume_world.h"

#define OPERATION "0192f000-0000-7000-8000-00000000000a"

/* The chain of a volume, as a step would load it. */
static void load_chain(struct volume_world *v, const char *id, struct layer_chain *ret_chain)
{
	assert_int_equal(layer_chain_load(v->base->reader, id, ret_chain, &v->base->e), 0);
}

static int start(struct volume_world *v, const struct layer_chain *chain, bool read_only)
{
	const struct carrier_disk disk = {
	        .name = CARRIER_DISK, .chain = chain, .read_only = read_only};
	int rc;
	WORLD_ASK(c, rc = carrier_start(&driver_fake, c, OPERATION, &disk, 1, &v->base->e));
	return rc;
}

static int stop(struct volume_world *v)
{
	int rc;
	WORLD_ASK(c, rc = carrier_stop(&driver_fake, c, OPERATION, &v->base->e));
	return rc;
}

static void test_carrier_is_a_marked_paused_domain_named_after_its_operation(void **state)
{
	struct volume_world *v = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	struct domain_info info CLEANUP(domain_info_done) = {0};
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	load_chain(v, id, &chain);
	assert_int_equal(start(v, &chain, /* read_only= */ true), 0);
	WORLD_ASK(c, assert_int_equal(driver_fake.get_domain(c, OPERATION, &info, NULL), 0));
	assert_string_equal(info.name, "berth-job-" OPERATION);
	assert_int_equal(info.state, DOMAIN_PAUSED);
	assert_true(info.is_carrier);
	assert_false(info.persistent);
	assert_non_null(strstr(info.live_xml, "ua-disk-" CARRIER_DISK));
	assert_non_null(strstr(info.live_xml, "<readonly/>"));
	assert_non_null(strstr(info.live_xml, "type=\"qemu\""));
	assert_non_null(strstr(info.live_xml, "arch=\"x86_64\"")); /* the host has no other */
	assert_int_equal(stop(v), 0);
	assert_int_equal(world_count_domains(v), 0);
}

/* As a host that can run i686, too. */
static int get_light_facts(struct driver_connection *c, struct host_facts *ret_facts, struct err *e)
{
	int rc = driver_fake.get_facts(c, ret_facts, e);
	if (rc == 0)
		snprintf(ret_facts->archs[1].name, sizeof(ret_facts->archs[1].name), "i686");
	return rc;
}

static void test_carrier_is_an_i686_where_there_is_one(void **state)
{
	struct volume_world *v = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct driver light = driver_fake;
	char id[UUID_TEXT_SIZE];
	light.get_facts = get_light_facts;
	world_make(v, "data", "raw", id);
	load_chain(v, id, &chain);
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &chain};
	WORLD_ASK(c, {
		assert_int_equal(carrier_start(&light, c, OPERATION, &disk, 1, &v->base->e), 0);
		assert_int_equal(driver_fake.get_domain(c, OPERATION, &info, NULL), 0);
	});
	assert_non_null(strstr(info.live_xml, "arch=\"i686\""));
	assert_int_equal(stop(v), 0);
}

static void test_starting_and_stopping_twice_is_as_once(void **state)
{
	struct volume_world *v = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	load_chain(v, id, &chain);
	assert_int_equal(stop(v), 0);
	assert_int_equal(start(v, &chain, false), 0);
	assert_int_equal(start(v, &chain, false), 0);
	assert_int_equal(world_count_domains(v), 1);
	assert_int_equal(stop(v), 0);
	assert_int_equal(stop(v), 0);
}

static int finish(struct volume_world *v, const struct driver *driver, bool *ret_lost)
{
	int rc;
	WORLD_ASK(c, rc = carrier_finish(driver, c, OPERATION, ret_lost, &v->base->e));
	return rc;
}

/* It takes three times what libvirt waits for a process to end. */
static int quit_slowly(struct driver_connection *c, const char *id, struct err *e)
{
	static int asked;
	return ++asked % 4 ? err_set(e, ERR_BUSY, "not yet") : driver_fake.quit(c, id, e);
}

static void test_one_that_was_gone_is_told_from_one_that_has_ended(void **state)
{
	struct volume_world *v = *state;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	struct driver slow = driver_fake;
	bool is_lost = true;
	char id[UUID_TEXT_SIZE];
	slow.quit = quit_slowly;
	world_make(v, "data", "qcow2", id);
	load_chain(v, id, &chain);
	assert_int_equal(start(v, &chain, false), 0);
	assert_int_equal(finish(v, &slow, &is_lost), 0);
	assert_false(is_lost);
	assert_int_equal(world_count_domains(v), 0);
	assert_int_equal(finish(v, &driver_fake, &is_lost), 0);
	assert_true(is_lost);
	assert_int_equal(v->base->e.code, 0);
}

static void test_host_without_transient_domains_says_so(void **state)
{
	struct volume_world *v = *state;
	struct driver poor = driver_fake;
	poor.create_transient = NULL;
	const struct layer_chain none = {0};
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &none};
	WORLD_ASK(c, {
		assert_int_equal(
		        carrier_start(&poor, c, OPERATION, &disk, 1, &v->base->e), ERR_UNSUPPORTED);
		assert_int_equal(carrier_stop(&poor, c, OPERATION, &v->base->e), 0);
	});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_carrier_is_a_marked_paused_domain_named_after_its_operation),
	        WORLD_TEST(test_carrier_is_an_i686_where_there_is_one),
	        WORLD_TEST(test_starting_and_stopping_twice_is_as_once),
	        WORLD_TEST(test_one_that_was_gone_is_told_from_one_that_has_ended),
	        WORLD_TEST(test_host_without_transient_domains_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
