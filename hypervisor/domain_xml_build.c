/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain description becomes libvirt's XML, in the order in which libvirt itself prints it, so
 * that a golden file, `virsh dumpxml` and this code read alike. Devices are in
 * domain_xml_devices.c, memory and CPUs in domain_xml_resources.c. Any
 * thread, pure.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

bool domain_config_is_x86(const struct domain_config *config)
{
	return str_equal(config->architecture, "x86_64") || str_equal(config->architecture, "i686");
}

bool domain_config_is_arm64(const struct domain_config *config)
{
	return str_equal(config->architecture, "aarch64");
}

bool domain_config_is_pcie(const struct domain_config *config)
{
	const char *m = config->machine ? config->machine : "";
	if (domain_config_is_x86(config))
		return strcmp(m, "q35") == 0 || str_starts_with(m, "pc-q35");
	return strcmp(m, "virt") == 0 || str_starts_with(m, "virt-");
}

static bool has_kvm(const struct domain_config *config)
{
	return str_equal(config->domain_type, "kvm");
}

static void check_firmware(struct xml_builder *b)
{
	const struct domain_config *c = b->config;
	if (c->secure_boot && c->firmware != FIRMWARE_UEFI)
		xml_fail(b, ERR_INVALID, "secure boot needs UEFI firmware");
	if (c->secure_boot && domain_config_is_x86(c) && !domain_config_is_pcie(c))
		xml_fail(b, ERR_INVALID, "secure boot needs the machine type q35");
	if (!c->kernel && (c->initrd || !str_is_empty(c->cmdline)))
		xml_fail(b, ERR_INVALID, "an initrd or a command line needs a kernel");
}

void domain_xml_add_identity(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	xml_add_text(b, domain, "name", XML_TEXT_LINE, c->name);
	if (c->name && strchr(c->name, '/'))
		xml_fail(b, ERR_INVALID, "a name cannot have a '/'");
	if (!c->id || !uuid_is_shaped(c->id))
		xml_fail(b, ERR_INVALID, "the id is not a UUID");
	xml_add_text(b, domain, "uuid", XML_TEXT_LINE, c->id);
	if (!str_is_empty(c->description))
		xml_add_text(b, domain, "description", XML_TEXT_ANY, c->description);
}

void domain_xml_add_mark(struct xml_builder *b, xmlNode *domain, const char *element)
{
	xmlNode *metadata = xml_add(b, domain, "metadata");
	xmlNode *mark = xml_add(b, metadata, element);
	if (mark)
		xmlSetNs(mark, xmlNewNs(mark, (const xmlChar *)DOMAIN_METADATA_URI,
		                       (const xmlChar *)"berth"));
}

static void add_firmware_feature(
        struct xml_builder *b, xmlNode *firmware, const char *name, bool enabled)
{
	xmlNode *feature = xml_add(b, firmware, "feature");
	xml_set(b, feature, "enabled", enabled ? "yes" : "no");
	xml_set(b, feature, "name", name);
}

/* libvirt picks the firmware image by these features (formatdomain, "Guest firmware"); a <loader>
 * beside them is refused. */
static void add_uefi(struct xml_builder *b, xmlNode *os)
{
	bool secure = b->config->secure_boot;
	xmlNode *firmware = xml_add(b, os, "firmware");
	add_firmware_feature(b, firmware, "enrolled-keys", secure);
	add_firmware_feature(b, firmware, "secure-boot", secure);
}

static void add_os(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	bool uefi = c->firmware == FIRMWARE_UEFI && !c->is_test_driver;
	xmlNode *os = xml_add(b, domain, "os");
	if (uefi)
		xml_set(b, os, "firmware", "efi");
	xmlNode *type = xml_add_text(b, os, "type", XML_TEXT_ANY, "hvm");
	if (!c->is_test_driver) {
		xml_set_checked(b, type, "arch", XML_TEXT_TOKEN, c->architecture);
		xml_set_checked(b, type, "machine", XML_TEXT_TOKEN, c->machine);
	}
	if (uefi)
		add_uefi(b, os);
	if (c->kernel)
		xml_add_text(b, os, "kernel", XML_TEXT_PATH, c->kernel);
	if (c->initrd)
		xml_add_text(b, os, "initrd", XML_TEXT_PATH, c->initrd);
	if (!str_is_empty(c->cmdline))
		xml_add_text(b, os, "cmdline", XML_TEXT_LINE, c->cmdline);
}

static void add_features(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	bool uefi = c->firmware == FIRMWARE_UEFI;
	if (c->is_test_driver || !(domain_config_is_x86(c) || domain_config_is_arm64(c)))
		return;
	/* On aarch64 the ACPI tables come from UEFI; libvirt refuses them without it. */
	if (domain_config_is_arm64(c) && !uefi && has_kvm(c))
		return;
	xmlNode *features = xml_add(b, domain, "features");
	if (domain_config_is_x86(c) || uefi)
		xml_add(b, features, "acpi");
	if (domain_config_is_x86(c))
		xml_add(b, features, "apic");
	/* Version 2 serves 8 CPUs at most. With KVM the host's own version is libvirt's choice. */
	if (domain_config_is_arm64(c) && !has_kvm(c))
		xml_set(b, xml_add(b, features, "gic"), "version", "3");
	if (c->secure_boot && domain_config_is_x86(c))
		xml_set(b, xml_add(b, features, "smm"), "state", "on");
}

