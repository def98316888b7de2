/* SPDX-License-Identifier: Apache-2.0 */
/* Translates a VM's configuration into hypervisor/domain_xml's description. */
#include "compute/vm_domain.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/room_cpus.h"
#include "base/vec.h"

static int load_chains(struct db *db, struct vm_plan *plan, struct err *e)
{
	int rc = 0;
	plan->chains = xcalloc(plan->n_volumes + 1, sizeof(plan->chains[0]));
	for (size_t i = 0; i < plan->n_volumes && rc == 0; i++)
		rc = layer_chain_load(db, plan->volumes[i].layer_id, &plan->chains[i], e);
	return rc;
}

int vm_plan_load(struct db *db, const char *vm_id, struct vm_plan *ret_plan, struct err *e)
{
	int rc = vm_store_get(db, vm_id, &ret_plan->row, e);
	if (rc == 0)
		rc = vm_spec_load(ret_plan->row.spec, &ret_plan->spec, e);
	if (rc == 0)
		rc = volume_store_of_vm(db, vm_id, &ret_plan->volumes, &ret_plan->n_volumes, e);
	if (rc == 0)
		rc = load_chains(db, ret_plan, e);
	bool is_held = false;
	if (rc == 0)
		rc = room_store_get(
		        db, ret_plan->row.id, ret_plan->row.host_id, &ret_plan->held, &is_held, e);
	if (rc < 0)
		vm_plan_done(ret_plan);
	return rc;
}

void vm_plan_done(struct vm_plan *plan)
{
	for (size_t i = 0; i < plan->n_volumes; i++) {
		volume_row_done(&plan->volumes[i]);
		if (plan->chains)
			layer_chain_done(&plan->chains[i]);
	}
	free(plan->volumes);
	free(plan->chains);
	room_row_done(&plan->held);
	vm_spec_done(&plan->spec);
	vm_row_done(&plan->row);
	*plan = (struct vm_plan){0};
}

const struct volume_row *vm_plan_volume(const struct vm_plan *plan, const char *disk)
{
	for (size_t i = 0; i < plan->n_volumes; i++)
		if (str_equal(plan->volumes[i].disk, disk))
			return &plan->volumes[i];
	return NULL;
}

const struct layer_chain *vm_plan_chain(const struct vm_plan *plan, const char *disk)
{
	const struct volume_row *volume = vm_plan_volume(plan, disk);
	return volume ? &plan->chains[volume - plan->volumes] : NULL;
}

char *vm_console_path(const char *console_directory, const char *vm_id)
{
	return str_format("%s/berth-%s.console.log", console_directory, vm_id);
}

/* A description together with what its pointers point at. */
struct build {
	struct domain_config config;
	VEC(struct domain_disk) disks;
	VEC(struct domain_nic) nics;
	char *console_log;
	struct room_pins pins;
};

static void build_done(struct build *b)
{
	VEC_DONE(&b->disks);
	VEC_DONE(&b->nics);
	free(b->console_log);
	room_pins_done(&b->pins);
}

static int boot_order_of(const struct vm_spec *spec, const char *device)
{
	for (size_t i = 0; i < spec->boot.order.len; i++)
		if (strcmp(spec->boot.order.items[i], device) == 0)
			return (int)i + 1;
	return 0;
}

static int add_disk(struct build *b, const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_disk *disk, struct err *e)
{
	const struct layer_chain *chain = vm_plan_chain(plan, disk->name);
	if (!chain && disk->volume)
		return err_set(e, ERR_INTERNAL, "disk %s of VM %s has no volume on record",
		        disk->name, plan->row.name);
	bool is_cdrom = disk->kind == VM_DISK_CDROM;
	VEC_PUSH(&b->disks,
	        ((struct domain_disk){
	                .name = disk->name,
	                .kind = is_cdrom ? DOMAIN_CDROM : DOMAIN_DISK,
	                .chain = chain ? chain->sources : NULL,
	                .n_chain = chain ? chain->len : 0,
	                .bus = is_cdrom && disk->bus == 0 ? "sata" : vm_bus_names[disk->bus],
	                .serial = disk->serial ? disk->serial : disk->name,
	                .cache = vm_cache_names[disk->cache],
	                .discard = vm_discard_names[disk->discard],
	                .iops_limit = disk->iops_limit,
	                .bytes_per_second_limit = disk->bytes_per_second_limit,
	                .boot_order = boot_order_of(spec, disk->name),
	        }));
	return 0;
}

static void add_seed(struct build *b, const struct vm_plan *plan, const struct vm_spec *spec)
{
	const struct layer_chain *chain = vm_plan_chain(plan, VM_SEED_DISK);
	if (!chain || !spec->has_cloud_init)
		return;
	VEC_PUSH(&b->disks, ((struct domain_disk){
	                            .name = VM_SEED_DISK,
	                            .kind = DOMAIN_CDROM,
	                            .chain = chain->sources,
	                            .n_chain = chain->len,
	                            .bus = "scsi", /* kernels made for clouds have no AHCI */
	                    }));
}

static int add_disks(
        struct build *b, const struct vm_plan *plan, const struct vm_spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->disks.len; i++) {
		int rc = add_disk(b, plan, spec, vm_spec_disk(spec, i), e);
		if (rc < 0)
			return rc;
	}
	add_seed(b, plan, spec);
	return 0;
}

