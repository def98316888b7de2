/* SPDX-License-Identifier: Apache-2.0 */
/* What operation steps act with: the pointer behind operation_context(). Borrowed parts, fixed at
 * start. */
#pragma once

struct host_directory;
struct loop;
struct readers;
struct writer;
struct hosts;
struct vms;

struct operation_services {
	struct loop *loop;
	struct writer *writer;
	struct readers *readers;          /* for lane threads */
	struct host_directory *directory; /* hypervisor/host_directory.h */
	struct hosts *hosts;              /* opaque below compute/ */
	struct vms *vms;                  /* opaque below compute/ */
};
