/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until a VM is seen in a power state. Core loop only. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/vm_live.h"

struct vm_power_wait {
	struct vm_power_wait *next;
	struct vms *vms;
	char vm_id[UUID_TEXT_SIZE];
	enum vm_power power;
	struct loop_timer *timer; /* owned */
	void (*fn)(void *arg, bool reached);
	void *arg;
};

static void unlink_wait(struct vms *vms, struct vm_power_wait *wait)
{
	for (struct vm_power_wait **p = &vms->waits; *p; p = &(*p)->next)
		if (*p == wait) {
			*p = wait->next;
			return;
		}
}

static void free_wait(struct vm_power_wait *wait)
{
	loop_timer_free(wait->timer);
	free(wait);
}

/* Of a wait that is unlinked already. */
static void end_wait(struct vm_power_wait *wait, bool reached)
{
	void (*fn)(void *arg, bool reached) = wait->fn;
	void *arg = wait->arg;
	free_wait(wait);
	fn(arg, reached);
}

static void on_timeout(void *arg)
{
	struct vm_power_wait *wait = arg;
	const struct vm_live *live = vms_find(wait->vms, wait->vm_id);
	bool reached = live && live->power == wait->power;
	unlink_wait(wait->vms, wait);
	end_wait(wait, reached);
}

void vms_wait_power(struct vms *vms, const char *vm_id, enum vm_power power, int64_t timeout_ms,
        void (*fn)(void *arg, bool reached), void *arg)
{
	struct vm_power_wait *wait = xcalloc(1, sizeof(*wait));
	*wait = (struct vm_power_wait){
	        .next = vms->waits, .vms = vms, .power = power, .fn = fn, .arg = arg};
	uuid_text_copy(wait->vm_id, vm_id);
	vms->waits = wait;
	const struct vm_live *live = vms_find(vms, vm_id);
	bool there = live && live->power == power;
	wait->timer = loop_timer_start(
	        vms->config.services->loop, there ? 0 : timeout_ms, 0, on_timeout, wait);
}

/* Unlinks and returns a wait for what is seen now, or NULL. */
static struct vm_power_wait *take_reached(struct vms *vms, const struct vm_live *live)
{
	for (struct vm_power_wait **p = &vms->waits; *p; p = &(*p)->next) {
		struct vm_power_wait *wait = *p;
		if (wait->power == live->power && strcmp(wait->vm_id, live->id) == 0) {
			*p = wait->next;
			return wait;
		}
	}
	return NULL;
}

void vms_wake_waits(struct vms *vms, const struct vm_live *live)
{
	struct vm_power_wait *wait;
	while ((wait = take_reached(vms, live))) /* what it calls may begin another wait */
		end_wait(wait, true);
}

void vms_free_waits(struct vms *vms)
{
	while (vms->waits) {
		struct vm_power_wait *wait = vms->waits;
		vms->waits = wait->next;
		end_wait(wait, false);
	}
}
