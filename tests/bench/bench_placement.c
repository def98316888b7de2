/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a decision costs on one core: placement over fleets of several sizes with the reason of every
 * refused host, with rules, with N+1 where it is easy and where it is tight; admission on one host;
 * capacity of a group. The floor is a scan that adds up the same sums of the same hosts. Prints
 * key=value lines.
 *
 *	bench_placement
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scheduler/capacity.h"
#include "scheduler/inventory_internal.h"
#include "scheduler/placement.h"

#define GIB          ((int64_t)1 << 30)
#define VMS_PER_HOST 50
#define DECISIONS    200
#define SCANS        20 /* in one sample: the clock costs more than one scan */

static uint64_t random_state = 88172645463325252u;

static int64_t random_below(int64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (int64_t)(random_state % (uint64_t)n);
}

/* ---- fleets ---- */

struct fleet {
	struct inventory *inv;
	int hosts;
	int64_t survive, memory_of_host;
	enum overcommit_mode mode;
	bool has_rules;
};

static char tier[] = "tier", web[] = "web", db[] = "db", cache[] = "cache", batch[] = "batch",
            fast[] = "fast", shared[] = "shared", images[] = "images", lan[] = "lan", dmz[] = "dmz";
static char *const tiers[] = {web, db, cache, batch};

static void put_vm(const struct fleet *f, int host, int i)
{
	char id[48], name[32], host_id[48];
	struct field_label label = {tier, tiers[random_below(4)]};
	struct placement_rule apart = {.is_anti = true,
	        .is_hard = true,
	        .target = PLACEMENT_TARGET_VM_LABELS,
	        .labels = {&label, 1}};
	snprintf(id, sizeof(id), "00000000-0000-4000-8000-%06d%06d", host, i);
	snprintf(name, sizeof(name), "vm-%06d-%02d", host, i);
	snprintf(host_id, sizeof(host_id), "00000000-0000-4000-9000-%012d", host);
	struct inventory_vm vm = {
	        .id = id, .name = name, .host_id = host_id, .labels = {&label, 1}};
	vm.reservation = (struct reservation){.state = RESERVATION_RUNNING,
	        .vcpus = 1 + random_below(4),
	        .size_bytes = (1 + random_below(8)) * GIB};
	vm.reservation.min_bytes = vm.reservation.size_bytes / 2;
	vm.reservation.overhead_bytes = admission_overhead_bytes(4, vm.reservation.size_bytes);
	/* One VM in twenty keeps its like off its host. */
	if (f->has_rules && i % 20 == 0)
		vm.rules = (struct placement_rules){&apart, 1};
	inventory_put_vm(f->inv, &vm);
}

static void put_host(const struct fleet *f, int i)
{
	static const struct inventory_architecture archs[] = {
	        {"x86_64", PLACEMENT_KVM, true, true, {0}},
	        {"i686", PLACEMENT_KVM, false, false, {0}}};
	static char *pools[] = {fast, shared, images};
	static char *networks[] = {lan, dmz};
	char id[48], name[32], domain[16];
	snprintf(id, sizeof(id), "00000000-0000-4000-9000-%012d", i);
	snprintf(name, sizeof(name), "host-%06d", i);
	snprintf(domain, sizeof(domain), "rack-%d", i / 40);
	struct inventory_host host = {.id = id,
	        .name = name,
	        .group_id = "g",
	        .failure_domain = domain,
	        .cpu_threads = 64,
	        .memory_bytes = f->memory_of_host,
	        .cpu_busy_percent = random_below(100),
	        .architectures = archs,
	        .n_architectures = 2,
	        .pools = {pools, 3},
	        .networks = {networks, 2},
	        .has_networks = true};
	if (i % 50 == 49)
		host.state = INVENTORY_HOST_DRAINING;
	inventory_put_host(f->inv, &host);
	for (int vm = 0; vm < VMS_PER_HOST; vm++)
		put_vm(f, i, vm);
}

static void build(struct fleet *f)
{
	f->inv = inventory_new();
	struct inventory_group group = {.id = "g",
	        .name = "g",
	        .mode = f->mode,
	        .cpu_ratio = 4,
	        .memory_ratio = 1,
	        .survive_host_loss = f->survive};
	inventory_put_group(f->inv, &group);
	for (int i = 0; i < f->hosts; i++)
		put_host(f, i);
}

/* ---- measuring ---- */

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

struct times {
	double p50_us, p99_us;
};

/* What this thread used: other work on the machine does not count. */
static int64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef void (*work_fn)(void *arg);

static struct times measure(work_fn work, void *arg, size_t n)
{
	int64_t *samples = xcalloc(n, sizeof(*samples));
	for (size_t i = 0; i < n + 3; i++) {
		int64_t start_ns = cpu_ns();
		work(arg);
		if (i >= 3) /* after the buffers have grown */
			samples[i - 3] = cpu_ns() - start_ns;
	}
	qsort(samples, n, sizeof(*samples), compare);
	struct times t = {(double)samples[n / 2] / 1000, (double)samples[n * 99 / 100] / 1000};
	free(samples);
	return t;
}

