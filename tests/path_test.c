/* Paths: the canonical form, what has none, and that the form is stable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/path.h"

#define BYTES_OF(literal)                                                                                              \
	{                                                                                                                  \
		literal, sizeof(literal) - 1                                                                                   \
	}

static const struct {
	struct text path;
	const char *canonical; /* NULL: INVALID */
} cases[] = {
	{BYTES_OF("/"), "/"},
	{BYTES_OF("/a"), "/a"},
	{BYTES_OF("/a/"), "/a/"},
	{BYTES_OF("/a/b.c/~d_e-f"), "/a/b.c/~d_e-f"},
	{BYTES_OF("/A%7ea%41%2D"), "/A~aA-"},
	{BYTES_OF("/a%20b%c3%a4"), "/a%20b%C3%A4"},
	{BYTES_OF("/a:b@c!$&'()*+,;=d"), "/a:b@c!$&'()*+,;=d"},
	{BYTES_OF("/did%3aweb%3ax%253A80"), "/did%3Aweb%3Ax%253A80"},
	{BYTES_OF("/..."), "/..."},
	{BYTES_OF("/.a/a./..b"), "/.a/a./..b"},
	{BYTES_OF("/a;x=1"), "/a;x=1"},
	{BYTES_OF("/%3B"), "/%3B"},
	{BYTES_OF("/100%25"), "/100%25"},
	{BYTES_OF(""), NULL},
	{BYTES_OF("a"), NULL},
	{BYTES_OF("*"), NULL},
	{BYTES_OF("//"), NULL},
	{BYTES_OF("//a"), NULL},
	{BYTES_OF("/a//b"), NULL},
	{BYTES_OF("/a//"), NULL},
	{BYTES_OF("/."), NULL},
	{BYTES_OF("/.."), NULL},
	{BYTES_OF("/a/./b"), NULL},
	{BYTES_OF("/a/../b"), NULL},
	{BYTES_OF("/a/.."), NULL},
	{BYTES_OF("/a/../"), NULL},
	{BYTES_OF("/%2e"), NULL},
	{BYTES_OF("/%2E%2e/a"), NULL},
	{BYTES_OF("/.%2e/a"), NULL},
	{BYTES_OF("/..;/a"), NULL},
	{BYTES_OF("/..;x=1/a"), NULL},
	{BYTES_OF("/%2e%2E;/a"), NULL},
	{BYTES_OF("/.;"), NULL},
	{BYTES_OF("/a%2fb"), NULL},
	{BYTES_OF("/a%2Fb"), NULL},
	{BYTES_OF("/a%5cb"), NULL},
	{BYTES_OF("/a%5Cb"), NULL},
	{BYTES_OF("/a\\b"), NULL},
	{BYTES_OF("/a%00"), NULL},
	{BYTES_OF("/a%0a"), NULL},
	{BYTES_OF("/a%7f"), NULL},
	{BYTES_OF("/a\0"), NULL},
	{BYTES_OF("/a b"), NULL},
	{BYTES_OF("/a\x80"), NULL},
	{BYTES_OF("/a\xc3\xa4"), NULL},
	{BYTES_OF("/a?b"), NULL},
	{BYTES_OF("/a#b"), NULL},
	{BYTES_OF("/a\"b"), NULL},
	{BYTES_OF("/a<b"), NULL},
	{BYTES_OF("/a[b"), NULL},
	{BYTES_OF("/a%"), NULL},
	{BYTES_OF("/a%4"), NULL},
	{BYTES_OF("/a%4g"), NULL},
	{BYTES_OF("/a%g4"), NULL},
	{BYTES_OF("/a%u0041"), NULL},
	{BYTES_OF("/%c0%ae%c0%ae/a"), NULL},
	{BYTES_OF("/%c0%af"), NULL},
	{BYTES_OF("/%e0%80%af"), NULL},
	{BYTES_OF("/%f0%80%80%af"), NULL},
	{BYTES_OF("/%ed%a0%80"), NULL},
	{BYTES_OF("/%f4%90%80%80"), NULL},
	{BYTES_OF("/%f5%80%80%80"), NULL},
	{BYTES_OF("/%c3"), NULL},
	{BYTES_OF("/%c3/%a4"), NULL},
	{BYTES_OF("/%80"), NULL},
	{BYTES_OF("/%ff"), NULL},
	{BYTES_OF("/%252e%252e/a"), NULL},
	{BYTES_OF("/%252E"), NULL},
	{BYTES_OF("/a%252fb"), NULL},
	{BYTES_OF("/a%25%32%66b"), NULL},
	{BYTES_OF("/a%25252f"), NULL},
	{BYTES_OF("/a%2500"), NULL},
	{BYTES_OF("/a%255cb"), NULL},
};

