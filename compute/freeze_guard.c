/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guards as berthd sees them. Core loop, but for the jobs of the writer.
 *
 *  begin: LOOKING -> RECORDING -> FREEZING -> FROZEN -> THAWING -> over
 *                                    |  \-> refused: over  ^
 *                                    +-> WATCHING ---------|-> over
 *  load:  LEFT ------> LOOKING -> RECORDING ---------------+
 *
 * "Over" is when the process has ended and been waited for; its row goes then, if it said that nothing is frozen. When it
 * ended without a word, another one thaws.
 */
#include "compute/freeze_guard.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/freeze_guard_process.h"
#include "compute/freeze_guard_store.h"
#include "compute/host.h"
#include "hypervisor/host_directory.h"

#define ANSWER_MS 30000 /* for connecting and freezing */
#define THAWED_MS 10000
#define LEFT_MS   200 /* between two looks at an earlier process's guard */
#define REAP_MS   5
#define AGAIN_MS  1000

enum guard_state {
	GUARD_LOOKING,   /* for the host's URI */
	GUARD_RECORDING, /* the process waits for its order until its row is durable */
	GUARD_FREEZING,
	GUARD_FROZEN,   /* begin was answered, end is still to come */
	GUARD_THAWING,  /* end was asked, or it only thaws what an earlier one left */
	GUARD_WATCHING, /* begin was answered: the guest may freeze yet */
	GUARD_LEFT,     /* an earlier berthd's process, which has seen that berthd is gone */
};

struct request {
	freeze_guard_done done; /* NULL: nobody waits */
	void *arg;
	char operation_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE]; /* of a begin */
};

struct freeze_guard {
	struct freeze_guards *guards; /* borrowed */
	struct freeze_guard_row row;
	enum guard_state state;
	bool only_thaws;    /* of what an earlier guard left */
	bool is_in_process; /* a driver without processes: lane calls do it */
	char *uri;          /* owned */
	struct freeze_process process;
	uv_poll_t *poll;          /* owned until it is closed */
	struct loop_timer *timer; /* owned */
	struct request waiting;
	struct request next;     /* a begin that came while an earlier guard has still to end */
	bool is_thawed, gave_up; /* its last word */
	bool has_result;         /* what end will be answered */
	struct err result;       /* code 0: held */
	/* The writer's job; the guard stays until it is back. */
	int job_rc;
	struct err job_error;
};

struct freeze_guards {
	const struct operation_services *services; /* borrowed */
	VEC(struct freeze_guard *) items;
};

/* ---- the list ---- */

struct freeze_guards *freeze_guards_new(const struct operation_services *services)
{
	struct freeze_guards *guards = xcalloc(1, sizeof(*guards));
	guards->services = services;
	return guards;
}

static struct freeze_guard *add(struct freeze_guards *guards)
{
	struct freeze_guard *g = xcalloc(1, sizeof(*g));
	g->guards = guards;
	g->process.fd = -1;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	VEC_PUSH(&guards->items, g);
	return g;
}

static void free_poll(uv_handle_t *handle)
{
	free(handle);
}

static void close_process(struct freeze_guard *g)
{
	if (g->poll)
		uv_close((uv_handle_t *)TAKE(g->poll), free_poll);
	if (g->process.fd >= 0)
		close(g->process.fd);
	g->process.fd = -1;
}

static void drop(struct freeze_guard *g)
{
	struct freeze_guards *guards = g->guards;
	for (size_t i = 0; i < guards->items.len; i++)
		if (guards->items.items[i] == g) {
			VEC_REMOVE(&guards->items, i);
			break;
		}
	close_process(g);
	loop_timer_free(g->timer);
	free(g->uri);
	free(g);
}

void freeze_guards_free(struct freeze_guards *guards)
{
	if (!guards)
		return;
	while (guards->items.len > 0)
		drop(guards->items.items[0]);
	VEC_DONE(&guards->items);
	free(guards);
}

static struct freeze_guard *find(
        const struct freeze_guards *guards, const char *operation_id, const char *vm_id)
{
	for (size_t i = 0; i < guards->items.len; i++) {
		struct freeze_guard *g = guards->items.items[i];
		if (strcmp(g->row.vm_id, vm_id) == 0 &&
		        (!operation_id || strcmp(g->row.operation_id, operation_id) == 0))
			return g;
	}
	return NULL;
}

