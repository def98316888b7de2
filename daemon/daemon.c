/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring. Order of start: directory lock, migrations, writer, readers, core loop, libvirt events,
 * lanes, engine, hosts, VMs, records ("connecting", unfinished operations), server. Stop is the
 * reverse; guests are never touched.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "api/server.h"
#include "api/system.h"
#include "base/alloc.h"
#include "base/bulk.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/balloon.h"
#include "compute/cpu_mover.h"
#include "compute/freeze_guard.h"
#include "compute/host.h"
#include "compute/room.h"
#include "compute/snapshot.h"
#include "compute/snapshot_group.h"
#include "compute/snapshot_policy.h"
#include "compute/snapshot_sweeper.h"
#include "compute/vm.h"
#include "daemon/housekeeping.h"
#include "daemon/metrics.h"
#include "db/migrations.h"
#include "db/reader.h"
#include "hypervisor/driver_fake.h"
#include "hypervisor/event_loop.h"
#include "hypervisor/host_directory.h"
#include "storage/image.h"
#include "storage/image_library.h"
#include "storage/layer.h"
#include "storage/pool.h"
#include "storage/pool_monitor.h"
#include "storage/pool_operations.h"
#include "storage/volume_operations.h"

#define DRAIN_TICK_MS  50
#define POLICY_TICK_MS 5000
#define SETTLE_MS      2000
#define BULK_THREADS   8 /* uploads and downloads leave some of them to others (FLOWS_MAX) */

struct daemon {
	struct options *options;      /* borrowed */
	const char *config_path;      /* borrowed */
	const char *const *overrides; /* borrowed */
	int lock_fd;
	char *database_path, *socket_path;
	const char **boot_directories; /* owned array, texts borrowed from options */
	struct writer *writer;
	struct readers *readers;
	struct loop *loop;
	struct lane_pool *lanes;
	struct bulk *bulk;
	struct host_directory *directory;
	struct operation_services services;
	struct operation_engine *engine;
	struct hosts *hosts;
	struct vms *vms;
	struct balloons *balloons;
	struct cpu_mover *cpu_mover;
	struct snapshot_sweeper *sweeper;
	struct snapshot_policies *policies;
	struct hosts_callbacks vms_callbacks;
	struct pool_monitor *pool_monitor;
	struct images *images;
	struct room *room;
	struct app app;
	struct metrics_sources metrics;
	struct server *server;
	struct housekeeping *housekeeping;
	uv_signal_t signals[3];
	bool has_signals;
	struct loop_timer *watchdog, *drain_timer;
	int64_t drain_until_ms;
};

/* ---- the state directory ---- */

static int lock_state_dir(struct daemon *d, struct err *e)
{
	const char *dir = d->options->state_dir;
	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "creating the state directory %s", dir);
	char *path CLEANUP(cleanup_free) = str_format("%s/berthd.lock", dir);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return err_set_errno(e, errno, "opening %s", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	err_set(e, ERR_IN_USE, "another berthd works on the state directory %s", dir);
	err_hint(e, "stop it, or give this one a --state-dir of its own");
	return ERR_IN_USE;
}

/* ---- start ---- */

static int start_database(struct daemon *d, struct err *e)
{
	d->database_path = str_format("%s/berth.db", d->options->state_dir);
	int rc = migrations_apply(d->database_path, migrations_embedded, e);
	if (rc == 0)
		rc = writer_start(d->database_path, &d->writer, e);
	if (rc == 0)
		d->readers = readers_new(d->database_path);
	return rc;
}

static int start_loop(struct daemon *d, struct err *e)
{
	d->loop = loop_new();
	int rc = event_loop_register(d->loop, e);
	if (rc < 0)
		return rc;
	if (d->options->allow_fake_hosts)
		fake_enable();
	d->lanes = lane_pool_new(d->loop);
	d->bulk = bulk_new(d->loop, BULK_THREADS);
	d->directory = host_directory_new(d->loop);
	return 0;
}

/* A host was connected: its VMs are listed, and its pools looked at. */
static void on_host_up(void *arg, const char *host_id)
{
	struct daemon *d = arg;
	d->vms_callbacks.up(d->vms_callbacks.arg, host_id);
	pool_monitor_host_up(d->pool_monitor, host_id);
	cpu_mover_host_up(d->cpu_mover, host_id);
}

static void on_domain_event(void *arg, const char *host_id, const struct domain_event *event)
{
	struct daemon *d = arg;
	d->vms_callbacks.domain(d->vms_callbacks.arg, host_id, event);
}

