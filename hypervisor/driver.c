/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a driver, and freeing what drivers return. */
#include "hypervisor/driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "hypervisor/driver_fake.h"

const struct driver *driver_for_uri(const char *uri)
{
	if (str_starts_with(uri, "fake:"))
		return fake_is_enabled() ? &driver_fake : NULL;
	if (str_starts_with(uri, "qemu:") || str_starts_with(uri, "qemu+") ||
	        str_starts_with(uri, "test:"))
		return &driver_libvirt;
	return NULL;
}

void domain_info_done(struct domain_info *info)
{
	free(info->name);
	free(info->xml);
	free(info->live_xml);
	*info = (struct domain_info){0};
}

void domain_list_done(struct domain_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		domain_info_done(&list->items[i]);
	free(list->items);
	*list = (struct domain_list){0};
}

void domain_stats_list_done(struct domain_stats_list *list)
{
	free(list->items);
	*list = (struct domain_stats_list){0};
}

void guest_info_done(struct guest_info *info)
{
	free(info->os_name);
	free(info->os_version);
	free(info->hostname);
	free(info->kernel);
	free(info->addresses);
	*info = (struct guest_info){0};
}

void volume_info_done(struct volume_info *info)
{
	free(info->name);
	free(info->path);
	free(info->backing_path);
	*info = (struct volume_info){0};
}

void volume_info_list_done(struct volume_info_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		volume_info_done(&list->items[i]);
	free(list->items);
	*list = (struct volume_info_list){0};
}
