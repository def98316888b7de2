/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's snapshots, saved memory, transient domains and guest agent. Lane threads, under
 * the host's lock.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/driver_fake_internal.h"
#include "hypervisor/xml_read.h"

#define DISK_ALIAS_PREFIX "ua-disk-"

/* --- snapshots --- */

struct snapshot {
	const xmlNode *root;
	unsigned flags;
};

/* The key in Berth of the disk at that target. Caller frees; NULL: none of ours. */
static char *key_of_target(const struct domain_facts *live, const char *target)
{
	size_t len = strlen(DISK_ALIAS_PREFIX);
	for (size_t i = 0; i < live->n_disks; i++) {
		const char *alias = live->disks[i].alias;
		if (str_equal(live->disks[i].target, target) && alias &&
		        str_starts_with(alias, DISK_ALIAS_PREFIX))
			return xstrdup(alias + len);
	}
	return NULL;
}

static int check_overlay(struct fake_host *h, struct fake_domain *d, const xmlNode *disk,
        const struct domain_facts *live, struct err *e)
{
	char *target CLEANUP(cleanup_free) = xml_read_attribute(disk, "name");
	char *path CLEANUP(cleanup_free) = xml_read_source(disk);
	char *key CLEANUP(cleanup_free) = key_of_target(live, target);
	if (!key || !path)
		return err_set(e, ERR_UNPROCESSABLE, "domain '%s' has no disk at '%s'", d->name,
		        target ? target : "");
	return fake_check_file(h, path, e);
}

static void put_overlay(struct fake_domain *d, xmlNode *disk, const struct domain_facts *live)
{
	char *target CLEANUP(cleanup_free) = xml_read_attribute(disk, "name");
	char *key CLEANUP(cleanup_free) = key_of_target(live, target);
	char *source CLEANUP(cleanup_free) = xml_print(disk);
	fake_chain_put(&d->live_xml, key, source, FAKE_ON_TOP);
	fake_chain_put(&d->xml, key, source, FAKE_ON_TOP);
}

static void save_memory(struct fake_host *h, const struct fake_domain *d, const xmlNode *root)
{
	char *path CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(root, "memory"), "file");
	if (path)
		free(map_put(h->memories, path, xstrdup(d->live_xml)));
}

static bool is_external(const xmlNode *disk)
{
	return xml_read_attribute_is(disk, "snapshot", "external");
}

/* All is checked before anything changes. The memory names the disks as they were before. */
static int snapshot_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct snapshot *snapshot = arg;
	struct domain_facts live CLEANUP(domain_facts_done) = {0};
	if (!fake_domain_is_active(d) || !d->live_xml)
		return fake_not_running(d, e);
	int rc = domain_xml_parse(d->live_xml, &live, e);
	const xmlNode *disks = xml_read_child(snapshot->root, "disks");
	XML_FOR_EACH_CHILD(disks, "disk", disk)
	if (rc == 0 && is_external(disk))
		rc = check_overlay(h, d, disk, &live, e);
	if (rc != 0)
		return rc;
	if ((snapshot->flags & SNAPSHOT_DISK_ONLY) == 0)
		save_memory(h, d, snapshot->root);
	XML_FOR_EACH_CHILD(disks, "disk", disk)
	if (is_external(disk))
		put_overlay(d, (xmlNode *)disk, &live);
	return 0;
}

int fake_snapshot_create(
        struct driver_connection *c, const char *id, const char *xml, unsigned flags, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int rc = xml_read_document(xml, "domainsnapshot", &doc, e);
	if (rc != 0)
		return rc;
	struct snapshot snapshot = {xmlDocGetRootElement(doc), flags};
	return fake_with_domain(c, "snapshot_create", id, snapshot_body, &snapshot, e);
}

/* --- saved memory --- */

static int find_memory(
        const struct fake_host *h, const char *path, const char **ret_xml, struct err *e)
{
	*ret_xml = map_get(h->memories, path);
	return *ret_xml ? 0
	                : err_set(e, ERR_REFERENCE,
	                          "Failed to open file '%s': No such file or directory", path);
}

int fake_saved_xml(
        struct driver_connection *c, const char *memory_path, char **ret_xml, struct err *e)
{
	const char *xml;
	int rc = fake_enter(c, "saved_xml", NULL, e);
	if (rc != 0)
		return rc;
	rc = find_memory(c->host, memory_path, &xml, e);
	if (rc == 0)
		*ret_xml = xstrdup(xml);
	fake_leave(c);
	return rc;
}

static int check_sources(struct fake_host *h, const char *xml, const char *disk, struct err *e)
{
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	int rc = domain_xml_read_chain(xml, disk, &chain, e);
	for (size_t i = 0; rc == 0 && i < chain.n_layers; i++)
		rc = fake_check_file(h, chain.layers[i].path, e);
	return rc;
}

