/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains: definition and lifecycle. An operation of Berth may be repeated after a crash of berthd,
 * so asking for a state that is there already succeeds. Lane threads.
 */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

void cleanup_libvirt_domain(virDomainPtr *domain)
{
	if (*domain)
		virDomainFree(*domain);
}

int libvirt_domain_lookup(
        struct driver_connection *c, const char *id, virDomainPtr *ret_domain, struct err *e)
{
	*ret_domain = virDomainLookupByUUIDString(c->libvirt, id);
	return *ret_domain ? 0 : libvirt_error_take(e, "domain %s", id);
}

int libvirt_domain_error(virDomainPtr domain, const char *verb, struct err *e)
{
	/* First the error: asking for the name resets it. */
	int code = libvirt_error_take(e, "%s", verb);
	struct err failure = e ? *e : (struct err){0};
	if (e)
		snprintf(e->message, sizeof(e->message), "%s %s%s", verb, virDomainGetName(domain),
		        failure.message + strlen(verb));
	return code;
}

bool libvirt_domain_is_active(virDomainPtr domain)
{
	return virDomainIsActive(domain) == 1;
}

static enum domain_state current_state(virDomainPtr domain)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;
	if (virDomainGetState(domain, &state, &reason, 0) < 0)
		return DOMAIN_UNKNOWN;
	return libvirt_domain_state_convert(state);
}

/* Takes the error of a failed call, unless the domain already is as wanted. */
static int unless_already(
        virDomainPtr domain, enum domain_state wanted, const char *verb, struct err *e)
{
	struct err failure = {0};
	int code = libvirt_domain_error(domain, verb, &failure);
	if (code == ERR_WRONG_STATE && current_state(domain) == wanted)
		return 0;
	if (e)
		*e = failure;
	return code;
}

int libvirt_domain_define(struct driver_connection *c, const char *xml, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) =
	        virDomainDefineXMLFlags(c->libvirt, xml, 0);
	return domain ? 0 : libvirt_error_take(e, "defining the domain");
}

static bool is_unknown_flag(void)
{
	int number = libvirt_error_number();
	return number == VIR_ERR_INVALID_ARG || number == VIR_ERR_NO_SUPPORT ||
	       number == VIR_ERR_ARGUMENT_UNSUPPORTED;
}

/* Newest first: an older libvirt refuses flags that it does not know. */
static int undefine_with_flags(virDomainPtr domain)
{
	static const unsigned int base = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
	                                 VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
	                                 VIR_DOMAIN_UNDEFINE_NVRAM;
	static const unsigned int sets[] = {
	        base | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_TPM,
	        base | VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA,
	        base,
	        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
	        VIR_DOMAIN_UNDEFINE_MANAGED_SAVE,
	        0,
	};
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		int r = sets[i] ? virDomainUndefineFlags(domain, sets[i])
		                : virDomainUndefine(domain);
		if (r == 0 || !is_unknown_flag())
			return r;
	}
	return -1;
}

int libvirt_domain_undefine(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (undefine_with_flags(domain) < 0 && libvirt_error_number() != VIR_ERR_NO_DOMAIN)
		return libvirt_domain_error(domain, "undefining", e);
	return 0;
}

int libvirt_domain_rename(
        struct driver_connection *c, const char *id, const char *name, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (str_equal(virDomainGetName(domain), name) || virDomainRename(domain, name, 0) == 0)
		return 0;
	return libvirt_domain_error(domain, "renaming", e);
}

int libvirt_domain_start(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0 || virDomainCreate(domain) == 0)
		return r;
	struct err failure = {0};
	int code = libvirt_domain_error(domain, "starting", &failure);
	if (code == ERR_WRONG_STATE && libvirt_domain_is_active(domain))
		return 0;
	/* "Not found" would read as the domain itself; here it is something the domain names. */
	if (code == ERR_NOT_FOUND && failure.source_code != VIR_ERR_NO_DOMAIN)
		failure.code = ERR_REFERENCE;
	if (e)
		*e = failure;
	return failure.code;
}

static void bound_agent_wait(virDomainPtr domain)
{
	virDomainAgentSetResponseTimeout(domain, AGENT_TIMEOUT_S, 0);
}

