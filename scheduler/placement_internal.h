/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of placement share. For scheduler/ only. */
#pragma once

#include "scheduler/admission_internal.h"
#include "scheduler/host_loss.h"
#include "scheduler/placement.h"

/* What the rules say of one host. */
struct host_mark {
	uint32_t wants_met;   /* hard affinities that are satisfied there */
	uint32_t stamp;       /* the binding that marked it last */
	int32_t soft_penalty; /* broken soft rules, less soft affinities that are met */
	bool is_forbidden;    /* by a hard anti-affinity */
};

struct choice_key {
	double score;
	uint32_t index; /* in unsorted */
};

/* Kept between calls, for its memory alone. */
struct placement_scratch {
	VEC(struct host_mark) marks;  /* by slot of the host */
	VEC(struct host_loss) losses; /* by slot of the group; prepared when first needed */
	VEC(struct placement_choice) unsorted;
	VEC(struct choice_key) keys;
};

/* One request while it is judged. */
struct placing {
	const struct inventory *inv;
	const struct placement_request *request;
	struct placement_scratch *scratch;
	struct holding asked;
	int64_t most_vcpus;
	const struct token *own; /* the word of request->vm_id; NULL: none of its own is there */
	uint32_t stamp, n_wants, n_soft_wants;
};

/* One host while it is judged. */
struct judged {
	const struct host_entry *host;
	const struct host_mark *mark;
	const struct inventory_architecture *architecture; /* that was asked for; NULL: none was */
	struct host_limits limits;
	struct admission admission; /* from filter HOST_TOO_SMALL on */
};

/* ---- placement.c ---- */

/* To explain an answer: what it was judged with, without marks. */
struct placing placing_of(const struct placement *p);

/* ---- placement_rules.c ---- */

/* Writes what all rules say into the marks. */
void rules_mark(struct placing *p);

/* The rule that forbids the host, or that it does not satisfy. */
struct rule_reason {
	const struct placement_rule *rule; /* NULL: none */
	const struct inventory_vm *owner;  /* NULL: the request's own */
	const struct inventory_vm *other;  /* the VM that it is about; may be NULL */
};
struct rule_reason rules_explain(
        const struct placing *p, const struct host_entry *host, bool is_anti);

/* ---- placement_score.c ---- */

void placement_score(const struct placing *p, const struct judged *j, struct placement_choice *c);
