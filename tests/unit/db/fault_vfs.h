/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SQLite VFS that lets the n-th write or sync fail, and knows whether the WAL holds writes that
 * no sync has followed. It is the system's VFS with two functions replaced.
 */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>

/* The functions for one kind of file: the system's, and a copy with ours in it. */
struct fault_methods {
	const sqlite3_io_methods *system;
	sqlite3_io_methods ours;
};

struct fault_vfs {
	sqlite3_vfs vfs;
	sqlite3_vfs *system;
	struct fault_methods wal, db; /* filled in at the first open, before any thread starts */
	atomic_int countdown;         /* the call that brings it to 0 fails; 0: none does */
	atomic_int error;             /* what it fails with */
	atomic_bool keeps_going;      /* and all calls after it */
	atomic_int fired;
	atomic_int unsynced; /* writes to the WAL since its last sync */
	atomic_int wal_syncs;
};
static struct fault_vfs fault;

static bool fault_strikes(void)
{
	if (atomic_load(&fault.countdown) == 0)
		return false;
	if (atomic_fetch_sub(&fault.countdown, 1) != 1)
		return false;
	if (atomic_load(&fault.keeps_going))
		atomic_store(&fault.countdown, 1);
	atomic_fetch_add(&fault.fired, 1);
	return true;
}

static int fault_write_db(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
	if (fault_strikes())
		return atomic_load(&fault.error);
	return fault.db.system->xWrite(file, data, len, offset);
}

static int fault_write_wal(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
	atomic_fetch_add(&fault.unsynced, 1);
	if (fault_strikes())
		return atomic_load(&fault.error);
	return fault.wal.system->xWrite(file, data, len, offset);
}

static int fault_sync_db(sqlite3_file *file, int flags)
{
	if (fault_strikes())
		return SQLITE_IOERR_FSYNC;
	return fault.db.system->xSync(file, flags);
}

static int fault_sync_wal(sqlite3_file *file, int flags)
{
	if (fault_strikes())
		return SQLITE_IOERR_FSYNC;
	atomic_store(&fault.unsynced, 0);
	atomic_fetch_add(&fault.wal_syncs, 1);
	return fault.wal.system->xSync(file, flags);
}

static void fault_replace(struct fault_methods *methods, sqlite3_file *file,
        int (*write)(sqlite3_file *, const void *, int, sqlite3_int64),
        int (*sync)(sqlite3_file *, int))
{
	if (!methods->system) {
		methods->system = file->pMethods;
		methods->ours = *file->pMethods;
		methods->ours.xWrite = write;
		methods->ours.xSync = sync;
	}
	assert_ptr_equal(methods->system, file->pMethods);
	file->pMethods = &methods->ours;
}

static int fault_open(
        sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
	(void)vfs;
	int rc = fault.system->xOpen(fault.system, name, file, flags, ret_flags);
	if (rc == SQLITE_OK && (flags & SQLITE_OPEN_WAL))
		fault_replace(&fault.wal, file, fault_write_wal, fault_sync_wal);
	else if (rc == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB))
		fault_replace(&fault.db, file, fault_write_db, fault_sync_db);
	return rc;
}

/* From now on every connection goes through it. */
static void fault_install(void)
{
	fault.system = sqlite3_vfs_find(NULL);
	fault.vfs = *fault.system;
	fault.vfs.zName = "fault";
	fault.vfs.pNext = NULL;
	fault.vfs.xOpen = fault_open;
	assert_int_equal(sqlite3_vfs_register(&fault.vfs, 1), SQLITE_OK);
}

static void fault_arm(int nth_call, int error, bool keeps_going)
{
	atomic_store(&fault.fired, 0);
	atomic_store(&fault.error, error);
	atomic_store(&fault.keeps_going, keeps_going);
	atomic_store(&fault.countdown, nth_call);
}

static void fault_disarm(void)
{
	atomic_store(&fault.countdown, 0);
}
