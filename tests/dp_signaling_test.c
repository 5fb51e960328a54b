/* Data Plane Signaling without sockets: callers, the verbs, what comes twice, callbacks and the clock. */
#include "tenants/dp/signaling/flow_moves.h"
#include "tests/dp_fixture.h"

#define HTTP_PULL "https://w3id.org/dspace-sig/profile/http-pull"
#define ADDRESS "{\"endpointType\":\"t\",\"endpoint\":\"https://consumer.example/in\"}"
#define ALLOWED "{\"sub\":\"" CTX "\",\"scope\":\"signaling:write\"}"

static struct shot *signal_as(const char *token, const char *method, const char *rest, const char *body)
{
	const char *headers[] = {"authorization", token, NULL};
	struct shot *shot = shot_new(method, rest, token == NULL ? NULL : headers);
	shot->exchange.scheme = TEXT("https");
	shot->exchange.authority = TEXT("cell.example");
	const struct route route = {.participant = &fake_participant, .rest = text_of(rest)};
	dp_signaling(fake_dp, &shot->exchange, &route);
	if (shot->collected != NULL && !shot->is_closed)
		shot->collected(&shot->exchange, text_of(body));
	return shot;
}

static struct shot *signal_call(const char *method, const char *rest, const char *body)
{
	fake_claims = ALLOWED;
	return signal_as("Bearer a.b.c", method, rest, body);
}

/* changes: members that replace those of the message, beginning with ',' */
static struct shot *create(const char *verb, const char *id, const char *profile, const char *dataset, const char *more)
{
	char body[4096], rest[64];
	snprintf(rest, sizeof(rest), "/dataflows/%s", verb);
	snprintf(body, sizeof(body),
		"{\"messageId\":\"first-%s\",\"participantId\":\"" IDENTITY "\",\"counterPartyId\":\"" CONSUMER
		"\",\"dataspaceContext\":\"d\",\"processId\":\"%s\",\"agreementId\":\"a\",\"datasetId\":\"%s\","
		"\"profile\":\"%s\",\"claims\":{}%s}",
		id, id, dataset, profile, more);
	return signal_call("POST", rest, body);
}

static int create_status(const char *verb, const char *id, const char *profile, const char *dataset, const char *more)
{
	struct shot *shot = create(verb, id, profile, dataset, more);
	int status = shot->exchange.status;
	shot_free(shot);
	return status;
}

static int move_status(const char *id, const char *verb, const char *body)
{
	char rest[256];
	snprintf(rest, sizeof(rest), "/dataflows/%s/%s", id, verb);
	struct shot *shot = signal_call("POST", rest, body);
	int status = shot->exchange.status;
	shot_free(shot);
	return status;
}

static const struct flow_terms *terms_of(const char *id)
{
	const struct flow *flow = dp_find(fake_dp, DP_FLOWS, TEXT(CTX), text_of(id));
	return flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
}

static enum flow_state state_of(const char *id)
{
	return terms_of(id)->state;
}

static bool says(const struct shot *shot, const char *text)
{
	struct text body = shot->exchange.response_text;
	return memmem(body.bytes, body.length, text, strlen(text)) != NULL;
}

static void register_plane(const char *body)
{
	struct shot *shot = signal_call("PUT", "/controlplanes", body);
	assert_int_equal(shot->exchange.status, 200);
	shot_free(shot);
}

static void answer_call(int status, const char *body)
{
	const struct client_response response = {.status = status, .length = -1};
	fake_turn(); /* the callback leaves with the next turn */
	assert_true(fake_call.is_open);
	fake_call.body = text_of(body);
	fake_call.end = BODY_END;
	if (fake_call.events->on_writable != NULL && fake_call.sent.length == 0)
		fake_call.events->on_writable(fake_call.state, &fake_call);
	fake_call.events->on_head(fake_call.state, &fake_call, &response);
	fake_turn();
}

static int setup(void **state)
{
	int status = dp_setup(state);
	assert_int_equal(
		manage_status("PUT", "/" CTX "/datasets/file", "{\"type\":\"file\",\"properties\":{\"path\":\"x\"}}"), 201);
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/slow",
						 "{\"type\":\"external\",\"properties\":{\"readyAfterMs\":\"50\",\"completeAfterMs\":\"200\","
						 "\"endpoint\":\"https://wire.example/x\"}}"),
		201);
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/bad",
						 "{\"type\":\"external\",\"properties\":{\"readyAfterMs\":\"soon\"}}"),
		400);
	return status;
}

