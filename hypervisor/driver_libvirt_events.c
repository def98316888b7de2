/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's events become ours.
 *
 * Domain events are dispatched by libvirt's event implementation, which runs on the core loop,
 * while a lane thread may be closing the connection. The end of a connection is reported by
 * whichever thread noticed it. Both meet at the gate: shared by all registrations of a connection
 * (each holds a reference until libvirt calls its free callback, which may be long after the
 * connection was closed) and shut by events_unsubscribe. Its lock is held while an event is
 * delivered, so that shutting it waits for the one under way; the lock is recursive because a
 * receiver may close the connection.
 */
#include "hypervisor/driver_libvirt_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/event_loop.h"
#include "hypervisor/libvirt_error.h"

struct event_gate {
	atomic_int references;
	pthread_mutex_t mutex; /* recursive; guards is_shut */
	bool is_shut;
	struct driver_events events;
};

static struct event_gate *gate_new(const struct driver_events *events)
{
	struct event_gate *gate = xcalloc(1, sizeof(*gate));
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&gate->mutex, &attributes);
	pthread_mutexattr_destroy(&attributes);
	atomic_init(&gate->references, 1);
	gate->events = *events;
	return gate;
}

static struct event_gate *gate_ref(struct event_gate *gate)
{
	atomic_fetch_add(&gate->references, 1);
	return gate;
}

static void gate_unref(void *opaque)
{
	struct event_gate *gate = opaque;
	if (!gate || atomic_fetch_sub(&gate->references, 1) > 1)
		return;
	pthread_mutex_destroy(&gate->mutex);
	free(gate);
}

static void gate_shut(struct event_gate *gate)
{
	LOCK_SCOPE(&gate->mutex);
	gate->is_shut = true;
}

static void gate_deliver(struct event_gate *gate, const struct domain_event *event)
{
	LOCK_SCOPE(&gate->mutex);
	if (!gate->is_shut && gate->events.domain)
		gate->events.domain(gate->events.arg, event);
}

static struct domain_event event_of(virDomainPtr domain, enum domain_event_kind kind)
{
	struct domain_event event = {.kind = kind};
	virDomainGetUUIDString(domain, event.id);
	const char *name = virDomainGetName(domain);
	snprintf(event.name, sizeof(event.name), "%s", name ? name : "");
	return event;
}

static void deliver_kind(struct event_gate *gate, virDomainPtr domain, enum domain_event_kind kind)
{
	struct domain_event event = event_of(domain, kind);
	gate_deliver(gate, &event);
}

/* --- lifecycle --- */

static enum domain_reason stopped_reason(int detail)
{
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return DOMAIN_REASON_GUEST_SHUTDOWN;
	case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
		return DOMAIN_REASON_DESTROYED;
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return DOMAIN_REASON_CRASHED;
	case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
		return DOMAIN_REASON_MIGRATED;
	case VIR_DOMAIN_EVENT_STOPPED_SAVED:
		return DOMAIN_REASON_SAVED;
	default: /* FAILED is both: QEMU died, or did not come up. The state's own reason tells. */
		return DOMAIN_REASON_NONE;
	}
}

static enum domain_reason suspended_reason(int detail)
{
	switch (detail) {
	case VIR_DOMAIN_EVENT_SUSPENDED_IOERROR:
		return DOMAIN_REASON_IO_ERROR;
	case VIR_DOMAIN_EVENT_SUSPENDED_PAUSED:
		return DOMAIN_REASON_USER;
	case VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED:
		return DOMAIN_REASON_MIGRATED;
	default:
		return DOMAIN_REASON_NONE;
	}
}

