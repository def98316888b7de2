/* SPDX-License-Identifier: Apache-2.0 */
/* Chains, network sources, copy targets, snapshots, saved memory and carriers; libvirt's schemas
 * accept each. */
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

#define ID     "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b001"
#define SECRET "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b002"

static xmlRelaxNGPtr schema, snapshot_schema;

static int load_schemas(void **state)
{
	(void)state;
	schema = libvirt_schema_load(SCHEMA_DIR "domain.rng");
	snapshot_schema = libvirt_schema_load(SCHEMA_DIR "domainsnapshot.rng");
	return schema && snapshot_schema ? 0 : -1;
}

static int free_schemas(void **state)
{
	(void)state;
	xmlRelaxNGFree(schema);
	xmlRelaxNGFree(snapshot_schema);
	xmlRelaxNGCleanupTypes();
	xmlCleanupParser();
	return 0;
}

static const char *const one_host[] = {"10.0.0.1:3260", NULL};
static const char *const three_hosts[] = {"mon1.example", "[fd00::1]:6789", "fd00::2", NULL};

static const struct domain_source chain_of_five[] = {
        {.path = "/p/e.qcow2", .format = "qcow2"},
        {.type = DOMAIN_SOURCE_BLOCK, .path = "/dev/vg/d", .format = "qcow2"},
        {.type = DOMAIN_SOURCE_NETWORK,
                .path = "/export/c.qcow2",
                .format = "qcow2",
                .protocol = "nfs",
                .hosts = one_host},
        {.type = DOMAIN_SOURCE_NETWORK,
                .path = "volume/b.qcow2",
                .format = "qcow2",
                .protocol = "gluster",
                .hosts = three_hosts},
        {.path = "/p/a.raw", .format = "raw"},
};

static const struct domain_source iscsi = {.type = DOMAIN_SOURCE_NETWORK,
        .path = "iqn.2020-01.org.example:disks/1",
        .format = "raw",
        .protocol = "iscsi",
        .hosts = one_host,
        .user = "chap",
        .secret_id = SECRET,
        .initiator = "iqn.2020-01.org.example:berth"};

static const struct domain_source rbd = {.type = DOMAIN_SOURCE_NETWORK,
        .path = "vm/image",
        .format = "raw",
        .protocol = "rbd",
        .hosts = three_hosts,
        .user = "libvirt",
        .secret_id = SECRET};

static struct domain_config with_disks(const struct domain_disk *disks, size_t n)
{
	return (struct domain_config){.id = ID,
	        .name = "vm1",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = 1 << 28,
	        .vcpus = 1,
	        .cpu_model = "maximum",
	        .disks = disks,
	        .n_disks = n};
}

static struct domain_disk disk_on(const struct domain_source *chain, size_t n)
{
	return (struct domain_disk){.name = "root", .chain = chain, .n_chain = n, .bus = "virtio"};
}

/* The definition of a VM with this one disk, accepted by the schema. */
static char *build(const struct domain_disk *disk)
{
	struct domain_config config = with_disks(disk, 1);
	char *xml = NULL;
	struct err e = {0};
	if (domain_xml_build(&config, &xml, &e) < 0)
		fail_msg("%s", e.message);
	assert_true(libvirt_schema_accepts(schema, xml));
	return xml;
}

/* Blanks between elements do not count. */
static char *squeeze(const char *text)
{
	struct str out = {0};
	for (; *text; text++)
		if (*text == '\n')
			while (text[1] == ' ')
				text++;
		else
			str_add_char(&out, *text);
	return str_take(&out);
}

static void assert_has(const char *xml, const char *part)
{
	char *flat CLEANUP(cleanup_free) = squeeze(xml);
	if (!strstr(flat, part))
		fail_msg("no %s in\n%s", part, xml);
}

/* --- sources --- */

