/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A carrier: a transient domain that is paused for ever, whose QEMU works on disks that no running VM has open (copy,
 * merge, resize, probe). So everything that a running guest's QEMU can do with a disk can be done with the same code on
 * any host, with the recorded format and chain, without an agent or qemu-img there.
 *
 * Its UUID is the operation's id and its name "berth-job-ID": after a restart the operation finds its carrier again, and
 * a carrier whose operation has ended is removed when its host is listed.
 */
#pragma once

#include "hypervisor/host_facts.h"
#include "operation/operation.h"
#include "storage/layer.h"

#define CARRIER_DISK "job" /* the disk's name when there is one */

struct carrier_disk {
	const char *name;
	const struct layer_chain *chain;
	bool read_only;
};
/* Lane thread. Already running: success. */
int carrier_start(const struct driver *driver, struct driver_connection *c,
        const char *operation_id, const struct carrier_disk *disks, size_t n_disks, struct err *e);
/* Lane thread. Not there: success. */
int carrier_stop(const struct driver *driver, struct driver_connection *c, const char *operation_id,
        struct err *e);
/*
 * Lane thread. As above, for one whose work counts only if it was written: it is not killed, however slow it is, and *ret_lost
 * says that it was gone already, and so may have written nothing. ERR_BUSY: it has not ended within 90 s.
 */
int carrier_finish(const struct driver *driver, struct driver_connection *c,
        const char *operation_id, bool *ret_lost, struct err *e);
