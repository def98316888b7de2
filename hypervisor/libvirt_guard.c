/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's client waits for answers in a loop of its own: the thread that waits attaches a temporary GSource whose data
 * lies on its stack, runs the loop, and counts on the source's callback to remove the source. When another thread
 * wakes it up instead, because it has a call to send, the source stays attached; the next thread that runs the
 * loop calls it with a stack that is gone. libvirt 10.4 destroys the source after each run (CVE-2024-4418);
 * Debian 12 has 9.0 without that. Seen here as SIGSEGV in g_main_context_dispatch below virNetClientSendWithReply.
 *
 * The guard does from outside what the fix does inside: it stands before GLib's g_source_attach and g_main_loop_run
 * (the program's symbols come first), remembers per thread what was attached last, and destroys it when that
 * thread's loop over the same context has ended. A source that has removed itself is destroyed already: then
 * nothing happens. A libvirt with the fix is not disturbed.
 *
 * The wake-up itself can be lost, too: the thread with a call to send quits the other one's loop, and when that one has
 * let go of the connection but is not in the loop yet, GLib forgets it. The call is then sent with the next one: seen as
 * calls that took until the next heartbeat beside one that hung (each 16th). So a quit from another thread also leaves a
 * source behind which quits the loop once it runs; at worst it runs once more than needed.
 */
#include "hypervisor/libvirt_guard.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

/* GLib's types, opaque here: its headers are not needed to build. */
typedef struct _GSource GSource;
typedef struct _GMainContext GMainContext;
typedef struct _GMainLoop GMainLoop;

unsigned g_source_attach(GSource *source, GMainContext *context);
void g_main_loop_run(GMainLoop *loop);
void g_main_loop_quit(GMainLoop *loop);

static struct {
	unsigned (*attach)(GSource *source, GMainContext *context);
	void (*run)(GMainLoop *loop);
	GMainContext *(*get_context)(GMainLoop *loop);
	GSource *(*ref)(GSource *source);
	void (*unref)(GSource *source);
	void (*destroy)(GSource *source);
	void (*quit)(GMainLoop *loop);
	GMainLoop *(*ref_loop)(GMainLoop *loop);
	void (*unref_loop)(void *loop);
	int (*is_owner)(GMainContext *context);
	GSource *(*new_idle)(void);
	void (*set_priority)(GSource *source, int priority);
	void (*set_callback)(
	        GSource *source, int (*call)(void *loop), void *loop, void (*release)(void *loop));
} glib; /* immutable after libvirt_guard_init */

/* Of this thread: between an attach and the end of the loop that serves it. */
static _Thread_local GSource *attached; /* a reference */
static _Thread_local GMainContext *attached_to;

static pthread_key_t thread_end;

static void forget(void *unused)
{
	(void)unused;
	if (attached)
		glib.unref(attached);
	attached = NULL;
	attached_to = NULL;
}

void libvirt_guard_init(void)
{
	if (glib.attach)
		return;
	pthread_key_create(&thread_end, forget);
	glib.attach = (unsigned (*)(GSource *, GMainContext *))dlsym(RTLD_NEXT, "g_source_attach");
	glib.run = (void (*)(GMainLoop *))dlsym(RTLD_NEXT, "g_main_loop_run");
	glib.get_context =
	        (GMainContext * (*)(GMainLoop *)) dlsym(RTLD_DEFAULT, "g_main_loop_get_context");
	glib.ref = (GSource * (*)(GSource *)) dlsym(RTLD_DEFAULT, "g_source_ref");
	glib.unref = (void (*)(GSource *))dlsym(RTLD_DEFAULT, "g_source_unref");
	glib.destroy = (void (*)(GSource *))dlsym(RTLD_DEFAULT, "g_source_destroy");
	glib.quit = (void (*)(GMainLoop *))dlsym(RTLD_NEXT, "g_main_loop_quit");
	glib.ref_loop = (GMainLoop * (*)(GMainLoop *)) dlsym(RTLD_DEFAULT, "g_main_loop_ref");
	glib.unref_loop = (void (*)(void *))dlsym(RTLD_DEFAULT, "g_main_loop_unref");
	glib.is_owner = (int (*)(GMainContext *))dlsym(RTLD_DEFAULT, "g_main_context_is_owner");
	glib.new_idle = (GSource * (*)(void)) dlsym(RTLD_DEFAULT, "g_idle_source_new");
	glib.set_priority = (void (*)(GSource *, int))dlsym(RTLD_DEFAULT, "g_source_set_priority");
	glib.set_callback = (void (*)(GSource *, int (*)(void *), void *, void (*)(void *)))dlsym(
	        RTLD_DEFAULT, "g_source_set_callback");
}

unsigned g_source_attach(GSource *source, GMainContext *context)
{
	libvirt_guard_init(); /* a constructor somewhere may be earlier than main */
	forget(NULL);
	attached = glib.ref(source);
	pthread_setspecific(thread_end, source);
	attached_to = context;
	return glib.attach(source, context);
}

void g_main_loop_run(GMainLoop *loop)
{
	libvirt_guard_init();
	glib.run(loop);
	if (attached && attached_to == glib.get_context(loop)) {
		glib.destroy(attached);
		forget(NULL);
	}
}

/* In the loop's thread; 0: not again. */
static int quit_now(void *loop)
{
	glib.quit(loop);
	return 0;
}

void g_main_loop_quit(GMainLoop *loop)
{
	libvirt_guard_init();
	glib.quit(loop);
	GMainContext *context = glib.get_context(loop);
	if (glib.is_owner(context))
		return;
	GSource *later = glib.new_idle();
	glib.set_priority(later, 0);
	glib.set_callback(later, quit_now, glib.ref_loop(loop), glib.unref_loop);
	glib.attach(later, context);
	glib.unref(later);
}
