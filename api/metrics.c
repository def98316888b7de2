/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: one block of atomics per route. A scrape may see a request half counted; Prometheus
 * allows that. */
#include "api/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Upper bounds of the duration histogram; beyond the last is +Inf. */
static const int64_t bounds_ns[] = {
        500000, 1000000, 2500000, 5000000, 10000000, 50000000, 250000000, 1000000000, 10000000000};
static const char *const bound_names[] = {
        "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.05", "0.25", "1", "10"};
#define BUCKETS (ARRAY_LEN(bounds_ns) + 1)

struct route_metrics {
	_Atomic int64_t by_class[6]; /* 1xx..5xx at their first digit */
	_Atomic int64_t buckets[BUCKETS];
	_Atomic int64_t sum_ns;
	_Atomic int64_t in_flight;
} __attribute__((aligned(64)));

struct metrics {
	_Atomic int64_t unrouted[6];
	_Atomic int64_t connections;
	size_t n_routes;
	struct route_metrics *routes; /* owned */
};

struct metrics *metrics_new(size_t n_routes)
{
	struct metrics *m = xcalloc(1, sizeof(*m));
	m->n_routes = n_routes;
	size_t size = (n_routes + 1) * sizeof(*m->routes);
	m->routes = aligned_alloc(64, size);
	if (!m->routes)
		abort();
	for (size_t i = 0; i < n_routes; i++)
		m->routes[i] = (struct route_metrics){0};
	return m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	free(m->routes);
	free(m);
}

static void add(_Atomic int64_t *counter, int64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int64_t get(const _Atomic int64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void metrics_begin(struct metrics *m, size_t route)
{
	add(&m->routes[route].in_flight, 1);
}

void metrics_end(struct metrics *m, size_t route, int status, int64_t duration_ns)
{
	struct route_metrics *r = &m->routes[route];
	size_t bucket = 0;
	while (bucket < BUCKETS - 1 && duration_ns > bounds_ns[bucket])
		bucket++;
	add(&r->buckets[bucket], 1);
	add(&r->sum_ns, duration_ns);
	add(&r->by_class[status / 100 % 6], 1);
	add(&r->in_flight, -1);
}

void metrics_count_unrouted(struct metrics *m, int status)
{
	add(&m->unrouted[status / 100 % 6], 1);
}

void metrics_add_connections(struct metrics *m, int difference)
{
	add(&m->connections, difference);
}

void metrics_family(struct str *out, const char *name, const char *type, const char *help)
{
	str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int64_t count_requests(const struct route_metrics *r)
{
	int64_t n = 0;
	for (size_t i = 0; i < BUCKETS; i++)
		n += get(&r->buckets[i]);
	return n;
}

static void write_counts(const struct metrics *m, const struct router *router, struct str *out)
{
	metrics_family(out, "berth_http_requests_total", "counter", "Requests answered.");
	for (size_t i = 0; i < m->n_routes; i++) {
		const struct route *route = router_entry_at(router, i)->route;
		for (size_t class = 1; class < 6; class ++)
			if (get(&m->routes[i].by_class[class]) > 0)
				str_printf(out,
				        "berth_http_requests_total{route=\"%s\",status=\"%zuxx\"} "
				        "%lld\n",
				        route->id, class,
				        (long long)get(&m->routes[i].by_class[class]));
	}
	for (size_t class = 1; class < 6; class ++)
		if (get(&m->unrouted[class]) > 0)
			str_printf(out,
			        "berth_http_requests_total{route=\"none\",status=\"%zuxx\"} %lld\n",
			        class, (long long)get(&m->unrouted[class]));
}

static void write_histogram(const struct route_metrics *r, const char *id, struct str *out)
{
	int64_t n = 0;
	for (size_t i = 0; i < BUCKETS; i++) {
		n += get(&r->buckets[i]);
		str_printf(out,
		        "berth_http_request_duration_seconds_bucket{route=\"%s\",le=\"%s\"} %lld\n",
		        id, i < BUCKETS - 1 ? bound_names[i] : "+Inf", (long long)n);
	}
	str_printf(out, "berth_http_request_duration_seconds_sum{route=\"%s\"} %.9f\n", id,
	        (double)get(&r->sum_ns) / 1e9);
	str_printf(out, "berth_http_request_duration_seconds_count{route=\"%s\"} %lld\n", id,
	        (long long)n);
}

void metrics_write(const struct metrics *m, const struct router *router, struct str *out)
{
	write_counts(m, router, out);
	metrics_family(out, "berth_http_request_duration_seconds", "histogram",
	        "From the headers to the answer's end.");
	for (size_t i = 0; i < m->n_routes; i++)
		if (count_requests(&m->routes[i]) > 0)
			write_histogram(&m->routes[i], router_entry_at(router, i)->route->id, out);
	metrics_family(out, "berth_http_requests_in_flight", "gauge", "Requests being answered.");
	int64_t in_flight = 0;
	for (size_t i = 0; i < m->n_routes; i++)
		in_flight += get(&m->routes[i].in_flight);
	str_printf(out, "berth_http_requests_in_flight %lld\n", (long long)in_flight);
	metrics_family(out, "berth_http_connections", "gauge", "Connections open.");
	str_printf(out, "berth_http_connections %lld\n", (long long)get(&m->connections));
}
