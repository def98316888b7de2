/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noisy neighbours: from the counters that are read every few seconds anyway. Who takes part, with shares and limits, is
 * known from the roster. What is found is an event when it begins and when it ends. Core loop.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "compute/balloon_internal.h"
#include "compute/host.h"
#include "scheduler/noise.h"

/* A guest's counters at the last look. */
struct noise_guest {
	char id[UUID_TEXT_SIZE];
	struct noise_memory memory;
	int64_t cpu_time_ns, delay_ns, at_ms, round;
};

struct noise_site {
	struct map *guests; /* VM id -> struct noise_guest (owned) */
	int64_t round;
};

static void free_noise(struct noise_site *noise)
{
	size_t cursor = 0;
	void *guest;
	while (map_next(noise->guests, &cursor, NULL, &guest))
		free(guest);
	map_free(noise->guests);
	free(noise);
}

void balloon_noise_free_all(struct balloons *all)
{
	size_t cursor = 0;
	void *noise;
	while (map_next(all->noises, &cursor, NULL, &noise))
		free_noise(noise);
	map_free(all->noises);
}

static struct noise_site *find_or_add(struct balloons *all, const char *host_id)
{
	struct noise_site *noise = map_get(all->noises, host_id);
	if (noise)
		return noise;
	noise = xcalloc(1, sizeof(*noise));
	noise->guests = map_new();
	map_put(all->noises, host_id, noise);
	return noise;
}

static struct noise_guest *find_or_add_guest(struct noise_site *noise, const char *vm_id)
{
	struct noise_guest *guest = map_get(noise->guests, vm_id);
	if (guest)
		return guest;
	guest = xcalloc(1, sizeof(*guest));
	uuid_text_copy(guest->id, vm_id);
	map_put(noise->guests, guest->id, guest);
	return guest;
}

/* One cycle of one host. */
struct hearing {
	struct noise_vm *vms;
	struct noise_verdict *verdicts;
	const struct balloon_member **members;
	size_t n;
	int64_t now_ms;
};

static void hearing_done(struct hearing *hearing)
{
	free(hearing->vms);
	free(hearing->verdicts);
	free(hearing->members);
}

static double rate(int64_t now, int64_t before, int64_t passed_ms)
{
	return before >= 0 && now >= before && passed_ms > 0
	               ? (double)(now - before) / 1e6 / (double)passed_ms
	               : -1;
}

static void hear_one(struct hearing *hearing, struct noise_site *noise,
        const struct balloon_member *m, const struct domain_stats *s)
{
	struct noise_guest *guest = find_or_add_guest(noise, m->id);
	int64_t passed_ms = guest->at_ms > 0 ? hearing->now_ms - guest->at_ms : 0;
	size_t i = hearing->n++;
	hearing->members[i] = m;
	hearing->vms[i] = (struct noise_vm){
	        .run_cpus = rate(s->cpu_time_ns, guest->cpu_time_ns, passed_ms),
	        .delay_cpus = rate(s->vcpu_delay_ns, guest->delay_ns, passed_ms),
	        .vcpus = m->vcpus,
	        .shares = m->cpu_shares,
	        .limit_percent = m->cpu_limit_percent,
	        .memory = &guest->memory,
	};
	guest->cpu_time_ns = s->cpu_time_ns;
	guest->delay_ns = s->vcpu_delay_ns;
	guest->at_ms = hearing->now_ms;
	guest->round = noise->round;
}

static void drop_gone(struct balloons *all, struct noise_site *noise)
{
	size_t cursor = 0;
	const char *id;
	void *value;
	while (map_next(noise->guests, &cursor, &id, &value)) {
		struct noise_guest *guest = value;
		if (guest->round == noise->round)
			continue;
		balloon_noise_publish(all, id, NULL);
		map_remove(noise->guests, id);
		free(guest);
	}
}

static void put_cpus(struct json_writer *w, const char *key, double cpus)
{
	json_key(w, key);
	json_put_real(w, cpus);
}

