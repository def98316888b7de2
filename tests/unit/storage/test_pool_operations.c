/* SPDX-License-Identifier: Apache-2.0 */
/* Making, changing and deleting pools on fake hosts. */
#include "tests/unit/storage/pool_fixture.h"

#define DIR_POOL "{\"name\":\"fast\",\"kind\":\"dir\",\"path\":\"/srv/fast\"}"
#define RBD_POOL                                                                                   \
	"{\"name\":\"ceph\",\"kind\":\"rbd\",\"source\":{\"hosts\":[\"m\"],\"name\":\"vms\","      \
	"\"user\":\"u\",\"secret\":\"topsecret\"}}"

static void test_created_pool_is_ready_on_all_hosts_and_holds_no_probe(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, DIR_POOL, NULL);
	assert_true(fixture_is(p->base, "SELECT state FROM pool", "ready"));
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool_host WHERE state = 'ok' "
	                                      "AND capacity_bytes > 0 AND checked_at > 0"),
	        2);
	assert_int_equal(pool_count_files(p, "fake:///h1", "berth-fast"), 0);
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-fast"), 0);
	assert_int_equal(fake_host_count_calls("h1", "create_transient"), 1);
	assert_int_equal(fake_host_count_calls("h1", "destroy"), 1);
}

static void test_pool_of_one_host_stays_off_the_others(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, "{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/a\",\"hosts\":[\"h2\"]}", NULL);
	assert_int_equal(pool_count_files(p, "fake:///h1", "berth-a"), -1);
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-a"), 0);
	assert_int_equal(pool_check_host(p->base->reader, "x", p->h1, &p->base->e), ERR_REFERENCE);
	char *id CLEANUP(cleanup_free) = fixture_text(p->base, "SELECT id FROM pool");
	assert_int_equal(pool_check_host(p->base->reader, id, p->h2, &p->base->e), 0);
	assert_int_equal(pool_check_host(p->base->reader, id, p->h1, &p->base->e), ERR_REFERENCE);
	assert_non_null(strstr(p->base->e.message, "h1"));
}

static void test_unknown_host_is_refused_with_its_place(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	assert_int_equal(pool_run(p, &job, pool_create_job, NULL,
	                         "{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/a\",\"hosts\":"
	                         "[\"h1\",\"h9\"]}"),
	        ERR_REFERENCE);
	assert_string_equal(p->base->e.pointer, "/hosts/1");
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool"), 0);
}

static void test_refused_probe_undoes_the_creation_and_says_why(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HYPERVISOR,
	        .message = "Could not open '/srv/fast/probe': Permission denied"};
	struct pool_job job;
	fake_script_set("h2", "create_transient", NULL, &refuse);
	assert_int_equal(pool_run(p, &job, pool_create_job, NULL, DIR_POOL), 0);
	pool_assert_ends(p, job.operation, "failed");
	char *error CLEANUP(cleanup_free) =
	        fixture_text(p->base, "SELECT error FROM operation ORDER BY seq DESC LIMIT 1");
	assert_non_null(strstr(error, "host h2"));
	assert_non_null(strstr(error, "x on each directory above"));
	assert_non_null(strstr(error, "namei -l /srv/fast"));
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool"), 0);
	assert_int_equal(pool_count_files(p, "fake:///h1", "berth-fast"), -1);
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-fast"), -1);
	fake_script_clear("h2");
	pool_make(p, DIR_POOL, NULL); /* volumes outlive a definition: the probe did not stay */
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-fast"), 0);
}

static void test_foreign_definition_of_that_name_survives_the_undo(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour conflict = {.error_code = ERR_CONFLICT};
	struct pool_job job;
	fake_script_set("h1", "pool_ensure", NULL, &conflict);
	assert_int_equal(pool_run(p, &job, pool_create_job, NULL, DIR_POOL), 0);
	pool_assert_ends(p, job.operation, "failed");
	assert_int_equal(fake_host_count_calls("h1", "pool_remove"), 0);
	assert_int_equal(fake_host_count_calls("h2", "pool_remove"), 1);
}

static void test_host_that_is_down_does_not_hold_the_creation_back(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	fake_script_set("h2", "open", NULL, &refuse);
	fake_host_break_connections("h2");
	assert_true(TURN_UNTIL(p->base->loop,
	        fixture_is(p->base, "SELECT state FROM host WHERE name = 'h2'", "down")));
	pool_make(p, DIR_POOL, NULL);
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool_host"), 1);
}

