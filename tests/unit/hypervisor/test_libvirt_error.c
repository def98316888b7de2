/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's errors, as libvirt 9.0 words them, become our codes. */
#include "hypervisor/libvirt_error.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/virterror.h>

#include "base/cleanup.h"
#include "base/str.h"

enum expected_hint { NO_HINT, HINT };

static const struct {
	int domain, number;
	const char *message;
	int code;
	enum expected_hint hint;
} samples[] = {
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or "
                "directory",
                ERR_HOST_DOWN, HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
                ERR_HOST_PERMISSION, HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "unable to connect to server at '10.0.0.7:16509': Connection refused",
                ERR_HOST_DOWN, HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "Cannot recv data: root@h1: Permission denied (publickey,password).: Connection "
                "reset by peer",
                ERR_HOST_PERMISSION, HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "Cannot recv data: Host key verification failed.: Connection reset by peer",
                ERR_HOST_PERMISSION, HINT},
        {VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR, "client socket is closed", ERR_HOST_DOWN, NO_HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR, "Cannot write data: Broken pipe", ERR_HOST_DOWN,
                NO_HINT},
        {VIR_FROM_REMOTE, VIR_ERR_AUTH_CANCELLED, "authentication cancelled: ...",
                ERR_HOST_PERMISSION, HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_TIMEOUT,
                "Timed out during operation: cannot acquire state change lock (held by "
                "monitor=remoteDispatchDomainSuspend)",
                ERR_VM_STUCK, HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_TIMEOUT,
                "Timed out during operation: cannot acquire state change lock (held by "
                "agent=remoteDispatchDomainFSFreeze)",
                ERR_BUSY, NO_HINT},
        {VIR_FROM_QEMU, VIR_ERR_AGENT_UNRESPONSIVE,
                "Guest agent is not responding: QEMU guest agent is not connected", ERR_UNAVAILABLE,
                HINT},
        {VIR_FROM_QEMU, VIR_ERR_ARGUMENT_UNSUPPORTED,
                "argument unsupported: QEMU guest agent is not configured", ERR_UNSUPPORTED, HINT},
        {VIR_FROM_STORAGE, VIR_ERR_INTERNAL_ERROR,
                "internal error: Child process (/usr/bin/qemu-img create ...) unexpected exit "
                "status 1: qemu-img: /p/a: Could not resize image: No space left on device",
                ERR_DISK_FULL, HINT},
        {VIR_FROM_QEMU, VIR_ERR_CONFIG_UNSUPPORTED,
                "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not "
                "support virt type 'kvm'",
                ERR_UNSUPPORTED, HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR,
                "internal error: process exited while connecting to monitor: Could not access KVM "
                "kernel module: No such file or directory",
                ERR_UNSUPPORTED, HINT},
        {VIR_FROM_QEMU, VIR_ERR_CONFIG_UNSUPPORTED,
                "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not "
                "support machine type 'q36'",
                ERR_UNSUPPORTED, HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_FAILED,
                "operation failed: Unable to find any firmware to satisfy 'efi'", ERR_UNSUPPORTED,
                HINT},
        {VIR_FROM_QEMU, VIR_ERR_CONFIG_UNSUPPORTED,
                "unsupported configuration: TPM version '2.0' is not supported", ERR_UNSUPPORTED,
                HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR,
                "internal error: hugetlbfs filesystem is not mounted or disabled by administrator "
                "config",
                ERR_UNSUPPORTED, HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR,
                "internal error: process exited while connecting to monitor: cannot set up guest "
                "memory 'pc.ram': Cannot allocate memory",
                ERR_NO_CAPACITY, HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR,
                "internal error: process exited while connecting to monitor: ...: Failed to get "
                "\"write\" lock\nIs another process using the image [/p/a.qcow2]?",
                ERR_IN_USE, HINT},
        {VIR_FROM_SECURITY, VIR_ERR_INTERNAL_ERROR,
                "internal error: cannot load AppArmor profile 'libvirt-1'", ERR_HOST_PERMISSION,
                HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR,
                "internal error: process exited while connecting to monitor: Could not open "
                "'/root/a.qcow2': Permission denied",
                ERR_HOST_PERMISSION, HINT},
        {VIR_FROM_STORAGE, VIR_ERR_SYSTEM_ERROR,
                "Cannot access storage file '/isos/t.iso': No such file or directory",
                ERR_REFERENCE, HINT},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR,
                "Failed to connect socket to '/var/run/libvirt/virtlogd-sock': No such file or "
                "directory",
                ERR_HYPERVISOR, HINT},
        {VIR_FROM_QEMU, VIR_ERR_NO_DOMAIN, "Domain not found: no domain with matching uuid 'x'",
                ERR_NOT_FOUND, NO_HINT},
        {VIR_FROM_STORAGE, VIR_ERR_NO_STORAGE_POOL, "Storage pool not found", ERR_NOT_FOUND,
                NO_HINT},
        {VIR_FROM_STORAGE, VIR_ERR_NO_STORAGE_VOL, "Storage volume not found", ERR_NOT_FOUND,
                NO_HINT},
        {VIR_FROM_NETWORK, VIR_ERR_NO_NETWORK, "Network not found", ERR_NOT_FOUND, HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_FAILED,
                "operation failed: domain 'vm1' already exists with uuid 1", ERR_EXISTS, NO_HINT},
        {VIR_FROM_STORAGE, VIR_ERR_STORAGE_VOL_EXIST, "storage volume name 'a' already in use.",
                ERR_EXISTS, NO_HINT},
        {VIR_FROM_NETWORK, VIR_ERR_OPERATION_INVALID,
                "Requested operation is not valid: network 'default' is not active",
                ERR_WRONG_STATE, HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_INVALID,
                "Requested operation is not valid: domain is not running", ERR_WRONG_STATE,
                NO_HINT},
        {VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR, "XML error: unexpected root element", ERR_INTERNAL,
                NO_HINT},
        {VIR_FROM_QEMU, VIR_ERR_OPERATION_UNSUPPORTED, "Operation not supported: x",
                ERR_UNSUPPORTED, NO_HINT},
        {VIR_FROM_QEMU, VIR_ERR_DEVICE_MISSING, "device not found: vdz", ERR_NOT_FOUND, NO_HINT},
        {VIR_FROM_STORAGE, VIR_ERR_INTERNAL_ERROR,
                "internal error: pool 'p' has asynchronous jobs running.", ERR_BUSY, HINT},
        {VIR_FROM_STORAGE, VIR_ERR_INTERNAL_ERROR,
                "internal error: missing backend for pool type 9 (rbd)", ERR_UNSUPPORTED, HINT},
        {VIR_FROM_STORAGE, VIR_ERR_OPERATION_INVALID,
                "Requested operation is not valid: storage pool 'p' is not active", ERR_UNAVAILABLE,
                NO_HINT},
        {VIR_FROM_SECRET, VIR_ERR_NO_SECRET, "Secret not found: no secret with matching uuid 'x'",
                ERR_NOT_FOUND, NO_HINT},
        {VIR_FROM_STREAMS, VIR_ERR_SYSTEM_ERROR,
                "Unable to write to stream: No space left on device", ERR_DISK_FULL, HINT},
        {VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR, "internal error: something new", ERR_HYPERVISOR,
                NO_HINT},
};