static void test_chain_of_five_is_written_out_and_closed(void **state)
{
	(void)state;
	struct domain_disk disk = disk_on(chain_of_five, 5);
	char *xml CLEANUP(cleanup_free) = build(&disk);
	assert_has(xml, "<disk type=\"file\" device=\"disk\"><driver name=\"qemu\" type=\"qcow2\" "
	                "cache=\"none\"/><source file=\"/p/e.qcow2\"/><backingStore type=\"block\">"
	                "<format type=\"qcow2\"/><source dev=\"/dev/vg/d\"/><backingStore "
	                "type=\"network\"><format type=\"qcow2\"/><source protocol=\"nfs\" "
	                "name=\"/export/c.qcow2\"><host name=\"10.0.0.1\" port=\"3260\"/>"
	                "<identity/></source><backingStore type=\"network\">");
	assert_has(xml, "<backingStore type=\"file\"><format type=\"raw\"/><source "
	                "file=\"/p/a.raw\"/><backingStore/></backingStore></backingStore>"
	                "</backingStore></backingStore><target");
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	assert_int_equal(domain_xml_read_chain(xml, "root", &chain, NULL), 0);
	assert_int_equal(chain.n_layers, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_string_equal(chain.layers[i].path, chain_of_five[i].path);
		assert_string_equal(chain.layers[i].format, chain_of_five[i].format);
	}
}

static void test_network_sources_name_hosts_and_secrets(void **state)
{
	(void)state;
	struct domain_disk disk = disk_on(&iscsi, 1);
	char *xml CLEANUP(cleanup_free) = build(&disk);
	assert_has(xml, "<source protocol=\"iscsi\" name=\"iqn.2020-01.org.example:disks/1\">"
	                "<host name=\"10.0.0.1\" port=\"3260\"/><initiator><iqn "
	                "name=\"iqn.2020-01.org.example:berth\"/></initiator><auth "
	                "username=\"chap\"><secret type=\"iscsi\" uuid=\"" SECRET "\"/></auth>"
	                "</source><backingStore/>");
	disk = disk_on(&rbd, 1);
	char *second CLEANUP(cleanup_free) = build(&disk);
	assert_has(second, "<host name=\"mon1.example\"/><host name=\"fd00::1\" port=\"6789\"/>"
	                   "<host name=\"fd00::2\"/><auth username=\"libvirt\"><secret "
	                   "type=\"ceph\" uuid=\"" SECRET "\"/>");
}

static void test_read_only_disk_says_so(void **state)
{
	(void)state;
	struct domain_disk disk = disk_on(&chain_of_five[4], 1);
	char *writable CLEANUP(cleanup_free) = build(&disk);
	assert_null(strstr(writable, "<readonly/>"));
	disk.read_only = true;
	char *xml CLEANUP(cleanup_free) = build(&disk);
	assert_non_null(strstr(xml, "<readonly/>"));
}

static void assert_refused(const struct domain_source *chain, size_t n, const char *part)
{
	struct domain_disk disk = disk_on(chain, n);
	struct domain_config config = with_disks(&disk, 1);
	char *xml = NULL;
	struct err e = {0};
	assert_int_equal(domain_xml_build(&config, &xml, &e), ERR_INVALID);
	if (!strstr(e.message, part))
		fail_msg("'%s' does not say '%s'", e.message, part);
}

static void test_bad_sources_are_refused(void **state)
{
	(void)state;
	static const char *const bad_host[] = {"a b", NULL}, *const bad_port[] = {"a:b", NULL},
	                         *const none[] = {NULL};
	struct domain_source s = chain_of_five[0];
	s.format = NULL;
	assert_refused(&s, 1, "format must be given");
	s.format = "vmdk";
	assert_refused(&s, 1, "format must be given");
	s = chain_of_five[0];
	s.path = "relative";
	assert_refused(&s, 1, "absolute path");
	s = iscsi;
	s.protocol = "nbd";
	assert_refused(&s, 1, "protocol must be");
	s = iscsi;
	s.hosts = none;
	assert_refused(&s, 1, "needs a host");
	s.hosts = bad_host;
	assert_refused(&s, 1, "host name must be");
	s.hosts = bad_port;
	assert_refused(&s, 1, "host port must be");
	s = iscsi;
	s.secret_id = "x";
	assert_refused(&s, 1, "UUID of a secret");
	struct domain_source raw_on_top[] = {chain_of_five[4], chain_of_five[0]};
	assert_refused(raw_on_top, 2, "raw layer");
}

/* --- copies and snapshots --- */

