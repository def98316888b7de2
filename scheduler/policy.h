/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a host group's policy. */
#pragma once

enum overcommit_mode { OVERCOMMIT_STRICT, OVERCOMMIT_RATIO, OVERCOMMIT_BALLOON };
enum placement_policy { PLACEMENT_SPREAD, PLACEMENT_PACK };
