/* SPDX-License-Identifier: Apache-2.0 */
/* Images as templates of VMs. */
#pragma once

#include "api/route.h"

/* Whether the body's vm_defaults, if there are any, could be part of a VM: adds what is wrong to rq->errors. */
int image_check_vm_defaults(struct request *rq);