static void test_callers(void **state)
{
	static const struct {
		const char *token, *claims;
		int status;
	} cases[] = {{NULL, ALLOWED, 401}, {"Bearer ", ALLOWED, 401}, {"Bearer a.b.c", NULL, 401},
		{"Bearer x", "{\"sub\":\"" CTX "\"}", 403},
		{"Bearer x", "{\"sub\":\"" CTX "\",\"scope\":\"management-api:admin\"}", 403},
		{"Bearer x", "{\"sub\":\"other\",\"scope\":\"signaling:write\"}", 403},
		{"Bearer x", "{\"sub\":\"" CTX "\",\"scope\":\"signaling:controlplane:write\"}", 403},
		{"Bearer x", "{\"sub\":\"" CTX "\",\"scope\":\"signaling:dataflow:read\"}", 404},
		{"Bearer x", "{\"sub\":\"other\",\"scope\":\"signaling:admin\"}", 404}, {"Bearer x", ALLOWED, 404}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_claims = cases[i].claims;
		struct shot *shot = signal_as(cases[i].token, "GET", "/dataflows/none/status", "");
		assert_int_equal(shot->exchange.status, cases[i].status);
		assert_int_equal(cases[i].status == 401, shot_header(shot, "www-authenticate").length > 0);
		shot_free(shot);
	}
}

static void test_paths(void **state)
{
	static const struct {
		const char *method, *rest;
		int status;
	} cases[] = {{"GET", "/dataflows/x", 404}, {"POST", "/dataflows/x", 404}, {"GET", "/dataflows/prepare", 405},
		{"POST", "/dataflows/x/status", 405}, {"GET", "/dataflows/x/suspend", 405},
		{"POST", "/dataflows/x/nothing", 404}, {"POST", "/dataflows/x/suspend/y", 404}, {"GET", "/", 404},
		{"GET", "", 404}, {"POST", "/controlplanes", 405}, {"DELETE", "/controlplanes/none", 404},
		{"POST", "/dataflows/a%2Fb/suspend", 404}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shot *shot = signal_call(cases[i].method, cases[i].rest, "{}");
		assert_int_equal(shot->exchange.status, cases[i].status);
		shot_free(shot);
	}
}

static void test_pull(void **state)
{
	(void)state;
	struct shot *shot = create("start", "pull", HTTP_PULL, "file", "");
	assert_int_equal(shot->exchange.status, 200);
	assert_true(says(shot, "\"state\":\"STARTED\""));
	assert_true(
		says(shot, "\"endpointType\":\"" HTTP_PULL "\",\"endpoint\":\"https://cell.example/api/public/" CTX "\""));
	assert_true(says(shot, "\"name\":\"refreshToken\""));
	assert_true(says(shot, "\"name\":\"expiresIn\",\"value\":\"300\""));
	shot_free(shot);
	assert_int_equal(create_status("start", "pull", HTTP_PULL, "file", ""), 200); /* the same message */
	assert_int_equal(
		create_status("start", "pull", HTTP_PULL, "file", ",\"messageId\":\"other\""), 400); /* twice in JSON */
	assert_int_equal(create_status("start", "none", HTTP_PULL, "nothing", ""), 404);
	assert_int_equal(create_status("start", "none", "ftp-pull", "file", ""), 400);
	assert_int_equal(create_status("start", "none", HTTP_PULL, "file", ",\"dataAddress\":" ADDRESS), 400);
	assert_null(terms_of("none"));
	assert_int_equal(move_status("pull", "suspend", "{\"messageId\":\"s\",\"reason\":\"later on\"}"), 200);
	assert_string_equal(terms_of("pull")->reason, "later on");
	assert_int_equal(move_status("pull", "suspend", "{\"messageId\":\"t\"}"), 409);
	assert_int_equal(move_status("pull", "resume", "{\"messageId\":\"r\"}"), 200);
	assert_int_equal(move_status("pull", "suspend", "{\"messageId\":\"s\"}"), 200); /* seen before */
	assert_int_equal(state_of("pull"), FLOW_STARTED);
	assert_int_equal(move_status("pull", "resume", "{\"messageId\":\"q\",\"dataAddress\":" ADDRESS "}"), 409);
	assert_int_equal(move_status("pull", "completed", ""), 200);
	assert_int_equal(move_status("pull", "completed", "{}"), 200);
	assert_int_equal(move_status("pull", "terminate", "{}"), 409);
	assert_int_equal(state_of("pull"), FLOW_COMPLETED);
	assert_int_equal(move_status("nobody", "completed", "{}"), 404);
}

