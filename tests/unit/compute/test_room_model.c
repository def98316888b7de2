/* SPDX-License-Identifier: Apache-2.0 */
/* A model of reservations: what is promised is never more than there is, in any order of starts, stops, changes, rollbacks
 * and dry runs; and the writer's copy is always what the rows say. BERTH_LONG=1 for the long run. */
#include "tests/unit/compute/room_world.h"

#define N_HOSTS   3
#define N_VMS     18
#define HOST_GIB  8
#define BATCH_MAX 6

/* ---- one job ---- */

enum act { ACT_START, ACT_END, ACT_FAIL, ACT_SEE, ACT_STOP, ACT_RESIZE, ACTS };
enum fate { FATE_COMMIT, FATE_FAIL, FATE_DRY_RUN, FATES };

struct job {
	int vm;
	enum act act;
	enum fate fate;
	int64_t quarters, vcpus;
	int rc;
};

/* What is true of a VM, whatever is recorded. */
struct truth {
	int host;
	bool has_process, is_starting;
	int64_t quarters, vcpus;                 /* configured */
	int64_t process_quarters, process_vcpus; /* what it booted with, and has now */
};
static struct truth truths[N_VMS];

static int see(struct db *db, int vm, bool has_process, struct err *e)
{
	const struct truth *t = &truths[vm];
	char spec[128];
	snprintf(spec, sizeof(spec), "{\"cpu\":{\"count\":%lld},\"memory\":{\"size_bytes\":%lld}}",
	        (long long)t->process_vcpus, (long long)(t->process_quarters * GIB / 4));
	const struct room_seen seen = {.vm_id = id_of('b', vm),
	        .host_id = id_of('a', t->host),
	        .has_process = has_process,
	        .spec = spec};
	return room_observe(db, &seen, e);
}

static int exec(struct db *db, struct err *e, const char *format, int vm)
{
	char *sql CLEANUP(cleanup_free) = str_format("%s'%s'", format, id_of('b', vm));
	return db_exec(db, sql, e);
}

static int begin_start(struct db *db, const struct job *job, struct err *e)
{
	const struct truth *t = &truths[job->vm];
	const struct vm_spec spec = spec_of(t->quarters, t->vcpus);
	struct room_granted granted;
	int rc = room_grant(db, room, id_of('b', job->vm), id_of('a', t->host), &spec, &granted, e);
	if (rc < 0)
		return rc;
	static int64_t seq;
	seq++;
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO operation (id, kind, target_kind, target_id, target_name, queue, seq, "
	        "state, input, requested_by, deadline, created_at) VALUES "
	        "('%08lld-0000-4000-8000-0', "
	        "'vm.start', 'vm', '%s', 'v', '%s', %lld, 'running', '{}', 'test', 0, 1)",
	        (long long)seq, id_of('b', job->vm), id_of('b', job->vm), (long long)seq);
	return db_exec(db, sql, e);
}

static int end_start(struct db *db, const struct job *job, bool has_process, struct err *e)
{
	int rc = exec(db, e,
	        "UPDATE operation SET state = 'succeeded', ended_at = 1 WHERE queue = ", job->vm);
	return rc < 0 ? rc : see(db, job->vm, has_process, e);
}

static int act(struct db *db, const struct job *job, struct err *e)
{
	const struct truth *t = &truths[job->vm];
	const struct vm_spec wanted = spec_of(job->quarters, job->vcpus);
	struct room_granted granted;
	switch (job->act) {
	case ACT_START:
		return begin_start(db, job, e);
	case ACT_END:
		return end_start(db, job, true, e);
	case ACT_FAIL:
		return end_start(db, job, false, e);
	case ACT_SEE:
		return see(db, job->vm, t->has_process, e);
	case ACT_STOP:
		return see(db, job->vm, false, e);
	default:
		return room_change(db, room, id_of('b', job->vm), id_of('a', t->host), &wanted,
		        ROOM_ASK, &granted, e);
	}
}

/* The truth follows in the order of the jobs, on the writer thread: a process ends before that is seen, and begins amid
 * its operation. */
static void follow(const struct job *job)
{
	struct truth *t = &truths[job->vm];
	if (job->act == ACT_START) {
		t->is_starting = true;
	} else if (job->act == ACT_END || job->act == ACT_FAIL) {
		t->is_starting = false;
	} else if (job->act == ACT_RESIZE) {
		t->quarters = job->quarters;
		t->vcpus = job->vcpus;
	}
}

