/* SPDX-License-Identifier: Apache-2.0 */
/* Devices keep their places in the guest when others come and go. */
#include "hypervisor/domain_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/xml_read.h"
#include "libvirt_schema.h"

#define ID   "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b001"
#define GONE NULL

static xmlRelaxNGPtr schema;

static int load_schema(void **state)
{
	(void)state;
	schema = libvirt_schema_load(SCHEMA_DIR "domain.rng");
	return schema ? 0 : -1;
}

static int free_schema(void **state)
{
	(void)state;
	xmlRelaxNGFree(schema);
	xmlRelaxNGCleanupTypes();
	xmlCleanupParser();
	return 0;
}

/* What libvirt made of a definition with three disks and two NICs; the PCI places are in no order. */
/* clang-format off */
#define PCI(bus) "<address type='pci' domain='0x0000' bus='" bus "' slot='0x00' function='0x0'/>"
#define PORT(index, slot) \
	"<controller type='pci' index='" index "' model='pcie-root-port'>" \
	"<model name='pcie-root-port'/><target chassis='" index "' port='" slot "'/>" \
	"<address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='" slot "'/></controller>"
static const char before_xml[] =
	"<domain type='qemu'><name>vm1</name>"
	"<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>"
	"<disk type='file' device='disk'><target dev='vda' bus='virtio'/>"
	"<alias name='ua-disk-root'/>" PCI("0x03") "</disk>"
	"<disk type='file' device='disk'><target dev='vdb' bus='virtio'/>"
	"<alias name='ua-disk-data'/>" PCI("0x04") "</disk>"
	"<disk type='file' device='disk'><target dev='sda' bus='scsi'/><alias name='ua-disk-logs'/>"
	"<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>"
	"<controller type='scsi' index='0' model='virtio-scsi'>" PCI("0x02") "</controller>"
	"<controller type='pci' index='0' model='pcie-root'/>" PORT("1", "0x0") PORT("2", "0x1")
	PORT("3", "0x2") PORT("4", "0x3") PORT("5", "0x4") PORT("6", "0x5") PORT("7", "0x6")
	"<controller type='usb' index='0' model='none'/>"
	"<controller type='sata' index='0'>"
	"<address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/></controller>"
	"<controller type='virtio-serial' index='0'><alias name='virtio-serial0'/>" PCI("0x05")
	"</controller>"
	"<interface type='network'><model type='virtio'/><alias name='ua-nic-eth0'/>" PCI("0x06")
	"</interface>"
	"<interface type='network'><model type='virtio'/><alias name='ua-nic-eth1'/>" PCI("0x01")
	"</interface>"
	"<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
	"<address type='virtio-serial' controller='0' bus='0' port='1'/></channel>"
	"<memballoon model='virtio'>" PCI("0x07") "</memballoon>"
	"<rng model='virtio'>"
	"<address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/></rng>"
	"</devices></domain>";
/* clang-format on */

struct vm {
	struct domain_disk disks[4];
	struct domain_nic nics[4];
	struct domain_config config;
};

static const struct domain_source source = {.path = "/p/a.qcow2", .format = "qcow2"};

static void add_disk(struct vm *vm, const char *name, const char *bus)
{
	vm->disks[vm->config.n_disks++] =
	        (struct domain_disk){.name = name, .chain = &source, .n_chain = 1, .bus = bus};
}

static void add_nic(struct vm *vm, const char *name, const char *model)
{
	vm->nics[vm->config.n_nics++] = (struct domain_nic){
	        .name = name, .network = "default", .mac = "52:54:00:00:00:01", .model = model};
}

static void describe(struct vm *vm)
{
	*vm = (struct vm){.config = {.id = ID,
	                          .name = "vm1",
	                          .domain_type = "qemu",
	                          .architecture = "x86_64",
	                          .machine = "q35",
	                          .memory_bytes = 1 << 28,
	                          .ballooning = true,
	                          .vcpus = 1,
	                          .cpu_model = "maximum"}};
	vm->config.disks = vm->disks;
	vm->config.nics = vm->nics;
}

