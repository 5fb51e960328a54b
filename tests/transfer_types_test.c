/* Which transfer types a tenant serves, and where their addresses point; which key mapping counts. */
#include "tests/dp_fixture.h"

#include "tenants/dp/signaling/key_mapping.h"
#include "tenants/dp/signaling/transfer_types.h"

#define PROFILE "https://w3id.org/dspace-sig/profile/http-pull"

static const char document[] =
	"{\"participantContextId\":\"" CTX "\",\"mappings\":{"
	"\"" PROFILE "\":{\"transferType\":\"" PROFILE "\",\"endpointType\":\"" PROFILE "\",\"tokenSource\":\"client\","
	"\"endpoint\":\"https://else.example/\",\"endpointMappings\":["
	"{\"key\":\"region\",\"value\":\"eu\",\"endpoint\":\"https://eu.example/\"},"
	"{\"key\":\"tier\",\"value\":\"gold\",\"endpoint\":\"https://gold.example/\"}],\"txRenewalSupport\":true},"
	"\"plain\":{\"transferType\":\"plain\",\"endpointType\":\"Plain\"}}}";

static void test_built_in_list(void **state)
{
	(void)state;
	static const char *const served[] = {PROFILE, "https://w3id.org/dspace-sig/profile/http-push", "http-pull",
		"http-push", "HttpData-PULL", "HttpData-PUSH"};
	for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++) {
		const struct transfer_type *type = transfer_types_find(fake_dp, TEXT(CTX), text_of(served[i]));
		assert_non_null(type);
		assert_string_equal(type->profile, served[i]);
		assert_null(transfer_type_endpoint(type, NULL).bytes);
		assert_int_equal(type->token_source, TOKEN_SOURCE_PROVIDER);
	}
	assert_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT("HTTP-pull")));
	assert_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT("")));
}

static void test_a_document_replaces_the_list(void **state)
{
	static const struct {
		const char *metadata, *endpoint;
	} cases[] = {{NULL, "https://else.example/"}, {"{}", "https://else.example/"},
		{"{\"region\":\"eu\"}", "https://eu.example/"}, {"{\"region\":\"us\"}", "https://else.example/"},
		{"{\"tier\":\"gold\"}", "https://gold.example/"},
		{"{\"tier\":\"gold\",\"region\":\"eu\"}", "https://eu.example/"}, /* the first that is met */
		{"{\"region\":5,\"tier\":\"gold\"}", "https://gold.example/"}, {"[\"eu\"]", "https://else.example/"}};
	(void)state;
	fake_record(RECORD_TRANSFER_TYPES, CTX, "transfer-types", document);
	const struct transfer_type *type = transfer_types_find(fake_dp, TEXT(CTX), TEXT(PROFILE));
	assert_non_null(type);
	assert_int_equal(type->token_source, TOKEN_SOURCE_CLIENT);
	assert_true(type->has_tx_renewal);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *metadata = NULL;
		if (cases[i].metadata != NULL)
			assert_int_equal(json_parse(text_of(cases[i].metadata), NULL, &metadata), STATUS_OK);
		assert_true(text_equals(transfer_type_endpoint(type, metadata), text_of(cases[i].endpoint)));
		json_free(metadata);
	}
	type = transfer_types_find(fake_dp, TEXT(CTX), TEXT("plain"));
	assert_non_null(type);
	assert_null(transfer_type_endpoint(type, NULL).bytes);
	assert_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT("http-pull"))); /* built in, but not his */
	assert_non_null(transfer_types_find(fake_dp, TEXT("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"), TEXT("http-pull")));
	fake_record(RECORD_TRANSFER_TYPES, CTX, "transfer-types", "{\"participantContextId\":\"" CTX "\",\"mappings\":{}}");
	assert_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT(PROFILE)));
	assert_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT("http-pull")));
	fake_record(RECORD_TRANSFER_TYPES, CTX, "transfer-types", NULL);
	assert_non_null(transfer_types_find(fake_dp, TEXT(CTX), TEXT("http-pull")));
	fake_turn();
}

static void test_a_key_that_waits_counts_until_there_is_an_own(void **state)
{
	static const char waiting[] =
		"{\"participantContextId\":\"" CTX "\",\"keyName\":\"early\",\"kid\":\"k1\",\"createdAt\":5}";
	static const char own[] = "{\"participantContextId\":\"" CTX "\",\"keyName\":\"late\",\"kid\":\"k2\"}";
	(void)state;
	assert_null(key_mapping_find(fake_dp, TEXT(CTX)));
	fake_record(RECORD_KEY_MAPPING, "", CTX, waiting);
	assert_string_equal(key_mapping_find(fake_dp, TEXT(CTX))->key_name, "early");
	assert_int_equal(key_mapping_find(fake_dp, TEXT(CTX))->created_ms, 5);
	fake_record(RECORD_KEY_MAPPING, CTX, "key-mapping", own);
	assert_string_equal(key_mapping_find(fake_dp, TEXT(CTX))->kid, "k2");
	assert_null(key_mapping_find(fake_dp, TEXT("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")));
	fake_record(RECORD_KEY_MAPPING, "", CTX, NULL);
	fake_record(RECORD_KEY_MAPPING, CTX, "key-mapping", NULL);
	assert_null(key_mapping_find(fake_dp, TEXT(CTX)));
	fake_turn();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_built_in_list),
		cmocka_unit_test(test_a_document_replaces_the_list),
		cmocka_unit_test(test_a_key_that_waits_counts_until_there_is_an_own)};
	return cmocka_run_group_tests(tests, dp_setup, dp_teardown);
}