static void start_pool_monitor(struct daemon *d)
{
	const struct pool_monitor_config config = {
	        .services = &d->services,
	        .check_ms = d->options->pool_check_ms,
	        .drift_every = (int)d->options->drift_check_every,
	};
	d->services.pool_monitor = d->pool_monitor = pool_monitor_new(&config);
	d->vms_callbacks = vms_hosts_callbacks(d->vms);
	hosts_set_callbacks(d->hosts,
	        (struct hosts_callbacks){.up = on_host_up, .domain = on_domain_event, .arg = d});
}

static void start_balloons(struct daemon *d)
{
	const struct balloons_config config = {
	        .services = &d->services,
	        .period_ms = d->options->balloon_period_ms,
	        .room_timeout_ms = d->options->room_timeout_ms,
	};
	d->services.balloons = d->app.balloons = d->balloons = balloons_new(&config);
	vms_set_room_gate(d->vms, balloons_room_gate(d->balloons));
}

static int start_images(struct daemon *d, struct err *e)
{
	const struct options *o = d->options;
	char *directory CLEANUP(cleanup_free) = options_images_directory(o);
	const struct image_options options = {
	        .directory = directory,
	        .max_bytes = o->images_max_bytes,
	        .max_virtual_bytes = o->images_max_virtual_bytes,
	        .quota_bytes = o->images_quota_bytes,
	        .allow_private_networks = o->images_allow_private_networks,
	        .require_digest = o->images_require_digest,
	        .qemu_img = o->images_qemu_img,
	        .stall_ms = o->images_stall_timeout_ms,
	};
	int rc = images_new(&options, &d->images, e);
	if (rc == 0)
		d->services.images = d->app.images = d->images;
	return rc;
}

static void start_compute(struct daemon *d)
{
	d->services = (struct operation_services){.loop = d->loop,
	        .writer = d->writer,
	        .readers = d->readers,
	        .directory = d->directory,
	        .bulk = d->bulk,
	        .room = d->app.room = d->room = room_new()};
	d->services.engine = d->engine = operation_engine_new(d->loop, d->writer, &d->services);
	const struct hosts_config hosts_config = {
	        .loop = d->loop,
	        .writer = d->writer,
	        .pool = d->lanes,
	        .directory = d->directory,
	        .engine = d->engine,
	        .allow_plain_tcp = d->options->allow_plain_tcp,
	};
	d->services.hosts = d->hosts = hosts_new(&hosts_config);
	const struct config_list *boot = &d->options->boot_directories;
	d->boot_directories = xcalloc(boot->len + 1, sizeof(char *));
	for (size_t i = 0; i < boot->len; i++)
		d->boot_directories[i] = boot->items[i];
	const struct vms_config vms_config = {
	        .services = &d->services,
	        .engine = d->engine,
	        .rules = {.boot_directories = d->boot_directories},
	        .console_directory = d->options->console_directory,
	};
	d->services.vms = d->vms = vms_new(&vms_config);
	start_pool_monitor(d);
	start_balloons(d);
	d->cpu_mover = cpu_mover_new(&d->services);
	d->services.guards = freeze_guards_new(&d->services);
	d->services.barriers = snapshot_barriers_new(d->loop);
	vm_register_kinds(d->engine);
	layer_set_max_chain_depth(d->options->max_chain_depth);
	snapshot_register_kinds(d->engine);
	snapshot_group_register_kinds(d->engine);
	snapshot_policy_register_kinds(d->engine);
	d->policies = snapshot_policies_start(&d->services, POLICY_TICK_MS);
	d->sweeper = snapshot_sweeper_new(&d->services);
	volume_register_kinds(d->engine);
	pool_register_kinds(d->engine);
	image_register_kinds(d->engine);
}

/* Writer thread, while the main thread waits. */
static int load_records(struct db *db, void *arg, struct err *e)
{
	struct daemon *d = arg;
	int rc = pool_ensure_default(db, d->options->pool_path, e);
	if (rc == 0 && d->options->local_host)
		rc = hosts_register_local(db, d->hosts, e);
	if (rc == 0)
		rc = hosts_load(d->hosts, db, e);
	return rc < 0 ? rc : room_upgrade(db, e);
}

static int start_records(struct daemon *d, struct err *e)
{
	int rc = writer_run(d->writer, load_records, d, e);
	if (rc < 0)
		return rc;
	struct db *db = NULL;
	rc = db_open(d->database_path, DB_READ_ONLY, &db, e);
	if (rc == 0)
		rc = freeze_guards_load(d->services.guards, db, e);
	if (rc == 0)
		rc = operation_engine_load(d->engine, db, e);
	db_close(db);
	return rc;
}

