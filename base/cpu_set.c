/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of CPUs as bits. */
#include "base/cpu_set.h"

void cpu_set_add(struct cpu_set *set, int cpu)
{
	if (cpu >= 0 && cpu < CPU_SET_MAX)
		set->words[cpu / 64] |= (uint64_t)1 << (cpu % 64);
}

bool cpu_set_has(const struct cpu_set *set, int cpu)
{
	return cpu >= 0 && cpu < CPU_SET_MAX && (set->words[cpu / 64] >> (cpu % 64) & 1);
}

int cpu_set_count(const struct cpu_set *set)
{
	int n = 0;
	for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
		n += __builtin_popcountll(set->words[i]);
	return n;
}

void cpu_set_merge(struct cpu_set *set, const struct cpu_set *other)
{
	for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
		set->words[i] |= other->words[i];
}

void cpu_set_subtract(struct cpu_set *set, const struct cpu_set *other)
{
	for (size_t i = 0; i < CPU_SET_MAX / 64; i++)
		set->words[i] &= ~other->words[i];
}

void cpu_set_format(const struct cpu_set *set, struct str *out)
{
	const char *comma = "";
	for (int first = 0; first < CPU_SET_MAX; first++) {
		int last = first;
		if (!cpu_set_has(set, first))
			continue;
		while (cpu_set_has(set, last + 1))
			last++;
		str_printf(out, last > first ? "%s%d-%d" : "%s%d", comma, first, last);
		comma = ",";
		first = last;
	}
}

/* Reads a number below CPU_SET_MAX; NULL: there is none. */
static const char *parse_cpu(const char *text, int *ret_cpu)
{
	int cpu = 0;
	const char *start = text;
	for (; *text >= '0' && *text <= '9'; text++) {
		cpu = cpu * 10 + (*text - '0');
		if (cpu >= CPU_SET_MAX)
			return NULL;
	}
	*ret_cpu = cpu;
	return text > start ? text : NULL;
}

bool cpu_set_parse(const char *text, struct cpu_set *ret_set)
{
	struct cpu_set set = {{0}};
	while (*text) {
		int first = 0, last = 0;
		if (!(text = parse_cpu(text, &first)))
			return false;
		last = first;
		if (*text == '-' && !(text = parse_cpu(text + 1, &last)))
			return false;
		for (int cpu = first; cpu <= last; cpu++)
			cpu_set_add(&set, cpu);
		if (last < first || (*text && *text != ',') || (*text == ',' && !text[1]))
			return false;
		text += *text == ',';
	}
	*ret_set = set;
	return true;
}
