/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers reach: the parts that daemon/ made. Borrowed pointers, fixed before the server
 * starts. */
#pragma once

#include <stdbool.h>

struct bulk;
struct writer;
struct readers;
struct operation_engine;
struct hosts;
struct vms;
struct balloons;
struct images;
struct room;
struct loop;
struct pool_monitor;
struct str;

struct app {
	struct loop *loop;
	struct writer *writer;
	struct readers *readers;
	struct bulk *bulk; /* base/bulk.h: uploads and downloads */
	struct operation_engine *engine;
	struct hosts *hosts;               /* compute/host.h */
	struct vms *vms;                   /* compute/vm.h */
	struct balloons *balloons;         /* compute/balloon.h */
	struct images *images;             /* storage/image_library.h */
	struct room *room;                 /* compute/room.h */
	struct pool_monitor *pool_monitor; /* storage/pool_monitor.h */
	const char *state_dir;
	/* Adds the daemon's own families to /metrics (hosts by state); any HTTP thread; NULL: none.
	 */
	void (*write_metrics)(void *arg, struct str *out);
	void *metrics_arg;
	/* True once the daemon serves; false while it drains (mutations get 503, reads work). */
	_Atomic bool is_ready;
	_Atomic bool is_draining;
};
