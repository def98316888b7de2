/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching an image, by libcurl. */
#include "storage/image_fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/image_address.h"

#define CONNECT_TIMEOUT_MS 20000L

struct transfer_state {
	const struct image_fetch *fetch;
	CURL *curl;
	int64_t bytes;
	int64_t moved_at; /* monotonic ms */
	int rc;           /* why we ended it ourselves */
	struct err error;
};

int image_fetch_init(struct err *e)
{
	CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
	return code == CURLE_OK ? 0
	                        : err_set(e, ERR_INTERNAL, "libcurl: %s", curl_easy_strerror(code));
}

static int too_large(struct transfer_state *t, int64_t bytes)
{
	t->rc = err_set(&t->error, ERR_TOO_LARGE, "it has %s%lld bytes, more than the %lld allowed",
	        bytes > t->bytes ? "" : "more than ", (long long)bytes,
	        (long long)t->fetch->max_bytes);
	err_numbers(&t->error, "{\"limit_bytes\":%lld}", (long long)t->fetch->max_bytes);
	return t->rc;
}

static int check_room(struct transfer_state *t, int64_t bytes)
{
	const struct image_fetch *fetch = t->fetch;
	return t->rc = fetch->check_room ? fetch->check_room(fetch->arg, bytes, &t->error) : 0;
}

static int write_all(struct transfer_state *t, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = write(t->fetch->fd, bytes, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return t->rc = err_set_errno(&t->error, errno, "writing the image");
		bytes += done;
		n -= (size_t)done;
	}
	return 0;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *arg)
{
	struct transfer_state *t = arg;
	size_t n = size * count;
	if ((int64_t)n > t->fetch->max_bytes - t->bytes) {
		too_large(t, t->fetch->max_bytes);
		return 0;
	}
	if (check_room(t, t->bytes + (int64_t)n) < 0)
		return 0;
	if (write_all(t, bytes, n) < 0)
		return 0;
	t->bytes += (int64_t)n;
	t->moved_at = clock_now_ms();
	return n;
}

/* Called about once a second and whenever something moved; not 0 ends the transfer. */
static int on_progress(
        void *arg, curl_off_t total, curl_off_t done, curl_off_t up_total, curl_off_t up_done)
{
	struct transfer_state *t = arg;
	(void)done;
	(void)up_total;
	(void)up_done;
	const struct image_fetch *fetch = t->fetch;
	if (fetch->is_cancelled && fetch->is_cancelled(fetch->arg))
		return t->rc = err_set(&t->error, ERR_CANCELLED, "cancelled");
	if (total > fetch->max_bytes)
		return too_large(t, total);
	if (total > 0 && check_room(t, total) < 0)
		return t->rc;
	if (clock_now_ms() - t->moved_at > fetch->stall_ms)
		return t->rc = err_set(&t->error, ERR_DEADLINE,
		               "nothing came for %lld s, after %lld bytes",
		               (long long)fetch->stall_ms / 1000, (long long)t->bytes);
	if (fetch->on_progress)
		fetch->on_progress(fetch->arg, t->bytes, total > 0 ? total : 0);
	return 0;
}

static void refuse_address(struct transfer_state *t, const struct curl_sockaddr *address)
{
	char text[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr *a = &address->addr;
	if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, text,
		        sizeof(text));
	else if (a->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
		        text, sizeof(text));
	t->rc = err_set(&t->error, ERR_UNPROCESSABLE,
	        "it leads to %s, which is no public address: it is not fetched", text);
	err_hint(&t->error, "option images.allow_private_networks");
}

/* Before each connection, with the address it goes to. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer_state *t = arg;
	(void)purpose;
	if (!t->fetch->allow_private_networks &&
	        !image_address_is_public(&address->addr, (socklen_t)address->addrlen)) {
		refuse_address(t, address);
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void set_options(struct transfer_state *t)
{
	CURL *c = t->curl;
	const struct image_fetch *fetch = t->fetch;
	/* From https it never goes on without. */
	const char *redirects = str_starts_with(fetch->url, "https:") ? "https" : "http,https";
	curl_easy_setopt(c, CURLOPT_URL, fetch->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, redirects);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)IMAGE_FETCH_REDIRECTS);
	curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->max_bytes);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "berth/" BERTH_VERSION);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
}

static int explain(struct transfer_state *t, CURLcode code, const char *text, struct err *e)
{
	long status = 0;
	if (t->rc < 0) {
		if (e)
			*e = t->error;
		return t->rc;
	}
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_HTTP_RETURNED_ERROR:
		return err_set(e, ERR_UNPROCESSABLE, "its server answered %ld", status);
	case CURLE_FILESIZE_EXCEEDED:
		return err_set(e, ERR_TOO_LARGE, "it has more than the %lld bytes allowed",
		        (long long)t->fetch->max_bytes);
	case CURLE_TOO_MANY_REDIRECTS:
		return err_set(e, ERR_UNPROCESSABLE, "it was redirected more than %d times",
		        IMAGE_FETCH_REDIRECTS);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, ERR_DEADLINE, "its server did not answer in time");
	default:
		return err_set(e, ERR_UNPROCESSABLE, "fetching it failed: %s",
		        text[0] ? text : curl_easy_strerror(code));
	}
}

int image_fetch_run(const struct image_fetch *fetch, int64_t *ret_bytes, struct err *e)
{
	char text[CURL_ERROR_SIZE] = "";
	struct transfer_state t = {.fetch = fetch, .moved_at = clock_now_ms()};
	t.curl = curl_easy_init();
	if (!t.curl)
		return err_set(e, ERR_INTERNAL, "libcurl could not be started");
	set_options(&t);
	curl_easy_setopt(t.curl, CURLOPT_ERRORBUFFER, text);
	int rc = explain(&t, curl_easy_perform(t.curl), text, e);
	curl_easy_cleanup(t.curl);
	if (rc == 0)
		*ret_bytes = t.bytes;
	return rc;
}
