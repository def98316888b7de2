/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hard whitelist of libvirt URIs: what is not known here is refused, because parts of a URI
 * become command lines (ssh), files that are read, or programs that are run. Any thread, pure.
 */
#include "hypervisor/uri.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver_fake.h"

#define URI_SIZE_MAX 512

static const char lower_digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char path_characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@,";

enum parameter_rule { PARAMETER_PATH, PARAMETER_PROXY };

struct parameter {
	const char *name;
	enum parameter_rule rule;
};

struct scheme {
	const char *prefix; /* up to and with "://" */
	bool has_host;
	bool is_local;
	struct parameter parameters[5];
};

static const struct scheme schemes[] = {
        {"qemu://", false, true, {{0}}},
        {"qemu+unix://", false, true, {{"socket", PARAMETER_PATH}}},
        /* known_hosts and sshauth work with libvirt's libssh transports only: accepted, they would promise too much */
        {"qemu+ssh://", true, false, {{"keyfile", PARAMETER_PATH}, {"proxy", PARAMETER_PROXY}}},
        {"qemu+tls://", true, false, {{"pkipath", PARAMETER_PATH}}},
        {"qemu+tcp://", true, false, {{0}}},
};

static bool consists_of(const char *s, size_t len, const char *allowed)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] == '\0' || !strchr(allowed, s[i]))
			return false;
	return true;
}

static bool is_plain_path(const char *s, size_t len)
{
	if (len < 2 || s[0] != '/' || !consists_of(s, len, path_characters))
		return false;
	for (size_t i = 0; i + 2 < len; i++)
		if (memcmp(s + i, "/..", 3) == 0 && (i + 3 == len || s[i + 3] == '/'))
			return false;
	return true;
}

static bool is_in_list(const char *s, size_t len, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == len && memcmp(*words, s, len) == 0)
			return true;
	return false;
}

/* The methods that need nobody at a keyboard. */
static bool parameter_is_good(enum parameter_rule rule, const char *value, size_t len)
{
	static const char *const proxies[] = {"auto", "netcat", "native", NULL};
	switch (rule) {
	case PARAMETER_PATH:
		return is_plain_path(value, len);
	case PARAMETER_PROXY:
		return is_in_list(value, len, proxies);
	}
	return false;
}

static const struct parameter *find_parameter(
        const struct scheme *scheme, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(scheme->parameters) && scheme->parameters[i].name; i++)
		if (strlen(scheme->parameters[i].name) == len &&
		        memcmp(scheme->parameters[i].name, name, len) == 0)
			return &scheme->parameters[i];
	return NULL;
}

static int check_parameter(const struct scheme *scheme, const char *text, size_t len,
        unsigned int *seen, struct err *e)
{
	const char *equals = memchr(text, '=', len);
	size_t name_len = equals ? (size_t)(equals - text) : len;
	const struct parameter *p = find_parameter(scheme, text, name_len);
	int shown = name_len > 40 ? 40 : (int)name_len;
	if (!p)
		return err_set(e, ERR_INVALID, "the URI parameter '%.*s' is not allowed with %s",
		        shown, text, scheme->prefix);
	unsigned int bit = 1U << (p - scheme->parameters);
	if (*seen & bit)
		return err_set(e, ERR_INVALID, "the URI parameter '%s' is given twice", p->name);
	*seen |= bit;
	size_t value_len = equals ? len - name_len - 1 : 0;
	if (!equals || !parameter_is_good(p->rule, equals + 1, value_len))
		return err_set(e, ERR_INVALID, "the value of the URI parameter '%s' is not allowed",
		        p->name);
	return 0;
}

static int check_query(const struct scheme *scheme, const char *query, struct err *e)
{
	unsigned int seen = 0;
	for (;;) {
		size_t len = strcspn(query, "&");
		int r = check_parameter(scheme, query, len, &seen, e);
		if (r < 0)
			return r;
		if (query[len] == '\0')
			return 0;
		query += len + 1;
	}
}

