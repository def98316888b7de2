/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's hosts, scripts and events. Lock order: registry, host, stores or loop's queue. A waiting
 * call waits on its host's condition, which gives the lock away.
 */
#include "hypervisor/driver_fake_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define CALLS_AT_ONCE 5 /* libvirtd's max_client_requests */

static atomic_bool is_enabled;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *registry; /* name -> struct fake_host, under registry_lock */

void fake_enable(void)
{
	atomic_store(&is_enabled, true);
}

bool fake_is_enabled(void)
{
	return atomic_load(&is_enabled);
}

static struct fake_host *make_host(const char *name)
{
	struct fake_host *h = xcalloc(1, sizeof(*h));
	h->name = xstrdup(name);
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->changed, &attr);
	pthread_condattr_destroy(&attr);
	h->domains = map_new();
	h->names = map_new();
	h->pools = map_new();
	h->networks = map_new();
	h->secrets = map_new();
	h->calls = map_new();
	h->memories = map_new();
	h->job_step_percent = 50;
	fake_host_resources_init(h);
	h->random = (uint64_t)clock_now_ns() | 1;
	map_put(h->networks, "default", (void *)"active");
	return h;
}

struct fake_host *fake_host_get(const char *name)
{
	LOCK_SCOPE(&registry_lock);
	if (!registry)
		registry = map_new();
	struct fake_host *h = map_get(registry, name);
	if (!h) {
		h = make_host(name);
		map_put(registry, name, h);
	}
	return h;
}

static void free_values(struct map *m, void (*free_value)(void *value))
{
	size_t cursor = 0;
	void *value;
	while (map_next(m, &cursor, NULL, &value))
		free_value(value);
	map_free(m);
}

static void free_domain(void *d)
{
	fake_domain_free(d);
}

static void free_pool(void *pool)
{
	fake_pool_free(pool);
}

void fake_connection_unref(struct driver_connection *c)
{
	if (--c->refs == 0)
		free(c);
}

/* The oldest event held back, or NULL. */
static struct fake_event *take_held(struct fake_host *h)
{
	struct fake_event *event = h->held;
	if (event)
		h->held = event->next;
	return event;
}

static void free_host(void *value)
{
	struct fake_host *h = value;
	free_values(h->domains, free_domain);
	map_free(h->names);
	free_values(h->pools, free_pool);
	map_free(h->networks);
	free_values(h->secrets, free);
	free_values(h->calls, free);
	free_values(h->memories, free);
	for (size_t i = 0; i < h->rules.len; i++)
		free((char *)h->rules.items[i].behaviour.message);
	VEC_DONE(&h->rules);
	for (struct fake_event *event; (event = take_held(h));) {
		fake_connection_unref(event->connection);
		free(event);
	}
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->changed);
	free(h->name);
	free(h);
}

void fake_reset(void)
{
	LOCK_SCOPE(&registry_lock);
	if (registry)
		free_values(TAKE(registry), free_host);
	fake_stores_reset();
}

/* Events. */

static void deliver(void *arg)
{
	struct fake_event *event = arg;
	struct driver_connection *c = event->connection;
	struct fake_host *h = c->host;
	pthread_mutex_lock(&h->lock);
	bool is_wanted = !c->is_closed;
	pthread_mutex_unlock(&h->lock);
	if (is_wanted && event->is_closed_event)
		c->events.closed(c->events.arg, "connection reset");
	else if (is_wanted)
		c->events.domain(c->events.arg, &event->event);
	free(event);
	pthread_mutex_lock(&h->lock);
	fake_connection_unref(c);
	pthread_mutex_unlock(&h->lock);
}

static void hold(struct fake_host *h, struct fake_event *event)
{
	struct fake_event **end = &h->held;
	while (*end)
		end = &(*end)->next;
	*end = event;
}

static void emit_to(struct driver_connection *c, const struct domain_event *domain_event)
{
	if (!c->loop)
		return;
	struct fake_event *event = xcalloc(1, sizeof(*event));
	event->connection = c;
	event->is_closed_event = !domain_event;
	if (domain_event)
		event->event = *domain_event;
	c->refs++;
	if (c->host->is_hung && domain_event)
		hold(c->host, event);
	else
		loop_post(c->loop, deliver, event);
}

void fake_emit(struct fake_host *h, const struct domain_event *event)
{
	for (struct driver_connection *c = h->connections; c; c = c->next)
		if (!c->is_broken)
			emit_to(c, event);
}