static xmlDoc *keep(const struct vm *vm, const char *before)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	char *kept CLEANUP(cleanup_free) = NULL;
	struct err e = {0};
	xmlDoc *doc = NULL;
	if (domain_xml_build(&vm->config, &xml, &e) < 0 ||
	        domain_xml_keep_addresses(xml, before, &kept, &e) < 0 ||
	        xml_read_document(kept, "domain", &doc, &e) < 0)
		fail_msg("%s", e.message);
	assert_true(libvirt_schema_accepts(schema, kept));
	return doc;
}

static const xmlNode *devices_of(xmlDoc *doc)
{
	return xml_read_child(xmlDocGetRootElement(doc), "devices");
}

static const xmlNode *find(xmlDoc *doc, const char *element, const char *alias)
{
	XML_FOR_EACH_CHILD(devices_of(doc), element, it)
	if (!alias || xml_read_attribute_is(xml_read_child(it, "alias"), "name", alias))
		return it;
	fail_msg("no %s %s", element, alias ? alias : "");
	return NULL;
}

static const xmlNode *find_controller(xmlDoc *doc, const char *type, const char *index)
{
	XML_FOR_EACH_CHILD(devices_of(doc), "controller", it)
	if (xml_read_attribute_is(it, "type", type) &&
	        (!index || xml_read_attribute_is(it, "index", index)))
		return it;
	return NULL;
}

/* GONE: it has no address. */
static void assert_bus(const xmlNode *device, const char *bus)
{
	char *is CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(device, "address"), "bus");
	if (bus)
		assert_string_equal(is, bus);
	else
		assert_null(xml_read_child(device, "address"));
}

static void assert_target(const xmlNode *disk, const char *dev)
{
	char *is CLEANUP(cleanup_free) = xml_read_attribute(xml_read_child(disk, "target"), "dev");
	assert_string_equal(is, dev);
}

/* --- tests --- */

static void test_what_remains_keeps_address_and_target(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "data", "virtio");
	add_disk(&vm, "logs", "scsi");
	add_nic(&vm, "eth1", "virtio");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	assert_bus(find(doc, "disk", "ua-disk-data"), "0x04");
	assert_target(find(doc, "disk", "ua-disk-data"), "vdb");
	assert_target(find(doc, "disk", "ua-disk-logs"), "sda");
	const xmlNode *logs = xml_read_child(find(doc, "disk", "ua-disk-logs"), "address");
	assert_true(xml_read_attribute_is(logs, "type", "drive"));
	assert_bus(find(doc, "interface", "ua-nic-eth1"), "0x01");
}

static void test_fixed_devices_keep_their_places(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "root", "virtio");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	assert_bus(find(doc, "memballoon", NULL), "0x07");
	const xmlNode *rng = xml_read_child(find(doc, "rng", NULL), "address");
	assert_true(xml_read_attribute_is(rng, "slot", "0x04"));
	const xmlNode *agent = xml_read_child(find(doc, "channel", NULL), "address");
	assert_true(xml_read_attribute_is(agent, "type", "virtio-serial"));
	assert_bus(find_controller(doc, "virtio-serial", "0"), "0x05");
	assert_null(xml_read_child(find_controller(doc, "virtio-serial", "0"), "alias"));
	assert_non_null(find_controller(doc, "sata", "0"));
}

static void test_all_ports_stay_and_more_come_when_needed(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	size_t n = 0, n_with_index = 0;
	XML_FOR_EACH_CHILD(devices_of(doc), "controller", it)
	if (xml_read_attribute_is(it, "model", "pcie-root-port")) {
		n++;
		n_with_index += xml_read_attribute_int(it, "index") > 0;
	}
	assert_int_equal(n_with_index, 7);
	assert_true(n > 7); /* room for hotplug, as in any new definition */
	const xmlNode *third = find_controller(doc, "pci", "3");
	assert_true(xml_read_attribute_is(xml_read_child(third, "target"), "port", "0x2"));
	assert_true(xml_read_attribute_is(xml_read_child(third, "address"), "function", "0x2"));
	/* Without SCSI disks no SCSI controller. */
	assert_null(find_controller(doc, "scsi", NULL));
}