static void test_copy_target_is_closed_so_that_nothing_is_probed(void **state)
{
	(void)state;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_copy_target(&chain_of_five[0], &xml, NULL), 0);
	assert_has(xml, "<disk type=\"file\"><driver name=\"qemu\" type=\"qcow2\"/><source "
	                "file=\"/p/e.qcow2\"/><backingStore/></disk>");
	struct domain_source bad = {.path = "/p/x", .format = "vdi"};
	assert_int_equal(domain_xml_build_copy_target(&bad, &xml, NULL), ERR_INVALID);
}

#define LIVE                                                                                       \
	"<domain><devices>"                                                                        \
	"<disk type='file'><source file='/p/a' index='4'/><target dev='vda' bus='virtio'/>"        \
	"<alias name='ua-disk-root'/></disk>"                                                      \
	"<disk type='file'><target dev='sda' bus='sata'/><alias name='ua-disk-cd'/></disk>"        \
	"<disk type='file'><source file='/p/b'/><target dev='vdc' bus='virtio'/>"                  \
	"<alias name='ua-disk-data'/></disk></devices></domain>"

static void test_snapshot_finds_targets_by_alias_and_leaves_other_disks_out(void **state)
{
	(void)state;
	struct domain_overlay overlays[] = {
	        {"data", {.path = "/p/b2", .format = "qcow2"}},
	        {"root", chain_of_five[1]},
	};
	char *xml CLEANUP(cleanup_free) = NULL;
	char *with_memory CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_snapshot(overlays, 2, NULL, LIVE, &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(snapshot_schema, xml));
	assert_has(xml, "<memory snapshot=\"no\"/><disks><disk name=\"vda\" "
	                "snapshot=\"external\" type=\"block\"><driver type=\"qcow2\"/><source "
	                "dev=\"/dev/vg/d\"/></disk><disk name=\"sda\" snapshot=\"no\"/><disk "
	                "name=\"vdc\" snapshot=\"external\" type=\"file\"><driver "
	                "type=\"qcow2\"/><source file=\"/p/b2\"/></disk></disks>");
	assert_int_equal(
	        domain_xml_build_snapshot(overlays, 2, "/p/m.mem", LIVE, &with_memory, NULL), 0);
	assert_true(libvirt_schema_accepts(snapshot_schema, with_memory));
	assert_has(with_memory, "<memory snapshot=\"external\" file=\"/p/m.mem\"/>");
}

static void test_snapshot_of_an_unknown_disk_is_refused(void **state)
{
	(void)state;
	struct domain_overlay overlay = {"logs", {.path = "/p/b2", .format = "qcow2"}};
	char *xml = NULL;
	struct err e = {0};
	assert_int_equal(
	        domain_xml_build_snapshot(&overlay, 1, NULL, LIVE, &xml, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.message, "logs"));
	assert_null(xml);
}

static void test_network_overlay_is_accepted(void **state)
{
	(void)state;
	struct domain_overlay overlay = {"root", chain_of_five[3]};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_snapshot(&overlay, 1, NULL, LIVE, &xml, NULL), 0);
	assert_has(xml, "<source protocol=\"gluster\" name=\"volume/b.qcow2\">");
}

/* --- saved memory --- */

static void test_chains_are_replaced_and_places_stay(void **state)
{
	(void)state;
	struct domain_disk disks[] = {disk_on(chain_of_five, 5), disk_on(&rbd, 1)};
	disks[1].name = "data";
	struct domain_config config = with_disks(disks, 2);
	char *saved CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build(&config, &saved, NULL), 0);
	static const struct domain_source fresh[] = {
	        {.path = "/p/new.qcow2", .format = "qcow2"}, {.path = "/p/a.raw", .format = "raw"}};
	struct domain_disk others[] = {disk_on(&chain_of_five[4], 1), disk_on(fresh, 2)};
	others[0].name = "data";
	assert_int_equal(domain_xml_replace_chains(saved, others, 2, &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(schema, xml));
	assert_null(strstr(xml, "/p/e.qcow2"));
	assert_null(strstr(xml, "rbd"));
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_int_equal(domain_xml_parse(xml, &facts, NULL), 0);
	assert_string_equal(facts.disks[0].path, "/p/new.qcow2");
	assert_string_equal(facts.disks[0].format, "qcow2");
	assert_string_equal(facts.disks[0].target, "vda");
	assert_string_equal(facts.disks[1].path, "/p/a.raw");
	assert_string_equal(facts.disks[1].format, "raw");
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	assert_int_equal(domain_xml_read_chain(xml, "root", &chain, NULL), 0);
	assert_int_equal(chain.n_layers, 2);
	assert_string_equal(chain.layers[1].path, "/p/a.raw");
}