static void test_secret_goes_to_the_hosts_and_nowhere_else(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_row row CLEANUP(pool_row_done) = {0};
	struct json_writer w CLEANUP(json_writer_done) = {0};
	char id[UUID_TEXT_SIZE];
	pool_make(p, RBD_POOL, id);
	char *there CLEANUP(cleanup_free) = fake_secret_get("h1", id);
	assert_string_equal(there, "topsecret");
	assert_int_equal(
	        fixture_int(p->base, "SELECT count(*) FROM operation WHERE input LIKE "
	                             "'%topsecret%' OR memory LIKE '%topsecret%' OR error LIKE "
	                             "'%topsecret%'"),
	        0);
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool WHERE spec LIKE "
	                                      "'%topsecret%'"),
	        0);
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM change WHERE data LIKE "
	                                      "'%topsecret%'"),
	        0);
	assert_int_equal(pool_store_get(p->base->reader, id, &row, &p->base->e), 0);
	assert_int_equal(pool_encode(p->base->reader, &row, &w, &p->base->e), 0);
	assert_null(strstr(str_text(&w.out), "secret"));
	assert_non_null(strstr(str_text(&w.out), "\"user\":\"u\""));
}

static void test_secret_that_is_left_out_stays_and_a_new_one_reaches_the_hosts(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	char id[UUID_TEXT_SIZE];
	pool_make(p, RBD_POOL, id);
	assert_int_equal(pool_run(p, &job, pool_update_job, "ceph", "{\"quota_bytes\":5}"), 0);
	assert_string_equal(job.operation, ""); /* nothing that hosts must know */
	assert_true(fixture_is(p->base, "SELECT secret FROM pool", "topsecret"));
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "ceph", "{\"source\":{\"secret\":\"rotated\"}}"),
	        0);
	pool_assert_ends(p, job.operation, "succeeded");
	char *there CLEANUP(cleanup_free) = fake_secret_get("h2", id);
	assert_string_equal(there, "rotated");
}

static void test_what_libvirt_knows_changes_only_while_unused(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	pool_add_volume(p, "fast", p->h1, VOLUME_A, "raw", MIB);
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"path\":\"/srv/b\"}"), ERR_IN_USE);
	assert_non_null(strstr(p->base->e.message, "volume n-0a"));
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"shared\":true}"), ERR_IN_USE);
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"hosts\":[\"h2\"]}"), ERR_IN_USE);
	assert_int_equal(pool_run(p, &job, pool_update_job, "fast", "{\"hosts\":[\"h1\"]}"), 0);
	pool_assert_ends(p, job.operation, "succeeded");
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-fast"), -1);
	fixture_exec(p->base, "DELETE FROM layer; DELETE FROM volume");
	assert_int_equal(pool_run(p, &job, pool_update_job, "fast", "{\"path\":\"/srv/b\"}"), 0);
	pool_assert_ends(p, job.operation, "succeeded");
	assert_true(fixture_is(p->base, "SELECT path FROM pool", "/srv/b"));
}

static void test_name_and_kind_stay(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"name\":\"slow\"}"), ERR_INVALID);
	assert_string_equal(p->base->e.pointer, "/name");
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast",
	                "{\"kind\":\"logical\",\"path\":null,\"source\":{\"name\":\"v\"}}"),
	        ERR_INVALID);
	assert_string_equal(p->base->e.pointer, "/kind");
}

static void test_two_pools_cannot_lie_in_one_directory(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	assert_int_equal(pool_run(p, &job, pool_create_job, NULL,
	                         "{\"name\":\"b\",\"kind\":\"dir\",\"path\":\"/srv/fast\"}"),
	        ERR_EXISTS);
	assert_string_equal(p->base->e.pointer, "/path");
	assert_non_null(strstr(p->base->e.message, "fast"));
}

static void test_used_pool_is_not_deleted_and_says_by_what(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	pool_add_volume(p, "fast", p->h1, VOLUME_A, "raw", MIB);
	assert_int_equal(pool_run(p, &job, pool_delete_job, "fast", NULL), ERR_IN_USE);
	assert_non_null(strstr(p->base->e.message, "volume n-0a"));
	assert_true(fixture_is(p->base, "SELECT state FROM pool", "ready"));
}

static void test_deleted_pool_is_forgotten_by_its_hosts_and_its_files_stay(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	fake_volume_foreign_add("h1", "berth-fast", "theirs.raw", "raw", MIB);
	assert_int_equal(pool_run(p, &job, pool_delete_job, "fast", NULL), 0);
	pool_assert_ends(p, job.operation, "succeeded");
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool"), 0);
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool_host"), 0);
	assert_int_equal(pool_count_files(p, "fake:///h1", "berth-fast"), -1);
	pool_make(p, DIR_POOL, NULL);
	assert_int_equal(pool_count_files(p, "fake:///h1", "berth-fast"), 1);
}

