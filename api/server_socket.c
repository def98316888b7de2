/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets and who is at the other end of a unix socket. Start-up, and HTTP threads on
 * accept. */
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/server_internal.h"
#include "base/cleanup.h"

#define BACKLOG    1024
#define GROUPS_MAX 256

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	const struct in6_addr *in6 =
	        &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

static int check_address(const struct sockaddr *address, bool has_tls, struct err *e)
{
	if (has_tls || is_loopback(address))
		return 0;
	char text[64] = "?";
	getnameinfo(address,
	        address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
	                                      : sizeof(struct sockaddr_in6),
	        text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	err_set(e, ERR_INVALID, "listening on %s, beyond loopback, needs TLS", text);
	return err_hint(e, "set a certificate and key, or listen on 127.0.0.1");
}

/* Splits "HOST:PORT" or "[HOST]:PORT". */
static bool split_address(const char *text, char *host, size_t host_size, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	if (!colon || !colon[1])
		return false;
	size_t len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= host_size)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = colon + 1;
	return true;
}

/* The port lies at the same place in the addresses of both families. */
static int bound_port(int fd)
{
	struct sockaddr_in6 address = {0};
	socklen_t len = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return 0;
	return ntohs(address.sin6_port);
}

/* TAKE for a descriptor. */
static int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

static int bind_and_listen(int fd, const struct sockaddr *address, socklen_t len)
{
	return bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0 ? 0 : -1;
}

static int open_tcp(const struct addrinfo *info, const char *text, int *ret_fd, struct err *e)
{
	CLEANUP(cleanup_fd)
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1;
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (fd < 0 || bind_and_listen(fd, info->ai_addr, info->ai_addrlen) < 0)
		return err_set_errno(e, errno, "cannot listen on %s", text);
	*ret_fd = take_fd(&fd);
	return 0;
}

int server_listen_tcp(const char *address, bool has_tls, int *ret_fd, int *ret_port, struct err *e)
{
	char host[64];
	const char *port;
	if (!split_address(address, host, sizeof(host), &port))
		return err_set(e, ERR_INVALID, "'%s' is not ADDR:PORT", address);
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
	        .ai_socktype = SOCK_STREAM,
	        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *info = NULL;
	int failed = getaddrinfo(host, port, &hints, &info);
	if (failed)
		return err_set(
		        e, ERR_INVALID, "'%s' is not ADDR:PORT: %s", address, gai_strerror(failed));
	int rc = check_address(info->ai_addr, has_tls, e);
	if (rc == 0)
		rc = open_tcp(info, address, ret_fd, e);
	freeaddrinfo(info);
	if (rc == 0)
		*ret_port = bound_port(*ret_fd);
	return rc;
}

int server_check_inherited(int fd, bool has_tls, int *ret_port, struct err *e)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return err_set_errno(e, errno, "inherited socket %d", fd);
	if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
		return err_set(e, ERR_INVALID, "inherited socket %d is not a TCP socket", fd);
	*ret_port = bound_port(fd);
	return check_address((struct sockaddr *)&address, has_tls, e);
}

/* Only a file that is a socket without a listener is removed. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_IN_USE, "%s exists and is not a socket", path);
	CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "socket");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return err_set(e, ERR_IN_USE, "another server listens on %s", path);
	if (errno != ECONNREFUSED)
		return err_set_errno(e, errno, "%s", path);
	return unlink(path) == 0 ? 0 : err_set_errno(e, errno, "cannot remove stale %s", path);
}

static bool find_group(const char *name, gid_t *ret_gid)
{
	struct group entry, *found = NULL;
	char buffer[4096];
	if (!name || getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
		return false;
	*ret_gid = entry.gr_gid;
	return true;
}

/* The rights are set before anybody can connect: bound with none, then opened, then listening. */
static int open_unix(
        const struct sockaddr_un *address, const char *group, int *ret_fd, struct err *e)
{
	CLEANUP(cleanup_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "socket");
	const char *path = address->sun_path;
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return err_set_errno(e, errno, "cannot bind %s", path);
	gid_t gid;
	if (find_group(group, &gid) && chown(path, (uid_t)-1, gid) < 0 && errno != EPERM)
		return err_set_errno(e, errno, "cannot give %s to group %s", path, group);
	if (chmod(path, 0660) < 0 || listen(fd, BACKLOG) < 0)
		return err_set_errno(e, errno, "cannot listen on %s", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int server_listen_unix(const char *path, const char *group, int *ret_fd, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, ERR_INVALID, "the socket path has %zu bytes, more than %zu: %s",
		        strlen(path), sizeof(address.sun_path) - 1, path);
	strcpy(address.sun_path, path);
	int rc = remove_stale(path, &address, e);
	return rc < 0 ? rc : open_unix(&address, group, ret_fd, e);
}

static bool is_member(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);
	if (primary == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

void server_identify_unix_peer(int fd, const char *group, struct peer *ret_peer)
{
	struct ucred credentials = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	socklen_t len = sizeof(credentials);
	*ret_peer = (struct peer){.is_unix = true};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) < 0)
		return;
	gid_t gid;
	ret_peer->is_admin = credentials.uid == 0 ||
	                     (find_group(group, &gid) && is_member(fd, credentials.gid, gid));
	struct passwd entry, *found = NULL;
	char buffer[4096];
	if (getpwuid_r(credentials.uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(ret_peer->name, sizeof(ret_peer->name), "%.48s@unix", entry.pw_name);
	else
		snprintf(ret_peer->name, sizeof(ret_peer->name), "uid%u@unix", credentials.uid);
}
