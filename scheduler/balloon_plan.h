/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How memory moves between the guests of one host: what each guest's balloon is told, and why. Pure: no clock, no
 * effects, the same input gives the same answer; any thread. docs/decisions/0013-memory-moves.md says what is intended.
 *
 * Called once per policy.period_ms with what was just seen. What it remembers between cycles lies in two plain structs,
 * which the caller keeps per host and per VM and hands over zeroed for a host or VM that it sees for the first time
 * (or after a restart: then the plan begins with what the guests really have).
 *
 *	what was seen -> demand of each guest -> state of the host -> who grows, who is asked to give -> targets
 *	(balloon_demand.c)  (balloon_demand.c)   (balloon_state.c)    (balloon_share.c)                (balloon_plan.c)
 *	                                            '-> critical for long: the ladder (balloon_ladder.c)
 *
 * Promises: a target is never below `min_bytes` and never above `size_bytes`; what is given was first seen to be free:
 * the sum of max(current, target) never grows beyond total - reserve (where guests took more unasked, it never grows at
 * all). Only a `min_bytes` above what the guest has is given at once, room or not: admission has promised it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BALLOON_UNKNOWN ((int64_t)-1)

/* ---- what the owner of the group may tune ---- */

struct balloon_policy {
	bool enabled;           /* false: every guest is `off` and left alone */
	int64_t period_ms;      /* how often the plan is made */
	int64_t margin_percent; /* room above what a guest uses, in percent of that */
	int64_t margin_bytes;   /* and at least this much */
	int64_t step_percent; /* the most a guest is asked for in one cycle while there is no hurry, of its size */
	int64_t idle_tax_percent; /* 0..95: how much more idle memory weighs when it is decided who gives */
	int64_t pool_percent; /* kept free for guests that grow suddenly, of what guests may use */
};

/* What a group has that says nothing. */
void balloon_policy_default(struct balloon_policy *policy);

/* ---- what was seen ---- */

struct balloon_host {
	int64_t total_bytes;
	int64_t reserve_bytes;     /* the group's reserve + the overheads of all VMs listed */
	int64_t available_bytes;   /* MemAvailable of the host, BALLOON_UNKNOWN */
	double psi_some, psi_full; /* memory pressure avg10 in percent; negative: unknown */
	int64_t swap_bytes;        /* swapped in and out since the last cycle, BALLOON_UNKNOWN */
	/*
	 * Room (size + overhead) that VMs without a process wait for: all of them, and the one that is next (0: the same).
	 * They are not in the list yet. Once one is started it is listed with `starting` and no longer wanted, at the same
	 * time: until then the room that was reported as ready is kept for it.
	 */
	int64_t wanted_bytes, wanted_next_bytes;
};

struct balloon_vm {
	const char *id;     /* only for the caller; not looked at */
	int64_t size_bytes; /* what the guest was promised at boot */
	int64_t min_bytes;  /* the guaranteed floor; 0: none */
	int64_t shares;     /* weight when memory is short; > 0 */
	bool ballooning;    /* auto; false: off */
	bool held;          /* migrating, being saved or snapshotted: left alone */
	bool starting;      /* has a process but boots still: counts with its size */
	bool best_effort;   /* no CPU reservation: may be throttled by the ladder */
	bool may_suspend;   /* its owner allowed on_critical: suspend */
	double cpu_percent; /* of one CPU; negative: unknown */
	int64_t rss_bytes; /* of its process, BALLOON_UNKNOWN; unknown too for guests on huge pages */
	int64_t current_bytes; /* what the balloon leaves the guest now; the following too may be BALLOON_UNKNOWN */
	int64_t usable_bytes, available_bytes, unused_bytes; /* guest statistics */
	int64_t major_faults, swap_in_bytes;                 /* cumulative since boot */
	int64_t stats_age_ms;                                /* how old the statistics are */
	struct balloon_vm_memory
	        *memory; /* kept by the caller between cycles, never NULL; changed by the plan */
};

/* ---- what is remembered; only the plan looks inside, except where said ---- */

