/* SPDX-License-Identifier: Apache-2.0 */
/* Reading definitions that others wrote. */
#include "hypervisor/domain_xml.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"

static struct domain_facts parse(const char *xml)
{
	struct domain_facts facts = {0};
	struct err e = {0};
	if (domain_xml_parse(xml, &facts, &e) < 0)
		fail_msg("%s", e.message);
	return facts;
}

static const char foreign[] =
        "<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>legacy vm</name><uuid>6F1F3D3E-9A6C-4E5B-8A53-0F6F6AD2B001</uuid>"
        "<title>t</title><description>old &amp; grey</description>"
        "<metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/x/1.0'/></metadata>"
        "<memory unit='GiB'>2</memory><currentMemory unit='MiB'>1536</currentMemory>"
        "<vcpu current='2'>8</vcpu>"
        "<os><type arch='x86_64' machine='pc-i440fx-2.1'>hvm</type></os>"
        "<devices><emulator>/usr/bin/kvm</emulator>"
        "<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
        "<source dev='/dev/vg/lv'/><target dev='vda' bus='virtio'/><alias "
        "name='virtio-disk0'/></disk>"
        "<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vdb'/></disk>"
        "<disk type='network'><source protocol='rbd' name='pool/img'><host name='m'/></source>"
        "<target dev='vdc' bus='virtio'/></disk>"
        "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>"
        "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
        "<target dev='vnet3'/><model type='e1000'/></interface>"
        "<interface type='network'><mac address='52:54:00:00:00:02'/><source network='lan'/>"
        "</interface>"
        "<console type='pty'><log file='/log/c.log'/></console>"
        "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' "
        "state='connected'/></channel></devices></domain>";

static void test_foreign_domain_is_read(void **state)
{
	(void)state;
	struct domain_facts f = parse(foreign);
	assert_string_equal(f.id, "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b001");
	assert_string_equal(f.name, "legacy vm");
	assert_string_equal(f.description, "old & grey");
	assert_string_equal(f.domain_type, "kvm");
	assert_string_equal(f.architecture, "x86_64");
	assert_string_equal(f.machine, "pc-i440fx-2.1");
	assert_string_equal(f.console_log, "/log/c.log");
	assert_int_equal(f.memory_bytes, 2LL << 30);
	assert_int_equal(f.memory_current_bytes, 1536LL << 20);
	assert_int_equal(f.vcpus, 2);
	assert_false(f.is_ours);
	assert_true(f.agent_connected);
	domain_facts_done(&f);
}

static void test_foreign_devices_are_read(void **state)
{
	(void)state;
	struct domain_facts f = parse(foreign);
	assert_int_equal(f.n_disks, 4);
	assert_string_equal(f.disks[0].path, "/dev/vg/lv");
	assert_string_equal(f.disks[0].alias, "virtio-disk0");
	assert_string_equal(f.disks[1].path, "p/v");
	assert_null(f.disks[1].bus);
	assert_string_equal(f.disks[2].path, "pool/img");
	assert_null(f.disks[3].path);
	assert_string_equal(f.disks[3].device, "cdrom");
	assert_int_equal(f.n_nics, 2);
	assert_null(f.nics[0].network);
	assert_string_equal(f.nics[0].target, "vnet3");
	assert_string_equal(f.nics[0].model, "e1000");
	assert_string_equal(f.nics[1].network, "lan");
	domain_facts_done(&f);
}

static void test_agent_that_is_away_is_not_connected(void **state)
{
	(void)state;
	struct domain_facts f =
	        parse("<domain><devices><channel><target name='org.qemu.guest_agent.0' "
	              "state='disconnected'/></channel></devices></domain>");
	assert_false(f.agent_connected);
	domain_facts_done(&f);
}

static void test_only_our_namespace_makes_a_domain_ours(void **state)
{
	(void)state;
	static const struct {
		const char *metadata;
		bool is_ours;
	} cases[] = {
	        {"<b:vm xmlns:b='" DOMAIN_METADATA_URI "'/>", true},
	        {"<vm xmlns='" DOMAIN_METADATA_URI "'/>", true},
	        {"<x:y xmlns:x='urn:x'/><b:vm xmlns:b='" DOMAIN_METADATA_URI "'/>", true},
	        {"<vm/>", false},
	        {"<b:vm xmlns:b='urn:other'/>", false},
	        {"<b:other xmlns:b='" DOMAIN_METADATA_URI "'/>", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *xml CLEANUP(cleanup_free) =
		        str_format("<domain><metadata>%s</metadata></domain>", cases[i].metadata);
		struct domain_facts f = parse(xml);
		assert_int_equal(f.is_ours, cases[i].is_ours);
		domain_facts_done(&f);
	}
}

static void test_memory_units_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *element;
		int64_t bytes;
	} cases[] = {
	        {"<memory>1048576</memory>", 1LL << 30},
	        {"<memory unit='KiB'> 4 </memory>", 4096},
	        {"<memory unit='b'>5</memory>", 5},
	        {"<memory unit='bytes'>5</memory>", 5},
	        {"<memory unit='KB'>5</memory>", 5000},
	        {"<memory unit='M'>1</memory>", 1 << 20},
	        {"<memory unit='TiB'>1</memory>", 1LL << 40},
	        {"<memory unit='TiB'>99999999999999</memory>", INT64_MAX},
	        {"<memory>lots</memory>", 0},
	        {"<memory>99999999999999999999999</memory>", 0},
	        {"", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *xml CLEANUP(cleanup_free) =
		        str_format("<domain>%s</domain>", cases[i].element);
		struct domain_facts f = parse(xml);
		assert_int_equal(f.memory_bytes, cases[i].bytes);
		assert_int_equal(f.memory_current_bytes, cases[i].bytes);
		domain_facts_done(&f);
	}
}

