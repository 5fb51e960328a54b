/* Digest fields (RFC 9530) and running digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tenants/dp/source/digest_field.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *want;
	int kind; /* -1: none */
} want_cases[] = {
	{"sha-256=1", HASH_SHA256},
	{"sha-512=1", HASH_SHA512},
	{"sha-256=10, sha-512=3", HASH_SHA256},
	{"sha-256=1,sha-512=3", HASH_SHA512},
	{"sha-256=3 \t,\t sha-512=3", HASH_SHA256},
	{"  unixsum=10, sha-256=1 ", HASH_SHA256},
	{"sha-512=0, sha-256=2", HASH_SHA256},
	{"sha-256=5, sha-256=0", -1},
	{"sha-256=0", -1},
	{"md5=9", -1},
	{"", -1},
	{"sha-256=1;a;b=2;c=\"x\\\"y\";d=?1;e=tok/en;f=:AA==:;g=1.5;  h=-3", HASH_SHA256},
	/* not by the grammar, or by that of the field: ignored whole */
	{"sha-256", -1},
	{"sha-256=11", -1},
	{"sha-256=-1", -1},
	{"sha-256=1.0", -1},
	{"sha-256=\"1\"", -1},
	{"sha-256=?1", -1},
	{"sha-256=(1 2)", -1},
	{"sha-256=1,", -1},
	{",sha-256=1", -1},
	{"sha-256=1,,sha-512=1", -1},
	{"sha-256 =1", -1},
	{"sha-256= 1", -1},
	{"SHA-256=1", -1},
	{"sha-256=1 sha-512=1", -1},
	{"sha-256=1;", -1},
	{"sha-256=1;A", -1},
	{"sha-256=1;a=", -1},
	{"sha-256=1;a=\"", -1},
	{"sha-256=1;a=\"\\x\"", -1},
	{"sha-256=1;a=:AA", -1},
	{"sha-256=1;a=?2", -1},
	{"sha-256=1234567890123456", -1},
	{"sha-256=--1", -1},
	{"sha-256=1.", -1},
	{"sha-256=1\x01", -1},
};

static void wishes_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(want_cases); i++) {
		enum hash_kind kind = HASH_COUNT;
		bool is_wanted = digest_is_wanted(text_of(want_cases[i].want), &kind);
		if (is_wanted != (want_cases[i].kind >= 0) || (is_wanted && (int)kind != want_cases[i].kind))
			fail_msg("%s: %d %d", want_cases[i].want, is_wanted, (int)kind);
	}
}

/* Any text, and the vectors of FIPS 180. */
static const struct {
	enum hash_kind kind;
	const char *bytes, *field;
} digest_cases[] = {
	{HASH_SHA256, "{\"title\": \"Harry Potter\"}", NULL},
	{HASH_SHA256, "", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"},
	{HASH_SHA256, "abc", "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"},
	{HASH_SHA512, "abc",
		"sha-512=:3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==:"},
};

static void digest_of_text(enum hash_kind kind, struct text text, size_t step, uint8_t into[HASH_BYTES_MAX])
{
	struct running_digest *digest;
	assert_int_equal(running_digest_new(kind, &digest), STATUS_OK);
	for (size_t i = 0; i < text.length; i += step) {
		struct text part = text_slice(text, i, i + step < text.length ? i + step : text.length);
		assert_int_equal(running_digest_add(digest, (const uint8_t *)part.bytes, part.length), STATUS_OK);
	}
	assert_int_equal(running_digest_end(digest, into), STATUS_OK);
	running_digest_free(digest);
}

static void digests_are_printed_and_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(digest_cases); i++) {
		for (size_t step = 1; step <= 64; step *= 4) {
			uint8_t bytes[HASH_BYTES_MAX], again[HASH_BYTES_MAX];
			struct buffer field = {0};
			digest_of_text(digest_cases[i].kind, text_of(digest_cases[i].bytes), step, bytes);
			digest_print(digest_cases[i].kind, bytes, &field);
			if (digest_cases[i].field != NULL)
				assert_string_equal(field.bytes, digest_cases[i].field);
			assert_true(digest_find(buffer_text(&field), digest_cases[i].kind, again));
			assert_memory_equal(bytes, again, hash_bytes(digest_cases[i].kind));
			assert_false(digest_find(buffer_text(&field), 1 - digest_cases[i].kind, again));
			buffer_free(&field);
		}
	}
}

static void fields_of_others(void **state)
{
	(void)state;
	static const char good[] = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
	static const struct {
		const char *field;
		bool is_found;
	} cases[] = {
		{"md5=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, id-sha-256=:AAAA:;x", true},
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, sha-256=1", false},
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=:", false}, /* bits that must be zero */
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU:", false},
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSu=U=:", false},
		{"sha-256=:AAAA:", false},
		{"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:,", false},
		{"", false},
	};
	uint8_t bytes[HASH_BYTES_MAX];
	assert_true(digest_find(text_of(good), HASH_SHA256, bytes));
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (digest_find(text_of(cases[i].field), HASH_SHA256, bytes) != cases[i].is_found)
			fail_msg("%s", cases[i].field);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(wishes_are_read),
		cmocka_unit_test(digests_are_printed_and_found), cmocka_unit_test(fields_of_others)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
