/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table, read from the top: the first row that fits decides. libvirt's numbers are coarse (most
 * failures of QEMU are "internal error"), so the known sentences come first and the numbers after
 * them.
 */
#include "hypervisor/libvirt_error.h"

#include <libvirt/virterror.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define ANY (-1)

struct row {
	int domain;       /* VIR_FROM_... or ANY */
	int number;       /* VIR_ERR_... or ANY */
	const char *text; /* contained in the message; NULL: any */
	int code;
	const char *hint; /* NULL: the message says it all */
};

#define HINT_KVM                                                                                   \
	"the host offers no hardware acceleration: switch VT-x or AMD-V on in its firmware, or "   \
	"use "                                                                                     \
	"accelerator tcg"
#define HINT_SOCKET "is libvirtd running there? systemctl start libvirtd"
#define HINT_BACKEND                                                                               \
	"install libvirt's driver for such pools on the host and restart libvirtd (Debian: "       \
	"libvirt-daemon-driver-storage-iscsi-direct, -rbd, -gluster, -zfs)"
#define HINT_SECRET "do the pool's user and secret belong together?"
#define HINT_SERVER "is the server of this pool up, and can the host reach it?"
#define HINT_FILE                                                                                  \
	"the host's QEMU user or its AppArmor or SELinux policy has no access to this path: keep " \
	"files in a pool's directory"