static void test_new_devices_get_no_address_and_a_free_target(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "apps", "virtio"); /* built as vda, which is root's */
	add_disk(&vm, "root", "virtio");
	add_disk(&vm, "data", "virtio");
	add_nic(&vm, "lan", "virtio");
	add_nic(&vm, "eth0", "virtio");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	assert_target(find(doc, "disk", "ua-disk-root"), "vda");
	assert_target(find(doc, "disk", "ua-disk-data"), "vdb");
	assert_target(find(doc, "disk", "ua-disk-apps"), "vdc");
	assert_bus(find(doc, "disk", "ua-disk-apps"), GONE);
	assert_bus(find(doc, "interface", "ua-nic-lan"), GONE);
	assert_bus(find(doc, "interface", "ua-nic-eth0"), "0x06");
}

static void test_device_on_another_bus_gets_a_new_place(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "root", "scsi");
	add_disk(&vm, "logs", "virtio");
	add_nic(&vm, "eth0", "e1000");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	assert_bus(find(doc, "disk", "ua-disk-root"), GONE);
	assert_target(find(doc, "disk", "ua-disk-root"), "sda");
	assert_bus(find(doc, "disk", "ua-disk-logs"), GONE);
	assert_bus(find(doc, "interface", "ua-nic-eth0"), GONE);
	assert_bus(find_controller(doc, "scsi", "0"), "0x02");
}

static void assert_machine(const char *wanted, const char *expected, bool keeps_places)
{
	struct vm vm;
	describe(&vm);
	vm.config.machine = wanted;
	add_disk(&vm, "root", "virtio");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, before_xml);
	const xmlNode *os = xml_read_child(xmlDocGetRootElement(doc), "os");
	assert_true(xml_read_attribute_is(xml_read_child(os, "type"), "machine", expected));
	assert_bus(find(doc, "disk", "ua-disk-root"), keeps_places ? "0x03" : GONE);
	assert_target(find(doc, "disk", "ua-disk-root"), "vda");
}

static void test_machine_keeps_its_version_unless_another_is_asked_for(void **state)
{
	(void)state;
	assert_machine("q35", "pc-q35-7.2", true);
	assert_machine("pc-q35-8.0", "pc-q35-8.0", true);
	assert_machine("pc", "pc", false);
	assert_machine("pc-i440fx-7.2", "pc-i440fx-7.2", false);
}

static void test_keeping_twice_is_keeping_once(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "data", "virtio");
	add_nic(&vm, "eth1", "virtio");
	char *xml CLEANUP(cleanup_free) = NULL;
	char *once CLEANUP(cleanup_free) = NULL;
	char *twice CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build(&vm.config, &xml, NULL), 0);
	assert_int_equal(domain_xml_keep_addresses(xml, before_xml, &once, NULL), 0);
	assert_int_equal(domain_xml_keep_addresses(once, before_xml, &twice, NULL), 0);
	assert_string_equal(once, twice);
}

static void test_foreign_or_empty_definitions_are_no_trouble(void **state)
{
	(void)state;
	struct vm vm;
	describe(&vm);
	add_disk(&vm, "root", "virtio");
	xmlDoc *doc CLEANUP(cleanup_xml_document) = keep(&vm, "<domain/>");
	assert_bus(find(doc, "disk", "ua-disk-root"), GONE);
	char *kept = NULL;
	assert_int_equal(domain_xml_keep_addresses("<x/>", before_xml, &kept, NULL), ERR_INVALID);
	assert_int_equal(domain_xml_keep_addresses(before_xml, "no xml", &kept, NULL), ERR_INVALID);
	assert_null(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_remains_keeps_address_and_target),
	        cmocka_unit_test(test_fixed_devices_keep_their_places),
	        cmocka_unit_test(test_all_ports_stay_and_more_come_when_needed),
	        cmocka_unit_test(test_new_devices_get_no_address_and_a_free_target),
	        cmocka_unit_test(test_device_on_another_bus_gets_a_new_place),
	        cmocka_unit_test(test_machine_keeps_its_version_unless_another_is_asked_for),
	        cmocka_unit_test(test_keeping_twice_is_keeping_once),
	        cmocka_unit_test(test_foreign_or_empty_definitions_are_no_trouble),
	};
	return cmocka_run_group_tests(tests, load_schema, free_schema);
}
