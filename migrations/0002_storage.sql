-- SPDX-License-Identifier: Apache-2.0
-- Storage: pools of many kinds, layers (files of a backing chain), images, snapshots.

ALTER TABLE pool ADD COLUMN spec TEXT NOT NULL DEFAULT '{}';       -- the configuration as JSON (field table)
ALTER TABLE pool ADD COLUMN secret TEXT;                           -- of its user; never answered
ALTER TABLE pool ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;     -- 1: one content, whichever host looks
ALTER TABLE pool ADD COLUMN state TEXT NOT NULL DEFAULT 'ready';   -- creating | ready | deleting

-- How a host sees a pool. Without a row it has not been looked at.
CREATE TABLE pool_host (
	pool_id          TEXT NOT NULL REFERENCES pool (id) ON DELETE CASCADE,
	host_id          TEXT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
	state            TEXT NOT NULL,              -- ok | error | unknown
	reason           TEXT NOT NULL DEFAULT '',
	since            INTEGER NOT NULL,
	capacity_bytes   INTEGER NOT NULL DEFAULT 0, -- as last seen
	allocation_bytes INTEGER NOT NULL DEFAULT 0,
	available_bytes  INTEGER NOT NULL DEFAULT 0,
	checked_at       INTEGER NOT NULL DEFAULT 0,
	warned           INTEGER NOT NULL DEFAULT 0, -- 1: its event "filling" was sent and still holds
	PRIMARY KEY (pool_id, host_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX pool_host_host ON pool_host (host_id);

CREATE TABLE image (
	id             TEXT PRIMARY KEY NOT NULL,
	name           TEXT NOT NULL UNIQUE,
	spec           TEXT NOT NULL,                -- what a user wrote, as JSON (field table)
	state          TEXT NOT NULL,                -- uploading | importing | ready | failed | deleting
	reason         TEXT NOT NULL DEFAULT '',     -- why it failed
	source_format  TEXT NOT NULL DEFAULT '',     -- qcow2 | raw | vmdk | vdi | ova: as uploaded
	size_bytes     INTEGER NOT NULL DEFAULT 0,   -- as guests see it
	file_bytes     INTEGER NOT NULL DEFAULT 0,   -- of our copy, a qcow2 file
	received_bytes INTEGER NOT NULL DEFAULT 0,   -- of the upload, durable
	total_bytes    INTEGER NOT NULL DEFAULT 0,   -- of the upload; 0: not told yet
	sha256         TEXT NOT NULL DEFAULT '',     -- of what was uploaded, hexadecimal
	version        INTEGER NOT NULL DEFAULT 1,
	created_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_created ON image (created_at, id);

-- host_id NULL: in a shared pool, reached through any of its hosts.
CREATE TABLE volume_new (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL,
	pool_id    TEXT NOT NULL REFERENCES pool (id),
	host_id    TEXT REFERENCES host (id),
	format     TEXT NOT NULL,                -- qcow2 | raw; as created; recorded, never probed
	size_bytes INTEGER NOT NULL,
	state      TEXT NOT NULL,                -- creating | ready | deleting
	layer_id   TEXT NOT NULL REFERENCES layer (id) DEFERRABLE INITIALLY DEFERRED, -- the one written to
	vm_id      TEXT REFERENCES vm (id) ON DELETE SET NULL,
	disk       TEXT,                         -- the disk's name in that VM
	drift      TEXT NOT NULL DEFAULT '',     -- how its files differ from what is recorded; '': they do not
	next_backup_full INTEGER NOT NULL DEFAULT 1, -- 1: there is no bitmap to build an increment on
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO volume_new (id, name, pool_id, host_id, format, size_bytes, state, layer_id, vm_id, disk, version, created_at)
SELECT id, name, pool_id, host_id, format, size_bytes, state, id, vm_id, disk, version, created_at FROM volume;

-- One file (or block device, or object) of a backing chain.
CREATE TABLE layer (
	id               TEXT PRIMARY KEY NOT NULL,
	pool_id          TEXT NOT NULL REFERENCES pool (id),
	host_id          TEXT REFERENCES host (id),
	file             TEXT NOT NULL,              -- its name in the pool
	format           TEXT NOT NULL,              -- qcow2 | raw; recorded, never probed
	size_bytes       INTEGER NOT NULL,           -- as guests see it
	backing_id       TEXT REFERENCES layer (id), -- the layer below
	volume_id        TEXT REFERENCES volume (id) DEFERRABLE INITIALLY DEFERRED, -- whose disk it belongs to
	image_id         TEXT REFERENCES image (id), -- whose copy in this pool it is
	state            TEXT NOT NULL,              -- creating | ready | deleting
	allocation_bytes INTEGER NOT NULL DEFAULT 0, -- as last seen
	drift            TEXT NOT NULL DEFAULT '',   -- how the file differs from what is recorded; '': it does not
	created_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, volume_id, state, created_at)
SELECT id, pool_id, host_id, id || '.' || format, format, size_bytes, id, state, created_at FROM volume;

DROP TABLE volume;
ALTER TABLE volume_new RENAME TO volume;
CREATE UNIQUE INDEX volume_name ON volume (pool_id, coalesce(host_id, ''), name);
CREATE INDEX volume_vm ON volume (vm_id);
CREATE INDEX volume_host ON volume (host_id);
CREATE INDEX volume_layer ON volume (layer_id);
CREATE UNIQUE INDEX layer_file ON layer (pool_id, coalesce(host_id, ''), file);
CREATE INDEX layer_backing ON layer (backing_id);
CREATE INDEX layer_volume ON layer (volume_id);
CREATE INDEX layer_image ON layer (image_id);
CREATE INDEX layer_host ON layer (host_id);

CREATE TABLE snapshot_group (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL UNIQUE,
	spec       TEXT NOT NULL,                -- JSON: description, kind, quiesce, ...
	state      TEXT NOT NULL,                -- creating | ready | failed | deleting
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_group_created ON snapshot_group (created_at, id);

CREATE TABLE snapshot_policy (
	id          TEXT PRIMARY KEY NOT NULL,
	name        TEXT NOT NULL UNIQUE,
	spec        TEXT NOT NULL,               -- JSON (field table)
	next_run_at INTEGER NOT NULL,
	last_run_at INTEGER NOT NULL DEFAULT 0,
	last_result TEXT NOT NULL DEFAULT '',
	version     INTEGER NOT NULL DEFAULT 1,
	created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_policy_next ON snapshot_policy (next_run_at);

CREATE TABLE snapshot (
	id             TEXT PRIMARY KEY NOT NULL,
	vm_id          TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
	name           TEXT NOT NULL,
	description    TEXT NOT NULL DEFAULT '',
	parent_id      TEXT REFERENCES snapshot (id) DEFERRABLE INITIALLY DEFERRED,
	kind           TEXT NOT NULL,              -- memory | disk | stopped
	state          TEXT NOT NULL,              -- creating | ready | deleting
	quiesced       INTEGER NOT NULL DEFAULT 0, -- 1: the guest's filesystems were frozen
	vm_spec        TEXT NOT NULL,              -- the VM's configuration at that moment
	power          TEXT NOT NULL,              -- running | paused | stopped
	memory_pool_id TEXT REFERENCES pool (id),
	memory_file    TEXT,                       -- in that pool, on the VM's host
	memory_bytes   INTEGER NOT NULL DEFAULT 0,
	group_id       TEXT REFERENCES snapshot_group (id),
	policy_id      TEXT REFERENCES snapshot_policy (id) ON DELETE SET NULL,
	expires_at     INTEGER NOT NULL DEFAULT 0, -- 0: never
	version        INTEGER NOT NULL DEFAULT 1,
	created_at     INTEGER NOT NULL,
	UNIQUE (vm_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_parent ON snapshot (parent_id);
CREATE INDEX snapshot_by_group ON snapshot (group_id);
CREATE INDEX snapshot_by_policy ON snapshot (policy_id, created_at);
CREATE INDEX snapshot_expiry ON snapshot (expires_at) WHERE expires_at > 0;
CREATE INDEX snapshot_deleting ON snapshot (state) WHERE state = 'deleting';
CREATE INDEX snapshot_memory_pool ON snapshot (memory_pool_id);

-- The frozen layer of each disk.
CREATE TABLE snapshot_disk (
	snapshot_id TEXT NOT NULL REFERENCES snapshot (id) ON DELETE CASCADE,
	disk        TEXT NOT NULL,
	volume_id   TEXT NOT NULL REFERENCES volume (id),
	layer_id    TEXT NOT NULL REFERENCES layer (id),
	PRIMARY KEY (snapshot_id, disk)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_disk_volume ON snapshot_disk (volume_id);
CREATE INDEX snapshot_disk_layer ON snapshot_disk (layer_id);

-- The snapshot that the VM's current state descends from.
ALTER TABLE vm ADD COLUMN snapshot_id TEXT REFERENCES snapshot (id) ON DELETE SET NULL;
CREATE INDEX vm_snapshot ON vm (snapshot_id);

-- What of a VM's configuration must never be answered, such as the hash of a password.
CREATE TABLE vm_secret (
	vm_id TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
	name  TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (vm_id, name)
) STRICT, WITHOUT ROWID;

-- Processes that outlive the daemon: who thaws a frozen guest.
CREATE TABLE freeze_guard (
	operation_id TEXT NOT NULL,
	vm_id        TEXT NOT NULL,
	host_id      TEXT NOT NULL,
	pid          INTEGER NOT NULL,
	pid_start    INTEGER NOT NULL,             -- of /proc/PID/stat, so that a reused pid is not taken for it
	started_at   INTEGER NOT NULL,
	PRIMARY KEY (operation_id, vm_id)
) STRICT, WITHOUT ROWID;