static void paths_have_one_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char first[64], second[64];
		struct text canonical = TEXT_NONE, again = TEXT_NONE;
		enum status status = path_canonical(cases[i].path, first, cases[i].path.length, &canonical);
		if (cases[i].canonical == NULL) {
			if (status != STATUS_INVALID)
				fail_msg("case %zu taken: %s", i, cases[i].path.bytes);
			continue;
		}
		if (status != STATUS_OK || !text_equals(canonical, text_of(cases[i].canonical)))
			fail_msg("case %zu: %s", i, cases[i].path.bytes);
		assert_int_equal(path_canonical(canonical, second, sizeof second, &again), STATUS_OK);
		assert_true(text_equals(canonical, again));
	}
}

static bool may_stand_alone(unsigned byte)
{
	return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
		   (byte > 0 && byte < 0x80 && strchr("-_~!$&'()*+,;=:@", (int)byte) != NULL);
}

/* Every byte, plain and escaped, in upper and lower hex. */
static void every_byte_is_decided(void **state)
{
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		char plain[2] = {'/', (char)byte}, escaped[8], into[8];
		struct text canonical;
		bool taken = path_canonical((struct text){plain, 2}, into, sizeof into, &canonical) == STATUS_OK;
		assert_int_equal(taken, may_stand_alone(byte));
		for (unsigned form = 0; form < 2; form++) {
			int length = snprintf(escaped, sizeof escaped, form == 0 ? "/%%%02x" : "/%%%02X", byte);
			taken = path_canonical((struct text){escaped, (size_t)length}, into, sizeof into, &canonical) == STATUS_OK;
			bool expected = byte >= 0x20 && byte < 0x7f && byte != '.' && byte != '/' && byte != '\\';
			if (taken != expected)
				fail_msg("%s", escaped);
		}
	}
}

static void segments_are_split(void **state)
{
	(void)state;
	static const char *const expected[] = {"a", "bc", ""};
	struct text rest = TEXT("/a/bc/"), segment;
	for (size_t i = 0; i < 3; i++) {
		assert_true(path_next(&rest, &segment));
		assert_true(text_equals(segment, text_of(expected[i])));
	}
	assert_int_equal(rest.length, 0);
	assert_false(path_next(&rest, &segment));
	rest = TEXT("a/b");
	assert_false(path_next(&rest, &segment));
}

static void escapes_are_decoded(void **state)
{
	(void)state;
	char into[8];
	struct text decoded;
	assert_int_equal(percent_decode(TEXT("a%2fB%C3%a4+"), into, sizeof into, &decoded), STATUS_OK);
	assert_true(text_equals(decoded, TEXT("a/B\xc3\xa4+")));
	assert_int_equal(percent_decode(TEXT(""), into, 0, &decoded), STATUS_OK);
	assert_int_equal(decoded.length, 0);
	assert_int_equal(percent_decode(TEXT("a%00"), into, sizeof into, &decoded), STATUS_INVALID);
	assert_int_equal(percent_decode(TEXT("a%0"), into, sizeof into, &decoded), STATUS_INVALID);
	assert_int_equal(percent_decode(TEXT("%x0"), into, sizeof into, &decoded), STATUS_INVALID);
	assert_int_equal(percent_decode(TEXT("123456789"), into, sizeof into, &decoded), STATUS_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_have_one_form),
		cmocka_unit_test(every_byte_is_decided),
		cmocka_unit_test(segments_are_split),
		cmocka_unit_test(escapes_are_decoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
