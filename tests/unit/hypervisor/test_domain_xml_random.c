/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand random domain descriptions: libvirt's schema accepts each, and each reads back as it was. */
#include "hypervisor/domain_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "libvirt_schema.h"

#define RANDOM_COUNT 1000

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

#define PICK(list) ((list)[(size_t)rand() % ARRAY_LEN(list)])

#define CHAIN_MAX 6

/* All but the lowest layer must be qcow2. */
static struct domain_source random_source(bool is_lowest)
{
	static const char *const paths[] = {
	        "/p/a.qcow2", "/p/with space & <x>", "/\xc3\xa4/\"q'.raw"};
	static const char *const names[] = {"pool/image", "iqn.2020-01.x.y:t/1", "vol/a & <b>"};
	static const char *const protocols[] = {"iscsi", "rbd", "gluster"};
	static const char *const hosts[][3] = {
	        {"a.example"}, {"10.0.0.1:3260", "b-2"}, {"[fd00::1]:24007", "fd00::2"}};
	struct domain_source s = {.type = (enum domain_source_type)(rand() % 3),
	        .path = PICK(paths),
	        .format = is_lowest && rand() % 2 ? "raw" : "qcow2"};
	if (s.type != DOMAIN_SOURCE_NETWORK)
		return s;
	s.path = PICK(names);
	s.protocol = PICK(protocols);
	/* The schema takes one host for iscsi. */
	s.hosts = strcmp(s.protocol, "iscsi") == 0 ? hosts[0] : PICK(hosts);
	if (strcmp(s.protocol, "gluster") != 0 && rand() % 2) {
		s.user = "user_1";
		s.secret_id = "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b001";
	}
	s.initiator = rand() % 2 ? "iqn.2020-01.x.y:us" : NULL;
	return s;
}

static struct domain_disk random_disk(const char *name, struct domain_source chain[CHAIN_MAX])
{
	static const char *const buses[] = {"virtio", "scsi", "sata", "usb"};
	static const char *const caches[] = {NULL, "none", "writeback", "unsafe"};
	static const char *const discards[] = {NULL, "unmap", "ignore"};
	static const char *const serials[] = {NULL, "", "s-1", "disk 2.a"};
	struct domain_disk d = {
	        .name = name,
	        .kind = rand() % 4 == 0 ? DOMAIN_CDROM : DOMAIN_DISK,
	        .chain = chain,
	        .n_chain = 1 + (size_t)rand() % CHAIN_MAX,
	        .bus = PICK(buses),
	        .serial = PICK(serials),
	        .cache = PICK(caches),
	        .discard = PICK(discards),
	        .iops_limit = rand() % 2 ? rand() : 0,
	        .bytes_per_second_limit = rand() % 2 ? (int64_t)rand() * 1000 : 0,
	};
	d.read_only = rand() % 2 && strcmp(d.bus, "sata") != 0;
	for (size_t i = 0; i < d.n_chain; i++)
		chain[i] = random_source(i + 1 == d.n_chain);
	if (d.kind == DOMAIN_CDROM) {
		d.bus = buses[1 + rand() % 3];
		d.n_chain = rand() % 2 ? d.n_chain : 0;
	}
	return d;
}

struct random_vm {
	struct domain_config config;
	struct domain_disk disks[9];
	struct domain_source chains[9][CHAIN_MAX];
	struct domain_nic nics[4];
	char disk_names[9][24], nic_names[4][24], macs[4][18];
	char id[UUID_TEXT_SIZE];
};

static void fill_random_devices(struct random_vm *vm)
{
	static const char *const models[] = {"virtio", "e1000e", "e1000", "rtl8139"};
	static const char *const networks[] = {"default", "my net", "<&>\"'"};
	vm->config.n_disks = (size_t)rand() % 10;
	vm->config.n_nics = (size_t)rand() % 5;
	for (size_t i = 0; i < vm->config.n_disks; i++) {
		snprintf(vm->disk_names[i], sizeof(vm->disk_names[i]), "d%zu", i);
		vm->disks[i] = random_disk(vm->disk_names[i], vm->chains[i]);
		vm->disks[i].boot_order = rand() % 2 ? (int)i + 1 : 0;
	}
	for (size_t i = 0; i < vm->config.n_nics; i++) {
		snprintf(vm->nic_names[i], sizeof(vm->nic_names[i]), "n%zu", i);
		snprintf(vm->macs[i], 18, "52:54:00:%02x:%02x:%02x", (unsigned int)rand() % 256,
		        (unsigned int)rand() % 256, (unsigned int)rand() % 256);
		vm->nics[i] = (struct domain_nic){.name = vm->nic_names[i],
		        .network = PICK(networks),
		        .mac = vm->macs[i],
		        .model = PICK(models)};
	}
	vm->config.disks = vm->disks;
	vm->config.nics = vm->nics;
}

