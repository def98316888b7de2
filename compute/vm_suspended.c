/* SPDX-License-Identifier: Apache-2.0 */
/* Suspended VMs keep their disks. */
#include "compute/vm_suspended.h"

#include "compute/vm_jobs.h"

static int refuse(const char *name, const char *what, struct err *e)
{
	err_set(e, ERR_WRONG_STATE,
	        "VM %s is suspended: %s would take away files that its saved memory goes on with",
	        name, what);
	return err_hint(
	        e, "start it first, so that it is resumed; then stop it if it shall be off");
}

int vm_check_not_suspended(struct db *db, const struct vm_row *row, const char *what, struct err *e)
{
	char busy[UUID_TEXT_SIZE] = "", kind[64];
	if (row->power != POWER_SUSPENDED)
		return 0;
	int rc = vm_jobs_find_busy(db, row->id, busy, kind, e);
	return rc < 0 || busy[0] ? rc : refuse(row->name, what, e);
}

int vm_refuse_suspended(const struct domain_info *info, const char *what, struct err *e)
{
	bool is_suspended = domain_state_is_off(info->state) && info->has_managed_save;
	return is_suspended ? refuse(info->name, what, e) : 0;
}
