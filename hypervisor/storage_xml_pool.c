/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools in libvirt's XML. A type is a row: what it needs, what it can use. libvirt hands many of these texts to programs
 * (mount, vgchange, zfs), so none may pass for an option.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/storage_xml.h"
#include "hypervisor/xml_read.h"

/* QEMU's user must pass through a pool's directory and nobody else may list or write it. */
#define POOL_MODE "0711"
/* Where udev names the disks of a session so that they are the same after the next login. */
#define ISCSI_PATH "/dev/disk/by-path"

enum part {
	PART_PATH = 1 << 0,
	PART_HOST = 1 << 1,
	PART_HOSTS = 1 << 2, /* more than one */
	PART_DIR = 1 << 3,
	PART_NAME = 1 << 4,
	PART_DEVICE = 1 << 5,
	PART_FORMAT = 1 << 6,
	PART_INITIATOR = 1 << 7,
	PART_AUTH = 1 << 8,
};

struct pool_type {
	const char *name;
	unsigned required, optional; /* enum part */
	const char *auth;            /* the type of <auth> */
	unsigned flags;              /* enum storage_type_flags */
};

/* A path of logical and zfs is accepted and not used: libvirt makes its own from the name. */
static const struct pool_type types[] = {
        {"dir", PART_PATH, 0, NULL, STORAGE_TYPE_FILES | STORAGE_TYPE_LOCAL},
        {"netfs", PART_PATH | PART_HOST | PART_DIR, PART_FORMAT, NULL, STORAGE_TYPE_FILES},
        {"logical", PART_NAME, PART_PATH | PART_FORMAT, NULL,
                STORAGE_TYPE_LOCAL | STORAGE_TYPE_FULL | STORAGE_TYPE_ROUNDS},
        {"iscsi", PART_HOST | PART_DEVICE, PART_PATH | PART_INITIATOR | PART_AUTH, "chap",
                STORAGE_TYPE_FIXED},
        {"iscsi-direct", PART_HOST | PART_DEVICE | PART_INITIATOR, PART_AUTH, "chap",
                STORAGE_TYPE_FIXED},
        {"rbd", PART_HOST | PART_NAME, PART_HOSTS | PART_AUTH, "ceph", 0},
        {"gluster", PART_HOST | PART_NAME, PART_DIR, NULL, STORAGE_TYPE_FIXED},
        {"zfs", PART_NAME, PART_PATH, NULL, STORAGE_TYPE_LOCAL | STORAGE_TYPE_ROUNDS},
};

static const struct pool_type *find_type(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_equal(types[i].name, name))
			return &types[i];
	return NULL;
}

unsigned storage_type_flags(const char *type)
{
	const struct pool_type *found = find_type(type);
	return found ? found->flags : 0;
}

/* --- checks --- */

static unsigned parts_of(const struct pool_config *config)
{
	bool has_host = config->hosts && config->hosts[0];
	unsigned parts = 0;
	parts |= config->path ? PART_PATH : 0;
	parts |= has_host ? PART_HOST : 0;
	parts |= has_host && config->hosts[1] ? PART_HOSTS : 0;
	parts |= config->source_dir ? PART_DIR : 0;
	parts |= config->source_name ? PART_NAME : 0;
	parts |= config->source_device ? PART_DEVICE : 0;
	parts |= config->source_format ? PART_FORMAT : 0;
	parts |= config->initiator ? PART_INITIATOR : 0;
	parts |= config->user || config->secret_id ? PART_AUTH : 0;
	return parts;
}

static const char *part_name(unsigned part)
{
	static const char *const names[] = {"a path", "a server", "a second server",
	        "a source directory", "a source name", "a source device", "a source format",
	        "an initiator", "a user and a secret"};
	return names[__builtin_ctz(part)];
}