static void test_consumer(void **state)
{
	(void)state;
	struct shot *shot = create("prepare", "fetch", "http-pull", "theirs", "");
	assert_int_equal(shot->exchange.status, 200);
	assert_true(says(shot, "\"state\":\"PREPARED\"}"));
	shot_free(shot);
	assert_int_equal(move_status("fetch", "started",
						 "{\"dataAddress\":{\"endpointType\":\"t\",\"endpoint\":\"http://clear.example/\"}}"),
		400);
	assert_int_equal(move_status("fetch", "started",
						 "{\"dataAddress\":{\"endpointType\":\"t\",\"endpoint\":\"https://p.example/\","
						 "\"endpointProperties\":[{\"name\":\"authorization\",\"value\":\"hidden\"}]}}"),
		200);
	assert_int_equal(state_of("fetch"), FLOW_STARTED);
	assert_null(strstr(terms_of("fetch")->address, "hidden"));
	assert_string_equal(fake_alias, "flow:fetch:address");
	assert_non_null(strstr(fake_put.bytes, "hidden"));
	shot = create("prepare", "take", "http-push", "theirs", "");
	assert_int_equal(shot->exchange.status, 200);
	assert_true(says(shot, "\"endpoint\":\"https://cell.example/api/ingest/" CTX "/take\""));
	shot_free(shot);
	assert_int_equal(move_status("take", "started", "{\"dataAddress\":" ADDRESS "}"), 400);
	assert_int_equal(move_status("take", "started", "{}"), 200);
	assert_int_equal(create_status("start", "give", "http-push", "file", ""), 400);
	assert_int_equal(create_status("start", "give", "http-push", "file", ",\"dataAddress\":" ADDRESS), 200);
	assert_int_equal(create_status("prepare", "alien", "http-pull", "x", ",\"metadata\":[]"), 400);
}

static void test_renewal_is_required(void **state)
{
	static const char *const bad[] = {"{}",
		"{\"dataAddress\":{\"endpointType\":\"" HTTP_PULL "\",\"endpoint\":\"https://p.example/\"}}",
		"{\"dataAddress\":{\"endpointType\":\"t\",\"endpoint\":\"https://p.example/\"}}"};
	(void)state;
	fake_participant.signaling.needs_renewal = true;
	assert_int_equal(create_status("prepare", "renew", HTTP_PULL, "theirs", ""), 200);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(move_status("renew", "started", bad[i]), 400);
	assert_int_equal(move_status("renew", "started",
						 "{\"dataAddress\":{\"endpointType\":\"" HTTP_PULL "\",\"endpoint\":\"https://p.example/\","
						 "\"endpointProperties\":[{\"name\":\"authorization\",\"value\":\"a\"},{\"name\":\"authType\","
						 "\"value\":\"bearer\"},{\"name\":\"refreshToken\",\"value\":\"r\"},{\"name\":\"expiresIn\","
						 "\"value\":\"300\"}]}}"),
		200);
	fake_participant.signaling.needs_renewal = false;
}

static void test_overtaken(void **state)
{
	(void)state;
	assert_int_equal(create_status("start", "raced", HTTP_PULL, "file", ""), 200);
	fake_store_status = STATUS_CONFLICT; /* somebody else has changed the record: judged again */
	assert_int_equal(move_status("raced", "suspend", "{}"), 200);
	assert_int_equal(state_of("raced"), FLOW_SUSPENDED);
	fake_store_status = STATUS_UNAVAILABLE;
	assert_int_equal(move_status("raced", "terminate", "{}"), 503);
	assert_int_equal(state_of("raced"), FLOW_SUSPENDED);
}

