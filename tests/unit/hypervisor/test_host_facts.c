/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities of hosts, as libvirt words them, become facts. */
#include "hypervisor/host_facts.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define CPU(socket, core, id)                                                                      \
	"<cpu id='" #id "' socket_id='" #socket "' die_id='0' core_id='" #core "'/>"
#define X86_GUEST(types)                                                                           \
	"<guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize>"                 \
	"<emulator>/usr/bin/qemu-system-x86_64</emulator>"                                         \
	"<machine maxCpus='255'>pc-i440fx-7.2</machine>"                                           \
	"<machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine>" types "</arch></guest>"
#define ARM_GUEST                                                                                  \
	"<guest><os_type>hvm</os_type><arch name='aarch64'>"                                       \
	"<emulator>/usr/bin/qemu-system-aarch64</emulator>"                                        \
	"<machine canonical='virt-7.2'>virt</machine><domain type='qemu'/></arch></guest>"

/* Two sockets of two cores with two threads, two NUMA nodes. */
static char *capabilities(const char *features, const char *guests)
{
	return str_format(
	        "<capabilities><host><cpu><arch>x86_64</arch><model>Skylake-Server</model>"
	        "<vendor>Intel</vendor><topology sockets='1' dies='1' cores='2' "
	        "threads='2'/>%s</cpu>"
	        "<iommu support='yes'/><topology><cells num='2'>"
	        "<cell id='0'><memory unit='KiB'>4194304</memory><cpus num='4'>" CPU(0, 0, 0) CPU(
	                0, 0, 4) CPU(0, 1, 1) CPU(0, 1,
	                5) "</cpus></cell>"
	                   "<cell id='1'><memory unit='KiB'>8388608</memory><cpus num='4'>" CPU(
	                           1, 0, 2) CPU(1, 0, 6) CPU(1, 1, 3)
	                           CPU(1, 1, 7) "</cpus></cell>"
	                                        "</cells></topology></host>%s</capabilities>",
	        features, guests);
}

static struct host_facts parse(const char *features, const char *guests)
{
	char *xml CLEANUP(cleanup_free) = capabilities(features, guests);
	struct host_facts facts = {0};
	struct err e = {0};
	if (host_facts_parse(xml, &facts, &e) < 0)
		fail_msg("%s", e.message);
	return facts;
}

static void test_cpu_topology_and_numa_are_counted(void **state)
{
	(void)state;
	struct host_facts f = parse("<feature name='vmx'/>", X86_GUEST("<domain type='qemu'/>"));
	assert_string_equal(f.cpu_arch, "x86_64");
	assert_string_equal(f.cpu_model, "Skylake-Server");
	assert_string_equal(f.cpu_vendor, "Intel");
	assert_int_equal(f.threads, 8);
	assert_int_equal(f.sockets, 2);
	assert_int_equal(f.cores, 4);
	assert_int_equal(f.threads_per_core, 2);
	assert_int_equal(f.n_numa, 2);
	assert_int_equal(f.numa[1].id, 1);
	assert_int_equal(f.numa[1].memory_bytes, 8LL << 30);
	assert_int_equal(f.numa[1].cpus, 4);
	assert_int_equal(f.memory_bytes, 12LL << 30);
	assert_true(f.has_iommu);
	host_facts_done(&f);
}

static void test_cpus_are_listed_by_node_with_their_siblings(void **state)
{
	(void)state;
	static const struct host_cpu expected[] = {{0, 0, 0, 0}, {1, 0, 0, 1}, {4, 0, 0, 0},
	        {5, 0, 0, 1}, {2, 1, 1, 2}, {3, 1, 1, 3}, {6, 1, 1, 2}, {7, 1, 1, 3}};
	struct host_facts f = parse("", X86_GUEST("<domain type='qemu'/>"));
	assert_int_equal(f.n_host_cpus, ARRAY_LEN(expected));
	for (size_t i = 0; i < f.n_host_cpus; i++) {
		assert_int_equal(f.host_cpus[i].id, expected[i].id);
		assert_int_equal(f.host_cpus[i].node, expected[i].node);
		assert_int_equal(f.host_cpus[i].socket, expected[i].socket);
		assert_int_equal(f.host_cpus[i].core, expected[i].core);
	}
	host_facts_done(&f);
}