static void test_bare_domain_reads_as_empty(void **state)
{
	(void)state;
	struct domain_facts f = parse("<domain/>");
	assert_string_equal(f.id, "");
	assert_null(f.name);
	assert_int_equal(f.vcpus, 1);
	assert_int_equal(f.n_disks, 0);
	domain_facts_done(&f);
	f = parse("<domain><uuid>x</uuid><vcpu>-3</vcpu><devices><disk/><interface/></devices></"
	          "domain>");
	assert_string_equal(f.id, "");
	assert_int_equal(f.vcpus, 1);
	assert_int_equal(f.n_disks, 1);
	assert_null(f.disks[0].target);
	domain_facts_done(&f);
}

static void test_what_is_no_domain_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "text", "<domain>", "<network/>",
	        "<domain></domain>x", "<domain a='1' a='2'/>", "<domain>\x01</domain>",
	        "<!DOCTYPE domain"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct domain_facts facts;
		struct err e = {0};
		assert_int_equal(domain_xml_parse(bad[i], &facts, &e), ERR_INVALID);
	}
}

static void test_entities_reach_no_file_and_do_not_explode(void **state)
{
	(void)state;
	struct domain_facts f =
	        parse("<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>"
	              "<domain><name>&x;</name></domain>");
	assert_true(str_is_empty(f.name));
	domain_facts_done(&f);
	struct str bomb = {0};
	str_add(&bomb, "<!DOCTYPE domain [<!ENTITY e0 'aaaaaaaaaa'>");
	for (int i = 1; i < 12; i++)
		str_printf(&bomb,
		        "<!ENTITY e%d '&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;&e%d;'>", i,
		        i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	str_add(&bomb, "]><domain><name>&e11;</name></domain>");
	struct domain_facts facts;
	assert_int_equal(domain_xml_parse(str_text(&bomb), &facts, NULL), ERR_INVALID);
	str_done(&bomb);
}

/* Whatever a text is cut down or changed to, reading it ends without harm. */
static void test_damaged_texts_do_no_harm(void **state)
{
	(void)state;
	size_t len = strlen(foreign);
	srand(7);
	for (int i = 0; i < 3000; i++) {
		char *xml CLEANUP(cleanup_free) = malloc(len + 1);
		memcpy(xml, foreign, len + 1);
		for (int k = rand() % 4; k >= 0; k--)
			xml[(size_t)rand() % len] = "<>'/ a0&\"x"[rand() % 10];
		if (rand() % 4 == 0)
			xml[(size_t)rand() % len] = '\0';
		struct domain_facts facts;
		if (domain_xml_parse(xml, &facts, NULL) == 0)
			domain_facts_done(&facts);
	}
}

static void test_slots_for_memory_are_counted(void **state)
{
	(void)state;
	struct domain_facts f =
	        parse("<domain><maxMemory slots='3' unit='MiB'>1024</maxMemory><devices>"
	              "<memory model='dimm'/><disk/><memory model='dimm'/>"
	              "<memory model='virtio-mem'/></devices></domain>");
	assert_int_equal(f.memory_slots, 3);
	assert_int_equal(f.memory_slots_used, 2);
	domain_facts_done(&f);
	f = parse("<domain><memory>1024</memory></domain>");
	assert_int_equal(f.memory_slots, 0);
	assert_int_equal(f.memory_slots_used, 0);
	domain_facts_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_foreign_domain_is_read),
	        cmocka_unit_test(test_foreign_devices_are_read),
	        cmocka_unit_test(test_agent_that_is_away_is_not_connected),
	        cmocka_unit_test(test_only_our_namespace_makes_a_domain_ours),
	        cmocka_unit_test(test_memory_units_are_understood),
	        cmocka_unit_test(test_slots_for_memory_are_counted),
	        cmocka_unit_test(test_bare_domain_reads_as_empty),
	        cmocka_unit_test(test_what_is_no_domain_is_refused),
	        cmocka_unit_test(test_entities_reach_no_file_and_do_not_explode),
	        cmocka_unit_test(test_damaged_texts_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
