/* Forms: one field, given once, decoded; fields as they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tenants/dp/form.h"

static void test_find(void **state)
{
	static const struct {
		const char *form;
		enum status status;
		const char *value;
	} cases[] = {
		{"a=1&b=2", STATUS_OK, "1"}, {"b=2&a=1", STATUS_OK, "1"}, {"a=x+y%20z%2B", STATUS_OK, "x y z+"},
		{"a=", STATUS_OK, ""}, {"a", STATUS_OK, ""}, {"a=b=c", STATUS_OK, "b=c"}, {"&&a=1&", STATUS_OK, "1"},
		{"aa=1", STATUS_NOT_FOUND, NULL}, {"A=1", STATUS_NOT_FOUND, NULL}, {"%61=1", STATUS_NOT_FOUND, NULL},
		{"", STATUS_NOT_FOUND, NULL}, {"a=1&a=1", STATUS_INVALID, NULL}, {"a=1&b=2&a=", STATUS_INVALID, NULL},
		{"a=%", STATUS_INVALID, NULL}, {"a=%zz", STATUS_INVALID, NULL}, {"a=%00", STATUS_INVALID, NULL},
		{"a=0123456789abcdef", STATUS_INVALID, NULL}, /* larger than the room */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char room[16];
		struct text value = TEXT_NONE;
		if (form_find(text_of(cases[i].form), TEXT("a"), room, sizeof(room), &value) != cases[i].status)
			fail_msg("%s", cases[i].form);
		if (cases[i].value != NULL && !text_equals(value, text_of(cases[i].value)))
			fail_msg("%s gave %.*s", cases[i].form, TEXT_ARGUMENTS(value));
	}
}

static void test_append(void **state)
{
	struct buffer form = {0};
	char room[64];
	struct text value = TEXT_NONE;
	(void)state;
	form_append(&form, "a", TEXT("x y+z&=\xc3\xa4~"));
	form_append(&form, "b", TEXT("-._*09"));
	form_append(&form, "c", TEXT_NONE);
	assert_true(text_equals(buffer_text(&form), TEXT("a=x%20y%2Bz%26%3D%C3%A4%7E&b=-._*09&c=")));
	assert_int_equal(form_find(buffer_text(&form), TEXT("a"), room, sizeof(room), &value), STATUS_OK);
	assert_true(text_equals(value, TEXT("x y+z&=\xc3\xa4~")));
	buffer_free(&form);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_append)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
