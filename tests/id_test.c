/* Identifiers and names, the time format, secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/secret.h"

static const struct {
	const char *text;
	bool id, name; /* name: of at most 40 bytes */
} id_cases[] = {
	{"0123456789abcdef0123456789abcdef", true, true},
	{"0123456789ABCDEF0123456789abcdef", false, true},
	{"0123456789abcdef0123456789abcde", false, true},
	{"0123456789abcdef0123456789abcdef0", false, true},
	{"0123456789abcdeg0123456789abcdef", false, true},
	{"0123456789abcdef-123456789abcdef", false, true},
	{"", false, false},
	{"a", false, true},
	{"Az09-_.:", false, true},
	{"did:web:example.com", false, true},
	{"a b", false, false},
	{"a/b", false, false},
	{"a@b", false, false},
	{"a[b", false, false},
	{"a`b", false, false},
	{"a{b", false, false},
	{"a%b", false, false},
	{"a\nb", false, false},
	{"\xc3\xa9", false, false},
	{"\xc1\xda", false, false},
	{"1234567890123456789012345678901234567890", false, true},
	{"12345678901234567890123456789012345678901", false, false},
};

static void ids_and_names_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(id_cases) / sizeof(id_cases[0]); i++) {
		struct text text = text_of(id_cases[i].text);
		if (id_is_valid(text) != id_cases[i].id || name_is_valid(text, 40) != id_cases[i].name)
			fail_msg("case %zu: %s", i, id_cases[i].text);
	}
	assert_false(name_is_valid((struct text){"a\0b", 3}, 40));
	assert_false(id_is_valid(TEXT_NONE));
}

static void uuids_have_their_version_and_differ(void **state)
{
	(void)state;
	char before[UUID_LENGTH + 1] = "";
	for (int i = 0; i < 64; i++) {
		char uuid[UUID_LENGTH + 1], plain[ID_LENGTH + 1];
		size_t length = 0;
		uuid_random(uuid);
		assert_int_equal(strlen(uuid), UUID_LENGTH);
		for (size_t at = 0; at < UUID_LENGTH; at++) {
			bool is_dash = at == 8 || at == 13 || at == 18 || at == 23;
			assert_int_equal(uuid[at] == '-', is_dash);
			if (!is_dash)
				plain[length++] = uuid[at];
		}
		assert_true(id_is_valid((struct text){plain, length}));
		assert_int_equal(uuid[14], '4');
		assert_non_null(strchr("89ab", uuid[19]));
		assert_string_not_equal(uuid, before);
		memcpy(before, uuid, sizeof(uuid));
	}
}

static void random_ids_are_valid_and_differ(void **state)
{
	(void)state;
	char ids[64][ID_LENGTH + 1];
	unsigned seen[16] = {0};
	for (int i = 0; i < 64; i++) {
		id_random(ids[i]);
		assert_int_equal(strlen(ids[i]), ID_LENGTH);
		assert_true(id_is_valid(text_of(ids[i])));
		for (int at = 0; at < i; at++)
			assert_string_not_equal(ids[i], ids[at]);
		for (const char *digit = ids[i]; *digit != 0; digit++)
			seen[*digit <= '9' ? *digit - '0' : *digit - 'a' + 10]++;
	}
	for (int i = 0; i < 16; i++) /* 128 each, give or take ten standard deviations */
		assert_in_range(seen[i], 18, 238);
}

static void times_are_written_as_the_library_does(void **state)
{
	(void)state;
	static const struct {
		int64_t wall_ms;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{951782399999, "2000-02-28T23:59:59.999Z"},
		{951782400000, "2000-02-29T00:00:00.000Z"},
		{951868800000, "2000-03-01T00:00:00.000Z"},
		{4107542400000, "2100-03-01T00:00:00.000Z"},
		{INT64_MAX, "9999-12-31T23:59:59.999Z"},
		{INT64_MIN, "0000-01-01T00:00:00.000Z"},
	};
	char made[25], expected[32];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		clock_format(cases[i].wall_ms, made);
		assert_string_equal(made, cases[i].text);
	}
	for (int64_t seconds = -30000000000; seconds < 250000000000; seconds += 86400 * 17 + 4321) {
		struct tm parts = {0};
		time_t time = (time_t)seconds;
		gmtime_r(&time, &parts);
		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z", &parts);
		clock_format(seconds * 1000 + 7, made);
		assert_string_equal(made, expected);
	}
	uint64_t before = clock_monotonic_ms();
	assert_true(clock_monotonic_ns() / 1000000 >= before);
	assert_true(clock_wall_ms() > 1600000000000);
}

static void secrets_are_copied_and_freed(void **state)
{
	(void)state;
	struct secret *secret = secret_new(TEXT("pass\"word")), *copy = secret_copy(secret);
	secret_free(secret);
	assert_true(text_equals(secret_expose(copy), TEXT("pass\"word")));
	secret_free(copy);
	struct secret *empty = secret_new(TEXT_NONE);
	assert_int_equal(secret_expose(empty).length, 0);
	secret_free(empty);
	char large[10000];
	memset(large, 's', sizeof(large));
	secret = secret_new((struct text){large, sizeof(large)});
	assert_memory_equal(secret_expose(secret).bytes, large, sizeof(large));
	secret_free(secret);
	secret_free(NULL);
	assert_null(secret_copy(NULL));
	assert_null(secret_expose(NULL).bytes);
	assert_null(secret_new((struct text){large, SIZE_MAX}));
	wipe(large, sizeof(large));
	assert_int_equal(large[0] | large[9999], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_and_names_are_judged),
		cmocka_unit_test(uuids_have_their_version_and_differ),
		cmocka_unit_test(random_ids_are_valid_and_differ),
		cmocka_unit_test(times_are_written_as_the_library_does),
		cmocka_unit_test(secrets_are_copied_and_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
