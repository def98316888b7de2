/* SPDX-License-Identifier: Apache-2.0 */
/* A model of reservations: what is promised is never more than there is, by the rule of each overcommit mode, in any order of
 * starts, stops, changes, rollbacks and dry runs; and the writer's copy is always what the rows say. BERTH_LONG=1 for the
 * long run. */
#include "tests/unit/compute/room_world.h"

#include "base/number.h"

#define N_HOSTS   3
#define N_VMS     24
#define HOST_GIB  8
#define BATCH_MAX 6
#define USABLE    (HOST_GIB * GIB)

/* What the sums of a host must keep to (docs/decisions/0012); floors keep to USABLE in all of them. */
static const struct mode {
	const char *group;
	int64_t size_limit;  /* of sizes */
	int64_t start_limit; /* of the sizes of what starts and the floors of what runs */
} modes[] = {
        {"{\"overcommit\":{\"mode\":\"strict\"}}", USABLE, INT64_MAX},
        {"{\"overcommit\":{\"mode\":\"ratio\",\"memory_ratio\":1.25}}", USABLE * 5 / 4, INT64_MAX},
        {"{\"overcommit\":{\"mode\":\"balloon\"}}", INT64_MAX, USABLE},
};

/* ---- one job ---- */

enum act { ACT_START, ACT_END, ACT_FAIL, ACT_SEE, ACT_STOP, ACT_RESIZE, ACTS };
enum fate { FATE_COMMIT, FATE_FAIL, FATE_DRY_RUN, FATES };

struct job {
	int vm;
	enum act act;
	enum fate fate;
	int64_t quarters, min_quarters, vcpus;
	int rc;
};

/* What is true of a VM, whatever is recorded. */
struct truth {
	int host;
	bool has_process, is_starting;
	int64_t quarters, min_quarters, vcpus;   /* configured */
	int64_t process_quarters, process_vcpus; /* what it booted with, and has now */
	int64_t process_min_quarters;            /* what it was promised while it runs */
};
static struct truth truths[N_VMS];

static int see(struct db *db, int vm, bool has_process, struct err *e)
{
	const struct truth *t = &truths[vm];
	char spec[128];
	snprintf(spec, sizeof(spec),
	        "{\"cpu\":{\"count\":%lld},\"memory\":{\"size_bytes\":%lld,\"min_bytes\":%lld}}",
	        (long long)t->process_vcpus, (long long)(t->process_quarters * GIB / 4),
	        (long long)(t->process_min_quarters * GIB / 4));
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

static struct vm_spec spec_with_floor(int64_t quarters, int64_t min_quarters, int64_t vcpus)
{
	struct vm_spec spec = spec_of(quarters, vcpus);
	spec.memory.has_min = true;
	spec.memory.min_bytes = min_quarters * GIB / 4;
	return spec;
}

static int begin_start(struct db *db, const struct job *job, struct err *e)
{
	const struct truth *t = &truths[job->vm];
	const struct vm_spec spec = spec_with_floor(t->quarters, t->min_quarters, t->vcpus);
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
	const struct vm_spec wanted = spec_with_floor(job->quarters, job->min_quarters, job->vcpus);
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
		t->min_quarters = job->min_quarters;
		t->vcpus = job->vcpus;
		/* A floor follows at once. */
		t->process_min_quarters = int64_min(t->min_quarters, t->process_quarters);
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
		t->process_min_quarters = t->min_quarters;
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

#define SUMS                                                                                       \
	"(SELECT sum(size_bytes + overhead_bytes) AS size, sum(min_bytes + overhead_bytes) AS "    \
	"floor, sum(CASE state WHEN 'starting' THEN size_bytes ELSE min_bytes END + "              \
	"overhead_bytes) AS start, sum(vcpus) AS vcpus FROM reservation GROUP BY host_id)"

static void check_hosts(struct host_fixture *f, const struct mode *mode)
{
	char *over CLEANUP(cleanup_free) =
	        str_format("SELECT count(*) FROM " SUMS
	                   " WHERE size > %lld OR floor > %lld OR start > %lld OR vcpus > %d",
	                (long long)mode->size_limit, (long long)USABLE,
	                (long long)mode->start_limit, THREADS * 4);
	assert_int_equal(fixture_int(f, over), 0);
}

static int64_t held_bytes(struct host_fixture *f, const char *column, int vm)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT coalesce(sum(%s), 0) FROM reservation WHERE vm_id = '%s'",
	                column, id_of('b', vm));
	return fixture_int(f, sql);
}

