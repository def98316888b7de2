/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations: every upgrade path, the backup before it, refusals, a crash in the middle. */
#include "tests/unit/db/temp_db.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Three versions of a small schema, the last one rebuilding a table that others refer to. */
static const struct migration sample[] = {
        {.number = 1,
                .name = "0001_start",
                .sql = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
                       "CREATE TABLE child (parent INTEGER NOT NULL REFERENCES parent (id)) "
                       "STRICT;"},
        {.number = 2, .name = "0002_colour", .sql = "ALTER TABLE parent ADD COLUMN colour TEXT;"},
        {.number = 3,
                .name = "0003_unique_name",
                .sql = "CREATE TABLE parent_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL "
                       "UNIQUE, "
                       "colour TEXT) STRICT;"
                       "INSERT INTO parent_new SELECT id, name, colour FROM parent;"
                       "DROP TABLE parent;"
                       "ALTER TABLE parent_new RENAME TO parent;"},
        {.number = 0},
};
static const char sample_rows[] = "INSERT INTO parent (id, name) VALUES (1, 'a'), (2, 'b'); INSERT "
                                  "INTO child VALUES (1), (2), (2)";

/* From version 3 on. */
#define HOST_AND_VM                                                                                \
	"INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "          \
	"state_since, created_at) VALUES ('h1', 'h', 'test:///default', 'local',"                  \
	" '00000000-0000-4000-8000-000000000001', 'auto', '{}', 'ok', 1, 1);"                      \
	"INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, power_since, "    \
	"vcpus, memory_bytes, placement, created_at) VALUES ('v1', 'v', 'h1', 1, '{}', "           \
	"'running', 'running', 1, 1, 1, '{}', 1);"

/*
 * Rows as they may lie in a database of each version of the real schema: one entry per migration,
 * every table filled, so that each later migration is tried with data in its way.
 */
static const struct {
	int number;
	const char *sql;
} embedded_rows[] = {
        {1, "INSERT INTO meta VALUES ('k', 'v');"
            "INSERT INTO change (at, kind, event, object_id) VALUES (1, 'vm', 'created', 'v1');"
            "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
            "state_since,"
            " created_at) VALUES ('h1', 'h', 'test:///default', 'local',"
            " '00000000-0000-4000-8000-000000000001', 'auto', '{}', 'ok', 1, 1);"
            "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, power_since, "
            "vcpus,"
            " memory_bytes, created_at) VALUES ('v1', 'v', 'h1', 1, '{}', 'running', 'running', 1, "
            "1, 1, 1);"
            "INSERT INTO vm_nic VALUES ('v1', 'eth0', '52:54:00:00:00:01');"
            "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('p1', 'p', 'dir', '/p', "
            "1);"
            "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, vm_id, "
            "disk,"
            " created_at) VALUES ('d1', 'd', 'p1', 'h1', 'raw', 1, 'ready', 'v1', 'root', 1);"
            "INSERT INTO operation (id, kind, target_kind, target_id, target_name, queue, seq, "
            "state,"
            " input, requested_by, deadline, created_at) VALUES ('o1', 'vm.start', 'vm', 'v1', "
            "'v', 'v1',"
            " 1, 'succeeded', '{}', 'root', 0, 1);"
            "INSERT INTO token (id, name, digest, role, created_at) VALUES ('t1', 't', x'00', "
            "'admin', 1);"
            "INSERT INTO idempotency (principal, key, digest, status, body, created_at)"
            " VALUES ('root', 'k', x'00', 201, '{}', 1);"},
        {2, "INSERT INTO meta VALUES ('k', 'v');"
            "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
            "state_since, created_at) VALUES ('h1', 'h', 'test:///default', 'local',"
            " '00000000-0000-4000-8000-000000000001', 'auto', '{}', 'ok', 1, 1);"
            "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, power_since, "
            "vcpus, memory_bytes, created_at) VALUES ('v1', 'v', 'h1', 1, '{}', 'running', "
            "'running', 1, 1, 1, 1);"
            "INSERT INTO vm_secret VALUES ('v1', 'cloud_init_password', 'x');"
            "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('p1', 'p', 'dir', '/p', "
            "1);"
            "INSERT INTO pool_host (pool_id, host_id, state, since) VALUES ('p1', 'h1', 'ok', 1);"
            "INSERT INTO image (id, name, spec, state, created_at) VALUES ('i1', 'i', '{}', "
            "'ready', 1);"
            "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, image_id, state, "
            "created_at) VALUES ('l0', 'p1', 'h1', 'l0.qcow2', 'qcow2', 1, 'i1', 'ready', 1);"
            "BEGIN;"
            "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, layer_id, "
            "vm_id, disk, created_at) VALUES ('d1', 'd', 'p1', 'h1', 'qcow2', 1, 'ready', 'd1', "
            "'v1', 'root', 1);"
            "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
            "volume_id, state, created_at) VALUES ('d1', 'p1', 'h1', 'd1.qcow2', 'qcow2', 1, "
            "'l0', 'd1', 'ready', 1);"
            "COMMIT;"
            "INSERT INTO snapshot_group (id, name, spec, state, created_at) VALUES ('g1', 'g', "
            "'{}', 'ready', 1);"
            "INSERT INTO snapshot_policy (id, name, spec, next_run_at, created_at) VALUES ('y1', "
            "'y', '{}', 1, 1);"
            "INSERT INTO snapshot (id, vm_id, name, kind, state, vm_spec, power, group_id, "
            "policy_id, created_at) VALUES ('s1', 'v1', 's', 'disk', 'ready', '{}', 'running', "
            "'g1', 'y1', 1);"
            "INSERT INTO snapshot_disk VALUES ('s1', 'root', 'd1', 'd1');"
            "INSERT INTO freeze_guard VALUES ('o1', 'v1', 'h1', 1, 1, 1);"},
        {3, HOST_AND_VM
                "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
                "booked_bytes, overhead_bytes, vcpus, max_vcpus, since) VALUES ('v1', 'h1', "
                "'running', 1, 1, 1, 1, 1, 1, 1, 1);"
                "INSERT INTO vm_label VALUES ('v1', 'k', 'v');"
                "INSERT INTO quota (id, name, spec, created_at) VALUES ('q1', 'q', '{}', 1);"},
        {4, HOST_AND_VM
                "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
                "booked_bytes, overhead_bytes, vcpus, max_vcpus, cpus, cpus_due, since) VALUES "
                "('v1', 'h1', 'running', 1, 1, 1, 1, 1, 1, 1, '{}', 1, 1);"},
        {5, HOST_AND_VM
                "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('p1', 'p', 'dir', "
                "'/p', 1);"
                "BEGIN;"
                "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, "
                "layer_id, vm_id, disk, created_at) VALUES ('d1', 'd', 'p1', 'h1', 'qcow2', 1, "
                "'ready', 'd1', 'v1', 'root', 1);"
                "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, volume_id, "
                "state, pulling, created_at) VALUES ('d1', 'p1', 'h1', 'd1.qcow2', 'qcow2', 1, "
                "'d1', 'ready', 1, 1);"
                "COMMIT;"},
};

