/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block jobs and disks of running domains. Berth names a disk by its alias and a layer by its path;
 * libvirt wants the target ("vda") and, so that network sources work, the layer's number ("vda[2]"):
 * both are read from the live definition at each call. Lane threads.
 */
#include <libvirt/virterror.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

struct disk_handle {
	virDomainPtr domain; /* owned */
	struct domain_chain chain;
};

static void cleanup_disk_handle(struct disk_handle *h)
{
	cleanup_libvirt_domain(&h->domain);
	domain_chain_done(&h->chain);
}

static int read_live_xml(virDomainPtr domain, char **ret_xml, struct err *e)
{
	if (!libvirt_domain_is_active(domain))
		return err_set(e, ERR_WRONG_STATE, "%s is not running", virDomainGetName(domain));
	*ret_xml = virDomainGetXMLDesc(domain, 0);
	return *ret_xml ? 0 : libvirt_domain_error(domain, "reading the definition of", e);
}

static int find_disk(struct driver_connection *c, const char *id, const char *disk,
        struct disk_handle *ret_handle, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = libvirt_domain_lookup(c, id, &ret_handle->domain, e);
	if (r == 0)
		r = read_live_xml(ret_handle->domain, &xml, e);
	return r < 0 ? r : domain_xml_read_chain(xml, disk, &ret_handle->chain, e);
}

static int find_layer(
        const struct disk_handle *h, const char *path, size_t *ret_position, struct err *e)
{
	for (size_t i = 0; i < h->chain.n_layers; i++)
		if (str_equal(h->chain.layers[i].path, path)) {
			*ret_position = i;
			return 0;
		}
	err_set(e, ERR_NOT_FOUND, "%s is no layer of disk %s of %s", path, h->chain.target,
	        virDomainGetName(h->domain));
	return ERR_NOT_FOUND;
}

/* How libvirt calls the layer; a path if it gave no number (test:///). Caller frees. */
static char *layer_name(const struct disk_handle *h, size_t position)
{
	const struct domain_layer *layer = &h->chain.layers[position];
	return layer->index > 0 ? str_format("%s[%d]", h->chain.target, layer->index)
	                        : xstrdup(layer->path);
}

/* --- jobs --- */

int libvirt_block_copy(struct driver_connection *c, const char *id, const char *disk,
        const char *destination_xml, struct err *e)
{
	static const unsigned int flags =
	        VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB;
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	if (virDomainBlockCopy(h.domain, h.chain.target, destination_xml, NULL, 0, flags) < 0)
		return libvirt_domain_error(h.domain, "copying a disk of", e);
	return 0;
}

int libvirt_block_commit(struct driver_connection *c, const char *id, const char *disk,
        const char *top, const char *base, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	size_t upper = 0, lower = 0;
	/* Without a base libvirt would merge the whole chain. */
	if (!base)
		return err_set(e, ERR_INVALID, "a commit needs the layer it goes into");
	int r = find_disk(c, id, disk, &h, e);
	if (r == 0 && top)
		r = find_layer(&h, top, &upper, e);
	if (r == 0)
		r = find_layer(&h, base, &lower, e);
	if (r != 0)
		return r;
	if (lower <= upper)
		return err_set(e, ERR_INVALID, "%s is not below the layer to be committed", base);
	char *top_name CLEANUP(cleanup_free) = layer_name(&h, upper);
	char *base_name CLEANUP(cleanup_free) = layer_name(&h, lower);
	unsigned int flags = upper == 0 ? (unsigned int)VIR_DOMAIN_BLOCK_COMMIT_ACTIVE : 0U;
	if (virDomainBlockCommit(h.domain, h.chain.target, base_name, top_name, 0, flags) < 0)
		return libvirt_domain_error(h.domain, "merging layers of", e);
	return 0;
}

int libvirt_block_pull(struct driver_connection *c, const char *id, const char *disk,
        const char *base, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	size_t position = 0;
	int r = find_disk(c, id, disk, &h, e);
	if (r == 0 && base)
		r = find_layer(&h, base, &position, e);
	if (r != 0)
		return r;
	char *base_name CLEANUP(cleanup_free) = base ? layer_name(&h, position) : NULL;
	if (virDomainBlockRebase(h.domain, h.chain.target, base_name, 0, 0) < 0)
		return libvirt_domain_error(h.domain, "pulling layers of", e);
	return 0;
}