static void fill_random(struct random_vm *vm)
{
	static const char *const archs[][2] = {{"x86_64", "q35"}, {"x86_64", "pc"},
	        {"x86_64", "pc-q35-7.2"}, {"i686", "q35"}, {"aarch64", "virt"},
	        {"aarch64", "virt-7.2"}, {"riscv64", "virt"}, {"ppc64le", "pseries"}};
	static const char *const types[] = {"kvm", "qemu", "test"};
	static const char *const cpus[] = {"host", "maximum", "qemu64", "cortex-a57"};
	static const char *const names[] = {"vm", "a b", "x<y>&\"'", "\xe6\xbc\xa2\xe5\xad\x97"};
	static const char *const texts[] = {
	        NULL, "", "one", "two\nlines\t& <tags>", "\xf0\x9f\x98\x80"};
	const char *const *arch = PICK(archs);
	bool uefi = rand() % 2;
	bool kernel = rand() % 2;
	uuid_make(vm->id);
	vm->config = (struct domain_config){
	        .id = vm->id,
	        .name = PICK(names),
	        .description = PICK(texts),
	        .domain_type = PICK(types),
	        .architecture = arch[0],
	        .machine = arch[1],
	        .memory_bytes = (int64_t)(1 + rand() % (1 << 20)) * 1024 * 1024,
	        .ballooning = rand() % 2,
	        .memory_merge = rand() % 2,
	        .hugepages = rand() % 2,
	        .vcpus = 1 + rand() % 255,
	        .cpu_model = PICK(cpus),
	        .cpu_shares = rand() % 2 ? rand() % 262144 : 0,
	        .cpu_limit_percent = rand() % 2 ? rand() % 10000 : 0,
	        .firmware = uefi ? FIRMWARE_UEFI : FIRMWARE_BIOS,
	        .secure_boot = uefi && strcmp(arch[1], "pc") != 0 && rand() % 2,
	        .tpm = rand() % 2,
	        .kernel = kernel ? "/boot/vm linuz" : NULL,
	        .initrd = kernel && rand() % 2 ? "/boot/initrd" : NULL,
	        .cmdline = kernel && rand() % 2 ? "root=/dev/vda <x> \"quoted\"" : NULL,
	        .console_log = rand() % 2 ? "/log/c & d.log" : NULL,
	};
	vm->config.is_test_driver = strcmp(vm->config.domain_type, "test") == 0;
	vm->config.memory_max_bytes = vm->config.memory_bytes * (1 + rand() % 3);
	vm->config.memory_current_bytes = vm->config.memory_bytes / 2;
	vm->config.vcpus_max = vm->config.vcpus + rand() % 4;
	fill_random_devices(vm);
}

/* An optional text that was left out reads back as absent. */
static void assert_same_text(const char *read, const char *given)
{
	if (str_is_empty(given))
		assert_true(str_is_empty(read));
	else
		assert_string_equal(read, given);
}

static void assert_disks_read_back(const struct domain_config *c, const struct domain_facts *facts)
{
	assert_int_equal(facts->n_disks, c->n_disks);
	for (size_t i = 0; i < c->n_disks; i++) {
		const struct domain_disk *d = &c->disks[i];
		const struct domain_disk_facts *f = &facts->disks[i];
		char *alias CLEANUP(cleanup_free) = str_format("ua-disk-%s", d->name);
		assert_string_equal(f->alias, alias);
		assert_same_text(f->path, d->n_chain > 0 ? d->chain[0].path : NULL);
		assert_string_equal(f->format, d->n_chain > 0 ? d->chain[0].format : "raw");
		assert_same_text(f->serial, d->serial);
		assert_string_equal(f->bus, d->bus);
		assert_string_equal(f->device, d->kind == DOMAIN_CDROM ? "cdrom" : "disk");
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(f->target, facts->disks[k].target);
	}
}

