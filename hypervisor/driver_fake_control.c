/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's calls that change one domain. Lane threads; each body runs under the host's
 * lock. */
#include "hypervisor/driver_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

int fake_with_domain(struct driver_connection *c, const char *call, const char *id,
        fake_body_fn body, const void *arg, struct err *e)
{
	int rc = fake_enter(c, call, id, e);
	if (rc != 0)
		return rc;
	struct fake_domain *d = map_get(c->host->domains, id);
	rc = d ? body(c->host, d, arg, e)
	       : err_set(e, ERR_NOT_FOUND, "no domain %s on host %s", id, c->host->name);
	fake_leave(c);
	return rc;
}

int fake_not_running(const struct fake_domain *d, struct err *e)
{
	return err_set(e, ERR_WRONG_STATE, "domain '%s' is not running", d->name);
}

/* The definition changes; what runs keeps its live definition. */
static void redefine(struct fake_domain *d, const struct fake_domain *parsed, const char *xml)
{
	free(d->xml);
	d->xml = xstrdup(xml);
	d->is_ours = parsed->is_ours;
	d->is_carrier = parsed->is_carrier;
	d->is_persistent = true;
	if (!fake_domain_is_active(d))
		fake_domain_read(d, xml);
}

static int define(
        struct fake_host *h, const struct fake_domain *parsed, const char *xml, struct err *e)
{
	const struct fake_domain *same_name = map_get(h->names, parsed->name);
	if (same_name && strcmp(same_name->id, parsed->id) != 0)
		return err_set(e, ERR_EXISTS, "domain '%s' already exists with uuid %s",
		        parsed->name, same_name->id);
	struct fake_domain *d = map_get(h->domains, parsed->id);
	if (d && strcmp(d->name, parsed->name) != 0)
		return err_set(e, ERR_EXISTS, "domain '%s' is already defined with uuid %s",
		        d->name, d->id);
	if (!d)
		d = fake_domain_add(h, parsed->id, parsed->name);
	redefine(d, parsed, xml);
	fake_domain_emit(h, d, DOMAIN_EVENT_DEFINED);
	return 0;
}

int fake_define(struct driver_connection *c, const char *xml, struct err *e)
{
	struct fake_domain parsed = {0};
	int rc = fake_xml_parse(xml, &parsed, e);
	CLEANUP(cleanup_free) char *name = parsed.name;
	if (rc == 0)
		rc = fake_enter(c, "define", parsed.id, e);
	if (rc != 0)
		return rc;
	rc = define(c->host, &parsed, xml, e);
	fake_leave(c);
	return rc;
}

int fake_undefine(struct driver_connection *c, const char *id, struct err *e)
{
	int rc = fake_enter(c, "undefine", id, e);
	if (rc != 0)
		return rc;
	struct fake_domain *d = map_get(c->host->domains, id);
	if (d) {
		fake_domain_emit(c->host, d, DOMAIN_EVENT_UNDEFINED);
		d->is_persistent = d->has_managed_save = false;
		if (!fake_domain_is_active(d))
			fake_domain_remove(c->host, d);
	}
	fake_leave(c);
	return 0;
}

static int rename_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const char *name = arg;
	const struct fake_domain *holder = map_get(h->names, name);
	if (holder == d)
		return 0;
	if (holder)
		return err_set(e, ERR_EXISTS, "domain '%s' already exists", name);
	if (fake_domain_is_active(d))
		return err_set(e, ERR_WRONG_STATE, "domain '%s' is running and cannot be renamed",
		        d->name);
	map_remove(h->names, d->name);
	str_replace(&d->name, name);
	map_put(h->names, d->name, d);
	if (d->xml)
		fake_xml_rename(&d->xml, name);
	fake_domain_emit(h, d, DOMAIN_EVENT_DEFINED);
	return 0;
}

int fake_rename(struct driver_connection *c, const char *id, const char *name, struct err *e)
{
	return fake_with_domain(c, "rename", id, rename_body, name, e);
}

static int start_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	if (!fake_domain_is_active(d))
		fake_domain_run(h, d);
	return 0;
}

int fake_start(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "start", id, start_body, NULL, e);
}

static int shutdown_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	enum shutdown_mode mode = *(const enum shutdown_mode *)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (mode == SHUTDOWN_AGENT && !d->has_agent)
		return err_set(
		        e, ERR_UNAVAILABLE, "the agent of domain '%s' is not connected", d->name);
	if (d->state == DOMAIN_RUNNING && !d->is_deaf)
		fake_domain_stop(h, d, DOMAIN_REASON_GUEST_SHUTDOWN);
	return 0;
}

int fake_shutdown(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e)
{
	return fake_with_domain(c, "shutdown", id, shutdown_body, &mode, e);
}