static void fill_lifecycle(struct domain_event *event, int type, int detail)
{
	switch (type) {
	case VIR_DOMAIN_EVENT_DEFINED:
		event->kind = DOMAIN_EVENT_DEFINED;
		break;
	case VIR_DOMAIN_EVENT_UNDEFINED:
		event->kind = DOMAIN_EVENT_UNDEFINED;
		break;
	case VIR_DOMAIN_EVENT_STARTED:
	case VIR_DOMAIN_EVENT_RESUMED:
		event->state = DOMAIN_RUNNING;
		break;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		event->state = DOMAIN_PAUSED;
		event->reason = suspended_reason(detail);
		break;
	case VIR_DOMAIN_EVENT_STOPPED:
		event->state = DOMAIN_SHUTOFF;
		event->reason = stopped_reason(detail);
		break;
	case VIR_DOMAIN_EVENT_SHUTDOWN:
		event->state = DOMAIN_SHUTTING_DOWN;
		break;
	case VIR_DOMAIN_EVENT_PMSUSPENDED:
		event->state = DOMAIN_PMSUSPENDED;
		break;
	case VIR_DOMAIN_EVENT_CRASHED:
		event->state = DOMAIN_CRASHED;
		event->reason = DOMAIN_REASON_CRASHED;
		break;
	default: /* a newer libvirt's: the state is to be asked for */
		break;
	}
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int type, int detail, void *opaque)
{
	(void)conn;
	struct domain_event event = event_of(domain, DOMAIN_EVENT_STATE);
	fill_lifecycle(&event, type, detail);
	gate_deliver(opaque, &event);
	return 0;
}

/* --- the others --- */

static void on_reboot(virConnectPtr conn, virDomainPtr domain, void *opaque)
{
	(void)conn;
	deliver_kind(opaque, domain, DOMAIN_EVENT_REBOOT);
}

static void on_agent(virConnectPtr conn, virDomainPtr domain, int state, int reason, void *opaque)
{
	(void)conn;
	(void)state;
	(void)reason;
	deliver_kind(opaque, domain, DOMAIN_EVENT_GUEST);
}

static void on_balloon(
        virConnectPtr conn, virDomainPtr domain, unsigned long long actual, void *opaque)
{
	(void)conn;
	(void)actual;
	deliver_kind(opaque, domain, DOMAIN_EVENT_GUEST);
}

static void on_device_removed(
        virConnectPtr conn, virDomainPtr domain, const char *alias, void *opaque)
{
	(void)conn;
	struct domain_event event = event_of(domain, DOMAIN_EVENT_DEVICE_REMOVED);
	snprintf(event.device, sizeof(event.device), "%s", alias ? alias : "");
	gate_deliver(opaque, &event);
}

static void on_device_added(
        virConnectPtr conn, virDomainPtr domain, const char *alias, void *opaque)
{
	(void)conn;
	(void)alias;
	deliver_kind(opaque, domain, DOMAIN_EVENT_DEFINED);
}

static void on_io_error(virConnectPtr conn, virDomainPtr domain, const char *path,
        const char *alias, int action, const char *reason, void *opaque)
{
	(void)conn;
	(void)path;
	(void)reason;
	struct domain_event event = event_of(domain, DOMAIN_EVENT_STATE);
	bool is_paused = action == VIR_DOMAIN_EVENT_IO_ERROR_PAUSE;
	event.state = is_paused ? DOMAIN_PAUSED : DOMAIN_UNKNOWN;
	event.reason = DOMAIN_REASON_IO_ERROR;
	snprintf(event.device, sizeof(event.device), "%s", alias ? alias : "");
	gate_deliver(opaque, &event);
}

static void on_disk_change(virConnectPtr conn, virDomainPtr domain, const char *old_path,
        const char *new_path, const char *alias, int reason, void *opaque)
{
	(void)conn;
	(void)old_path;
	(void)new_path;
	(void)alias;
	(void)reason;
	deliver_kind(opaque, domain, DOMAIN_EVENT_DEFINED);
}

static void on_tunable(virConnectPtr conn, virDomainPtr domain, virTypedParameterPtr params,
        int n_params, void *opaque)
{
	(void)conn;
	(void)params;
	(void)n_params;
	deliver_kind(opaque, domain, DOMAIN_EVENT_DEFINED);
}

static void on_metadata(
        virConnectPtr conn, virDomainPtr domain, int type, const char *uri, void *opaque)
{
	(void)conn;
	(void)type;
	(void)uri;
	deliver_kind(opaque, domain, DOMAIN_EVENT_DEFINED);
}

