/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libvirt driver, for QEMU hosts and for libvirt's own test:/// driver: opening, closing and
 * the table. All calls block on the thread of the caller (a lane); see driver_libvirt_events.c for
 * the way back.
 */
#include <libvirt/virterror.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"
#include "hypervisor/uri.h"

/* A silent libvirtd is given up after KEEPALIVE_INTERVAL_S * (KEEPALIVE_COUNT + 1). */
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT      3

/* libvirt would print every error on stderr. */
static void ignore_error(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

static void initialize_once(void)
{
	virInitialize();
	virSetErrorFunc(NULL, ignore_error);
}

static void initialize(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, initialize_once);
}

/* Nobody sits at a keyboard: whatever libvirt asks for is refused. */
static int refuse_credentials(virConnectCredentialPtr credentials, unsigned int n, void *arg)
{
	(void)credentials;
	(void)n;
	(void)arg;
	return -1;
}

static virConnectPtr open_connection(const char *uri)
{
	static int kinds[] = {VIR_CRED_USERNAME, VIR_CRED_AUTHNAME, VIR_CRED_LANGUAGE,
	        VIR_CRED_CNONCE, VIR_CRED_PASSPHRASE, VIR_CRED_ECHOPROMPT, VIR_CRED_NOECHOPROMPT,
	        VIR_CRED_REALM, VIR_CRED_EXTERNAL};
	virConnectAuth auth = {
	        .credtype = kinds, .ncredtype = ARRAY_LEN(kinds), .cb = refuse_credentials};
	return virConnectOpenAuth(uri, &auth, 0);
}

/* ssh must not ask on a terminal that berthd may have inherited. Caller frees. */
static char *without_terminal(const char *uri)
{
	if (!str_starts_with(uri, "qemu+ssh:"))
		return xstrdup(uri);
	return str_format("%s%sno_tty=1", uri, strchr(uri, '?') ? "&" : "?");
}

static void driver_close(struct driver_connection *c)
{
	if (!c)
		return;
	libvirt_events_unsubscribe(c);
	if (c->libvirt)
		virConnectClose(c->libvirt);
	free(c);
}
CLEANUP_DEFINE(struct driver_connection, driver_close);

static bool is_test_connection(virConnectPtr conn)
{
	const char *type = virConnectGetType(conn);
	return type && strcasecmp(type, "test") == 0;
}

static bool is_local(const char *uri)
{
	bool is_local_host = false;
	return uri_check(uri, /* allow_plain_tcp= */ true, &is_local_host, NULL) == 0 &&
	       is_local_host;
}

static int driver_open(const char *uri, struct loop *loop, const struct driver_events *events,
        struct driver_connection **ret_connection, struct err *e)
{
	(void)loop; /* libvirt has one for all connections */
	initialize();
	struct driver_connection *c CLEANUP(cleanup_driver_close) = xcalloc(1, sizeof(*c));
	memset(c->event_ids, -1, sizeof(c->event_ids));
	char *plain_uri CLEANUP(cleanup_free) = without_terminal(uri);
	c->libvirt = open_connection(plain_uri);
	if (!c->libvirt)
		return libvirt_error_take(e, "connecting to %s", uri);
	c->is_test = is_test_connection(c->libvirt);
	c->is_local = !c->is_test && is_local(uri);
	/* Refused by drivers that live in this process, which cannot fall silent. */
	virConnectSetKeepAlive(c->libvirt, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
	int r = events ? libvirt_events_subscribe(c, events, e) : 0;
	if (r < 0)
		return r;
	*ret_connection = TAKE(c);
	return 0;
}

static int driver_ping(struct driver_connection *c, struct err *e)
{
	unsigned long version;
	if (virConnectGetLibVersion(c->libvirt, &version) < 0)
		return libvirt_error_take(e, "asking the host");
	return 0;
}

const struct driver driver_libvirt = {
        .name = "libvirt",
        .open = driver_open,
        .close = driver_close,
        .ping = driver_ping,
        .get_facts = libvirt_facts_get,
        .list_domains = libvirt_domains_list,
        .get_domain = libvirt_domain_get,
        .find_domain = libvirt_domain_find,
        .get_stats = libvirt_stats_get,
        .get_host_stats = libvirt_host_get_stats,
        .get_ksm = libvirt_host_get_ksm,
        .set_ksm = libvirt_host_set_ksm,
        .get_guest = libvirt_guest_get,
        .define = libvirt_domain_define,
        .undefine = libvirt_domain_undefine,
        .rename = libvirt_domain_rename,
        .start = libvirt_domain_start,
        .shutdown = libvirt_domain_shutdown,
        .destroy = libvirt_domain_destroy,
        .quit = libvirt_domain_quit,
        .reboot = libvirt_domain_reboot,
        .reset = libvirt_domain_reset,
        .pause = libvirt_domain_pause,
        .resume = libvirt_domain_resume,
        .managed_save = libvirt_domain_managed_save,
        .managed_save_remove = libvirt_domain_managed_save_remove,
        .set_memory_live = libvirt_live_set_memory,
        .set_memory_stats_period = libvirt_live_set_stats_period,
        .memory_grow_live = libvirt_live_grow_memory,
        .set_vcpus_live = libvirt_live_set_vcpus,
        .get_guest_vcpus = libvirt_agent_count_vcpus,
        .set_cpu_pins_live = libvirt_live_set_cpu_pins,
        .set_cpu_live = libvirt_live_set_cpu,
        .attach_device = libvirt_live_attach_device,
        .detach_device = libvirt_live_detach_device,
        .update_device = libvirt_live_update_device,
        .pool_ensure = libvirt_pool_ensure,
        .pool_info = libvirt_pool_info,
        .pool_remove = libvirt_pool_remove,
        .secret_set = libvirt_secret_set,
        .secret_remove = libvirt_secret_remove,
        .volume_create = libvirt_volume_create,
        .volume_delete = libvirt_volume_delete,
        .volume_get = libvirt_volume_get,
        .volume_list = libvirt_volume_list,
        .volume_wipe = libvirt_volume_wipe,
        .volume_upload = libvirt_volume_upload,
        .volume_download = libvirt_volume_download,
        .block_copy = libvirt_block_copy,
        .block_commit = libvirt_block_commit,
        .block_pull = libvirt_block_pull,
        .block_job_get = libvirt_block_job_get,
        .block_job_end = libvirt_block_job_end,
        .disk_capacity = libvirt_block_capacity,
        .block_resize = libvirt_block_resize,
        .set_disk_limits = libvirt_block_set_limits,
        .disk_chain = libvirt_block_chain,
        .find_user = libvirt_find_user,
        .snapshot_create = libvirt_snapshot_create,
        .saved_xml = libvirt_saved_xml,
        .restore = libvirt_restore,
        .create_transient = libvirt_create_transient,
        .drop_checkpoints = libvirt_drop_checkpoints,
        .freeze = libvirt_agent_freeze,
        .thaw = libvirt_agent_thaw,
        .freeze_status = libvirt_agent_freeze_status,
        .set_guest_time = libvirt_agent_set_time,
        .network_check = libvirt_network_check,
        .network_list = libvirt_network_list,
};
