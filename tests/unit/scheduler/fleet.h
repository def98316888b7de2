/* SPDX-License-Identifier: Apache-2.0 */
/* Small builders of inventories, and random ones from a seed. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "scheduler/admission.h"

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

/* xorshift64*: the same numbers everywhere. */
static uint64_t random_state = 1;
__attribute__((unused)) static int64_t random_below(int64_t n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (int64_t)((random_state * 0x2545F4914F6CDD1Du >> 33) % (uint64_t)n);
}
__attribute__((unused)) static void random_seed(uint64_t seed)
{
	random_state = seed * 0x9E3779B97F4A7C15u + 1;
}

/* Reduced counts unless BERTH_LONG is set. */
__attribute__((unused)) static int test_rounds(int reduced, int full)
{
	return getenv("BERTH_LONG") ? full : reduced;
}

static inline struct inventory_group a_group(const char *id, enum overcommit_mode mode)
{
	return (struct inventory_group){
	        .id = id, .name = id, .mode = mode, .cpu_ratio = 4.0, .memory_ratio = 1.0};
}

static inline struct inventory_host a_host(
        const char *id, const char *group, int64_t threads, int64_t memory)
{
	static const struct inventory_architecture architectures[] = {
	        {"x86_64", PLACEMENT_KVM, true, true, {0}}};
	return (struct inventory_host){.id = id,
	        .name = id,
	        .group_id = group,
	        .cpu_threads = threads,
	        .memory_bytes = memory,
	        .cpu_busy_percent = -1,
	        .architectures = architectures,
	        .n_architectures = 1};
}

static inline struct reservation a_size(
        enum reservation_state state, int64_t vcpus, int64_t size, int64_t min)
{
	return (struct reservation){
	        .state = state, .vcpus = vcpus, .size_bytes = size, .min_bytes = min};
}

static inline struct inventory_vm a_vm(const char *id, const char *host, struct reservation r)
{
	return (struct inventory_vm){.id = id, .name = id, .host_id = host, .reservation = r};
}