static int check_disks(struct fake_host *h, const char *xml, struct err *e)
{
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	int rc = domain_xml_parse(xml, &facts, e);
	for (size_t i = 0; rc == 0 && i < facts.n_disks; i++) {
		const char *alias = facts.disks[i].alias;
		if (alias && str_starts_with(alias, DISK_ALIAS_PREFIX))
			rc = check_sources(h, xml, alias + strlen(DISK_ALIAS_PREFIX), e);
	}
	return rc;
}

/* Runs what `xml` describes: the domain of that id, or a transient one made for it. */
static int run_from(struct fake_host *h, const struct fake_domain *parsed, const char *xml,
        enum domain_state state, struct err *e)
{
	struct fake_domain *d = map_get(h->domains, parsed->id);
	if (!d && map_get(h->names, parsed->name))
		return err_set(e, ERR_EXISTS, "domain '%s' already exists", parsed->name);
	int rc = check_disks(h, xml, e);
	if (rc != 0)
		return rc;
	if (!d) {
		d = fake_domain_add(h, parsed->id, parsed->name);
		d->is_persistent = false;
		d->xml = xstrdup(xml);
		d->is_ours = parsed->is_ours;
		d->is_carrier = parsed->is_carrier;
	}
	fake_domain_run_as(h, d, xml, state);
	return 0;
}

static bool is_active(const struct fake_host *h, const char *id)
{
	const struct fake_domain *d = map_get(h->domains, id);
	return d && fake_domain_is_active(d);
}

int fake_restore(struct driver_connection *c, const char *id, const char *memory_path,
        const char *xml, bool paused, struct err *e)
{
	struct fake_domain parsed = {0};
	const char *saved;
	int rc = fake_xml_parse(xml, &parsed, e);
	CLEANUP(cleanup_free) char *name = parsed.name;
	if (rc == 0)
		rc = fake_enter(c, "restore", id, e);
	if (rc != 0)
		return rc;
	if (!is_active(c->host, id)) {
		rc = find_memory(c->host, memory_path, &saved, e);
		if (rc == 0)
			rc = run_from(
			        c->host, &parsed, xml, paused ? DOMAIN_PAUSED : DOMAIN_RUNNING, e);
	}
	fake_leave(c);
	return rc;
}

int fake_create_transient(
        struct driver_connection *c, const char *id, const char *xml, struct err *e)
{
	struct fake_domain parsed = {0};
	int rc = fake_xml_parse(xml, &parsed, e);
	CLEANUP(cleanup_free) char *name = parsed.name;
	if (rc == 0)
		rc = fake_enter(c, "create_transient", id, e);
	if (rc != 0)
		return rc;
	if (!is_active(c->host, id))
		rc = run_from(c->host, &parsed, xml, DOMAIN_PAUSED, e);
	fake_leave(c);
	return rc;
}

/* --- checkpoints --- */

static int drop_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	(void)arg;
	(void)e;
	d->n_checkpoints = 0;
	return 0;
}

int fake_drop_checkpoints(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "drop_checkpoints", id, drop_body, NULL, e);
}

void fake_domain_set_checkpoints(const char *host, const char *id, int count)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (d)
		d->n_checkpoints = count;
}

int fake_domain_count_checkpoints(const char *host, const char *id)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const struct fake_domain *d = map_get(h->domains, id);
	return d ? d->n_checkpoints : 0;
}

/* --- the agent --- */

static int check_agent(const struct fake_domain *d, struct err *e)
{
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->has_agent || d->state != DOMAIN_RUNNING)
		return err_set(
		        e, ERR_UNAVAILABLE, "the agent of domain '%s' is not connected", d->name);
	return 0;
}

static int freeze_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	int *const *ret_n = arg;
	int rc = check_agent(d, e);
	if (rc != 0)
		return rc;
	**ret_n = d->is_bare ? 0 : 1;
	d->freeze = d->is_bare ? FREEZE_THAWED : FREEZE_FROZEN;
	return 0;
}

int fake_agent_freeze(struct driver_connection *c, const char *id, int *ret_n, struct err *e)
{
	return fake_with_domain(c, "freeze", id, freeze_body, &ret_n, e);
}

static int thaw_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	(void)arg;
	int rc = check_agent(d, e);
	if (rc == 0)
		d->freeze = FREEZE_THAWED;
	return rc;
}

int fake_agent_thaw(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "thaw", id, thaw_body, NULL, e);
}

void fake_guest_set_bare(const char *host, const char *id, bool is_bare)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (d)
		d->is_bare = is_bare;
}

static int status_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	enum freeze_status *const *ret_status = arg;
	int rc = check_agent(d, e);
	if (rc == 0)
		**ret_status = d->freeze;
	return rc;
}

int fake_agent_freeze_status(
        struct driver_connection *c, const char *id, enum freeze_status *ret_status, struct err *e)
{
	return fake_with_domain(c, "freeze_status", id, status_body, &ret_status, e);
}

static int time_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	(void)arg;
	return check_agent(d, e);
}

int fake_agent_set_time(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "set_guest_time", id, time_body, NULL, e);
}
