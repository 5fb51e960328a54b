/* Signature Version 4 against the worked examples of AWS's documentation ("Signature Calculations for the Authorization
 * Header"), and the escape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/source/sigv4.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST                                                                                                           \
	{                                                                                                                  \
		TEXT("host"), TEXT("examplebucket.s3.amazonaws.com")                                                           \
	}
#define DATE                                                                                                           \
	{                                                                                                                  \
		TEXT("x-amz-date"), TEXT("20130524T000000Z")                                                                   \
	}
#define PAYLOAD(hash)                                                                                                  \
	{                                                                                                                  \
		TEXT("x-amz-content-sha256"), TEXT(hash)                                                                       \
	}
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static const struct sigv4_keys keys = {
	{"AKIAIOSFODNN7EXAMPLE", 20}, {"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40}, {NULL, 0}};

static const struct {
	const char *name, *method, *path, *query, *payload;
	struct header headers[6];
	size_t count;
	const char *names, *signature;
} examples[] = {
	{"GET object", "GET", "/test.txt", NULL, EMPTY, {HOST, {TEXT("range"), TEXT("bytes=0-9")}, PAYLOAD(EMPTY), DATE}, 4,
		"host;range;x-amz-content-sha256;x-amz-date",
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	{"PUT object", "PUT", "/test%24file.text", NULL, WELCOME,
		{{TEXT("date"), TEXT("Fri, 24 May 2013 00:00:00 GMT")}, HOST, PAYLOAD(WELCOME), DATE,
			{TEXT("x-amz-storage-class"), TEXT("REDUCED_REDUNDANCY")}},
		5, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
	{"GET bucket lifecycle", "GET", "/", "lifecycle=", EMPTY, {HOST, PAYLOAD(EMPTY), DATE}, 3,
		"host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
	{"list objects", "GET", "/", "max-keys=2&prefix=J", EMPTY, {HOST, PAYLOAD(EMPTY), DATE}, 3,
		"host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static void test_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		const struct sigv4_request request = {.method = text_of(examples[i].method),
			.path = text_of(examples[i].path),
			.query = examples[i].query == NULL ? TEXT_NONE : text_of(examples[i].query),
			.headers = examples[i].headers,
			.header_count = examples[i].count,
			.payload = text_of(examples[i].payload),
			.region = TEXT("us-east-1"),
			.service = TEXT("s3")};
		struct buffer value = {0}, expected = {0};
		char time[SIGV4_TIME_LENGTH + 1];
		sigv4_time(1369353600, time);
		assert_string_equal(time, "20130524T000000Z");
		assert_int_equal(sigv4_sign(&request, &keys, time, &value), STATUS_OK);
		buffer_printf(&expected,
			"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=%s, "
			"Signature=%s",
			examples[i].names, examples[i].signature);
		assert_string_equal(value.bytes, expected.bytes);
		buffer_free(&value);
		buffer_free(&expected);
	}
}

static void test_spaces_are_folded(void **state)
{
	const struct header plain[] = {HOST, {TEXT("x-amz-meta"), TEXT("a b")}};
	const struct header spaced[] = {HOST, {TEXT("x-amz-meta"), TEXT("  a    b ")}};
	struct sigv4_request request = {.method = TEXT("GET"),
		.path = TEXT("/"),
		.headers = plain,
		.header_count = 2,
		.payload = TEXT(SIGV4_UNSIGNED),
		.region = TEXT("r"),
		.service = TEXT("s3")};
	struct buffer first = {0}, second = {0};
	(void)state;
	assert_int_equal(sigv4_sign(&request, &keys, "20130524T000000Z", &first), STATUS_OK);
	request.headers = spaced;
	assert_int_equal(sigv4_sign(&request, &keys, "20130524T000000Z", &second), STATUS_OK);
	assert_string_equal(first.bytes, second.bytes);
	buffer_free(&first);
	buffer_free(&second);
}

static void test_escape(void **state)
{
	static const struct {
		const char *text;
		bool keep_slash;
		const char *escaped;
	} cases[] = {{"plain-._~09AZ", false, "plain-._~09AZ"}, {"a/b c", true, "a/b%20c"}, {"a/b", false, "a%2Fb"},
		{"100%+=&\xc3\xa9", true, "100%25%2B%3D%26%C3%A9"}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer into = {0};
		sigv4_escape(text_of(cases[i].text), cases[i].keep_slash, &into);
		assert_string_equal(into.bytes, cases[i].escaped);
		buffer_free(&into);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples), cmocka_unit_test(test_spaces_are_folded), cmocka_unit_test(test_escape)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
