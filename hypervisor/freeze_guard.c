/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's work with the hypervisor. Its own thread, blocking. */
#include "hypervisor/freeze_guard.h"

#include <time.h>

#include "base/clock.h"

/* A link that is opened when it is needed, and again after an error that may be its own. */
struct link {
	const struct freeze_watch *watch;
	const struct driver *driver;
	struct driver_connection *c; /* NULL: closed */
};

static int open_link(struct link *link, struct err *e)
{
	if (link->c)
		return 0;
	link->driver = driver_for_uri(link->watch->uri);
	if (!link->driver)
		return err_set(e, ERR_UNSUPPORTED, "no driver for %s", link->watch->uri);
	if (!link->driver->freeze || !link->driver->thaw || !link->driver->freeze_status)
		return err_set(
		        e, ERR_UNSUPPORTED, "driver %s cannot freeze guests", link->driver->name);
	return link->driver->open(link->watch->uri, NULL, NULL, &link->c, e);
}

static void close_link(struct link *link)
{
	if (link->c)
		link->driver->close(link->c);
	link->c = NULL;
}

static void tell(const struct link *link, enum freeze_news news, int rc, const struct err *e)
{
	link->watch->tell(link->watch->arg, news, rc, e);
}

/* Nothing that freezes is sent to an agent that does not answer this. */
static int check_thawed(struct link *link, struct err *e)
{
	enum freeze_status status = FREEZE_THAWED;
	int rc = open_link(link, e);
	if (rc == 0)
		rc = link->driver->freeze_status(link->c, link->watch->vm_id, &status, e);
	if (rc < 0 || status == FREEZE_THAWED)
		return rc;
	err_set(e, ERR_WRONG_STATE, "the guest's filesystems are frozen already, by someone else");
	return err_hint(e, "virsh domfsthaw, once it is known why");
}

/* Waits while the guest is frozen: 0 when told in time and the guest is frozen still, if anything was (n > 0). */
static int hold(struct link *link, int n, struct err *e)
{
	const struct freeze_watch *w = link->watch;
	enum freeze_status status = FREEZE_THAWED;
	if (!w->wait(w->arg, w->hold_ms))
		return err_set(e, ERR_DEADLINE,
		        "the guest was thawed after %d ms, before the work was done", w->hold_ms);
	if (n > 0 && (link->driver->freeze_status(link->c, w->vm_id, &status, e) < 0 ||
	                     status != FREEZE_FROZEN))
		return err_set(e, ERR_DEADLINE, "the guest did not stay frozen");
	return 0;
}

static void pause_a_little(int pause_ms)
{
	const struct timespec pause = {
	        .tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000L};
	nanosleep(&pause, NULL);
}

/* Asked for itself: a broken connection may look like a guest that does not run. */
static bool has_no_process(struct link *link)
{
	struct domain_info info = {0};
	int rc = link->driver->get_domain(link->c, link->watch->vm_id, &info, NULL);
	bool is_off = info.state == DOMAIN_SHUTOFF || info.state == DOMAIN_CRASHED;
	domain_info_done(&info);
	return rc == ERR_NOT_FOUND || (rc == 0 && is_off);
}

/* One try: 0 when nothing is frozen (any more). */
static int thaw_once(struct link *link, struct err *e)
{
	enum freeze_status status;
	int rc = open_link(link, e);
	if (rc == 0)
		rc = link->driver->thaw(link->c, link->watch->vm_id, e);
	if (rc == 0)
		rc = link->driver->freeze_status(link->c, link->watch->vm_id, &status, e);
	if (rc == 0 && status != FREEZE_THAWED)
		rc = err_set(e, ERR_BUSY, "the guest agent says that it is still frozen");
	if (rc < 0 && link->c && has_no_process(link))
		return 0;
	if (rc < 0 && rc != ERR_BUSY)
		close_link(link);
	return rc;
}

static int thaw(struct link *link, struct err *e)
{
	int64_t until = clock_now_ms() + link->watch->deadline_ms;
	int rc;
	while ((rc = thaw_once(link, e)) < 0 && clock_now_ms() < until)
		pause_a_little(link->watch->pause_ms);
	return rc;
}

/* Negative and refused: nothing was done. */
static int freeze(struct link *link, int *ret_n, bool *ret_refused, struct err *e)
{
	int rc = check_thawed(link, e);
	*ret_refused = rc < 0;
	if (rc == 0)
		rc = link->driver->freeze(link->c, link->watch->vm_id, ret_n, e);
	return rc;
}

void freeze_watch_run(const struct freeze_watch *watch)
{
	struct link link = {.watch = watch};
	struct err e = {0}, held_error = {0};
	bool is_refused = false;
	int n = 0;
	int held = err_set(&held_error, ERR_DEADLINE, "it was not frozen by this guard");
	int rc = watch->freeze ? freeze(&link, &n, &is_refused, &e) : 0;
	if (rc < 0) {
		tell(&link, is_refused ? FREEZE_NEWS_REFUSED : FREEZE_NEWS_UNANSWERED, rc, &e);
	} else if (watch->freeze) {
		tell(&link, FREEZE_NEWS_FROZEN, n, NULL);
		held = hold(&link, n, &held_error);
	}
	if (!is_refused) {
		rc = thaw(&link, &e);
		if (rc < 0)
			tell(&link, FREEZE_NEWS_GAVE_UP, rc, &e);
		else
			tell(&link, FREEZE_NEWS_THAWED, held, held < 0 ? &held_error : NULL);
	}
	close_link(&link);
}
