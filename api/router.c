/* SPDX-License-Identifier: Apache-2.0 */
/* The router: a tree with one level per segment; children sorted by name, at most one parameter
 * each. */
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHODS };
static const char *const method_names[METHODS] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

struct node {
	char *segment; /* owned; NULL at the root and for a parameter */
	size_t segment_len;
	VEC(struct node *) children; /* owned, sorted by segment */
	struct node *param;          /* owned */
	const struct router_entry *routes[METHODS];
};

struct router {
	struct node root;
	struct router_entry *entries; /* owned */
	size_t n_entries;
};

static void node_done(struct node *n)
{
	for (size_t i = 0; i < n->children.len; i++) {
		node_done(n->children.items[i]);
		free(n->children.items[i]);
	}
	VEC_DONE(&n->children);
	if (n->param) {
		node_done(n->param);
		free(n->param);
	}
	free(n->segment);
}

void router_free(struct router *r)
{
	if (!r)
		return;
	node_done(&r->root);
	for (size_t i = 0; i < r->n_entries; i++)
		free(r->entries[i].path);
	free(r->entries);
	free(r);
}
CLEANUP_DEFINE(struct router, router_free);

static int compare_segments(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	if (order != 0)
		return order;
	return (a_len > b_len) - (a_len < b_len);
}

/* The child of that name; else NULL and where it would stand. */
static struct node *find_child(
        const struct node *n, const char *segment, size_t len, size_t *ret_position)
{
	size_t low = 0, high = n->children.len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		struct node *child = n->children.items[middle];
		int order = compare_segments(segment, len, child->segment, child->segment_len);
		if (order == 0)
			return child;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (ret_position)
		*ret_position = low;
	return NULL;
}

static struct node *add_child(struct node *n, const char *segment, size_t len)
{
	size_t position = 0;
	struct node *child = find_child(n, segment, len, &position);
	if (child)
		return child;
	child = xcalloc(1, sizeof(*child));
	child->segment = xstrndup(segment, len);
	child->segment_len = len;
	VEC_PUSH(&n->children, child); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
	for (size_t i = n->children.len - 1; i > position; i--)
		n->children.items[i] = n->children.items[i - 1];
	n->children.items[position] = child;
	return child;
}

static struct node *add_param(struct node *n)
{
	if (!n->param)
		n->param = xcalloc(1, sizeof(*n->param));
	return n->param;
}

static int method_index(const char *method)
{
	if (strcmp(method, "HEAD") == 0)
		return METHOD_GET;
	for (int i = 0; i < METHODS; i++)
		if (strcmp(method, method_names[i]) == 0)
			return i;
	return -1;
}

static int check_route(const struct router_entry *entry, struct err *e)
{
	const struct route *r = entry->route;
	if (!r->permission == !(r->flags & ROUTE_PUBLIC))
		return err_set(e, ERR_INTERNAL,
		        "route %s %s must have either a permission or ROUTE_PUBLIC", r->method,
		        entry->path);
	if (!r->handler || !r->id || !r->summary || r->status == 0)
		return err_set(e, ERR_INTERNAL,
		        "route %s %s lacks its handler, id, summary or status", r->method,
		        entry->path);
	return 0;
}

/* Walks the declared path, making the nodes that are missing. */
static struct node *add_path(struct router *r, const char *path, size_t *ret_n_params)
{
	struct node *node = &r->root;
	*ret_n_params = 0;
	while (*path == '/') {
		size_t len = strcspn(++path, "/");
		if (*path == '{') {
			node = add_param(node);
			(*ret_n_params)++;
		} else {
			node = add_child(node, path, len);
		}
		path += len;
	}
	return node;
}

static int add_entry(struct router *r, const struct router_entry *entry, struct err *e)
{
	int rc = check_route(entry, e);
	if (rc < 0)
		return rc;
	size_t n_params;
	struct node *node = add_path(r, entry->path, &n_params);
	int method = method_index(entry->route->method);
	if (method < 0 || n_params > ROUTER_PARAMS_MAX)
		return err_set(e, ERR_INTERNAL,
		        "route %s %s has an unknown method or too many parameters",
		        entry->route->method, entry->path);
	if (node->routes[method])
		return err_set(e, ERR_INTERNAL, "route %s %s is declared twice",
		        entry->route->method, entry->path);
	node->routes[method] = entry;
	return 0;
}

static size_t count_routes(const struct route_table *const *tables)
{
	size_t n = 0;
	for (; *tables; tables++)
		n += (*tables)->n_routes;
	return n;
}

