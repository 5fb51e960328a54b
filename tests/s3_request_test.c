/* Buckets from records: where they are, what is refused; signed requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/source/s3_request.h"

#define BASE "\"region\":\"eu-1\",\"keyName\":\"k\","

static const struct {
	const char *properties, *wrong; /* the property that is named, or NULL */
	int tls;
	int port;
	const char *host, *base;
} cases[] = {
	{BASE "\"bucketName\":\"data\"", NULL, true, 443, "data.s3.eu-1.amazonaws.com", ""},
	{BASE "\"bucketName\":\"da.ta\"", NULL, true, 443, "s3.eu-1.amazonaws.com", "/da.ta"},
	{BASE "\"bucketName\":\"data\",\"addressingStyle\":\"path\"", NULL, true, 443, "s3.eu-1.amazonaws.com", "/data"},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"http://store:9000\"", NULL, false, 9000, "store:9000",
		"/data"},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"https://store/\"", NULL, true, 443, "store", "/data"},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"http://store:9000\",\"addressingStyle\":\"virtual\"", NULL,
		false, 9000, "data.store:9000", ""},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"http://[::1]:9000\"", NULL, false, 9000, "[::1]:9000",
		"/data"},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"http://127.0.0.1:9000\",\"addressingStyle\":\"virtual\"",
		"endpointOverride", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"http://store/x\"", "endpointOverride", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"data\",\"endpointOverride\":\"ftp://store\"", "endpointOverride", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"da\"", "bucketName", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"-data\"", "bucketName", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"da..ta\"", "bucketName", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"Data\"", "bucketName", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"da/ta\"", "bucketName", false, 0, NULL, NULL},
	{"\"keyName\":\"k\",\"bucketName\":\"data\",\"region\":\"e/u\"", "region", false, 0, NULL, NULL},
	{"\"region\":\"eu-1\",\"bucketName\":\"data\"", "keyName", false, 0, NULL, NULL},
	{BASE "\"bucketName\":\"data\",\"secretAccessKey\":\"x\"", "secretAccessKey", false, 0, NULL, NULL},
};

static enum status build(const char *properties, struct s3_bucket *bucket, struct buffer *error)
{
	struct buffer text = {0};
	struct json *root = NULL;
	buffer_printf(&text, "{%s}", properties);
	assert_int_equal(json_parse(buffer_text(&text), NULL, &root), STATUS_OK);
	enum status status = s3_bucket_build(root, bucket, error);
	json_free(root);
	buffer_free(&text);
	return status;
}

static void test_buckets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct s3_bucket bucket;
		struct buffer error = {0};
		enum status status = build(cases[i].properties, &bucket, &error);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (status == STATUS_OK) {
			assert_string_equal(bucket.host, cases[i].host);
			assert_string_equal(bucket.base, cases[i].base);
			assert_int_equal(bucket.url.tls, cases[i].tls);
			assert_int_equal(bucket.url.port, cases[i].port);
			s3_bucket_clear(&bucket);
		} else {
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		}
		buffer_free(&error);
	}
}

static struct text header_of(const struct s3_call *call, const char *name)
{
	for (size_t i = 0; i < call->header_count; i++) {
		if (text_equals(call->headers[i].name, text_of(name)))
			return call->headers[i].value;
	}
	return TEXT_NONE;
}

static void test_calls(void **state)
{
	static const struct {
		const char *secret;
		enum status status;
	} secrets[] = {{"{\"accessKeyId\":\"A\",\"secretAccessKey\":\"S\"}", STATUS_OK},
		{"{\"accessKeyId\":\"A\",\n\"secretAccessKey\":\"S\",\"sessionToken\":\"T\",\"expiration\":1}", STATUS_OK},
		{"{\"accessKeyId\":\"A\"}", STATUS_UNAUTHORIZED}, {"{\"secretAccessKey\":\"S\"}", STATUS_UNAUTHORIZED},
		{"{\"accessKeyId\":\"A/B\",\"secretAccessKey\":\"S\"}", STATUS_UNAUTHORIZED},
		{"{\"accessKeyId\":\"A\\n\",\"secretAccessKey\":\"S\"}", STATUS_UNAUTHORIZED}, {"plain", STATUS_UNAUTHORIZED},
		{"", STATUS_UNAUTHORIZED}};
	const struct s3_request request = {
		.method = TEXT("GET"), .key = TEXT("a b/c"), .query = TEXT("x="), .payload = S3_EMPTY_PAYLOAD};
	struct s3_bucket bucket;
	struct buffer error = {0};
	(void)state;
	assert_int_equal(build(cases[3].properties, &bucket, &error), STATUS_OK);
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		struct s3_call call = {0};
		assert_int_equal(
			s3_call_build(&bucket, &request, text_of(secrets[i].secret), 1369353600, &call), secrets[i].status);
		if (secrets[i].status == STATUS_OK) {
			assert_true(text_equals(call.url.path, TEXT("/data/a%20b/c")) && text_equals(call.url.query, TEXT("x=")));
			assert_true(text_equals(header_of(&call, "host"), TEXT("store:9000")));
			assert_true(text_equals(header_of(&call, "x-amz-date"), TEXT("20130524T000000Z")));
			assert_int_equal(header_of(&call, "x-amz-security-token").length, i == 1 ? 1 : 0);
			assert_true(text_starts_with(header_of(&call, "authorization"),
				i == 1 ? TEXT("AWS4-HMAC-SHA256 Credential=A/20130524/eu-1/s3/aws4_request, "
							  "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, ")
					   : TEXT("AWS4-HMAC-SHA256 Credential=A/20130524/eu-1/s3/aws4_request, "
							  "SignedHeaders=host;x-amz-content-sha256;x-amz-date, ")));
		}
		s3_call_clear(&call);
	}
	s3_bucket_clear(&bucket);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_buckets), cmocka_unit_test(test_calls)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
