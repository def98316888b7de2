-- SPDX-License-Identifier: Apache-2.0
-- A pull changes a layer's header before it is durable (docs/decisions/0017-when-a-pull-counts.md).

ALTER TABLE layer ADD COLUMN pulling INTEGER NOT NULL DEFAULT 0; -- 1: its header may name less than `backing_id` says
