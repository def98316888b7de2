/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table host; host.h has what others use of it (get). */
#pragma once

#include "base/str.h"
#include "compute/host.h"

struct statement;

/* What a user's configuration becomes in the row. Borrowed texts. */
struct host_record {
	const char *id, *name, *uri, *access, *group_id, *accelerator, *spec;
};
int host_store_insert(
        struct db *db, const struct host_record *record, int64_t created_at, struct err *e);
/* Counts the version up. */
int host_store_update(struct db *db, const struct host_record *record, struct err *e);
int host_store_delete(struct db *db, const char *id, struct err *e);

/* Forgets what was learnt over an earlier connection and says "connecting". */
int host_store_forget_facts(struct db *db, const char *id, int64_t since, struct err *e);
/* *ret_name is owned, NULL if the host is not there any more. */
int host_store_set_state(struct db *db, const char *id, const char *state, const char *reason,
        int64_t since, char **ret_name, struct err *e);
/* *ret_name is owned, NULL if nothing changed or the host is not there any more. */
int host_store_set_facts(struct db *db, const char *id, const char *facts, int64_t cpu_threads,
        int64_t memory_bytes, char **ret_name, struct err *e);
/* Start-up: every host is "connecting" since now; `each` gets its id and name. */
int host_store_set_all_connecting(struct db *db, int64_t since,
        int (*each)(struct db *db, const char *id, const char *name, struct err *e), struct err *e);
/* All hosts by name; `row` is borrowed for the call. */
int host_store_each(struct db *db, void (*each)(void *arg, const struct host_row *row), void *arg,
        struct err *e);

/* Who else has this URI: *ret_name is owned, NULL if nobody. */
int host_store_find_uri(
        struct db *db, const char *uri, const char *but_id, char **ret_name, struct err *e);
/* Whether a meta key is there; and setting it. */
int host_store_meta_get(struct db *db, const char *key, bool *ret_found, struct err *e);
int host_store_meta_set(struct db *db, const char *key, const char *value, struct err *e);

/* What is still on a host. */
struct host_usage {
	int64_t vms, volumes, operations; /* managed VMs, volumes, unfinished operations */
	struct str names;                 /* of the first few: "VM web1, volume data, ..." */
};
void host_usage_done(struct host_usage *usage);
int host_store_get_usage(
        struct db *db, const char *id, struct host_usage *ret_usage, struct err *e);
/* Removes the rows of foreign VMs; `each` gets every one's id and name. */
int host_store_delete_foreign(struct db *db, const char *id,
        int (*each)(struct db *db, const char *id, const char *name, struct err *e), struct err *e);

/* What VMs are configured to take: managed ones, and foreign ones unless they are off. */
struct host_allocation {
	int64_t vms, vcpus, memory_bytes;
	/* Of those with a process, or about to get one: table reservation. Huge pages are not in the bytes. */
	int64_t held, held_vcpus, configured_bytes, guaranteed_bytes, starting_bytes, booked_bytes,
	        overhead_bytes;
};
/* Copies of images in its own pools are no longer on record; their files stay where they are. Writer. */
int host_store_forget_copies(struct db *db, const char *id, struct err *e);
int host_store_get_allocation(
        struct db *db, const char *id, struct host_allocation *ret, struct err *e);

/* A row with what an answer needs beyond it. */
struct host_full_row {
	struct host_row row;
	char *group_spec; /* owned */
	struct host_allocation allocation;
};
void host_full_row_done(struct host_full_row *full);
int host_store_get_full(
        struct db *db, const char *name_or_id, struct host_full_row *ret_full, struct err *e);

/* One page of the list; the row is borrowed for the call. */
int host_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct host_full_row *row), void *arg, struct err *e);
