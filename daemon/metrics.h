/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says of hosts, VMs and lanes, beside the server's own counters. */
#pragma once

#include "base/str.h"
#include "db/reader.h"
#include "hypervisor/lane.h"

struct metrics_sources {
	struct readers *readers;
	struct lane_pool *lanes;
};

/* Appends Prometheus text (version 0.0.4). `sources` is a struct metrics_sources. HTTP thread. */
void metrics_write_fleet(void *sources, struct str *out);
