/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What storage errors mean. The words of QEMU, libvirt, mount and the kernel, as they are found in their messages, and
 * what an operator can do. The first that fits is taken, so the particular come before the general.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_preflight.h"

struct pattern {
	const char *text;  /* part of the message, in any case */
	const char *means; /* put before the message */
	const char *hint;
};

static const struct pattern patterns[] = {
        {"apparmor", "AppArmor keeps QEMU from the pool",
                "allow the pool's path to virt-aa-helper and libvirt-qemu in "
                "/etc/apparmor.d/local/abstractions/libvirt-qemu on that host; the kernel's log "
                "names what was denied"},
        {"selinux", "SELinux keeps QEMU from the pool",
                "label the pool's path: semanage fcontext -a -t virt_image_t 'PATH(/.*)?', then "
                "restorecon -R PATH; NFS: setsebool -P virt_use_nfs 1"},
        {"setting security context", "SELinux does not let libvirt label the disk",
                "label the pool's path: semanage fcontext -a -t virt_image_t 'PATH(/.*)?', then "
                "restorecon -R PATH; NFS: setsebool -P virt_use_nfs 1"},
        {"no space left", "the pool is full", "free space in it, or add some"},
        {"disk quota exceeded", "the pool's quota on its server is used up",
                "raise the quota, or free space"},
        {"read-only file system", "the pool can only be read", "mount or export it for writing"},
        {"connection refused", "the storage server refuses the connection",
                "see that its service runs and listens on that address and port"},
        {"no route to host", "the storage server cannot be reached",
                "see the host's network and the server's firewall"},
        {"network is unreachable", "the storage server cannot be reached",
                "see the host's network and its routes"},
        {"name or service not known", "the storage server's name is not known on that host",
                "see the host's DNS, or use the address"},
        {"could not resolve", "the storage server's name is not known on that host",
                "see the host's DNS, or use the address"},
        {"mount.nfs: no such device", "that host's kernel has no NFS client",
                "load the module nfs there, or make a pool of kind nfs-direct"},
        {"wrong fs type", "the host cannot mount it: no client for that file system",
                "install nfs-common (nfs-utils) or cifs-utils on that host"},
        {"mount.nfs", "the host cannot mount the NFS export",
                "try it there: mount -t nfs SERVER:EXPORT /mnt; see the server's /etc/exports"},
        {"mount.cifs", "the host cannot mount the SMB share",
                "try it there: mount -t cifs //SERVER/SHARE /mnt"},
        {"authentication", "the storage server does not accept the user or the secret",
                "set source.user and source.secret as the server knows them"},
        {"authorization", "the storage server does not accept the user or the secret",
                "set source.user and source.secret as the server knows them"},
        {"login failed", "the storage server does not accept the login",
                "set source.user, source.secret and source.initiator as the server knows them"},
        {"operation not permitted", "QEMU may not use the pool's files",
                "NFS: export with no_root_squash, or to the user QEMU runs as"},
        {"no such device", "the device is not there",
                "see source.name or source.device on that host"},
        {"no such file or directory", "something on the way to it is not there",
                "see path and source on that host"},
        {"not supported", "the host's libvirt or QEMU lacks support for this kind of storage",
                "install libvirt-daemon-driver-storage-* and qemu-block-extra there"},
        {"missing backend for pool type", "the host's libvirt has no driver for this kind of pool",
                "install libvirt-daemon-driver-storage-* on that host"},
};

/* Which bits are missing can only be told on the host; what to look at, here. */
static void explain_permission(const struct pool_access *access, struct err *e)
{
	const char *path = access->target_path ? access->target_path : "the pool";
	err_prefix(e,
	        "permission denied: the user that QEMU runs as may not use %s. It needs r, w and x "
	        "on that directory and x on each directory above it",
	        path);
	err_hint(e,
	        "QEMU's user is `user` in that host's /etc/libvirt/qemu.conf (Debian: "
	        "libvirt-qemu, "
	        "Fedora: qemu); namei -l %.60s shows the bits; then chmod o+x, or setfacl -m "
	        "u:USER:x",
	        path);
}

void pool_explain(const struct pool_access *access, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		if (!strcasestr(e->message, patterns[i].text))
			continue;
		err_prefix(e, "%s", patterns[i].means);
		err_hint(e, "%s", patterns[i].hint);
		return;
	}
	if (strcasestr(e->message, "permission denied"))
		explain_permission(access, e);
}
