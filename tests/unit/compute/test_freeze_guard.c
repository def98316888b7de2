/* SPDX-License-Identifier: Apache-2.0 */
/* Guards as berthd sees them. This program is also the guard: scripted, without a hypervisor. */
#include "tests/unit/compute/host_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compute/freeze_guard.h"

#define VM            "00000000-0000-7000-8000-000000000010"
#define GUARD_FD      3
#define FIFO_VARIABLE "BERTH_TEST_FIFO"

/* ---- the guard ---- */

static void say(const char *news)
{
	char text[200];
	snprintf(text, sizeof(text),
	        "{\"news\":\"%s\",\"code\":\"\",\"message\":\"\",\"hint\":\"\",\"filesystems\":1}",
	        news);
	send(GUARD_FD, text, strlen(text), MSG_NOSIGNAL);
}

/* Asked to freeze, it does, lets go of its socket and then lingers until it is let go. */
static int be_guard(void)
{
	char order[1000];
	ssize_t n = recv(GUARD_FD, order, sizeof(order) - 1, 0);
	order[n > 0 ? n : 0] = '\0';
	if (!strstr(order, "\"freeze\":true")) {
		say("thawed");
		return 0;
	}
	say("frozen");
	close(GUARD_FD);
	close(open(getenv(FIFO_VARIABLE), O_WRONLY)); /* "it is closed", once somebody reads */
	close(open(getenv(FIFO_VARIABLE), O_RDONLY)); /* until somebody writes */
	return 0;
}

/* ---- the other side ---- */

static struct {
	struct operation *op;
	char host_id[UUID_TEXT_SIZE], fifo[96];
	int begun, ended; /* 1: not answered yet */
} guarded;

static void on_begun(void *arg, int rc, const struct err *e)
{
	(void)arg;
	(void)e;
	guarded.begun = rc < 0 ? rc : 0;
}

static void on_ended(void *arg, int rc, const struct err *e)
{
	guarded.ended = rc;
	operation_step_done(arg, rc, e);
}

static void run_freeze(struct operation *op)
{
	guarded.op = op;
	freeze_guard_begin(op, VM, guarded.host_id, on_begun, op);
}

static const struct operation_step steps[] = {{.name = "freeze", .run = run_freeze}};
static const struct operation_kind kind = {
        .name = "test.freeze", .steps = steps, .n_steps = ARRAY_LEN(steps)};

static int create_job(struct db *db, void *arg, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	const struct operation_request request = {.kind = kind.name,
	        .target_kind = "vm",
	        .target_id = VM,
	        .target_name = "g",
	        .requested_by = "test"};
	return operation_create(db, arg, &request, id, e);
}

static int setup(void **state)
{
	struct host_fixture *f = fixture_start();
	guarded.begun = guarded.ended = 1;
	snprintf(guarded.fifo, sizeof(guarded.fifo), "%s/fifo", f->directory_path);
	assert_int_equal(mkfifo(guarded.fifo, 0600), 0);
	setenv(FIFO_VARIABLE, guarded.fifo, 1);
	f->services.guards = freeze_guards_new(&f->services);
	operation_engine_register(f->engine, &kind);
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", guarded.host_id), 0);
	/* A host that is reached from a process of its own. */
	fixture_exec(f, "UPDATE host SET uri = 'qemu+tcp://nowhere/system'");
	assert_int_equal(writer_run(f->writer, create_job, f->engine, &f->e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct host_fixture *f = *state;
	struct freeze_guards *guards = f->services.guards;
	operation_engine_stop(f->engine);
	freeze_guards_free(guards);
	fixture_stop(f);
	return 0;
}

static void test_a_guard_that_ended_without_a_word_is_followed_by_one_that_thaws(void **state)
{
	struct host_fixture *f = *state;
	assert_true(TURN_UNTIL(f->loop, guarded.begun <= 0));
	assert_int_equal(guarded.begun, 0);
	close(open(guarded.fifo, O_RDONLY)); /* its socket is closed from here on */
	loop_turn_for(f->loop, 1); /* and that was seen, while the process is still there */
	freeze_guard_end(guarded.op, VM, on_ended, guarded.op);
	close(open(guarded.fifo, O_WRONLY));
	assert_true(TURN_UNTIL(f->loop, guarded.ended <= 0));
	assert_int_equal(guarded.ended, ERR_DEADLINE);
	assert_true(TURN_UNTIL(f->loop, fixture_int(f, "SELECT count(*) FROM freeze_guard") == 0));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], FREEZE_GUARD_OPTION) == 0)
		return be_guard();
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(
	                test_a_guard_that_ended_without_a_word_is_followed_by_one_that_thaws, setup,
	                teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