static void test_failed_deletion_can_be_repeated(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HYPERVISOR, .count = 1};
	struct pool_job job;
	pool_make(p, DIR_POOL, NULL);
	fake_script_set("h2", "pool_remove", NULL, &refuse);
	assert_int_equal(pool_run(p, &job, pool_delete_job, "fast", NULL), 0);
	pool_assert_ends(p, job.operation, "failed");
	assert_true(fixture_is(p->base, "SELECT state FROM pool", "deleting"));
	assert_int_equal(pool_run(p, &job, pool_delete_job, "fast", NULL), 0);
	pool_assert_ends(p, job.operation, "succeeded");
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool"), 0);
}

static int ensure_default_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return pool_ensure_default(db, "/p", e);
}

static void test_default_pool_cannot_be_deleted(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	assert_int_equal(writer_run(p->base->writer, ensure_default_job, NULL, &p->base->e), 0);
	assert_int_equal(pool_run(p, &job, pool_delete_job, "default", NULL), ERR_PROTECTED);
}

/* ---- choosing and room ---- */

static void set_seen(struct pool_fixture *p, const char *host, const char *state)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("UPDATE pool_host SET state = '%s', reason = 'because' WHERE host_id = "
	                   "(SELECT id FROM host WHERE name = '%s')",
	                state, host);
	fixture_exec(p->base, sql);
}

static void test_host_that_reaches_the_pool_is_chosen(void **state)
{
	struct pool_fixture *p = *state;
	struct host_fixture *f = p->base;
	char id[UUID_TEXT_SIZE], chosen[UUID_TEXT_SIZE];
	pool_make(p, RBD_POOL, id);
	set_seen(p, "h1", "unknown");
	assert_int_equal(pool_choose_host(f->reader, id, chosen, &f->e), 0);
	assert_string_equal(chosen, p->h2);
	assert_int_equal(pool_check_host(f->reader, id, p->h1, &f->e), ERR_UNAVAILABLE);
	assert_non_null(strstr(f->e.message, "has not answered since"));
	set_seen(p, "h2", "error");
	assert_int_equal(pool_choose_host(f->reader, id, chosen, &f->e), ERR_UNAVAILABLE);
	assert_non_null(strstr(f->e.message, "host h2: because"));
}

/* The pool that holds files for "ceph" on h1, or the error. */
static int choose_files(struct pool_fixture *p, char ret_name[64])
{
	struct pool_access files CLEANUP(pool_access_done) = {0};
	err_clear(&p->base->e);
	int rc = pool_choose_files(p->base->reader, "ceph", p->h1, &files, &p->base->e);
	snprintf(ret_name, 64, "%s", rc == 0 ? files.name : "");
	return rc;
}

static void test_what_a_pool_without_files_cannot_hold_lies_in_its_file_pool(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	char name[64];
	pool_make(p, RBD_POOL, NULL);
	assert_int_equal(choose_files(p, name), ERR_UNSUPPORTED); /* there is no pool "default" */
	assert_non_null(strstr(p->base->e.message, "pool default"));
	assert_non_null(strstr(p->base->e.hint, "file_pool"));
	assert_int_equal(pool_run(p, &job, pool_update_job, "ceph", "{\"file_pool\":\"fast\"}"),
	        ERR_REFERENCE);
	assert_int_equal(pool_run(p, &job, pool_update_job, "ceph", "{\"file_pool\":\"ceph\"}"),
	        ERR_REFERENCE);
	pool_make(p, DIR_POOL, NULL);
	char id[UUID_TEXT_SIZE];
	assert_int_equal(pool_store_get_id(p->base->reader, "fast", id, &p->base->e), 0);
	char *by_id CLEANUP(cleanup_free) = str_format("{\"file_pool\":\"%s\"}", id);
	assert_int_equal(pool_run(p, &job, pool_update_job, "ceph", by_id), 0);
	assert_string_equal(job.operation, ""); /* nothing that hosts must know */
	assert_true(fixture_is(
	        p->base, "SELECT spec ->> 'file_pool' FROM pool WHERE name = 'ceph'", "fast"));
	assert_int_equal(choose_files(p, name), 0);
	assert_string_equal(name, "fast");
	fixture_exec(p->base, "UPDATE pool_host SET state = 'error', reason = 'because' WHERE "
	                      "pool_id = (SELECT id FROM pool WHERE name = 'fast')");
	assert_int_equal(choose_files(p, name), ERR_UNAVAILABLE);
	assert_int_equal(pool_run(p, &job, pool_update_job, "fast", "{\"file_pool\":\"ceph\"}"),
	        ERR_INVALID);
}