static int run_job(struct db *db, void *arg, struct err *e)
{
	struct job *job = arg;
	struct truth *t = &truths[job->vm];
	bool fits = job->act == ACT_START ? !t->is_starting && !t->has_process
	            : job->act == ACT_END || job->act == ACT_FAIL ? t->is_starting
	            : job->act == ACT_STOP ? t->has_process && !t->is_starting
	                                   : true;
	if (!fits || (job->act != ACT_RESIZE && job->act != ACT_START && job->act != ACT_SEE &&
	                     job->fate != FATE_COMMIT))
		return 0;
	if (job->act == ACT_END && !t->has_process) {
		t->has_process = true;
		t->process_quarters = t->quarters;
		t->process_vcpus = t->vcpus;
	}
	if (job->act == ACT_STOP)
		t->has_process = false;
	int rc = act(db, job, e);
	if (rc == 0 && job->fate == FATE_FAIL)
		return err_set(e, ERR_CONFLICT, "as the test wants it");
	if (rc == 0 && job->fate == FATE_COMMIT)
		follow(job);
	return rc;
}

static void keep_rc(void *arg, int rc, const struct err *e)
{
	struct job *job = arg;
	job->rc = rc;
	if (rc < 0 && rc != ERR_NO_CAPACITY && rc != ERR_UNPROCESSABLE && rc != ERR_CONFLICT)
		fprintf(stderr, "job: %s\n", e->message);
}

/* ---- what must hold ---- */

static void check_promises(struct host_fixture *f)
{
	char *usable CLEANUP(cleanup_free) = str_format("%lld", (long long)(HOST_GIB * GIB));
	char *over CLEANUP(cleanup_free) = str_format(
	        "SELECT count(*) FROM (SELECT sum(size_bytes + overhead_bytes) AS bytes, "
	        "sum(vcpus) AS "
	        "vcpus FROM reservation GROUP BY host_id) WHERE bytes > %s OR vcpus > %d",
	        usable, THREADS * 4);
	assert_int_equal(fixture_int(f, over), 0);
	for (int vm = 0; vm < N_VMS; vm++) {
		char *held CLEANUP(cleanup_free) = str_format(
		        "SELECT coalesce(sum(size_bytes), 0) FROM reservation WHERE vm_id = '%s'",
		        id_of('b', vm));
		if (truths[vm].has_process)
			assert_true(fixture_int(f, held) >= truths[vm].process_quarters * GIB / 4);
		else if (!truths[vm].is_starting)
			assert_int_equal(fixture_int(f, held), 0);
	}
	bool is_same = false;
	assert_int_equal(writer_run(f->writer, verify, &is_same, &f->e), 0);
	assert_true(is_same);
}

static int nothing(struct db *db, void *arg, struct err *e)
{
	(void)db;
	(void)arg;
	(void)e;
	return 0;
}

static void test_promises_hold_in_any_order_of_starts_stops_and_changes(void **state)
{
	struct host_fixture *f = *state;
	int rounds = getenv("BERTH_LONG") ? 10000 : 250;
	unsigned seed = 20260728;
	int started = 0, refused = 0;
	memset(truths, 0, sizeof(truths));
	for (int i = 0; i < N_HOSTS; i++)
		add_host(f, i, HOST_GIB * GIB);
	for (int i = 0; i < N_VMS; i++) {
		truths[i] = (struct truth){.host = i % N_HOSTS, .quarters = 6, .vcpus = 1};
		add_vm(f, i, i % N_HOSTS);
	}
	for (int round = 0; round < rounds; round++) {
		struct job jobs[BATCH_MAX];
		int n = 1 + rand_r(&seed) % BATCH_MAX;
		for (int i = 0; i < n; i++) {
			jobs[i] = (struct job){.vm = rand_r(&seed) % N_VMS,
			        .act = (enum act)(rand_r(&seed) % ACTS),
			        .fate = rand_r(&seed) % 3 ? FATE_COMMIT
			                                  : (enum fate)(rand_r(&seed) % FATES),
			        .quarters = 1 + rand_r(&seed) % 14,
			        .vcpus = 1 + rand_r(&seed) % 4};
			writer_submit(f->writer,
			        (struct writer_job){.run = run_job,
			                .done = keep_rc,
			                .arg = &jobs[i],
			                .mode = jobs[i].fate == FATE_DRY_RUN ? WRITER_DRY_RUN
			                                                     : WRITER_COMMIT});
		}
		assert_int_equal(writer_run(f->writer, nothing, NULL, &f->e), 0);
		for (int i = 0; i < n; i++) {
			started += jobs[i].act == ACT_START && jobs[i].rc == 0;
			refused += jobs[i].rc == ERR_NO_CAPACITY;
		}
		check_promises(f);
	}
	assert_true(started > rounds / 20);
	assert_true(refused > rounds / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WITH_ROOM(test_promises_hold_in_any_order_of_starts_stops_and_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
