/* Range sets, dates, entity tags and the conditions made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/etag.h"
#include "server/http_date.h"
#include "server/range.h"

static const struct {
	const char *value;
	uint64_t length;
	enum range_verdict verdict;
	const char *ranges; /* as content-range, ';' between */
} range_cases[] = {
	{"bytes=0-9", 100, RANGE_LIST, "bytes 0-9/100;"},
	{"Bytes=0-", 100, RANGE_LIST, "bytes 0-99/100;"},
	{"bytes=99-", 100, RANGE_LIST, "bytes 99-99/100;"},
	{"bytes=-1", 100, RANGE_LIST, "bytes 99-99/100;"},
	{"bytes=-1000", 100, RANGE_LIST, "bytes 0-99/100;"},
	{"bytes=90-1000", 100, RANGE_LIST, "bytes 90-99/100;"},
	{"bytes=90-99999999999999999999999", 100, RANGE_LIST, "bytes 90-99/100;"},
	{"bytes=-99999999999999999999999", 100, RANGE_LIST, "bytes 0-99/100;"},
	{"bytes= 0-1 ,\t5-6,,", 100, RANGE_LIST, "bytes 0-1/100;bytes 5-6/100;"},
	{"bytes=5-6,0-1", 100, RANGE_LIST, "bytes 0-1/100;bytes 5-6/100;"},
	{"bytes=0-1,2-3", 100, RANGE_LIST, "bytes 0-3/100;"},
	{"bytes=0-9,5-6,-91", 100, RANGE_LIST, "bytes 0-99/100;"},
	{"bytes=0-50,10-20,49-60,70-80", 100, RANGE_LIST, "bytes 0-60/100;bytes 70-80/100;"},
	{"bytes=0-1,200-300", 100, RANGE_LIST, "bytes 0-1/100;"},
	{"bytes=0-18446744073709551615", UINT64_MAX, RANGE_LIST, "bytes 0-18446744073709551614/18446744073709551615;"},
	{"bytes=100-", 100, RANGE_UNSATISFIABLE, NULL},
	{"bytes=100-200,300-", 100, RANGE_UNSATISFIABLE, NULL},
	{"bytes=-0", 100, RANGE_UNSATISFIABLE, NULL},
	{"bytes=0-", 0, RANGE_UNSATISFIABLE, NULL},
	{"bytes=99999999999999999999999-", 100, RANGE_UNSATISFIABLE, NULL},
	{"", 100, RANGE_WHOLE, NULL},
	{"bytes", 100, RANGE_WHOLE, NULL},
	{"bytes=", 100, RANGE_WHOLE, NULL},
	{"bytes=,", 100, RANGE_WHOLE, NULL},
	{"bytes=-", 100, RANGE_WHOLE, NULL},
	{"bytes=5", 100, RANGE_WHOLE, NULL},
	{"bytes=5-4", 100, RANGE_WHOLE, NULL},
	{"bytes=0-1,5-4", 100, RANGE_WHOLE, NULL},
	{"bytes=a-b", 100, RANGE_WHOLE, NULL},
	{"bytes=0x1-2", 100, RANGE_WHOLE, NULL},
	{"bytes=+1-2", 100, RANGE_WHOLE, NULL},
	{"bytes=1 - 2", 100, RANGE_WHOLE, NULL},
	{"bytes=--1", 100, RANGE_WHOLE, NULL},
	{"bytes =0-1", 100, RANGE_WHOLE, NULL},
	{"lines=0-1", 100, RANGE_WHOLE, NULL},
	{"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32", 100,
		RANGE_WHOLE, NULL},
};

