/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools: where volumes lie. A kind is a row in a table (pool_kind.c): how libvirt is told of it, how QEMU reaches a
 * volume in it, what it can do. A pool is local (each of its hosts has a content of its own) or shared (one content).
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver.h"

#define POOL_DEFAULT_NAME "default"

enum pool_kind_flags {
	POOL_FILES = 1 << 0,  /* holds files: overlays, memory of snapshots, qcow2 */
	POOL_SHARED = 1 << 1, /* always shared */
	POOL_LOCAL = 1 << 2,  /* never shared */
	POOL_ADOPT_ONLY =
	        1 << 3,      /* Berth cannot make volumes in it: existing ones are registered */
	POOL_THIN = 1 << 4,  /* space is taken as it is written */
	POOL_SHORT = 1 << 5, /* libvirt (9.0) reports its volumes a block too short */
};
struct pool_kind {
	const char *name;         /* as in the API: dir, netfs, logical, ... */
	const char *libvirt_type; /* NULL: libvirt has no such pool, QEMU reaches it by itself */
	enum domain_source_type source;
	const char *protocol;     /* of a network source */
	const char *secret_usage; /* ceph | iscsi; NULL: takes no secret */
	unsigned flags;
	unsigned required, allowed; /* bits of enum pool_member */
	const char *const *formats; /* what source.format may be, NULL-terminated; NULL: none */
	const char *doc;
};
/* Whether Berth can make files in such pools: overlays, copies of images, seeds. */
bool pool_kind_makes_files(const struct pool_kind *kind);
/* The format of a volume in such a pool: raw where there are no files, else `in_files`. */
const char *pool_kind_format(const struct pool_kind *kind, const char *in_files);
/* Whether a raw volume recorded with one size may be what libvirt lists with another: devices come in units of their own. */
bool pool_kind_is_size(const struct pool_kind *kind, int64_t recorded_bytes, int64_t listed_bytes);
enum pool_member {
	POOL_HAS_PATH = 1 << 0,
	POOL_HAS_HOSTS = 1 << 1,
	POOL_HAS_DIR = 1 << 2,
	POOL_HAS_NAME = 1 << 3,
	POOL_HAS_DEVICE = 1 << 4,
	POOL_HAS_FORMAT = 1 << 5,
	POOL_HAS_INITIATOR = 1 << 6,
	POOL_HAS_USER = 1 << 7,
};
extern const char *const pool_kind_names[]; /* NULL-terminated, in the table's order */
const struct pool_kind *pool_kind_find(const char *name); /* NULL: unknown */

/* What a user writes; stored as JSON in pool.spec. */
struct pool_source {
	struct field_strings hosts;
	char *dir, *name, *device, *format, *initiator, *user, *secret;
};
struct pool_spec {
	char *name;
	int kind; /* index into pool_kind_names */
	char *path, *description;
	struct field_labels labels;
	bool shared, has_shared;
	struct field_strings
	        hosts; /* that reach it: names or ids as written, ids once stored; empty: all */
	struct pool_source source;
	double overcommit_ratio; /* of thin space; 0: no limit */
	int64_t warn_percent;    /* of capacity in use: an event */
	int64_t quota_bytes;     /* sum of volumes' sizes; 0: none */
	char *file_pool; /* name; where files lie that this one cannot hold; NULL: "default" */
};
extern const struct field_table pool_write_fields;  /* POST, PUT */
extern const struct field_table pool_config_fields; /* stored: without name and secret */
extern const struct field_table pool_fields;        /* answers */
void pool_spec_done(struct pool_spec *spec);
const struct pool_kind *pool_kind_of(const struct pool_spec *spec);
/* Of a stored one. */
bool pool_spec_has_host(const struct pool_spec *spec, const char *host_id);
/* As its kind says, or as asked for. */
bool pool_spec_is_shared(const struct pool_spec *spec);
/* What the tables cannot say: which members the kind requires and takes. Adds all errors; ERR_INVALID. */
int pool_spec_check(const struct pool_spec *spec, struct field_errors *errors, struct err *e);
/* Of the stored form, with `kind` and `path` ("" for none) of the row. */
int pool_spec_load(const char *stored, const char *kind, const char *path,
        struct pool_spec *ret_spec, struct err *e);
char *pool_spec_store(const struct pool_spec *spec); /* caller frees */
/* The members of an answer, without name and hosts, into an object that was begun. */
void pool_spec_encode(const struct pool_spec *spec, struct json_writer *w);

