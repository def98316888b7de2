/* SPDX-License-Identifier: Apache-2.0 */
/* The table of berthd's options. */
#include "daemon/options.h"

#include <stddef.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

static const char *const level_names[] = {"error", "warning", "info", "debug", NULL};
static const int levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};

#define OF(member) .offset = offsetof(struct options, member)
#define MINUTE_MS  60000
#define DAY_MS     ((int64_t)86400000)
#define BYTES_MAX  ((int64_t)1 << 60)

static const struct config_option table[] = {
        {.name = "state_dir",
                .type = CONFIG_PATH,
                OF(state_dir),
                .default_text = "/var/lib/berth",
                .doc = "Everything Berth keeps lies below this directory."},
        {.name = "log_level",
                .type = CONFIG_ENUM,
                OF(log_level),
                .flags = CONFIG_RELOADABLE,
                .names = level_names,
                .default_text = "info",
                .doc = "The lowest level that is logged."},
        {.name = "stop_timeout",
                .type = CONFIG_DURATION,
                OF(stop_timeout_ms),
                .flags = CONFIG_RELOADABLE,
                .default_text = "10s",
                .max = 10 * MINUTE_MS,
                .doc = "How long a stop waits for running operations; they go on after the next "
                       "start."},

        {.name = "api.listen",
                .type = CONFIG_STRING,
                OF(listen),
                .default_text = "127.0.0.1:8470",
                .doc = "ADDRESS:PORT for HTTP, or none. Beyond loopback TLS is required."},
        {.name = "api.socket",
                .type = CONFIG_PATH,
                OF(socket),
                .default_text = "",
                .doc = "The unix socket; empty: berth.sock in the state directory."},
        {.name = "api.socket_group",
                .type = CONFIG_STRING,
                OF(socket_group),
                .default_text = "berth",
                .doc = "Members of this group are administrators on the unix socket, as root is."},
        {.name = "api.tls_certificate",
                .type = CONFIG_PATH,
                OF(tls_certificate),
                .doc = "PEM file with the certificate chain; read again by SIGHUP."},
        {.name = "api.tls_key",
                .type = CONFIG_PATH,
                OF(tls_key),
                .doc = "PEM file with the private key; read again by SIGHUP."},
        {.name = "api.threads",
                .type = CONFIG_INT,
                OF(http_threads),
                .default_text = "0",
                .max = 64,
                .doc = "HTTP threads; 0: as many as cores, at most 4."},
        {.name = "api.max_connections",
                .type = CONFIG_INT,
                OF(max_connections),
                .default_text = "1000",
                .min = 1,
                .max = 100000,
                .doc = "Connections at a time, in all."},
        {.name = "api.max_connections_per_ip",
                .type = CONFIG_INT,
                OF(max_connections_per_ip),
                .default_text = "200",
                .min = 1,
                .max = 100000,
                .doc = "Connections at a time from one address."},
        {.name = "api.header_timeout",
                .type = CONFIG_DURATION,
                OF(header_timeout_ms),
                .default_text = "5s",
                .min = 100,
                .max = 10 * MINUTE_MS,
                .doc = "A request's headers must be complete within this time."},
        {.name = "api.body_timeout",
                .type = CONFIG_DURATION,
                OF(body_timeout_ms),
                .default_text = "30s",
                .min = 100,
                .max = 10 * MINUTE_MS,
                .doc = "A request's body must be complete within this time."},
        {.name = "api.idle_timeout",
                .type = CONFIG_DURATION,
                OF(idle_timeout_ms),
                .default_text = "60s",
                .min = 1000,
                .max = 60 * MINUTE_MS,
                .doc = "Connections without a request are closed after it."},

        {.name = "hosts.local",
                .type = CONFIG_BOOL,
                OF(local_host),
                .default_text = "true",
                .doc = "Register qemu:///system of this machine at the first start."},
        {.name = "hosts.allow_plain_tcp",
                .type = CONFIG_BOOL,
                OF(allow_plain_tcp),
                .default_text = "false",
                .doc = "Accept qemu+tcp:// URIs, which are neither encrypted nor authenticated."},
        {.name = "hosts.allow_fake",
                .type = CONFIG_BOOL,
                OF(allow_fake_hosts),
                .default_text = "false",
                .doc = "Accept fake:/// URIs: hosts in memory, for tests."},

        {.name = "memory.balloon_period",
                .type = CONFIG_DURATION,
                OF(balloon_period_ms),
                .default_text = "1s",
                .min = 1000,
                .max = MINUTE_MS,
                .doc = "How often the memory of a host's guests is looked at and moved."},
        {.name = "memory.room_timeout",
                .type = CONFIG_DURATION,
                OF(room_timeout_ms),
                .default_text = "30s",
                .min = 1000,
                .max = 60 * MINUTE_MS,
                .doc = "How long a VM that starts waits for other guests to give memory, once it "
                       "is the first in line."},

        {.name = "storage.pool_path",
                .type = CONFIG_PATH,
                OF(pool_path),
                .default_text = "/var/lib/libvirt/images/berth",
                .doc = "Directory of the pool \"default\" on each host; used when the pool is "
                       "first made."},
        {.name = "storage.pool_check_interval",
                .type = CONFIG_DURATION,
                OF(pool_check_ms),
                .default_text = "30s",
                .min = 100,
                .max = 60 * MINUTE_MS,
                .doc = "How often each pool is looked at through each of its hosts."},
        {.name = "storage.drift_check_every",
                .type = CONFIG_INT,
                OF(drift_check_every),
                .default_text = "10",
                .max = 1000,
                .doc = "Each how manieth look compares the files with what is recorded; 0: none."},

        {.name = "storage.max_chain_depth",
                .type = CONFIG_INT,
                OF(max_chain_depth),
                .default_text = "16",
                .min = 2,
                .max = 64,
                .doc = "Layers that a disk's chain may have: its snapshots, its own and its "
                       "image's."},

        {.name = "images.directory",
                .type = CONFIG_PATH,
                OF(images_directory),
                .default_text = "",
                .doc = "The image library; empty: images in the state directory."},
        {.name = "images.max_bytes",
                .type = CONFIG_SIZE,
                OF(images_max_bytes),
                .default_text = "64GiB",
                .min = 1,
                .max = BYTES_MAX,
                .doc = "What is uploaded or fetched for an image has at most so many bytes."},
        {.name = "images.max_virtual_bytes",
                .type = CONFIG_SIZE,
                OF(images_max_virtual_bytes),
                .default_text = "2TiB",
                .min = 1,
                .max = BYTES_MAX,
                .doc = "The disk in an image has at most so many bytes as guests see it."},
        {.name = "images.quota_bytes",
                .type = CONFIG_SIZE,
                OF(images_quota_bytes),
                .default_text = "0",
                .doc = "All images together take at most so many bytes; 0: no limit."},
        {.name = "images.stall_timeout",
                .type = CONFIG_DURATION,
                OF(images_stall_timeout_ms),
                .default_text = "30s",
                .min = 100,
                .max = 60 * MINUTE_MS,
                .doc = "An image's server that sends nothing for so long is given up."},
        {.name = "images.allow_private_networks",
                .type = CONFIG_BOOL,
                OF(images_allow_private_networks),
                .default_text = "false",
                .doc = "Fetch images from private, loopback and link-local addresses, too."},
        {.name = "images.require_digest",
                .type = CONFIG_BOOL,
                OF(images_require_digest),
                .default_text = "false",
                .doc = "Refuse images from URLs without a digest, instead of a warning."},
        {.name = "images.qemu_img",
                .type = CONFIG_PATH,
                OF(images_qemu_img),
                .default_text = "/usr/bin/qemu-img",
                .min = 1,
                .max = 1024,
                .doc = "The program that converts images; it runs confined."},

        {.name = "guests.console_directory",
                .type = CONFIG_PATH,
                OF(console_directory),
                .default_text = "/var/log/libvirt/qemu",
                .doc = "Directory on the hosts for serial console logs, bounded by virtlogd."},
        {.name = "guests.boot_directories",
                .type = CONFIG_LIST,
                OF(boot_directories),
                .default_text = "/var/lib/libvirt/boot, /var/lib/libvirt/images/berth/boot",
                .doc = "Where kernels and initrds for direct boot may lie on a host."},

        {.name = "history.keep_events",
                .type = CONFIG_DURATION,
                OF(keep_events_ms),
                .flags = CONFIG_RELOADABLE,
                .default_text = "7d",
                .min = MINUTE_MS,
                .max = 3650 * DAY_MS,
                .doc = "How long events can be replayed."},
        {.name = "history.keep_operations",
                .type = CONFIG_DURATION,
                OF(keep_operations_ms),
                .flags = CONFIG_RELOADABLE,
                .default_text = "30d",
                .min = MINUTE_MS,
                .max = 3650 * DAY_MS,
                .doc = "How long ended operations are kept."},
};
const struct config_table options_table = CONFIG_TABLE(struct options, table);

char *options_socket_path(const struct options *options)
{
	if (!str_is_empty(options->socket))
		return xstrdup(options->socket);
	return str_format("%s/berth.sock", options->state_dir);
}

char *options_images_directory(const struct options *options)
{
	if (!str_is_empty(options->images_directory))
		return xstrdup(options->images_directory);
	return str_format("%s/images", options->state_dir);
}

int options_log_level(const struct options *options)
{
	return levels[options->log_level];
}