static int destroy_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	if (fake_domain_is_active(d))
		fake_domain_stop(h, d, DOMAIN_REASON_DESTROYED);
	return 0;
}

int fake_destroy(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "destroy", id, destroy_body, NULL, e);
}

static int quit_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	if (!fake_domain_is_active(d))
		return err_set(e, ERR_NOT_FOUND, "domain %s runs no more", d->id);
	return destroy_body(h, d, arg, e);
}

int fake_quit(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "quit", id, quit_body, NULL, e);
}

static int reboot_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	fake_domain_emit(h, d, DOMAIN_EVENT_REBOOT);
	return 0;
}

int fake_reboot(struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e)
{
	(void)mode;
	return fake_with_domain(c, "reboot", id, reboot_body, NULL, e);
}

int fake_hard_reset(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "reset", id, reboot_body, NULL, e);
}

static void change_state(struct fake_host *h, struct fake_domain *d, enum domain_state state)
{
	if (d->state == state)
		return;
	d->state = state;
	d->reason = state == DOMAIN_PAUSED ? DOMAIN_REASON_USER : DOMAIN_REASON_NONE;
	fake_domain_emit(h, d, DOMAIN_EVENT_STATE);
}

static int pause_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	change_state(h, d, DOMAIN_PAUSED);
	return 0;
}

int fake_pause(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "pause", id, pause_body, NULL, e);
}

static int resume_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	change_state(h, d, DOMAIN_RUNNING);
	return 0;
}

int fake_resume(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "resume", id, resume_body, NULL, e);
}

static int save_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->is_persistent)
		return err_set(e, ERR_WRONG_STATE, "domain '%s' is transient", d->name);
	d->has_managed_save = true;
	free(d->saved_xml);
	d->saved_xml = xstrdup(d->live_xml);
	fake_domain_stop(h, d, DOMAIN_REASON_SAVED);
	return 0;
}

int fake_managed_save(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "managed_save", id, save_body, NULL, e);
}

static int save_remove_body(
        struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	(void)arg;
	(void)e;
	d->has_managed_save = false;
	return 0;
}

int fake_managed_save_remove(struct driver_connection *c, const char *id, struct err *e)
{
	return fake_with_domain(c, "managed_save_remove", id, save_remove_body, NULL, e);
}

static int vcpus_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	int count = *(const int *)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (count <= 0 || count > d->vcpus)
		return err_set(e, ERR_INVALID, "domain '%s' cannot have %d vCPUs, its most is %d",
		        d->name, count, d->vcpus);
	d->vcpus_current = count;
	return 0;
}

int fake_set_vcpus_live(struct driver_connection *c, const char *id, int count, struct err *e)
{
	return fake_with_domain(c, "set_vcpus_live", id, vcpus_body, &count, e);
}

static int cpu_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	const int64_t *values = arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (values[0] != 0)
		d->cpu_shares = values[0];
	if (values[1] != 0)
		d->cpu_limit_percent = values[1];
	return 0;
}

int fake_set_cpu_live(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e)
{
	const int64_t values[] = {shares, limit_percent};
	return fake_with_domain(c, "set_cpu_live", id, cpu_body, values, e);
}

struct device_change {
	const char *xml;
	enum attach_flags flags;
	enum fake_edit edit;
};

static int device_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct device_change *change = arg;
	bool is_live = (change->flags & ATTACH_LIVE) != 0;
	char alias[64] = "";
	if (is_live && !fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->xml)
		d->xml = fake_xml_make(d);
	if (is_live && !d->live_xml)
		d->live_xml = xstrdup(d->xml);
	int rc = 0;
	if ((change->flags & ATTACH_CONFIG) != 0)
		rc = fake_xml_edit(&d->xml, change->xml, change->edit, NULL, e);
	if (rc == 0 && is_live)
		rc = fake_xml_edit(&d->live_xml, change->xml, change->edit, alias, e);
	if (rc != 0 || !is_live || change->edit != FAKE_DETACH)
		return rc;
	struct domain_event event = {.kind = DOMAIN_EVENT_DEVICE_REMOVED};
	memcpy(event.id, d->id, sizeof(event.id));
	snprintf(event.name, sizeof(event.name), "%s", d->name);
	memcpy(event.device, alias, sizeof(event.device));
	fake_emit(h, &event);
	return 0;
}

int fake_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	struct device_change change = {device_xml, flags, FAKE_ATTACH};
	return fake_with_domain(c, "attach_device", id, device_body, &change, e);
}

int fake_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	struct device_change change = {device_xml, flags, FAKE_DETACH};
	return fake_with_domain(c, "detach_device", id, device_body, &change, e);
}

int fake_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	struct device_change change = {device_xml, flags, FAKE_UPDATE};
	return fake_with_domain(c, "update_device", id, device_body, &change, e);
}
