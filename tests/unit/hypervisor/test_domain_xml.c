/* SPDX-License-Identifier: Apache-2.0 */
/* Domain XML: golden files (BERTH_GOLDEN_UPDATE=1 rewrites them) that libvirt's schema accepts, and
 * refusals. */
#include "hypervisor/domain_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "libvirt_schema.h"

#define GIB        (1024LL * 1024 * 1024)
#define GOLDEN_DIR "tests/unit/hypervisor/golden"

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

/* --- samples --- */

static const struct domain_source root_source = {
        .path = "/var/lib/berth/pool/berth-1.qcow2",
        .format = "qcow2",
};

static const struct domain_disk root_disk = {
        .name = "root",
        .chain = &root_source,
        .n_chain = 1,
        .bus = "virtio",
        .serial = "root",
        .boot_order = 1,
};

static const struct domain_nic first_nic = {
        .name = "eth0",
        .network = "default",
        .mac = "52:54:00:12:34:56",
        .model = "virtio",
};

static struct domain_config sample(void)
{
	return (struct domain_config){
	        .id = "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b001",
	        .name = "vm1",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = GIB,
	        .ballooning = true,
	        .memory_merge = true,
	        .vcpus = 2,
	        .cpu_model = "host",
	        .console_log = "/var/log/libvirt/qemu/berth-vm1.console.log",
	        .disks = &root_disk,
	        .n_disks = 1,
	        .nics = &first_nic,
	        .n_nics = 1,
	};
}

static char *build(const struct domain_config *config)
{
	char *xml = NULL;
	struct err e = {0};
	if (domain_xml_build(config, &xml, &e) < 0)
		fail_msg("%s", e.message);
	return xml;
}

/* --- golden files --- */

static char *read_golden(const char *path)
{
	FILE *f = fopen(path, "re");
	if (!f)
		fail_msg("no golden file %s: run with BERTH_GOLDEN_UPDATE=1", path);
	char *text = xcalloc(1, 65536);
	size_t len = fread(text, 1, 65535, f);
	fclose(f);
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	return text;
}

static void assert_golden(const char *name, const struct domain_config *config)
{
	char *xml CLEANUP(cleanup_free) = build(config);
	char *path CLEANUP(cleanup_free) = str_format("%s/%s.xml", GOLDEN_DIR, name);
	assert_true(libvirt_schema_accepts(schema, xml));
	if (getenv("BERTH_GOLDEN_UPDATE")) {
		FILE *f = fopen(path, "we");
		assert_non_null(f);
		fprintf(f, "%s\n", xml);
		fclose(f);
	}
	char *golden CLEANUP(cleanup_free) = read_golden(path);
	assert_string_equal(xml, golden);
}

static void test_golden_x86_bios(void **state)
{
	(void)state;
	struct domain_config c = sample();
	assert_golden("x86-bios", &c);
	c.domain_type = "kvm";
	c.cpu_model = "Skylake-Server";
	c.description = "a \"description\" with <brackets> & ampersands, \xc3\xa9";
	assert_golden("x86-bios-kvm", &c);
}

static void test_golden_uefi(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.firmware = FIRMWARE_UEFI;
	assert_golden("x86-uefi", &c);
}

static void test_golden_secure_boot_with_tpm(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.firmware = FIRMWARE_UEFI;
	c.secure_boot = true;
	c.tpm = true;
	assert_golden("x86-secure-boot-tpm", &c);
}

static void test_golden_direct_kernel(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.kernel = "/var/lib/berth/boot/vmlinuz";
	c.initrd = "/var/lib/berth/boot/initrd";
	c.cmdline = "console=ttyS0 quiet panic=-1";
	c.n_disks = 0;
	c.console_log = NULL;
	assert_golden("x86-direct-kernel", &c);
}

static void test_golden_aarch64(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.architecture = "aarch64";
	c.machine = "virt";
	c.kernel = "/var/lib/berth/boot/Image";
	c.cmdline = "console=ttyAMA0";
	assert_golden("aarch64-direct-kernel", &c);
	c.kernel = c.cmdline = NULL;
	c.firmware = FIRMWARE_UEFI;
	assert_golden("aarch64-uefi", &c);
}

static void test_golden_limits(void **state)
{
	(void)state;
	struct domain_disk disk = root_disk;
	disk.iops_limit = 500;
	disk.bytes_per_second_limit = 100 * 1024 * 1024;
	disk.cache = "writeback";
	disk.discard = "unmap";
	struct domain_config c = sample();
	c.disks = &disk;
	c.cpu_shares = 512;
	c.cpu_limit_percent = 50;
	c.vcpus_max = 4;
	c.memory_max_bytes = 4 * GIB;
	c.memory_current_bytes = GIB / 2;
	c.memory_merge = false;
	c.hugepages = true;
	c.ballooning = false;
	assert_golden("x86-limits", &c);
}

