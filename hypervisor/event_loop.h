/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's event implementation on the core loop. libvirt may call add/update/remove from any
 * thread, and a removed handle's free callback must come later, from the loop, never from inside
 * remove.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"

/* Registers with libvirt; once per process, before any connection. Core loop. */
int event_loop_register(struct loop *loop, struct err *e);
/* As loop_post to that loop, for what libvirt's threads call at any time. False: the loop is gone, nothing was taken. */
bool event_loop_post(void (*fn)(void *arg), void *arg);
/* Core loop, before the loop is freed at the process's end: a thread that still hangs in libvirt may return and find none. */
void event_loop_detach(void);