enum balloon_vm_flags {
	BALLOON_STATS_SEEN = 1 << 0, /* it has sent statistics since it is known */
	BALLOON_MOVED = 1 << 1,      /* its balloon was seen to move */
	BALLOON_REACHED = 1 << 2,    /* it has reached its target since that was set */
	BALLOON_GAVE_UP = 1 << 3,    /* uncooperative: not asked before retry_ms */
	BALLOON_THROTTLED = 1 << 4,  /* by the ladder */
	BALLOON_SUSPENDING = 1 << 5, /* the same */
	BALLOON_SILENT = 1 << 6,     /* inactive: no progress for 5 s */
	BALLOON_TELL = 1 << 7,       /* what it has is its new target, and it has to be told so */
};

struct balloon_vm_memory {
	int64_t first_ms; /* 0: never seen before */
	int64_t target_bytes; /* what it was told last; 0: nothing. The caller sets 0 when telling failed: it is told again */
	int64_t target_ms;
	int64_t followed_bytes, followed_ms; /* a higher target that it may follow until then */
	int64_t current_bytes;               /* last known */
	int64_t progress_bytes, progress_ms; /* where and when it last moved towards its target */
	int64_t retry_ms, backoff_ms;
	int64_t stats_ms;                /* when the statistics were taken that are remembered */
	int64_t used_bytes;              /* at stats_ms */
	int64_t peak_bytes;              /* used, decaying slowly */
	int64_t growth_bytes, growth_ms; /* per second, decaying; when it was as much as that */
	int64_t pressed_bytes; /* what it has to have beside what it uses, learned from its faults; decaying */
	int64_t major_faults, swap_in_bytes;
	int64_t exceeded_cycles; /* above its target unasked, in a row */
	int64_t exceeded_ms;     /* when it was so last; 0: never */
	int asked_for;           /* enum balloon_reason of what it was asked to give last */
	unsigned flags;          /* enum balloon_vm_flags */
};

enum balloon_state {
	BALLOON_RELAXED,
	BALLOON_NORMAL,
	BALLOON_SHORT,
	BALLOON_CRITICAL,
	N_BALLOON_STATES
};

/* Why the host is in its state. */
enum balloon_state_reason {
	BALLOON_BY_FREE,     /* by what is free beyond the reserve */
	BALLOON_BY_HOST,     /* by what the host has available, if every guest used what it has */
	BALLOON_BY_DEMAND,   /* guests need more than is free */
	BALLOON_BY_OVERLOAD, /* guests need more than the host has, for some time */
	BALLOON_BY_PRESSURE, /* by the pressure that the host's kernel reports, or by swapping */
	N_BALLOON_STATE_REASONS,
};

/* The ladder: rungs are climbed one by one while the host stays critical, and left in reverse order. */
enum balloon_rung {
	BALLOON_RUNG_NONE,
	BALLOON_RUNG_RECLAIM,  /* idle guests give all at once */
	BALLOON_RUNG_KSM,      /* speed KSM up */
	BALLOON_RUNG_THROTTLE, /* throttle the CPU of the VMs whose plan says `throttle` */
	BALLOON_RUNG_SUSPEND,  /* suspend to disk the VM whose plan says `suspend` */
	N_BALLOON_RUNGS,
};

struct balloon_host_memory {
	int64_t since_ms;    /* of the state; 0: never planned */
	int64_t better_ms;   /* since when a better state would be right; 0: it would not */
	int64_t overload_ms; /* since when more is needed than there is; 0: it is not */
	int64_t room_bytes;  /* reported as free for starts */
	int64_t rung_ms, relief_free_bytes;
	int64_t exceeded_cycles; /* cycles in which some guest had more than its target unasked, ever */
	enum balloon_state state;
	enum balloon_state_reason reason;
	enum balloon_rung rung;
};

/* ---- the plan ---- */

enum balloon_vm_state {
	BALLOON_VM_ACTIVE,
	BALLOON_VM_WARMING,       /* boots, or is not known for long enough */
	BALLOON_VM_INACTIVE,      /* no progress for 5 s, or no fresh statistics */
	BALLOON_VM_UNCOOPERATIVE, /* no progress for 20 s */
	BALLOON_VM_NO_DRIVER,     /* no statistics and no movement for 20 s */
	BALLOON_VM_HELD,
	BALLOON_VM_OFF,
	N_BALLOON_VM_STATES,
};