static void note_noise(const struct hearing *hearing, size_t i, struct balloon_record *record)
{
	const struct noise_verdict *verdict = &hearing->verdicts[i];
	const struct noise_vm *victim = &hearing->vms[i];
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_bool(&w, "suffers", verdict->suffers);
	put_cpus(&w, "delay_percent", verdict->delay_percent);
	put_cpus(&w, "used_cpus", victim->run_cpus);
	put_cpus(&w, "fair_cpus", verdict->fair_cpus);
	if (verdict->cause >= 0) {
		const struct balloon_member *cause = hearing->members[verdict->cause];
		json_member_string(&w, "cause_id", cause->id);
		json_member_string(&w, "cause", cause->name);
		put_cpus(&w, "cause_used_cpus", hearing->vms[verdict->cause].run_cpus);
		put_cpus(&w, "cause_fair_cpus", hearing->verdicts[verdict->cause].fair_cpus);
	}
	json_object_end(&w);
	balloon_record_event(record, "vm", "noisy_neighbour", hearing->members[i]->id,
	        hearing->members[i]->name, &w);
}

static void publish(struct balloons *all, const struct hearing *hearing, size_t i)
{
	const struct noise_verdict *verdict = &hearing->verdicts[i];
	struct balloon_noise_view view = {
	        .suffers = verdict->suffers,
	        .has_delay = verdict->delay_percent >= 0,
	        .delay_percent = verdict->delay_percent,
	        .has_used = hearing->vms[i].run_cpus >= 0,
	        .used_cpus = hearing->vms[i].run_cpus,
	        .fair_cpus = verdict->fair_cpus,
	};
	if (verdict->cause >= 0) {
		const struct balloon_member *cause = hearing->members[verdict->cause];
		view.has_cause = true;
		view.cause_id = (char *)cause->id;
		view.cause = cause->name;
		view.cause_used_cpus = hearing->vms[verdict->cause].run_cpus;
		view.cause_fair_cpus = hearing->verdicts[verdict->cause].fair_cpus;
	}
	balloon_noise_publish(all, hearing->members[i]->id, &view);
}

static void note_all(struct balloon_site *site, const struct hearing *hearing)
{
	struct balloon_record *record = balloon_record_new(site);
	for (size_t i = 0; i < hearing->n; i++)
		if (hearing->verdicts[i].begins || hearing->verdicts[i].ends)
			note_noise(hearing, i, record);
	if (balloon_record_is_empty(record))
		balloon_record_free(record);
	else
		balloon_record_submit_events(record);
}

void balloons_hear_stats(
        struct balloons *all, const char *host_id, const struct domain_stats_list *list)
{
	struct balloon_site *site = balloons_find(all, host_id);
	const struct host_facts *facts = hosts_facts(all->config.services->hosts, host_id);
	if (all->is_stopped || !site || !site->roster || !facts || facts->threads <= 0)
		return;
	struct noise_site *noise = find_or_add(all, host_id);
	struct hearing hearing CLEANUP(hearing_done) = {
	        .vms = xcalloc(list->len + 1, sizeof(*hearing.vms)),
	        .verdicts = xcalloc(list->len + 1, sizeof(*hearing.verdicts)),
	        .members = xcalloc(list->len + 1, sizeof(struct balloon_member *)),
	        .now_ms = clock_now_ms(),
	};
	noise->round++;
	for (size_t i = 0; i < list->len; i++) {
		const struct balloon_member *m =
		        balloon_roster_find(site->roster, list->items[i].id);
		if (m)
			hear_one(&hearing, noise, m, &list->items[i]);
	}
	drop_gone(all, noise);
	noise_judge(hearing.vms, hearing.n, facts->threads, hearing.verdicts);
	note_all(site, &hearing);
	for (size_t i = 0; i < hearing.n; i++)
		publish(all, &hearing, i);
}