static void test_golden_pinned(void **state)
{
	(void)state;
	static const char *const pins[] = {"0", "4", NULL};
	struct domain_disk disks[] = {root_disk, root_disk, root_disk};
	disks[1].name = "logs";
	disks[1].bus = "scsi";
	disks[2].name = "data";
	struct domain_config c = sample();
	c.vcpus_max = 4;
	c.vcpu_pins = pins;
	c.n_vcpu_pins = ARRAY_LEN(pins);
	c.emulator_pins = c.iothread_pins = "1-3,5";
	c.iothreads = 2;
	c.memory_nodes = "0-1";
	c.memory_policy = "interleave";
	c.hugepages = true;
	c.hugepage_bytes = GIB;
	c.disks = disks;
	c.n_disks = ARRAY_LEN(disks);
	assert_golden("x86-pinned", &c);
}

static void test_bad_pins_and_nodes_are_refused(void **state)
{
	(void)state;
	static const char *const odd[] = {"0;1"}, *const many[] = {"0", "0", "0"};
	const struct domain_config good = sample();
	struct domain_config bad[] = {good, good, good, good, good, good, good};
	bad[0].vcpu_pins = odd;
	bad[0].n_vcpu_pins = 1;
	bad[1].vcpu_pins = many;
	bad[1].n_vcpu_pins = 3;
	bad[2].emulator_pins = "";
	bad[3].memory_nodes = "a";
	bad[4].memory_nodes = "0";
	bad[4].memory_policy = "greedy";
	bad[5].iothreads = -1;
	bad[6].hugepages = true;
	bad[6].hugepage_bytes = 1000;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *xml = NULL;
		assert_int_equal(domain_xml_build(&bad[i], &xml, NULL), ERR_INVALID);
		assert_null(xml);
	}
}

static void test_dimm_is_one_memory_device(void **state)
{
	(void)state;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_dimm(GIB / 8, &xml, NULL), 0);
	assert_non_null(strstr(xml, "<memory model=\"dimm\">"));
	assert_non_null(strstr(xml, "<size unit=\"KiB\">131072</size>"));
	assert_non_null(strstr(xml, "<node>0</node>"));
}

static void test_golden_cdrom(void **state)
{
	(void)state;
	static const struct domain_source iso = {.path = "/isos/t.iso", .format = "raw"};
	struct domain_disk disks[] = {root_disk,
	        {.name = "cd", .kind = DOMAIN_CDROM, .bus = "sata", .boot_order = 2},
	        {.name = "tools",
	                .kind = DOMAIN_CDROM,
	                .chain = &iso,
	                .n_chain = 1,
	                .bus = "sata"}};
	struct domain_config c = sample();
	c.disks = disks;
	c.n_disks = ARRAY_LEN(disks);
	assert_golden("x86-cdrom", &c);
}

static void test_golden_scsi_and_usb(void **state)
{
	(void)state;
	struct domain_disk disks[] = {root_disk, root_disk, root_disk};
	disks[0].bus = "scsi";
	disks[1].bus = "scsi";
	disks[1].name = "data";
	disks[2].bus = "usb";
	disks[2].name = "stick";
	disks[1].boot_order = disks[2].boot_order = 0;
	struct domain_config c = sample();
	c.disks = disks;
	c.n_disks = ARRAY_LEN(disks);
	c.machine = "pc";
	assert_golden("x86-scsi-usb", &c);
}

static void test_golden_test_driver(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.domain_type = "test";
	c.is_test_driver = true;
	c.firmware = FIRMWARE_UEFI;
	c.cpu_shares = 100;
	assert_golden("test-driver", &c);
}

/* --- single devices --- */

static void test_hotplug_elements_equal_those_of_the_whole(void **state)
{
	(void)state;
	struct domain_disk disks[] = {root_disk, root_disk};
	disks[1].name = "data";
	struct domain_config c = sample();
	c.disks = disks;
	c.n_disks = ARRAY_LEN(disks);
	char *disk CLEANUP(cleanup_free) = NULL;
	char *nic CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_disk(&c, 1, &disk, NULL), 0);
	assert_int_equal(domain_xml_build_nic(&c, 0, &nic, NULL), 0);
	assert_true(str_starts_with(disk, "<disk "));
	assert_non_null(strstr(disk, "dev=\"vdb\""));
	assert_non_null(strstr(disk, "ua-disk-data"));
	assert_true(str_starts_with(nic, "<interface "));
	assert_non_null(strstr(nic, "52:54:00:12:34:56"));
}