int libvirt_domain_shutdown(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e)
{
	static const unsigned int flags[] = {
	        [SHUTDOWN_DEFAULT] = VIR_DOMAIN_SHUTDOWN_DEFAULT,
	        [SHUTDOWN_ACPI] = VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
	        [SHUTDOWN_AGENT] = VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
	};
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (c->is_test && mode == SHUTDOWN_AGENT)
		return err_set(
		        e, ERR_UNSUPPORTED, "a domain of the test driver has no guest agent");
	if (mode != SHUTDOWN_ACPI && !c->is_test)
		bound_agent_wait(domain);
	if (virDomainShutdownFlags(domain, c->is_test ? 0 : flags[mode]) < 0)
		return libvirt_domain_error(domain, "shutting down", e);
	return 0;
}

int libvirt_domain_reboot(
        struct driver_connection *c, const char *id, enum shutdown_mode mode, struct err *e)
{
	static const unsigned int flags[] = {
	        [SHUTDOWN_DEFAULT] = VIR_DOMAIN_REBOOT_DEFAULT,
	        [SHUTDOWN_ACPI] = VIR_DOMAIN_REBOOT_ACPI_POWER_BTN,
	        [SHUTDOWN_AGENT] = VIR_DOMAIN_REBOOT_GUEST_AGENT,
	};
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (c->is_test && mode == SHUTDOWN_AGENT)
		return err_set(
		        e, ERR_UNSUPPORTED, "a domain of the test driver has no guest agent");
	if (mode != SHUTDOWN_ACPI && !c->is_test)
		bound_agent_wait(domain);
	if (virDomainReboot(domain, c->is_test ? 0 : flags[mode]) < 0)
		return libvirt_domain_error(domain, "rebooting", e);
	return 0;
}

/* Whether another call waits for this domain's QEMU and has for a while. Takes no job itself. */
static bool is_stuck(virDomainPtr domain)
{
	enum { PATIENCE_MS = 1000 };
	virDomainControlInfo control;
	if (virDomainGetControlInfo(domain, &control, 0) < 0)
		return false;
	return control.state == VIR_DOMAIN_CONTROL_ERROR ||
	       (control.state == VIR_DOMAIN_CONTROL_OCCUPIED && control.stateTime > PATIENCE_MS);
}

int libvirt_domain_destroy(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == ERR_NOT_FOUND) { /* what does not exist does not run */
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	/* Graceful is SIGTERM: QEMU flushes its caches. One that does not react is killed, and one
	 * that is known not to is spared the wait. */
	if (!is_stuck(domain) && virDomainDestroyFlags(domain, VIR_DOMAIN_DESTROY_GRACEFUL) == 0)
		return 0;
	if (virDomainIsActive(domain) == 0 || virDomainDestroyFlags(domain, 0) == 0)
		return 0;
	struct err failure = {0};
	int code = libvirt_domain_error(domain, "stopping", &failure);
	if (virDomainIsActive(domain) == 0)
		return 0;
	if (e)
		*e = failure;
	return code;
}

int libvirt_domain_quit(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainDestroyFlags(domain, VIR_DOMAIN_DESTROY_GRACEFUL) == 0)
		return 0;
	r = libvirt_domain_error(domain, "ending", e);
	int active = virDomainIsActive(domain);
	if (active < 0)
		return r;
	return active ? err_set(e, ERR_BUSY, "the process of domain %s has not ended yet", id)
	              : err_set(e, ERR_NOT_FOUND, "domain %s runs no more", id);
}

int libvirt_domain_reset(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainReset(domain, 0) < 0)
		return libvirt_domain_error(domain, "resetting", e);
	return 0;
}

int libvirt_domain_pause(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0 || virDomainSuspend(domain) == 0)
		return r;
	return unless_already(domain, DOMAIN_PAUSED, "pausing", e);
}

int libvirt_domain_resume(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	bool sleeps = current_state(domain) == DOMAIN_PMSUSPENDED;
	if ((sleeps ? virDomainPMWakeup(domain, 0) : virDomainResume(domain)) == 0)
		return 0;
	return unless_already(domain, DOMAIN_RUNNING, "resuming", e);
}

int libvirt_domain_managed_save(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0 || virDomainManagedSave(domain, 0) == 0)
		return r;
	struct err failure = {0};
	int code = libvirt_domain_error(domain, "saving", &failure);
	bool is_saved =
	        virDomainIsActive(domain) == 0 && virDomainHasManagedSaveImage(domain, 0) == 1;
	if (code == ERR_WRONG_STATE && is_saved)
		return 0;
	if (e)
		*e = failure;
	return code;
}

int libvirt_domain_managed_save_remove(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainHasManagedSaveImage(domain, 0) == 0 ||
	        virDomainManagedSaveRemove(domain, 0) == 0)
		return 0;
	return libvirt_domain_error(domain, "dropping the saved state of", e);
}
