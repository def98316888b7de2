/* SPDX-License-Identifier: Apache-2.0 */
/* A deep copy of host facts, which the connection lends only for a moment. Pure. */
#pragma once

#include "hypervisor/host_facts.h"

/* The copy is released with host_facts_done. */
struct host_facts host_facts_copy(const struct host_facts *facts);
