/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's block jobs and disks. A job does nothing to bytes, which nobody has; it changes the
 * domain's chains and what volumes say of their backing file and size, at the moment when QEMU would.
 * Lane threads, under the host's lock.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver_fake_internal.h"

#define SIZE_UNKNOWN (1024 * 1024)

/* --- files --- */

/* Of a file in no pool nothing is known. */
static bool is_in_a_pool(struct fake_host *h, const char *path)
{
	size_t cursor = 0;
	void *pool;
	while (map_next(h->pools, &cursor, NULL, &pool)) {
		const char *base = ((const struct fake_pool *)pool)->base;
		size_t len = base ? strlen(base) : 0;
		if (len > 0 && strncmp(base, path, len) == 0 && path[len] == '/')
			return true;
	}
	return false;
}

int fake_check_file(struct fake_host *h, const char *path, struct err *e)
{
	if (path && is_in_a_pool(h, path) && !fake_volume_by_path(h, path, NULL))
		return err_set(e, ERR_REFERENCE,
		        "Cannot access storage file '%s': No such file or directory", path);
	return 0;
}

/* 0: no such volume. */
static int64_t capacity_of(struct fake_host *h, const char *path)
{
	struct volume_info info CLEANUP(volume_info_done) = {0};
	return path && fake_volume_by_path(h, path, &info) ? info.capacity_bytes : 0;
}

static void set_capacity(struct fake_host *h, const char *path, int64_t size_bytes)
{
	struct volume_info info CLEANUP(volume_info_done) = {0};
	if (path && fake_volume_by_path(h, path, &info))
		fake_volume_change(h, path, size_bytes, info.backing_path);
}

/* --- disks --- */

int fake_domain_read_chain(const struct fake_domain *d, const char *disk,
        struct domain_chain *ret_chain, struct err *e)
{
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->live_xml)
		return err_set(e, ERR_NOT_FOUND, "the domain has no disk '%s'", disk);
	return domain_xml_read_chain(d->live_xml, disk, ret_chain, e);
}

/* The position of a layer; ERR_NOT_FOUND. */
static int find_layer(
        const struct domain_chain *chain, const char *path, size_t *ret_position, struct err *e)
{
	for (size_t i = 0; i < chain->n_layers; i++)
		if (str_equal(chain->layers[i].path, path)) {
			*ret_position = i;
			return 0;
		}
	return err_set(e, ERR_NOT_FOUND, "%s is no layer of disk %s", path, chain->target);
}

/* --- jobs --- */

static void free_job(struct fake_job *job)
{
	free(job->disk);
	free(job->top);
	free(job->base);
	free(job->destination_xml);
}

void fake_jobs_drop(struct fake_domain *d)
{
	VEC_FOR_EACH (&d->jobs, job)
		free_job(job);
	VEC_DONE(&d->jobs);
}

static struct fake_job *find_job(struct fake_domain *d, const char *disk)
{
	VEC_FOR_EACH (&d->jobs, job)
		if (strcmp(job->disk, disk) == 0)
			return job;
	return NULL;
}

static void remove_job(struct fake_domain *d, struct fake_job *job)
{
	size_t i = (size_t)(job - d->jobs.items);
	free_job(job);
	VEC_REMOVE(&d->jobs, i);
}

static int64_t size_of(struct fake_host *h, const struct domain_chain *chain)
{
	int64_t size = chain->n_layers > 0 ? capacity_of(h, chain->layers[0].path) : 0;
	return size > 0 ? size : SIZE_UNKNOWN;
}

/* What a call asks for; borrowed. */
struct request {
	const char *disk;
	enum block_job_type type;
	const char *top, *base, *destination_xml;
};

static int check_layers(const struct request *r, const struct domain_chain *chain, struct err *e)
{
	size_t top = 0, base = 0;
	int rc = r->top ? find_layer(chain, r->top, &top, e) : 0;
	if (rc == 0 && r->base)
		rc = find_layer(chain, r->base, &base, e);
	if (rc == 0 && r->base && base <= top)
		rc = err_set(e, ERR_INVALID, "%s is not below the layer to be committed", r->base);
	return rc;
}

/* The <disk> of a copy's target, read as if it were a domain's. */
static char *path_of_target(const char *disk_xml)
{
	char *xml CLEANUP(cleanup_free) =
	        str_format("<domain><devices>%s</devices></domain>", disk_xml);
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	if (domain_xml_parse(xml, &facts, NULL) < 0 || facts.n_disks == 0)
		return NULL;
	return TAKE(facts.disks[0].path);
}

