/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: BERTH_FAULT="KIND/STEP:POINT" kills the process there, for crash tests. Core loop
 * only. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "operation/operation_internal.h"

void operation_fault_init(struct fault *fault, const char *text)
{
	*fault = (struct fault){0};
	const char *slash = text ? strchr(text, '/') : NULL;
	const char *colon = slash ? strchr(slash, ':') : NULL;
	if (!colon)
		return;
	fault->kind = xstrndup(text, (size_t)(slash - text));
	fault->step = xstrndup(slash + 1, (size_t)(colon - slash - 1));
	fault->point = xstrdup(colon + 1);
	log_warning("BERTH_FAULT is set: the process will kill itself at %s", text);
}

void operation_fault_done(struct fault *fault)
{
	free(fault->kind);
	free(fault->step);
	free(fault->point);
	*fault = (struct fault){0};
}

void operation_fault_point(const struct operation *op, const char *point)
{
	const struct fault *fault = &op->engine->fault;
	if (!fault->kind || strcmp(fault->point, point) != 0 ||
	        strcmp(fault->kind, op->kind_name) != 0 ||
	        strcmp(fault->step, op->kind->steps[op->step].name) != 0)
		return;
	raise(SIGKILL);
}
