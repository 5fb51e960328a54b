/* S3's XML: elements, texts, numbers, escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/source/s3_xml.h"

static void test_elements_in_order(void **state)
{
	struct text rest = TEXT("<R><Part><N>1</N></Part>x<Part><N>22</N></Part><Part><N>3</R>"), part = TEXT_NONE;
	int64_t number = 0;
	(void)state;
	assert_true(s3_xml_next(&rest, "Part", &part) && s3_xml_number(part, "N", &number));
	assert_int_equal(number, 1);
	assert_true(s3_xml_next(&rest, "Part", &part) && s3_xml_number(part, "N", &number));
	assert_int_equal(number, 22);
	assert_false(s3_xml_next(&rest, "Part", &part));
}

static void test_texts(void **state)
{
	static const struct {
		const char *xml, *text; /* NULL: refused */
	} cases[] = {{"<T>plain</T>", "plain"}, {"<T></T>", ""}, {"<T>&quot;a&amp;b&quot;</T>", "\"a&b\""},
		{"<T>&#34;&#39;&lt;&gt;</T>", "\"'<>"}, {"<T>12345678901</T>", NULL}, {"<T>a&b;</T>", NULL},
		{"<T>a<b</T>", NULL}, {"<T>a\nb</T>", NULL}, {"<T>open", NULL}, {"<U>x</U>", NULL}, {"", NULL}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char into[11];
		bool is_found = s3_xml_text(text_of(cases[i].xml), "T", into, sizeof(into));
		assert_int_equal(is_found, cases[i].text != NULL);
		if (is_found)
			assert_string_equal(into, cases[i].text);
	}
}

static void test_numbers(void **state)
{
	static const char *const wrong[] = {
		"<N>-1</N>", "<N>1.5</N>", "<N> 1</N>", "<N></N>", "<N>99999999999999999999</N>"};
	int64_t number = 7;
	(void)state;
	assert_true(s3_xml_number(TEXT("<N>9223372036854775807</N>"), "N", &number) && number == INT64_MAX);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(s3_xml_number(text_of(wrong[i]), "N", &number));
}

static void test_escape(void **state)
{
	struct buffer into = {0};
	(void)state;
	s3_xml_escape(TEXT("\"a\"<&>'"), &into);
	assert_string_equal(into.bytes, "&quot;a&quot;&lt;&amp;&gt;&apos;");
	buffer_free(&into);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_elements_in_order), cmocka_unit_test(test_texts),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_escape)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
