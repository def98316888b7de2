/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the balloon controller share. Core loop, except where said. */
#pragma once

#include <pthread.h>

#include "base/loop.h"
#include "base/map.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "compute/balloon.h"
#include "compute/balloon_view.h"
#include "db/db.h"
#include "hypervisor/driver.h"
#include "scheduler/balloon_plan.h"

/* ---- who takes part: read from the database with a sample, then immutable ---- */

/* A VM with a process on the host, or about to get one. */
struct balloon_member {
	char id[UUID_TEXT_SIZE];
	char *name; /* owned */
	bool managed, ballooning, hugepages, merge, may_suspend;
	bool is_starting;  /* its reservation says so */
	bool is_throttled; /* by us; the mark is durable */
	int64_t size_bytes, min_bytes, shares, overhead_bytes, booked_bytes;
	int64_t vcpus, cpu_shares, cpu_limit_percent, cpu_reservation_percent;
};

struct balloon_roster {
	char *host_name;              /* owned; NULL: there is no such host any more */
	struct balloon_policy policy; /* of its group, but for period_ms */
	bool is_overcommitted;        /* mode balloon */
	bool has_work;         /* somebody may give memory, or something has to be put back */
	int64_t total_bytes;   /* of the host */
	int64_t reserve_bytes; /* of its group */
	char *ksm_mark;        /* owned; JSON of what KSM was set to before us; NULL: unchanged */
	struct balloon_member *members; /* owned, sorted by id */
	size_t n_members;
};
struct balloon_roster *balloon_roster_read(struct db *db, const char *host_id, struct err *e);
void balloon_roster_free(struct balloon_roster *roster);
const struct balloon_member *balloon_roster_find(
        const struct balloon_roster *roster, const char *vm_id);
/* Pure: whether a host with this roster has to be looked at. */
bool balloon_roster_judge(const struct balloon_roster *roster);

/* ---- one look ---- */

struct balloon_sample {
	struct balloon_roster *roster; /* owned; NULL: not asked for */
	int64_t records;               /* site->records when it began; -1: one was under way */
	struct domain_stats_list list; /* sorted by id */
	struct host_stats host;
	struct ksm_state ksm;
	bool has_stats; /* false: the roster has no work */
	bool has_host, has_ksm;
	struct err ksm_error; /* why has_ksm is false */
};

/* ---- live ---- */

/* What a writer job in flight does with a mark. */
enum balloon_mark { BALLOON_MARK_KEEP, BALLOON_MARK_SET, BALLOON_MARK_DROP };

/* What is remembered of one guest. */
struct balloon_live {
	char id[UUID_TEXT_SIZE];
	struct balloon_vm_memory memory;
	int64_t round;          /* the last one that saw it */
	int64_t recorded_bytes; /* booked in its reservation; 0: none */
	int64_t wanted_bytes;   /* told when what is booked is durable; 0: nothing */
	int64_t next_bytes;     /* told when the call in flight is over; 0: nothing */
	bool is_telling;
	bool is_returned; /* it is off and has its size, or had it once since then */
	/* The ladder's throttle (balloon_ladder.c). */
	bool wants_throttle;
	bool is_marked;   /* the mark is durable */
	bool is_limited;  /* the host was told, or may have been by an earlier process */
	bool is_limiting; /* a call is in flight */
	enum balloon_mark mark;
	bool has_stats_period;
	int64_t cpu_time_ns, cpu_at_ms;        /* at the last look */
	int64_t stats_update_s, stats_seen_ms; /* the newest statistics, and when they were new */
	/* As shown. */
	enum balloon_vm_state state;
	int64_t since;           /* wall ms; 0: not yet shown */
	int64_t exceeds_told_ms; /* when the last event about it was written */
	int64_t suspend_asked_ms;
};

enum room_state { ROOM_WAITS, ROOM_GRANTED };
struct room_waiter {
	struct room_waiter *next;
	char vm_id[UUID_TEXT_SIZE];
	int64_t bytes;          /* size + overhead, or what it grows by; 0: it was not read yet */
	int64_t grows_to_bytes; /* of a running guest; 0: it starts */
	int64_t first_ms;       /* since when it is the first in line; 0: it is not */
	enum room_state state;
	void (*fn)(void *arg, int rc, const struct err *e); /* NULL once called */
	void *arg;
};

struct balloon_record; /* balloon_record.c */

/* A host. */
struct balloon_site {
	struct balloons *all; /* borrowed */
	char id[UUID_TEXT_SIZE];
	struct balloon_roster *roster; /* owned; NULL: not read yet */
	bool is_stale;                 /* the roster has to be read again */
	bool is_sampling, is_recording;
	int64_t sample_number; /* of the newest sample; an older one that comes late is dropped */
	int64_t records;       /* writer jobs submitted so far */
	struct loop_timer *timer; /* owned; NULL: nothing to do */
	struct balloon_host_memory memory;
	struct map *guests; /* id -> struct balloon_live (owned) */
	int64_t round;
	int64_t plan_ms;               /* monotonic, of the last plan; 0: none */
	int64_t free_swap_bytes;       /* at the last look; -1: not known */
	struct room_waiter *waiters;   /* owned, in order; at most the first is granted */
	struct loop_timer *room_timer; /* owned; of the first in line */
	struct balloon_view *view;     /* a reference to what is published */
	/* KSM (balloon_ksm.c) */
	struct ksm_state ksm;
	struct ksm_change ksm_wanted;
	bool has_ksm, is_setting_ksm, is_ksm_marked;
	enum balloon_mark ksm_mark;
	struct ksm_state ksm_base; /* its settings before us */
	struct err ksm_error;      /* why it is not known */
	int64_t ksm_read_ms, ksm_step_ms;
	/* As shown. */
	enum balloon_state state;
	enum balloon_rung rung;
	int64_t since; /* wall ms of the state; 0: not yet shown */
};

