/* A decoder of HTTP/2 heads sees what was written, and keeps nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "server/answer_head.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { STATIC_ENTRIES = 61 };

static void assert_field(nghttp2_hd_inflater *inflater, const uint8_t **at, const uint8_t *end, struct header expected)
{
	nghttp2_nv seen;
	int flags = 0;
	ssize_t used = nghttp2_hd_inflate_hd2(inflater, &seen, &flags, *at, (size_t)(end - *at), 1);
	assert_true(used > 0);
	*at += used;
	assert_int_equal(flags & NGHTTP2_HD_INFLATE_EMIT, NGHTTP2_HD_INFLATE_EMIT);
	assert_int_equal(seen.namelen, expected.name.length);
	assert_memory_equal(seen.name, expected.name.bytes, expected.name.length);
	assert_int_equal(seen.valuelen, expected.value.length);
	assert_memory_equal(seen.value, expected.value.bytes, expected.value.length);
}

static size_t check(int status, const struct header *fields, size_t count)
{
	size_t room = answer_head_room(fields, count);
	uint8_t *block = malloc(room); /* of its own: writing beyond it is seen */
	nghttp2_hd_inflater *inflater;
	char digits[12];
	assert_non_null(block);
	assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
	size_t length = answer_head_write(block, status, fields, count);
	assert_true(length <= room);
	const uint8_t *at = block, *end = block + length;
	snprintf(digits, sizeof(digits), "%d", status);
	assert_field(inflater, &at, end, (struct header){TEXT(":status"), {digits, 3}});
	for (size_t i = 0; i < count; i++)
		assert_field(inflater, &at, end, fields[i]);
	assert_ptr_equal(at, end);
	assert_int_equal(nghttp2_hd_inflate_get_num_table_entries(inflater), STATIC_ENTRIES);
	nghttp2_hd_inflate_del(inflater);
	free(block);
	return length;
}

static void each_status_is_seen(void **state)
{
	(void)state;
	for (int status = 100; status < 1000; status++)
		check(status, NULL, 0);
}

/* By their indexes: two bytes stand for a name, one for the longest index of a single byte. */
static void names_of_the_static_table_are_short(void **state)
{
	static const struct text names[] = {TEXT("age"), TEXT("via"), TEXT("date"), TEXT("etag"), TEXT("link"),
		TEXT("vary"), TEXT("allow"), TEXT("server"), TEXT("expires"), TEXT("location"), TEXT("set-cookie"),
		TEXT("retry-after"), TEXT("content-type"), TEXT("accept-ranges"), TEXT("cache-control"), TEXT("content-range"),
		TEXT("last-modified"), TEXT("content-length"), TEXT("content-encoding"), TEXT("content-language"),
		TEXT("content-location"), TEXT("www-authenticate"), TEXT("content-disposition"),
		TEXT("strict-transport-security"), TEXT("access-control-allow-origin")};
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		const struct header field = {names[i], TEXT("value")};
		assert_int_equal(check(200, &field, 1), 1 + 2 + 1 + 5);
		/* names that only look like them */
		char other[32];
		memcpy(other, names[i].bytes, names[i].length);
		other[names[i].length - 1] ^= 1;
		const struct header unknown = {{other, names[i].length}, TEXT("value")};
		check(200, &unknown, 1);
	}
}

static void fields_of_any_length_are_seen(void **state)
{
	static const size_t lengths[] = {0, 1, 126, 127, 128, 129, 254, 255, 256, 16510, 16511, 16512, 60000};
	static char long_text[60001];
	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	for (size_t i = 0; i < COUNT(lengths); i++) {
		const struct header fields[] = {{TEXT("etag"), {long_text, lengths[i]}},
			{TEXT("x-own"), {long_text, lengths[i]}}, {{long_text, lengths[i] + 1}, TEXT("")}, {TEXT("x"), TEXT("y")}};
		check(206, fields, COUNT(fields));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_status_is_seen),
		cmocka_unit_test(names_of_the_static_table_are_short),
		cmocka_unit_test(fields_of_any_length_are_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
