/* Known strings: what comes twice is kept, what comes once pushes nothing out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/known_strings.h"

enum { MANY = 4000 };

/* A packed string of its own for each number. */
static struct text packed_of(unsigned number, char into[64])
{
	return (struct text){into, (size_t)snprintf(into, 64, "%032u a token of its own %08x", number, number)};
}

static void what_comes_twice_is_kept(void **state)
{
	(void)state;
	struct known_strings *strings = known_strings_new();
	char room[64];
	struct text packed = packed_of(1, room);
	assert_null(known_strings_find(strings, packed).bytes);
	known_strings_keep(strings, packed, TEXT("plain"));
	assert_null(known_strings_find(strings, packed).bytes);
	known_strings_keep(strings, packed, TEXT("plain"));
	assert_true(text_equals(known_strings_find(strings, packed), TEXT("plain")));
	/* another end, another start, another length: others */
	assert_null(known_strings_find(strings, text_slice(packed, 0, packed.length - 1)).bytes);
	assert_null(known_strings_find(strings, text_slice(packed, 1, packed.length)).bytes);
	room[0] ^= 1;
	assert_null(known_strings_find(strings, packed).bytes);
	known_strings_free(strings);
}

static void what_comes_once_pushes_nothing_out(void **state)
{
	(void)state;
	struct known_strings *strings = known_strings_new();
	char kept_room[64], room[64];
	struct text kept = packed_of(0, kept_room);
	for (int i = 0; i < 2; i++)
		known_strings_keep(strings, kept, TEXT("kept"));
	for (unsigned i = 1; i < MANY; i++) {
		struct text packed = packed_of(i, room);
		assert_null(known_strings_find(strings, packed).bytes);
		known_strings_keep(strings, packed, TEXT("other"));
	}
	assert_true(text_equals(known_strings_find(strings, kept), TEXT("kept")));
	for (unsigned i = 1; i < MANY; i++) { /* what comes twice does */
		for (int j = 0; j < 2; j++)
			known_strings_keep(strings, packed_of(i, room), TEXT("other"));
		assert_true(text_equals(known_strings_find(strings, packed_of(i, room)), TEXT("other")));
	}
	assert_null(known_strings_find(strings, kept).bytes);
	known_strings_free(strings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_twice_is_kept),
		cmocka_unit_test(what_comes_once_pushes_nothing_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
