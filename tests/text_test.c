/* Texts, buffers, status names: cutting, comparing, numbers, escapes, and buffers that fail once and stay failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/text.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
static const struct {
	const char *a, *b;
	bool equal, equal_ignoring_case, starts, ends; /* a with b */
} pair_cases[] = {
	{"", "", true, true, true, true},
	{"abc", "abc", true, true, true, true},
	{"abc", "ABC", false, true, false, false},
	{"abc", "ab", false, false, true, false},
	{"abc", "bc", false, false, false, true},
	{"abc", "", false, false, true, true},
	{"", "a", false, false, false, false},
	{"@[`{", "`{@[", false, false, false, false},
	{"[", "{", false, false, false, false}, /* 0x20 apart, and no letters */
	{"\xc3\x84", "\xc3\xa4", false, false, false, false},
};

static void pairs_are_compared(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(pair_cases); i++) {
		struct text a = text_of(pair_cases[i].a), b = text_of(pair_cases[i].b);
		if (text_equals(a, b) != pair_cases[i].equal || text_equals_secretly(a, b) != pair_cases[i].equal ||
			text_equals_ignoring_case(a, b) != pair_cases[i].equal_ignoring_case ||
			text_starts_with(a, b) != pair_cases[i].starts || text_ends_with(a, b) != pair_cases[i].ends)
			fail_msg("case %zu: %s and %s", i, pair_cases[i].a, pair_cases[i].b);
		if ((text_hash(a) == text_hash(b)) != pair_cases[i].equal)
			fail_msg("case %zu: hashes", i);
	}
	assert_true(text_equals(TEXT_NONE, TEXT("")));
	assert_true(text_equals((struct text){"a\0b", 3}, (struct text){"a\0b", 3}));
	assert_false(text_equals((struct text){"a\0b", 3}, (struct text){"a\0c", 3}));
	assert_null(text_of(NULL).bytes);
}

static const struct {
	const char *text;
	uint64_t maximum, value;
	enum status status;
} number_cases[] = {
	{"0", 10, 0, STATUS_OK},
	{"00010", 10, 10, STATUS_OK},
	{"10", 10, 10, STATUS_OK},
	{"11", 10, 0, STATUS_TOO_LARGE},
	{"18446744073709551615", UINT64_MAX, UINT64_MAX, STATUS_OK},
	{"18446744073709551616", UINT64_MAX, 0, STATUS_TOO_LARGE},
	{"99999999999999999999999999999999", UINT64_MAX, 0, STATUS_TOO_LARGE},
	{"99999999999999999999999x", UINT64_MAX, 0, STATUS_INVALID},
	{"", 10, 0, STATUS_INVALID},
	{"+1", 10, 0, STATUS_INVALID},
	{"-1", 10, 0, STATUS_INVALID},
	{" 1", 10, 0, STATUS_INVALID},
	{"1 ", 10, 0, STATUS_INVALID},
	{"0x1", 10, 0, STATUS_INVALID},
	{"1.0", 10, 0, STATUS_INVALID},
	{"\xd9\xa1", 10, 0, STATUS_INVALID},
};

static void numbers_are_strict(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(number_cases); i++) {
		uint64_t value = 77;
		enum status status = text_to_unsigned(text_of(number_cases[i].text), number_cases[i].maximum, &value);
		if (status != number_cases[i].status || value != (status == STATUS_OK ? number_cases[i].value : 77))
			fail_msg("case %zu: \"%s\" is %s, %llu", i, number_cases[i].text, status_name(status),
				(unsigned long long)value);
	}
}

static const struct {
	const char *whole;
	size_t from, to;
	const char *part;
} slice_cases[] = {
	{"hello", 0, 5, "hello"},
	{"hello", 1, 3, "el"},
	{"hello", 3, 99, "lo"},
	{"hello", 4, 2, ""},
	{"hello", 99, 100, ""},
	{"hello", SIZE_MAX, SIZE_MAX, ""},
	{"", 0, 1, ""},
};

