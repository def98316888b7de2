/* SPDX-License-Identifier: Apache-2.0 */
/* What operation steps act with: the pointer behind operation_context(). Borrowed parts, fixed at
 * start. */
#pragma once

struct bulk;
struct host_directory;
struct operation_engine;
struct loop;
struct pool_monitor;
struct readers;
struct writer;
struct hosts;
struct vms;
struct balloons;
struct freeze_guards;
struct snapshot_barriers;
struct images;
struct room;

struct operation_services {
	struct loop *loop;
	struct writer *writer;
	struct readers *readers;            /* for lane threads */
	struct host_directory *directory;   /* hypervisor/host_directory.h */
	struct bulk *bulk;                  /* base/bulk.h */
	struct operation_engine *engine;    /* to wait for another operation */
	struct hosts *hosts;                /* opaque below compute/ */
	struct vms *vms;                    /* opaque below compute/ */
	struct balloons *balloons;          /* compute/balloon.h */
	struct freeze_guards *guards;       /* compute/freeze_guard.h */
	struct snapshot_barriers *barriers; /* compute/snapshot_group.h */
	struct pool_monitor *pool_monitor;  /* storage/pool_monitor.h; NULL: none */
	struct images *images;              /* storage/image_library.h */
	struct room *room;                  /* compute/room.h */
};
