/* SPDX-License-Identifier: Apache-2.0 */
/* Who asked, out of a request. */
#include "api/request_asked.h"

struct vm_request request_vm(const struct request *rq)
{
	return (struct vm_request){
	        .requested_by = rq->principal.name, .request_id = rq->id, .wait_ms = rq->wait_ms};
}

struct operation_asked request_asked(const struct request *rq, int64_t deadline_ms)
{
	return (struct operation_asked){.requested_by = rq->principal.name,
	        .request_id = rq->id,
	        .deadline_ms = deadline_ms};
}
