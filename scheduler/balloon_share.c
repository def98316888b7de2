/* SPDX-License-Identifier: Apache-2.0 */
/* Shares an amount out by weights with caps (water filling): exact and deterministic, O(n log n). */
#include <stdlib.h>

#include "scheduler/balloon_internal.h"

/* Those that are full first; equal ones in the order in which they were given. */
static int by_fullness(const void *a, const void *b)
{
	const struct balloon_claim *x = a, *y = b;
	if (x->fullness != y->fullness)
		return x->fullness < y->fullness ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int64_t take_all(struct balloon_claim *claims, size_t n, int64_t sum)
{
	for (size_t i = 0; i < n; i++)
		claims[i].part = claims[i].cap;
	return sum;
}

int64_t balloon_share_out(struct balloon_claim *claims, size_t n, int64_t amount)
{
	int64_t caps = 0, given = 0;
	double weights = 0;
	for (size_t i = 0; i < n; i++) {
		caps += claims[i].cap;
		weights += claims[i].weight;
		claims[i].part = 0;
		claims[i].fullness = (double)claims[i].cap / claims[i].weight;
	}
	if (amount <= 0)
		return 0;
	if (caps <= amount)
		return take_all(claims, n, caps);
	qsort(claims, n, sizeof(claims[0]), by_fullness);
	for (size_t i = 0; i < n; i++) {
		double fair = (double)(amount - given) * (claims[i].weight / weights);
		claims[i].part =
		        balloon_clamp((int64_t)fair, 0, int64_min(claims[i].cap, amount - given));
		given += claims[i].part;
		weights =
		        weights > claims[i].weight ? weights - claims[i].weight : claims[i].weight;
	}
	return given;
}
