/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts and VMs of a database, and their room: what the tests of reservations begin with. */
#pragma once

#include "tests/unit/compute/host_fixture.h"

#include "compute/host_group_store.h"
#include "compute/room.h"
#include "compute/room_store.h"

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

#define THREADS 4 /* of a host; times the default cpu_ratio of 4 */

static struct room *room;

static inline const char *id_of(char kind, int i)
{
	static char ids[4][UUID_TEXT_SIZE];
	static int next;
	char *id = ids[next++ % 4];
	snprintf(id, UUID_TEXT_SIZE, "%c0000000-0000-4000-8000-%012d", kind, i);
	return id;
}

static inline void add_host(struct host_fixture *f, int i, int64_t memory_bytes)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
	        "state_since, cpu_threads, memory_bytes, created_at) VALUES ('%s', 'h%d', "
	        "'test:///%d', 'local', '" HOST_GROUP_DEFAULT_ID
	        "', 'auto', '{}', 'ok', 1, %d, %lld, 1)",
	        id_of('a', i), i, i, THREADS, (long long)memory_bytes);
	fixture_exec(f, sql);
}

static inline void add_vm(struct host_fixture *f, int i, int host)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("INSERT INTO vm (id, name, host_id, managed, spec, desired_power, "
	                   "power, power_since, "
	                   "vcpus, memory_bytes, created_at) VALUES ('%s', 'v%d', '%s', 1, "
	                   "'{\"memory\":{\"size_bytes\":1}}', 'stopped', 'stopped', 1, 1, 1, 1)",
	                id_of('b', i), i, id_of('a', host));
	fixture_exec(f, sql);
}

/* Two nodes of two CPUs and 2 GiB each. */
static inline void set_nodes(struct host_fixture *f, int host)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "UPDATE host SET facts = '{\"cpu\":{\"numa_nodes\":["
	        "{\"id\":0,\"memory_bytes\":2147483648},{\"id\":1,\"memory_bytes\":2147483648}]},"
	        "\"host_cpus\":[{\"id\":0,\"node\":0,\"core\":0},{\"id\":1,\"node\":0,\"core\":1},"
	        "{\"id\":2,\"node\":1,\"core\":2},{\"id\":3,\"node\":1,\"core\":3}]}' "
	        "WHERE id = '%s'",
	        id_of('a', host));
	fixture_exec(f, sql);
}

static inline int setup(void **state)
{
	struct host_fixture *f = fixture_start();
	room = room_new();
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	fixture_stop(*state);
	room_free(room);
	return 0;
}

static inline struct vm_spec spec_of(int64_t gib_quarters, int64_t vcpus)
{
	return (struct vm_spec){
	        .cpu = {.count = vcpus}, .memory = {.size_bytes = gib_quarters * GIB / 4}};
}

static inline void expect_cpus(struct host_fixture *f, int vm, const char *expected)
{
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	assert_int_equal(
	        room_store_get(f->reader, id_of('b', vm), id_of('a', 0), &row, &found, &f->e), 0);
	assert_true(found);
	assert_non_null(strstr(row.cpus, expected));
}

/* A writer job: *arg tells whether the writer's copy is what the rows say. */
static inline int verify(struct db *db, void *arg, struct err *e)
{
	return room_verify(db, room, arg, e);
}

#define WITH_ROOM(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
