/* Known fields read the same in either version of HTTP, and none can break out of its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "server/known_fields.h"

static void assert_text(struct text seen, struct text expected)
{
	assert_int_equal(seen.length, expected.length);
	assert_memory_equal(seen.bytes, expected.bytes, expected.length);
}

static void each_field_is_in_both(void **state)
{
	char etag[] = "\"abc\"";
	const struct header fields[] = {
		{TEXT("etag"), text_of(etag)}, {TEXT("x-unknown"), TEXT("a\tb")}, {TEXT("content-type"), TEXT("")}};
	struct known_fields *known = known_fields_new(fields, 3);
	nghttp2_hd_inflater *inflater;
	(void)state;
	assert_non_null(known);
	etag[1] = 'x'; /* they are its own */
	assert_int_equal(known->count, 3);
	assert_text(known->fields[0].value, TEXT("\"abc\""));
	assert_text(known->lines, TEXT("etag: \"abc\"\r\nx-unknown: a\tb\r\ncontent-type: \r\n"));
	assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
	const uint8_t *at = (const uint8_t *)known->block.bytes, *end = at + known->block.length;
	for (unsigned i = 0; i < known->count; i++) {
		nghttp2_nv seen;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, &seen, &flags, at, (size_t)(end - at), 1);
		assert_true(used > 0);
		at += used;
		assert_text((struct text){(const char *)seen.name, seen.namelen}, known->fields[i].name);
		assert_text((struct text){(const char *)seen.value, seen.valuelen}, known->fields[i].value);
	}
	assert_ptr_equal(at, end);
	nghttp2_hd_inflate_del(inflater);
	known_fields_free(known);
}

static void what_is_no_line_is_refused(void **state)
{
	static const struct header wrong[] = {{TEXT("a"), TEXT("b\r\nc: d")}, {TEXT("a"), TEXT("\n")},
		{TEXT("a"), {"b\0", 2}}, {TEXT("a"), TEXT("\x7f")}, {TEXT(""), TEXT("b")}};
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct header fields[] = {{TEXT("fine"), TEXT("fine")}, wrong[i]};
		assert_null(known_fields_new(fields, 2));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_in_both),
		cmocka_unit_test(what_is_no_line_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