static enum block_job_type convert_job(int type)
{
	switch (type) {
	case VIR_DOMAIN_BLOCK_JOB_TYPE_PULL:
		return BLOCK_JOB_PULL;
	case VIR_DOMAIN_BLOCK_JOB_TYPE_COPY:
		return BLOCK_JOB_COPY;
	case VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT:
		return BLOCK_JOB_COMMIT;
	case VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT:
		return BLOCK_JOB_ACTIVE_COMMIT;
	default:
		return BLOCK_JOB_NONE;
	}
}

int libvirt_block_job_get(struct driver_connection *c, const char *id, const char *disk,
        struct block_job_info *ret_info, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	virDomainBlockJobInfo info = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	int n = virDomainGetBlockJobInfo(h.domain, h.chain.target, &info, 0);
	if (n < 0)
		return libvirt_domain_error(h.domain, "reading a block job of", e);
	*ret_info = (struct block_job_info){0};
	if (n == 0)
		return 0;
	*ret_info = (struct block_job_info){
	        .type = convert_job(info.type),
	        .done_bytes = (int64_t)info.cur,
	        .total_bytes = (int64_t)info.end,
	        /* Not cur == end: a pivot is refused until libvirt itself has seen it. */
	        .is_ready = h.chain.mirror_is_ready,
	};
	return 0;
}

int libvirt_block_job_end(struct driver_connection *c, const char *id, const char *disk,
        enum block_job_end how, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	virDomainBlockJobInfo info = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	unsigned int flags =
	        how == BLOCK_JOB_PIVOT ? (unsigned int)VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT : 0U;
	if (virDomainGetBlockJobInfo(h.domain, h.chain.target, &info, 0) == 0 ||
	        virDomainBlockJobAbort(h.domain, h.chain.target, flags) == 0)
		return 0;
	struct err failure = {0};
	int code = libvirt_domain_error(h.domain, "ending a block job of", &failure);
	if (virDomainGetBlockJobInfo(h.domain, h.chain.target, &info, 0) == 0)
		return 0; /* it ended meanwhile */
	if (e)
		*e = failure;
	return code;
}

/* --- the disk itself --- */

int libvirt_block_resize(struct driver_connection *c, const char *id, const char *disk,
        int64_t size_bytes, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	if (virDomainBlockResize(h.domain, h.chain.target, (unsigned long long)size_bytes,
	            VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0)
		return libvirt_domain_error(h.domain, "resizing a disk of", e);
	return 0;
}

int libvirt_block_capacity(struct driver_connection *c, const char *id, const char *disk,
        int64_t *ret_bytes, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	virDomainBlockInfo info = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	if (virDomainGetBlockInfo(h.domain, h.chain.target, &info, 0) < 0)
		return libvirt_domain_error(h.domain, "measuring a disk of", e);
	*ret_bytes = (int64_t)info.capacity;
	return 0;
}

int libvirt_block_set_limits(struct driver_connection *c, const char *id, const char *disk,
        int64_t iops_limit, int64_t bytes_per_second_limit, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	virTypedParameterPtr params = NULL;
	int n = 0, capacity = 0;
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	virTypedParamsAddULLong(&params, &n, &capacity, VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_IOPS_SEC,
	        (unsigned long long)iops_limit);
	virTypedParamsAddULLong(&params, &n, &capacity, VIR_DOMAIN_BLOCK_IOTUNE_TOTAL_BYTES_SEC,
	        (unsigned long long)bytes_per_second_limit);
	if (virDomainSetBlockIoTune(h.domain, h.chain.target, params, n, VIR_DOMAIN_AFFECT_LIVE) <
	        0)
		r = libvirt_domain_error(h.domain, "limiting a disk of", e);
	virTypedParamsFree(params, n);
	return r;
}

int libvirt_block_chain(struct driver_connection *c, const char *id, const char *disk,
        char ***ret_paths, struct err *e)
{
	struct disk_handle h CLEANUP(cleanup_disk_handle) = {0};
	int r = find_disk(c, id, disk, &h, e);
	if (r < 0)
		return r;
	char **paths = xcalloc(h.chain.n_layers + 1, sizeof(*paths));
	for (size_t i = 0; i < h.chain.n_layers; i++)
		paths[i] = TAKE(h.chain.layers[i].path);
	*ret_paths = paths;
	return 0;
}
