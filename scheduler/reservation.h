/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one VM holds, or asks for, on one host, and the sums of many (docs/decisions/0012). All of
 * it is additive, so the sums of a host are kept by adding and taking away.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A VM without a process (NONE) holds nothing. */
enum reservation_state { RESERVATION_NONE, RESERVATION_STARTING, RESERVATION_RUNNING };

struct reservation {
	enum reservation_state state;
	int64_t size_bytes;
	int64_t min_bytes;      /* the guaranteed floor; 0: size */
	int64_t booked_bytes;   /* what the guest may have now; 0: size */
	int64_t overhead_bytes; /* admission_overhead_bytes() */
	int64_t vcpus;
	int64_t max_vcpus; /* that it may be given while it runs; 0: vcpus */
	int64_t reservation_percent;
	bool dedicated; /* its CPUs are taken out of the shared ones */
	bool hugepages; /* its size comes from the host's huge pages */
	bool inflexible; /* the balloon is off, has no driver or does not answer: the floor is what it
	                    has */
};

struct holding {
	int64_t vms;
	int64_t size_bytes; /* size + overhead; with hugepages the overhead alone, here and below */
	int64_t floor_bytes;  /* min + overhead; what it has + overhead if that cannot shrink */
	int64_t start_bytes;  /* the floor, but size + overhead while starting (mode balloon) */
	int64_t booked_bytes; /* booked + overhead */
	int64_t hugepage_bytes;
	int64_t shared_vcpus, dedicated_vcpus;
	int64_t reserved_percent; /* vCPUs x reservation_percent of the shared ones */
};

/* The most CPUs that it may come to have. */
int64_t reservation_most_vcpus(const struct reservation *r);
/* What it counts for; nothing in state NONE. */
struct holding reservation_holding(const struct reservation *r);
void holding_add(struct holding *sum, const struct holding *h);
void holding_subtract(struct holding *sum, const struct holding *h);
/* Each amount becomes the larger one. */
void holding_maximize(struct holding *largest, const struct holding *h);
