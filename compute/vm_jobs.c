/* SPDX-License-Identifier: Apache-2.0 */
/* The table of jobs that may run together on one VM, with the reasons. */
#include "compute/vm_jobs.h"

#include "operation/operation.h"

#define RULE(bit, text)                                                                            \
	{                                                                                          \
		.name = #bit, .job = VM_JOB_##bit, .beside = VM_BESIDE_##bit, .why = text          \
	}

const struct vm_job_rule vm_job_rules[VM_JOBS] = {
        RULE(START, "a new process opens the disks: whoever works on them without the VM (a "
                    "carrier) must have left, "
                    "and the configuration it is given must not change meanwhile"),
        RULE(POWER, "takes seconds and none of it gives the VM a process, so a move or merge of "
                    "hours need not be waited "
                    "for: when the VM stops, the block job ends as gone and its operation goes on "
                    "with a carrier. Its own "
                    "kind waits, so that the last word is what holds"),
        RULE(SUSPEND, "libvirt refuses to save a domain with a block job, and a saved state names "
                      "the chain it was saved with"),
        RULE(CONFIGURE, "both rewrite the definition and the disks' rows: the last writer would "
                        "undo the other's change"),
        RULE(BLOCK, "one at a time: a second job may be on the same disk, and each rewrites the "
                    "persistent definition"),
        RULE(MERGE, "as BLOCK, on all disks of the VM"),
        RULE(SNAPSHOT, "libvirt refuses a snapshot while a block job runs, and a frozen chain must "
                       "not change under it; "
                       "power must not change between the moment that is recorded and the one that "
                       "is saved"),
        RULE(REVERT, "stops the guest, replaces its chains and starts it again: nothing holds "
                     "meanwhile"),
        RULE(MIGRATE, "libvirt refuses block jobs and snapshots while it migrates; the VM's host "
                      "changes with its end"),
        RULE(BACKUP, "a pull backup refuses block jobs, and snapshots and saving time out on the "
                     "state lock"),
};

const char *const vm_jobs_without_power[] = {
        "vm.disk.move", "vm.disk.flatten", "snapshot.delete", "snapshot.sweep", NULL};

int vm_jobs_find_busy(struct db *db, const char *vm_id, char ret_id[UUID_TEXT_SIZE],
        char ret_kind[64], struct err *e)
{
	return operation_find_busy_but(db, vm_id, vm_jobs_without_power, ret_id, ret_kind, e);
}
