/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room: who may hold how much of which host (docs/decisions/0012-room-and-reservations.md).
 *
 *	create, start, resume of a suspended VM, revert   -> room_grant    STARTING, in the operation's transaction
 *	a change of a VM that holds something             -> room_change   grows or shrinks it
 *	a domain was seen                                 -> room_observe  RUNNING; or freed, when no process was seen
 *	                                                                   and no unfinished operation may give one
 *
 * What is decided from is a copy of the rows that the writer thread owns (room_cache.h). Readers have one of their own,
 * which is marked by each commit, so that a GET never waits for the writer nor the writer for a GET.
 */
#pragma once

#include "base/uuid.h"
#include "compute/vm_spec.h"
#include "compute/vm_store.h"
#include "db/db.h"
#include "scheduler/inventory.h"

struct room;
struct room_busy;

/* Watches the change feed: before the writer has work, after change_feed_reset. */
struct room *room_new(void);
/* After the writer has stopped and the change feed was reset. Accepts NULL. */
void room_free(struct room *room);

/* How busy the hosts are; any thread, as long as the room lives. */
struct room_busy *room_busy(struct room *room);

/* A writer job (`room` is the room): reads what decisions are made from, so that the first one need not. */
int room_warm(struct db *db, void *room, struct err *e);

/* ---- decisions: writer thread, inside a job ---- */

struct room_wish {
	const struct vm_spec *spec;
	const char *vm_id;              /* NULL: a new one */
	const char *host_id, *group_id; /* NULL: any */
	bool may_wait;                  /* a host that does not answer will do if no other does */
	bool starts;                    /* it needs its room now, not only some day */
};
/* The best host. ERR_NO_CAPACITY, ERR_UNPROCESSABLE, ERR_HOST_DOWN, ...: why none will do. */
int room_choose(struct db *db, struct room *room, const struct room_wish *wish,
        char ret_host_id[UUID_TEXT_SIZE], struct err *e);

/* What the operation has to wait for before the guest may boot, or grow. */
struct room_granted {
	bool must_wait;         /* mode balloon */
	int64_t wait_bytes;     /* that others have to give first, as known now */
	int64_t grows_to_bytes; /* the memory a running guest is to have; 0: it does not grow */
};
/* Reserves what the VM needs to start on its home, or refuses with the arithmetic. */
int room_grant(struct db *db, struct room *room, const char *vm_id, const char *host_id,
        const struct vm_spec *spec, struct room_granted *ret_granted, struct err *e);

enum room_insist {
	ROOM_ASK,           /* growing is refused when there is no room, or has to wait for it */
	ROOM_ASK_NO_MEMORY, /* likewise, but nobody will plug memory: what it has stays */
	ROOM_INSIST,        /* it is a fact: only written down */
};
/* The VM's configuration becomes `spec`: what it holds on its home follows. Of a VM that holds nothing only asks whether
 * the host could ever hold it. */
int room_change(struct db *db, struct room *room, const char *vm_id, const char *host_id,
        const struct vm_spec *spec, enum room_insist insist, struct room_granted *ret_granted,
        struct err *e);

/* ---- facts: writer thread, inside a job ---- */

struct room_seen {
	const char *vm_id, *host_id;
	bool has_process;
	const char *spec; /* stored form of what it runs with; NULL: the next two tell */
	int64_t vcpus, memory_bytes;
};
int room_observe(struct db *db, const struct room_seen *seen, struct err *e);
/* The memory it holds; 0: nothing. Any connection. */
int room_held_bytes(
        struct db *db, const char *vm_id, const char *host_id, int64_t *ret_bytes, struct err *e);
/* A running guest was certainly not given more than `held_bytes` of what it was granted: it holds that. */
int room_return_growth(
        struct db *db, const char *vm_id, const char *host_id, int64_t held_bytes, struct err *e);
/* Whether what is held agrees with what was seen, so that no look is needed. Any connection. */
int room_agrees(struct db *db, const char *vm_id, const char *host_id, bool has_process,
        bool *ret_agrees, struct err *e);
/* Start-up: fills in what an earlier version did not write (labels, exact reservations). */
int room_upgrade(struct db *db, struct err *e);

/* ---- CPUs that nobody owns: writer thread, inside a job (docs/decisions/0015-owned-cpus.md) ---- */

/* What change_touch says of a host where VMs may have to leave CPUs, or may have some back. */
#define ROOM_CPUS_CHANGED "cpus"
void room_touch_cpus(struct db *db, const char *host_id);

enum room_doubt {
	ROOM_DOUBT_PINNED, /* something was done to it: if it is pinned, it may be elsewhere */
	ROOM_DOUBT_ALL,    /* it comes from a saved state, and is pinned as it was then */
};
int room_doubt_cpus(struct db *db, const char *vm_id, const char *host_id, enum room_doubt doubt,
        struct err *e);
/* Nobody has watched the host: any process may have been replaced. */
int room_doubt_host_cpus(struct db *db, const char *host_id, struct err *e);
/* The VM is about to be deleted, with what it holds. */
int room_forget_cpus(struct db *db, const char *vm_id, struct err *e);

struct room_move {
	char vm_id[UUID_TEXT_SIZE];
	char *cpus;       /* owned; where it is to run, for room_pins_apply */
	int64_t cpus_due; /* the count when this was read */
	bool has_process; /* else it is starting: there may be one, and the one to come is told later */
};
struct room_moves {
	struct room_move *items;
	size_t len, capacity;
};
void room_moves_done(struct room_moves *moves);
/* Writes down where each VM of the host belongs, now that others own what they own; adds to `ret_due` those that may be
 * elsewhere. Foreign and adopted VMs stay where their owners have put them. */
int room_settle_cpus(struct db *db, struct room *room, const char *host_id,
        struct room_moves *ret_due, struct err *e);
/* It is there, unless it belongs elsewhere by now. */
int room_note_moved(
        struct db *db, const char *host_id, const struct room_move *move, struct err *e);
/* The host as decisions see it; NULL: not known. Borrowed until the next decision. */
int room_find_host(struct db *db, struct room *room, const char *host_id,
        const struct inventory_host **ret_host, struct err *e);

/* Whether the writer's copy is what the rows say, read anew. For tests; slow. */
int room_verify(struct db *db, struct room *room, bool *ret_same, struct err *e);

/* ---- for readers: any thread but the writer ---- */

/* Calls fn with an inventory as of now. `db` must not be inside a transaction: it could be older than what is marked. */
int room_look(struct room *room, struct db *db,
        int (*fn)(void *arg, const struct inventory *inventory, struct err *e), void *arg,
        struct err *e);