static void exec_in(const struct temp_db *temp, const char *sql)
{
	struct err e = {0};
	struct db *db = temp_db_open(temp, DB_READ_WRITE);
	must(db_exec(db, sql, &e), &e);
	db_close(db);
}

/* The whole schema as text; caller frees. */
static char *schema_of(const struct temp_db *temp)
{
	struct err e = {0};
	struct str text = {0};
	struct statement *s = NULL;
	struct db *db = temp_db_open(temp, DB_READ_ONLY);
	must(db_prepare(db,
	             "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema "
	             "ORDER BY type, name",
	             &s, &e),
	        &e);
	while (statement_step(s, &e) == 1)
		str_printf(&text, "%s %s %s %s\n", statement_text(s, 0), statement_text(s, 1),
		        statement_text(s, 2), statement_text(s, 3));
	statement_done(&s);
	db_close(db);
	return str_take(&text);
}

static size_t length(const struct migration *list)
{
	size_t n = 0;
	while (list[n].number != 0)
		n++;
	return n;
}

/* Applies only the first n. */
static void apply_first(const struct temp_db *temp, const struct migration *list, size_t n)
{
	struct err e = {0};
	struct migration *part = xcalloc(n + 1, sizeof(*part));
	memcpy(part, list, n * sizeof(*part));
	must(migrations_apply(temp->path, part, &e), &e);
	free(part);
}

static void assert_upgrade_equals_fresh(
        const struct migration *list, size_t from, const char *rows, const char *fresh_schema)
{
	struct temp_db temp;
	struct err e = {0};
	temp_db_init_empty(&temp);
	apply_first(&temp, list, from);
	exec_in(&temp, rows);
	must(migrations_apply(temp.path, list, &e), &e);
	char *upgraded CLEANUP(cleanup_free) = schema_of(&temp);
	assert_string_equal(upgraded, fresh_schema);
	assert_int_equal(temp_db_int(&temp, "PRAGMA user_version"), list[length(list) - 1].number);
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM pragma_integrity_check "
	                                    "WHERE integrity_check = 'ok'"),
	        1);
	temp_db_done(&temp);
}

