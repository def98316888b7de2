/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of the host's libvirt. A value is never printed, and wiped from memory that was taken for it. Lane threads. */
#include <libvirt/virterror.h>
#include <sodium.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"
#include "hypervisor/storage_xml.h"

static void cleanup_secret(virSecretPtr *secret)
{
	if (*secret)
		virSecretFree(*secret);
}

/* A ceph key is written in base64; libvirt keeps what that stands for. Anything else is taken as it is. */
static int set_value(virSecretPtr secret, const char *usage, const char *value, struct err *e)
{
	size_t n = strlen(value);
	unsigned char *bytes CLEANUP(cleanup_free) = xmemdup(value, n + 1);
	size_t room = n + 1;
	int r = 0;
	if (str_equal(usage, "ceph") && sodium_base642bin(bytes, room, value, n, "\r\n ", &n, NULL,
	                                        sodium_base64_VARIANT_ORIGINAL) != 0)
		r = err_set(e, ERR_INVALID, "the secret of a ceph user is its key, in base64");
	else if (virSecretSetValue(secret, bytes, n, 0) < 0)
		r = libvirt_error_take(e, "setting a secret's value");
	sodium_memzero(bytes, room);
	return r;
}

int libvirt_secret_set(struct driver_connection *c, const char *secret_id, const char *usage,
        const char *value, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = storage_xml_build_secret(secret_id, usage, &xml, e);
	if (r < 0)
		return r;
	virSecretPtr secret CLEANUP(cleanup_secret) = virSecretDefineXML(c->libvirt, xml, 0);
	if (!secret)
		return libvirt_error_take(e, "defining secret %s", secret_id);
	return set_value(secret, usage, value, e);
}

int libvirt_secret_remove(struct driver_connection *c, const char *secret_id, struct err *e)
{
	virSecretPtr secret CLEANUP(cleanup_secret) =
	        virSecretLookupByUUIDString(c->libvirt, secret_id);
	if (secret && virSecretUndefine(secret) == 0)
		return 0;
	/* Where there are no secrets, none is left. */
	int number = libvirt_error_number();
	if (number == VIR_ERR_NO_SECRET || number == VIR_ERR_NO_SUPPORT)
		return 0;
	return libvirt_error_take(e, "removing secret %s", secret_id);
}