static void check_parts(struct xml_builder *b, const struct pool_type *type, unsigned parts)
{
	unsigned missing = type->required & ~parts;
	unsigned useless = parts & ~(type->required | type->optional);
	if (missing)
		xml_fail(b, ERR_INVALID, "a pool of the type %s needs %s", type->name,
		        part_name(missing));
	if (useless)
		xml_fail(b, ERR_INVALID, "a pool of the type %s cannot have %s", type->name,
		        part_name(useless));
}

/* A name that programs get as an argument. */
static void check_argument(struct xml_builder *b, const char *what, const char *text)
{
	xml_check(b, XML_TEXT_LINE, what, text);
	if (b->code == 0 && (text[0] == '-' || strchr(text, ' ')))
		xml_fail(b, ERR_INVALID, "%s cannot begin with '-' or have blanks", what);
}

static void check_format(struct xml_builder *b, const struct pool_config *config)
{
	static const char *const allowed[] = {
	        "netfs nfs", "netfs cifs", "netfs glusterfs", "netfs auto", "logical lvm2"};
	char pair[64];
	snprintf(pair, sizeof(pair), "%s %s", config->type, config->source_format);
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (str_equal(pair, allowed[i]))
			return;
	xml_fail(b, ERR_INVALID, "a pool of the type %s cannot have the source format %.32s",
	        config->type, config->source_format);
}

static void check_config(struct xml_builder *b, const struct pool_type *type,
        const struct pool_config *config, unsigned parts)
{
	check_parts(b, type, parts);
	check_argument(b, "the pool's name", config->name);
	if (b->code == 0 && (strchr(config->name, '/') || config->name[0] == '.'))
		xml_fail(b, ERR_INVALID, "the pool's name cannot have a '/' or begin with '.'");
	if (parts & PART_NAME)
		check_argument(b, "the source name", config->source_name);
	if (parts & PART_DEVICE)
		check_argument(b, "the source device", config->source_device);
	if (parts & PART_INITIATOR)
		check_argument(b, "the initiator", config->initiator);
	if (parts & PART_DIR)
		check_argument(b, "the source directory", config->source_dir);
	if (parts & PART_FORMAT)
		check_format(b, config);
	if ((parts & PART_AUTH) && (!config->user || !config->secret_id))
		xml_fail(b, ERR_INVALID, "a user and a secret go together");
}

/* --- building --- */

/* Without doubled and trailing slashes, as libvirt keeps them. Caller frees. */
static char *tidy_path(const char *path)
{
	char *tidy = xstrdup(path);
	size_t n = 0;
	for (const char *p = path; *p; p++)
		if (*p != '/' || n == 0 || tidy[n - 1] != '/')
			tidy[n++] = *p;
	if (n > 1 && tidy[n - 1] == '/')
		n--;
	tidy[n] = '\0';
	return tidy;
}

static bool is_server_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                              "0123456789.-_:%";
	return *name && *name != '-' && strlen(name) < 256 && name[strspn(name, allowed)] == '\0';
}

/*
 * "HOST", "HOST:PORT", "[IPV6]:PORT"; with two colons or more and no brackets it is all address. Cuts `text` to the name;
 * returns the port's text or NULL.
 */