static void test_targets_are_counted_per_letter_family_and_pass_z(void **state)
{
	(void)state;
	enum { N = 30 };
	struct domain_disk disks[N];
	char names[N][16];
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "d%d", i);
		disks[i] = root_disk;
		disks[i].name = names[i];
		disks[i].boot_order = 0;
	}
	disks[3].bus = "sata";
	struct domain_config c = sample();
	c.disks = disks;
	c.n_disks = N;
	char *xml CLEANUP(cleanup_free) = build(&c);
	struct domain_facts facts;
	assert_int_equal(domain_xml_parse(xml, &facts, NULL), 0);
	assert_string_equal(facts.disks[2].target, "vdc");
	assert_string_equal(facts.disks[3].target, "sda");
	assert_string_equal(facts.disks[4].target, "vdd");
	assert_string_equal(facts.disks[26].target, "vdz");
	assert_string_equal(facts.disks[27].target, "vdaa");
	assert_string_equal(facts.disks[29].target, "vdac");
	domain_facts_done(&facts);
}

/* A disk that a running domain already knows keeps its target; a new one gets a free one. */
static void test_fit_gives_a_disk_the_target_of_the_running_domain(void **state)
{
	(void)state;
	static const char live[] =
	        "<domain><devices>"
	        "<disk><target dev='vda' bus='virtio'/><alias name='ua-disk-data'/></disk>"
	        "<disk><target dev='vdc' bus='virtio'/><alias name='ua-disk-logs'/></disk>"
	        "</devices></domain>";
	struct domain_disk disks[] = {root_disk, root_disk, root_disk};
	disks[0].name = "apps";
	disks[1].name = "data";
	disks[2].name = "logs";
	struct domain_config c = sample();
	c.disks = disks;
	c.n_disks = ARRAY_LEN(disks);
	static const char *const expected[] = {"dev=\"vdb\"", "dev=\"vda\"", "dev=\"vdc\""};
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		char *element CLEANUP(cleanup_free) = NULL;
		char *fitted CLEANUP(cleanup_free) = NULL;
		assert_int_equal(domain_xml_build_disk(&c, i, &element, NULL), 0);
		assert_int_equal(domain_xml_fit_device(element, live, &fitted, NULL), 0);
		assert_non_null(strstr(fitted, expected[i]));
	}
}

static void test_fit_finds_a_free_target_beyond_z(void **state)
{
	(void)state;
	struct str live = {0};
	str_add(&live, "<domain><devices>");
	for (char letter = 'a'; letter <= 'z'; letter++)
		str_printf(&live, "<disk><target dev='vd%c' bus='virtio'/></disk>", letter);
	str_add(&live, "</devices></domain>");
	struct domain_config c = sample();
	char *element CLEANUP(cleanup_free) = NULL;
	char *fitted CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_disk(&c, 0, &element, NULL), 0);
	assert_int_equal(domain_xml_fit_device(element, live.data, &fitted, NULL), 0);
	assert_non_null(strstr(fitted, "dev=\"vdaa\""));
	str_done(&live);
}

static void test_fit_leaves_other_devices_alone(void **state)
{
	(void)state;
	struct domain_config c = sample();
	char *nic CLEANUP(cleanup_free) = NULL;
	char *fitted CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_nic(&c, 0, &nic, NULL), 0);
	assert_int_equal(domain_xml_fit_device(nic, "<domain/>", &fitted, NULL), 0);
	assert_string_equal(fitted, nic);
}

/* --- refusals --- */

static void assert_refused(const struct domain_config *config, const char *part)
{
	char *xml = NULL;
	struct err e = {0};
	assert_int_equal(domain_xml_build(config, &xml, &e), ERR_INVALID);
	assert_null(xml);
	if (!strstr(e.message, part))
		fail_msg("'%s' does not say '%s'", e.message, part);
}

static void test_text_that_xml_cannot_carry_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	        "a\x01", "a\x1f", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xef\xbf\xbe", "\xe2\x82"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct domain_config c = sample();
		c.description = bad[i];
		assert_refused(&c, "description must be text");
		c = sample();
		c.name = bad[i];
		assert_refused(&c, "name must be");
		struct domain_nic nic = first_nic;
		nic.network = bad[i];
		c = sample();
		c.nics = &nic;
		assert_refused(&c, "source network must be");
	}
}

