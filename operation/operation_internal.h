/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of operation/ share: the operation and the engine in memory.
 *
 * Ownership: the engine owns all operations that have not ended. An operation belongs to the core
 * loop, except while its persist job is on its way (OPERATION_PERSISTING): then the writer thread
 * reads it, and the core loop changes nothing but `cancel`. Other threads reach the engine through
 * `inbox` only.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/vec.h"
#include "db/db.h"
#include "operation/operation.h"
#include "operation/operation_store.h"

/* The member of an operation's memory that operation_add_result fills. */
#define OPERATION_RESULT "result"

/* What an operation is doing right now; the table of allowed moves is in operation_tick.c. */
enum operation_activity {
	OPERATION_IN_LINE,    /* not begun: what it may not run beside is before it in its queue */
	OPERATION_STEPPING,   /* a step's run or undo is under way */
	OPERATION_RESTING,    /* for its host, or before an undo is tried again: poke or timer */
	OPERATION_PERSISTING, /* its next state is being written (or written again after a failure)
	                       */
	OPERATION_OVER,       /* the end is durable */
	OPERATION_ACTIVITIES
};

enum persist_goal {
	PERSIST_BEGIN,   /* "running" must be durable before a first step that is final */
	PERSIST_ADVANCE, /* step i is done, i + 1 is next */
	PERSIST_TURN,    /* from now on steps are undone, from `step` downwards */
	PERSIST_UNDONE,  /* step i is undone, `step` is next */
	PERSIST_END,
};

/* The writer job that carries one transition. Filled by the core loop, then the writer's until it
 * is done. */
struct persist {
	enum persist_goal goal;
	struct operation_update
	        update;       /* texts borrowed from the operation and from the next two */
	char *memory, *error; /* owned */
	int (*store)(struct db *db, void *arg, struct err *e);
	void (*release)(void *arg);
	void *store_arg;
	/* Results. */
	int rc;
	struct err failure;
	bool is_refused;   /* a cancel came first */
	bool store_failed; /* `failure` is store's */
	bool row_is_gone;  /* someone deleted it */
};

/* The writer job that carries what users see between transitions. Same rule, but for the flags. */
struct report {
	struct operation_report values;
	char phase[96], reason[512];
	bool in_feed; /* the change feed hears of it */
	int rc;
	/* Core loop only. */
	bool is_in_flight;
	bool is_dirty;            /* something has not been written yet */
	bool is_notable;          /* and the change feed should hear of it */
	struct loop_timer *timer; /* owned */
	int64_t sent_ms;          /* monotonic; 0: never */
};

struct operation_waiter {
	void (*fn)(void *arg, bool ended);
	void *arg;
	int64_t timeout_ms;
	struct loop_timer *timer; /* owned */
	struct operation *op;
	struct operation_waiter *next;
};

struct operation {
	struct operation_engine *engine;
	const struct operation_kind *kind; /* NULL: this version does not know it */
	char *kind_name, *target_kind, *target_id, *target_name, *host_id, *queue, *request_id;
	char id[UUID_TEXT_SIZE];
	int64_t deadline, started_at; /* wall */
	json_t *input, *memory;       /* owned references */

	enum operation_activity activity;
	int step;
	bool undoing;
	bool loaded;         /* from an earlier process, which may have begun it */
	bool poked;          /* the host came back while a step was under way */
	_Atomic bool cancel; /* finish() reads it on the writer thread */
	struct err *error;   /* owned; why it is undone, or what it last waited for */
	char *error_step;    /* owned; the step that failed, or NULL */

	char phase[96], reason[512];
	int percent;
	int64_t done_bytes, total_bytes;

	int64_t rest_since_ms; /* monotonic, of the first failed try; 0: the last try was answered
	                        */
	int pause_ms;          /* the last pause between tries; 0: none */
	bool failure_logged;   /* of the write that is being tried again */
	struct loop_timer *timer; /* owned; end of a rest, or of a pause between writes */

