/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's connections, its facts and its table. Lane threads. */
#include "hypervisor/driver_fake_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define URI_PREFIX "fake:///"

static int fake_open(const char *uri, struct loop *loop, const struct driver_events *events,
        struct driver_connection **ret_connection, struct err *e)
{
	const char *name =
	        strncmp(uri, URI_PREFIX, strlen(URI_PREFIX)) == 0 ? uri + strlen(URI_PREFIX) : "";
	size_t len = strcspn(name, "?/#");
	if (!fake_is_enabled() || len == 0 || name[len] == '/' || name[len] == '#')
		return err_set(e, ERR_INVALID, "no fake host is called '%s'", uri);
	CLEANUP(cleanup_free) char *host = xstrndup(name, len);
	struct fake_host *h = fake_host_get(host);
	int rc = fake_enter_open(h, uri, e);
	if (rc != 0)
		return rc;
	struct driver_connection *c = xcalloc(1, sizeof(*c));
	*c = (struct driver_connection){.host = h, .loop = loop, .next = h->connections, .refs = 1};
	if (events)
		c->events = *events;
	h->connections = c;
	h->stats.connections++;
	pthread_mutex_unlock(&h->lock);
	*ret_connection = c;
	return 0;
}

static void fake_close(struct driver_connection *c)
{
	struct fake_host *h = c->host;
	/* Closing says goodbye to the server, and so waits for a silent one. */
	if (fake_enter(c, "close", NULL, NULL) == 0)
		fake_leave(c);
	LOCK_SCOPE(&h->lock);
	struct driver_connection **at = &h->connections;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->is_closed = true;
	h->stats.connections--;
	fake_connection_unref(c);
}

static int fake_ping(struct driver_connection *c, struct err *e)
{
	int rc = fake_enter(c, "ping", NULL, e);
	if (rc == 0)
		fake_leave(c);
	return rc;
}

static void fill_arch(
        struct arch_facts *arch, const char *name, const char *emulator, const char *machine)
{
	*arch = (struct arch_facts){.emulator = xstrdup(emulator),
	        .has_uefi = true,
	        .default_machine = xstrdup(machine),
	        .machines = xcalloc(3, sizeof(char *))};
	memcpy(arch->name, name, strlen(name) + 1);
	arch->machines[0] = xstrdup(machine);
	arch->machines[1] = xstrdup(strcmp(name, "x86_64") == 0 ? "pc" : "virt-7.2");
}

static void fill_facts(const struct fake_host *h, struct host_facts *ret)
{
	*ret = (struct host_facts){.hostname = xstrdup(h->name),
	        .cpu_arch = xstrdup("x86_64"),
	        .cpu_model = xstrdup("Fake-CPU"),
	        .cpu_vendor = xstrdup("Fake"),
	        .domain_type = xstrdup("qemu"),
	        .threads = h->cpus,
	        .sockets = 1,
	        .cores = h->cpus,
	        .threads_per_core = 1,
	        .memory_bytes = h->memory_bytes,
	        .libvirt_version = 9000000,
	        .hypervisor_version = 7002000,
	        .archs = xcalloc(2, sizeof(struct arch_facts)),
	        .n_archs = 2,
	        .numa = xcalloc(1, sizeof(struct numa_node)),
	        .n_numa = 1,
	        .networks = fake_network_names(h),
	        .has_libvirt_storage = true};
	ret->cpu_baseline = xstrdup("Fake/Fake-CPU");
	ret->host_cpus = xcalloc((size_t)h->cpus + 1, sizeof(*ret->host_cpus));
	for (int i = 0; i < h->cpus; i++)
		ret->host_cpus[ret->n_host_cpus++] = (struct host_cpu){.id = i, .core = i};
	ret->numa[0] = (struct numa_node){.memory_bytes = h->memory_bytes, .cpus = h->cpus};
	fill_arch(&ret->archs[0], "x86_64", "/usr/bin/qemu-system-x86_64", "q35");
	fill_arch(&ret->archs[1], "aarch64", "/usr/bin/qemu-system-aarch64", "virt");
	ret->archs[0].has_secure_boot = true;
}

static int fake_get_facts(struct driver_connection *c, struct host_facts *ret_facts, struct err *e)
{
	int rc = fake_enter(c, "get_facts", NULL, e);
	if (rc != 0)
		return rc;
	fill_facts(c->host, ret_facts);
	fake_leave(c);
	return 0;
}

const struct driver driver_fake = {
        .name = "fake",
        .open = fake_open,
        .close = fake_close,
        .ping = fake_ping,
        .get_facts = fake_get_facts,
        .list_domains = fake_list_domains,
        .get_domain = fake_get_domain,
        .find_domain = fake_find_domain,
        .get_stats = fake_get_stats,
        .get_host_stats = fake_get_host_stats,
        .get_ksm = fake_get_ksm,
        .set_ksm = fake_set_ksm,
        .get_guest = fake_get_guest,
        .define = fake_define,
        .undefine = fake_undefine,
        .rename = fake_rename,
        .start = fake_start,
        .shutdown = fake_shutdown,
        .destroy = fake_destroy,
        .quit = fake_quit,
        .reboot = fake_reboot,
        .reset = fake_hard_reset,
        .pause = fake_pause,
        .resume = fake_resume,
        .managed_save = fake_managed_save,
        .managed_save_remove = fake_managed_save_remove,
        .set_memory_live = fake_set_memory_live,
        .set_memory_stats_period = fake_set_memory_stats_period,
        .memory_grow_live = fake_memory_grow_live,
        .set_vcpus_live = fake_set_vcpus_live,
        .get_guest_vcpus = fake_get_guest_vcpus,
        .set_cpu_pins_live = fake_set_cpu_pins_live,
        .set_cpu_live = fake_set_cpu_live,
        .attach_device = fake_attach_device,
        .detach_device = fake_detach_device,
        .update_device = fake_update_device,
        .pool_ensure = fake_pool_ensure,
        .pool_info = fake_pool_info,
        .pool_remove = fake_pool_remove,
        .secret_set = fake_secret_set,
        .secret_remove = fake_secret_remove,
        .volume_create = fake_volume_create,
        .volume_delete = fake_volume_delete,
        .volume_get = fake_volume_get,
        .volume_list = fake_volume_list,
        .volume_wipe = fake_volume_wipe,
        .volume_upload = fake_volume_upload,
        .volume_download = fake_volume_download,
        .block_copy = fake_block_copy,
        .block_commit = fake_block_commit,
        .block_pull = fake_block_pull,
        .block_job_get = fake_block_job_get,
        .block_job_end = fake_block_job_end,
        .block_resize = fake_block_resize,
        .set_disk_limits = fake_block_set_limits,
        .disk_chain = fake_block_chain,
        .find_user = fake_find_user,
        .snapshot_create = fake_snapshot_create,
        .saved_xml = fake_saved_xml,
        .restore = fake_restore,
        .create_transient = fake_create_transient,
        .drop_checkpoints = fake_drop_checkpoints,
        .freeze = fake_agent_freeze,
        .thaw = fake_agent_thaw,
        .freeze_status = fake_agent_freeze_status,
        .set_guest_time = fake_agent_set_time,
        .network_check = fake_network_check,
        .network_list = fake_network_list,
};
