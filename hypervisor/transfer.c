/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, one stream, and closed again. Bulk threads. */
#include "hypervisor/transfer.h"

/* A connection that only one thread uses and that hears no events. */
static int open_link(const char *uri, const struct driver **ret_driver,
        struct driver_connection **ret_connection, struct err *e)
{
	*ret_driver = driver_for_uri(uri);
	if (!*ret_driver)
		return err_set(e, ERR_UNSUPPORTED, "no driver for %s", uri);
	return (*ret_driver)->open(uri, NULL, NULL, ret_connection, e);
}

int transfer_upload(
        const struct transfer *transfer, const struct volume_source *from, struct err *e)
{
	const struct driver *driver = NULL;
	struct driver_connection *c = NULL;
	int r = open_link(transfer->uri, &driver, &c, e);
	if (r < 0)
		return r;
	r = driver->volume_upload(
	        c, transfer->pool, transfer->volume, transfer->offset, transfer->length, from, e);
	driver->close(c);
	return r;
}

int transfer_download(const struct transfer *transfer, const struct volume_sink *to, struct err *e)
{
	const struct driver *driver = NULL;
	struct driver_connection *c = NULL;
	int r = open_link(transfer->uri, &driver, &c, e);
	if (r < 0)
		return r;
	r = driver->volume_download(
	        c, transfer->pool, transfer->volume, transfer->offset, transfer->length, to, e);
	driver->close(c);
	return r;
}