struct pool_row {
	char id[UUID_TEXT_SIZE];
	char *name, *kind, *path, *spec, *state; /* owned */
	bool shared;
	int64_t volumes; /* how many are in it, on all hosts */
	int64_t version, created_at;
};
void pool_row_done(struct pool_row *row);

/* ---- reaching it: pure, any thread ---- */

/* All that steps and lane threads need of a pool: loaded once, owns its texts. Never moved: it points into itself. */
struct pool_access {
	char id[UUID_TEXT_SIZE];
	char *name;         /* Berth's */
	char *libvirt_name; /* "berth-NAME" */
	const struct pool_kind *kind;
	struct pool_spec spec;
	struct pool_config config;      /* for driver->pool_ensure; points into the above */
	char *target_path;              /* where libvirt puts or finds its volumes; NULL: nowhere */
	const char **server_hosts;      /* spec.source.hosts, NULL-terminated; texts borrowed */
	char *secret;                   /* NULL: none */
	char secret_id[UUID_TEXT_SIZE]; /* of the libvirt secret: the pool's own id */
	bool shared;
};
/* Any connection. ERR_NOT_FOUND. */
int pool_access_load(
        struct db *db, const char *pool_id, struct pool_access *ret_access, struct err *e);
/* The same from a row; takes over `secret`, also on failure. */
int pool_access_fill(
        struct pool_access *access, const struct pool_row *row, char *secret, struct err *e);
void pool_access_done(struct pool_access *access);
/* Lane thread: the host's libvirt knows secret and pool, and the pool is started. Nothing without libvirt type. */
int pool_access_ensure(const struct pool_access *access, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* How QEMU reaches `file` of this pool; ret_source borrows from access, *ret_path (owned) and format. */
void pool_access_source(const struct pool_access *access, const char *file, const char *format,
        struct domain_source *ret_source, char **ret_path);

/*
 * What a hanging call in it holds up: the pool, and of a local one what lies on that host (host_id "" or NULL: shared). A key
 * for bulk threads. Pure.
 */
#define POOL_PLACE_SIZE ((size_t)2 * UUID_TEXT_SIZE)
void pool_place(const char *pool_id, const char *host_id, char ret_place[POOL_PLACE_SIZE]);

/* The name by which Berth's pool `name` is known to libvirt: "berth-NAME". Caller frees. */
char *pool_libvirt_name(const char *name);
/* Makes the row "default" (kind dir) with this path if there is none. Writer. */
int pool_ensure_default(struct db *db, const char *path, struct err *e);
/* Whether a file of the one is a file of the other. Pure. */
bool pool_source_is_same(const struct pool_spec *a, const struct pool_spec *b);

/* ---- choosing: any connection ---- */

/*
 * Where files go that stand on a volume of this pool (name or id): overlays of snapshots and clones, saved memory, images'
 * copies. The pool itself if it can hold them, else the one that its `file_pool` names. ERR_UNSUPPORTED if that is none, as
 * pool_check_host if `host_id` cannot work with it.
 */
int pool_choose_files(struct db *db, const char *pool, const char *host_id,
        struct pool_access *ret_files, struct err *e);

/*
 * Whether `host_id` can work with that pool now: ERR_NOT_FOUND-like ERR_REFERENCE when the pool does not belong to the
 * host, ERR_UNAVAILABLE ("pool X on host h1 has not answered since T") when its last look failed or hangs.
 */
int pool_check_host(struct db *db, const char *pool_id, const char *host_id, struct err *e);
/* A host through which a shared pool is reached: one that is ok; ERR_UNAVAILABLE names why there is none. */
int pool_choose_host(
        struct db *db, const char *pool_id, char ret_host_id[UUID_TEXT_SIZE], struct err *e);
/*
 * Room for `size_bytes` more provisioned bytes of a thin or full volume: quota, overcommit ratio, free space of a full
 * one. ERR_DISK_FULL with the numbers.
 */
int pool_check_room(struct db *db, const struct pool_access *access, const char *host_id,
        int64_t size_bytes, bool full, struct err *e);
/* Whether an existing file may become a volume: ERR_IN_USE names the one that it is already, in a pool of the same source. */
int pool_check_file_is_free(
        struct db *db, const struct pool_access *access, const char *file, struct err *e);