static bool is_user(const char *s, size_t len)
{
	return len > 0 && len <= 32 && s[0] != '-' && s[0] != '.' &&
	       consists_of(
	               s, len, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
}

/* Labels of letters, digits and inner hyphens (RFC 1123); IPv4 addresses have that shape too. */
static bool is_host_name(const char *s, size_t len)
{
	if (len == 0 || len > 253)
		return false;
	size_t label = 0;
	for (size_t i = 0; i <= len; i++) {
		if (i < len && s[i] != '.') {
			char lower = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
			if (!strchr(lower_digits, lower) && (lower != '-' || label == 0))
				return false;
			label++;
		} else {
			if (label == 0 || label > 63 || s[i - 1] == '-')
				return false;
			label = 0;
		}
	}
	return true;
}

static bool is_bracketed_ipv6(const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	if (len < 4 || len - 2 >= sizeof(text) || s[0] != '[' || s[len - 1] != ']')
		return false;
	memcpy(text, s + 1, len - 2);
	text[len - 2] = '\0';
	struct in6_addr address;
	return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_port(const char *s, size_t len)
{
	if (len == 0 || len > 5 || !consists_of(s, len, "0123456789"))
		return false;
	int port = 0;
	for (size_t i = 0; i < len; i++)
		port = port * 10 + (s[i] - '0');
	return port >= 1 && port <= 65535;
}

/* Where the port's colon stands, or NULL; colons inside brackets belong to the address. */
static const char *find_port(const char *s, size_t len)
{
	const char *bracket = memrchr(s, ']', len);
	const char *start = bracket ? bracket : s;
	return memchr(start, ':', len - (size_t)(start - s));
}

static int check_host(const struct scheme *scheme, const char *s, size_t len, struct err *e)
{
	const char *at = memchr(s, '@', len);
	if (at) {
		bool takes_user = strcmp(scheme->prefix, "qemu+ssh://") == 0;
		if (!takes_user || !is_user(s, (size_t)(at - s)))
			return err_set(e, ERR_INVALID, "the user in the URI is not allowed");
		len -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	const char *colon = find_port(s, len);
	size_t name_len = colon ? (size_t)(colon - s) : len;
	if (colon && !is_port(colon + 1, len - name_len - 1))
		return err_set(e, ERR_INVALID, "the port in the URI must be 1 to 65535");
	if (!is_host_name(s, name_len) && !is_bracketed_ipv6(s, name_len))
		return err_set(e, ERR_INVALID, "the host in the URI is not a host name or address");
	return 0;
}

static int check_qemu(const struct scheme *scheme, const char *rest, struct err *e)
{
	size_t authority = strcspn(rest, "/?#");
	if (!scheme->has_host && authority > 0)
		return err_set(e, ERR_INVALID, "%s takes no host: write %s/system", scheme->prefix,
		        scheme->prefix);
	int r = scheme->has_host ? check_host(scheme, rest, authority, e) : 0;
	if (r < 0)
		return r;
	const char *path = rest + authority;
	if (!str_starts_with(path, "/system"))
		return err_set(e, ERR_INVALID, "the path of the URI must be /system");
	path += strlen("/system");
	if (*path == '\0')
		return 0;
	if (*path != '?')
		return err_set(e, ERR_INVALID, "the path of the URI must be /system");
	return check_query(scheme, path + 1, e);
}

static int unknown_scheme(struct err *e)
{
	err_set(e, ERR_INVALID, "the URI's scheme is not known");
	return err_hint(e, "qemu:///system, qemu+ssh://HOST/system, qemu+tls://HOST/system");
}

/* libvirt's in-memory driver, "test:///default" or "test:///PATH". */
static int check_test(const char *uri, struct err *e)
{
	const char *path = uri + strlen("test://");
	return is_plain_path(path, strlen(path))
	               ? 0
	               : err_set(e, ERR_INVALID, "write test:///default or test:///PATH");
}

/* The scripted driver of the tests; its own parser judges the parameters. */
static int check_fake(const char *uri, struct err *e)
{
	if (!fake_is_enabled())
		return unknown_scheme(e);
	const char *name = uri + strlen("fake:///");
	size_t len = strcspn(name, "?");
	bool good = consists_of(name, len, "abcdefghijklmnopqrstuvwxyz0123456789-_");
	return good && len > 0 ? 0 : err_set(e, ERR_INVALID, "write fake:///NAME");
}

int uri_check(const char *uri, bool allow_plain_tcp, bool *ret_is_local, struct err *e)
{
	if (strlen(uri) > URI_SIZE_MAX)
		return err_set(e, ERR_INVALID, "a URI longer than %d bytes", URI_SIZE_MAX);
	bool is_test = str_starts_with(uri, "test:///");
	if (is_test || str_starts_with(uri, "fake:///")) {
		*ret_is_local = false;
		return is_test ? check_test(uri, e) : check_fake(uri, e);
	}
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		const struct scheme *s = &schemes[i];
		if (!str_starts_with(uri, s->prefix))
			continue;
		if (strcmp(s->prefix, "qemu+tcp://") == 0 && !allow_plain_tcp) {
			err_set(e, ERR_INVALID,
			        "qemu+tcp:// is neither encrypted nor authenticated");
			return err_hint(e, "use qemu+tls:// or qemu+ssh://");
		}
		*ret_is_local = s->is_local;
		return check_qemu(s, uri + strlen(s->prefix), e);
	}
	return unknown_scheme(e);
}