static const char *cpu_mode(const struct domain_config *c)
{
	if (str_equal(c->cpu_model, "host"))
		return has_kvm(c) ? "host-passthrough" : "maximum";
	return str_equal(c->cpu_model, "maximum") ? "maximum" : "custom";
}

static void add_topology(struct xml_builder *b, xmlNode *cpu)
{
	/* One socket: some guests are licensed for two at most. */
	xmlNode *topology = xml_add(b, cpu, "topology");
	xml_set_int(b, topology, "sockets", 1);
	xml_set_int(b, topology, "dies", 1);
	xml_set_int(b, topology, "cores", domain_config_vcpus_max(b->config));
	xml_set_int(b, topology, "threads", 1);
}

/* Memory can be plugged only into a guest with a NUMA node. */
static void add_numa(struct xml_builder *b, xmlNode *cpu)
{
	char range[32];
	snprintf(range, sizeof(range), "0-%d", domain_config_vcpus_max(b->config) - 1);
	xmlNode *cell = xml_add(b, xml_add(b, cpu, "numa"), "cell");
	xml_set_int(b, cell, "id", 0);
	xml_set(b, cell, "cpus", domain_config_vcpus_max(b->config) > 1 ? range : "0");
	xml_set_int(b, cell, "memory", (b->config->memory_bytes + 1023) / 1024);
	xml_set(b, cell, "unit", "KiB");
}

static void add_cpu(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	if (c->is_test_driver)
		return;
	const char *mode = cpu_mode(c);
	xmlNode *cpu = xml_add(b, domain, "cpu");
	xml_set(b, cpu, "mode", mode);
	if (strcmp(mode, "custom") == 0) {
		xml_set(b, cpu, "match", "exact");
		xml_set(b, cpu, "check", "partial");
		xmlNode *model = xml_add_text(b, cpu, "model", XML_TEXT_TOKEN, c->cpu_model);
		xml_set(b, model, "fallback", "forbid");
	}
	if (domain_config_is_x86(c) || domain_config_is_arm64(c))
		add_topology(b, cpu);
	if (domain_config_can_grow(c))
		add_numa(b, cpu);
}

static void add_timer(struct xml_builder *b, xmlNode *clock, const char *name,
        const char *attribute, const char *value)
{
	xmlNode *timer = xml_add(b, clock, "timer");
	xml_set(b, timer, "name", name);
	xml_set(b, timer, attribute, value);
}

static void add_clock(struct xml_builder *b, xmlNode *domain)
{
	xmlNode *clock = xml_add(b, domain, "clock");
	xml_set(b, clock, "offset", "utc");
	if (!domain_config_is_x86(b->config) || b->config->is_test_driver)
		return;
	/* Lost ticks are caught up, and the costly HPET is away: what libvirt's own tools choose.
	 */
	add_timer(b, clock, "rtc", "tickpolicy", "catchup");
	add_timer(b, clock, "pit", "tickpolicy", "delay");
	add_timer(b, clock, "hpet", "present", "no");
}

/* Every end of a guest is an event; what follows is decided by Berth's restart policy. */
static void add_lifecycle(struct xml_builder *b, xmlNode *domain)
{
	xml_add_text(b, domain, "on_poweroff", XML_TEXT_ANY, "destroy");
	xml_add_text(b, domain, "on_reboot", XML_TEXT_ANY, "restart");
	xml_add_text(b, domain, "on_crash", XML_TEXT_ANY, "destroy");
	if (!domain_config_is_x86(b->config) || b->config->is_test_driver)
		return;
	xmlNode *pm = xml_add(b, domain, "pm");
	xml_set(b, xml_add(b, pm, "suspend-to-mem"), "enabled", "no");
	xml_set(b, xml_add(b, pm, "suspend-to-disk"), "enabled", "no");
}

static void add_domain(struct xml_builder *b, xmlNode *domain)
{
	check_firmware(b);
	xml_set_checked(b, domain, "type", XML_TEXT_TOKEN, b->config->domain_type);
	domain_xml_add_identity(b, domain);
	domain_xml_add_mark(b, domain, DOMAIN_MARK_VM);
	domain_xml_add_resources(b, domain);
	add_os(b, domain);
	add_features(b, domain);
	add_cpu(b, domain);
	add_clock(b, domain);
	add_lifecycle(b, domain);
	domain_xml_add_devices(b, domain);
}

int domain_xml_build(const struct domain_config *config, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.config = config, .e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("domain");
	xmlNode *domain = xmlDocGetRootElement(doc);
	add_domain(&b, domain);
	if (b.code == 0)
		*ret_xml = xml_print(domain);
	return b.code;
}

static int build_one(const struct domain_config *config, size_t index,
        void (*add)(struct xml_builder *, xmlNode *, size_t), char **ret_xml, struct err *e)
{
	struct xml_builder b = {.config = config, .e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("devices");
	xmlNode *devices = xmlDocGetRootElement(doc);
	add(&b, devices, index);
	if (b.code == 0)
		*ret_xml = xml_print(devices->children);
	return b.code;
}

int domain_xml_build_disk(
        const struct domain_config *config, size_t index, char **ret_xml, struct err *e)
{
	return build_one(config, index, domain_xml_add_disk, ret_xml, e);
}

int domain_xml_build_nic(
        const struct domain_config *config, size_t index, char **ret_xml, struct err *e)
{
	return build_one(config, index, domain_xml_add_nic, ret_xml, e);
}