static int check_target(struct fake_host *h, const struct request *r, struct err *e)
{
	if (r->type != BLOCK_JOB_COPY)
		return 0;
	char *path CLEANUP(cleanup_free) = path_of_target(r->destination_xml);
	return path ? fake_check_file(h, path, e)
	            : err_set(e, ERR_INTERNAL, "the copy's target is not understood");
}

static int start_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct request *r = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, r->disk, &chain, e);
	if (rc == 0 && find_job(d, r->disk))
		rc = err_set(e, ERR_BUSY, "disk '%s' already in active block job", r->disk);
	if (rc == 0)
		rc = check_layers(r, &chain, e);
	if (rc == 0)
		rc = check_target(h, r, e);
	if (rc != 0)
		return rc;
	struct fake_job job = {.disk = xstrdup(r->disk),
	        .type = r->type,
	        .total_bytes = size_of(h, &chain),
	        .top = xstrdup(r->top),
	        .base = xstrdup(r->base),
	        .destination_xml = xstrdup(r->destination_xml)};
	/* The top layer given by its path is the active one all the same. */
	if (r->type == BLOCK_JOB_COMMIT && chain.n_layers > 0 &&
	        str_equal(r->top, chain.layers[0].path))
		job.type = BLOCK_JOB_ACTIVE_COMMIT;
	VEC_PUSH(&d->jobs, job);
	return 0;
}

int fake_block_copy(struct driver_connection *c, const char *id, const char *disk,
        const char *destination_xml, struct err *e)
{
	struct request r = {
	        .disk = disk, .type = BLOCK_JOB_COPY, .destination_xml = destination_xml};
	return fake_with_domain(c, "block_copy", id, start_body, &r, e);
}

int fake_block_commit(struct driver_connection *c, const char *id, const char *disk,
        const char *top, const char *base, struct err *e)
{
	struct request r = {.disk = disk,
	        .type = top ? BLOCK_JOB_COMMIT : BLOCK_JOB_ACTIVE_COMMIT,
	        .top = top,
	        .base = base};
	if (!base)
		return err_set(e, ERR_INVALID, "a commit needs the layer it goes into");
	return fake_with_domain(c, "block_commit", id, start_body, &r, e);
}

int fake_block_pull(struct driver_connection *c, const char *id, const char *disk, const char *base,
        struct err *e)
{
	struct request r = {.disk = disk, .type = BLOCK_JOB_PULL, .base = base};
	return fake_with_domain(c, "block_pull", id, start_body, &r, e);
}

static void commit(struct fake_host *h, struct fake_domain *d, const struct fake_job *job,
        const struct domain_chain *chain)
{
	size_t top = 0;
	if (job->top)
		find_layer(chain, job->top, &top, NULL);
	/* The lower layer grows to the upper one's size; the one above them now stands on it. */
	int64_t size = capacity_of(h, chain->layers[top].path);
	if (size > capacity_of(h, job->base))
		set_capacity(h, job->base, size);
	if (top > 0)
		fake_volume_change(h, chain->layers[top - 1].path, 0, job->base);
	fake_chain_commit(&d->live_xml, job->disk, job->top, job->base);
	fake_chain_commit(&d->xml, job->disk, job->top, job->base);
}

static void pull(struct fake_host *h, struct fake_domain *d, const struct fake_job *job,
        const struct domain_chain *chain)
{
	fake_volume_change(h, chain->layers[0].path, 0, job->base);
	fake_chain_pull(&d->live_xml, job->disk, job->base);
	fake_chain_pull(&d->xml, job->disk, job->base);
}

static void copy(struct fake_domain *d, const struct fake_job *job)
{
	fake_chain_put(&d->live_xml, job->disk, job->destination_xml, FAKE_INSTEAD);
	fake_chain_put(&d->xml, job->disk, job->destination_xml, FAKE_INSTEAD);
}

/* The job has its effect and is gone. */
static void finish_job(struct fake_host *h, struct fake_domain *d, struct fake_job *job)
{
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	if (fake_domain_read_chain(d, job->disk, &chain, NULL) == 0 && chain.n_layers > 0) {
		if (job->type == BLOCK_JOB_COPY)
			copy(d, job);
		else if (job->type == BLOCK_JOB_PULL)
			pull(h, d, job, &chain);
		else
			commit(h, d, job, &chain);
	}
	remove_job(d, job);
}

static bool stays_until_ended(const struct fake_job *job)
{
	return job->type == BLOCK_JOB_COPY || job->type == BLOCK_JOB_ACTIVE_COMMIT;
}

