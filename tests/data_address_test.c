/* DataAddress: what is accepted, what is printed, and that secrets stay out of records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tenants/dp/data_address.h"

static enum status parse(const char *body, struct data_address **address, struct buffer *error)
{
	struct json *root = NULL;
	assert_int_equal(json_parse(text_of(body), NULL, &root), STATUS_OK);
	enum status status = data_address_parse(root, address, error);
	json_free(root);
	return status;
}

static void test_read(void **state)
{
	static const struct {
		const char *body, *wrong; /* NULL: good */
	} cases[] = {
		{"{\"endpointType\":\"t\"}", NULL},
		{"{\"@type\":\"DataAddress\",\"endpointType\":\"t\",\"endpoint\":\"https://a/\",\"endpointProperties\":[]}",
			NULL},
		{"{\"endpointType\":\"t\",\"other\":1,\"endpointProperties\":[{\"name\":\"n\",\"value\":\"\"}]}", NULL},
		{"{}", "dataAddress.endpointType"},
		{"[]", "dataAddress"},
		{"{\"endpointType\":1}", "dataAddress.endpointType"},
		{"{\"endpointType\":\"t\",\"endpoint\":null}", "dataAddress.endpoint"},
		{"{\"endpointType\":\"t\",\"endpoint\":\"a\\nb\"}", "dataAddress.endpoint"},
		{"{\"endpointType\":\"t\",\"endpointProperties\":{}}", "dataAddress.endpointProperties"},
		{"{\"endpointType\":\"t\",\"endpointProperties\":[{\"name\":\"n\"}]}", "dataAddress.endpointProperties"},
		{"{\"endpointType\":\"t\",\"endpointProperties\":[{\"value\":\"v\"}]}", "dataAddress.endpointProperties"},
		{"{\"endpointType\":\"t\",\"endpointProperties\":[{\"name\":\"n\",\"value\":\"a\\r\\nb\"}]}",
			"dataAddress.endpointProperties"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct data_address *address = NULL;
		struct buffer error = {0};
		enum status status = parse(cases[i].body, &address, &error);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].wrong != NULL)
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		data_address_free(address);
		buffer_free(&error);
	}
}

static void test_print(void **state)
{
	struct data_address *address = NULL;
	struct buffer error = {0}, whole = {0}, stored = {0};
	(void)state;
	assert_int_equal(
		parse(
			"{\"endpointType\":\"t\",\"endpoint\":\"https://a/\",\"endpointProperties\":["
			"{\"name\":\"https://w3id.org/edc/v0.0.1/ns/authorization\",\"value\":\"s3cret\"},"
			"{\"name\":\"authType\",\"value\":\"bearer\"},{\"name\":\"tx-auth:refreshToken\",\"value\":\"r3fresh\"}]}",
			&address, &error),
		STATUS_OK);
	assert_true(data_address_has_secrets(address));
	assert_true(text_equals(data_address_property(address, "authorization"), TEXT("s3cret")));
	assert_true(text_equals(data_address_property(address, "refreshToken"), TEXT("r3fresh")));
	assert_null(data_address_property(address, "expiresIn").bytes);
	data_address_print(address, false, &stored);
	assert_string_equal(stored.bytes,
		"{\"@type\":\"DataAddress\",\"endpointType\":\"t\",\"endpoint\":\"https://a/\",\"endpointProperties\":["
		"{\"@type\":\"EndpointProperty\",\"name\":\"authType\",\"value\":\"bearer\"}]}");
	data_address_print(address, true, &whole);
	struct data_address *again = NULL;
	assert_int_equal(parse(whole.bytes, &again, &error), STATUS_OK);
	assert_true(text_equals(data_address_property(again, "authorization"), TEXT("s3cret")));
	data_address_free(again);
	data_address_free(address);
	buffer_free(&whole);
	buffer_free(&stored);
	address = data_address_new(TEXT("t"), TEXT_NONE);
	assert_true(data_address_add(address, TEXT("authorization"), TEXT("x")));
	data_address_print(address, false, &stored); /* no empty list */
	assert_string_equal(stored.bytes, "{\"@type\":\"DataAddress\",\"endpointType\":\"t\"}");
	data_address_free(address);
	buffer_free(&stored);
	buffer_free(&error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_print)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