static void answer(struct freeze_guard *g, int rc, const struct err *e)
{
	struct request waiting = g->waiting;
	g->waiting = (struct request){0};
	if (waiting.done)
		waiting.done(waiting.arg, rc, rc < 0 ? e : NULL);
}

static void set_timer(struct freeze_guard *g, int64_t delay_ms, void (*fn)(void *arg))
{
	loop_timer_free(g->timer);
	g->timer = loop_timer_start(g->guards->services->loop, delay_ms, 0, fn, g);
}

/* ---- jobs of the writer ---- */

static void submit(struct freeze_guard *g, int (*run)(struct db *db, void *arg, struct err *e),
        void (*done)(void *arg, int rc, const struct err *e))
{
	writer_submit(g->guards->services->writer,
	        (struct writer_job){.run = run, .done = done, .arg = g});
}

static void post_back(struct freeze_guard *g, int rc, const struct err *e, void (*fn)(void *arg))
{
	g->job_rc = rc;
	g->job_error = rc < 0 && e ? *e : (struct err){0};
	loop_post(g->guards->services->loop, fn, g);
}

static int run_look(struct db *db, void *arg, struct err *e)
{
	struct freeze_guard *g = arg;
	struct host_row host CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, g->row.host_id, &host, e);
	if (rc == 0)
		str_replace(&g->uri, host.uri);
	return rc;
}

static int run_put(struct db *db, void *arg, struct err *e)
{
	const struct freeze_guard *g = arg;
	return freeze_guard_store_put(db, &g->row, e);
}

static int run_remove(struct db *db, void *arg, struct err *e)
{
	return freeze_guard_store_remove(db, arg, e);
}

static void on_removed(void *arg, int rc, const struct err *e)
{
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "a freeze guard's row stays until the next start");
	free(arg);
}

static void remove_row(struct freeze_guard *g)
{
	struct freeze_guard_row *row = xcalloc(1, sizeof(*row));
	*row = g->row;
	writer_submit(g->guards->services->writer,
	        (struct writer_job){.run = run_remove, .done = on_removed, .arg = row});
}

static void look(struct freeze_guard *g);

/* ---- the end of a process ---- */

static void start_process(struct freeze_guard *g);

static void on_again(void *arg)
{
	start_process(arg);
}

/* The guest may be frozen, and nobody is there who thaws it. */
static void thaw_again(struct freeze_guard *g)
{
	struct err e = {0};
	log_warning(
	        "a freeze guard of VM %s ended without a word: another one thaws it", g->row.vm_id);
	int rc = err_set(&e, ERR_DEADLINE, "the guard that kept the guest frozen has ended");
	answer(g, rc, &e);
	g->only_thaws = true;
	g->state = GUARD_LOOKING;
	set_timer(g, AGAIN_MS, on_again);
}

static void begin_next(struct freeze_guard *g)
{
	g->waiting = g->next;
	g->next = (struct request){0};
	uuid_text_copy(g->row.operation_id, g->waiting.operation_id);
	uuid_text_copy(g->row.host_id, g->waiting.host_id);
	g->only_thaws = g->is_thawed = g->has_result = false;
	look(g);
}

static void give_up(struct freeze_guard *g)
{
	struct err e = {0};
	log_error("VM %s may still be frozen: its agent did not say \"thawed\" in time; the next "
	          "start of berthd tries again",
	        g->row.vm_id);
	int rc = err_set(
	        &e, ERR_UNAVAILABLE, "the guest may still be frozen by an earlier snapshot");
	answer(g, rc, &e);
	g->waiting = g->next;
	answer(g, rc, &e);
	drop(g);
}

static void be_over(struct freeze_guard *g)
{
	loop_timer_free(TAKE(g->timer));
	if (g->gave_up) {
		give_up(g);
		return;
	}
	if (!g->is_thawed) {
		thaw_again(g);
		return;
	}
	remove_row(g);
	if (g->next.done)
		begin_next(g);
	else if (g->state != GUARD_FROZEN) /* else end has still to be answered */
		drop(g);
}

