-- SPDX-License-Identifier: Apache-2.0
-- The foundation: hosts, VMs, volumes, operations, the change feed, tokens, idempotency.
-- Times are milliseconds since the epoch, sizes bytes, ids lower-case UUID text.

CREATE TABLE meta (
	key   TEXT PRIMARY KEY NOT NULL,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE change (
	seq       INTEGER PRIMARY KEY AUTOINCREMENT,
	at        INTEGER NOT NULL,
	kind      TEXT NOT NULL,
	event     TEXT NOT NULL,
	object_id TEXT NOT NULL,
	name      TEXT,
	data      TEXT
) STRICT;
CREATE INDEX change_at ON change (at);

CREATE TABLE host_group (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL UNIQUE,
	spec       TEXT NOT NULL,
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE host (
	id           TEXT PRIMARY KEY NOT NULL,
	name         TEXT NOT NULL UNIQUE,
	uri          TEXT NOT NULL,
	access       TEXT NOT NULL,              -- local | remote
	host_group   TEXT NOT NULL REFERENCES host_group (id),
	accelerator  TEXT NOT NULL,              -- auto | kvm | tcg
	spec         TEXT NOT NULL,              -- labels, failure_domain, ... as JSON (field table)
	state        TEXT NOT NULL,              -- connecting | ok | slow | down | draining | maintenance
	state_reason TEXT NOT NULL DEFAULT '',
	state_since  INTEGER NOT NULL,
	listed       INTEGER NOT NULL DEFAULT 0, -- 1: its VMs were compared with it since it was down
	facts        TEXT NOT NULL DEFAULT '{}', -- capabilities as last seen, JSON
	cpu_threads  INTEGER NOT NULL DEFAULT 0, -- 0: not yet known
	memory_bytes INTEGER NOT NULL DEFAULT 0,
	version      INTEGER NOT NULL DEFAULT 1,
	created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX host_by_group ON host (host_group);

CREATE TABLE vm (
	id            TEXT PRIMARY KEY NOT NULL, -- also the libvirt domain's UUID
	name          TEXT NOT NULL,
	host_id       TEXT NOT NULL REFERENCES host (id),
	managed       INTEGER NOT NULL,          -- 0: a foreign domain, shown but never changed
	spec          TEXT NOT NULL,             -- the configuration as JSON (field table), secrets included
	active_spec   TEXT,                      -- what the running guest has; NULL when off
	pending       TEXT NOT NULL DEFAULT '{}',-- where spec waits for a restart: {pointer: value}
	adopted       INTEGER NOT NULL DEFAULT 0,-- 1: its domain was not made by us: never redefined or deleted
	desired_power TEXT NOT NULL,             -- running | stopped | paused | suspended
	power         TEXT NOT NULL,             -- last seen: running | paused | stopped | suspended | unknown
	power_reason  TEXT NOT NULL DEFAULT '',
	power_since   INTEGER NOT NULL,
	guest         TEXT NOT NULL DEFAULT '{}',-- guest facts as last seen, JSON
	vcpus         INTEGER NOT NULL,          -- copies of the spec, for sums and filters
	memory_bytes  INTEGER NOT NULL,
	deletion_protection INTEGER NOT NULL DEFAULT 0,
	autostart_priority  INTEGER,             -- NULL: not started with the daemon; lower first
	version       INTEGER NOT NULL DEFAULT 1,
	created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX vm_managed_name ON vm (name) WHERE managed = 1;
CREATE INDEX vm_name ON vm (name, id);
CREATE INDEX vm_host ON vm (host_id, id);
CREATE INDEX vm_created ON vm (created_at, id);

CREATE TABLE vm_nic (
	vm_id TEXT NOT NULL REFERENCES vm (id) ON DELETE CASCADE,
	name  TEXT NOT NULL,
	mac   TEXT NOT NULL UNIQUE,
	PRIMARY KEY (vm_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE pool (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL UNIQUE,
	kind       TEXT NOT NULL,                -- dir
	path       TEXT NOT NULL,                -- on each host
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE volume (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL,
	pool_id    TEXT NOT NULL REFERENCES pool (id),
	host_id    TEXT NOT NULL REFERENCES host (id), -- whose copy of the pool holds it
	format     TEXT NOT NULL,                -- qcow2 | raw; recorded, never probed
	size_bytes INTEGER NOT NULL,
	state      TEXT NOT NULL,                -- creating | ready | deleting
	vm_id      TEXT REFERENCES vm (id) ON DELETE SET NULL,
	disk       TEXT,                         -- the disk's name in that VM
	version    INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL,
	UNIQUE (pool_id, host_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_vm ON volume (vm_id);
CREATE INDEX volume_host ON volume (host_id);

CREATE TABLE operation (
	id           TEXT PRIMARY KEY NOT NULL,
	kind         TEXT NOT NULL,              -- vm.create, vm.start, ...
	target_kind  TEXT NOT NULL,              -- vm | host | volume
	target_id    TEXT NOT NULL,
	target_name  TEXT NOT NULL,
	host_id      TEXT,                       -- whose host it needs; no reference: outlives it
	queue        TEXT NOT NULL,              -- work with the same queue key runs in order of seq
	seq          INTEGER NOT NULL UNIQUE,
	state        TEXT NOT NULL,              -- queued | running | succeeded | failed | cancelled | interrupted
	step         INTEGER NOT NULL DEFAULT 0, -- index of the step that is (or would be) running
	undoing      INTEGER NOT NULL DEFAULT 0, -- 1: steps are being undone, from `step` downwards
	cancel       INTEGER NOT NULL DEFAULT 0,
	input        TEXT NOT NULL,              -- JSON, fixed at creation
	memory       TEXT NOT NULL DEFAULT '{}', -- JSON, what its steps remember for each other
	phase        TEXT NOT NULL DEFAULT '',
	done_bytes   INTEGER NOT NULL DEFAULT 0,
	total_bytes  INTEGER NOT NULL DEFAULT 0,
	percent      INTEGER NOT NULL DEFAULT 0,
	reason       TEXT NOT NULL DEFAULT '',
	error        TEXT,                       -- JSON problem
	requested_by TEXT NOT NULL,
	request_id   TEXT NOT NULL DEFAULT '',
	deadline     INTEGER NOT NULL,           -- wall ms; 0: none
	created_at   INTEGER NOT NULL,
	started_at   INTEGER NOT NULL DEFAULT 0,
	ended_at     INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_active ON operation (seq) WHERE ended_at = 0;
CREATE INDEX operation_queue ON operation (queue, seq) WHERE ended_at = 0;
CREATE INDEX operation_target ON operation (target_id, seq);
CREATE INDEX operation_created ON operation (created_at, id);
CREATE INDEX operation_ended ON operation (ended_at);

CREATE TABLE token (
	id         TEXT PRIMARY KEY NOT NULL,
	name       TEXT NOT NULL UNIQUE,
	digest     BLOB NOT NULL UNIQUE,         -- SHA-256 of the secret
	role       TEXT NOT NULL,                -- admin | operator | viewer
	expires_at INTEGER NOT NULL DEFAULT 0,   -- 0: never
	created_at INTEGER NOT NULL,
	version    INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
	principal  TEXT NOT NULL,
	key        TEXT NOT NULL,
	digest     BLOB NOT NULL,                -- SHA-256 of method, path, query and body
	status     INTEGER NOT NULL,
	location   TEXT,
	etag       TEXT,
	body       TEXT NOT NULL,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created_at);

INSERT INTO host_group (id, name, spec, created_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'default', '{}', CAST(strftime('%s', 'now') AS INTEGER) * 1000);