/* A volume of Ceph with an overlay in the directory of h2 is worked on and used there alone. */
static void test_a_shared_volume_with_local_overlays_belongs_to_their_host(void **state)
{
	struct pool_fixture *p = *state;
	struct host_fixture *f = p->base;
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	char chosen[UUID_TEXT_SIZE], ceph[UUID_TEXT_SIZE], fast[UUID_TEXT_SIZE];
	pool_make(p, RBD_POOL, ceph);
	pool_make(p, DIR_POOL, fast);
	pool_add_volume(p, "ceph", NULL, VOLUME_A, "raw", MIB);
	assert_int_equal(volume_store_get(f->reader, VOLUME_A, &volume, &f->e), 0);
	assert_int_equal(volume_choose_host(f->reader, &volume, chosen, &f->e), 0);
	assert_int_equal(volume_check_host(f->reader, &volume, p->h1, &f->e), 0);
	char *overlay CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
	        "volume_id, state, created_at) VALUES ('o', '%s', '%s', 'o.qcow2', 'qcow2', "
	        "1048576, "
	        "'" VOLUME_A "', '" VOLUME_A "', 'ready', 0)",
	        fast, p->h2);
	fixture_exec(f, overlay);
	assert_int_equal(volume_choose_host(f->reader, &volume, chosen, &f->e), 0);
	assert_string_equal(chosen, p->h2);
	assert_int_equal(volume_check_host(f->reader, &volume, p->h1, &f->e), ERR_UNSUPPORTED);
	assert_int_equal(volume_check_host(f->reader, &volume, p->h2, &f->e), 0);
	/* It counts in both pools: it may grow to its size there. */
	struct pool_job job;
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"quota_bytes\":2097152}"), 0);
	struct pool_access access CLEANUP(pool_access_done) = {0};
	assert_int_equal(pool_access_load(f->reader, fast, &access, &f->e), 0);
	assert_int_equal(pool_check_room(f->reader, &access, p->h1, MIB, false, &f->e), 0);
	assert_int_equal(
	        pool_check_room(f->reader, &access, p->h1, MIB + 1, false, &f->e), ERR_DISK_FULL);
}

static int check_room(struct pool_fixture *p, const char *id, int64_t size, bool full)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	err_clear(&p->base->e);
	assert_int_equal(pool_access_load(p->base->reader, id, &access, &p->base->e), 0);
	return pool_check_room(p->base->reader, &access, p->h1, size, full, &p->base->e);
}

static void test_quota_counts_all_hosts(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	char id[UUID_TEXT_SIZE];
	pool_make(p, DIR_POOL, id);
	pool_add_volume(p, "fast", p->h2, VOLUME_A, "raw", 3 * MIB);
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"quota_bytes\":4194304}"), 0);
	assert_int_equal(check_room(p, id, MIB, false), 0);
	assert_int_equal(check_room(p, id, MIB + 1, false), ERR_DISK_FULL);
	assert_non_null(strstr(p->base->e.numbers, "\"quota_bytes\":4194304"));
	assert_non_null(strstr(p->base->e.numbers, "\"provisioned_bytes\":3145728"));
	assert_non_null(strstr(p->base->e.hint, "quota_bytes"));
}

