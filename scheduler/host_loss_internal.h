/* SPDX-License-Identifier: Apache-2.0 */
/* The packing behind host_loss.h. */
#pragma once

#include "scheduler/host_loss.h"

void load_move(struct load *to, const struct load *what, int64_t times);
/* What it does not ask for does not matter, even if more of it is held than there is. */
bool load_fits(const struct load *left, int64_t threads, const struct loss_item *item);
bool loss_is_own(const struct host_loss *l, const struct vm_entry *vm);
struct loss_item loss_item_of(const struct host_loss *l, const struct vm_entry *vm);

/* Whether the others take all that is on the lost host, the item lying on `with_item`
 * (LOSS_NOWHERE: it is not placed). */
bool loss_pack(struct host_loss *l, size_t lost, size_t with_item);
/* Packs every loss once, and again with the item wherever it would be in the way. */
void loss_settle(struct host_loss *l);
