/* SPDX-License-Identifier: Apache-2.0 */
/* The table of pool kinds. What each takes from a user, how libvirt and QEMU are told of it. Pure. */
#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool.h"

#define SECTOR_BYTES    512
#define BLOCK_MAX_BYTES 4096 /* of a SCSI disk */

static const char *const netfs_formats[] = {"nfs", "cifs", "glusterfs", "auto", NULL};
static const char *const logical_formats[] = {"lvm2", NULL};

const char *const pool_kind_names[] = {"dir", "netfs", "logical", "iscsi", "iscsi-direct", "rbd",
        "gluster", "zfs", "nfs-direct", NULL};

/* In the order of pool_kind_names. */
static const struct pool_kind kinds[] = {
        {.name = "dir",
                .libvirt_type = "dir",
                .source = DOMAIN_SOURCE_FILE,
                .flags = POOL_FILES | POOL_THIN,
                .required = POOL_HAS_PATH,
                .allowed = POOL_HAS_PATH,
                .doc = "a directory on each host, or one that all of them have mounted (shared)"},
        {.name = "netfs",
                .libvirt_type = "netfs",
                .source = DOMAIN_SOURCE_FILE,
                .flags = POOL_FILES | POOL_THIN | POOL_SHARED,
                .required = POOL_HAS_PATH | POOL_HAS_HOSTS | POOL_HAS_DIR,
                .allowed = POOL_HAS_PATH | POOL_HAS_HOSTS | POOL_HAS_DIR | POOL_HAS_FORMAT,
                .formats = netfs_formats,
                .doc = "an NFS or SMB export, mounted by each host at path"},
        {.name = "logical",
                .libvirt_type = "logical",
                .source = DOMAIN_SOURCE_BLOCK,
                .flags = POOL_LOCAL,
                .required = POOL_HAS_NAME,
                .allowed = POOL_HAS_NAME | POOL_HAS_FORMAT,
                .formats = logical_formats,
                .doc = "an existing LVM volume group of each host"},
        {.name = "iscsi",
                .libvirt_type = "iscsi",
                .source = DOMAIN_SOURCE_BLOCK,
                .secret_usage = "iscsi",
                .flags = POOL_SHARED | POOL_ADOPT_ONLY,
                .required = POOL_HAS_HOSTS | POOL_HAS_DEVICE,
                .allowed = POOL_HAS_HOSTS | POOL_HAS_DEVICE | POOL_HAS_INITIATOR | POOL_HAS_USER,
                .doc = "the logical units of an iSCSI target, as the hosts' block devices"},
        {.name = "iscsi-direct",
                .libvirt_type = "iscsi-direct",
                .source = DOMAIN_SOURCE_NETWORK,
                .protocol = "iscsi",
                .secret_usage = "iscsi",
                .flags = POOL_SHARED | POOL_ADOPT_ONLY | POOL_SHORT,
                .required = POOL_HAS_HOSTS | POOL_HAS_DEVICE | POOL_HAS_INITIATOR,
                .allowed = POOL_HAS_HOSTS | POOL_HAS_DEVICE | POOL_HAS_INITIATOR | POOL_HAS_USER,
                .doc = "the logical units of an iSCSI target, reached by QEMU itself"},
        {.name = "rbd",
                .libvirt_type = "rbd",
                .source = DOMAIN_SOURCE_NETWORK,
                .protocol = "rbd",
                .secret_usage = "ceph",
                .flags = POOL_SHARED | POOL_THIN,
                .required = POOL_HAS_HOSTS | POOL_HAS_NAME,
                .allowed = POOL_HAS_HOSTS | POOL_HAS_NAME | POOL_HAS_USER,
                .doc = "a pool of a Ceph cluster"},
        {.name = "gluster",
                .libvirt_type = "gluster",
                .source = DOMAIN_SOURCE_NETWORK,
                .protocol = "gluster",
                .flags = POOL_FILES | POOL_SHARED | POOL_THIN | POOL_ADOPT_ONLY,
                .required = POOL_HAS_HOSTS | POOL_HAS_NAME,
                .allowed = POOL_HAS_HOSTS | POOL_HAS_NAME | POOL_HAS_DIR,
                .doc = "a Gluster volume, or a directory in it"},
        {.name = "zfs",
                .libvirt_type = "zfs",
                .source = DOMAIN_SOURCE_BLOCK,
                .flags = POOL_LOCAL,
                .required = POOL_HAS_NAME,
                .allowed = POOL_HAS_NAME,
                .doc = "an existing ZFS pool of each host"},
        {.name = "nfs-direct",
                .source = DOMAIN_SOURCE_NETWORK,
                .protocol = "nfs",
                .flags = POOL_FILES | POOL_SHARED | POOL_THIN | POOL_ADOPT_ONLY,
                .required = POOL_HAS_HOSTS | POOL_HAS_DIR,
                .allowed = POOL_HAS_HOSTS | POOL_HAS_DIR,
                .doc = "an NFS export, reached by QEMU itself and not by the hosts"},
};
_Static_assert(ARRAY_LEN(kinds) + 1 == ARRAY_LEN(pool_kind_names), "one name for each kind");

const struct pool_kind *pool_kind_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_equal(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const struct pool_kind *pool_kind_of(const struct pool_spec *spec)
{
	return &kinds[spec->kind];
}

bool pool_kind_makes_files(const struct pool_kind *kind)
{
	return kind->flags & POOL_FILES && !(kind->flags & POOL_ADOPT_ONLY) && kind->libvirt_type;
}

const char *pool_kind_format(const struct pool_kind *kind, const char *in_files)
{
	return kind->flags & POOL_FILES ? in_files : "raw";
}

bool pool_kind_is_size(const struct pool_kind *kind, int64_t recorded_bytes, int64_t listed_bytes)
{
	int64_t rounded = (recorded_bytes + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
	int64_t missing = kind->flags & POOL_SHORT ? BLOCK_MAX_BYTES : 0;
	if (kind->flags & POOL_FILES)
		return listed_bytes == recorded_bytes || listed_bytes == rounded;
	return listed_bytes >= recorded_bytes - missing;
}

bool pool_spec_is_shared(const struct pool_spec *spec)
{
	const unsigned flags = kinds[spec->kind].flags;
	if (flags & (POOL_SHARED | POOL_LOCAL))
		return flags & POOL_SHARED;
	return spec->has_shared && spec->shared;
}

bool pool_spec_has_host(const struct pool_spec *spec, const char *host_id)
{
	for (size_t i = 0; i < spec->hosts.len; i++)
		if (str_equal(spec->hosts.items[i], host_id))
			return true;
	return spec->hosts.len == 0;
}