static void test_upgrade_from_every_version_equals_a_fresh_schema(void **state)
{
	(void)state;
	struct temp_db fresh;
	temp_db_init(&fresh);
	char *schema CLEANUP(cleanup_free) = schema_of(&fresh);
	/* A new migration brings the rows its predecessor may hold. */
	assert_int_equal(length(migrations_embedded), ARRAY_LEN(embedded_rows));
	for (size_t i = 0; i < ARRAY_LEN(embedded_rows); i++) {
		assert_int_equal(embedded_rows[i].number, migrations_embedded[i].number);
		assert_upgrade_equals_fresh(
		        migrations_embedded, i + 1, embedded_rows[i].sql, schema);
	}
	temp_db_done(&fresh);
}

/* A database of version 2 with these VMs, brought to the newest. Configurations as version 2 stored them. */
static void upgrade_with_vms(struct temp_db *temp, const char *spec)
{
	struct err e = {0};
	struct str sql CLEANUP(str_done) = {0};
	temp_db_init_empty(temp);
	apply_first(temp, migrations_embedded, 2);
	str_printf(&sql,
	        "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
	        "state_since, created_at) VALUES ('h1', 'h', 'test:///default', 'local',"
	        " '00000000-0000-4000-8000-000000000001', 'auto', '{}', 'ok', 1, 1);"
	        "INSERT INTO vm (id, name, host_id, managed, spec, active_spec, desired_power, "
	        "power, "
	        "power_since, vcpus, memory_bytes, created_at) VALUES "
	        "('v1', 'a', 'h1', 1, '%s', '%s', 'running', 'running', 5, 2, 1073741824, 1), "
	        "('v2', 'b', 'h1', 1, '%s', NULL, 'stopped', 'stopped', 5, 2, 1073741824, 1), "
	        "('v3', 'c', 'h1', 0, '{}', NULL, 'stopped', 'paused', 5, 1, 1048576, 1);",
	        spec, spec, spec);
	exec_in(temp, str_text(&sql));
	must(migrations_apply(temp->path, migrations_embedded, &e), &e);
}

static void test_what_runs_holds_its_room_after_the_upgrade(void **state)
{
	(void)state;
	struct temp_db temp;
	upgrade_with_vms(&temp, "{}");
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM reservation"), 2);
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM reservation WHERE vm_id = 'v1' "
	                                    "AND state = 'running' AND size_bytes = 1073741824 "
	                                    "AND min_bytes = size_bytes AND vcpus = 2"),
	        1);
	/* 32 MiB + 2 x 8 MiB + 1 GiB / 512 */
	assert_int_equal(temp_db_int(&temp, "SELECT overhead_bytes FROM reservation "
	                                    "WHERE vm_id = 'v1'"),
	        (32 + 2 * 8 + 2) << 20);
	temp_db_done(&temp);
}

static void test_stored_configurations_gain_the_new_members(void **state)
{
	(void)state;
	struct temp_db temp;
	const char *before =
	        "{\"cpu\":{\"count\":1,\"model\":\"host\",\"shares\":0,\"limit_percent\":0},"
	        "\"memory\":{\"shares\":1000,\"merge\":false,\"hugepages\":false},"
	        "\"nics\":{\"merge\":{\"model\":\"virtio\"}}}";
	const char *after = "{\"cpu\":{\"count\":1,\"model\":\"host\",\"pinning\":\"none\",\"limit_"
	                    "percent\":0},"
	                    "\"memory\":{\"shares\":1000,\"on_critical\":\"stay\",\"merge\":false,"
	                    "\"hugepages\":false},\"nics\":{\"merge\":{\"model\":\"virtio\"}}}";
	upgrade_with_vms(&temp, before);
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT count(*) FROM vm WHERE spec = '%s' AND coalesce(active_spec, spec) = spec",
	        after);
	assert_int_equal(temp_db_int(&temp, sql), 2);
	temp_db_done(&temp);
}

static void test_rows_survive_an_upgrade_that_rebuilds_a_table(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	temp_db_init_empty(&temp);
	must(migrations_apply(temp.path, sample, &e), &e);
	char *schema CLEANUP(cleanup_free) = schema_of(&temp);
	temp_db_done(&temp);
	for (size_t from = 1; from <= length(sample); from++)
		assert_upgrade_equals_fresh(sample, from, sample_rows, schema);

	temp_db_init_empty(&temp);
	apply_first(&temp, sample, 1);
	exec_in(&temp, sample_rows);
	must(migrations_apply(temp.path, sample, &e), &e);
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM parent"), 2);
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM child"), 3);
	temp_db_done(&temp);
}

