/* SPDX-License-Identifier: Apache-2.0 */
/* Left-over carriers. */
#include "compute/vm_carriers.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "hypervisor/host_directory.h"
#include "operation/operation_store.h"
#include "storage/carrier.h"

#define REMOVE_TIMEOUT_MS 60000

void vm_carriers_done(struct vm_carriers *carriers)
{
	free(carriers->ids);
	*carriers = (struct vm_carriers){0};
}

void vm_carriers_take(struct domain_list *domains, struct vm_carriers *ret_carriers)
{
	size_t kept = 0;
	ret_carriers->ids = xcalloc(domains->len + 1, sizeof(ret_carriers->ids[0]));
	for (size_t i = 0; i < domains->len; i++) {
		struct domain_info *info = &domains->items[i];
		if (info->is_carrier) {
			uuid_text_copy(ret_carriers->ids[ret_carriers->len++], info->id);
			domain_info_done(info);
		} else {
			domains->items[kept++] = *info;
		}
	}
	domains->len = kept;
}

static int has_ended(struct db *db, const char *id, bool *ret_ended, struct err *e)
{
	struct operation_row row = {0};
	int rc = operation_store_get(db, id, &row, e);
	*ret_ended = rc == ERR_NOT_FOUND || (rc == 0 && row.ended_at > 0);
	operation_row_done(&row);
	if (rc == ERR_NOT_FOUND)
		err_clear(e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int vm_carriers_keep_ended(struct db *db, struct vm_carriers *carriers, struct err *e)
{
	size_t kept = 0;
	for (size_t i = 0; i < carriers->len; i++) {
		bool ended = false;
		int rc = has_ended(db, carriers->ids[i], &ended, e);
		if (rc < 0)
			return rc;
		if (ended)
			memmove(carriers->ids[kept++], carriers->ids[i], UUID_TEXT_SIZE);
	}
	carriers->len = kept;
	return 0;
}

struct removal {
	char id[UUID_TEXT_SIZE];
};

static int run_removal(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct removal *removal = arg;
	return carrier_stop(driver, c, removal->id, e);
}

static void on_removed(void *arg, int rc, const struct err *e)
{
	struct removal *removal = arg;
	if (rc < 0 && rc != ERR_CANCELLED)
		log_err(LOG_LEVEL_WARNING, e, "carrier %s could not be removed", removal->id);
}

void vm_carriers_remove(struct vms *vms, const char *host_id, const struct vm_carriers *carriers)
{
	for (size_t i = 0; i < carriers->len; i++) {
		struct removal *removal = xcalloc(1, sizeof(*removal));
		uuid_text_copy(removal->id, carriers->ids[i]);
		const struct lane_call call = {
		        .class = LANE_BACKGROUND,
		        .domain = removal->id,
		        .timeout_ms = REMOVE_TIMEOUT_MS,
		        .run = run_removal,
		        .done = on_removed,
		        .release = free,
		        .arg = removal,
		};
		host_directory_submit(vms->config.services->directory, host_id, &call);
	}
}
