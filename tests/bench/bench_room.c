/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What placing and claiming costs where it is durable, over 1,000 hosts with 50 VMs each: reading the inventory once; a
 * mutation that writes a VM's row beside one that also places it and grants its room, both on the writer with one fsync
 * each; and of the latter the part spent on deciding and granting. Prints key=value lines.
 *
 *	bench_room [DIRECTORY]       default: the temporary directory; it should lie on the disk that counts
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/host_group.h"
#include "compute/room.h"
#include "db/change_feed.h"
#include "db/migrations.h"
#include "db/writer.h"

#define HOSTS        1000
#define VMS_PER_HOST 50
#define SAMPLES      500
#define GIB          ((int64_t)1 << 30)

static struct room *room;
static int64_t deciding_ns;

static _Noreturn void die(const char *what, const struct err *e)
{
	fprintf(stderr, "bench_room: %s: %s\n", what, e->message);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void report(const char *key, double *samples, size_t n)
{
	qsort(samples, n, sizeof(samples[0]), compare);
	printf("%s_p50_us=%.1f %s_p99_us=%.1f\n", key, samples[n / 2], key, samples[n * 99 / 100]);
}

/* 200 GiB, 64 threads; each VM has 2 GiB and one vCPU. */
static int fill(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	char *sql CLEANUP(cleanup_free) = str_format(
	        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
	        "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
	        "state_since, cpu_threads, memory_bytes, created_at) SELECT "
	        "printf('00000000-0000-4000-9000-%%012d', i), printf('h%%d', i), "
	        "printf('test:///%%d', i), 'local', '" HOST_GROUP_DEFAULT_ID
	        "', 'auto', '{}', 'ok', 1, 64, %lld, 1 FROM n;"
	        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
	        "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, "
	        "power_since, "
	        "vcpus, memory_bytes, created_at) SELECT printf('00000000-0000-4000-8000-%%012d', "
	        "i), "
	        "printf('v%%d', i), printf('00000000-0000-4000-9000-%%012d', i / %d), 1, "
	        "'{\"memory\":{\"size_bytes\":2147483648}}', 'running', 'running', 1, 1, "
	        "2147483648, 1 "
	        "FROM n;"
	        "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
	        "booked_bytes, overhead_bytes, vcpus, max_vcpus, since) SELECT id, host_id, "
	        "'running', "
	        "memory_bytes, memory_bytes, memory_bytes, memory_bytes, 46137344, 1, 1, 1 FROM vm",
	        HOSTS - 1, (long long)(200 * GIB), HOSTS * VMS_PER_HOST - 1, VMS_PER_HOST);
	return db_exec(db, sql, e);
}

static const struct vm_spec asked = {.name = (char[]){"new"},
        .cpu = {.count = 2},
        .memory = {.size_bytes = GIB},
        .architecture = (char[]){"x86_64"}};

static int insert_vm(struct db *db, const char *id, const char *host_id, struct err *e)
{
	const struct vm_insert row = {.id = id,
	        .name = id,
	        .host_id = host_id,
	        .spec = "{\"memory\":{\"size_bytes\":1073741824}}",
	        .power_reason = "",
	        .managed = true,
	        .desired_power = POWER_RUNNING,
	        .power = POWER_STOPPED,
	        .vcpus = 2,
	        .memory_bytes = GIB,
	        .autostart_priority = -1};
	const struct change change = {.kind = "vm", .event = "created", .object_id = id};
	int rc = vm_store_insert(db, &row, e);
	return rc < 0 ? rc : change_add(db, &change, e);
}

static int write_only(struct db *db, void *arg, struct err *e)
{
	return insert_vm(db, arg, "00000000-0000-4000-9000-000000000000", e);
}

static int place_and_claim(struct db *db, void *arg, struct err *e)
{
	char host_id[UUID_TEXT_SIZE];
	struct room_granted granted;
	const struct room_wish wish = {.spec = &asked, .starts = true};
	int64_t start_ns = clock_now_ns();
	int rc = room_choose(db, room, &wish, host_id, e);
	deciding_ns = clock_now_ns() - start_ns;
	if (rc == 0)
		rc = insert_vm(db, arg, host_id, e);
	start_ns = clock_now_ns();
	if (rc == 0)
		rc = room_grant(db, room, arg, host_id, &asked, &granted, e);
	deciding_ns += clock_now_ns() - start_ns;
	return rc;
}

/* Admission alone: a start of a VM that has its host, without its row and operation. */
static int grant_at_home(struct db *db, void *arg, struct err *e)
{
	struct room_granted granted;
	char host_id[UUID_TEXT_SIZE];
	const char *number = (const char *)arg + strlen(arg) - 12;
	snprintf(host_id, sizeof(host_id), "00000000-0000-4000-9000-%012d",
	        atoi(number) / VMS_PER_HOST);
	int64_t start_ns = clock_now_ns();
	int rc = room_grant(db, room, arg, host_id, &asked, &granted, e);
	deciding_ns = clock_now_ns() - start_ns;
	return rc;
}

static void measure(struct writer *w, const char *key,
        int (*run)(struct db *db, void *arg, struct err *e), int first, bool tell_deciding)
{
	static double all[SAMPLES], deciding[SAMPLES];
	struct err e = {0};
	for (int i = 0; i < SAMPLES; i++) {
		char id[UUID_TEXT_SIZE];
		snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", first + i);
		int64_t start_ns = clock_now_ns();
		if (writer_run(w, run, id, &e) < 0)
			die(key, &e);
		all[i] = (double)(clock_now_ns() - start_ns) / 1000;
		deciding[i] = (double)deciding_ns / 1000;
	}
	report(key, all, SAMPLES);
	if (!tell_deciding)
		return;
	char *text CLEANUP(cleanup_free) = str_format("%s_deciding", key);
	report(text, deciding, SAMPLES);
}

int main(int argc, char **argv)
{
	struct err e = {0};
	char directory[256], path[300];
	struct writer *w = NULL;
	snprintf(
	        directory, sizeof(directory), "%s/berth-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/berth.db", directory);
	log_set_level(LOG_LEVEL_WARNING);
	if (migrations_apply(path, migrations_embedded, &e) < 0 || writer_start(path, &w, &e) < 0 ||
	        writer_run(w, fill, NULL, &e) < 0)
		die("set-up", &e);
	room = room_new();
	char first[] = "00000000-0000-4000-8000-000000900000";
	int64_t start_ns = clock_now_ns();
	if (writer_run(w, place_and_claim, first, &e) < 0)
		die("first decision", &e);
	printf("hosts=%d vms=%d\nfirst_decision_ms=%.1f\n", HOSTS, HOSTS * VMS_PER_HOST,
	        (double)(clock_now_ns() - start_ns) / 1e6);
	measure(w, "write_only", write_only, 100000, false);
	measure(w, "place_and_claim", place_and_claim, 200000, true);
	measure(w, "grant_at_home", grant_at_home, 0, true);
	writer_free(w);
	change_feed_reset();
	room_free(room);
	char *command CLEANUP(cleanup_free) = str_format("rm -rf %s", directory);
	return system(command) == 0 ? 0 : 1;
}