static void test_huge_pages_are_those_set_aside(void **state)
{
	(void)state;
	struct host_facts f = {0};
	static const char xml[] =
	        "<capabilities><host><topology><cells><cell id='0'>"
	        "<pages unit='KiB' size='4'>1000</pages><pages unit='KiB' size='2048'>0</pages>"
	        "<pages unit='KiB' size='1048576'>3</pages></cell><cell id='1'>"
	        "<pages unit='KiB' size='4'>1000</pages><pages unit='KiB' size='2048'>512</pages>"
	        "</cell></cells></topology></host></capabilities>";
	assert_int_equal(host_facts_parse(xml, &f, NULL), 0);
	assert_int_equal(f.n_hugepages, 2);
	assert_int_equal(f.hugepages[0].node, 0);
	assert_int_equal(f.hugepages[0].page_bytes, 1LL << 30);
	assert_int_equal(f.hugepages[0].pages, 3);
	assert_int_equal(f.hugepages[1].node, 1);
	assert_int_equal(f.hugepages[1].page_bytes, 2LL << 20);
	assert_int_equal(f.hugepages[1].pages, 512);
	struct json_writer w = {0};
	json_object_begin(&w);
	host_facts_encode(&f, &w);
	json_object_end(&w);
	assert_non_null(strstr(str_text(&w.out),
	        "\"hugepages\":[{\"node\":0,\"page_bytes\":1073741824,\"pages\":3},"
	        "{\"node\":1,\"page_bytes\":2097152,\"pages\":512}]"));
	json_writer_done(&w);
	host_facts_done(&f);
}

static char *baseline(const char *features)
{
	struct host_facts f = parse(features, X86_GUEST("<domain type='qemu'/>"));
	char *token = xstrdup(f.cpu_baseline);
	host_facts_done(&f);
	return token;
}

static void test_cpu_baseline_tells_hosts_apart_by_features_alone(void **state)
{
	(void)state;
	char *one CLEANUP(cleanup_free) = baseline("<feature name='a'/><feature name='bc'/>");
	char *turned CLEANUP(cleanup_free) = baseline("<feature name='bc'/><feature name='a'/>");
	char *joined CLEANUP(cleanup_free) = baseline("<feature name='ab'/><feature name='c'/>");
	char *none CLEANUP(cleanup_free) = baseline("");
	assert_true(str_starts_with(one, "Intel/Skylake-Server/"));
	assert_string_equal(one, turned);
	assert_string_not_equal(one, joined);
	assert_string_not_equal(one, none);
	struct host_facts f = {0};
	assert_int_equal(host_facts_parse("<capabilities/>", &f, NULL), 0);
	assert_null(f.cpu_baseline);
	host_facts_done(&f);
}

#define BOTH_TYPES "<domain type='qemu'/><domain type='kvm'/>"

/* /dev/kvm may open where guests then hang: without vmx or svm libvirt's offer does not count. */
static void test_kvm_without_vmx_or_svm_is_not_believed(void **state)
{
	(void)state;
	static const struct {
		const char *features, *types, *domain_type;
		enum hardware_virtualization hardware;
	} cases[] = {
	        {"<feature name='aes'/><feature name='vmx'/>", BOTH_TYPES, "kvm", HARDWARE_VMX},
	        {"<feature name='svm'/>", BOTH_TYPES, "kvm", HARDWARE_SVM},
	        {"<feature name='aes'/>", BOTH_TYPES, "qemu", HARDWARE_NONE},
	        {"<feature name='vmx'/>", "<domain type='qemu'/>", "qemu", HARDWARE_VMX},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *guest CLEANUP(cleanup_free) = str_format(
		        "<guest><os_type>hvm</os_type><arch name='x86_64'>%s</arch></guest>",
		        cases[i].types);
		struct host_facts f = parse(cases[i].features, guest);
		assert_int_equal(f.hardware, cases[i].hardware);
		assert_string_equal(f.domain_type, cases[i].domain_type);
		assert_int_equal(host_facts_can_use_kvm(&f, "x86_64"),
		        strcmp(cases[i].domain_type, "kvm") == 0);
		assert_false(host_facts_can_use_kvm(&f, "aarch64"));
		host_facts_done(&f);
	}
}

