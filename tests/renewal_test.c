/* Refresh tokens: issue, rotation with acknowledgement, replays, the record, and what is offered. */
#include "tests/dp_fixture.h"

#include "tenants/dp/data_address.h"
#include "tenants/dp/renewal.h"

#define FLOW "f1"

static const struct renewal *current(void)
{
	return dp_find(fake_dp, DP_RENEWALS, TEXT(CTX), TEXT(FLOW));
}

static void on_done(void *context, enum status status, int64_t revision)
{
	(void)context, (void)revision;
	assert_int_equal(status, STATUS_OK);
}

static void commit(struct transaction *transaction)
{
	store_submit(NULL, transaction, NULL, on_done, NULL);
}

static void issue(char token[REFRESH_TOKEN_LENGTH + 1])
{
	struct transaction *transaction = transaction_new();
	assert_int_equal(renewal_issue(transaction, TEXT(CTX), TEXT(FLOW), TEXT(CONSUMER), fake.wall_ms, token), STATUS_OK);
	commit(transaction);
}

static void rotate(const char *token, char next[REFRESH_TOKEN_LENGTH + 1])
{
	struct transaction *transaction = transaction_new();
	struct renewal_tokens tokens;
	assert_int_equal(renewal_rotate(current(), text_of(token), 0, transaction, &tokens), STATUS_OK);
	memcpy(next, tokens.refresh, sizeof(tokens.refresh));
	commit(transaction);
}

static void test_issue(void **state)
{
	char first[REFRESH_TOKEN_LENGTH + 1], second[REFRESH_TOKEN_LENGTH + 1];
	(void)state;
	issue(first);
	assert_int_equal(strlen(first), REFRESH_TOKEN_LENGTH);
	assert_int_equal(renewal_judge(current(), text_of(first)), RENEWAL_CURRENT);
	assert_string_equal(current()->counter_party, CONSUMER);
	assert_true(current()->issued_ms == fake.wall_ms);
	/* a second one, as after a resume, ends the first */
	issue(second);
	assert_string_not_equal(first, second);
	assert_int_equal(renewal_judge(current(), text_of(first)), RENEWAL_UNKNOWN);
	assert_int_equal(renewal_judge(current(), text_of(second)), RENEWAL_CURRENT);
}

/* token 0 -> 1 -> 2: what each is worth after each step */
static void test_rotation(void **state)
{
	static const enum renewal_verdict expected[3][3] = {
		{RENEWAL_CURRENT, RENEWAL_UNKNOWN, RENEWAL_UNKNOWN},
		{RENEWAL_REPLAYED, RENEWAL_CURRENT, RENEWAL_UNKNOWN},
		{RENEWAL_UNKNOWN, RENEWAL_REPLAYED, RENEWAL_CURRENT},
	};
	char tokens[3][REFRESH_TOKEN_LENGTH + 1] = {"", "", ""};
	struct renewal_tokens again;
	(void)state;
	issue(tokens[0]);
	for (int step = 0; step < 3; step++) {
		if (step > 0)
			rotate(tokens[step - 1], tokens[step]);
		for (int i = 0; i < 3; i++) {
			if (renewal_judge(current(), text_of(tokens[i])) != expected[step][i])
				fail_msg("token %d after step %d", i, step);
		}
		if (step > 0) { /* the replay brings the current one, as often as it is asked for */
			for (int i = 0; i < 3; i++) {
				assert_int_equal(renewal_repeat(current(), text_of(tokens[step - 1]), &again), STATUS_OK);
				assert_string_equal(again.refresh, tokens[step]);
			}
		}
	}
}