static void inherit_sockets(struct server_config *config)
{
	int n = sd_listen_fds(/* unset_environment= */ 1);
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0)
			config->inherited_unix_fd = fd;
		else if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0)
			config->inherited_tcp_fd = fd;
	}
}

static const char *text_or_null(const char *text)
{
	return str_is_empty(text) ? NULL : text;
}

static int start_server(struct daemon *d, struct err *e)
{
	const struct options *o = d->options;
	d->socket_path = options_socket_path(o);
	d->app.loop = d->loop;
	d->app.writer = d->writer;
	d->app.readers = d->readers;
	d->app.bulk = d->bulk;
	d->app.engine = d->engine;
	d->app.hosts = d->hosts;
	d->app.vms = d->vms;
	d->app.pool_monitor = d->pool_monitor;
	d->app.state_dir = o->state_dir;
	d->metrics = (struct metrics_sources){.readers = d->readers, .lanes = d->lanes};
	system_set_metrics(&d->app, metrics_write_fleet, &d->metrics);
	struct server_config config = {
	        .listen = o->listen,
	        .socket_path = d->socket_path,
	        .socket_group = text_or_null(o->socket_group),
	        .tls_certificate = text_or_null(o->tls_certificate),
	        .tls_key = text_or_null(o->tls_key),
	        .inherited_tcp_fd = -1,
	        .inherited_unix_fd = -1,
	        .threads = (int)o->http_threads,
	        .max_connections = (int)o->max_connections,
	        .max_connections_per_ip = (int)o->max_connections_per_ip,
	        .header_timeout_ms = (int)o->header_timeout_ms,
	        .body_timeout_ms = (int)o->body_timeout_ms,
	        .idle_timeout_ms = (int)o->idle_timeout_ms,
	};
	inherit_sockets(&config);
	return server_start(&config, &d->app, route_tables, &d->server, e);
}

/* ---- signals, reload, watchdog ---- */

static int read_options(const struct daemon *d, struct options *ret_options, struct err *e)
{
	int rc = config_load(&options_table, d->config_path, ret_options, e);
	for (const char *const *pair = d->overrides; rc == 0 && *pair; pair += 2)
		rc = config_set(&options_table, ret_options, pair[0], pair[1], e);
	return rc;
}

static void reload(struct daemon *d)
{
	struct options fresh = {0};
	struct err e = {0};
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(clock_now_ns() / 1000));
	if (read_options(d, &fresh, &e) < 0) {
		log_err(LOG_LEVEL_ERROR, &e,
		        "the configuration was not reloaded: the old one stays");
	} else {
		const char *kept[64];
		size_t n = config_reload(&options_table, d->options, &fresh, kept);
		for (size_t i = 0; i < n; i++)
			log_warning("option %s takes a restart to change", kept[i]);
		log_set_level((enum log_level)options_log_level(d->options));
		log_info("configuration reloaded");
	}
	config_release(&options_table, &fresh);
	if (d->options->tls_certificate[0] && server_reload_tls(d->server, &e) < 0)
		log_err(LOG_LEVEL_ERROR, &e,
		        "the TLS certificate was not reloaded: the old one stays");
	sd_notify(0, "READY=1");
}

static void on_drain_tick(void *arg)
{
	struct daemon *d = arg;
	int running, queued;
	operation_engine_count(d->engine, &running, &queued);
	if (running > 0 && clock_now_ms() < d->drain_until_ms)
		return;
	loop_stop(d->loop);
}

/* Reads work on while running operations end; mutations are refused with 503. */
static void drain(struct daemon *d)
{
	if (d->drain_timer) {
		loop_stop(d->loop); /* asked twice: at once */
		return;
	}
	log_info("stopping: no new work is taken");
	sd_notify(0, "STOPPING=1");
	d->app.is_draining = true;
	operation_engine_stop(d->engine);
	d->drain_until_ms = clock_now_ms() + d->options->stop_timeout_ms;
	d->drain_timer = loop_timer_start(d->loop, 0, DRAIN_TICK_MS, on_drain_tick, d);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *d = handle->data;
	if (number == SIGHUP)
		reload(d);
	else
		drain(d);
}

static void start_signals(struct daemon *d)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		uv_signal_init(loop_uv(d->loop), &d->signals[i]);
		d->signals[i].data = d;
		uv_signal_start(&d->signals[i], on_signal, numbers[i]);
	}
}

