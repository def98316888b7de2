/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a disk's bytes lie: one <source>, or a whole chain as nested <backingStore> elements that
 * end with an empty one. libvirt then opens exactly these layers with these formats and reads no
 * header, into which a guest may have written. Any thread, pure.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"

static const char *type_name(enum domain_source_type type)
{
	static const char *const names[] = {
	        [DOMAIN_SOURCE_FILE] = "file",
	        [DOMAIN_SOURCE_BLOCK] = "block",
	        [DOMAIN_SOURCE_NETWORK] = "network",
	};
	return names[type];
}

static void check_source(struct xml_builder *b, const struct domain_source *s)
{
	static const char *const formats[] = {"qcow2", "raw", NULL};
	static const char *const protocols[] = {"iscsi", "rbd", "gluster", "nfs", NULL};
	if (!xml_is_one_of(s->format, formats))
		xml_fail(b, ERR_INVALID, "a disk's format must be given: qcow2 or raw");
	if (s->type != DOMAIN_SOURCE_NETWORK)
		return;
	if (!xml_is_one_of(s->protocol, protocols))
		xml_fail(b, ERR_INVALID,
		        "a network source's protocol must be iscsi, rbd, gluster or nfs");
	if (!s->hosts || !s->hosts[0])
		xml_fail(b, ERR_INVALID, "a network source needs a host");
	if (s->user && (!s->secret_id || !uuid_is_shaped(s->secret_id)))
		xml_fail(b, ERR_INVALID, "a network source's user needs the UUID of a secret");
}

/* The port of "HOST:PORT" or "[ADDRESS]:PORT", or NULL; an address with colons alone has none. */
static const char *find_port(const char *host)
{
	const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
	const char *colon = strchr(end ? end : host, ':');
	bool is_address = colon && !end && strchr(colon + 1, ':');
	return colon && !is_address ? colon + 1 : NULL;
}

static void add_host(struct xml_builder *b, xmlNode *source, const char *text)
{
	const char *port = find_port(text);
	size_t len = port ? (size_t)(port - text) - 1 : strlen(text);
	size_t skip = text[0] == '[' && len >= 2 && text[len - 1] == ']';
	char *name CLEANUP(cleanup_free) = str_format("%.*s", (int)(len - 2 * skip), text + skip);
	xmlNode *host = xml_add(b, source, "host");
	xml_set_checked(b, host, "name", XML_TEXT_HOST, name);
	if (port)
		xml_set_checked(b, host, "port", XML_TEXT_NUMBER, port);
}

static void add_auth(struct xml_builder *b, xmlNode *source, const struct domain_source *s)
{
	xmlNode *auth = xml_add(b, source, "auth");
	xml_set_checked(b, auth, "username", XML_TEXT_LINE, s->user);
	xmlNode *secret = xml_add(b, auth, "secret");
	xml_set(b, secret, "type", str_equal(s->protocol, "iscsi") ? "iscsi" : "ceph");
	xml_set(b, secret, "uuid", s->secret_id);
}

static void add_network(struct xml_builder *b, xmlNode *source, const struct domain_source *s)
{
	xml_set(b, source, "protocol", s->protocol);
	xml_set_checked(b, source, "name", XML_TEXT_LINE, s->path);
	for (const char *const *host = s->hosts; b->code == 0 && *host; host++)
		add_host(b, source, *host);
	if (str_equal(s->protocol, "iscsi") && s->initiator) {
		xmlNode *initiator = xml_add(b, source, "initiator");
		xml_set_checked(
		        b, xml_add(b, initiator, "iqn"), "name", XML_TEXT_LINE, s->initiator);
	}
	if (s->user)
		add_auth(b, source, s);
	/* The schema asks for the element; without a user QEMU comes as itself. */
	if (str_equal(s->protocol, "nfs"))
		xml_add(b, source, "identity");
}

void xml_add_source(struct xml_builder *b, xmlNode *parent, const struct domain_source *s)
{
	check_source(b, s);
	xml_set(b, parent, "type", type_name(s->type));
	xmlNode *source = xml_add(b, parent, "source");
	switch (s->type) {
	case DOMAIN_SOURCE_FILE:
		xml_set_checked(b, source, "file", XML_TEXT_PATH, s->path);
		break;
	case DOMAIN_SOURCE_BLOCK:
		xml_set_checked(b, source, "dev", XML_TEXT_PATH, s->path);
		break;
	case DOMAIN_SOURCE_NETWORK:
		add_network(b, source, s);
		break;
	}
}

void xml_add_chain(
        struct xml_builder *b, xmlNode *disk, const struct domain_source *chain, size_t n)
{
	xmlNode *parent = disk;
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && str_equal(chain[i].format, "raw"))
			xml_fail(b, ERR_INVALID, "a raw layer cannot stand on another");
		if (i > 0)
			parent = xml_add(b, parent, "backingStore");
		if (i > 0)
			xml_set(b, xml_add(b, parent, "format"), "type", chain[i].format);
		xml_add_source(b, parent, &chain[i]);
	}
	if (n > 0)
		xml_add(b, parent, "backingStore");
}