struct look {
	const char *disk;
	struct block_job_info *ret_info;
};

static int look_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct look *look = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, look->disk, &chain, e);
	if (rc != 0)
		return rc;
	*look->ret_info = (struct block_job_info){0};
	struct fake_job *job = find_job(d, look->disk);
	if (!job)
		return 0;
	job->done_bytes += job->total_bytes * h->job_step_percent / 100;
	bool is_complete = job->done_bytes >= job->total_bytes;
	if (is_complete)
		job->done_bytes = job->total_bytes;
	if (is_complete && !stays_until_ended(job)) {
		finish_job(h, d, job);
		return 0;
	}
	*look->ret_info = (struct block_job_info){.type = job->type,
	        .done_bytes = job->done_bytes,
	        .total_bytes = job->total_bytes,
	        .is_ready = is_complete};
	return 0;
}

int fake_block_job_get(struct driver_connection *c, const char *id, const char *disk,
        struct block_job_info *ret_info, struct err *e)
{
	struct look look = {disk, ret_info};
	return fake_with_domain(c, "block_job_get", id, look_body, &look, e);
}

struct ending {
	const char *disk;
	enum block_job_end how;
};

static int end_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct ending *ending = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, ending->disk, &chain, e);
	struct fake_job *job = rc == 0 ? find_job(d, ending->disk) : NULL;
	if (!job)
		return rc;
	if (ending->how == BLOCK_JOB_CANCEL) {
		remove_job(d, job);
		return 0;
	}
	if (!stays_until_ended(job))
		return err_set(e, ERR_WRONG_STATE, "disk '%s' has no job to pivot", ending->disk);
	if (job->done_bytes < job->total_bytes)
		return err_set(e, ERR_BUSY, "disk '%s' not ready for pivot yet", ending->disk);
	finish_job(h, d, job);
	return 0;
}

int fake_block_job_end(struct driver_connection *c, const char *id, const char *disk,
        enum block_job_end how, struct err *e)
{
	struct ending ending = {disk, how};
	return fake_with_domain(c, "block_job_end", id, end_body, &ending, e);
}

/* --- size, limits, chain --- */

struct resizing {
	const char *disk;
	int64_t size_bytes;
};

static int resize_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct resizing *resizing = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, resizing->disk, &chain, e);
	if (rc != 0)
		return rc;
	if (chain.n_layers > 0)
		set_capacity(h, chain.layers[0].path, resizing->size_bytes);
	return 0;
}

int fake_block_resize(struct driver_connection *c, const char *id, const char *disk,
        int64_t size_bytes, struct err *e)
{
	struct resizing resizing = {disk, size_bytes};
	return fake_with_domain(c, "block_resize", id, resize_body, &resizing, e);
}

struct limits {
	const char *disk;
	int64_t iops, bytes_per_second;
};

static int limits_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	const struct limits *limits = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, limits->disk, &chain, e);
	if (rc != 0)
		return rc;
	fake_xml_set_limits(&d->live_xml, limits->disk, limits->iops, limits->bytes_per_second);
	return 0;
}

int fake_block_set_limits(struct driver_connection *c, const char *id, const char *disk,
        int64_t iops_limit, int64_t bytes_per_second_limit, struct err *e)
{
	struct limits limits = {disk, iops_limit, bytes_per_second_limit};
	return fake_with_domain(c, "set_disk_limits", id, limits_body, &limits, e);
}

struct chain_request {
	const char *disk;
	char ***ret_paths;
};

static int chain_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	const struct chain_request *request = arg;
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = fake_domain_read_chain(d, request->disk, &chain, e);
	if (rc != 0)
		return rc;
	char **paths = xcalloc(chain.n_layers + 1, sizeof(*paths));
	for (size_t i = 0; i < chain.n_layers; i++)
		paths[i] = TAKE(chain.layers[i].path);
	*request->ret_paths = paths;
	return 0;
}

int fake_block_chain(struct driver_connection *c, const char *id, const char *disk,
        char ***ret_paths, struct err *e)
{
	struct chain_request request = {disk, ret_paths};
	return fake_with_domain(c, "disk_chain", id, chain_body, &request, e);
}

/* --- scripts --- */

void fake_jobs_set_step(const char *host, int percent)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->job_step_percent = percent;
}

void fake_job_fail(const char *host, const char *id, const char *disk)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	struct fake_job *job = d ? find_job(d, disk) : NULL;
	if (job)
		remove_job(d, job);
}