static void test_callbacks(void **state)
{
	(void)state;
	register_plane("{\"controlplaneId\":\"cp\",\"endpoint\":\"https://control.example/api/\",\"authorization\":{}}");
	struct shot *shot = create("start", "late", HTTP_PULL, "slow", "");
	assert_int_equal(shot->exchange.status, 202);
	assert_true(text_equals(shot_header(shot, "location"), TEXT("/dataflows/late/status")));
	assert_true(says(shot, "\"state\":\"STARTING\"}"));
	shot_free(shot);
	assert_string_equal(terms_of("late")->control_plane, "cp");
	fake_pass(49);
	assert_int_equal(state_of("late"), FLOW_STARTING);
	fake_pass(1);
	fake_turn();
	assert_int_equal(state_of("late"), FLOW_STARTED);
	unsigned calls = fake_calls;
	answer_call(503, "");
	assert_true(
		strstr(fake_call.request.bytes, "POST /api/transfers/late/dataflow/started\n") == fake_call.request.bytes);
	assert_non_null(strstr(fake_call.sent.bytes, "\"state\":\"STARTED\",\"dataAddress\":{"));
	assert_non_null(strstr(fake_call.sent.bytes, "https://wire.example/x"));
	char *first = text_copy(buffer_text(&fake_call.sent));
	assert_int_equal(fake_calls, calls);
	fake_pass(101); /* the pause is at most callback_min_ms after the first failure */
	answer_call(200, "");
	assert_string_equal(fake_call.sent.bytes, first); /* the same message, with the same address */
	free(first);
	fake_pass(200);
	answer_call(500, "");
	assert_non_null(strstr(fake_call.request.bytes, "/dataflow/completed"));
	assert_int_equal(state_of("late"), FLOW_STARTED); /* until it is acknowledged */
	fake_pass(101);
	answer_call(204, "");
	assert_int_equal(state_of("late"), FLOW_COMPLETED);
	assert_null(dp_find(fake_dp, DP_LETTERS, TEXT(CTX), TEXT("late:completed")));
}

static void test_callbacks_end_with_their_flow(void **state)
{
	(void)state;
	assert_int_equal(create_status("prepare", "gone", "http-pull", "slow", ""), 202);
	fake_pass(50);
	fake_turn();
	assert_int_equal(state_of("gone"), FLOW_PREPARED);
	answer_call(404, "");
	assert_non_null(dp_find(fake_dp, DP_LETTERS, TEXT(CTX), TEXT("gone:prepared")));
	assert_int_equal(move_status("gone", "terminate", "{}"), 200);
	fake_turn();
	assert_null(dp_find(fake_dp, DP_LETTERS, TEXT(CTX), TEXT("gone:prepared")));
	unsigned calls = fake_calls;
	fake_pass(3000);
	assert_int_equal(fake_calls, calls);
}

static void test_wire(void **state)
{
	(void)state;
	assert_int_equal(create_status("start", "wire", "http-push", "file", ",\"dataAddress\":" ADDRESS), 200);
	flow_fail(fake_dp, TEXT(CTX), TEXT("wire"), TEXT("the receiver says no"));
	answer_call(200, "");
	assert_non_null(strstr(fake_call.request.bytes, "/dataflow/errored"));
	assert_non_null(strstr(fake_call.sent.bytes, "\"state\":\"STARTED\",\"error\":\"the receiver says no\"}"));
	assert_int_equal(state_of("wire"), FLOW_STARTED);
	fake_store_status = STATUS_UNAVAILABLE; /* tried again until it is stored */
	flow_finish(fake_dp, TEXT(CTX), TEXT("wire"));
	fake_pass(1000);
	answer_call(200, "");
	assert_int_equal(state_of("wire"), FLOW_COMPLETED);
	flow_finish(fake_dp, TEXT(CTX), TEXT("wire")); /* nothing to do */
	flow_fail(fake_dp, TEXT(CTX), TEXT("no such flow"), TEXT("x"));
	assert_false(fake_call.is_open);
}

