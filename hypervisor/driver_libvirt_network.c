/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual networks through libvirt. Lane threads. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

static void cleanup_network(virNetworkPtr *network)
{
	if (*network)
		virNetworkFree(*network);
}

int libvirt_network_check(struct driver_connection *c, const char *name, struct err *e)
{
	virNetworkPtr network CLEANUP(cleanup_network) = virNetworkLookupByName(c->libvirt, name);
	if (!network)
		return libvirt_error_take(e, "network %s", name);
	int active = virNetworkIsActive(network);
	if (active < 0)
		return libvirt_error_take(e, "network %s", name);
	if (active == 1)
		return 0;
	err_set(e, ERR_WRONG_STATE, "network %s is not active on the host", name);
	return err_hint(e, "virsh net-start %s", name);
}

int libvirt_network_list(struct driver_connection *c, char ***ret_names, struct err *e)
{
	virNetworkPtr *networks = NULL;
	int n = virConnectListAllNetworks(c->libvirt, &networks, VIR_CONNECT_LIST_NETWORKS_ACTIVE);
	if (n < 0)
		return libvirt_error_take(e, "listing the host's networks");
	char **names = xcalloc((size_t)n + 1, sizeof(*names));
	for (int i = 0; i < n; i++) {
		names[i] = xstrdup(virNetworkGetName(networks[i]));
		virNetworkFree(networks[i]);
	}
	free(networks);
	str_list_sort(names);
	*ret_names = names;
	return 0;
}
