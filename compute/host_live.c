/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live side of hosts: one connection each, its transitions and facts on their way to the rows
 * and to those who want to know. Core loop only, but for references and hosts_get_stats.
 */
#include "compute/host_live.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/host_facts_copy.h"
#include "compute/host_store.h"
#include "compute/host_view.h"
#include "db/change_feed.h"
#include "hypervisor/host_directory.h"
#include "operation/operation.h"

#define PUBLISH_MS  1000
#define NETWORKS_MS 10000

/* ---- what the connection says ---- */

static void on_state(void *arg, enum host_state state, const char *reason)
{
	struct live_host *host = arg;
	if (state != host->state)
		host->since = clock_wall_ms();
	host->state = state;
	str_replace(&host->reason, reason);
	log_info("host %s is %s%s%s", host->name, host_state_name(state), reason[0] ? ": " : "",
	        reason);
	host_record_state(host);
	if (state == HOST_OK && host->hosts->config.engine)
		operation_engine_poke(host->hosts->config.engine, host->id);
}

static void on_up(void *arg, const struct host_facts *facts)
{
	struct live_host *host = arg;
	const struct hosts_callbacks *callbacks = &host->hosts->callbacks;
	host_facts_done(&host->facts);
	host->facts = host_facts_copy(facts);
	host->has_facts = true;
	host_record_facts(host);
	if (callbacks->up)
		callbacks->up(callbacks->arg, host->id);
}

static void on_domain(void *arg, const struct domain_event *event)
{
	struct live_host *host = arg;
	const struct hosts_callbacks *callbacks = &host->hosts->callbacks;
	if (callbacks->domain)
		callbacks->domain(callbacks->arg, host->id, event);
}

/* ---- hosts come, change and go ---- */

static void connect_host(struct live_host *host)
{
	struct hosts *h = host->hosts;
	struct host_connection_config config = h->times;
	config.loop = h->config.loop;
	config.pool = h->config.pool;
	config.name = host->name;
	config.uri = host->uri;
	config.callbacks = (struct host_connection_callbacks){
	        .state = on_state, .up = on_up, .domain = on_domain, .arg = host};
	host->connection = host_connection_new(&config);
	host_directory_put(h->config.directory, host->id, host->connection);
}

static void disconnect_host(struct live_host *host)
{
	host_directory_remove(host->hosts->config.directory, host->id);
	host_connection_free(TAKE(host->connection));
	host_facts_done(&host->facts);
	host->facts = (struct host_facts){0};
	host->has_facts = false;
}

static enum host_accelerator accelerator_from_name(const char *name)
{
	for (int i = 0; host_accelerator_names[i]; i++)
		if (str_equal(host_accelerator_names[i], name))
			return (enum host_accelerator)i;
	return ACCELERATOR_AUTO;
}

static void set_from_row(struct live_host *host, const struct host_row *row)
{
	str_replace(&host->name, row->name);
	str_replace(&host->uri, row->uri);
	host->is_local = str_equal(row->access, "local");
	host->accelerator = accelerator_from_name(row->accelerator);
}

/* As the row says: connecting since its creation, or since the start. */
static void set_connecting(struct live_host *host, int64_t since)
{
	host->state = HOST_CONNECTING;
	str_replace(&host->reason, "");
	host->since = since;
}

static void add_host(struct hosts *h, const struct host_row *row)
{
	struct live_host *host = xcalloc(1, sizeof(*host));
	host->hosts = h;
	snprintf(host->id, sizeof(host->id), "%s", row->id);
	set_from_row(host, row);
	set_connecting(host, row->state_since);
	map_put(h->map, host->id, host);
	connect_host(host);
}

static void change_host(struct live_host *host, const struct host_row *row)
{
	bool is_moved = !str_equal(host->uri, row->uri);
	set_from_row(host, row);
	if (!is_moved)
		return;
	disconnect_host(host);
	set_connecting(host, row->state_since);
	/* A transition of the old connection may have been recorded after the row was reset. */
	host_record_state(host);
	connect_host(host);
}

static void forget_stats(struct hosts *h, const char *id)
{
	LOCK_SCOPE(&h->lock);
	free(map_remove(h->published, id));
}

static void free_host(struct live_host *host)
{
	disconnect_host(host);
	loop_timer_free(host->record_again);
	free(host->name);
	free(host->uri);
	free(host->reason);
	free(host);
}

void hosts_apply(struct hosts *h, enum host_follow what, const struct host_row *row)
{
	struct live_host *host = map_get(h->map, row->id);
	if (what == HOST_REMOVED && host) {
		map_remove(h->map, row->id);
		forget_stats(h, row->id);
		free_host(host);
	} else if (what == HOST_CHANGED && host) {
		change_host(host, row);
	} else if (what != HOST_REMOVED && !host) {
		add_host(h, row);
	}
}