static void test_callback_tokens(void **state)
{
	(void)state;
	register_plane("{\"controlplaneId\":\"cp\",\"endpoint\":\"https://control.example\",\"authorization\":{"
				   "\"type\":\"oauth2_client_credentials\",\"tokenEndpoint\":\"https://tokens.example/t\","
				   "\"clientId\":\"me\",\"clientSecret\":\"s&cret\",\"jwksUri\":\"https://tokens.example/jwks\"}}");
	assert_string_equal(fake_alias, "controlplane:cp:secret");
	assert_int_equal(create_status("start", "proved", "http-push", "file", ",\"dataAddress\":" ADDRESS), 200);
	flow_fail(fake_dp, TEXT(CTX), TEXT("proved"), TEXT("x"));
	answer_call(200, "{\"access_token\":\"tok\",\"expires_in\":300}");
	assert_true(
		strstr(fake_call.request.bytes, "POST /transfers/proved/dataflow/errored\n") == fake_call.request.bytes);
	assert_non_null(strstr(fake_call.request.bytes, "\nauthorization: Bearer tok\n"));
	answer_call(401, ""); /* refused: the next attempt asks for a new one */
	fake_pass(101);
	fake_turn();
	assert_true(strstr(fake_call.request.bytes, "POST /t\n") == fake_call.request.bytes);
	answer_call(200, "{\"access_token\":\"new\",\"expires_in\":300}");
	answer_call(200, "");
	assert_null(dp_find(fake_dp, DP_LETTERS, TEXT(CTX), TEXT("proved:errored")));
	flow_fail(fake_dp, TEXT(CTX), TEXT("proved"), TEXT("y"));
	fake_turn();
	assert_non_null(strstr(fake_call.request.bytes, "\nauthorization: Bearer new\n"));
	answer_call(200, "");
}

static void test_exchanged_token(void **state)
{
	char path[128];
	(void)state;
	snprintf(path, sizeof(path), "%s/subject", fake_root);
	register_plane("{\"controlplaneId\":\"cp\",\"endpoint\":\"https://control.example\",\"authorization\":{"
				   "\"type\":\"oauth2_token_exchange\",\"tokenExchangeEndpoint\":\"https://broker.example/x\","
				   "\"issuer\":\"https://broker.example\",\"jwksUri\":\"https://broker.example/jwks\"}}");
	assert_int_equal(create_status("start", "swapped", "http-push", "file", ",\"dataAddress\":" ADDRESS), 200);
	unsigned calls = fake_calls;
	flow_fail(fake_dp, TEXT(CTX), TEXT("swapped"), TEXT("x"));
	fake_turn();
	assert_int_equal(fake_calls, calls); /* nothing to exchange: not sent without a token */
	fake_dp->settings.subject_token_file = path;
	for (int i = 1; i <= 2; i++) { /* read again for each exchange */
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		fprintf(file, "own+%d\n", i);
		fclose(file);
		fake_pass(1001);
		fake_turn();
		char subject[32];
		snprintf(subject, sizeof(subject), "&subject_token=own%%2B%d&", i);
		fake_call.events->on_writable(fake_call.state, &fake_call);
		assert_non_null(strstr(fake_call.sent.bytes, subject));
		assert_non_null(strstr(fake_call.sent.bytes, "&resource=" CTX "&audience=cp&scope=signaling%3Adataflow"));
		answer_call(i == 1 ? 400 : 200, i == 1 ? "" : "{\"access_token\":\"swapped\",\"expires_in\":300}");
	}
	assert_non_null(strstr(fake_call.request.bytes, "\nauthorization: Bearer swapped\n"));
	answer_call(200, "");
	assert_null(dp_find(fake_dp, DP_LETTERS, TEXT(CTX), TEXT("swapped:errored")));
	fake_dp->settings.subject_token_file = NULL;
	register_plane("{\"controlplaneId\":\"cp\",\"endpoint\":\"https://control.example\",\"authorization\":{"
				   "\"type\":\"oauth2_client_credentials\",\"tokenEndpoint\":\"https://tokens.example/t\","
				   "\"clientId\":\"me\",\"clientSecret\":\"s\",\"jwksUri\":\"https://tokens.example/jwks\"}}");
}

/* A token of the control plane: "Bearer ..."; static memory. */
static const char *plane_token(const struct key *key, const char *claims)
{
	static char value[2048];
	struct buffer token = {0}, header = {0};
	uint8_t signature[64];
	buffer_printf(&header, "{\"alg\":\"ES256\",\"kid\":\"%.*s\"}", TEXT_ARGUMENTS(key_id(key)));
	assert_int_equal(jws_input(buffer_text(&header), text_of(claims), &token), STATUS_OK);
	assert_int_equal(key_sign(key, buffer_text(&token), signature), STATUS_OK);
	assert_int_equal(jws_append_signature(&token, (struct text){(const char *)signature, 64}), STATUS_OK);
	snprintf(value, sizeof(value), "Bearer %s", token.bytes);
	buffer_free(&token);
	buffer_free(&header);
	return value;
}