static void test_images_copies_moves_and_resizes_under_way_count(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	char id[UUID_TEXT_SIZE];
	pool_make(p, DIR_POOL, id);
	fixture_exec(p->base, "INSERT INTO pool (id, name, kind, path, created_at) VALUES "
	                      "('other', 'other', 'dir', '/other', 0)");
	pool_add_volume(p, "fast", p->h1, VOLUME_A, "raw", MIB);
	pool_add_volume(p, "other", p->h1, VOLUME_B, "raw", MIB);
	assert_int_equal(
	        pool_run(p, &job, pool_update_job, "fast", "{\"quota_bytes\":8388608}"), 0);
	assert_int_equal(check_room(p, id, 7 * MIB, false), 0);
	char *copy CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO image (id, name, spec, state, size_bytes, file_bytes, created_at) "
	        "VALUES ('i', 'i', '{}', 'ready', 1073741824, 2097152, 0); INSERT INTO layer (id, "
	        "pool_id, host_id, file, format, size_bytes, image_id, state, created_at) VALUES "
	        "('c', '%s', '%s', 'c.qcow2', 'qcow2', 1073741824, 'i', 'ready', 0)",
	        id, p->h1);
	fixture_exec(p->base, copy);
	assert_int_equal(check_room(p, id, 5 * MIB, false), 0);
	assert_int_equal(check_room(p, id, 5 * MIB + 1, false), ERR_DISK_FULL);
	char *move CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, volume_id, "
	        "state, created_at) VALUES ('m', '%s', '%s', 'm.raw', 'raw', 1048576, '" VOLUME_B
	        "', 'creating', 0)",
	        id, p->h1);
	fixture_exec(p->base, move);
	assert_int_equal(check_room(p, id, 4 * MIB, false), 0);
	assert_int_equal(check_room(p, id, 4 * MIB + 1, false), ERR_DISK_FULL);
	fixture_exec(p->base, "INSERT INTO operation (id, kind, target_kind, target_id, "
	                      "target_name, queue, seq, state, input, requested_by, deadline, "
	                      "created_at) VALUES ('o1', 'volume.resize', 'volume', '" VOLUME_A
	                      "', 'a', 'q', 901, 'running', '{\"size_bytes\":2097152}', 'x', 0, 0),"
	                      "('o2', 'volume.resize', 'volume', '" VOLUME_A
	                      "', 'a', 'q', 902, 'queued', '{\"size_bytes\":3145728}', 'x', 0, 0)");
	assert_int_equal(check_room(p, id, 2 * MIB, false), 0);
	assert_int_equal(check_room(p, id, 2 * MIB + 1, false), ERR_DISK_FULL);
	fixture_exec(p->base, "UPDATE operation SET ended_at = 1 WHERE id IN ('o1', 'o2')");
	assert_int_equal(check_room(p, id, 4 * MIB, false), 0);
}

static void test_overcommit_counts_the_host_and_full_volumes_need_free_space(void **state)
{
	struct pool_fixture *p = *state;
	struct pool_job job;
	char id[UUID_TEXT_SIZE];
	pool_make(p, DIR_POOL, id);
	fixture_exec(p->base, "UPDATE pool_host SET capacity_bytes = 1048576, available_bytes = "
	                      "524288");
	assert_int_equal(check_room(p, id, GIB, false), 0); /* no limit asked for */
	assert_int_equal(check_room(p, id, 524288, true), 0);
	assert_int_equal(check_room(p, id, 524289, true), ERR_DISK_FULL);
	assert_non_null(strstr(p->base->e.numbers, "\"available_bytes\":524288"));
	pool_add_volume(p, "fast", p->h1, VOLUME_A, "raw", MIB);
	pool_add_volume(p, "fast", p->h2, VOLUME_B, "raw", GIB); /* elsewhere: does not count */
	assert_int_equal(pool_run(p, &job, pool_update_job, "fast", "{\"overcommit_ratio\":2}"), 0);
	assert_int_equal(check_room(p, id, MIB, false), 0);
	assert_int_equal(check_room(p, id, MIB + 1, false), ERR_DISK_FULL);
	assert_non_null(strstr(p->base->e.numbers, "\"overcommit_ratio\":2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        POOL_TEST(test_created_pool_is_ready_on_all_hosts_and_holds_no_probe),
	        POOL_TEST(test_pool_of_one_host_stays_off_the_others),
	        POOL_TEST(test_unknown_host_is_refused_with_its_place),
	        POOL_TEST(test_refused_probe_undoes_the_creation_and_says_why),
	        POOL_TEST(test_foreign_definition_of_that_name_survives_the_undo),
	        POOL_TEST(test_host_that_is_down_does_not_hold_the_creation_back),
	        POOL_TEST(test_secret_goes_to_the_hosts_and_nowhere_else),
	        POOL_TEST(test_secret_that_is_left_out_stays_and_a_new_one_reaches_the_hosts),
	        POOL_TEST(test_what_libvirt_knows_changes_only_while_unused),
	        POOL_TEST(test_name_and_kind_stay),
	        POOL_TEST(test_two_pools_cannot_lie_in_one_directory),
	        POOL_TEST(test_used_pool_is_not_deleted_and_says_by_what),
	        POOL_TEST(test_deleted_pool_is_forgotten_by_its_hosts_and_its_files_stay),
	        POOL_TEST(test_failed_deletion_can_be_repeated),
	        POOL_TEST(test_default_pool_cannot_be_deleted),
	        POOL_TEST(test_host_that_reaches_the_pool_is_chosen),
	        POOL_TEST(test_what_a_pool_without_files_cannot_hold_lies_in_its_file_pool),
	        POOL_TEST(test_a_shared_volume_with_local_overlays_belongs_to_their_host),
	        POOL_TEST(test_quota_counts_all_hosts),
	        POOL_TEST(test_images_copies_moves_and_resizes_under_way_count),
	        POOL_TEST(test_overcommit_counts_the_host_and_full_volumes_need_free_space),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