/* ---- published counters ---- */

static void publish_one(struct hosts *h, const struct live_host *host, int64_t now)
{
	struct host_live_stats stats = {.at = now};
	host_connection_get_stats(host->connection, &stats.connection);
	struct host_live_stats *slot = map_get(h->published, host->id);
	if (slot)
		*slot = stats;
	else
		map_put(h->published, host->id, xmemdup(&stats, sizeof(stats)));
}

static void publish(void *arg)
{
	struct hosts *h = arg;
	size_t cursor = 0;
	const char *id;
	void *host;
	int64_t now = clock_wall_ms();
	LOCK_SCOPE(&h->lock);
	while (map_next(h->map, &cursor, &id, &host))
		publish_one(h, host, now);
}

static void on_networks_timer(void *arg)
{
	hosts_ask_networks(arg);
}

bool hosts_get_stats(struct hosts *h, const char *host_id, struct host_live_stats *ret_stats)
{
	LOCK_SCOPE(&h->lock);
	const struct host_live_stats *stats = map_get(h->published, host_id);
	if (stats)
		*ret_stats = *stats;
	return stats != NULL;
}

/* ---- the whole ---- */

struct hosts *hosts_new(const struct hosts_config *config)
{
	struct hosts *h = xcalloc(1, sizeof(*h));
	h->config = *config;
	if (config->times)
		h->times = *config->times;
	h->config.times = NULL;
	h->refs = 1;
	h->map = map_new();
	h->published = map_new();
	pthread_mutex_init(&h->lock, NULL);
	h->publish_timer = loop_timer_start(config->loop, PUBLISH_MS, PUBLISH_MS, publish, h);
	h->networks_timer =
	        loop_timer_start(config->loop, NETWORKS_MS, NETWORKS_MS, on_networks_timer, h);
	return h;
}

struct hosts *hosts_ref(struct hosts *h)
{
	h->refs++;
	return h;
}

void hosts_unref(struct hosts *h)
{
	if (--h->refs > 0)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void hosts_set_callbacks(struct hosts *h, struct hosts_callbacks callbacks)
{
	h->callbacks = callbacks;
}

bool hosts_allow_plain_tcp(const struct hosts *h)
{
	return h && h->config.allow_plain_tcp;
}

static int add_connecting(struct db *db, const char *id, const char *name, struct err *e)
{
	struct change change = {.kind = "host",
	        .event = "state",
	        .object_id = id,
	        .name = name,
	        .data = "{\"state\":\"connecting\",\"reason\":\"\"}"};
	return change_add(db, &change, e);
}

struct load {
	struct hosts *hosts;
	struct db *db;
};

/* By way of the commit, as for a new host: the caller may be the writer thread. */
static void load_one(void *arg, const struct host_row *row)
{
	struct load *load = arg;
	hosts_follow(load->hosts, load->db, HOST_ADDED, row);
}

int hosts_load(struct hosts *h, struct db *db, struct err *e)
{
	struct load load = {.hosts = h, .db = db};
	int rc = host_store_set_all_connecting(db, clock_wall_ms(), add_connecting, e);
	return rc < 0 ? rc : host_store_each(db, load_one, &load, e);
}

static void free_all(struct map *map, void (*free_value)(void *value))
{
	size_t cursor = 0;
	const char *id;
	void *value;
	while (map_next(map, &cursor, &id, &value))
		free_value(value);
	map_free(map);
}

static void free_host_value(void *host)
{
	free_host(host);
}

void hosts_free(struct hosts *h)
{
	if (!h)
		return;
	h->is_closing = true;
	loop_timer_free(h->publish_timer);
	loop_timer_free(h->networks_timer);
	free_all(TAKE(h->map), free_host_value);
	pthread_mutex_lock(&h->lock);
	struct map *published = TAKE(h->published);
	pthread_mutex_unlock(&h->lock);
	free_all(published, free);
	hosts_unref(h);
}

/* ---- what others ask ---- */

static const struct live_host *find(const struct hosts *h, const char *host_id)
{
	return map_get(h->map, host_id);
}

const struct host_facts *hosts_facts(const struct hosts *h, const char *host_id)
{
	const struct live_host *host = find(h, host_id);
	return host && host->has_facts ? &host->facts : NULL;
}

const char *hosts_domain_type(const struct hosts *h, const char *host_id, const char *architecture)
{
	const struct live_host *host = find(h, host_id);
	if (!host || !host->has_facts)
		return NULL;
	return host_choose_domain_type(&host->facts, host->accelerator, architecture);
}

enum host_state hosts_state(const struct hosts *h, const char *host_id)
{
	const struct live_host *host = find(h, host_id);
	return host ? host->state : HOST_DOWN;
}

bool hosts_is_local(const struct hosts *h, const char *host_id)
{
	const struct live_host *host = find(h, host_id);
	return host && host->is_local;
}