static void test_strangers(void **state)
{
	char token[REFRESH_TOKEN_LENGTH + 1], next[REFRESH_TOKEN_LENGTH + 1];
	static const char *const strangers[] = {"", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	(void)state;
	issue(token);
	rotate(token, next);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
		assert_int_equal(renewal_judge(current(), text_of(strangers[i])), RENEWAL_UNKNOWN);
	for (int i = 0; i < REFRESH_TOKEN_LENGTH; i++) {
		char changed[REFRESH_TOKEN_LENGTH + 1];
		memcpy(changed, next, sizeof(changed));
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		assert_int_equal(renewal_judge(current(), text_of(changed)), RENEWAL_UNKNOWN);
	}
	assert_int_equal(renewal_judge(current(), (struct text){next, REFRESH_TOKEN_LENGTH - 1}), RENEWAL_UNKNOWN);
	/* the digest that is stored opens nothing */
	char hex[DIGEST_HEX + 1];
	digest_hex(current()->current, hex);
	assert_int_equal(renewal_judge(current(), text_of(hex)), RENEWAL_UNKNOWN);
}

static void test_records(void **state)
{
#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	static const struct {
		const char *body;
		bool good;
	} cases[] = {
		{"{\"issuedAt\":1,\"counterParty\":\"c\",\"current\":\"" HEX "\"}", true},
		{"{\"issuedAt\":1,\"counterParty\":\"c\",\"current\":\"" HEX "\",\"previous\":\"" HEX "\",\"nonce\":\"" HEX
		 "\"}",
			true},
		{"{\"issuedAt\":1,\"counterParty\":\"c\",\"current\":\"" HEX "\",\"previous\":\"" HEX "\"}", false},
		{"{\"issuedAt\":1,\"counterParty\":\"c\",\"current\":\"0" HEX "\"}", false},
		{"{\"issuedAt\":1,\"counterParty\":\"c\",\"current\":\"\"}", false},
		{"{\"issuedAt\":1,\"counterParty\":\"\",\"current\":\"" HEX "\"}", false},
		{"{\"counterParty\":\"c\",\"current\":\"" HEX "\"}", false},
		{"{}", false},
		{"[]", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *root = NULL;
		struct renewal *renewal = NULL;
		assert_int_equal(json_parse(text_of(cases[i].body), NULL, &root), STATUS_OK);
		assert_int_equal(
			renewal_parse(TEXT(CTX), TEXT(FLOW), root, &renewal), cases[i].good ? STATUS_OK : STATUS_INVALID);
		renewal_free(renewal);
		json_free(root);
	}
	/* a record nobody understands renews nothing */
	char token[REFRESH_TOKEN_LENGTH + 1];
	issue(token);
	fake_record(RECORD_RENEWAL, CTX, FLOW, "{}");
	assert_null(current());
	issue(token);
	fake_record(RECORD_RENEWAL, CTX, FLOW, NULL);
	assert_null(current());
	fake_turn();
}

static void test_end_with_the_flow(void **state)
{
	static const char *const ends[] = {"terminate", "complete", NULL};
	(void)state;
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/d",
						 "{\"id\":\"d\",\"type\":\"http\",\"properties\":{\"baseUrl\":\"http://x/\"}}"),
		201);
	for (int i = 0; i < 3; i++) {
		char token[REFRESH_TOKEN_LENGTH + 1], path[128];
		assert_int_equal(
			manage_status("POST", "/" CTX "/flows",
				"{\"id\":\"" FLOW "\",\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"" CONSUMER "\"}"),
			201);
		issue(token);
		assert_int_equal(manage_status("POST", "/" CTX "/flows/" FLOW "/suspend", ""), 200);
		assert_int_equal(manage_status("POST", "/" CTX "/flows/" FLOW "/resume", ""), 200);
		assert_non_null(current());
		snprintf(path, sizeof(path), "/" CTX "/flows/" FLOW "/%s", ends[i] == NULL ? "" : ends[i]);
		if (ends[i] != NULL) {
			assert_int_equal(manage_status("POST", path, ""), 200);
			assert_null(current());
		}
		assert_int_equal(manage_status("DELETE", "/" CTX "/flows/" FLOW, ""), 204);
		assert_null(current());
	}
}

static void test_offer(void **state)
{
	struct renewal_offer offer = {.access_token = TEXT("access"),
		.refresh_token = TEXT("refresh"),
		.endpoint = TEXT("https://p/token"),
		.audience = TEXT(IDENTITY),
		.lifetime_s = 300};
	static const struct {
		const char *name, *value;
	} expected[] = {{"authorization", "access"}, {"authType", "bearer"}, {"refreshToken", "refresh"},
		{"expiresIn", "300"}, {"refreshEndpoint", "https://p/token"}};
	(void)state;
	for (int legacy = 0; legacy < 2; legacy++) {
		struct data_address *address = data_address_new(TEXT("t"), TEXT("https://p"));
		struct buffer json = {0};
		offer.legacy = legacy == 1;
		assert_true(renewal_offer_add(&offer, address));
		for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
			assert_true(text_equals(data_address_property(address, expected[i].name), text_of(expected[i].value)));
		data_address_print(address, true, &json);
		assert_int_equal(strstr(json.bytes, "https://w3id.org/tractusx/auth/refreshAudience") != NULL, legacy);
		assert_int_equal(strstr(json.bytes, "https://w3id.org/edc/v0.0.1/ns/authorization") != NULL, legacy);
		assert_non_null(strstr(json.bytes, "\"name\":\"refreshToken\""));
		buffer_free(&json);
		data_address_free(address);
	}
	offer.refresh_token = TEXT_NONE;
	struct data_address *address = data_address_new(TEXT("t"), TEXT("https://p"));
	assert_true(renewal_offer_add(&offer, address));
	assert_int_equal(data_address_property(address, "expiresIn").length, 0);
	assert_true(text_equals(data_address_property(address, "authorization"), TEXT("access")));
	data_address_free(address);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_issue), cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_strangers), cmocka_unit_test(test_records), cmocka_unit_test(test_end_with_the_flow),
		cmocka_unit_test(test_offer)};
	return cmocka_run_group_tests(tests, dp_setup, dp_teardown);
}