void fake_host_break_connections(const char *host)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	for (struct driver_connection *c = h->connections; c; c = c->next) {
		if (c->is_broken)
			continue;
		c->is_broken = true;
		emit_to(c, NULL);
	}
	pthread_cond_broadcast(&h->changed);
}

void fake_host_hang(const char *host)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->is_hung = true;
}

void fake_host_release(const char *host)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->is_hung = false;
	for (struct fake_event *event; (event = take_held(h));)
		loop_post(event->connection->loop, deliver, event);
	pthread_cond_broadcast(&h->changed);
}

/* Scripts. */

static void remove_rule(struct fake_host *h, size_t i)
{
	free((char *)h->rules.items[i].behaviour.message);
	VEC_REMOVE(&h->rules, i);
}

static bool is_empty(const struct fake_behaviour *b)
{
	return b->delay_ms == 0 && !b->hang && b->error_code == 0;
}

void fake_script_set(const char *host, const char *call, const char *object,
        const struct fake_behaviour *behaviour)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const char *id = object ? object : "";
	for (size_t i = h->rules.len; i-- > 0;)
		if (strcmp(h->rules.items[i].call, call) == 0 &&
		        strcmp(h->rules.items[i].object, id) == 0)
			remove_rule(h, i);
	if (!is_empty(behaviour)) {
		struct fake_rule rule = {.number = ++h->last_rule, .behaviour = *behaviour};
		rule.behaviour.message = xstrdup(behaviour->message);
		snprintf(rule.call, sizeof(rule.call), "%s", call);
		snprintf(rule.object, sizeof(rule.object), "%s", id);
		VEC_PUSH(&h->rules, rule);
	}
	pthread_cond_broadcast(&h->changed);
}

void fake_script_clear(const char *host)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	while (h->rules.len > 0)
		remove_rule(h, h->rules.len - 1);
	pthread_cond_broadcast(&h->changed);
}

static bool rule_matches(const struct fake_rule *rule, const char *call, const char *id)
{
	if (rule->behaviour.count > 0 && rule->taken >= rule->behaviour.count)
		return false;
	if (strcmp(rule->call, "*") != 0 && strcmp(rule->call, call) != 0)
		return false;
	return rule->object[0] == '\0' || (id && strcmp(rule->object, id) == 0);
}

/* The newest rule that matches takes the call. */
static struct fake_rule *take_rule(struct fake_host *h, const char *call, const char *id)
{
	for (size_t i = h->rules.len; i-- > 0;) {
		struct fake_rule *rule = &h->rules.items[i];
		if (!rule_matches(rule, call, id))
			continue;
		rule->taken++;
		return rule;
	}
	return NULL;
}

static bool has_rule(const struct fake_host *h, int64_t number)
{
	for (size_t i = 0; i < h->rules.len; i++)
		if (h->rules.items[i].number == number)
			return true;
	return false;
}

/* Waits, and calls being served. */

static bool is_cut(const struct driver_connection *c)
{
	return c && c->is_broken;
}

static void wait_ms(struct fake_host *h, const struct driver_connection *c, int64_t delay_ms)
{
	int64_t until_ns = clock_now_ns() + delay_ms * 1000000;
	struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
	int rc = 0;
	while (delay_ms > 0 && rc != ETIMEDOUT && !is_cut(c))
		rc = pthread_cond_timedwait(&h->changed, &h->lock, &until);
}

static int64_t usual_delay_ms(struct fake_host *h)
{
	/* xorshift64 (Marsaglia): only has to look irregular */
	h->random ^= h->random << 13;
	h->random ^= h->random >> 7;
	h->random ^= h->random << 17;
	return h->delay_ms + (int64_t)(h->random % (uint64_t)(h->jitter_ms + 1));
}

static void count_call(struct fake_host *h, const char *call)
{
	int64_t *count = map_get(h->calls, call);
	if (!count) {
		count = xcalloc(1, sizeof(*count));
		map_put(h->calls, call, count);
	}
	(*count)++;
}

/* What libvirt answers without its QEMU, or by killing it. */
static bool needs_qemu(const char *call)
{
	static const char *const others[] = {"define", "undefine", "get_domain", "destroy"};
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (strcmp(others[i], call) == 0)
			return false;
	return true;
}

static bool waits_for_qemu(const struct fake_host *h, const char *call, const char *id)
{
	const struct fake_domain *d = id ? map_get(h->domains, id) : NULL;
	return d && d->is_hung && needs_qemu(call);
}