static void reap(void *arg)
{
	struct freeze_guard *g = arg;
	if (waitpid(g->process.pid, NULL, WNOHANG) == 0)
		set_timer(g, REAP_MS, reap);
	else
		be_over(g);
}

/* ---- what a process says ---- */

static int read_error(const json_t *message, struct err *e)
{
	const char *code = json_string_value(json_object_get(message, "code"));
	const char *text = json_string_value(json_object_get(message, "message"));
	const char *hint = json_string_value(json_object_get(message, "hint"));
	if (str_is_empty(code))
		return 0;
	for (int i = 0; i < ERR_INDEX_COUNT; i++)
		if (strcmp(err_info(-(1 + i))->name, code) == 0)
			err_set(e, -(1 + i), "%s", text ? text : "");
	if (!str_is_empty(hint))
		err_hint(e, "%s", hint);
	return e->code ? e->code : err_set(e, ERR_INTERNAL, "%s", text ? text : "");
}

static void take_thawed(struct freeze_guard *g, int rc, const struct err *e)
{
	g->is_thawed = true;
	g->has_result = true;
	g->result = rc < 0 ? *e : (struct err){0};
	if (g->state == GUARD_THAWING)
		answer(g, rc, e);
}

/* An agent that took longer than we wait: the process was told to thaw, and does. */
static void take_frozen(struct freeze_guard *g, int n)
{
	if (g->state != GUARD_FREEZING)
		return;
	loop_timer_free(TAKE(g->timer));
	g->state = GUARD_FROZEN;
	answer(g, n, NULL);
}

static void take_refused(struct freeze_guard *g, bool may_freeze_yet, int rc, const struct err *e)
{
	loop_timer_free(TAKE(g->timer));
	g->is_thawed = g->has_result = !may_freeze_yet;
	g->state = GUARD_WATCHING;
	answer(g, rc, e);
}

static void take_news(struct freeze_guard *g, const json_t *message)
{
	const char *news = json_string_value(json_object_get(message, "news"));
	struct err e = {0};
	int rc = read_error(message, &e);
	if (str_equal(news, "frozen"))
		take_frozen(g, (int)json_integer_value(json_object_get(message, "filesystems")));
	else if (str_equal(news, "refused") || str_equal(news, "unanswered"))
		take_refused(g, str_equal(news, "unanswered"), rc, &e);
	else if (str_equal(news, "thawed"))
		take_thawed(g, rc, &e);
	else if (str_equal(news, "gave_up"))
		g->gave_up = true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct freeze_guard *g = poll->data;
	bool ended = status < 0;
	json_t *message = NULL;
	(void)events;
	while (!ended && freeze_message_receive(g->process.fd, &message, &ended)) {
		take_news(g, message);
		json_decref(message);
		message = NULL;
	}
	if (!ended)
		return;
	close_process(g);
	reap(g);
}

/* ---- the start of a process ---- */

static void on_answer_late(void *arg)
{
	struct freeze_guard *g = arg;
	struct err e;
	loop_timer_free(TAKE(g->timer));
	int rc = err_set(&e, ERR_UNAVAILABLE, "freezing the guest was not answered within %d s",
	        ANSWER_MS / 1000);
	g->state = GUARD_WATCHING;
	send(g->process.fd, "{}", 2, MSG_NOSIGNAL);
	answer(g, rc, &e);
}

static void listen_to(struct freeze_guard *g)
{
	g->poll = xcalloc(1, sizeof(*g->poll));
	g->poll->data = g;
	uv_poll_init(loop_uv(g->guards->services->loop), g->poll, g->process.fd);
	uv_poll_start(g->poll, UV_READABLE | UV_DISCONNECT, on_readable);
}

static void on_recorded(void *arg)
{
	struct freeze_guard *g = arg;
	const struct freeze_order order = {
	        .uri = g->uri, .vm_id = g->row.vm_id, .freeze = !g->only_thaws};
	if (g->job_rc < 0 && !g->only_thaws) {
		answer(g, g->job_rc, &g->job_error);
		g->is_thawed = true; /* it never got an order */
		g->state = GUARD_WATCHING;
		close_process(g);
		reap(g);
		return;
	}
	g->state = g->only_thaws ? GUARD_THAWING : GUARD_FREEZING;
	listen_to(g);
	freeze_order_send(g->process.fd, &order); /* a process that ended shows as such */
	if (!g->only_thaws)
		set_timer(g, ANSWER_MS, on_answer_late);
}