static void test_arm_hosts_need_no_vmx(void **state)
{
	(void)state;
	struct host_facts f = {0};
	assert_int_equal(
	        host_facts_parse("<capabilities><host><cpu><arch>aarch64</arch></cpu></host>"
	                         "<guest><os_type>hvm</os_type><arch name='aarch64'>"
	                         "<domain type='qemu'/><domain type='kvm'/></arch></guest>"
	                         "</capabilities>",
	                &f, NULL),
	        0);
	assert_string_equal(f.domain_type, "kvm");
	assert_true(host_facts_can_use_kvm(&f, "aarch64"));
	host_facts_done(&f);
}

static void test_architectures_and_their_machines_are_listed(void **state)
{
	(void)state;
	struct host_facts f = parse("", X86_GUEST(BOTH_TYPES) ARM_GUEST);
	assert_int_equal(f.n_archs, 2);
	const struct arch_facts *x86 = host_facts_arch(&f, "x86_64");
	const struct arch_facts *arm = host_facts_arch(&f, "aarch64");
	assert_string_equal(x86->emulator, "/usr/bin/qemu-system-x86_64");
	assert_string_equal(x86->default_machine, "pc-q35-7.2");
	assert_string_equal(x86->machines[0], "pc-i440fx-7.2");
	assert_string_equal(x86->machines[1], "q35");
	assert_null(x86->machines[2]);
	assert_true(x86->has_kvm);
	assert_string_equal(arm->default_machine, "virt-7.2");
	assert_false(arm->has_kvm);
	assert_null(host_facts_arch(&f, "riscv64"));
	host_facts_done(&f);
}

static void test_domain_capabilities_add_firmware_and_machine(void **state)
{
	(void)state;
	static const char format[] =
	        "<domainCapabilities><machine>pc-q35-8.0</machine><os supported='yes'>"
	        "<enum name='firmware'>%s</enum><loader supported='yes'>"
	        "<enum name='type'><value>rom</value></enum>"
	        "<enum name='secure'>%s<value>no</value></enum></loader></os></domainCapabilities>";
	static const struct {
		const char *firmware, *secure;
		bool uefi, secure_boot;
	} cases[] = {
	        {"<value>efi</value>", "<value>yes</value>", true, true},
	        {"<value>bios</value><value>efi</value>", "", true, false},
	        {"", "<value>yes</value>", false, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct host_facts f = parse("", X86_GUEST(BOTH_TYPES));
		char *xml CLEANUP(cleanup_free) =
		        str_format(format, cases[i].firmware, cases[i].secure);
		assert_int_equal(host_facts_parse_domain(xml, &f.archs[0], NULL), 0);
		assert_int_equal(f.archs[0].has_uefi, cases[i].uefi);
		assert_int_equal(f.archs[0].has_secure_boot, cases[i].secure_boot);
		assert_string_equal(f.archs[0].default_machine, "pc-q35-8.0");
		host_facts_done(&f);
	}
}

static void test_named_cpu_models_are_those_that_the_host_may_have(void **state)
{
	(void)state;
	struct host_facts f = parse("", X86_GUEST(BOTH_TYPES));
	const char xml[] =
	        "<domainCapabilities><cpu><mode name='host-model' supported='yes'><model>Not-this"
	        "</model></mode><mode name='custom' supported='yes'><model "
	        "usable='yes'>qemu64</model>"
	        "<model usable='no'>EPYC</model><model usable='unknown'>kvm64</model></mode></cpu>"
	        "</domainCapabilities>";
	assert_null(f.archs[0].cpu_models);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(host_facts_parse_domain(xml, &f.archs[0], NULL), 0);
		assert_string_equal(f.archs[0].cpu_models[0], "qemu64");
		assert_string_equal(f.archs[0].cpu_models[1], "kvm64");
		assert_null(f.archs[0].cpu_models[2]);
	}
	assert_int_equal(host_facts_parse_domain("<domainCapabilities/>", &f.archs[0], NULL), 0);
	assert_null(f.archs[0].cpu_models);
	host_facts_done(&f);
}

static void test_hosts_without_cells_use_the_plain_topology(void **state)
{
	(void)state;
	struct host_facts f = {0};
	assert_int_equal(host_facts_parse("<capabilities><host><cpu><arch>x86_64</arch>"
	                                  "<topology sockets='2' dies='1' cores='4' threads='2'/>"
	                                  "</cpu></host></capabilities>",
	                         &f, NULL),
	        0);
	assert_int_equal(f.threads, 16);
	assert_int_equal(f.cores, 8);
	assert_int_equal(f.sockets, 2);
	host_facts_done(&f);
}

