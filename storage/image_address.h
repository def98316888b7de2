/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses and URLs images may be fetched from. Pure. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

/* Whether it belongs to the public Internet: not private, loopback, link-local, multicast, reserved or for
 * documentation; of IPv6 forms that carry an IPv4 address, that one counts too. */
bool image_address_is_public(const struct sockaddr *address, socklen_t len);
/* http or https, with a host, without user or password. ERR_INVALID at /url. */
int image_url_check(const char *url, struct err *e);