static void on_put(void *arg, int rc, const struct err *e)
{
	post_back(arg, rc, e, on_recorded);
}

static void start_process(struct freeze_guard *g)
{
	struct err e = {0};
	loop_timer_free(TAKE(g->timer));
	g->is_thawed = false;
	int rc = freeze_process_start(g->row.vm_id, &g->process, &e);
	if (rc < 0 && g->only_thaws) {
		log_err(LOG_LEVEL_ERROR, &e, "VM %s may be frozen", g->row.vm_id);
		set_timer(g, AGAIN_MS, on_again);
		return;
	}
	if (rc < 0) {
		answer(g, rc, &e);
		drop(g);
		return;
	}
	g->row.pid = g->process.pid;
	g->row.pid_start = g->process.start;
	g->row.started_at = clock_wall_ms();
	g->state = GUARD_RECORDING;
	submit(g, run_put, on_put);
}

/* ---- drivers inside our own process ---- */

struct lane_ask {
	struct freeze_guard *g;
	char vm_id[UUID_TEXT_SIZE];
	bool thaws;
	int n; /* filesystems */
};

static int run_lane(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct lane_ask *ask = arg;
	if (!driver->freeze || !driver->thaw)
		return err_set(e, ERR_UNSUPPORTED, "driver %s cannot freeze guests", driver->name);
	return ask->thaws ? driver->thaw(c, ask->vm_id, e)
	                  : driver->freeze(c, ask->vm_id, &ask->n, e);
}

static void lane_done(void *arg, int rc, const struct err *e)
{
	struct lane_ask *ask = arg;
	struct freeze_guard *g = ask->g;
	g->state = GUARD_FROZEN;
	answer(g, rc < 0 ? rc : ask->n, e);
	if (ask->thaws || rc < 0)
		drop(g);
}

static void ask_lane(struct freeze_guard *g, bool thaws)
{
	struct lane_ask *ask = xcalloc(1, sizeof(*ask));
	ask->g = g;
	ask->thaws = thaws;
	uuid_text_copy(ask->vm_id, g->row.vm_id);
	const struct lane_call call = {.class = LANE_CONTROL,
	        .domain = g->row.vm_id,
	        .timeout_ms = THAWED_MS,
	        .run = run_lane,
	        .done = lane_done,
	        .release = free,
	        .arg = ask};
	g->state = thaws ? GUARD_THAWING : GUARD_FREEZING;
	host_directory_submit(g->guards->services->directory, g->row.host_id, &call);
}

/* ---- begin and end ---- */

static void on_looked(void *arg)
{
	struct freeze_guard *g = arg;
	if (g->job_rc == ERR_NOT_FOUND && g->only_thaws)
		remove_row(g); /* the host is not ours any more */
	if (g->job_rc < 0) {
		g->waiting = g->only_thaws ? g->next : g->waiting;
		answer(g, g->job_rc, &g->job_error);
		drop(g);
		return;
	}
	g->is_in_process = str_starts_with(g->uri, "fake:") || str_starts_with(g->uri, "test:");
	if (g->is_in_process)
		ask_lane(g, /* thaws= */ false);
	else
		start_process(g);
}

static void on_look_run(void *arg, int rc, const struct err *e)
{
	post_back(arg, rc, e, on_looked);
}

static void look(struct freeze_guard *g)
{
	g->state = GUARD_LOOKING;
	submit(g, run_look, on_look_run);
}

static int refuse(const struct freeze_guard *g, struct err *e)
{
	if (g->state == GUARD_WATCHING)
		return err_set(e, ERR_UNAVAILABLE,
		        "the guest agent has not answered since operation %s tried to freeze it",
		        g->row.operation_id);
	return err_set(e, ERR_BUSY, "operation %s keeps the guest frozen", g->row.operation_id);
}