static const struct row rows[] = {
        /* The connection. */
        {VIR_FROM_RPC, ANY, "Permission denied (publickey", ERR_HOST_PERMISSION,
                "add berthd's public key to the remote user's authorized_keys"},
        {VIR_FROM_RPC, ANY, "Host key verification failed", ERR_HOST_PERMISSION,
                "add the host's key to known_hosts of berthd's user"},
        /* A daemon of the host's own, reached by libvirtd: the host as such answers. */
        {ANY, ANY, "virtlogd", ERR_HYPERVISOR,
                "virtlogd does not run on the host: start virtlogd.socket there"},
        {ANY, ANY, "virtlockd", ERR_HYPERVISOR,
                "virtlockd does not run on the host: start virtlockd.socket there"},
        {VIR_FROM_RPC, ANY, "Permission denied", ERR_HOST_PERMISSION,
                "berthd's user needs access to libvirt's socket: add it to the group libvirt"},
        {VIR_FROM_RPC, ANY, "No such file or directory", ERR_HOST_DOWN, HINT_SOCKET},
        {VIR_FROM_RPC, ANY, "Connection refused", ERR_HOST_DOWN, HINT_SOCKET},
        {ANY, ANY, "certificate", ERR_HOST_PERMISSION,
                "check the TLS certificates below /etc/pki on both sides"},
        {ANY, VIR_ERR_GNUTLS_ERROR, NULL, ERR_HOST_DOWN, NULL},
        {ANY, VIR_ERR_RPC, NULL, ERR_HOST_DOWN, NULL},
        {ANY, VIR_ERR_NO_CONNECT, NULL, ERR_HOST_DOWN, HINT_SOCKET},
        {ANY, VIR_ERR_INVALID_CONN, NULL, ERR_HOST_DOWN, NULL},
        {ANY, VIR_ERR_UNKNOWN_HOST, NULL, ERR_HOST_DOWN, "the host's name does not resolve"},
        {ANY, VIR_ERR_SSH, NULL, ERR_HOST_DOWN, NULL},
        {ANY, VIR_ERR_LIBSSH, NULL, ERR_HOST_DOWN, NULL},
        {ANY, ANY, "client socket is closed", ERR_HOST_DOWN, NULL},
        {ANY, ANY, "connection closed due to keepalive", ERR_HOST_DOWN, NULL},
        {VIR_FROM_RPC, VIR_ERR_SYSTEM_ERROR, NULL, ERR_HOST_DOWN, NULL},
        {ANY, VIR_ERR_AUTH_FAILED, NULL, ERR_HOST_PERMISSION, NULL},
        {ANY, VIR_ERR_AUTH_CANCELLED, NULL, ERR_HOST_PERMISSION,
                "libvirt asked for a password; use keys, certificates or the group libvirt"},
        {ANY, VIR_ERR_AUTH_UNAVAILABLE, NULL, ERR_HOST_PERMISSION, NULL},
        {ANY, VIR_ERR_ACCESS_DENIED, NULL, ERR_HOST_PERMISSION, NULL},
        {ANY, VIR_ERR_OPERATION_DENIED, NULL, ERR_HOST_PERMISSION,
                "the connection is read-only; register the host with /system"},

        /* Waiting for QEMU, the guest's agent or another job. */
        {ANY, ANY, "state change lock (held by monitor=", ERR_VM_STUCK,
                "another call to this VM's QEMU has not returned"},
        {ANY, ANY, "cannot acquire state change lock", ERR_BUSY, NULL},
        {ANY, VIR_ERR_AGENT_UNRESPONSIVE, NULL, ERR_UNAVAILABLE,
                "is qemu-guest-agent installed and running in the guest?"},
        {ANY, VIR_ERR_AGENT_UNSYNCED, NULL, ERR_UNAVAILABLE,
                "the guest agent is busy with an earlier command"},
        {ANY, ANY, "guest agent is not configured", ERR_UNSUPPORTED,
                "the VM has no guest agent channel"},

        /* What the host lacks. */
        {ANY, ANY, "No space left on device", ERR_DISK_FULL,
                "free space on the host's file system"},
        {ANY, ANY, "Disk quota exceeded", ERR_DISK_FULL, "free space on the host's file system"},
        {ANY, ANY, "Not enough free space in pool", ERR_DISK_FULL, "free space in the pool"},
        {ANY, ANY, "insufficient free space", ERR_DISK_FULL, "free space in the volume group"},
        {ANY, ANY, "does not support virt type 'kvm'", ERR_UNSUPPORTED, HINT_KVM},
        {ANY, ANY, "KVM kernel module", ERR_UNSUPPORTED, HINT_KVM},
        {ANY, ANY, "/dev/kvm", ERR_UNSUPPORTED, HINT_KVM},
        {ANY, ANY, "does not support machine type", ERR_UNSUPPORTED,
                "choose a machine type that the host lists, or none for its default"},
        {ANY, ANY, "No PCI buses available", ERR_UNSUPPORTED,
                "is the machine type one that the host lists?"},
        {ANY, ANY, "unsupported machine type", ERR_UNSUPPORTED,
                "choose a machine type that the host lists, or none for its default"},
        {ANY, ANY, "could not find capabilities for", ERR_UNSUPPORTED,
                "the host has no emulator for this architecture"},
        {ANY, ANY, "No emulator found", ERR_UNSUPPORTED,
                "the host has no emulator for this architecture"},
        {ANY, ANY, "nable to find any firmware", ERR_UNSUPPORTED,
                "install UEFI firmware on the host (Debian: ovmf, qemu-efi-aarch64)"},
        {ANY, ANY, "nable to find 'efi' firmware", ERR_UNSUPPORTED,
                "install UEFI firmware on the host (Debian: ovmf, qemu-efi-aarch64)"},
        {ANY, ANY, "TPM version", ERR_UNSUPPORTED, "install swtpm on the host"},
        {ANY, ANY, "swtpm", ERR_UNSUPPORTED, "install swtpm and swtpm-tools on the host"},
        {ANY, ANY, "hugetlbfs", ERR_UNSUPPORTED, "reserve huge pages on the host"},
        {ANY, ANY, "Cannot allocate memory", ERR_NO_CAPACITY, "the host has no memory left"},
        {ANY, ANY, "cannot set up guest memory", ERR_NO_CAPACITY, "the host has no memory left"},
        {ANY, VIR_ERR_NO_MEMORY, NULL, ERR_NO_CAPACITY, NULL},
        {ANY, VIR_ERR_CPU_INCOMPATIBLE, NULL, ERR_UNSUPPORTED,
                "choose the CPU model host or maximum"},
        {ANY, ANY, "guest CPU doesn't match", ERR_UNSUPPORTED,
                "choose the CPU model host or maximum"},

        /* Pools. */
        {VIR_FROM_STORAGE, ANY, "has asynchronous jobs running", ERR_BUSY,
                "a volume is being made in the pool"},
        {VIR_FROM_STORAGE, ANY, "is still in use", ERR_BUSY,
                "another call to libvirt works on this volume"},
        {VIR_FROM_STORAGE, ANY, "is still being allocated", ERR_BUSY, NULL},
        {VIR_FROM_STORAGE, ANY, "missing backend for pool type", ERR_UNSUPPORTED, HINT_BACKEND},
        {VIR_FROM_STORAGE, VIR_ERR_OPERATION_INVALID, "is not active", ERR_UNAVAILABLE, NULL},
        {VIR_FROM_STORAGE, ANY, "authentication failed", ERR_HOST_PERMISSION, HINT_SECRET},
        {VIR_FROM_STORAGE, ANY, "Failed to connect to LUN", ERR_UNAVAILABLE, HINT_SERVER},
        {VIR_FROM_STORAGE, ANY, "failed to connect to the RADOS monitor", ERR_UNAVAILABLE,
                HINT_SERVER},
        {VIR_FROM_STORAGE, ANY, "No such device", ERR_UNSUPPORTED,
                "the host's kernel does not know this file system"},

        /* Files. */
        {ANY, ANY, "Failed to get \"write\" lock", ERR_IN_USE,
                "another process has this disk open"},
        {ANY, ANY, "Failed to get shared", ERR_IN_USE, "another process has this disk open"},
        {ANY, ANY, "pparmor", ERR_HOST_PERMISSION, HINT_FILE},
        {ANY, ANY, "AppArmor", ERR_HOST_PERMISSION, HINT_FILE},
        {ANY, ANY, "virt-aa-helper", ERR_HOST_PERMISSION, HINT_FILE},
        {ANY, ANY, "security label", ERR_HOST_PERMISSION, HINT_FILE},
        {ANY, ANY, "Permission denied", ERR_HOST_PERMISSION, HINT_FILE},
        {ANY, ANY, "Operation not permitted", ERR_HOST_PERMISSION, NULL},
        {ANY, ANY, "Read-only file system", ERR_HOST_PERMISSION, NULL},

        /* Names. */
        {ANY, VIR_ERR_NO_DOMAIN, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_NO_STORAGE_POOL, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_NO_STORAGE_VOL, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_NO_SECRET, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_NO_NETWORK, NULL, ERR_NOT_FOUND,
                "virsh net-list --all on the host lists them"},
        {ANY, VIR_ERR_DEVICE_MISSING, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_NO_DOMAIN_METADATA, NULL, ERR_NOT_FOUND, NULL},
        {ANY, VIR_ERR_DOM_EXIST, NULL, ERR_EXISTS, NULL},
        {ANY, VIR_ERR_NETWORK_EXIST, NULL, ERR_EXISTS, NULL},
        {ANY, VIR_ERR_STORAGE_VOL_EXIST, NULL, ERR_EXISTS, NULL},
        {ANY, VIR_ERR_STORAGE_POOL_BUILT, NULL, ERR_EXISTS, NULL},
        {ANY, VIR_ERR_OPERATION_FAILED, "already exists", ERR_EXISTS, NULL},
        {ANY, VIR_ERR_OPERATION_FAILED, "is already defined with uuid", ERR_EXISTS, NULL},
        {ANY, VIR_ERR_OPERATION_INVALID, "already in use by", ERR_IN_USE, NULL},

        /* States and abilities. */
        {VIR_FROM_NETWORK, VIR_ERR_OPERATION_INVALID, "is not active", ERR_WRONG_STATE,
                "start the network on the host: virsh net-start"},
        {ANY, VIR_ERR_OPERATION_INVALID, NULL, ERR_WRONG_STATE, NULL},
        {VIR_FROM_TEST, VIR_ERR_INTERNAL_ERROR, "not paused", ERR_WRONG_STATE, NULL},
        {VIR_FROM_TEST, VIR_ERR_INTERNAL_ERROR, "not running", ERR_WRONG_STATE, NULL},
        {VIR_FROM_TEST, VIR_ERR_INTERNAL_ERROR, "already running", ERR_WRONG_STATE, NULL},
        {ANY, VIR_ERR_INVALID_ARG, "unsupported flags", ERR_UNSUPPORTED, NULL},
        {ANY, VIR_ERR_RESOURCE_BUSY, NULL, ERR_BUSY, NULL},
        {ANY, VIR_ERR_BLOCK_COPY_ACTIVE, NULL, ERR_BUSY, NULL},
        {ANY, ANY, "timed out", ERR_DEADLINE, NULL},
        {ANY, VIR_ERR_OPERATION_TIMEOUT, NULL, ERR_DEADLINE, NULL},
        {ANY, VIR_ERR_OPERATION_ABORTED, NULL, ERR_CANCELLED, NULL},
        {ANY, VIR_ERR_NO_SUPPORT, NULL, ERR_UNSUPPORTED, NULL},
        {ANY, VIR_ERR_CONFIG_UNSUPPORTED, NULL, ERR_UNSUPPORTED, NULL},
        {ANY, VIR_ERR_ARGUMENT_UNSUPPORTED, NULL, ERR_UNSUPPORTED, NULL},
        {ANY, VIR_ERR_OPERATION_UNSUPPORTED, NULL, ERR_UNSUPPORTED, NULL},
        {ANY, VIR_ERR_INVALID_ARG, NULL, ERR_UNPROCESSABLE, NULL},
        {ANY, VIR_ERR_OVERFLOW, NULL, ERR_UNPROCESSABLE, NULL},

        /* XML that we wrote and libvirt does not take is our bug. */
        {ANY, VIR_ERR_XML_ERROR, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_XML_DETAIL, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_XML_INVALID_SCHEMA, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_NO_NAME, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_NO_OS, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_OS_TYPE, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_NO_SOURCE, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_NO_TARGET, NULL, ERR_INTERNAL, NULL},
        {ANY, VIR_ERR_INVALID_MAC, NULL, ERR_INTERNAL, NULL},

        /* The path of a disk, kernel or console log. */
        {ANY, ANY, "No such file or directory", ERR_REFERENCE,
                "a file that the VM needs is missing on the host"},
};

