/* RFC 3339 times: what is read, and how it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/timestamp.h"

static const struct {
	const char *text, *normal; /* NULL: refused */
} cases[] = {
	{"2026-07-24T10:20:30Z", "2026-07-24T10:20:30Z"},
	{"2026-07-24t10:20:30z", "2026-07-24T10:20:30Z"},
	{TIMESTAMP_NEVER, TIMESTAMP_NEVER},
	{"9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"},
	{"2026-07-24T10:20:30.120Z", "2026-07-24T10:20:30.12Z"},
	{"2026-07-24T10:20:30.000Z", "2026-07-24T10:20:30Z"},
	{"2026-07-24T10:20:30.5+02:00", "2026-07-24T08:20:30.5Z"},
	{"2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"},
	{"2024-02-28T23:30:00-01:00", "2024-02-29T00:30:00Z"},
	{"2023-02-28T23:30:00-01:00", "2023-03-01T00:30:00Z"},
	{"2000-02-29T12:00:00+00:00", "2000-02-29T12:00:00Z"},
	{"1970-01-01T00:00:00-23:59", "1970-01-01T23:59:00Z"},
	{"0001-03-01T00:00:00Z", "0001-03-01T00:00:00Z"},
	{"0400-02-29T00:00:00Z", "0400-02-29T00:00:00Z"},
	{"", NULL},
	{"2026-07-24", NULL},
	{"2026-07-24T10:20:30", NULL},
	{"2026-07-24 10:20:30Z", NULL},
	{"2026-7-24T10:20:30Z", NULL},
	{"2026-02-29T10:20:30Z", NULL},
	{"1900-02-29T10:20:30Z", NULL},
	{"2026-13-01T10:20:30Z", NULL},
	{"2026-00-01T10:20:30Z", NULL},
	{"2026-04-31T10:20:30Z", NULL},
	{"2026-07-24T24:00:00Z", NULL},
	{"2026-07-24T10:60:30Z", NULL},
	{"2026-07-24T10:20:60Z", NULL},
	{"2026-07-24T10:20:30.Z", NULL},
	{"2026-07-24T10:20:30.1234567890Z", NULL},
	{"2026-07-24T10:20:30+0200", NULL},
	{"2026-07-24T10:20:30+24:00", NULL},
	{"2026-07-24T10:20:30Zx", NULL},
	{"0000-01-01T00:00:00Z", NULL},
	{"0001-01-01T00:00:00+00:01", NULL},
	{"9999-12-31T23:59:59-00:01", NULL},
	{"+2026-07-24T10:20:30Z", NULL},
};

static void times_are_normalised(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer normal = {0};
		enum status status = timestamp_normal(text_of(cases[i].text), &normal);
		if ((status == STATUS_OK) != (cases[i].normal != NULL))
			fail_msg("%s: %s", cases[i].text, status_text(status));
		if (cases[i].normal != NULL)
			assert_string_equal(normal.bytes, cases[i].normal);
		buffer_free(&normal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(times_are_normalised)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