static void ranges_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof range_cases / sizeof *range_cases; i++) {
		struct byte_ranges ranges = {0};
		enum range_verdict verdict = range_parse(text_of(range_cases[i].value), range_cases[i].length, &ranges);
		if (verdict != range_cases[i].verdict)
			fail_msg("case %zu: %s", i, range_cases[i].value);
		if (verdict != RANGE_LIST)
			continue;
		struct buffer printed = {0};
		for (unsigned at = 0; at < ranges.count; at++) {
			range_format(&ranges.at[at], range_cases[i].length, &printed);
			buffer_append_byte(&printed, ';');
		}
		assert_string_equal(printed.bytes, range_cases[i].ranges);
		buffer_free(&printed);
	}
	struct buffer printed = {0};
	range_format(NULL, 100, &printed);
	assert_string_equal(printed.bytes, "bytes */100");
	buffer_free(&printed);
}

enum { NOW = 1795521600 }; /* 2026-11-24 */

static const struct {
	const char *text;
	int64_t seconds; /* -1: INVALID */
} date_cases[] = {
	{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
	{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
	{"Sun Nov  6 08:49:37 1994", 784111777},
	{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
	{"Thu, 29 Feb 2024 23:59:59 GMT", 1709251199},
	{"Wednesday, 24-Nov-76 00:00:00 GMT", 3373401600},
	{"Thursday, 24-Nov-77 00:00:00 GMT", 249177600},
	{"Sat, 31 Dec 2016 23:59:60 GMT", 1483228799},
	{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
	{"Sun, 06 Nov 1994 08:49:37 UTC", -1},
	{"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
	{"Sun, 6 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 06 nov 1994 08:49:37 GMT", -1},
	{"Sun, 00 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 31 Nov 1994 08:49:37 GMT", -1},
	{"Wed, 29 Feb 2023 00:00:00 GMT", -1},
	{"Sun, 06 Nov 1994 24:00:00 GMT", -1},
	{"Sun, 06 Nov 1994 08:60:37 GMT", -1},
	{"Sun, 06 Nov 1994 08:49", -1},
	{"Monsday, 06-Nov-94 08:49:37 GMT", -1},
	{"Sun Nov 6 08:49:37 1994", -1},
	{"784111777", -1},
	{"", -1},
};

static void dates_are_read_and_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof date_cases / sizeof *date_cases; i++) {
		int64_t seconds = -1;
		enum status status = http_date_parse(text_of(date_cases[i].text), NOW, &seconds);
		if (seconds != date_cases[i].seconds || (status == STATUS_OK) != (seconds >= 0))
			fail_msg("case %zu: %s is %lld", i, date_cases[i].text, (long long)seconds);
	}
	char text[HTTP_DATE_LENGTH + 1];
	http_date_format(784111777, text);
	assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
	http_date_format(-1, text);
	assert_string_equal(text, "Wed, 31 Dec 1969 23:59:59 GMT");
	http_date_format(INT64_MAX, text);
	assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
	http_date_format(INT64_MIN, text);
	assert_string_equal(text, "Sat, 01 Jan 0000 00:00:00 GMT");
	for (int64_t seconds = 0; seconds < 20000000000; seconds += 86400 * 13 + 12345) {
		int64_t again;
		http_date_format(seconds, text);
		assert_int_equal(http_date_parse(text_of(text), NOW, &again), STATUS_OK);
		assert_int_equal(again, seconds);
	}
}

static const struct {
	const char *value, *tag;
	bool none_match, match;
} tag_cases[] = {
	{"\"a\"", "\"a\"", true, true},
	{"W/\"a\"", "\"a\"", true, false},
	{"\"a\"", "W/\"a\"", true, false},
	{"W/\"a\"", "W/\"a\"", true, false},
	{"\"b\", \"a\"", "\"a\"", true, true},
	{"\"b\",W/\"c\" , \"a\"", "\"a\"", true, true},
	{"\"x,\"a\"", "\"a\"", false, false},
	{"\"x,\", \"a\"", "\"a\"", true, true},
	{" * ", "\"a\"", true, true},
	{"*", "", false, false},
	{"\"A\"", "\"a\"", false, false},
	{"w/\"a\"", "\"a\"", false, false},
	{"a", "\"a\"", false, false},
	{"\"a", "\"a\"", false, false},
	{"\"\"", "\"\"", true, true},
	{"", "\"a\"", false, false},
};

static void tags_are_compared(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof tag_cases / sizeof *tag_cases; i++) {
		struct text value = text_of(tag_cases[i].value), tag = text_of(tag_cases[i].tag);
		if (if_none_match(value, tag) != tag_cases[i].none_match || if_match(value, tag) != tag_cases[i].match)
			fail_msg("case %zu: %s against %s", i, tag_cases[i].value, tag_cases[i].tag);
	}
	assert_true(etag_is_valid(TEXT("W/\"a-1\"")));
	assert_false(etag_is_valid(TEXT("\"a\"b")));
	assert_false(etag_is_valid(TEXT("\"a b\"")));
	assert_false(etag_is_valid(TEXT_NONE));
}

static void conditions_of_dates_hold(void **state)
{
	(void)state;
	struct text date = TEXT("Sun, 06 Nov 1994 08:49:37 GMT"), tag = TEXT("\"a\"");
	const int64_t then = 784111777;
	assert_true(if_not_modified_since(date, then, NOW));
	assert_true(if_not_modified_since(date, then - 1, NOW));
	assert_false(if_not_modified_since(date, then + 1, NOW));
	assert_false(if_not_modified_since(date, -1, NOW));
	assert_false(if_not_modified_since(TEXT("yesterday"), then, NOW));
	assert_true(if_range(TEXT_NONE, tag, then, NOW));
	assert_true(if_range(tag, tag, -1, NOW));
	assert_false(if_range(TEXT("W/\"a\""), TEXT("W/\"a\""), -1, NOW));
	assert_false(if_range(TEXT("\"b\""), tag, then, NOW));
	assert_false(if_range(tag, TEXT_NONE, then, NOW));
	assert_true(if_range(date, tag, then, NOW));
	assert_false(if_range(date, tag, then, then + 59));
	assert_false(if_range(date, tag, then - 1, NOW));
	assert_false(if_range(TEXT(""), tag, then, NOW));
}

static void content_ranges_are_read(void **state)
{
	static const struct {
		const char *value;
		uint64_t first, length, total; /* length 0: refused */
	} cases[] = {{"bytes 0-9/10", 0, 10, 10}, {"bytes 5-5/10", 5, 1, 10}, {"bytes 007-9/10", 7, 3, 10},
		{"bytes 9223372036854775804-9223372036854775805/9223372036854775806", 9223372036854775804u, 2,
			9223372036854775806u},
		{"bytes 0-10/10", 0, 0, 0}, {"bytes 5-4/10", 0, 0, 0}, {"bytes */10", 0, 0, 0}, {"bytes 0-9/*", 0, 0, 0},
		{"bytes=0-9/10", 0, 0, 0}, {"lines 0-9/10", 0, 0, 0}, {"bytes 0-9", 0, 0, 0}, {"bytes -9/10", 0, 0, 0},
		{"bytes 0-/10", 0, 0, 0}, {"bytes 0/9-10", 0, 0, 0}, {"bytes 0-9/10 ", 0, 0, 0}, {"bytes  0-9/10", 0, 0, 0},
		{"bytes 0-9/9223372036854775807", 0, 0, 0}, {"", 0, 0, 0}, {"bytes ", 0, 0, 0}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct byte_range range = {0};
		uint64_t total = 0;
		assert_int_equal(content_range_parse(text_of(cases[i].value), &range, &total), cases[i].length > 0);
		assert_true(range.first == cases[i].first && range.length == cases[i].length && total == cases[i].total);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_read),
		cmocka_unit_test(content_ranges_are_read),
		cmocka_unit_test(dates_are_read_and_written),
		cmocka_unit_test(tags_are_compared),
		cmocka_unit_test(conditions_of_dates_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