static void assert_chains_read_back(const struct domain_config *c, const char *xml)
{
	for (size_t i = 0; i < c->n_disks; i++) {
		const struct domain_disk *d = &c->disks[i];
		struct domain_chain chain CLEANUP(domain_chain_done) = {0};
		assert_int_equal(domain_xml_read_chain(xml, d->name, &chain, NULL), 0);
		assert_int_equal(chain.n_layers, d->n_chain);
		for (size_t k = 0; k < chain.n_layers; k++) {
			assert_string_equal(chain.layers[k].path, d->chain[k].path);
			assert_string_equal(chain.layers[k].format, d->chain[k].format);
		}
	}
}

static void assert_nics_read_back(const struct domain_config *c, const struct domain_facts *facts)
{
	assert_int_equal(facts->n_nics, c->n_nics);
	for (size_t i = 0; i < c->n_nics; i++) {
		char *alias CLEANUP(cleanup_free) = str_format("ua-nic-%s", c->nics[i].name);
		assert_string_equal(facts->nics[i].alias, alias);
		assert_string_equal(facts->nics[i].mac, c->nics[i].mac);
		assert_string_equal(facts->nics[i].network, c->nics[i].network);
		assert_string_equal(facts->nics[i].model, c->nics[i].model);
	}
}

static void assert_reads_back(const struct domain_config *c, const struct domain_facts *facts)
{
	assert_true(facts->is_ours);
	assert_string_equal(facts->id, c->id);
	assert_string_equal(facts->name, c->name);
	assert_same_text(facts->description, c->description);
	assert_string_equal(facts->domain_type, c->domain_type);
	assert_int_equal(facts->memory_bytes, c->memory_bytes);
	assert_int_equal(facts->memory_current_bytes, c->memory_current_bytes);
	assert_int_equal(facts->vcpus, c->vcpus);
	assert_disks_read_back(c, facts);
	assert_nics_read_back(c, facts);
	if (c->is_test_driver)
		return;
	assert_string_equal(facts->architecture, c->architecture);
	assert_string_equal(facts->machine, c->machine);
	assert_same_text(facts->console_log, c->console_log);
}

static void test_random_descriptions_validate_and_read_back(void **state)
{
	(void)state;
	srand(20240601);
	for (int i = 0; i < RANDOM_COUNT; i++) {
		struct random_vm vm;
		fill_random(&vm);
		char *xml CLEANUP(cleanup_free) = NULL;
		struct domain_facts facts;
		struct err e = {0};
		if (domain_xml_build(&vm.config, &xml, &e) < 0)
			fail_msg("%s", e.message);
		assert_true(libvirt_schema_accepts(schema, xml));
		assert_int_equal(domain_xml_parse(xml, &facts, &e), 0);
		assert_reads_back(&vm.config, &facts);
		assert_chains_read_back(&vm.config, xml);
		domain_facts_done(&facts);
	}
}

/* Places that were kept from any other description make a valid one, with all of its devices. */
static void test_random_descriptions_keep_the_places_of_others(void **state)
{
	(void)state;
	srand(20240602);
	struct random_vm before;
	fill_random(&before);
	for (int i = 0; i < RANDOM_COUNT / 4; i++) {
		struct random_vm vm;
		fill_random(&vm);
		char *xml CLEANUP(cleanup_free) = NULL;
		char *old CLEANUP(cleanup_free) = NULL;
		char *kept CLEANUP(cleanup_free) = NULL;
		struct domain_facts facts;
		assert_int_equal(domain_xml_build(&before.config, &old, NULL), 0);
		assert_int_equal(domain_xml_build(&vm.config, &xml, NULL), 0);
		assert_int_equal(domain_xml_keep_addresses(xml, old, &kept, NULL), 0);
		assert_true(libvirt_schema_accepts(schema, kept));
		assert_int_equal(domain_xml_parse(kept, &facts, NULL), 0);
		assert_disks_read_back(&vm.config, &facts);
		assert_nics_read_back(&vm.config, &facts);
		domain_facts_done(&facts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_random_descriptions_validate_and_read_back),
	        cmocka_unit_test(test_random_descriptions_keep_the_places_of_others),
	};
	return cmocka_run_group_tests(tests, load_schema, free_schema);
}
