/* SPDX-License-Identifier: Apache-2.0 */
/* Who asked, as the mutations of compute/ and storage/ are told it. The texts are borrowed from the request. */
#pragma once

#include "api/route.h"
#include "compute/vm.h"
#include "operation/operation.h"

struct vm_request request_vm(const struct request *rq);
/* `deadline_ms`: wall clock, when work stops waiting for its host; 0: the engine's patience. */
struct operation_asked request_asked(const struct request *rq, int64_t deadline_ms);
