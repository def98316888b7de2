/* SPDX-License-Identifier: Apache-2.0 */
/* berthd's options: the one typed table behind the configuration file, its example and the man
 * page. */
#pragma once

#include "base/config.h"

struct options {
	char *state_dir;
	int log_level; /* index; see options_log_level */
	char *listen;
	char *socket, *socket_group;
	char *tls_certificate, *tls_key;
	int64_t http_threads, max_connections, max_connections_per_ip;
	int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
	bool local_host, allow_plain_tcp, allow_fake_hosts;
	char *pool_path, *console_directory;
	int64_t pool_check_ms, drift_check_every;
	char *images_directory, *images_qemu_img;
	int64_t images_max_bytes, images_max_virtual_bytes, images_quota_bytes,
	        images_stall_timeout_ms;
	bool images_allow_private_networks, images_require_digest;
	int64_t max_chain_depth;
	int64_t balloon_period_ms, room_timeout_ms;
	struct config_list boot_directories;
	int64_t stop_timeout_ms;
	int64_t keep_events_ms, keep_operations_ms;
};

extern const struct config_table options_table;

/* The socket's path: as given, or berth.sock in the state directory. Caller frees. */
char *options_socket_path(const struct options *options);

/* The image library: as given, or images in the state directory. Caller frees. */
char *options_images_directory(const struct options *options);

/* enum log_level of the chosen name. */
int options_log_level(const struct options *options);