static void words_are_found(void **state)
{
	(void)state;
	static const char *const words[] = {"spread", "pack", "balanced"};
	assert_int_equal(text_find_word(TEXT("spread"), words, 3), 0);
	assert_int_equal(text_find_word(TEXT("balanced"), words, 3), 2);
	assert_int_equal(text_find_word(TEXT("balanced"), words, 2), -1);
	assert_int_equal(text_find_word(TEXT("Pack"), words, 3), -1);
	assert_int_equal(text_find_word(TEXT("packs"), words, 3), -1);
	assert_int_equal(text_find_word(TEXT_NONE, words, 3), -1);
}

static void slices_stay_inside(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(slice_cases); i++) {
		struct text part = text_slice(text_of(slice_cases[i].whole), slice_cases[i].from, slice_cases[i].to);
		if (!text_equals(part, text_of(slice_cases[i].part)))
			fail_msg("case %zu: \"%.*s\"", i, TEXT_ARGUMENTS(part));
	}
	assert_null(text_slice(TEXT_NONE, 0, 5).bytes);
	assert_true(text_equals(text_trim(TEXT(" \t a b\t ")), TEXT("a b")));
	assert_true(text_equals(text_trim(TEXT("\n a\r\n")), TEXT("\n a\r\n")));
	assert_int_equal(text_trim(TEXT(" \t ")).length, 0);
	assert_int_equal(text_find(TEXT("a,b,c"), ','), 1);
	assert_int_equal(text_find(TEXT("abc"), ','), 3);
	assert_int_equal(text_find(TEXT_NONE, ','), 0);
}

static void parts_are_split_off(void **state)
{
	(void)state;
	static const struct {
		const char *whole, *parts; /* each part followed by '|' */
	} cases[] = {{"a,b,c", "a|b|c|"}, {"", "|"}, {",", "||"}, {"a,,b,", "a||b||"}, {"abc", "abc|"}};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text rest = text_of(cases[i].whole), part;
		struct buffer seen = {0};
		bool done = false;
		while (text_next_part(&rest, ',', &part, &done)) {
			buffer_append(&seen, part);
			buffer_append_byte(&seen, '|');
		}
		assert_string_equal(seen.bytes, cases[i].parts);
		buffer_free(&seen);
	}
}

static void copies_are_owned_and_terminated(void **state)
{
	(void)state;
	char *copy = text_copy(text_slice(TEXT("abcdef"), 1, 4)), *empty = text_copy(TEXT_NONE);
	assert_string_equal(copy, "bcd");
	assert_string_equal(empty, "");
	free(copy);
	free(empty);
}

