/* Validators bound to datasets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/etag.h"
#include "tenants/dp/source/validator.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OURS "0123456789abcdef"

static void bindings_differ_in_every_part(void **state)
{
	static const struct {
		struct text ctx, dataset, part, version;
	} cases[] = {
		{TEXT("c"), TEXT("d"), TEXT(""), TEXT_NONE},
		{TEXT("x"), TEXT("d"), TEXT(""), TEXT_NONE},
		{TEXT("c"), TEXT("e"), TEXT(""), TEXT_NONE},
		{TEXT("c"), TEXT("d"), TEXT("/p"), TEXT_NONE},
		{TEXT("c"), TEXT("d"), TEXT(""), TEXT("1")},
		{TEXT("c"), TEXT("d"), TEXT(""), TEXT("2")},
		{TEXT("cd"), TEXT(""), TEXT(""), TEXT_NONE},
		{TEXT("c"), TEXT("d"), TEXT("/v"), TEXT_NONE},
	};
	char made[COUNT(cases)][BINDING_LENGTH + 1], again[BINDING_LENGTH + 1];
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(
			binding_make(cases[i].ctx, cases[i].dataset, cases[i].part, cases[i].version, made[i]), STATUS_OK);
		assert_int_equal(
			binding_make(cases[i].ctx, cases[i].dataset, cases[i].part, cases[i].version, again), STATUS_OK);
		assert_string_equal(made[i], again);
		assert_int_equal(strlen(made[i]), BINDING_LENGTH);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(made[i], made[k]);
	}
}

static void tags_of_files(void **state)
{
	struct open_file file = {.inode = 1, .size = 100, .mtime_ns = 5, .ctime_ns = 6};
	char first[FILE_TAG_LENGTH + 1], other[FILE_TAG_LENGTH + 1];
	(void)state;
	file_tag_print(OURS, false, TEXT("/a"), &file, first);
	assert_true(etag_is_valid(text_of(first)) && first[0] == '"');
	struct open_file copy = {.inode = 2, .size = 100, .mtime_ns = 5, .ctime_ns = 7};
	file_tag_print(OURS, false, TEXT("/a"), &copy, other);
	assert_string_equal(first, other); /* as it is on another cell */
	file_tag_print(OURS, false, TEXT("/b"), &file, other);
	assert_string_not_equal(first, other);
	copy.mtime_ns = 8;
	file_tag_print(OURS, false, TEXT("/a"), &copy, other);
	assert_string_not_equal(first, other);
	copy = file;
	copy.size = 101;
	file_tag_print(OURS, false, TEXT("/a"), &copy, other);
	assert_string_not_equal(first, other);
	/* with a declared version the time does not count, the size still does */
	file_tag_print(OURS, true, TEXT("/a"), &file, first);
	copy = file;
	copy.mtime_ns = 8;
	file_tag_print(OURS, true, TEXT("/a"), &copy, other);
	assert_string_equal(first, other);
	copy.size = 101;
	file_tag_print(OURS, true, TEXT("/a"), &copy, other);
	assert_string_not_equal(first, other);
	/* the longest */
	file = (struct open_file){.size = INT64_MAX, .mtime_ns = -1};
	file_tag_print(OURS, false, TEXT("/hundred.txt"), &file, other);
	assert_true(etag_is_valid(text_of(other)));
}

static void tags_of_sources(void **state)
{
	static const struct {
		const char *tag, *bound; /* NULL: no tag */
	} cases[] = {{"\"abc\"", "\"" OURS ".abc\""}, {"W/\"abc\"", "W/\"" OURS ".abc\""}, {"\"\"", "\"" OURS ".\""},
		{" \"a\" ", "\"" OURS ".a\""}, {"abc", NULL}, {"\"a", NULL}, {"w/\"a\"", NULL}, {"\"a\"b", NULL}, {"", NULL}};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buffer bound = {0}, back = {0};
		assert_int_equal(tag_bind(OURS, text_of(cases[i].tag), &bound), cases[i].bound != NULL);
		if (cases[i].bound != NULL) {
			assert_string_equal(bound.bytes, cases[i].bound);
			assert_true(tags_unbind(OURS, buffer_text(&bound), &back));
			assert_true(text_equals(buffer_text(&back), text_trim(text_of(cases[i].tag))));
		}
		buffer_free(&bound);
		buffer_free(&back);
	}
}

static void lists_lose_what_is_not_of_the_dataset(void **state)
{
	static const struct {
		const char *list, *passed; /* NULL: nothing */
	} cases[] = {
		{"*", "*"},
		{" * ", "*"},
		{"\"" OURS ".a\"", "\"a\""},
		{"\"" OURS ".a\", W/\"" OURS ".b\"", "\"a\", W/\"b\""},
		{"\"x\", \"" OURS ".a,b\" ,, \"fedcba9876543210.c\"", "\"a,b\""},
		{"\"" OURS ".a\"; \"" OURS ".b\"", "\"a\""}, /* up to its fault */
		{"\"" OURS "a\"", NULL},
		{"\"" OURS "\"", NULL},
		{"\"" OURS ".a", NULL},
		{"\"a\"", NULL},
		{"", NULL},
		{"W/", NULL},
		{"\"", NULL},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buffer passed = {0};
		bool is_passed = tags_unbind(OURS, text_of(cases[i].list), &passed);
		if (is_passed != (cases[i].passed != NULL))
			fail_msg("%s", cases[i].list);
		if (is_passed)
			assert_string_equal(passed.bytes, cases[i].passed);
		buffer_free(&passed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(bindings_differ_in_every_part), cmocka_unit_test(tags_of_files),
		cmocka_unit_test(tags_of_sources), cmocka_unit_test(lists_lose_what_is_not_of_the_dataset)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
