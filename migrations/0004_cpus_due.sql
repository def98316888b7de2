-- SPDX-License-Identifier: Apache-2.0
-- CPUs that VMs own are taken from those that run already (docs/decisions/0015-owned-cpus.md).

ALTER TABLE reservation ADD COLUMN cpus_due INTEGER NOT NULL DEFAULT 0; -- 1: its process may be elsewhere than `cpus`