	struct persist persist;
	struct report report;
	struct operation_waiter *waiters; /* owned */
	struct operation *queue_next, *queue_previous;
};

/* One queue key with work, in order of creation. */
struct operation_queue {
	struct operation *first, *last;
};

enum inbox_message { INBOX_ADOPT, INBOX_CANCEL, INBOX_WAIT };
struct inbox_item {
	enum inbox_message message;
	char id[UUID_TEXT_SIZE];
	struct operation *op;            /* owned, INBOX_ADOPT */
	struct operation_waiter *waiter; /* owned, INBOX_WAIT */
};

/* So many unfinished operations are taken up again in one turn of the loop. */
#define BEGIN_PER_TURN 50

struct loaded_id {
	char id[UUID_TEXT_SIZE];
};

struct fault {
	char *kind, *step, *point; /* owned; NULL: none asked for */
};

struct operation_engine {
	struct loop *loop;
	struct writer *writer;
	void *context;
	struct map *kinds; /* name -> const struct operation_kind *; fixed before threads use it */
	struct map *operations; /* id -> struct operation *, owned */
	struct map *queues;     /* key -> struct operation_queue *, owned */
	struct operation_times times;
	struct fault fault;
	VEC(struct loaded_id)
	loaded; /* unfinished at the start and not looked at yet, in order of creation */
	size_t n_looked_at; /* of those */
	bool stopped;
	_Atomic int n_running, n_queued;
	pthread_mutex_t lock; /* guards only `inbox`, never held across a call */
	VEC(struct inbox_item) inbox;
};

/* operation.c */
struct operation *operation_new(
        struct operation_engine *engine, const struct operation_row *row); /* any thread */
void operation_free(struct operation *op);                                 /* accepts NULL */
const struct operation_kind *operation_kind_find(
        const struct operation_engine *engine, const char *name); /* any thread */
struct operation_news {
	const char *event, *id, *kind, *target_id, *target_name, *phase;
	enum operation_state state;
};
int operation_change_add(struct db *db, const struct operation_news *news, struct err *e);

/* operation_tick.c (core loop) */
void operation_begin(struct operation *op); /* its turn in its queue has come */
/* Whether an earlier process may have run a step of it. */
bool operation_may_have_begun(const struct operation *op);
void operation_take_cancel(struct operation *op);
void operation_take_poke(struct operation *op);
/* The persist job came back for good: op->persist holds the results. */
void operation_persisted(struct operation *op);

/* operation_persist.c (core loop) */
/* Writes the transition to `step`, `undoing` and `state` in a job that also does what op->persist
 * (goal, store) says; tried again until it is answered. */
void operation_persist(struct operation *op, int step, bool undoing, enum operation_state state);
void operation_persist_release(struct operation *op);
/* What users see has changed: written within a second; the second also adds an event, and at once.
 */
void operation_report_later(struct operation *op);
void operation_report_now(struct operation *op);
/* The next pause between tries: doubling. */
int operation_next_pause_ms(struct operation *op);

/* operation_queue.c (core loop) */
void operation_queue_append(struct operation *op);
/* Takes it out; those whose turn has come thereby begin. */
void operation_queue_leave(struct operation *op);
/* Whether all before it in its queue may run beside it. */
bool operation_queue_may_begin(const struct operation *op);
void operation_queue_free_all(struct operation_engine *engine);

/* operation_wait.c (core loop) */
void operation_waiter_add(
        struct operation_engine *engine, const char *id, struct operation_waiter *waiter);
void operation_waiters_call(struct operation *op, bool ended);
void operation_waiter_end(struct operation_waiter *waiter, bool ended); /* calls and frees */

/* operation_engine.c: any thread. */
void operation_inbox_put(struct operation_engine *engine, struct inbox_item item);

/* operation_fault.c */
void operation_fault_init(struct fault *fault, const char *text);
void operation_fault_done(struct fault *fault);
/* Kills the process if this point was asked for. */
void operation_fault_point(const struct operation *op, const char *point);
