/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands to the guest's agent. Each has a deadline: libvirt's own fsfreeze calls wait for an agent
 * without one, and hold the domain's agent for that long. Lane threads.
 */
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "base/field.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

#define COMMAND_TIMEOUT_S 5

int libvirt_agent_lookup(
        struct driver_connection *c, const char *id, virDomainPtr *ret_domain, struct err *e)
{
	if (c->is_test)
		return err_set(
		        e, ERR_UNSUPPORTED, "a domain of the test driver has no guest agent");
	int r = libvirt_domain_lookup(c, id, ret_domain, e);
	if (r < 0)
		return r;
	if (!libvirt_domain_is_active(*ret_domain))
		return err_set(
		        e, ERR_WRONG_STATE, "%s is not running", virDomainGetName(*ret_domain));
	/* For the greeting that libvirt sends before each command. */
	virDomainAgentSetResponseTimeout(*ret_domain, AGENT_TIMEOUT_S, 0);
	return 0;
}

static int send_text(
        virDomainPtr domain, const char *text, const char *verb, char **ret_answer, struct err *e)
{
	*ret_answer = virDomainQemuAgentCommand(domain, text, COMMAND_TIMEOUT_S, 0);
	return *ret_answer ? 0 : libvirt_domain_error(domain, verb, e);
}

static int command(
        virDomainPtr domain, const char *name, const char *verb, char **ret_answer, struct err *e)
{
	char *text CLEANUP(cleanup_free) = str_format("{\"execute\":\"%s\"}", name);
	return send_text(domain, text, verb, ret_answer, e);
}

/* {"return":"thawed"} or "frozen" */
static int read_status(virDomainPtr domain, enum freeze_status *ret_status, struct err *e)
{
	char *answer CLEANUP(cleanup_free) = NULL;
	int r = command(domain, "guest-fsfreeze-status", "asking the guest agent of", &answer, e);
	if (r < 0)
		return r;
	json_t *root = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
	const char *status = json_string_value(json_object_get(root, "return"));
	if (str_equal(status, "frozen") || str_equal(status, "thawed"))
		*ret_status = strcmp(status, "frozen") == 0 ? FREEZE_FROZEN : FREEZE_THAWED;
	else
		r = err_set(e, ERR_HYPERVISOR, "the guest agent's answer is not understood");
	json_decref(root);
	return r;
}

/* A frozen guest refuses to be frozen again; an agent that does not answer is not asked twice. */
static bool is_there_already(virDomainPtr domain, int code, enum freeze_status wanted)
{
	enum freeze_status status;
	if (code == ERR_UNAVAILABLE || code == ERR_DEADLINE || code == ERR_UNSUPPORTED)
		return false;
	return read_status(domain, &status, NULL) == 0 && status == wanted;
}

/* *ret_answer NULL: it was so already. */
static int change(struct driver_connection *c, const char *id, const char *name, const char *verb,
        enum freeze_status wanted, char **ret_answer, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_agent_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	r = command(domain, name, verb, ret_answer, e);
	if (r == 0 || !is_there_already(domain, r, wanted))
		return r;
	err_clear(e);
	return 0;
}

/* {"return":2} */
static int read_count(const char *answer)
{
	json_t *root = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
	json_int_t n = json_integer_value(json_object_get(root, "return"));
	json_decref(root);
	return n < 0 ? 0 : n > INT_MAX ? INT_MAX : (int)n;
}

int libvirt_agent_freeze(struct driver_connection *c, const char *id, int *ret_n, struct err *e)
{
	char *answer CLEANUP(cleanup_free) = NULL;
	int r = change(c, id, "guest-fsfreeze-freeze", "freezing", FREEZE_FROZEN, &answer, e);
	*ret_n = answer ? read_count(answer) : 1; /* frozen already: at least one */
	return r;
}

int libvirt_agent_thaw(struct driver_connection *c, const char *id, struct err *e)
{
	char *answer CLEANUP(cleanup_free) = NULL;
	return change(c, id, "guest-fsfreeze-thaw", "thawing", FREEZE_THAWED, &answer, e);
}

int libvirt_agent_freeze_status(
        struct driver_connection *c, const char *id, enum freeze_status *ret_status, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_agent_lookup(c, id, &domain, e);
	return r < 0 ? r : read_status(domain, ret_status, e);
}

int libvirt_agent_set_time(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_agent_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (virDomainSetTime(domain, now.tv_sec, (unsigned int)now.tv_nsec, 0) < 0)
		return libvirt_domain_error(domain, "setting the clock of", e);
	return 0;
}

/* --- memory --- */

/* The command that makes the guest use the blocks it has set aside; NULL: there are none. Caller frees. */
static char *online_command(const json_t *known)
{
	json_t *blocks = json_array();
	json_t *block;
	size_t i;
	json_array_foreach(known, i, block)
	{
		json_t *index = json_object_get(block, "phys-index");
		if (index && json_is_false(json_object_get(block, "online")))
			json_array_append_new(
			        blocks, json_pack("{s:O, s:b}", "phys-index", index, "online", 1));
	}
	json_t *message = NULL;
	if (json_array_size(blocks) > 0)
		message = json_pack("{s:s, s:{s:O}}", "execute", "guest-set-memory-blocks",
		        "arguments", "mem-blks", blocks);
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	json_decref(blocks);
	return text;
}

int libvirt_agent_use_memory(
        struct driver_connection *c, const char *id, size_t *ret_n, struct err *e)
{
	static const char verb[] = "making use of plugged memory in";
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	char *blocks CLEANUP(cleanup_free) = NULL;
	char *answer CLEANUP(cleanup_free) = NULL;
	int r = libvirt_agent_lookup(c, id, &domain, e);
	if (r == 0)
		r = command(domain, "guest-get-memory-blocks", verb, &blocks, e);
	if (r < 0)
		return r;
	json_t *root CLEANUP(cleanup_json) = json_loads(blocks, JSON_REJECT_DUPLICATES, NULL);
	const json_t *known = json_object_get(root, "return");
	char *text CLEANUP(cleanup_free) = online_command(known);
	*ret_n = json_array_size(known);
	return text ? send_text(domain, text, verb, &answer, e) : 0;
}
