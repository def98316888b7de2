/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guard process (compute/freeze_guard.h) does with the hypervisor: freezes a guest's filesystems, waits until it is
 * told or the hold is over, and thaws until the agent itself says that they are.
 *
 *	status -> not answered, frozen by others ------------------------------> REFUSED, nothing was done
 *	   | thawed
 *	freeze -> done: FROZEN -> wait -+-> thaw, status -+-> "thawed", no guest: THAWED
 *	   +----> UNANSWERED -----------+        ^ pause  |-> after deadline_ms: GAVE_UP
 *	                                         +--------+
 *
 * One thread, blocking, on a connection of its own that hears no events.
 */
#pragma once

#include "hypervisor/driver.h"

enum freeze_news {
	FREEZE_NEWS_FROZEN,     /* rc: how many filesystems; 0: the guest has none to be frozen */
	FREEZE_NEWS_REFUSED,    /* the last news: nothing was frozen */
	FREEZE_NEWS_UNANSWERED, /* the guest may freeze yet, and is thawed then */
	FREEZE_NEWS_THAWED, /* the last news; rc 0: frozen without a gap until told; ERR_DEADLINE: not so */
	FREEZE_NEWS_GAVE_UP, /* the last news */
};

struct freeze_watch {
	const char *uri, *vm_id;
	bool freeze; /* false: thaw at once what someone left */
	int hold_ms, pause_ms;
	int64_t deadline_ms; /* for thawing */
	/* True: told to thaw, or nobody is there any more; false: time is up. */
	bool (*wait)(void *arg, int timeout_ms);
	void (*tell)(void *arg, enum freeze_news news, int rc, const struct err *e);
	void *arg;
};
/* Returns after the last news. */
void freeze_watch_run(const struct freeze_watch *watch);