static void test_test_driver_is_recognised(void **state)
{
	(void)state;
	struct host_facts f = parse("", "<guest><os_type>hvm</os_type><arch name='i686'>"
	                                "<domain type='test'/></arch></guest>");
	assert_true(f.is_test_driver);
	assert_string_equal(f.domain_type, "test");
	host_facts_done(&f);
}

static void test_odd_texts_are_refused_or_read_as_empty(void **state)
{
	(void)state;
	static const char *const refused[] = {"", "x", "<domain/>", "<capabilities>"};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct host_facts f = {0};
		struct err e = {0};
		assert_int_equal(host_facts_parse(refused[i], &f, &e), ERR_INVALID);
		assert_true(str_starts_with(e.message, "the host's capabilities"));
	}
	struct host_facts f = {0};
	assert_int_equal(host_facts_parse("<capabilities><guest/><host><topology><cells><cell/>"
	                                  "</cells></topology></host></capabilities>",
	                         &f, NULL),
	        0);
	assert_int_equal(f.n_archs, 0);
	assert_int_equal(f.threads, 0);
	struct json_writer w = {0};
	json_object_begin(&w);
	host_facts_encode(&f, &w);
	json_object_end(&w);
	assert_non_null(strstr(str_text(&w.out), "\"libvirt\":null"));
	json_writer_done(&w);
	host_facts_done(&f);
}

static void test_facts_are_encoded(void **state)
{
	(void)state;
	struct host_facts f = parse("<feature name='vmx'/>", X86_GUEST(BOTH_TYPES) ARM_GUEST);
	f.hostname = xstrdup("h1");
	f.libvirt_version = 9000000;
	f.hypervisor_version = 7002019;
	struct json_writer w = {0};
	json_object_begin(&w);
	host_facts_encode(&f, &w);
	json_object_end(&w);
	assert_string_equal(str_text(&w.out),
	        "{\"hostname\":\"h1\",\"cpu\":{\"model\":\"Skylake-Server\",\"vendor\":\"Intel\","
	        "\"architecture\":\"x86_64\",\"threads\":8,\"sockets\":2,\"cores\":4,"
	        "\"threads_per_core\":2,\"numa_nodes\":[{\"id\":0,\"memory_bytes\":4294967296,"
	        "\"cpus\":4,\"cpu_list\":\"0-1,4-5\"},{\"id\":1,\"memory_bytes\":8589934592,"
	        "\"cpus\":4,\"cpu_list\":\"2-3,6-7\"}]},"
	        "\"memory\":{\"total_bytes\":12884901888,\"hugepages\":[]},\"networks\":null,"
	        "\"virtualization\":{\"hardware\":\"vmx\",\"accelerators\":[\"kvm\",\"tcg\"],"
	        "\"iommu\":true},\"versions\":{\"libvirt\":\"9.0.0\",\"hypervisor\":\"7.2.19\"},"
	        "\"architectures\":[{\"name\":\"x86_64\",\"machines_default\":\"pc-q35-7.2\","
	        "\"uefi\":false,\"secure_boot\":false,\"kvm\":true},{\"name\":\"aarch64\","
	        "\"machines_default\":\"virt-7.2\",\"uefi\":false,\"secure_boot\":false,"
	        "\"kvm\":false}]}");
	json_writer_done(&w);
	host_facts_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_cpu_topology_and_numa_are_counted),
	        cmocka_unit_test(test_cpus_are_listed_by_node_with_their_siblings),
	        cmocka_unit_test(test_huge_pages_are_those_set_aside),
	        cmocka_unit_test(test_named_cpu_models_are_those_that_the_host_may_have),
	        cmocka_unit_test(test_cpu_baseline_tells_hosts_apart_by_features_alone),
	        cmocka_unit_test(test_kvm_without_vmx_or_svm_is_not_believed),
	        cmocka_unit_test(test_arm_hosts_need_no_vmx),
	        cmocka_unit_test(test_architectures_and_their_machines_are_listed),
	        cmocka_unit_test(test_domain_capabilities_add_firmware_and_machine),
	        cmocka_unit_test(test_hosts_without_cells_use_the_plain_topology),
	        cmocka_unit_test(test_test_driver_is_recognised),
	        cmocka_unit_test(test_odd_texts_are_refused_or_read_as_empty),
	        cmocka_unit_test(test_facts_are_encoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
