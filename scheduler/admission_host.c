/* SPDX-License-Identifier: Apache-2.0 */
/* One guest beside the bare limits of a host. */
#include "scheduler/admission.h"

#include <inttypes.h>

static int check_vcpus(const struct admission_host *host, int64_t vcpus, struct err *e)
{
	if (host->cpu_threads <= 0 || vcpus <= host->cpu_threads)
		return 0;
	err_set_at(e, ERR_UNPROCESSABLE, "/cpu/count",
	        "%" PRId64 " vCPUs were asked for, host \"%s\" has %" PRId64 " CPU threads", vcpus,
	        host->name, host->cpu_threads);
	err_numbers(e, "{\"asked_vcpus\":%" PRId64 ",\"host_threads\":%" PRId64 "}", vcpus,
	        host->cpu_threads);
	return err_hint(
	        e, "ask for at most %" PRId64 " vCPUs, or choose a larger host", host->cpu_threads);
}

static int64_t usable_bytes(const struct admission_host *host)
{
	if (host->reserved_bytes <= 0)
		return host->memory_bytes;
	return host->reserved_bytes < host->memory_bytes ? host->memory_bytes - host->reserved_bytes
	                                                 : 0;
}

static int check_memory(const struct admission_host *host, int64_t memory_bytes, struct err *e)
{
	if (host->memory_bytes <= 0 || memory_bytes <= usable_bytes(host))
		return 0;
	err_set_at(e, ERR_UNPROCESSABLE, "/memory/size_bytes",
	        "%" PRId64 " bytes of memory were asked for, host \"%s\" has %" PRId64
	        ", of which %" PRId64 " are reserved for the host",
	        memory_bytes, host->name, host->memory_bytes, host->reserved_bytes);
	err_numbers(e,
	        "{\"asked_bytes\":%" PRId64 ",\"host_bytes\":%" PRId64
	        ",\"reserved_bytes\":%" PRId64 "}",
	        memory_bytes, host->memory_bytes, host->reserved_bytes);
	return err_hint(e, "ask for at most %" PRId64 " bytes, or choose a larger host",
	        usable_bytes(host));
}

int admission_check(
        const struct admission_host *host, int64_t vcpus, int64_t memory_bytes, struct err *e)
{
	int rc = check_vcpus(host, vcpus, e);
	return rc < 0 ? rc : check_memory(host, memory_bytes, e);
}
