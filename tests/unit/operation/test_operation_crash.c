/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at every fault point and at random moments: after a restart the operation ends, its
 * effects are all there or all gone, and it has finished exactly once.
 *
 * The process that dies is this program started again with arguments. Effects are files in the
 * world's folder; what was called is appended to the file "calls".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/unit/operation/world.h"

enum scenario { SCENARIO_SUCCESS, SCENARIO_FAILURE, SCENARIO_CANCEL };

/* ---- the child ---- */

static enum scenario child_scenario;

static void path_of_effect(const struct world *w, const char *target, char step, char ret_path[160])
{
	snprintf(ret_path, 160, "%s/effect-%s-%c", w->dir, target, step);
}

static void note_call(const struct world *w, const char *key)
{
	char path[128], line[128];
	snprintf(path, sizeof(path), "%s/calls", w->dir);
	int n = snprintf(line, sizeof(line), "%s\n", key);
	CLEANUP(cleanup_fd)
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, line, (size_t)n), n);
}

static void have_effect(struct world *w, struct operation *op, const char *key)
{
	char path[160];
	char step = key[strlen(key) - 1];
	struct err e;
	note_call(w, key);
	if (step == 'c') { /* it cannot be undone, so it leaves nothing */
		if (child_scenario == SCENARIO_CANCEL)
			(void)world_cancel(w, operation_id(op), &e); /* refused the second time */
		return;
	}
	path_of_effect(w, operation_target_id(op), step, path);
	if (operation_is_undoing(op)) {
		assert_true(unlink(path) == 0 || errno == ENOENT);
	} else {
		CLEANUP(cleanup_fd)
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
	}
}

static bool all_have_ended(struct world *w, const char *arg)
{
	(void)arg;
	CLEANUP(cleanup_free)
	char *n = world_query(w, "SELECT COUNT(*) FROM operation WHERE ended_at = 0", NULL);
	return strcmp(n, "0") == 0;
}

/* Arguments: dir scenario operations-to-create. Exits with 0 when all operations have ended. */
static int child_main(char **argv)
{
	log_init(LOG_LEVEL_ERROR - 1);
	struct world w = {.on_call = have_effect};
	snprintf(w.dir, sizeof(w.dir), "%s", argv[2]);
	snprintf(w.path, sizeof(w.path), "%s/berth.db", w.dir);
	child_scenario = (enum scenario)atoi(argv[3]);
	world_start(&w);
	for (int i = 0; i < atoi(argv[4]); i++) {
		char id[UUID_TEXT_SIZE], target[16];
		snprintf(target, sizeof(target), "x%d", i);
		world_create(&w, "test.four", target, id);
	}
	for (int i = 0; i < 8 && child_scenario == SCENARIO_FAILURE; i++) {
		char key[32];
		snprintf(key, sizeof(key), "x%d/run d", i);
		world_fail(&w, key, ERR_HYPERVISOR, -1);
	}
	world_run_until(&w, all_have_ended, "all");
	_exit(0);
}

/* ---- the parent ---- */

static pid_t start_child(const char *dir, enum scenario scenario, int n_create, const char *fault)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	char scenario_text[16], create_text[16];
	snprintf(scenario_text, sizeof(scenario_text), "%d", (int)scenario);
	snprintf(create_text, sizeof(create_text), "%d", n_create);
	if (fault)
		setenv("BERTH_FAULT", fault, 1);
	else
		unsetenv("BERTH_FAULT");
	execl("/proc/self/exe", "test_operation_crash", "child", dir, scenario_text, create_text,
	        (char *)NULL);
	_exit(127);
}

static bool was_killed(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return false;
}

static void check_effects(struct world *w, const char *target, bool want)
{
	for (const char *step = "abd"; *step; step++) {
		char path[160];
		path_of_effect(w, target, *step, path);
		if ((access(path, F_OK) == 0) != want)
			fail_msg("effect %c of %s is %s", *step, target, want ? "missing" : "left");
	}
}

/* Steps go up by one or are repeated; after the first undo they only go down or are repeated. */
static void check_calls_of(const char *calls, const char *target)
{
	char at = 'a';
	bool undoing = false;
	size_t len = strlen(target);
	for (const char *line = calls; *line; line = strchr(line, '\n') + 1) {
		if (strncmp(line, target, len) != 0 || line[len] != '/')
			continue;
		bool is_undo = line[len + 1] == 'u';
		char step = line[len + (is_undo ? 6 : 5)];
		assert_false(undoing && !is_undo);
		if (is_undo)
			assert_true(step <= at + (undoing ? 0 : 1));
		else
			assert_true(step == at || step == at + 1);
		at = step;
		undoing = is_undo;
	}
}

static void check_calls(struct world *w, int n)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/calls", w->dir);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	CLEANUP(str_done) struct str calls = {0};
	char buffer[4096];
	size_t got;
	while ((got = fread(buffer, 1, sizeof(buffer), file)) > 0)
		str_add_len(&calls, buffer, got);
	fclose(file);
	for (int i = 0; i < n; i++) {
		char target[16];
		snprintf(target, sizeof(target), "x%d", i);
		check_calls_of(str_text(&calls), target);
	}
}

