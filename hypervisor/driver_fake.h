/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypervisor in memory, behind the same table as libvirt, that does what a script says: delays,
 * hangs, errors, broken connections. A host lives by its name, fake:///NAME[?PARAMETERS], and
 * survives its connections; so do its domains, pools and scripts, until fake_reset.
 *
 * Parameters, as of the latest opening: delay_ms, jitter_ms (of every call), networks (1, 0: whether the network "default"
 * is active); and, taken when the host is first opened: domains (foreign ones made in advance, with stable ids), running (how many
 * of them run), cpus, memory_mib.
 *
 * As libvirtd does, a connection serves five calls at once and lets the others wait. All functions:
 * any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "hypervisor/driver.h"

/* Without it fake URIs are refused. */
void fake_enable(void);
bool fake_is_enabled(void);
/* Forgets all hosts. No connection may be open. */
void fake_reset(void);

/* What a matching call does, in this order: wait, hang, fail. All zero: the rule is removed. */
struct fake_behaviour {
	int64_t delay_ms;
	bool hang;           /* until the rule is removed or the connection breaks */
	int error_code;      /* ERR_... or 0 */
	const char *message; /* copied; NULL: a default */
	int count;           /* how many calls it takes; 0: all */
};
/* `call` is a member's name in struct driver, or "*", and "volume_upload_block" and "volume_download_block" are the
 * blocks of a stream; `object` is a domain's id or, for storage, libvirt's name of a pool, or NULL for any. */
void fake_script_set(const char *host, const char *call, const char *object,
        const struct fake_behaviour *behaviour);
/* Removes all rules of the host; what hangs on them goes on. */
void fake_script_clear(const char *host);

/* Every call hangs, open, close and ping as well, and events wait, until the release. */
void fake_host_hang(const char *host);
void fake_host_release(const char *host);
/* As if libvirtd were restarted: calls fail, `closed` is delivered, domains live on. */
void fake_host_break_connections(const char *host);

struct fake_host_stats {
	int connections, opening, most_opening; /* now, attempts now, most attempts at once */
	int opens;                              /* attempts begun */
	int most_in_flight; /* calls being served on one connection, pings included */
};
void fake_host_get_stats(const char *host, struct fake_host_stats *ret_stats);

/* What happens inside guests, or by another manager's hand. */
void fake_guest_shutdown(const char *host, const char *id);
void fake_guest_crash(const char *host, const char *id);
void fake_guest_set_agent(const char *host, const char *id, bool is_connected);
/* A guest without a mounted filesystem: freezing it succeeds and freezes nothing. */
void fake_guest_set_bare(const char *host, const char *id, bool is_bare);
/* A guest that ignores requests to shut down. */
void fake_guest_set_deaf(const char *host, const char *id, bool is_deaf);
void fake_domain_foreign_add(
        const char *host, const char *name, bool is_running, char ret_id[UUID_TEXT_SIZE]);
/* Someone undefines a stopped domain, starts or destroys one. */
void fake_domain_foreign_remove(const char *host, const char *id);
void fake_domain_foreign_start(const char *host, const char *id);
void fake_domain_foreign_destroy(const char *host, const char *id);
/* How a guest's balloon behaves. */
enum fake_balloon {
	FAKE_BALLOON_WORKS,
	FAKE_BALLOON_STUCK,     /* the driver reports, but gives and takes nothing */
	FAKE_BALLOON_NO_DRIVER, /* no statistics of the guest's own, and it has what it booted with */
};
/*
 * The memory of a guest. Its balloon moves towards the target whenever somebody looks, by as much as the time since
 * (clock_now_ms) allows; what the guest uses beyond its balloon it takes back at once with autodeflate, and else faults for.
 */
struct fake_guest_memory {
	int64_t used_bytes;        /* -1: half of what the balloon leaves */
	int64_t speed_bytes_per_s; /* of the balloon, both ways; 0: at once */
	enum fake_balloon balloon;
	bool autodeflate;
	bool is_silent; /* its statistics stay as they are, with their time */
	int64_t major_faults, swap_in_bytes;
};
void fake_guest_set_memory(
        const char *host, const char *id, const struct fake_guest_memory *memory);
/* What set_memory_live asked for last, and what the balloon leaves now; -1: no such guest. */
int64_t fake_guest_get_target(const char *host, const char *id);
int64_t fake_guest_get_current(const char *host, const char *id);
/* A QEMU that does not answer: calls on this domain hang, and of its counters only those come that need no QEMU. */
void fake_guest_set_hung(const char *host, const char *id, bool is_hung);
/* What the host needs beside its guests, and what its kernel says of pressure and KSM. */
void fake_host_set_other_memory(const char *host, int64_t bytes);
void fake_host_set_pressure(
        const char *host, const struct host_pressure *memory, const struct host_pressure *cpu);
void fake_host_set_ksm(const char *host, const struct ksm_state *state);
/* Pins as set_cpu_pins_live left them, "" where nothing was set; caller frees. vcpu -1: emulator, -2: I/O threads. */
char *fake_guest_get_pins(const char *host, const char *id, int vcpu);
/* Block jobs go on by so many percent whenever they are looked at (50 at first; 0: they stand still). */
void fake_jobs_set_step(const char *host, int percent);
/* The job on that disk ends without effect, as when the target is full. */
void fake_job_fail(const char *host, const char *id, const char *disk);
/* As left by backups of an earlier life. */
void fake_domain_set_checkpoints(const char *host, const char *id, int count);
int fake_domain_count_checkpoints(const char *host, const char *id);
/* Calls of this kind served so far (begun, not refused). */
int64_t fake_host_count_calls(const char *host, const char *call);
/* The network "default" is there and active on every host; others are added by this. */
void fake_network_set(const char *host, const char *network, bool is_active);

/*
 * Storage. Volumes outlive the definition of their pool. Hosts whose pools have the same server and source see the same
 * volumes; so do directories below /shared/. All others are local.
 */
void fake_pool_set_capacity(const char *host, const char *pool, int64_t capacity_bytes);
/* What is there without Berth's doing: a LUN, a file somebody copied there; and one that somebody deletes or changes. */
void fake_volume_foreign_add(const char *host, const char *pool, const char *volume,
        const char *format, int64_t capacity_bytes);
void fake_volume_foreign_remove(const char *host, const char *pool, const char *volume);
/* A secret's value; caller frees. NULL: the host has no such secret. */
char *fake_secret_get(const char *host, const char *secret_id);
