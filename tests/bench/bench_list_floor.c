/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the list figures: SQLite's own select of a page of VMs, and the page's JSON written straight into a
 * buffer by code that knows every column. Prints the time of both; with "print" the page itself, so that
 * whoever compares can check that it is what the API answers.
 *
 *	bench_list_floor DATABASE ROWS [print]
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"

#define RUN_NS 1000000000 /* of each measurement */

static const char page_sql[] =
        "SELECT vm.id, vm.name, host.name, host_group.name, vm.managed, vm.adopted, "
        "CASE WHEN (host.listed = 0 OR host.state = 'slow') THEN 'unknown' ELSE vm.power END, "
        "vm.power_reason, "
        "CASE WHEN (host.listed = 0 OR host.state = 'slow') THEN host.state_since "
        "ELSE vm.power_since END, vm.desired_power, vm.spec, vm.guest, vm.pending, "
        "vm.created_at, "
        "vm.version "
        "FROM vm JOIN host ON host.id = vm.host_id JOIN host_group ON host_group.id = "
        "host.host_group "
        "ORDER BY vm.name, vm.id LIMIT ?";
#define COLUMNS 15

static void check(int rc)
{
	if (rc == SQLITE_OK)
		return;
	fprintf(stderr, "bench_list_floor: %s\n", sqlite3_errstr(rc));
	exit(1);
}

static char *put(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	return to + len;
}
#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_column(char *to, sqlite3_stmt *s, int column)
{
	const void *text = sqlite3_column_text(s, column);
	return put(to, text, (size_t)sqlite3_column_bytes(s, column));
}

/* A text in quotes; what would need escaping does not occur in this database. */
static char *put_text(char *to, sqlite3_stmt *s, int column)
{
	const unsigned char *at = sqlite3_column_text(s, column);
	*to++ = '"';
	for (; *at; at++) {
		if (*at < 0x20 || *at == '"' || *at == '\\')
			exit(1);
		*to++ = (char)*at;
	}
	*to++ = '"';
	return to;
}

static char *put_time(char *to, sqlite3_stmt *s, int column)
{
	char text[CLOCK_TEXT_SIZE];
	clock_format(sqlite3_column_int64(s, column), text);
	*to++ = '"';
	to = put(to, text, sizeof("2026-01-01T00:00:00.000Z") - 1);
	*to++ = '"';
	return to;
}

static char *put_bool(char *to, sqlite3_stmt *s, int column)
{
	return sqlite3_column_int(s, column) ? PUT(to, "true") : PUT(to, "false");
}

/* The members of the configuration; none of this database's VMs runs. */
static char *put_spec(char *to, sqlite3_stmt *s, int column)
{
	static const char memory[] = "\"memory\":{";
	const char *spec = (const char *)sqlite3_column_text(s, column);
	const char *end = spec + sqlite3_column_bytes(s, column) - 1;
	const char *inside = strstr(spec, memory) + sizeof(memory) - 1;
	to = put(to, spec + 1, (size_t)(inside - spec) - 1);
	to = PUT(to, "\"current_bytes\":null,");
	return put(to, inside, (size_t)(end - inside));
}

static char *put_row(char *to, sqlite3_stmt *s)
{
	to = put_text(PUT(to, "{\"id\":"), s, 0);
	to = put_text(PUT(to, ",\"name\":"), s, 1);
	to = put_text(PUT(to, ",\"host\":"), s, 2);
	to = put_text(PUT(to, ",\"host_group\":"), s, 3);
	to = put_bool(PUT(to, ",\"managed\":"), s, 4);
	to = put_bool(PUT(to, ",\"adopted\":"), s, 5);
	to = put_text(PUT(to, ",\"power\":"), s, 6);
	to = put_text(PUT(to, ",\"power_reason\":"), s, 7);
	to = put_time(PUT(to, ",\"power_since\":"), s, 8);
	to = put_text(PUT(to, ",\"desired_power\":"), s, 9);
	*to++ = ',';
	to = put_spec(to, s, 10);
	to = put_column(PUT(to, ",\"guest\":"), s, 11);
	to = put_column(PUT(to, ",\"pending\":"), s, 12);
	to = put_time(PUT(to, ",\"created_at\":"), s, 13);
	to = put_column(PUT(to, ",\"version\":"), s, 14);
	*to++ = '}';
	return to;
}

static size_t write_page(sqlite3_stmt *s, char *buffer)
{
	char *to = PUT(buffer, "{\"items\":[");
	while (sqlite3_step(s) == SQLITE_ROW) {
		to = put_row(to, s);
		*to++ = ',';
	}
	check(sqlite3_reset(s));
	return (size_t)(to - buffer) - 1;
}

static size_t only_select(sqlite3_stmt *s, char *buffer)
{
	(void)buffer;
	while (sqlite3_step(s) == SQLITE_ROW)
		for (int column = 0; column < COLUMNS; column++)
			sqlite3_column_text(s, column);
	check(sqlite3_reset(s));
	return 0;
}

static double cpu_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double measure(size_t (*page)(sqlite3_stmt *s, char *buffer), sqlite3_stmt *s, char *buffer)
{
	page(s, buffer);
	int n = 0;
	double before_us = cpu_us();
	for (int64_t end_ns = clock_now_ns() + RUN_NS; clock_now_ns() < end_ns; n++)
		page(s, buffer);
	return (cpu_us() - before_us) / n;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: bench_list_floor DATABASE ROWS [print]\n");
		return 1;
	}
	int rows = atoi(argv[2]);
	char *buffer = malloc((size_t)rows * 16384 + 64);
	sqlite3 *db;
	sqlite3_stmt *s;
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	check(sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL));
	check(sqlite3_prepare_v2(db, page_sql, -1, &s, NULL));
	check(sqlite3_bind_int(s, 1, rows));
	if (argc > 3) {
		size_t len = write_page(s, buffer);
		printf("%.*s]", (int)len, buffer);
	} else {
		double select_us = measure(only_select, s, buffer);
		printf("select_us=%.1f page_us=%.1f\n", select_us, measure(write_page, s, buffer));
	}
	sqlite3_finalize(s);
	sqlite3_close(db);
	free(buffer);
	return 0;
}