static void check_vm(struct host_fixture *f, int vm)
{
	const struct truth *t = &truths[vm];
	int64_t held = held_bytes(f, "size_bytes", vm), floor = held_bytes(f, "min_bytes", vm);
	if (t->has_process) {
		assert_true(held >= t->process_quarters * GIB / 4);
		assert_int_equal(floor, t->process_min_quarters * GIB / 4);
	} else if (t->is_starting) {
		assert_true(held >= t->quarters * GIB / 4);
		assert_true(floor >= t->min_quarters * GIB / 4);
	} else {
		assert_int_equal(held, 0);
	}
}

static void check_promises(struct host_fixture *f, const struct mode *mode)
{
	check_hosts(f, mode);
	for (int vm = 0; vm < N_VMS; vm++)
		check_vm(f, vm);
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

/* ---- rounds ---- */

struct tally {
	int started, refused;
	int64_t most_bytes; /* sizes on one host */
};

static void begin_world(struct host_fixture *f, const struct mode *mode)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("UPDATE host_group SET spec = '%s'", mode->group);
	fixture_exec(f, sql);
	memset(truths, 0, sizeof(truths));
	for (int i = 0; i < N_HOSTS; i++)
		add_host(f, i, USABLE);
	for (int i = 0; i < N_VMS; i++) {
		truths[i] = (struct truth){
		        .host = i % N_HOSTS, .quarters = 6, .min_quarters = 3, .vcpus = 1};
		add_vm(f, i, i % N_HOSTS);
	}
}

static struct job random_job(unsigned *seed)
{
	struct job job = {.vm = rand_r(seed) % N_VMS,
	        .act = (enum act)(rand_r(seed) % ACTS),
	        .fate = rand_r(seed) % 3 ? FATE_COMMIT : (enum fate)(rand_r(seed) % FATES),
	        .quarters = 1 + rand_r(seed) % 14,
	        .vcpus = 1 + rand_r(seed) % 4};
	/* Floors must be high for their sum to matter beside that of the sizes. */
	job.min_quarters = rand_r(seed) % 3 ? job.quarters : 1 + rand_r(seed) % job.quarters;
	return job;
}

static void run_round(struct host_fixture *f, unsigned *seed, struct tally *tally)
{
	struct job jobs[BATCH_MAX];
	int n = 1 + rand_r(seed) % BATCH_MAX;
	for (int i = 0; i < n; i++) {
		jobs[i] = random_job(seed);
		writer_submit(
		        f->writer, (struct writer_job){.run = run_job,
		                           .done = keep_rc,
		                           .arg = &jobs[i],
		                           .mode = jobs[i].fate == FATE_DRY_RUN ? WRITER_DRY_RUN
		                                                                : WRITER_COMMIT});
	}
	assert_int_equal(writer_run(f->writer, nothing, NULL, &f->e), 0);
	for (int i = 0; i < n; i++) {
		tally->started += jobs[i].act == ACT_START && jobs[i].rc == 0;
		tally->refused += jobs[i].rc == ERR_NO_CAPACITY;
	}
	tally->most_bytes = int64_max(
	        tally->most_bytes, fixture_int(f, "SELECT coalesce(max(size), 0) FROM " SUMS));
}

static void check_mode(struct host_fixture *f, const struct mode *mode)
{
	int rounds = getenv("BERTH_LONG") ? 10000 : 250;
	unsigned seed = 20260728;
	struct tally tally = {0};
	begin_world(f, mode);
	for (int round = 0; round < rounds; round++) {
		run_round(f, &seed, &tally);
		check_promises(f, mode);
	}
	assert_true(tally.started > rounds / 20);
	assert_true(tally.refused > rounds / 50);
	/* What a mode allows is made use of. */
	assert_int_equal(tally.most_bytes > USABLE, mode->size_limit > USABLE);
}

static void test_promises_hold_in_any_order_of_starts_stops_and_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		void *f;
		setup(&f);
		check_mode(f, &modes[i]);
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_promises_hold_in_any_order_of_starts_stops_and_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
