/* Flows: the transition table, parsing and windows; header filters; tokens out of headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tenants/dp/flow.h"
#include "tenants/dp/source/headers.h"
#include "tenants/dp/token.h"

static void test_transitions(void **state)
{
	/* rows: state; columns: event, in the order of FLOW_EVENT_LIST; I G P S R U C T: the next state, '.': refused */
	static const char names[] = "IGPSRUCT"; /* INITIALIZED, PREPARING, PREPARED, STARTING, STARTED, SUSPENDED, ... */
	static const char *const table[FLOW_STATE_COUNT] = {"PGRS....T..", "....P...T..", ".....R..T..", "....R...T..",
		"......U.TCC", ".......RT.C", ".........CC", "........T.."};
	(void)state;
	for (int from = 0; from < FLOW_STATE_COUNT; from++) {
		for (int event = 0; event < FLOW_EVENT_COUNT; event++) {
			struct flow_terms terms = {.state = (enum flow_state)from};
			enum status status = flow_terms_move(&terms, (enum flow_event)event, 7);
			assert_int_equal(status, table[from][event] == '.' ? STATUS_CONFLICT : STATUS_OK);
			assert_int_equal(names[terms.state], status == STATUS_OK ? table[from][event] : names[from]);
			assert_int_equal(terms.changed_ms, terms.state != (enum flow_state)from ? 7 : 0);
		}
	}
}

static void test_terms(void **state)
{
	static const struct {
		const char *body, *wrong; /* NULL: good */
	} cases[] = {
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"did:web:c\"}", NULL},
		{"{\"id\":\"x\",\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"expiresAt\":5}", NULL},
		{"{\"agreementId\":\"a\",\"counterParty\":\"c\"}", "datasetId"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a b\",\"counterParty\":\"c\"}", "agreementId"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":5}", "counterParty"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"state\":\"STARTED\"}", "state"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"extra\":1}", "extra"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"notBefore\":-1}", "notBefore"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"notBefore\":9,\"expiresAt\":9}",
			"expiresAt"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"role\":\"consumer\",\"profile\":\"p-"
		 "push\","
		 "\"labels\":[],\"claims\":{},\"dataAddress\":{}}",
			NULL},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"role\":\"both\"}", "role"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"labels\":{}}", "labels"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"claims\":[]}", "claims"},
		{"{\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"messageIds\":[]}", "messageIds"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *root = NULL;
		struct flow_terms *terms = NULL;
		struct buffer error = {0};
		assert_int_equal(json_parse(text_of(cases[i].body), NULL, &root), STATUS_OK);
		enum status status = flow_terms_parse(root, true, &terms, &error);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].wrong != NULL)
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		flow_terms_free(terms);
		buffer_free(&error);
		json_free(root);
	}
}

static void test_window(void **state)
{
	const struct flow_terms window = {.state = FLOW_STARTED, .not_before_ms = 10, .expires_ms = 20};
	const struct flow_terms suspended = {.state = FLOW_SUSPENDED};
	const struct flow_terms open = {.state = FLOW_STARTED};
	(void)state;
	assert_false(flow_terms_admit(&window, 9));
	assert_true(flow_terms_admit(&window, 10));
	assert_true(flow_terms_admit(&window, 19));
	assert_false(flow_terms_admit(&window, 20));
	assert_false(flow_terms_admit(&suspended, 10));
	assert_true(flow_terms_admit(&open, INT64_MAX));
}

static void test_header_filters(void **state)
{
	static const char *const never[] = {"authorization", "cookie", "host", "forwarded", "x-forwarded-for",
		"x-forwarded-host", "x-celld-context", "x_forwarded_for", "x-real-ip", "edc-contract-agreement-id", "edc-bpn",
		"te", "connection", "content-length"};
	const struct header answer[] = {{TEXT("connection"), TEXT("close, X-Hop")}, {TEXT("x-hop"), TEXT("1")},
		{TEXT("x-own"), TEXT("1")}, {TEXT("transfer-encoding"), TEXT("chunked")}, {TEXT("set-cookie"), TEXT("a=b")}};
	static const bool passes[] = {false, false, true, false, true};
	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		assert_false(header_goes_to_source(text_of(never[i])));
	assert_true(header_goes_to_source(TEXT("range")));
	assert_true(header_goes_to_source(TEXT("accept")));
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(header_goes_to_consumer(answer[i].name, answer, 5), passes[i]);
	assert_false(header_may_be_set(TEXT("host")));
	assert_false(header_may_be_set(TEXT("bad name")));
	assert_false(header_may_be_set(TEXT("")));
	assert_true(header_may_be_set(TEXT("x-api-key")));
	assert_false(header_value_is_valid(TEXT("a\r\nb: c")));
	assert_true(header_value_is_valid(TEXT("a b")));
}

static void test_token_of(void **state)
{
	static const struct {
		const char *value, *token;
#define OPAQUE "0123456789012345678901234567890123456789-_A"
	} cases[] = {{"Bearer a.b.c", "a.b.c"}, {"bEARER  a.b.c ", "a.b.c"}, {"a.b.c", "a.b.c"}, {"Basic a.b.c", NULL},
		{"Bearer", NULL}, {"Bearer ", NULL}, {"", NULL}, {"Bearer a b", NULL}, {"abc", NULL},
		{"Bearer " OPAQUE, OPAQUE}, {"bearer " OPAQUE, OPAQUE}, {" Bearer  " OPAQUE " ", OPAQUE}, {OPAQUE, OPAQUE},
		{OPAQUE "A", NULL}, {"Basic " OPAQUE, NULL}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text token = token_of(text_of(cases[i].value));
		if (cases[i].token == NULL)
			assert_int_equal(token.length, 0);
		else
			assert_true(text_equals(token, text_of(cases[i].token)));
	}
}

static void test_terms_print(void **state)
{
	static const char body[] =
		"{\"id\":\"f\",\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"c\",\"role\":\"consumer\","
		"\"participantId\":\"p\",\"profile\":\"HttpData-PUSH\",\"dataspaceContext\":\"s\",\"controlPlaneId\":\"cp\","
		"\"messageIds\":[\"m\"],\"state\":\"SUSPENDED\",\"reason\":\"a b\",\"dataAddress\":{\"endpointType\":\"t\"},"
		"\"publicUrl\":\"https://"
		"p\",\"claims\":{\"x\":1},\"labels\":[\"eu\"],\"metadata\":{},\"notBefore\":1,\"expiresAt\":2,"
		"\"dueAt\":9,\"createdAt\":3,\"stateChangedAt\":4}";
	struct json *root = NULL;
	struct flow_terms *terms = NULL;
	struct buffer error = {0}, print = {0};
	(void)state;
	assert_int_equal(json_parse(text_of(body), NULL, &root), STATUS_OK);
	assert_int_equal(flow_terms_parse(root, false, &terms, &error), STATUS_OK);
	assert_true(flow_terms_is_push(terms));
	flow_terms_print(terms, TEXT("f"), &print);
	buffer_append_byte(&print, '}');
	assert_string_equal(print.bytes, body);
	flow_terms_free(terms);
	buffer_free(&print);
	buffer_free(&error);
	json_free(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_transitions), cmocka_unit_test(test_terms),
		cmocka_unit_test(test_terms_print), cmocka_unit_test(test_window), cmocka_unit_test(test_header_filters),
		cmocka_unit_test(test_token_of)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