/* Locked; c is NULL for an attempt to open. */
static int follow_script(struct fake_host *h, const struct driver_connection *c, const char *call,
        const char *id, struct err *e)
{
	struct fake_rule rule = {0};
	const struct fake_rule *taken = take_rule(h, call, id);
	if (taken)
		rule = *taken;
	CLEANUP(cleanup_free) char *message = xstrdup(rule.behaviour.message);
	count_call(h, call);
	wait_ms(h, c, usual_delay_ms(h) + rule.behaviour.delay_ms);
	while (!is_cut(c) && (h->is_hung || waits_for_qemu(h, call, id) ||
	                             (rule.behaviour.hang && has_rule(h, rule.number))))
		pthread_cond_wait(&h->changed, &h->lock);
	if (is_cut(c))
		return err_set(e, ERR_HOST_DOWN, "the connection to %s broke", h->name);
	if (rule.behaviour.error_code != 0)
		return err_set(
		        e, rule.behaviour.error_code, "%s", message ? message : "scripted failure");
	return 0;
}

static void end_call(struct driver_connection *c)
{
	c->in_flight--;
	pthread_cond_broadcast(&c->host->changed);
	pthread_mutex_unlock(&c->host->lock);
}

int fake_enter(struct driver_connection *c, const char *call, const char *id, struct err *e)
{
	struct fake_host *h = c->host;
	pthread_mutex_lock(&h->lock);
	while (c->in_flight >= CALLS_AT_ONCE && !c->is_broken)
		pthread_cond_wait(&h->changed, &h->lock);
	c->in_flight++;
	if (c->in_flight > h->stats.most_in_flight)
		h->stats.most_in_flight = c->in_flight;
	int rc = follow_script(h, c, call, id, e);
	if (rc != 0)
		end_call(c);
	return rc;
}

void fake_leave(struct driver_connection *c)
{
	end_call(c);
}

/* Locked. */
static void set_network(struct fake_host *h, const char *network, bool is_active)
{
	map_put(h->networks, network, (void *)(is_active ? "active" : "inactive"));
}

static int take_parameter(struct fake_host *h, const char *key, long long value, long long first[4])
{
	static const char *const once[] = {"domains", "running", "cpus", "memory_mib"};
	for (size_t i = 0; i < ARRAY_LEN(once); i++) {
		if (strcmp(key, once[i]) != 0)
			continue;
		first[i] = value;
		return 0;
	}
	if (strcmp(key, "delay_ms") == 0)
		h->delay_ms = value;
	else if (strcmp(key, "jitter_ms") == 0)
		h->jitter_ms = value;
	else if (strcmp(key, "networks") == 0)
		set_network(h, "default", value > 0);
	else
		return -1;
	return 0;
}

/* Locked. */
static int take_parameters(struct fake_host *h, const char *uri, struct err *e)
{
	long long first[4] = {0, 0, 16, 65536};
	const char *query = strchr(uri, '?');
	CLEANUP(cleanup_free) char *text = xstrdup(query ? query + 1 : "");
	char *rest = NULL;
	for (char *it = strtok_r(text, "&", &rest); it; it = strtok_r(NULL, "&", &rest)) {
		char *equals = strchr(it, '=');
		long long value = 0;
		if (equals)
			*equals = '\0';
		if (!equals || !str_to_int64(equals + 1, &value) || value < 0 || value > 10000000 ||
		        take_parameter(h, it, value, first) != 0)
			return err_set(e, ERR_INVALID, "bad parameter '%s' in %s", it, uri);
	}
	if (h->is_populated)
		return 0;
	h->is_populated = true;
	h->cpus = (int)first[2];
	h->memory_bytes = first[3] * 1024 * 1024;
	fake_domains_populate(h, (int)first[0], (int)first[1]);
	return 0;
}

int fake_enter_open(struct fake_host *h, const char *uri, struct err *e)
{
	pthread_mutex_lock(&h->lock);
	h->stats.opens++;
	h->stats.opening++;
	if (h->stats.opening > h->stats.most_opening)
		h->stats.most_opening = h->stats.opening;
	int rc = take_parameters(h, uri, e);
	if (rc == 0)
		rc = follow_script(h, NULL, "open", NULL, e);
	h->stats.opening--;
	if (rc != 0)
		pthread_mutex_unlock(&h->lock);
	return rc;
}

void fake_host_get_stats(const char *host, struct fake_host_stats *ret_stats)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	*ret_stats = h->stats;
}

int64_t fake_host_count_calls(const char *host, const char *call)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const int64_t *count = map_get(h->calls, call);
	return count ? *count : 0;
}

void fake_network_set(const char *host, const char *network, bool is_active)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	set_network(h, network, is_active);
}