static void test_keys_by_address(void **state)
{
	struct key *key, *other;
	struct buffer jwks = {0};
	(void)state;
	assert_int_equal(key_generate(KEY_ES256, TEXT("k1"), &key), STATUS_OK);
	assert_int_equal(key_generate(KEY_ES256, TEXT("k2"), &other), STATUS_OK);
	buffer_append(&jwks, TEXT("{\"keys\":["));
	assert_int_equal(key_to_public_jwk(key, &jwks), STATUS_OK);
	buffer_append(&jwks, TEXT("]}"));
	char claims[256];
	snprintf(claims, sizeof(claims), "{\"sub\":\"cp\",\"aud\":\"" IDENTITY "\",\"exp\":%lld}",
		(long long)(fake.wall_ms / 1000 + 60));
	fake_claims = NULL;
	struct shot *shot = signal_as(plane_token(key, claims), "GET", "/dataflows/none/status", "");
	assert_false(shot->has_responded); /* waits for the keys */
	answer_call(200, jwks.bytes);
	assert_int_equal(shot->exchange.status, 404);
	shot_free(shot);
	shot = signal_as(plane_token(key, claims), "GET", "/dataflows/none/status", "");
	assert_int_equal(shot->exchange.status, 404); /* from memory */
	shot_free(shot);
	fake.wall_ms += 1;
	shot = signal_as(plane_token(other, claims), "GET", "/dataflows/none/status", "");
	answer_call(200, jwks.bytes); /* an unknown key: asked once more */
	assert_int_equal(shot->exchange.status, 401);
	shot_free(shot);
	fake.wall_ms += 1;
	shot = signal_as(plane_token(other, claims), "GET", "/dataflows/none/status", "");
	answer_call(500, "");
	assert_int_equal(shot->exchange.status, 503);
	shot_free(shot);
	shot = signal_as(plane_token(other, claims), "GET", "/dataflows/none/status", "");
	shot_free(shot); /* goes away while it waits */
	fake_turn();
	key_free(key);
	key_free(other);
	buffer_free(&jwks);
}

/* One question for all who wait for the same agreement; who has gone is not told; another counter party is another
 * question. */
static void test_agreements(void **state)
{
	static const char answer[] =
		"{\"@type\":\"Agreement\",\"@id\":\"a\",\"assignee\":\"" CONSUMER "\",\"permission\":[{\"action\":\"use\"}]}";
	struct shot *shots[3];
	char id[16];
	(void)state;
	register_plane("{\"controlplaneId\":\"cp\",\"endpoint\":\"https://control.example\"}");
	fake_dp->settings.agreement_from_control_plane = AGREEMENT_FETCH_REQUIRED;
	unsigned calls = fake_calls;
	for (int i = 0; i < 3; i++) {
		snprintf(id, sizeof(id), "asking-%d", i);
		shots[i] = create("start", id, "http-pull", "file", "");
		assert_int_equal(shots[i]->exchange.status, 0);
	}
	shot_free(shots[1]);
	fake_turn();
	assert_int_equal(fake_calls, calls + 1);
	assert_true(strstr(fake_call.request.bytes, "GET /transfers/asking-0/agreement\n") == fake_call.request.bytes);
	answer_call(200, answer);
	for (int i = 0; i < 3; i += 2) {
		assert_int_equal(shots[i]->exchange.status, 200);
		shot_free(shots[i]);
	}
	assert_null(terms_of("asking-1"));
	assert_int_equal(create_status("start", "asking-3", "http-pull", "file", ""), 200);
	assert_int_equal(fake_calls, calls + 1);
	fake_dp->settings.agreement_from_control_plane = AGREEMENT_FETCH_NEVER;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_callers), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_pull), cmocka_unit_test(test_consumer), cmocka_unit_test(test_renewal_is_required),
		cmocka_unit_test(test_overtaken), cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_callbacks_end_with_their_flow), cmocka_unit_test(test_wire),
		cmocka_unit_test(test_callback_tokens), cmocka_unit_test(test_exchanged_token),
		cmocka_unit_test(test_keys_by_address), cmocka_unit_test(test_agreements)};
	return cmocka_run_group_tests(tests, setup, dp_teardown);
}
