/* SPDX-License-Identifier: Apache-2.0 */
/* What the routes below /pools/{pool}/volumes/{volume} share. */
#pragma once

#include "api/route.h"
#include "storage/volume.h"

/* The volume in the request's path, on the host that its query names, if it does. */
int volumes_find(struct request *rq, struct volume_row *ret_row, struct err *e);
