/* SPDX-License-Identifier: Apache-2.0 */
/* The names and sentences of a balloon plan. */
#include <inttypes.h>
#include <stdio.h>

#include "scheduler/balloon_plan.h"

#define MIB ((int64_t)1 << 20)

const char *const balloon_state_names[] = {"relaxed", "normal", "short", "critical", NULL};
const char *const balloon_state_reason_names[] = {
        "free", "host", "demand", "overload", "pressure", NULL};
const char *const balloon_vm_state_names[] = {
        "active", "warming", "inactive", "uncooperative", "no_driver", "held", "off", NULL};
const char *const balloon_reason_names[] = {"keeps", "grows", "returns", "waits", "gives_vm",
        "gives_room", "gives_pool", "squeezed", "at_floor", "exceeds", "no_signal", "no_answer",
        "left_alone", NULL};
const char *const balloon_rung_names[] = {"none", "reclaim", "ksm", "throttle", "suspend", NULL};

#define COUNT(names) (sizeof(names) / sizeof((names)[0]) - 1)
_Static_assert(COUNT(balloon_state_names) == N_BALLOON_STATES, "one name each");
_Static_assert(COUNT(balloon_state_reason_names) == N_BALLOON_STATE_REASONS, "one name each");
_Static_assert(COUNT(balloon_vm_state_names) == N_BALLOON_VM_STATES, "one name each");
_Static_assert(COUNT(balloon_reason_names) == N_BALLOON_REASONS, "one name each");
_Static_assert(COUNT(balloon_rung_names) == N_BALLOON_RUNGS, "one name each");

/* What a sentence is made of: $n need, $g margin, $m moved, $x missing, $p the peer. */
static const char *const sentences[N_BALLOON_REASONS] = {
        [BALLOON_KEEPS] = "has what it needs: $n + $g margin",
        [BALLOON_GROWS] = "needs $n + $g margin, gets $m",
        [BALLOON_RETURNS] = "the host has plenty, $m are returned",
        [BALLOON_WAITS] = "needs $n + $g margin, waits for $x",
        [BALLOON_GIVES_VM] = "idle, gives $m to $p",
        [BALLOON_GIVES_ROOM] = "idle, gives $m to a VM that waits to start",
        [BALLOON_GIVES_POOL] = "idle, gives $m so that guests can grow at once",
        [BALLOON_SQUEEZED] = "the host is critical, $x less than it needs",
        [BALLOON_AT_FLOOR] = "has its floor",
        [BALLOON_EXCEEDS] = "took $m unasked, counts with what it has",
        [BALLOON_NO_SIGNAL] = "no fresh statistics, keeps what it has",
        [BALLOON_NO_ANSWER] = "does not follow its target, counts with what it has",
        [BALLOON_LEFT_ALONE] = "left alone",
};

static void put_mib(FILE *out, int64_t bytes)
{
	fprintf(out, "%" PRId64 " MiB", (bytes > 0 ? bytes + MIB / 2 : 0) / MIB);
}

static void put_word(FILE *out, char word, const struct balloon_vm_plan *plan, const char *peer)
{
	switch (word) {
	case 'n':
		put_mib(out, plan->need_bytes);
		break;
	case 'g':
		put_mib(out, plan->margin_bytes);
		break;
	case 'm':
		put_mib(out, plan->moved_bytes);
		break;
	case 'x':
		put_mib(out, plan->missing_bytes);
		break;
	default:
		fputs(peer ? peer : "another VM", out);
	}
}

void balloon_reason_text(
        const struct balloon_vm_plan *plan, const char *peer, char *ret, size_t size)
{
	if (size == 0)
		return;
	ret[0] = '\0';
	FILE *out = fmemopen(ret, size, "w");
	if (!out)
		return;
	for (const char *c = sentences[plan->reason]; *c; c++) {
		if (*c == '$')
			put_word(out, *++c, plan, peer);
		else
			fputc(*c, out);
	}
	fclose(out);
	ret[size - 1] = '\0';
}