static int check_row(void *arg, const struct operation_row *row, struct err *e)
{
	(void)e;
	struct world *w = arg;
	const char *letter = (const char *[]){"q", "r", "S", "F", "C", "I"}[row->state];
	assert_true(row->ended_at != 0);
	world_assert_finished(w, row->id, letter);
	check_effects(w, row->target_id, row->state == OPERATION_SUCCEEDED);
	return 0;
}

static void check_outcome(struct world *w, int n, const char *state)
{
	struct err e;
	world_check(db_open(w->path, DB_READ_ONLY, &w->db, &e), &e);
	struct db_page query = {.where = "", .order = "ORDER BY seq", .limit = 100};
	world_check(operation_store_list(w->db, &query, check_row, w, &e), &e);
	CLEANUP(cleanup_free)
	char *found = world_query(w,
	        "SELECT state || ' ' || COUNT(*) FROM operation GROUP BY state ORDER BY COUNT(*) "
	        "DESC",
	        NULL);
	CLEANUP(cleanup_free) char *wanted = str_format("%s %d", state, n);
	if (state[0])
		assert_string_equal(found, wanted);
	check_calls(w, n);
	db_close(TAKE(w->db));
}

static const char *const outcome_of[] = {"succeeded", "failed", "cancelled"};

static void check_fault(enum scenario scenario, const char *fault)
{
	struct world w = {0};
	world_make_dir(&w);
	if (!was_killed(start_child(w.dir, scenario, 1, fault)))
		fail_msg("%s was never reached", fault);
	assert_false(was_killed(start_child(w.dir, scenario, 0, NULL)));
	check_outcome(&w, 1, outcome_of[scenario]);
	world_remove_dir(&w);
}

static void test_killed_at_every_point_of_a_success(void **state)
{
	(void)state;
	for (char step = 'a'; step <= 'd'; step++) {
		char fault[64];
		snprintf(fault, sizeof(fault), "test.four/%c:before", step);
		check_fault(SCENARIO_SUCCESS, fault);
		snprintf(fault, sizeof(fault), "test.four/%c:after", step);
		check_fault(SCENARIO_SUCCESS, fault);
	}
}

static void test_killed_at_every_point_of_a_failure(void **state)
{
	(void)state;
	static const char *const faults[] = {"test.four/a:after", "test.four/c:after",
	        "test.four/d:before", "test.four/d:undo", "test.four/d:undone", "test.four/b:undo",
	        "test.four/b:undone", "test.four/a:undo", "test.four/a:undone"};
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		check_fault(SCENARIO_FAILURE, faults[i]);
}

static void test_killed_at_every_point_of_a_cancel(void **state)
{
	(void)state;
	static const char *const faults[] = {"test.four/c:before", "test.four/c:after",
	        "test.four/b:undo", "test.four/b:undone", "test.four/a:undo", "test.four/a:undone"};
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		check_fault(SCENARIO_CANCEL, faults[i]);
}

/* Killed in the success, and again and again in what follows. */
static void test_killed_at_one_point_after_another(void **state)
{
	(void)state;
	struct world w = {0};
	world_make_dir(&w);
	static const char *const faults[] = {"test.four/a:before", "test.four/a:after",
	        "test.four/b:after", "test.four/d:before", "test.four/d:undone", "test.four/b:undo",
	        "test.four/a:undone"};
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		assert_true(was_killed(start_child(w.dir, SCENARIO_FAILURE, i == 0, faults[i])));
	assert_false(was_killed(start_child(w.dir, SCENARIO_FAILURE, 0, NULL)));
	check_outcome(&w, 1, "failed");
	world_remove_dir(&w);
}

static int count_rows(struct world *w)
{
	struct err e;
	world_check(db_open(w->path, DB_READ_ONLY, &w->db, &e), &e);
	CLEANUP(cleanup_free) char *n = world_query(w, "SELECT COUNT(*) FROM operation", NULL);
	db_close(TAKE(w->db));
	return atoi(n);
}

static void test_killed_at_random_moments(void **state)
{
	(void)state;
	unsigned seed = 20261123;
	for (int round = 0; round < 6; round++) {
		struct world w = {0};
		world_make_dir(&w);
		enum scenario scenario = (enum scenario)(round % 3);
		int kills = 0;
		for (int n_create = 5; kills < 8; n_create = 0) {
			pid_t pid = start_child(w.dir, scenario, n_create, NULL);
			usleep((useconds_t)(rand_r(&seed) % 60000)); /* any moment will do */
			kill(pid, SIGKILL);
			kills++;
			if (!was_killed(pid))
				break;
		}
		assert_false(was_killed(start_child(w.dir, scenario, 0, NULL)));
		if (count_rows(&w) > 0)
			check_outcome(&w, count_rows(&w), outcome_of[scenario]);
		world_remove_dir(&w);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return child_main(argv);
	log_init(LOG_LEVEL_ERROR);
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_killed_at_every_point_of_a_success),
	        cmocka_unit_test(test_killed_at_every_point_of_a_failure),
	        cmocka_unit_test(test_killed_at_every_point_of_a_cancel),
	        cmocka_unit_test(test_killed_at_one_point_after_another),
	        cmocka_unit_test(test_killed_at_random_moments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