static void test_markup_in_texts_stays_text(void **state)
{
	(void)state;
	static const char text[] = "</description><on_crash>]]>&amp;\"'\t\n\r<!--";
	struct domain_config c = sample();
	c.description = text;
	char *xml CLEANUP(cleanup_free) = build(&c);
	struct domain_facts facts;
	assert_true(libvirt_schema_accepts(schema, xml));
	assert_int_equal(domain_xml_parse(xml, &facts, NULL), 0);
	assert_string_equal(facts.description, text);
	domain_facts_done(&facts);
}

static void test_bad_configurations_are_refused(void **state)
{
	(void)state;
	struct domain_config c = sample();
	c.vcpus = 0;
	assert_refused(&c, "0 vCPUs");
	c = sample();
	c.memory_bytes = 0;
	assert_refused(&c, "memory is 0 bytes");
	c = sample();
	c.secure_boot = true;
	assert_refused(&c, "needs UEFI");
	c.firmware = FIRMWARE_UEFI;
	c.machine = "pc";
	assert_refused(&c, "q35");
	c = sample();
	c.cmdline = "quiet";
	assert_refused(&c, "needs a kernel");
	c = sample();
	c.id = "not-a-uuid";
	assert_refused(&c, "not a UUID");
	c = sample();
	c.name = "a/b";
	assert_refused(&c, "'/'");
	c = sample();
	c.name = "a\nb";
	assert_refused(&c, "one line");
	c = sample();
	c.machine = "q35,accel=kvm";
	assert_refused(&c, "type machine");
	c = sample();
	c.console_log = "relative.log";
	assert_refused(&c, "absolute path");
}

static void assert_disk_refused(struct domain_disk disk, const char *part)
{
	struct domain_config c = sample();
	c.disks = &disk;
	assert_refused(&c, part);
}

static void test_bad_devices_are_refused(void **state)
{
	(void)state;
	struct domain_disk d = root_disk;
	d.n_chain = 0;
	assert_disk_refused(d, "has no file");
	d = root_disk;
	d.read_only = true;
	d.bus = "sata";
	assert_disk_refused(d, "read-only");
	d = root_disk;
	d.kind = DOMAIN_CDROM;
	assert_disk_refused(d, "CD-ROM needs");
	d = root_disk;
	d.serial = "a,b";
	assert_disk_refused(d, "serial may have");
	d = root_disk;
	d.name = "a b";
	assert_disk_refused(d, "device's name");
	d = root_disk;
	d.bus = "ide";
	assert_disk_refused(d, "bus must be");
	struct domain_nic multicast = first_nic;
	multicast.mac = "01:00:5e:00:00:01";
	struct domain_config c = sample();
	c.nics = &multicast;
	assert_refused(&c, "unicast MAC");
	struct domain_disk twins[] = {root_disk, root_disk};
	c = sample();
	c.disks = twins;
	c.n_disks = 2;
	assert_refused(&c, "two disks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_golden_x86_bios),
	        cmocka_unit_test(test_golden_uefi),
	        cmocka_unit_test(test_golden_secure_boot_with_tpm),
	        cmocka_unit_test(test_golden_direct_kernel),
	        cmocka_unit_test(test_golden_aarch64),
	        cmocka_unit_test(test_golden_limits),
	        cmocka_unit_test(test_golden_pinned),
	        cmocka_unit_test(test_bad_pins_and_nodes_are_refused),
	        cmocka_unit_test(test_dimm_is_one_memory_device),
	        cmocka_unit_test(test_golden_cdrom),
	        cmocka_unit_test(test_golden_scsi_and_usb),
	        cmocka_unit_test(test_golden_test_driver),
	        cmocka_unit_test(test_hotplug_elements_equal_those_of_the_whole),
	        cmocka_unit_test(test_targets_are_counted_per_letter_family_and_pass_z),
	        cmocka_unit_test(test_fit_gives_a_disk_the_target_of_the_running_domain),
	        cmocka_unit_test(test_fit_finds_a_free_target_beyond_z),
	        cmocka_unit_test(test_fit_leaves_other_devices_alone),
	        cmocka_unit_test(test_text_that_xml_cannot_carry_is_refused),
	        cmocka_unit_test(test_markup_in_texts_stays_text),
	        cmocka_unit_test(test_bad_configurations_are_refused),
	        cmocka_unit_test(test_bad_devices_are_refused),
	};
	return cmocka_run_group_tests(tests, load_schema, free_schema);
}