static void test_numbers_ascend_without_gaps(void **state)
{
	(void)state;
	for (size_t i = 0; i < length(migrations_embedded); i++) {
		char prefix[32];
		snprintf(prefix, sizeof(prefix), "%04zu_", i + 1);
		assert_int_equal(migrations_embedded[i].number, i + 1);
		assert_true(str_starts_with(migrations_embedded[i].name, prefix));
	}
}

static void test_current_schema_is_left_alone(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	char backup[160];
	temp_db_init(&temp);
	must(migrations_apply(temp.path, migrations_embedded, &e), &e);
	for (int number = 1; number < 5; number++) {
		snprintf(backup, sizeof(backup), "%s.before-%04d", temp.path, number);
		assert_int_not_equal(access(backup, F_OK), 0);
	}
	temp_db_done(&temp);
}

static void test_newer_schema_is_refused_with_both_numbers(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	temp_db_init_empty(&temp);
	must(migrations_apply(temp.path, sample, &e), &e);
	exec_in(&temp, "PRAGMA user_version = 17");
	assert_int_equal(migrations_apply(temp.path, sample, &e), ERR_UNSUPPORTED);
	assert_non_null(strstr(e.message, "17"));
	assert_non_null(strstr(e.message, "up to 3"));
	assert_non_null(strstr(e.hint, "before-0004"));
	assert_int_equal(temp_db_int(&temp, "PRAGMA user_version"), 17);
	temp_db_done(&temp);
}

static void test_database_of_another_program_is_refused_untouched(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	sqlite3 *other = NULL;
	temp_db_init_empty(&temp);
	assert_int_equal(sqlite3_open(temp.path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "CREATE TABLE bookmark (url TEXT)", NULL, NULL, NULL),
	        SQLITE_OK);
	sqlite3_close(other);
	assert_int_equal(migrations_apply(temp.path, sample, &e), ERR_CONFLICT);
	assert_non_null(strstr(e.message, temp.path));
	assert_int_equal(temp_db_int(&temp, "SELECT count(*) FROM sqlite_schema"), 1);
	/* Nor turned to WAL. */
	struct db *db = temp_db_open(&temp, DB_READ_ONLY);
	struct statement *s = NULL;
	must(db_prepare(db, "PRAGMA journal_mode", &s, &e), &e);
	assert_int_equal(statement_step(s, &e), 1);
	assert_string_equal(statement_text(s, 0), "delete");
	statement_done(&s);
	db_close(db);
	temp_db_done(&temp);
}