static const char *split_server(char **text)
{
	char *end = *text;
	if (**text == '[') {
		end = strchr(++*text, ']');
		if (!end || (end[1] != '\0' && end[1] != ':'))
			return ""; /* no port */
		*end++ = '\0';
		return *end == ':' ? end + 1 : NULL;
	}
	char *colon = strchr(end, ':');
	if (!colon || strchr(colon + 1, ':'))
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static void add_server(struct xml_builder *b, xmlNode *source, const char *server)
{
	char *text CLEANUP(cleanup_free) = xstrdup(server);
	char *name = text;
	const char *port = split_server(&name);
	long long number = 0;
	bool is_port = !port || (str_to_int64(port, &number) && number > 0 && number < 65536);
	if (!is_server_name(name) || !is_port) {
		xml_fail(b, ERR_INVALID,
		        "the server must be a name or an address, with :PORT "
		        "behind it if need be");
		return;
	}
	xmlNode *host = xml_add(b, source, "host");
	xml_set_checked(b, host, "name", XML_TEXT_LINE, name);
	if (port)
		xml_set_int(b, host, "port", number);
}

static void add_attribute(struct xml_builder *b, xmlNode *parent, const char *name,
        const char *attribute, const char *value)
{
	if (value)
		xml_set_checked(b, xml_add(b, parent, name), attribute, XML_TEXT_LINE, value);
}

static void add_source(struct xml_builder *b, xmlNode *pool, const struct pool_type *type,
        const struct pool_config *config)
{
	xmlNode *source = xml_add(b, pool, "source");
	for (const char *const *host = config->hosts; host && *host; host++)
		add_server(b, source, *host);
	const char *dir = config->source_dir;
	if (!dir && (type->optional & PART_DIR))
		dir = "/";
	char *tidy CLEANUP(cleanup_free) = dir ? tidy_path(dir) : NULL;
	add_attribute(b, source, "dir", "path", tidy);
	add_attribute(b, source, "device", "path", config->source_device);
	if (config->initiator)
		add_attribute(b, xml_add(b, source, "initiator"), "iqn", "name", config->initiator);
	if (config->source_name)
		xml_add_text(b, source, "name", XML_TEXT_LINE, config->source_name);
	if (config->user) {
		xmlNode *auth = xml_add(b, source, "auth");
		xml_set(b, auth, "type", type->auth);
		xml_set_checked(b, auth, "username", XML_TEXT_LINE, config->user);
		add_attribute(b, auth, "secret", "uuid", config->secret_id);
	}
	const char *format = config->source_format;
	if (!format && (type->optional & PART_FORMAT))
		format = str_equal(type->name, "netfs") ? "nfs" : "lvm2";
	add_attribute(b, source, "format", "type", format);
}

static void add_target(struct xml_builder *b, xmlNode *pool, const struct pool_type *type,
        const struct pool_config *config)
{
	char *device CLEANUP(cleanup_free) = NULL;
	const char *path = config->path;
	if (str_equal(type->name, "logical")) {
		device = str_format("/dev/%s", config->source_name);
		path = device;
	}
	if (!path && str_equal(type->name, "iscsi"))
		path = ISCSI_PATH;
	if (!path || str_equal(type->name, "zfs"))
		return;
	xml_check(b, XML_TEXT_PATH, "the pool's path", path);
	char *tidy CLEANUP(cleanup_free) = tidy_path(path);
	xmlNode *target = xml_add(b, pool, "target");
	xml_add_text(b, target, "path", XML_TEXT_PATH, tidy);
	if ((type->flags & STORAGE_TYPE_FILES) != 0)
		xml_add_text(b, xml_add(b, target, "permissions"), "mode", XML_TEXT_ANY, POOL_MODE);
}

static int build_tree(const struct pool_config *config, xmlDoc **ret_doc, struct err *e)
{
	struct xml_builder b = {.e = e};
	const struct pool_type *type = find_type(config->type);
	if (!type)
		return err_set(e, ERR_UNSUPPORTED, "there are no pools of the type %.32s",
		        config->type ? config->type : "(none)");
	*ret_doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *pool = xmlNewDocNode(*ret_doc, NULL, (const xmlChar *)"pool", NULL);
	xmlDocSetRootElement(*ret_doc, pool);
	check_config(&b, type, config, parts_of(config));
	xml_set(&b, pool, "type", type->name);
	xml_add_text(&b, pool, "name", XML_TEXT_LINE, config->name);
	if (type->required != PART_PATH)
		add_source(&b, pool, type, config);
	add_target(&b, pool, type, config);
	return b.code;
}

int storage_xml_build_pool(const struct pool_config *config, char **ret_xml, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = build_tree(config, &doc, e);
	if (r == 0)
		*ret_xml = xml_print(xmlDocGetRootElement(doc));
	return r;
}

/* --- comparing --- */

/* Up to three elements below <pool>; the last one's attribute, or its content without one. */
struct place {
	const char *what, *elements[3], *attribute;
	bool is_path;
	bool has_default; /* libvirt fills it in: compared only if we say something */
};
static const struct place places[] = {
        {.what = "path", .elements = {"target", "path"}, .is_path = true, .has_default = true},
        {.what = "source directory",
                .elements = {"source", "dir"},
                .attribute = "path",
                .is_path = true,
                .has_default = true},
        {.what = "source name", .elements = {"source", "name"}, .has_default = true},
        {.what = "source device",
                .elements = {"source", "device"},
                .attribute = "path",
                .has_default = true},
        {.what = "source format",
                .elements = {"source", "format"},
                .attribute = "type",
                .has_default = true},
        {.what = "initiator", .elements = {"source", "initiator", "iqn"}, .attribute = "name"},
        {.what = "user", .elements = {"source", "auth"}, .attribute = "username"},
        {.what = "secret", .elements = {"source", "auth", "secret"}, .attribute = "uuid"},
};

/* Caller frees; NULL: not there. */
static char *read_place(const xmlNode *pool, const struct place *place)
{
	const xmlNode *node = pool;
	for (size_t i = 0; i < ARRAY_LEN(place->elements) && place->elements[i]; i++)
		node = xml_read_child(node, place->elements[i]);
	char *text CLEANUP(cleanup_free) = place->attribute
	                                           ? xml_read_attribute(node, place->attribute)
	                                           : xml_read_content(node);
	return text && place->is_path ? tidy_path(text) : TAKE(text);
}

static int differ(
        struct err *e, const char *pool, const char *what, const char *there, const char *wanted)
{
	return err_set(e, ERR_CONFLICT, "pool %s exists on the host with the %s %s, not %s", pool,
	        what, there ? there : "(none)", wanted ? wanted : "(none)");
}

static char *read_servers(const xmlNode *pool)
{
	struct str servers = {0};
	XML_FOR_EACH_CHILD(xml_read_child(pool, "source"), "host", host)
	{
		char *name CLEANUP(cleanup_free) = xml_read_attribute(host, "name");
		char *port CLEANUP(cleanup_free) = xml_read_attribute(host, "port");
		str_printf(&servers, "%s%s%s%s", servers.len > 0 ? ", " : "", name ? name : "",
		        port ? " port " : "", port ? port : "");
	}
	return str_take(&servers);
}

static int compare_trees(
        const char *name, const xmlNode *there, const xmlNode *wanted, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char *a CLEANUP(cleanup_free) = read_place(there, &places[i]);
		char *b CLEANUP(cleanup_free) = read_place(wanted, &places[i]);
		if (!str_equal(a, b) && (b || !places[i].has_default))
			return differ(e, name, places[i].what, a, b);
	}
	char *a CLEANUP(cleanup_free) = read_servers(there);
	char *b CLEANUP(cleanup_free) = read_servers(wanted);
	return str_equal(a, b) ? 0 : differ(e, name, "server", a, b);
}

int storage_xml_compare_pool(const char *xml, const struct pool_config *config, struct err *e)
{
	xmlDoc *there CLEANUP(cleanup_xml_document) = NULL;
	xmlDoc *wanted CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(xml, "pool", &there, e);
	if (r == 0)
		r = build_tree(config, &wanted, e);
	if (r < 0)
		return r;
	const xmlNode *root = xmlDocGetRootElement(there);
	char *type CLEANUP(cleanup_free) = xml_read_attribute(root, "type");
	if (!str_equal(type, config->type))
		return differ(e, config->name, "type", type, config->type);
	return compare_trees(config->name, root, xmlDocGetRootElement(wanted), e);
}

void storage_xml_parse_pool_type(const char *xml, char ret_type[16])
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	ret_type[0] = '\0';
	if (xml_read_document(xml, "pool", &doc, NULL) < 0)
		return;
	char *type CLEANUP(cleanup_free) = xml_read_attribute(xmlDocGetRootElement(doc), "type");
	snprintf(ret_type, 16, "%s", type ? type : "");
}