static void fill_entries(struct router *r, const struct route_table *const *tables)
{
	for (; *tables; tables++)
		for (size_t i = 0; i < (*tables)->n_routes; i++) {
			const struct route *route = &(*tables)->routes[i];
			bool is_absolute = route->path[0] == '!';
			r->entries[r->n_entries] = (struct router_entry){
			        .route = route,
			        .tag = (*tables)->tag,
			        .index = r->n_entries,
			        .path = str_format("%s%s", is_absolute ? "" : "/api/v1",
			                route->path + (is_absolute ? 1 : 0)),
			};
			r->n_entries++;
		}
}

int router_new(const struct route_table *const *tables, struct router **ret_router, struct err *e)
{
	CLEANUP(cleanup_router_free) struct router *r = xcalloc(1, sizeof(*r));
	r->entries = xcalloc(count_routes(tables) + 1, sizeof(*r->entries));
	fill_entries(r, tables);
	for (size_t i = 0; i < r->n_entries; i++) {
		int rc = add_entry(r, &r->entries[i], e);
		if (rc < 0)
			return rc;
	}
	*ret_router = TAKE(r);
	return 0;
}

size_t router_count(const struct router *r)
{
	return r->n_entries;
}

const struct router_entry *router_entry_at(const struct router *r, size_t index)
{
	return &r->entries[index];
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_valid_utf8(const char *text)
{
	while (*text) {
		size_t len = str_utf8_len(text);
		if (len == 0)
			return false;
		text += len;
	}
	return true;
}

long router_decode(const char *text, size_t len, bool plus_is_space, char *to)
{
	size_t n = 0;
	bool is_ascii = true;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '%') {
			int high = i + 2 < len ? hex_value(text[i + 1]) : -1;
			int low = i + 2 < len ? hex_value(text[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -1;
			c = (unsigned char)(high * 16 + low);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (c < 0x20 || c == 0x7f)
			return -1;
		is_ascii = is_ascii && c < 0x80;
		to[n++] = (char)c;
	}
	to[n] = '\0';
	return is_ascii || is_valid_utf8(to) ? (long)n : -1;
}

/* Decodes one segment into the match's text; the room always suffices, decoding never lengthens. */
static int decode_segment(const char *segment, size_t len, char *to, size_t *ret_len, struct err *e)
{
	long n = router_decode(segment, len, /* plus_is_space= */ false, to);
	if (n < 0)
		return err_set(e, ERR_MALFORMED,
		        "the path has a bad percent-encoding, a control character or bad UTF-8");
	if (memchr(to, '/', (size_t)n))
		return err_set(e, ERR_MALFORMED, "the path has an encoded slash in a segment");
	*ret_len = (size_t)n;
	return 0;
}

static int not_found(struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "there is nothing at this path");
}

/* Goes down the tree; *ret_node is where the path ends. */
static int walk(const struct router *r, const char *path, size_t path_len,
        struct router_match *match, const struct node **ret_node, struct err *e)
{
	const struct node *node = &r->root;
	const char *end = path + path_len;
	char *text = match->text;
	while (path < end && *path == '/') {
		path++;
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t raw_len = (size_t)((slash ? slash : end) - path), len = 0;
		int rc = decode_segment(path, raw_len, text, &len, e);
		if (rc < 0)
			return rc;
		const struct node *child = find_child(node, text, len, NULL);
		if (!child && node->param && len > 0) {
			child = node->param;
			match->params[match->n_params++] = text;
			text += len + 1;
		}
		if (!child)
			return not_found(e);
		node = child;
		path += raw_len;
	}
	*ret_node = node;
	return path == end ? 0 : not_found(e);
}

static void list_methods(const struct node *node, char *to, size_t size)
{
	size_t used = 0;
	to[0] = '\0';
	for (int i = 0; i < METHODS; i++) {
		if (!node->routes[i])
			continue;
		int n = snprintf(to + used, size - used, "%s%s%s", used ? ", " : "",
		        method_names[i], i == METHOD_GET ? ", HEAD" : "");
		used += (size_t)n;
	}
}

int router_find(const struct router *r, const char *method, const char *path, size_t path_len,
        struct router_match *ret_match, struct err *e)
{
	ret_match->entry = NULL;
	ret_match->n_params = 0;
	ret_match->allow[0] = '\0';
	if (path_len >= ROUTER_PATH_MAX)
		return err_set(e, ERR_URI_TOO_LONG, "the path has %zu bytes, more than %d",
		        path_len, ROUTER_PATH_MAX - 1);
	const struct node *node = &r->root;
	int rc = walk(r, path, path_len, ret_match, &node, e);
	if (rc < 0)
		return rc;
	int index = method_index(method);
	if (index >= 0 && node->routes[index]) {
		ret_match->entry = node->routes[index];
		return 0;
	}
	list_methods(node, ret_match->allow, sizeof(ret_match->allow));
	if (!ret_match->allow[0])
		return not_found(e);
	return err_set(e, ERR_METHOD_NOT_ALLOWED, "%.32s is not possible here; these are: %s",
	        method, ret_match->allow);
}