enum balloon_reason {
	BALLOON_KEEPS,      /* has what it needs */
	BALLOON_GROWS,      /* needs need_bytes + margin_bytes; moved_bytes more now */
	BALLOON_RETURNS,    /* the host has plenty: gets moved_bytes back */
	BALLOON_WAITS,      /* missing_bytes are not free yet */
	BALLOON_GIVES_VM,   /* idle, gives moved_bytes to the VM peer */
	BALLOON_GIVES_ROOM, /* idle, gives moved_bytes to a VM that waits to start */
	BALLOON_GIVES_POOL, /* idle, gives moved_bytes so that guests can grow at once */
	BALLOON_SQUEEZED,   /* critical: has less than it needs, by missing_bytes */
	BALLOON_AT_FLOOR,   /* has its floor and is asked for no more */
	BALLOON_EXCEEDS,    /* took moved_bytes unasked; it counts with what it has */
	BALLOON_NO_SIGNAL,  /* no fresh statistics: keeps what it has */
	BALLOON_NO_ANSWER,  /* does not move towards its target: counts with what it has */
	BALLOON_LEFT_ALONE, /* held, off or starting */
	N_BALLOON_REASONS,
};

struct balloon_vm_plan {
	int64_t target_bytes; /* between min and size; for a VM that is left alone what it has */
	bool tell;            /* the balloon has to be told now */
	bool throttle;        /* by the ladder, as long as it is true */
	bool suspend;         /* by the ladder: suspend it to disk now; repeated until it is gone */
	enum balloon_vm_state state;
	enum balloon_reason reason;
	int64_t demand_bytes; /* need + margin within min and size; what it has when there is no signal */
	int64_t need_bytes, margin_bytes; /* BALLOON_UNKNOWN without a signal */
	int64_t booked_bytes;             /* max(current, target): what it has to be counted with */
	int64_t moved_bytes, missing_bytes; /* for the reason */
	ptrdiff_t peer; /* index of the VM that needs most, for BALLOON_GIVES_VM; else -1 */
};

struct balloon_host_plan {
	enum balloon_state state;
	enum balloon_state_reason reason;
	int64_t since_ms;
	int64_t usable_bytes; /* total - reserve */
	int64_t booked_bytes; /* sum of max(current, target) after this plan */
	int64_t free_bytes; /* usable - booked before this plan, less if the host itself has less; may be negative */
	int64_t missing_bytes;        /* what guests need beyond what they have and what is free */
	int64_t freeable_bytes;       /* guests could give above their demand */
	int64_t freeable_floor_bytes; /* guests could give above their floors */
	int64_t room_bytes;           /* seen to be free and kept for starts, up to wanted_bytes */
	bool room_ready;              /* the next start fits into it */
	enum balloon_rung rung;       /* of the ladder; this one and those below it are wanted */
	bool ksm_boost;
	int64_t exceeding;       /* guests above their targets unasked in this cycle */
	int64_t exceeded_cycles; /* cycles with such guests since the host is known */
};

/* Plans one cycle: plans[i] answers vms[i]. now_ms is any clock that only goes forward, and > 0. */
void balloon_plan(const struct balloon_policy *policy, const struct balloon_host *host,
        struct balloon_host_memory *memory, const struct balloon_vm *vms, size_t n, int64_t now_ms,
        struct balloon_host_plan *ret_host, struct balloon_vm_plan *plans);

/* ---- names for answers and events ---- */

extern const char *const balloon_state_names[]; /* relaxed normal short critical, NULL */
extern const char
        *const balloon_state_reason_names[];       /* free host demand overload pressure, NULL */
extern const char *const balloon_vm_state_names[]; /* active ... off, NULL */
extern const char *const balloon_reason_names[];   /* keeps ... left_alone, NULL */
extern const char *const balloon_rung_names[];     /* none reclaim ksm throttle suspend, NULL */

/* One sentence with the numbers, such as "needs 300 MiB + 48 MiB margin"; `peer` names the VM plan->peer or is NULL. */
void balloon_reason_text(
        const struct balloon_vm_plan *plan, const char *peer, char *ret, size_t size);