static void test_each_known_error_has_its_code_and_hint(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		virError error = {.domain = samples[i].domain,
		        .code = samples[i].number,
		        .message = (char *)(uintptr_t)samples[i].message};
		struct err e = {0};
		int code = libvirt_error_translate(&error, &e);
		if (code != samples[i].code || e.code != code)
			fail_msg("'%s' became %s", samples[i].message, err_info(code)->name);
		if ((e.hint[0] != '\0') != (samples[i].hint == HINT))
			fail_msg("'%s' has the hint '%s'", samples[i].message, e.hint);
		assert_int_equal(e.source, ERR_SOURCE_LIBVIRT);
		assert_int_equal(e.source_code, samples[i].number);
	}
}

static struct err translate(int domain, int number, const char *message)
{
	virError error = {.domain = domain, .code = number, .message = (char *)(uintptr_t)message};
	struct err e = {0};
	libvirt_error_translate(&error, &e);
	return e;
}

static void test_messages_become_one_line_without_dot(void **state)
{
	(void)state;
	struct err e = translate(VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR, "first\nsecond\tx.\n");
	assert_string_equal(e.message, "first; secondx");
}

/* A malformed test:///PATH would otherwise show the first line of any file. */
static void test_xml_errors_do_not_quote_the_file(void **state)
{
	(void)state;
	struct err e = translate(VIR_FROM_XML, VIR_ERR_XML_DETAIL,
	        "/etc/shadow:1: Start tag expected, '<' not found\nroot:secret:1:0\n^");
	assert_null(strstr(e.message, "secret"));
}

static void test_long_messages_keep_their_end(void **state)
{
	(void)state;
	struct str text = {0};
	for (int i = 0; i < 200; i++)
		str_add(&text, "blah ");
	str_add(&text, "the cause");
	struct err e = translate(VIR_FROM_QEMU, VIR_ERR_INTERNAL_ERROR, str_text(&text));
	str_done(&text);
	assert_non_null(strstr(e.message, "the cause"));
	assert_true(str_starts_with(e.message, "... "));
}

static void test_a_missing_message_is_taken(void **state)
{
	(void)state;
	struct err e = translate(VIR_FROM_NONE, VIR_ERR_INTERNAL_ERROR, NULL);
	assert_int_equal(e.code, ERR_HYPERVISOR);
	assert_string_not_equal(e.message, "");
	virError error = {.code = VIR_ERR_NO_DOMAIN};
	assert_int_equal(libvirt_error_translate(&error, NULL), ERR_NOT_FOUND);
}

static void test_take_reads_this_threads_error_and_names_the_act(void **state)
{
	(void)state;
	struct err e = {0};
	virResetLastError();
	assert_int_equal(libvirt_error_take(&e, "starting %s", "vm1"), ERR_HYPERVISOR);
	assert_true(str_starts_with(e.message, "starting vm1: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_each_known_error_has_its_code_and_hint),
	        cmocka_unit_test(test_messages_become_one_line_without_dot),
	        cmocka_unit_test(test_xml_errors_do_not_quote_the_file),
	        cmocka_unit_test(test_long_messages_keep_their_end),
	        cmocka_unit_test(test_a_missing_message_is_taken),
	        cmocka_unit_test(test_take_reads_this_threads_error_and_names_the_act),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
