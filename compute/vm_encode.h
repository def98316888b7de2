/* SPDX-License-Identifier: Apache-2.0 */
/* A VM as the API answers it. */
#pragma once

#include "base/json_writer.h"
#include "compute/vm_store.h"

/* Writes the resource; the stored configuration is spliced in as it is, with what the guest has now (memory_bytes; -1: not
 * known). Any thread, pure. */
void vm_encode(const struct vm_row *row, int64_t memory_bytes, struct json_writer *w);
