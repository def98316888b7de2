-- SPDX-License-Identifier: Apache-2.0
-- Allocation: what VMs hold on hosts, what groups of VMs may have at most (docs/decisions/0012-room-and-reservations.md).

-- One row as long as the VM has, or may have, a process on that host.
CREATE TABLE reservation (
	vm_id               TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
	host_id             TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
	state               TEXT NOT NULL,              -- starting | running
	size_bytes          INTEGER NOT NULL,           -- what the guest boots with
	min_bytes           INTEGER NOT NULL,           -- the floor it is guaranteed
	max_bytes           INTEGER NOT NULL,           -- the ceiling for growing
	booked_bytes        INTEGER NOT NULL,           -- what it may have at this moment
	overhead_bytes      INTEGER NOT NULL,           -- of QEMU beside the guest
	vcpus               INTEGER NOT NULL,
	max_vcpus           INTEGER NOT NULL,           -- that it may be given while it runs
	reservation_percent INTEGER NOT NULL DEFAULT 0, -- of each vCPU
	dedicated           INTEGER NOT NULL DEFAULT 0, -- 1: has CPU threads of its own
	hugepages           INTEGER NOT NULL DEFAULT 0, -- 1: its size comes from the host's huge pages
	inflexible          INTEGER NOT NULL DEFAULT 0, -- 1: no balloon moves it: its floor is what it has
	cpus                TEXT,                       -- where its vCPUs and helpers are pinned, JSON; NULL: nowhere
	since               INTEGER NOT NULL,
	PRIMARY KEY (vm_id, host_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reservation_host ON reservation (host_id);

-- Copies of vm.spec's labels, to select by.
CREATE TABLE vm_label (
	vm_id TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (vm_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX vm_label_value ON vm_label (key, value);

ALTER TABLE vm ADD COLUMN placement TEXT; -- a copy of vm.spec's rules, JSON; NULL: none

CREATE TABLE quota (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL UNIQUE,
	spec       TEXT NOT NULL,              -- selector and limits as JSON (field table)
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What runs holds its room. Of floors and ceilings the columns know nothing: the daemon's next start reads them from the
-- configuration. The overhead is 32 MiB, 8 MiB for each vCPU, and size / 512.
INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, booked_bytes, overhead_bytes, vcpus,
                         max_vcpus, since)
SELECT id, host_id, 'running', memory_bytes, memory_bytes, memory_bytes, memory_bytes,
       33554432 + 8388608 * vcpus + memory_bytes / 512, vcpus, vcpus, power_since
FROM vm WHERE power IN ('running', 'paused');

-- Members that a stored configuration has from now on. In a text no quote stands without a backslash before it, so only
-- keys are met.
UPDATE vm SET
	spec = replace(replace(replace(replace(spec, '"shares":0,', ''), '"limit_percent":', '"pinning":"none","limit_percent":'),
	       '"merge":true', '"on_critical":"stay","merge":true'), '"merge":false', '"on_critical":"stay","merge":false'),
	active_spec = replace(replace(replace(replace(active_spec, '"shares":0,', ''), '"limit_percent":', '"pinning":"none","limit_percent":'),
	       '"merge":true', '"on_critical":"stay","merge":true'), '"merge":false', '"on_critical":"stay","merge":false');
UPDATE snapshot SET
	vm_spec = replace(replace(replace(replace(vm_spec, '"shares":0,', ''), '"limit_percent":', '"pinning":"none","limit_percent":'),
	       '"merge":true', '"on_critical":"stay","merge":true'), '"merge":false', '"on_critical":"stay","merge":false');
