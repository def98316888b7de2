/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the DHCP server and the guest's agent say of a guest. An agent that is not connected is not
 * asked, and one that does not answer costs AGENT_TIMEOUT_S per question at most. Lane threads.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

typedef VEC(struct guest_address) addresses;

static void add_address(addresses *list, const virDomainInterface *nic,
        const virDomainIPAddress *ip, const char *source)
{
	struct guest_address address = {.prefix = (int)ip->prefix, .source = source};
	if (!ip->addr)
		return;
	snprintf(address.mac, sizeof(address.mac), "%s", nic->hwaddr ? nic->hwaddr : "");
	snprintf(address.address, sizeof(address.address), "%s", ip->addr);
	VEC_FOR_EACH (list, known)
		if (strcmp(known->address, address.address) == 0 &&
		        strcmp(known->mac, address.mac) == 0)
			return;
	VEC_PUSH(list, address);
}

/* A source that does not answer adds nothing. The loopback's address says nothing either. */
static void add_addresses(
        addresses *list, virDomainPtr domain, unsigned int from, const char *source)
{
	virDomainInterfacePtr *nics = NULL;
	int n = virDomainInterfaceAddresses(domain, &nics, from, 0);
	for (int i = 0; i < n; i++) {
		bool is_loopback = str_equal(nics[i]->name, "lo");
		for (unsigned int k = 0; k < nics[i]->naddrs && !is_loopback; k++)
			add_address(list, nics[i], &nics[i]->addrs[k], source);
		virDomainInterfaceFree(nics[i]);
	}
	free(nics);
}

static void take_text(virTypedParameterPtr params, int n, const char *field, char **slot)
{
	const char *text = NULL;
	if (virTypedParamsGetString(params, n, field, &text) == 1)
		str_replace(slot, text);
}

/* Asked one by one: an old agent refuses a whole question for one command it lacks. */
static void ask_agent(virDomainPtr domain, unsigned int kinds, struct guest_info *info)
{
	virTypedParameterPtr params = NULL;
	int n = 0;
	if (virDomainGetGuestInfo(domain, kinds, &params, &n, 0) < 0)
		return;
	take_text(params, n, "os.name", &info->os_name);
	take_text(params, n, "os.version", &info->os_version);
	take_text(params, n, "os.kernel-release", &info->kernel);
	take_text(params, n, "hostname", &info->hostname);
	virTypedParamsFree(params, n);
}

static int read_agent_state(virDomainPtr domain, struct guest_info *info, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = virDomainGetXMLDesc(domain, 0);
	if (!xml)
		return libvirt_domain_error(domain, "reading the definition of", e);
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	int r = domain_xml_parse(xml, &facts, e);
	info->agent_connected = r == 0 && facts.agent_connected;
	return r;
}

int libvirt_guest_get(
        struct driver_connection *c, const char *id, struct guest_info *ret_info, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	struct guest_info info = {0};
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0 && !libvirt_domain_is_active(domain))
		r = err_set(e, ERR_WRONG_STATE, "%s is not running", virDomainGetName(domain));
	if (r == 0)
		r = read_agent_state(domain, &info, e);
	if (r < 0)
		return r;
	addresses list = {0};
	/* The test driver invents its leases. */
	if (!c->is_test)
		add_addresses(&list, domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, "lease");
	if (info.agent_connected) {
		virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0);
		add_addresses(&list, domain, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, "agent");
		ask_agent(domain, VIR_DOMAIN_GUEST_INFO_OS, &info);
		ask_agent(domain, VIR_DOMAIN_GUEST_INFO_HOSTNAME, &info);
	}
	info.addresses = list.items;
	info.n_addresses = list.len;
	*ret_info = info;
	return 0;
}
