/* SPDX-License-Identifier: Apache-2.0 */
/* Which libvirt URIs a user may register: known schemes, well-formed hosts, known parameters only.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Accepts qemu:///system, qemu+unix:///system[?socket=PATH],
 * qemu+ssh://[user@]host[:port]/system[?keyfile=,proxy=; no_verify is
 * refused], qemu+tls://host[:port]/system[?pkipath=], qemu+tcp:// only if `allow_plain_tcp`,
 * test:///default and test:///PATH, fake:/// only if fakes are enabled. No user-chosen command, no
 * `command=`, `netcat=` or unknown parameter: those run programs. *ret_is_local: files on that host
 * are files of this machine. Pure.
 */
int uri_check(const char *uri, bool allow_plain_tcp, bool *ret_is_local, struct err *e);