static bool row_fits(const struct row *row, const virError *error, const char *message)
{
	if (row->domain != ANY && row->domain != error->domain)
		return false;
	if (row->number != ANY && row->number != error->code)
		return false;
	return !row->text || strstr(message, row->text);
}

static const struct row *find_row(const virError *error, const char *message)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (row_fits(&rows[i], error, message))
			return &rows[i];
	return NULL;
}

/* An XML parser's message quotes the text it failed on, which may be any file's (test:///PATH). */
static bool quotes_a_file(const virError *error)
{
	return error->domain == VIR_FROM_XML || error->code == VIR_ERR_XML_ERROR ||
	       error->code == VIR_ERR_XML_DETAIL;
}

/* One line that fits; of long texts the end counts, where QEMU says the cause. Caller frees. */
static char *tidy_message(const virError *error, const char *message)
{
	enum { KEEP = 400 };
	struct str line = {0};
	size_t len = strlen(message);
	while (len > 0 && strchr(" \n\r.", message[len - 1]))
		len--;
	const char *newline = memchr(message, '\n', len);
	if (newline && quotes_a_file(error))
		len = (size_t)(newline - message);
	size_t start = len > KEEP ? len - KEEP : 0;
	if (start > 0)
		str_add(&line, "... ");
	for (size_t i = start; i < len; i++) {
		char c = message[i];
		if (c == '\n')
			str_add(&line, "; ");
		else if ((unsigned char)c >= 0x20)
			str_add_char(&line, c);
	}
	return str_take(&line);
}

int libvirt_error_translate(const struct _virError *error, struct err *e)
{
	const char *message = error->message ? error->message : "unknown error";
	const struct row *row = find_row(error, message);
	int code = row ? row->code : ERR_HYPERVISOR;
	char *line CLEANUP(cleanup_free) = tidy_message(error, message);
	err_set(e, code, "%s", line);
	if (e) {
		e->source = ERR_SOURCE_LIBVIRT;
		e->source_code = error->code;
	}
	if (row && row->hint)
		err_hint(e, "%s", row->hint);
	return code;
}

int libvirt_error_take(struct err *e, const char *format, ...)
{
	static const virError nothing = {.code = VIR_ERR_INTERNAL_ERROR};
	const virError *last = virGetLastError();
	char what[160];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	int code = libvirt_error_translate(last ? last : &nothing, e);
	err_prefix(e, "%s", what);
	return code;
}

int libvirt_error_number(void)
{
	return virGetLastErrorCode();
}