struct noise_site; /* balloon_noise.c */

struct balloons {
	struct balloons_config config;
	struct map *sites;                /* host id -> struct balloon_site (owned) */
	struct loop_timer *changes_timer; /* owned; a wake of the change feed is being coalesced */
	bool is_reading_changes, is_stopped;
	int64_t seen_seq;        /* the writer thread's, while is_reading_changes */
	_Atomic bool is_woken;   /* a wake is on its way to the loop */
	pthread_mutex_t lock;    /* guards `views`; a leaf */
	struct map *views;       /* host id -> struct balloon_view (a reference each) */
	struct map *noises;      /* host id -> struct noise_site (owned) */
	struct map *noise_views; /* under lock: vm id -> struct balloon_noise_view (owned) */
	struct map *currents;    /* under lock: vm id -> int64_t (owned) */
};

/* One cycle of one host, while it is carried out. */
struct balloon_round {
	struct balloon_site *site;
	const struct balloon_sample *sample;
	struct balloon_policy policy;
	struct balloon_host host;
	struct balloon_host_plan plan;
	/* One each per guest that counts. */
	const struct balloon_member **members;
	struct balloon_live **guests;
	struct balloon_vm *vms;
	struct balloon_vm_plan *plans;
	size_t n;
	int64_t now_ms, wall_ms;
};

struct balloon_site *balloons_find(struct balloons *all, const char *host_id);
struct balloon_site *balloons_find_or_add(struct balloons *all, const char *host_id);
/* The guest, or NULL. */
struct balloon_live *balloons_find_guest(
        struct balloons *all, const char *host_id, const char *vm_id);
/* Whether its guests have to be looked at. */
bool balloon_site_has_work(const struct balloon_site *site);
/* Reads the roster again with the next sample, which is taken now unless one is in flight. */
void balloon_site_mark_stale(struct balloon_site *site);

/* balloon_sample.c: submits one look; balloon_site_saw follows. */
void balloon_sample_submit(struct balloon_site *site);
/* balloon.c: the look is back; `sample` borrowed, NULL: it failed. */
void balloon_site_saw(struct balloon_site *site, struct balloon_sample *sample);

/* balloon_gather.c: what the plan is asked. */
void balloon_round_gather(struct balloon_round *round);
void balloon_round_done(struct balloon_round *round);

/* balloon_apply.c */
void balloon_round_apply(struct balloon_round *round);
/* What is to be booked for a guest that may have `booked`, while `recorded` is: in steps, so that it is seldom written,
 * and never less than the truth. Pure. */
int64_t balloon_choose_booked(
        int64_t booked_bytes, int64_t recorded_bytes, int64_t size_bytes, bool is_exact);

/* balloon_record.c: one writer job; texts are copied. */
struct balloon_record *balloon_record_new(struct balloon_site *site);
void balloon_record_book(struct balloon_record *record, const char *vm_id, int64_t booked_bytes);
/* The mark's key is `prefix` (balloon_store.h) and the id. `value` NULL: removes it. */
void balloon_record_mark(
        struct balloon_record *record, const char *prefix, const char *id, const char *value);
/* `data` is taken over. */
void balloon_record_event(struct balloon_record *record, const char *kind, const char *event,
        const char *id, const char *name, struct json_writer *data);
bool balloon_record_is_empty(const struct balloon_record *record);
/* Takes it over; balloon_site_recorded follows. Not while site->is_recording. */
void balloon_record_submit(struct balloon_record *record);
/* Takes over one that has events alone; nothing follows. */
void balloon_record_submit_events(struct balloon_record *record);
void balloon_record_free(struct balloon_record *record);
/* balloon_apply.c: the writer job of the site is over. */
void balloon_site_recorded(struct balloon_site *site, const struct balloon_record *record, int rc);
/* What a record booked for this VM; 0: nothing. */
int64_t balloon_record_booked(const struct balloon_record *record, const char *vm_id);

/* balloon_events.c: what is news, and the states as shown. */
void balloon_round_note(struct balloon_round *round, struct balloon_record *record);

/* balloon_ladder.c; `record` NULL: nothing can be written now. */
void balloon_round_climb(struct balloon_round *round, struct balloon_record *record);
/* The job with the marks is over. */
void balloon_ladder_recorded(struct balloon_site *site, int rc);

/* balloon_ksm.c */
void balloon_round_ksm(struct balloon_round *round, struct balloon_record *record);
void balloon_ksm_recorded(struct balloon_site *site, int rc);

/* balloon_room.c */
int64_t balloon_room_wanted(const struct balloon_site *site, int64_t *ret_next_bytes);
/* What is known by now of those in line: how much they want, and who has a process and needs no room any more. */
void balloon_room_settle(struct balloon_site *site, const struct balloon_sample *sample);
void balloon_round_room(struct balloon_round *round);
void balloon_room_forget_all(struct balloon_site *site);

/* balloon_noise.c */
void balloon_noise_free_all(struct balloons *all);

/* balloon_noise_view.c: who keeps a guest from computing, as answered. */
struct balloon_noise_view {
	bool suffers, has_delay, has_used, has_cause;
	double delay_percent, used_cpus, fair_cpus, cause_used_cpus, cause_fair_cpus;
	char *cause_id, *cause; /* NULL: no single guest is the cause */
};
/* The texts are copied. `view` NULL: nothing is known any more. */
void balloon_noise_publish(
        struct balloons *all, const char *vm_id, const struct balloon_noise_view *view);
void balloon_noise_views_free(struct balloons *all);

/* balloon_view.c */
void balloon_round_publish(struct balloon_round *round);
void balloon_site_unpublish(struct balloon_site *site);