static void test_replacing_all_chains_by_themselves_changes_nothing(void **state)
{
	(void)state;
	struct domain_disk disks[] = {
	        disk_on(chain_of_five, 5), {.name = "cd", .kind = DOMAIN_CDROM, .bus = "sata"}};
	struct domain_config config = with_disks(disks, 2);
	char *saved CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build(&config, &saved, NULL), 0);
	assert_int_equal(domain_xml_replace_chains(saved, disks, 2, &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(schema, xml));
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_int_equal(domain_xml_parse(xml, &facts, NULL), 0);
	assert_int_equal(facts.n_disks, 2);
	assert_string_equal(facts.disks[0].path, "/p/e.qcow2");
	assert_null(facts.disks[1].path);
}

static void test_unknown_disk_in_saved_memory_is_refused(void **state)
{
	(void)state;
	struct domain_disk disk = disk_on(chain_of_five, 5);
	char *xml = NULL;
	struct err e = {0};
	assert_int_equal(domain_xml_replace_chains(LIVE, &disk, 1, &xml, &e), ERR_INVALID);
	assert_non_null(strstr(e.message, "sda"));
	struct domain_disk too_many[] = {disk, disk_on(&rbd, 1)};
	char *one CLEANUP(cleanup_free) = build(&disk);
	assert_int_equal(domain_xml_replace_chains(one, too_many, 2, &xml, NULL), ERR_INVALID);
	assert_int_equal(domain_xml_replace_chains("<x/>", &disk, 1, &xml, NULL), ERR_INVALID);
	assert_null(xml);
}

/* --- a running disk --- */

static void test_chain_of_a_running_disk_has_numbers(void **state)
{
	(void)state;
	static const char live[] =
	        "<domain><devices><disk type='file'><driver name='qemu' type='qcow2'/>"
	        "<source file='/p/c' index='6'/><backingStore type='file' index='2'><format "
	        "type='qcow2'/><source file='/p/b'/><backingStore type='network' index='1'>"
	        "<format type='raw'/><source protocol='rbd' name='vm/a'/><backingStore/>"
	        "</backingStore></backingStore><mirror type='file' ready='yes'/>"
	        "<target dev='sdb'/><alias name='ua-disk-root'/></disk></devices></domain>";
	static const struct {
		const char *path, *format;
		int index;
	} expected[] = {{"/p/c", "qcow2", 6}, {"/p/b", "qcow2", 2}, {"vm/a", "raw", 1}};
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	assert_int_equal(domain_xml_read_chain(live, "root", &chain, NULL), 0);
	assert_string_equal(chain.target, "sdb");
	assert_true(chain.has_mirror && chain.mirror_is_ready);
	assert_int_equal(chain.n_layers, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(chain.layers[i].path, expected[i].path);
		assert_string_equal(chain.layers[i].format, expected[i].format);
		assert_int_equal(chain.layers[i].index, expected[i].index);
	}
	assert_int_equal(domain_xml_read_chain(live, "data", &chain, NULL), ERR_NOT_FOUND);
}

