/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is: good ones are taken with their size, and what refers elsewhere or lies about itself is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "storage/image_inspect.h"

#define CLUSTER    65536
#define GIB        ((int64_t)1 << 30)
#define FILE_BYTES ((size_t)5 * CLUSTER)

static void put_be(unsigned char *file, size_t offset, int bytes, uint64_t value)
{
	for (int i = 0; i < bytes; i++)
		file[offset + (size_t)i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

/* A qcow2 file of version 3 with a disk of 1 GiB and nothing in it. */
static unsigned char *make_qcow2(void)
{
	unsigned char *file = xcalloc(1, FILE_BYTES);
	memcpy(file, "QFI\xfb", 4);
	put_be(file, 4, 4, 3);
	put_be(file, 20, 4, 16);
	put_be(file, 24, 8, GIB);
	put_be(file, 36, 4, 2);
	put_be(file, 40, 8, 3 * CLUSTER);
	put_be(file, 48, 8, CLUSTER);
	put_be(file, 56, 4, 1);
	put_be(file, 96, 4, 4);
	put_be(file, 100, 4, 104);
	return file;
}

static int read_file(void *arg, int64_t offset, void *buffer, size_t n, struct err *e)
{
	(void)e;
	memcpy(buffer, (unsigned char *)arg + offset, n);
	return 0;
}

static int look(unsigned char *file, size_t size, enum image_format declared, int64_t max,
        struct image_facts *facts, struct err *e)
{
	const struct image_bytes bytes = {.size = (int64_t)size, .read = read_file, .arg = file};
	*e = (struct err){0};
	return image_inspect(&bytes, declared, max, facts, e);
}

static void test_empty_qcow2_is_taken_with_its_size(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e;
	assert_int_equal(look(file, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e), 0);
	assert_int_equal(facts.format, IMAGE_QCOW2);
	assert_int_equal(facts.virtual_bytes, GIB);
	assert_int_equal(look(file, FILE_BYTES, IMAGE_QCOW2, GIB, &facts, &e), 0);
	free(file);
}

static void test_size_beyond_the_limit_is_refused_with_the_numbers(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e;
	assert_int_equal(
	        look(file, FILE_BYTES, IMAGE_FORMATS, GIB - 1, &facts, &e), ERR_UNPROCESSABLE);
	assert_string_equal(e.numbers, "{\"size_bytes\":1073741824,\"limit_bytes\":1073741823}");
	free(file);
}

static void test_magic_inside_a_raw_upload_is_refused(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e;
	assert_int_equal(look(file, FILE_BYTES, IMAGE_RAW, 0, &facts, &e), ERR_UNPROCESSABLE);
	memset(file, 0x90, 512);
	assert_int_equal(look(file, FILE_BYTES, IMAGE_RAW, 0, &facts, &e), 0);
	assert_int_equal(facts.virtual_bytes, FILE_BYTES);
	assert_int_equal(look(file, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e), ERR_UNPROCESSABLE);
	assert_non_null(strstr(e.hint, "raw"));
	free(file);
}

/* One number of the header changed each time. */
static void test_each_dangerous_header_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t offset;
		int bytes;
		uint64_t value;
		const char *word;
	} cases[] = {
	        {4, 4, 1, "version 1"},
	        {8, 8, 1024, "backing file"},
	        {16, 4, 20, "backing file"},
	        {20, 4, 8, "2^8"},
	        {20, 4, 22, "2^22"},
	        {24, 8, 0, "size of 0"},
	        {32, 4, 1, "encrypted"},
	        {36, 4, 1, "needs 2"},
	        {36, 4, 0xffffffff, "allowed"},
	        {40, 8, (uint64_t)1 << 40, "beyond the end"},
	        {40, 8, 3 * CLUSTER + 8, "begin a cluster"},
	        {48, 8, UINT64_MAX - CLUSTER + 1, "beyond the end"},
	        {56, 4, 0, "no reference counts"},
	        {56, 4, 0x7fffffff, "allowed"},
	        {60, 4, 17, "internal snapshots"},
	        {72, 8, 2, "corrupt"},
	        {72, 8, 4, "another file"},
	        {72, 8, 32, "0x20"},
	        {88, 8, 2, "another file"},
	        {96, 4, 7, "2^7"},
	        {100, 4, 100, "header has 100"},
	        {104, 4, 0xe2792aca, "format of a backing file"},
	        {104, 4, 0x44415441, "external data file"},
	        {104, 4, 0x0537be77, "encryption"},
	        {108, 4, 0xffffffff, ""},
	        {3 * CLUSTER, 8, (uint64_t)1 << 45, "L2 table"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned char *file = make_qcow2();
		struct image_facts facts;
		struct err e;
		put_be(file, cases[i].offset, cases[i].bytes, cases[i].value);
		if (cases[i].offset == 108)
			put_be(file, 104, 4, 0x12345678);
		int rc = look(file, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e);
		if (rc != ERR_UNPROCESSABLE || !strstr(e.message, cases[i].word))
			fail_msg("case %zu: %d %s", i, rc, e.message);
		free(file);
	}
}

static void test_clusters_named_more_often_than_there_are_is_a_bomb(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e;
	put_be(file, 3 * CLUSTER, 8, (uint64_t)1 << 63 | 4 * CLUSTER);
	put_be(file, 4 * CLUSTER, 8, (uint64_t)1 << 63 | CLUSTER);
	assert_int_equal(look(file, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e), 0);
	for (size_t i = 0; i < 8192; i++)
		put_be(file, 4 * CLUSTER + i * 8, 8, (uint64_t)1 << 63 | CLUSTER);
	assert_int_equal(look(file, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e), ERR_UNPROCESSABLE);
	assert_non_null(strstr(e.message, "shared"));
	free(file);
}

static void test_every_cut_of_a_file_is_refused_or_taken_without_reading_beyond(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e;
	for (size_t n = 0; n < 4 * (size_t)CLUSTER; n = n < 200 ? n + 1 : n + 4099) {
		unsigned char *part = xmemdup(file, n + 1); /* the sanitizer watches its end */
		int rc = look(part, n, IMAGE_FORMATS, 0, &facts, &e);
		assert_true(rc == ERR_UNPROCESSABLE || (rc == 0 && n > 3 * CLUSTER));
		free(part);
	}
	free(file);
}

static void test_beginning_alone_shows_what_headers_say(void **state)
{
	(void)state;
	unsigned char *file = make_qcow2();
	struct image_facts facts;
	struct err e = {0};
	assert_int_equal(image_inspect_head(
	                         file, IMAGE_HEAD_BYTES, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e),
	        0);
	assert_int_equal(facts.virtual_bytes, GIB);
	put_be(file, 8, 8, 1024);
	assert_int_equal(image_inspect_head(
	                         file, IMAGE_HEAD_BYTES, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e),
	        ERR_UNPROCESSABLE);
	assert_int_equal(image_inspect_head(file, 0, FILE_BYTES, IMAGE_FORMATS, 0, &facts, &e),
	        ERR_UNPROCESSABLE);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_empty_qcow2_is_taken_with_its_size),
	        cmocka_unit_test(test_size_beyond_the_limit_is_refused_with_the_numbers),
	        cmocka_unit_test(test_magic_inside_a_raw_upload_is_refused),
	        cmocka_unit_test(test_each_dangerous_header_is_refused),
	        cmocka_unit_test(test_clusters_named_more_often_than_there_are_is_a_bomb),
	        cmocka_unit_test(
	                test_every_cut_of_a_file_is_refused_or_taken_without_reading_beyond),
	        cmocka_unit_test(test_beginning_alone_shows_what_headers_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
