/* Forms: one field, given once, decoded. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
