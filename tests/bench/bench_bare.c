/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the memory figures: a process that is linked with every library of berthd, has one libvirt connection
 * open and does nothing. Prints "ready" and waits until its input ends.
 *
 *	bench_bare [URI]       default test:///default
 */
#include <gnutls/gnutls.h>
#include <ini.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libxml/parser.h>
#include <microhttpd.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <uuid.h>
#include <uv.h>

/* One function of each library, so that the linker keeps all of them. */
static const void *const linked[] = {gnutls_check_version, ini_parse, json_object,
        virDomainQemuMonitorCommand, xmlCheckVersion, MHD_get_version, sodium_version_string,
        sqlite3_libversion, sd_notify, uuid_generate, uv_version};

int main(int argc, char **argv)
{
	virConnectPtr connection = virConnectOpen(argc > 1 ? argv[1] : "test:///default");
	if (!connection || !linked[0])
		return 1;
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return virConnectClose(connection) < 0;
}