static void on_watchdog(void *arg)
{
	(void)arg; /* that this runs at all is the proof */
	sd_notify(0, "WATCHDOG=1");
}

static void start_watchdog(struct daemon *d)
{
	uint64_t usec = 0;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	int64_t period_ms = (int64_t)(usec / 2000);
	d->watchdog = loop_timer_start(d->loop, 0, period_ms, on_watchdog, d);
}

/* ---- the whole ---- */

static int start_all(struct daemon *d, struct err *e)
{
	int rc = lock_state_dir(d, e);
	if (rc == 0)
		rc = start_database(d, e);
	if (rc == 0)
		rc = start_loop(d, e);
	if (rc < 0)
		return rc;
	start_compute(d);
	rc = start_images(d, e);
	if (rc == 0)
		rc = start_records(d, e);
	if (rc < 0)
		return rc;
	start_signals(d);
	const struct housekeeping_config housekeeping = {
	        .loop = d->loop, .writer = d->writer, .options = d->options};
	d->housekeeping = housekeeping_start(&housekeeping);
	rc = start_server(d, e);
	if (rc == 0)
		start_watchdog(d);
	return rc;
}

int daemon_start(struct options *options, const char *config_path, const char *const *overrides,
        struct daemon **ret_daemon, struct err *e)
{
	struct daemon *d = xcalloc(1, sizeof(*d));
	d->options = options;
	d->config_path = config_path;
	d->overrides = overrides;
	d->lock_fd = -1;
	int rc = start_all(d, e);
	if (rc < 0) {
		daemon_free(d);
		return rc;
	}
	*ret_daemon = d;
	return 0;
}

void daemon_run(struct daemon *d)
{
	d->app.is_ready = true;
	writer_submit(d->writer, (struct writer_job){.run = room_warm, .arg = d->room});
	sd_notify(0, "READY=1");
	if (server_port(d->server) > 0)
		log_info("berthd " BERTH_VERSION " serves %s (port %d) and %s", d->options->listen,
		        server_port(d->server), d->socket_path);
	else
		log_info("berthd " BERTH_VERSION " serves %s", d->socket_path);
	loop_run(d->loop);
	log_info("berthd stops; guests go on");
}

/* Idle in several turns in a row: what the first turn's messages led to has ended as well. */
struct settling {
	struct lane_pool *lanes;
	int idle_turns;
};

static bool is_settled(void *arg)
{
	struct settling *settling = arg;
	struct lane_pool_stats stats;
	lane_pool_get_stats(settling->lanes, &stats);
	settling->idle_turns = stats.busy == 0 ? settling->idle_turns + 1 : 0;
	return settling->idle_turns > 3;
}

/* Lets the calls in flight and the closing of connections end; what hangs is left to the process's
 * end. */
static void settle(struct daemon *d)
{
	struct settling settling = {.lanes = d->lanes};
	if (d->lanes)
		loop_run_until(d->loop, is_settled, &settling, SETTLE_MS);
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	d->app.is_ready = false;
	if (d->server)
		server_stop(d->server, 2000);
	if (d->engine)
		operation_engine_stop(d->engine);
	housekeeping_stop(d->housekeeping);
	snapshot_sweeper_free(d->sweeper);
	snapshot_policies_stop(d->policies);
	if (d->loop)
		loop_timer_free(TAKE(d->drain_timer));
	if (d->loop)
		loop_timer_free(TAKE(d->watchdog));
	pool_monitor_stop(d->pool_monitor);
	balloons_stop(d->balloons);
	cpu_mover_stop(d->cpu_mover);
	vms_stop(d->vms);
	hosts_free(d->hosts);
	bulk_free(d->bulk); /* while the writer takes what its last jobs say */
	settle(d);
	server_free(d->server);
	if (d->writer)
		writer_stop(d->writer);
	settle(d); /* what the writer's last jobs posted */
	operation_engine_free(d->engine);
	balloons_free(d->balloons);
	cpu_mover_free(d->cpu_mover);
	vms_free(d->vms);
	pool_monitor_free(d->pool_monitor);
	freeze_guards_free(d->services.guards);
	snapshot_barriers_free(d->services.barriers);
	snapshot_policies_free(d->policies);
	images_free(d->images);
	host_directory_free(d->directory);
	lane_pool_free(d->lanes);
	event_loop_detach();
	loop_free(d->loop);
	readers_free(d->readers);
	writer_free(d->writer);
	room_free(d->room);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	free(d->boot_directories);
	free(d->database_path);
	free(d->socket_path);
	free(d);
}
