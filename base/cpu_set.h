/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of a host's CPUs, and the text that libvirt and the kernel write them as. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define CPU_SET_MAX 1024 /* CPU numbers are below */

struct cpu_set {
	uint64_t words[CPU_SET_MAX / 64];
};
void cpu_set_add(struct cpu_set *set, int cpu); /* out of range: ignored */
bool cpu_set_has(const struct cpu_set *set, int cpu);
int cpu_set_count(const struct cpu_set *set);
void cpu_set_merge(struct cpu_set *set, const struct cpu_set *other);
void cpu_set_subtract(struct cpu_set *set, const struct cpu_set *other);
/* As "0-3,8". */
void cpu_set_format(const struct cpu_set *set, struct str *out);
/* Reads that form ("" is empty); false on anything odd. */
bool cpu_set_parse(const char *text, struct cpu_set *ret_set);