static void add_nic(struct build *b, const struct vm_spec *spec, const struct vm_nic *nic)
{
	VEC_PUSH(&b->nics, ((struct domain_nic){
	                           .name = nic->name,
	                           .network = nic->network,
	                           .mac = nic->mac,
	                           .model = vm_nic_model_names[nic->model],
	                           .boot_order = boot_order_of(spec, nic->name),
	                   }));
}

static struct domain_config describe(
        const struct vm_plan *plan, const struct vm_spec *spec, const struct vm_platform *platform)
{
	return (struct domain_config){
	        .id = plan->row.id,
	        .name = plan->row.name,
	        .description = spec->description,
	        .domain_type = platform->domain_type,
	        .architecture = spec->architecture,
	        .machine = spec->machine ? spec->machine : platform->machine,
	        .memory_bytes = spec->memory.size_bytes,
	        .memory_max_bytes = vm_spec_memory_ceiling(spec),
	        .memory_current_bytes = spec->memory.size_bytes,
	        .ballooning = spec->memory.ballooning == BALLOONING_AUTO,
	        .memory_merge = spec->memory.merge,
	        .hugepages = spec->memory.hugepages,
	        .vcpus = (int)spec->cpu.count,
	        .vcpus_max = (int)(spec->cpu.has_max ? spec->cpu.max : spec->cpu.count),
	        .cpu_model = spec->cpu.model,
	        .cpu_shares = spec->cpu.shares,
	        .cpu_limit_percent = spec->cpu.limit_percent,
	        .firmware = spec->boot.firmware == VM_FIRMWARE_UEFI ? FIRMWARE_UEFI : FIRMWARE_BIOS,
	        .secure_boot = spec->boot.secure_boot,
	        .tpm = spec->tpm,
	        .kernel = spec->boot.kernel,
	        .initrd = spec->boot.initrd,
	        .cmdline = spec->boot.cmdline,
	        .is_test_driver = platform->is_test_driver,
	};
}

/* As it was granted; what runs without a grant floats. */
static void add_pins(struct build *b, const struct vm_plan *plan)
{
	struct domain_config *config = &b->config;
	room_pins_fill(plan->held.cpus, config->vcpus_max, &b->pins);
	if (b->pins.n_vcpus == 0)
		return;
	config->vcpu_pins = (const char *const *)b->pins.vcpus;
	config->n_vcpu_pins = b->pins.n_vcpus;
	config->emulator_pins = b->pins.emulator;
	config->memory_nodes = str_is_empty(b->pins.nodes) ? NULL : b->pins.nodes;
	config->memory_policy = b->pins.is_dedicated ? "strict" : "preferred";
}

static int fill(struct build *b, const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, struct err *e)
{
	if (platform->domain_type[0] == '\0')
		return err_set_at(e, ERR_UNSUPPORTED, "/architecture",
		        "host %s cannot run %s guests", plan->row.host, spec->architecture);
	int rc = add_disks(b, plan, spec, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < spec->nics.len; i++)
		add_nic(b, spec, vm_spec_nic(spec, i));
	b->config = describe(plan, spec, platform);
	add_pins(b, plan);
	b->console_log = vm_console_path(platform->console_directory, plan->row.id);
	b->config.console_log = b->console_log;
	b->config.disks = b->disks.items;
	b->config.n_disks = b->disks.len;
	b->config.nics = b->nics.items;
	b->config.n_nics = b->nics.len;
	return 0;
}

int vm_domain_build(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, char **ret_xml, struct err *e)
{
	struct build b CLEANUP(build_done) = {0};
	int rc = fill(&b, plan, spec, platform, e);
	return rc < 0 ? rc : domain_xml_build(&b.config, ret_xml, e);
}

int vm_domain_define(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info before CLEANUP(domain_info_done) = {0};
	char *built CLEANUP(cleanup_free) = NULL;
	char *kept CLEANUP(cleanup_free) = NULL;
	int rc = vm_domain_build(plan, spec, platform, &built, e);
	if (rc == 0)
		rc = driver->get_domain(c, plan->row.id, &before, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return driver->define(c, built, e);
	}
	if (rc == 0 && before.xml)
		rc = domain_xml_keep_addresses(built, before.xml, &kept, e);
	return rc < 0 ? rc : driver->define(c, kept ? kept : built, e);
}

struct domain_disk *vm_domain_disks(
        const struct vm_plan *plan, const struct vm_spec *spec, size_t *ret_n, struct err *e)
{
	struct build b CLEANUP(build_done) = {0};
	if (add_disks(&b, plan, spec, e) < 0)
		return NULL;
	*ret_n = b.disks.len;
	return TAKE(b.disks.items);
}

int vm_domain_build_device(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, enum vm_device_kind kind, const char *name,
        char **ret_xml, struct err *e)
{
	struct build b CLEANUP(build_done) = {0};
	int rc = fill(&b, plan, spec, platform, e);
	if (rc < 0)
		return rc;
	if (kind == VM_DEVICE_DISK) {
		for (size_t i = 0; i < b.disks.len; i++)
			if (strcmp(b.disks.items[i].name, name) == 0)
				return domain_xml_build_disk(&b.config, i, ret_xml, e);
	} else {
		for (size_t i = 0; i < b.nics.len; i++)
			if (strcmp(b.nics.items[i].name, name) == 0)
				return domain_xml_build_nic(&b.config, i, ret_xml, e);
	}
	return err_set(e, ERR_INTERNAL, "VM %s has no device %s", plan->row.name, name);
}
