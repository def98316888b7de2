/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine's kernel tells and libvirt does not: pressure (PSI), available memory, swap and
 * whether KSM runs. For hosts that are this machine. `root` is "" or, in tests, a directory in place
 * of "/". Reads small files of /proc and /sys; any thread.
 */
#pragma once

#include "hypervisor/driver.h"

/* Fills what is there; members whose file is missing or odd stay as they are. */
void host_local_read_stats(const char *root, struct host_stats *stats);
/* KSM_RUN_UNKNOWN: this kernel has no KSM. */
enum ksm_run host_local_read_ksm_run(const char *root);
bool host_local_can_set_ksm_run(const char *root);
/* Writes the one file /sys/kernel/mm/ksm/run. ERR_HOST_PERMISSION, ERR_UNSUPPORTED. */
int host_local_set_ksm_run(const char *root, enum ksm_run run, struct err *e);