struct decision {
	const struct fleet *fleet;
	struct placement_request request;
	struct placement places;
	int64_t ranked, refused;
};

static void decide(void *arg)
{
	struct decision *d = arg;
	place(d->fleet->inv, &d->request, &d->places);
	d->ranked = (int64_t)d->places.ranked.len;
	d->refused = (int64_t)d->places.refused.len;
}

static int64_t sink;

/* What any decision has to read at least: whether the host is there, what it has and holds. */
static void scan(void *arg)
{
	const struct fleet *f = arg;
	int64_t most = 0;
	for (size_t i = 0; i < f->inv->hosts.len; i++) {
		const struct host_entry *host = f->inv->hosts.items[i];
		int64_t room = host->pub.memory_bytes - host->held.size_bytes;
		int64_t cpus = host->pub.cpu_threads * 4 - host->held.shared_vcpus;
		if (host->pub.state == INVENTORY_HOST_OK && room > most && cpus > 0)
			most = room;
	}
	sink += most;
}

static void scan_often(void *arg)
{
	for (int i = 0; i < SCANS; i++)
		scan(arg);
}

static struct placement_request request_of(const struct fleet *f)
{
	static char *pools[] = {shared}, *networks[] = {dmz};
	static struct field_label label = {tier, web};
	static const struct placement_rule apart = {
	        .is_anti = true, .target = PLACEMENT_TARGET_VM_LABELS, .labels = {&label, 1}};
	struct placement_request r = {.name = "new",
	        .architecture = "x86_64",
	        .accelerator = PLACEMENT_KVM,
	        .needs_uefi = true,
	        .pools = {pools, 1},
	        .networks = {networks, 1},
	        .asked = {.state = RESERVATION_STARTING, .vcpus = 2, .size_bytes = 4 * GIB}};
	r.asked.overhead_bytes = admission_overhead_bytes(2, 4 * GIB);
	if (f->has_rules) {
		r.labels = (struct field_labels){&label, 1};
		r.rules = (struct placement_rules){&apart, 1};
	}
	return r;
}

static void report(const char *name, struct fleet f)
{
	build(&f);
	struct decision d = {.fleet = &f, .request = request_of(&f)};
	struct times t = measure(decide, &d, DECISIONS),
	             floor = measure(scan_often, &f, DECISIONS / 10);
	printf("%s_p50_us=%.1f %s_p99_us=%.1f %s_floor_us=%.2f %s_ranked=%lld %s_refused=%lld\n",
	        name, t.p50_us, name, t.p99_us, name, floor.p50_us / SCANS, name,
	        (long long)d.ranked, name, (long long)d.refused);
	fflush(stdout);
	placement_done(&d.places);
	inventory_free(f.inv);
}

/* ---- admission and capacity ---- */

static void admit(void *arg)
{
	struct decision *d = arg;
	struct admission a;
	for (int i = 0; i < 100; i++) {
		const struct inventory_host *host = &d->fleet->inv->hosts.items[i]->pub;
		sink += admission_admit(d->fleet->inv, host, &d->request.asked, NULL, &a, NULL);
	}
}

static void count(void *arg)
{
	struct decision *d = arg;
	struct capacity c;
	capacity_of_group(
	        d->fleet->inv, inventory_group(d->fleet->inv, "g"), &d->request.asked, &c);
	sink += c.fits;
	capacity_done(&c);
}

static void report_others(const char *prefix, struct fleet f)
{
	build(&f);
	struct decision d = {.fleet = &f, .request = request_of(&f)};
	printf("%sadmission_us=%.3f ", prefix, measure(admit, &d, DECISIONS).p50_us / 100);
	printf("%scapacity_ms=%.2f\n", prefix, measure(count, &d, 10).p50_us / 1000);
	inventory_free(f.inv);
}

/* 50 VMs of 4.5 GiB and 2.5 vCPUs on average are 230 GiB and 125 vCPUs of 256. */
int main(void)
{
	report("hosts_100", (struct fleet){.hosts = 100, .memory_of_host = 256 * GIB});
	report("hosts_1000", (struct fleet){.hosts = 1000, .memory_of_host = 256 * GIB});
	report("full_1000", (struct fleet){.hosts = 1000, .memory_of_host = 220 * GIB});
	report("rules_1000",
	        (struct fleet){.hosts = 1000, .memory_of_host = 320 * GIB, .has_rules = true});
	report("loss_1000",
	        (struct fleet){.hosts = 1000, .memory_of_host = 320 * GIB, .survive = 1});
	report("tight_1000",
	        (struct fleet){.hosts = 1000, .memory_of_host = 240 * GIB, .survive = 1});
	report("hosts_10000", (struct fleet){.hosts = 10000, .memory_of_host = 256 * GIB});
	report_others("", (struct fleet){.hosts = 1000, .memory_of_host = 256 * GIB});
	report_others(
	        "loss_", (struct fleet){.hosts = 1000, .memory_of_host = 320 * GIB, .survive = 1});
	return sink == 1;
}