static void test_backup_before_an_upgrade_holds_the_old_database(void **state)
{
	(void)state;
	struct temp_db temp, backup;
	struct err e = {0};
	struct stat st;
	char unfinished[160];
	temp_db_init_empty(&temp);
	apply_first(&temp, sample, 1);
	exec_in(&temp, sample_rows);
	char *before CLEANUP(cleanup_free) = schema_of(&temp);
	must(migrations_apply(temp.path, sample, &e), &e);

	backup = temp;
	snprintf(backup.path, sizeof(backup.path), "%s/berth.db.before-0002", temp.dir);
	snprintf(unfinished, sizeof(unfinished), "%s.unfinished", backup.path);
	assert_int_equal(stat(backup.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_not_equal(access(unfinished, F_OK), 0);
	char *kept CLEANUP(cleanup_free) = schema_of(&backup);
	assert_string_equal(kept, before);
	assert_int_equal(temp_db_int(&backup, "SELECT count(*) FROM child"), 3);
	assert_int_equal(temp_db_int(&backup, "PRAGMA user_version"), 1);
	/* And it can be put back. */
	must(migrations_apply(backup.path, sample, &e), &e);
	assert_int_equal(temp_db_int(&backup, "PRAGMA user_version"), 3);
	temp_db_done(&temp);
}

static void test_no_upgrade_without_its_backup(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	char in_the_way[160];
	temp_db_init_empty(&temp);
	apply_first(&temp, sample, 1);
	snprintf(in_the_way, sizeof(in_the_way), "%s.before-0002", temp.path);
	assert_int_equal(mkdir(in_the_way, 0700), 0); /* a directory cannot be replaced by a file */
	assert_true(migrations_apply(temp.path, sample, &e) < 0);
	assert_non_null(strstr(e.message, "before-0002"));
	assert_int_equal(temp_db_int(&temp, "PRAGMA user_version"), 1);
	temp_db_done(&temp);
}

static void assert_left_at_version_1(const struct temp_db *temp, const char *schema)
{
	char *now CLEANUP(cleanup_free) = schema_of(temp);
	assert_string_equal(now, schema);
	assert_int_equal(temp_db_int(temp, "PRAGMA user_version"), 1);
	assert_int_equal(temp_db_int(temp, "SELECT count(*) FROM child"), 3);
}

/* Applies `second` as migration 2 and expects it to be refused with the old schema left. */
static void assert_fails_whole(const char *second, const char *expected)
{
	struct temp_db temp;
	struct err e = {0};
	const struct migration list[] = {
	        sample[0], {.number = 2, .name = "0002_wrong", .sql = second}, {.number = 0}};
	temp_db_init_empty(&temp);
	apply_first(&temp, sample, 1);
	exec_in(&temp, sample_rows);
	char *schema CLEANUP(cleanup_free) = schema_of(&temp);
	assert_true(migrations_apply(temp.path, list, &e) < 0);
	assert_non_null(strstr(e.message, "0002_wrong"));
	assert_non_null(strstr(e.message, expected));
	assert_left_at_version_1(&temp, schema);
	temp_db_done(&temp);
}

static void test_failing_migration_leaves_the_old_schema(void **state)
{
	(void)state;
	assert_fails_whole(
	        "CREATE TABLE extra (a TEXT); DELETE FROM child; CREATE TABLE parent (a TEXT)",
	        "already exists");
}

static void test_migration_that_breaks_references_is_rolled_back(void **state)
{
	(void)state;
	assert_fails_whole("DELETE FROM parent WHERE id = 2", "child");
}

static void kill_self(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)context;
	(void)n;
	(void)values;
	raise(SIGKILL);
}

static int add_kill_self(
        sqlite3 *handle, char **message, const struct sqlite3_api_routines *routines)
{
	(void)message;
	(void)routines;
	return sqlite3_create_function(
	        handle, "kill_self", 0, SQLITE_UTF8, NULL, kill_self, NULL, NULL);
}

static void test_crash_in_a_migration_leaves_the_old_schema(void **state)
{
	(void)state;
	struct temp_db temp;
	struct err e = {0};
	const struct migration list[] = {sample[0],
	        {.number = 2,
	                .name = "0002_crash",
	                .sql = "CREATE TABLE extra (a TEXT);"
	                       "INSERT INTO extra WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL "
	                       "SELECT i + 1 "
	                       "FROM n LIMIT 5000) SELECT hex(zeroblob(500)) FROM n;"
	                       "DELETE FROM child;"
	                       "PRAGMA user_version = 2;"
	                       "SELECT kill_self();"},
	        {.number = 0}};
	temp_db_init_empty(&temp);
	apply_first(&temp, sample, 1);
	exec_in(&temp, sample_rows);
	char *schema CLEANUP(cleanup_free) = schema_of(&temp);
	pid_t child = fork();
	if (child == 0) {
		sqlite3_auto_extension((void (*)(void))add_kill_self);
		migrations_apply(temp.path, list, &e);
		_exit(1);
	}
	int status = 0;
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_left_at_version_1(&temp, schema);
	must(migrations_apply(temp.path, sample, &e), &e);
	assert_int_equal(temp_db_int(&temp, "PRAGMA user_version"), 3);
	temp_db_done(&temp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_upgrade_from_every_version_equals_a_fresh_schema),
	        cmocka_unit_test(test_what_runs_holds_its_room_after_the_upgrade),
	        cmocka_unit_test(test_stored_configurations_gain_the_new_members),
	        cmocka_unit_test(test_rows_survive_an_upgrade_that_rebuilds_a_table),
	        cmocka_unit_test(test_numbers_ascend_without_gaps),
	        cmocka_unit_test(test_current_schema_is_left_alone),
	        cmocka_unit_test(test_newer_schema_is_refused_with_both_numbers),
	        cmocka_unit_test(test_database_of_another_program_is_refused_untouched),
	        cmocka_unit_test(test_backup_before_an_upgrade_holds_the_old_database),
	        cmocka_unit_test(test_no_upgrade_without_its_backup),
	        cmocka_unit_test(test_failing_migration_leaves_the_old_schema),
	        cmocka_unit_test(test_migration_that_breaks_references_is_rolled_back),
	        cmocka_unit_test(test_crash_in_a_migration_leaves_the_old_schema),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