/* True if another guard of this VM has to end first, or stands in the way. */
static bool meets_another(
        struct freeze_guards *guards, const char *vm_id, const struct request *request)
{
	struct freeze_guard *g = find(guards, NULL, vm_id);
	struct err e = {0};
	bool is_ending = g && (g->state == GUARD_LEFT || g->only_thaws || g->has_result);
	if (is_ending && g->state == GUARD_FROZEN && g->process.fd < 0 && !g->timer) {
		drop(g); /* over, and nobody asked how it ended */
		return false;
	}
	if (!g)
		return false;
	if (is_ending && !g->next.done) {
		g->next = *request;
		return true;
	}
	int rc = refuse(g, &e);
	request->done(request->arg, rc, &e);
	return true;
}

void freeze_guard_begin(struct operation *op, const char *vm_id, const char *host_id,
        freeze_guard_done done, void *arg)
{
	const struct operation_services *services = operation_context(op);
	struct request request = {.done = done, .arg = arg};
	uuid_text_copy(request.operation_id, operation_id(op));
	uuid_text_copy(request.host_id, host_id);
	if (meets_another(services->guards, vm_id, &request))
		return;
	struct freeze_guard *g = add(services->guards);
	uuid_text_copy(g->row.operation_id, operation_id(op));
	uuid_text_copy(g->row.vm_id, vm_id);
	uuid_text_copy(g->row.host_id, host_id);
	g->waiting = request;
	look(g);
}

static void on_thaw_late(void *arg)
{
	struct freeze_guard *g = arg;
	struct err e;
	loop_timer_free(TAKE(g->timer));
	int rc = err_set(&e, ERR_UNAVAILABLE,
	        "the guest agent has not said \"thawed\" within %d s; a guard goes on thawing",
	        THAWED_MS / 1000);
	answer(g, rc, &e);
}

/* Its result is known: it was thawed before it was asked to. */
static void end_early(struct freeze_guard *g, freeze_guard_done done, void *arg)
{
	struct err result = g->result;
	bool is_over = g->process.fd < 0 && !g->timer;
	g->state = GUARD_THAWING; /* so that it goes with its process */
	if (is_over)
		drop(g);
	done(arg, result.code, result.code ? &result : NULL);
}

static int refuse_thawed(struct err *e)
{
	return err_set(e, ERR_DEADLINE,
	        "the guest did not stay frozen: berthd or its guard was interrupted");
}

int freeze_guard_check(struct operation *op, const char *vm_id, struct err *e)
{
	const struct operation_services *services = operation_context(op);
	const struct freeze_guard *g = find(services->guards, operation_id(op), vm_id);
	if (!g || g->state != GUARD_FROZEN)
		return refuse_thawed(e);
	if (g->has_result && g->result.code)
		*e = g->result;
	return g->has_result ? g->result.code : 0;
}

void freeze_guard_end(struct operation *op, const char *vm_id, freeze_guard_done done, void *arg)
{
	const struct operation_services *services = operation_context(op);
	struct freeze_guard *g = find(services->guards, operation_id(op), vm_id);
	struct err e = {0};
	if (!g || g->state != GUARD_FROZEN) {
		int rc = refuse_thawed(&e);
		done(arg, rc, &e);
		return;
	}
	if (g->has_result) {
		end_early(g, done, arg);
		return;
	}
	g->waiting = (struct request){.done = done, .arg = arg};
	if (g->is_in_process) {
		ask_lane(g, /* thaws= */ true);
		return;
	}
	g->state = GUARD_THAWING;
	if (g->process.fd < 0)
		return; /* it ended without a word; the timer that waits for the process answers */
	send(g->process.fd, "{}", 2, MSG_NOSIGNAL);
	set_timer(g, THAWED_MS, on_thaw_late);
}

/* ---- the start of berthd ---- */

static void on_left_look(void *arg)
{
	struct freeze_guard *g = arg;
	if (freeze_process_is_alive((pid_t)g->row.pid, g->row.pid_start)) {
		set_timer(g, LEFT_MS, on_left_look);
		return;
	}
	loop_timer_free(TAKE(g->timer));
	g->only_thaws = true; /* whatever its last word was: asking again harms nobody */
	look(g);
}

static void load_row(void *arg, const struct freeze_guard_row *row)
{
	struct freeze_guard *g = add(arg);
	g->row = *row;
	g->state = GUARD_LEFT;
	set_timer(g, 0, on_left_look);
}

int freeze_guards_load(struct freeze_guards *guards, struct db *db, struct err *e)
{
	return freeze_guard_store_each(db, load_row, guards, e);
}
