/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer writes is JSON, whatever the texts contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>

#include "base/json_writer.h"

static void test_commas_are_kept_by_the_writer(void **state)
{
	(void)state;
	struct json_writer w = {0};
	json_object_begin(&w);
	json_member_string(&w, "a", "x");
	json_member_int(&w, "b", INT64_MIN);
	json_key(&w, "c");
	json_array_begin(&w);
	json_put_bool(&w, true);
	json_put_null(&w);
	json_object_begin(&w);
	json_object_end(&w);
	json_array_begin(&w);
	json_array_end(&w);
	json_put_real(&w, 0.5);
	json_array_end(&w);
	json_member_bool(&w, "d", false);
	json_member_time(&w, "e", 1);
	json_member_time(&w, "f", 0);
	json_member_raw(&w, "g", "{\"h\":1}");
	json_key_any(&w, "i\"\n");
	json_put_string(&w, NULL);
	json_object_end(&w);
	assert_string_equal(str_text(&w.out),
	        "{\"a\":\"x\",\"b\":-9223372036854775808,\"c\":[true,null,{},[],0.5],"
	        "\"d\":false,\"e\":\"1970-01-01T00:00:00.001Z\",\"f\":null,\"g\":{\"h\":1},"
	        "\"i\\\"\\n\":null}");
	assert_int_equal(w.out.len, strlen(w.out.data));
	json_writer_done(&w);
}

static void test_members_are_spliced(void **state)
{
	(void)state;
	struct json_writer w = {0};
	json_object_begin(&w);
	json_splice_members(&w, "{}");
	json_splice_members(&w, "{\"a\":1}");
	json_splice_members(&w, "{}");
	json_splice_members(&w, "{\"b\":2}");
	json_member_int(&w, "c", 3);
	json_object_end(&w);
	assert_string_equal(w.out.data, "{\"a\":1,\"b\":2,\"c\":3}");
	json_writer_done(&w);
}

static void test_members_are_spliced_into_a_member(void **state)
{
	(void)state;
	struct json_writer w = {0};
	const char *filled = "{\"m\":{\"a\":1},\"z\":2}", *empty = "{\"n\":{}}";
	json_object_begin(&w);
	json_splice_members_with(&w, filled, strstr(filled, "\"a"), "{\"x\":null}");
	json_splice_members_with(&w, empty, strstr(empty, "}"), "{\"y\":3}");
	json_object_end(&w);
	assert_string_equal(w.out.data, "{\"m\":{\"x\":null,\"a\":1},\"z\":2,\"n\":{\"y\":3}}");
	json_writer_done(&w);
}

static void assert_reads_back(const char *text, const char *wanted)
{
	struct json_writer w = {0};
	json_put_string(&w, text);
	json_t *value = json_loads(w.out.data, JSON_DECODE_ANY, NULL);
	if (!value)
		fail_msg("not JSON: %s", w.out.data);
	assert_string_equal(json_string_value(value), wanted);
	json_decref(value);
	json_writer_done(&w);
}

static void test_every_byte_is_written_as_valid_json(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char text[] = {'a', (char)c, 'b', '\0'};
		assert_reads_back(text, c < 0x80 ? text
		                                 : "a\xef\xbf\xbd"
		                                   "b");
	}
	assert_reads_back(
	        "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	assert_reads_back("cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd");
	assert_reads_back("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void test_what_json_cannot_say_is_null(void **state)
{
	(void)state;
	struct json_writer w = {0};
	json_array_begin(&w);
	json_put_real(&w, NAN);
	json_put_real(&w, INFINITY);
	json_put_real(&w, 1e300);
	json_array_end(&w);
	assert_string_equal(w.out.data, "[null,null,1e+300]");
	json_writer_done(&w);
}

static void test_numbers_read_back_the_same(void **state)
{
	(void)state;
	static const double numbers[] = {0, 4, -0.5, 0.1, 1.0 / 3, 1.2345678901234567, 1e15, -1e22,
	        4.9e-324, 1.7976931348623157e308};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct json_writer w = {0};
		json_put_real(&w, numbers[i]);
		json_t *value = json_loads(w.out.data, JSON_DECODE_ANY, NULL);
		assert_non_null(value);
		assert_true(json_number_value(value) == numbers[i]);
		json_decref(value);
		json_writer_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_commas_are_kept_by_the_writer),
	        cmocka_unit_test(test_members_are_spliced),
	        cmocka_unit_test(test_members_are_spliced_into_a_member),
	        cmocka_unit_test(test_every_byte_is_written_as_valid_json),
	        cmocka_unit_test(test_what_json_cannot_say_is_null),
	        cmocka_unit_test(test_numbers_read_back_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
