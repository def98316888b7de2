/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of every HTTP figure: libmicrohttpd alone with a pool of 2 threads, answering any request with the same
 * body. Prints its port and serves until its input ends.
 *
 *	bench_http_floor [BODY_BYTES]
 */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body {
	char *data;
	size_t len;
};

static enum MHD_Result answer(void *cls, struct MHD_Connection *connection, const char *url,
        const char *method, const char *version, const char *data, size_t *len, void **request)
{
	(void)url, (void)method, (void)version, (void)data, (void)len;
	static int seen;
	const struct body *body = cls;
	if (!*request) {
		*request = &seen;
		return MHD_YES;
	}
	struct MHD_Response *response =
	        MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "application/json");
	enum MHD_Result result = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return result;
}

int main(int argc, char **argv)
{
	struct body body = {.len = argc > 1 ? strtoul(argv[1], NULL, 10) : 32};
	body.data = malloc(body.len + 1);
	if (!body.data)
		return 1;
	memset(body.data, ' ', body.len);
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
	        answer, &body, MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_END);
	if (!daemon) {
		fprintf(stderr, "bench_http_floor: the server did not start\n");
		return 1;
	}
	printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	while (getchar() != EOF)
		;
	MHD_stop_daemon(daemon);
	free(body.data);
	return 0;
}