static const struct {
	struct text raw;
	const char *escaped;
} escape_cases[] = {
	{{"", 0}, "\"\""},
	{{"plain", 5}, "\"plain\""},
	{{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
	{{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
	{{"\0\x01\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\\u007f\""},
	{{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
	{{"\xc3", 1}, "\"\\u00c3\""},
	{{"\xc0\xaf", 2}, "\"\\u00c0\\u00af\""},
	{{"\xed\xa0\x80", 3}, "\"\\u00ed\\u00a0\\u0080\""},
	{{"\xf4\x90\x80\x80", 4}, "\"\\u00f4\\u0090\\u0080\\u0080\""},
	{{"\xff", 1}, "\"\\u00ff\""},
	{{"0123456789abcdef\n0123456\"89", 27}, "\"0123456789abcdef\\n0123456\\\"89\""},
};

static void json_strings_are_escaped(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(escape_cases); i++) {
		struct buffer buffer = {0};
		char *exact = malloc(escape_cases[i].raw.length + 1);
		memcpy(exact, escape_cases[i].raw.bytes, escape_cases[i].raw.length);
		buffer_append_json(&buffer, (struct text){exact, escape_cases[i].raw.length});
		assert_string_equal(buffer.bytes, escape_cases[i].escaped);
		free(exact);
		buffer_free(&buffer);
	}
}

static void buffers_grow_and_fail_once(void **state)
{
	(void)state;
	struct buffer buffer = {0};
	for (int i = 0; i < 1000; i++)
		buffer_append_number(&buffer, i % 10);
	assert_int_equal(buffer.length, 1000);
	assert_int_equal(strlen(buffer.bytes), 1000);
	buffer_clear(&buffer);
	assert_string_equal(buffer.bytes, "");
	buffer_append_number(&buffer, INT64_MIN);
	buffer_append_byte(&buffer, ' ');
	buffer_append_number(&buffer, INT64_MAX);
	buffer_printf(&buffer, " %s %d", "x", -7);
	assert_string_equal(buffer.bytes, "-9223372036854775808 9223372036854775807 x -7");
	buffer_append(&buffer, (struct text){"", SIZE_MAX}); /* cannot be held: refused before it is read */
	buffer_append(&buffer, TEXT("more"));
	assert_true(buffer.failed);
	assert_string_equal(buffer.bytes, "-9223372036854775808 9223372036854775807 x -7");
	buffer_clear(&buffer);
	buffer_append(&buffer, TEXT("again"));
	char *taken = buffer_take(&buffer);
	assert_string_equal(taken, "again");
	assert_null(buffer.bytes);
	assert_int_equal(buffer.length, 0);
	free(taken);
	buffer_free(&buffer);
}

static void every_status_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(status_name(STATUS_OK), "ok");
	assert_string_equal(status_name(STATUS_NOT_FOUND), "not_found");
	assert_string_equal(status_text(STATUS_NO_MEMORY), "out of memory");
	assert_non_null(status_text((enum status)999));
	assert_non_null(status_name((enum status)999));
}

/* One odd byte at every place of texts of every length around the eight that are looked at together. */
static void printable_is_told(void **state)
{
	(void)state;
	char bytes[20];
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		memset(bytes, '~', sizeof(bytes));
		assert_true(text_is_printable((struct text){bytes, length}, '"', '\\'));
		for (size_t at = 0; at < length; at++) {
			for (int byte = 0; byte < 256; byte++) {
				bytes[at] = (char)byte;
				bool is_wanted = byte >= 0x20 && byte <= 0x7e && byte != '"' && byte != '\\';
				assert_int_equal(text_is_printable((struct text){bytes, length}, '"', '\\'), is_wanted);
			}
			bytes[at] = ' ';
		}
	}
	assert_true(text_is_line(TEXT("a\tb\xc3\xa4")));
	assert_true(text_is_line(TEXT("")));
	assert_false(text_is_line(TEXT("a long one with a line's end\n")));
	assert_false(text_is_line(TEXT("\x7f")));
	assert_false(text_is_line(TEXT("\0")));
}

static void hex_is_written(void **state)
{
	static const uint64_t numbers[] = {
		0, 1, 9, 10, 15, 16, UINT64_MAX, UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210), UINT64_C(1) << 63};
	(void)state;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		char written[17] = {0}, expected[17];
		text_write_hex(written, numbers[i]);
		snprintf(expected, sizeof(expected), "%016llx", (unsigned long long)numbers[i]);
		assert_string_equal(written, expected);
	}
}

static void secrets_are_compared_whole(void **state)
{
	char one[40], other[40];
	(void)state;
	memset(one, 's', sizeof(one));
	memset(other, 's', sizeof(other));
	for (size_t length = 0; length <= sizeof(one); length++) {
		const struct text a = {one, length}, b = {other, length};
		assert_true(text_equals_secretly(a, b));
		for (size_t at = 0; at < length; at++) {
			other[at] ^= 1;
			assert_false(text_equals_secretly(a, b));
			other[at] ^= 1;
		}
		if (length > 0)
			assert_false(text_equals_secretly(a, text_slice(b, 0, length - 1)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printable_is_told),
		cmocka_unit_test(pairs_are_compared),
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(words_are_found),
		cmocka_unit_test(slices_stay_inside),
		cmocka_unit_test(parts_are_split_off),
		cmocka_unit_test(copies_are_owned_and_terminated),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(buffers_grow_and_fail_once),
		cmocka_unit_test(hex_is_written),
		cmocka_unit_test(secrets_are_compared_whole),
		cmocka_unit_test(every_status_has_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