static void test_a_layer_is_named_wherever_in_a_chain_or_a_copy_it_is(void **state)
{
	(void)state;
	static const char xml[] =
	        "<domain><description>/p/text</description><devices>"
	        "<disk type='file'><source file='/p/top'/><backingStore type='file'>"
	        "<source file='/p/a&amp;b'/><backingStore type='network'>"
	        "<source protocol='rbd' "
	        "name='vm/low'/><backingStore/></backingStore></backingStore>"
	        "<mirror type='file'><source file='/p/copy'/><backingStore type='file'>"
	        "<source file='/p/below'/></backingStore></mirror></disk>"
	        "<disk type='block' device='cdrom'><source dev='/dev/x'/></disk>"
	        "</devices></domain>";
	static const char *const named[] = {
	        "/p/top", "/p/a&b", "vm/low", "/p/copy", "/p/below", "/dev/x"};
	static const char *const others[] = {"/p/text", "/q/top", "top", "/p/to", "/p/a&amp;b"};
	for (size_t i = 0; i < ARRAY_LEN(named); i++)
		assert_true(domain_xml_names_layer(xml, named[i]));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(domain_xml_names_layer(xml, others[i]));
	assert_false(domain_xml_names_layer("<x>/p/top</x>", "/p/top"));
}

/* --- carriers --- */

static void test_carrier_has_disks_and_nothing_else(void **state)
{
	(void)state;
	struct domain_disk disks[] = {disk_on(chain_of_five, 5), disk_on(&rbd, 1)};
	disks[0].bus = "sata";
	disks[1].name = "target";
	disks[1].read_only = true;
	struct domain_carrier carrier = {
	        .id = ID, .name = "berth-job-1", .disks = disks, .n_disks = 2};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_carrier(&carrier, &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(schema, xml));
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_int_equal(domain_xml_parse(xml, &facts, NULL), 0);
	assert_true(facts.is_carrier);
	assert_false(facts.is_ours);
	assert_string_equal(facts.domain_type, "qemu");
	assert_string_equal(facts.machine, "q35");
	assert_int_equal(facts.memory_bytes, 16 << 20);
	assert_int_equal(facts.n_disks, 2);
	assert_int_equal(facts.n_nics, 0);
	assert_null(facts.console_log);
	assert_string_equal(facts.disks[0].bus, "virtio");
	assert_string_equal(facts.disks[1].alias, "ua-disk-target");
	assert_non_null(strstr(xml, "<readonly/>"));
	assert_non_null(strstr(xml, "discard=\"unmap\""));
}

static void test_carrier_of_another_architecture_has_its_machine(void **state)
{
	(void)state;
	struct domain_disk disk = disk_on(chain_of_five, 5);
	struct domain_carrier carrier = {
	        .id = ID, .name = "c", .architecture = "aarch64", .disks = &disk, .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_carrier(&carrier, &xml, NULL), 0);
	assert_true(libvirt_schema_accepts(schema, xml));
	assert_has(xml, "<type arch=\"aarch64\" machine=\"virt\">hvm</type>");
	struct domain_facts vm CLEANUP(domain_facts_done) = {0};
	char *ours CLEANUP(cleanup_free) = build(&disk);
	assert_int_equal(domain_xml_parse(ours, &vm, NULL), 0);
	assert_false(vm.is_carrier);
	carrier.id = "x";
	assert_int_equal(domain_xml_build_carrier(&carrier, &ours, NULL), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_chain_of_five_is_written_out_and_closed),
	        cmocka_unit_test(test_network_sources_name_hosts_and_secrets),
	        cmocka_unit_test(test_read_only_disk_says_so),
	        cmocka_unit_test(test_bad_sources_are_refused),
	        cmocka_unit_test(test_copy_target_is_closed_so_that_nothing_is_probed),
	        cmocka_unit_test(test_snapshot_finds_targets_by_alias_and_leaves_other_disks_out),
	        cmocka_unit_test(test_snapshot_of_an_unknown_disk_is_refused),
	        cmocka_unit_test(test_network_overlay_is_accepted),
	        cmocka_unit_test(test_chains_are_replaced_and_places_stay),
	        cmocka_unit_test(test_replacing_all_chains_by_themselves_changes_nothing),
	        cmocka_unit_test(test_unknown_disk_in_saved_memory_is_refused),
	        cmocka_unit_test(test_chain_of_a_running_disk_has_numbers),
	        cmocka_unit_test(test_a_layer_is_named_wherever_in_a_chain_or_a_copy_it_is),
	        cmocka_unit_test(test_carrier_has_disks_and_nothing_else),
	        cmocka_unit_test(test_carrier_of_another_architecture_has_its_machine),
	};
	return cmocka_run_group_tests(tests, load_schemas, free_schemas);
}