/* Only the lifecycle is required; an old libvirtd may lack the others. */
static const struct subscription {
	int id;
	virConnectDomainEventGenericCallback callback;
} subscriptions[] = {
        {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)},
        {VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot},
        {VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error)},
        {VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_agent)},
        {VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_balloon)},
        {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed)},
        {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added)},
        {VIR_DOMAIN_EVENT_ID_DISK_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_disk_change)},
        {VIR_DOMAIN_EVENT_ID_TUNABLE, VIR_DOMAIN_EVENT_CALLBACK(on_tunable)},
        {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata)},
};
_Static_assert(ARRAY_LEN(subscriptions) <= EVENT_KINDS_MAX, "room for every registration");

/* --- the end of the connection --- */

struct closed_message {
	struct event_gate *gate; /* owned reference */
	const char *reason;      /* static */
};

static void deliver_closed(void *arg)
{
	struct closed_message *message = arg;
	struct event_gate *gate = message->gate;
	pthread_mutex_lock(&gate->mutex);
	if (!gate->is_shut && gate->events.closed)
		gate->events.closed(gate->events.arg, message->reason);
	pthread_mutex_unlock(&gate->mutex);
	gate_unref(gate);
	free(message);
}

static const char *close_reason(int reason)
{
	switch (reason) {
	case VIR_CONNECT_CLOSE_REASON_EOF:
		return "libvirtd closed the connection";
	case VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
		return "libvirtd did not answer the keepalive";
	case VIR_CONNECT_CLOSE_REASON_CLIENT:
		return "the connection was closed";
	default:
		return "the connection to libvirtd failed";
	}
}

/* Called by whichever thread saw the end, with libvirt's locks held: only a message to the loop. */
static void on_close(virConnectPtr conn, int reason, void *opaque)
{
	(void)conn;
	struct event_gate *gate = opaque;
	LOCK_SCOPE(&gate->mutex);
	if (gate->is_shut)
		return;
	struct closed_message *message = xcalloc(1, sizeof(*message));
	message->gate = gate_ref(gate);
	message->reason = close_reason(reason);
	if (event_loop_post(deliver_closed, message))
		return;
	gate_unref(message->gate); /* not the last: `gate` is the connection's */
	free(message);
}

/* --- subscribing --- */

static int register_event(struct driver_connection *c, size_t i)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): c holds a reference of its own */
	struct event_gate *gate = gate_ref(c->gate);
	int id = virConnectDomainEventRegisterAny(
	        c->libvirt, NULL, subscriptions[i].id, subscriptions[i].callback, gate, gate_unref);
	if (id < 0)
		gate_unref(c->gate); /* libvirt did not take the reference */
	return id;
}

/* Drivers in this process never break, and would not give the reference back. */
static void register_close(struct driver_connection *c)
{
	if (c->is_test)
		return;
	int r = virConnectRegisterCloseCallback(
	        c->libvirt, on_close, gate_ref(c->gate), gate_unref);
	c->has_close_callback = r == 0;
	if (r < 0)
		gate_unref(c->gate);
}

int libvirt_events_subscribe(
        struct driver_connection *c, const struct driver_events *events, struct err *e)
{
	c->gate = gate_new(events);
	register_close(c);
	for (size_t i = 0; i < ARRAY_LEN(subscriptions); i++) {
		c->event_ids[i] = register_event(c, i);
		if (c->event_ids[i] < 0 && subscriptions[i].id == VIR_DOMAIN_EVENT_ID_LIFECYCLE)
			return libvirt_error_take(e, "subscribing to events");
	}
	return 0;
}

void libvirt_events_unsubscribe(struct driver_connection *c)
{
	if (!c->gate)
		return;
	gate_shut(c->gate);
	for (size_t i = 0; i < ARRAY_LEN(subscriptions); i++)
		if (c->event_ids[i] >= 0)
			virConnectDomainEventDeregisterAny(c->libvirt, c->event_ids[i]);
	if (c->has_close_callback)
		virConnectUnregisterCloseCallback(c->libvirt, on_close);
	gate_unref(c->gate);
	c->gate = NULL;
}
