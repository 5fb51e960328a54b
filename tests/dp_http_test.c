/* HTTP sources: what reaches the source, what comes back, credentials, uploads, failures. */
#include "tests/dp_fixture.h"

static void make(const char *id, const char *properties)
{
	char path[256], body[2048];
	snprintf(path, sizeof(path), "/" CTX "/datasets/%s", id);
	snprintf(body, sizeof(body), "{\"type\":\"http\",\"properties\":{%s}}", properties);
	assert_int_equal(manage_status("PUT", path, body), 201);
	snprintf(body, sizeof(body),
		"{\"id\":\"%s\",\"datasetId\":\"%s\",\"agreementId\":\"agreement\",\"counterParty\":\"%s\"}", id, id, CONSUMER);
	assert_int_equal(manage_status("POST", "/" CTX "/flows", body), 201);
}

static struct shot *ask(const char *flow, const char *method, const char *target)
{
	static const char *headers[] = {"authorization", NULL, "accept", "text/plain", "cookie", "a=b", "x-forwarded-for",
		"6.6.6.6", "x-celld-context", "b", "content-type", "text/own", NULL};
	headers[1] = flow_token(flow);
	return pull(method, target, headers);
}

static bool has_line(const char *line)
{
	return strstr(fake_call.request.bytes, line) != NULL;
}

static void respond(int status, const char *body, int64_t length, enum body_state end)
{
	static const struct header headers[] = {
		{TEXT("x-own"), TEXT("kept")}, {TEXT("connection"), TEXT("x-hop")}, {TEXT("x-hop"), TEXT("gone")}};
	const struct client_response response = {.status = status, .headers = headers, .header_count = 3, .length = length};
	fake_call.body = text_of(body);
	fake_call.end = end;
	fake_call.events->on_head(fake_call.state, &fake_call, &response);
}

static void test_proxied(void **state)
{
	(void)state;
	make("proxied", "\"baseUrl\":\"http://h/base\",\"https://w3id.org/edc/v0.0.1/ns/proxyPath\":\"true\","
					"\"proxyQueryParams\":\"true\",\"queryParams\":\"k=1\",\"header:X-Static\":\"fixed\"");
	struct shot *shot = ask("proxied", "GET", "/a%20b/c?q=1&q=2");
	assert_true(text_starts_with(buffer_text(&fake_call.request), TEXT("GET /base/a%20b/c?k=1&q=1&q=2\n")));
	assert_true(has_line("\nx-static: fixed\n") && has_line("\naccept: text/plain\n"));
	assert_true(has_line("\nedc-contract-agreement-id: agreement\n"));
	assert_true(has_line("\nedc-bpn: " CONSUMER "\n"));
	assert_false(has_line("cookie") || has_line("6.6.6.6") || has_line("authorization") || has_line("celld"));
	respond(203, "hello", 5, BODY_END);
	assert_int_equal(shot->exchange.status, 203);
	assert_int_equal(shot->exchange.response_length, 5);
	assert_int_equal(shot_read(shot, 2), BODY_END);
	assert_true(text_equals(buffer_text(&shot->body), TEXT("hello")));
	assert_true(shot_header(shot, "x-own").bytes != NULL && shot_header(shot, "x-hop").bytes == NULL);
	shot_free(shot);
	assert_false(fake_call.is_open);
}

static void test_lent(void **state)
{
	(void)state;
	make("lent", "\"baseUrl\":\"http://h/base\"");
	struct shot *shot = ask("lent", "GET", "");
	respond(200, "hello", 5, BODY_END);
	const uint8_t *bytes;
	size_t count;
	assert_int_equal(shot->exchange.lend_body(&shot->exchange, 4, false, &bytes, &count), BODY_MORE);
	assert_int_equal(count, 4);
	assert_memory_equal(bytes, "hell", 4);
	assert_int_equal(shot->exchange.held, 1);
	for (int may_read = 0; may_read < 2; may_read++) { /* the end is not lent */
		assert_int_equal(shot->exchange.lend_body(&shot->exchange, 4, may_read, &bytes, &count), BODY_MORE);
		assert_int_equal(count, 0);
	}
	assert_int_equal(shot_read(shot, 4), BODY_END);
	assert_true(text_equals(buffer_text(&shot->body), TEXT("o")));
	shot_free(shot);
}

static void test_fixed(void **state)
{
	(void)state;
	make("fixed", "\"baseUrl\":\"http://h/only\",\"queryParams\":\"key=1\"");
	struct shot *shot = ask("fixed", "GET", "/x?other=2");
	assert_true(text_starts_with(buffer_text(&fake_call.request), TEXT("GET /only?key=1\n")));
	respond(404, "", 0, BODY_END);
	assert_int_equal(shot->exchange.status, 404);
	shot_free(shot);
	shot = ask("fixed", "POST", "");
	assert_int_equal(shot->exchange.status, 405);
	shot_free(shot);
}

/* The binding of a dataset's only part, as the tag of an answer shows it. */
static const char *binding_of(const char *dataset)
{
	static char binding[17];
	struct dataset *found = dp_find(fake_dp, DP_DATASETS, TEXT(CTX), text_of(dataset));
	assert_non_null(found);
	snprintf(binding, sizeof(binding), "%s", found->parts[0].binding);
	return binding;
}

static void respond_with_tag(int status, const char *tag)
{
	const struct header headers[] = {{TEXT("etag"), text_of(tag)}};
	const struct client_response response = {.status = status, .headers = headers, .header_count = 1, .length = 0};
	fake_call.body = TEXT_NONE;
	fake_call.end = BODY_END;
	fake_call.events->on_head(fake_call.state, &fake_call, &response);
}

static void test_validators_are_bound(void **state)
{
	static const struct {
		const char *tag, *bound; /* after the binding */
	} tags[] = {{"\"v1\"", ".v1\""}, {"W/\"v1\"", ".v1\""}, {"broken", NULL}};
	(void)state;
	make("bound", "\"baseUrl\":\"http://h/b\"");
	for (size_t i = 0; i < 3; i++) {
		struct shot *shot = ask("bound", "GET", "");
		respond_with_tag(200, tags[i].tag);
		struct text etag = shot_header(shot, "etag");
		assert_int_equal(etag.bytes != NULL, tags[i].bound != NULL);
		if (etag.bytes != NULL) {
			assert_true(text_ends_with(etag, text_of(tags[i].bound)));
			assert_true(text_starts_with(etag, TEXT("W/")) == (tags[i].tag[0] == 'W'));
			assert_non_null(strstr(etag.bytes, binding_of("bound")));
		}
		shot_free(shot);
	}
	char first[17];
	snprintf(first, sizeof(first), "%s", binding_of("bound"));
	make("unbound", "\"baseUrl\":\"http://h/b\"");
	assert_string_not_equal(first, binding_of("unbound"));
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/bound",
						 "{\"type\":\"http\",\"properties\":{\"baseUrl\":\"http://h/b\",\"version\":\"2\"}}"),
		200);
	assert_string_not_equal(first, binding_of("bound"));
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/bound",
						 "{\"type\":\"http\",\"properties\":{\"baseUrl\":\"http://h/b\",\"version\":\"a b\"}}"),
		400);
}

/* %s: the binding; NULL: not there. */
static void test_conditions_go_to_the_source(void **state)
{
	static const struct {
		const char *name, *value, *second, *second_value;
		const char *sent, *kept_out; /* lines of the request, or NULL */
	} cases[] = {
		{"if-none-match", "\"%s.a\"", NULL, NULL, "\nif-none-match: \"a\"\n", NULL},
		{"if-none-match", "\"other\"", "if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", NULL, "if-modified-since"},
		{"if-none-match", "\"other\"", NULL, NULL, NULL, "if-none-match"},
		{"if-none-match", "*", NULL, NULL, "\nif-none-match: *\n", NULL},
		{"if-match", "\"x\", \"%s.a\"", NULL, NULL, "\nif-match: \"a\"\n", NULL},
		{"range", "bytes=5-", "if-range", "\"%s.a\"", "\nif-range: \"a\"\n", NULL},
		{"if-range", "\"%s.a\"", "range", "bytes=5-", "\nrange: bytes=5-\n", NULL},
		{"range", "bytes=5-", "if-range", "\"other\"", NULL, "range"},
		{"range", "bytes=5-", "if-range", "W/\"%s.a\"", NULL, "range"},
		{"range", "bytes=5-", "if-range", "Sun, 06 Nov 1994 08:49:37 GMT",
			"\nif-range: Sun, 06 Nov 1994 08:49:37 GMT\n", NULL},
		{"range", "bytes=5-", NULL, NULL, "\nrange: bytes=5-\n", NULL},
		{"if-modified-since", "x", NULL, NULL, "\nif-modified-since: x\n", NULL},
	};
	(void)state;
	make("conditions", "\"baseUrl\":\"http://h/b\"");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char values[2][128];
		const char *own = binding_of("conditions"), *given[] = {cases[i].value, cases[i].second_value};
		for (int k = 0; k < 2 && given[k] != NULL; k++) {
			const char *at = strstr(given[k], "%s");
			int before = at == NULL ? (int)strlen(given[k]) : (int)(at - given[k]);
			snprintf(values[k], sizeof(values[k]), "%.*s%s%s", before, given[k], at == NULL ? "" : own,
				at == NULL ? "" : at + 2);
		}
		const char *const headers[] = {
			"authorization", flow_token("conditions"), cases[i].name, values[0], cases[i].second, values[1], NULL};
		struct shot *shot = pull("GET", "", headers);
		if (cases[i].sent != NULL && !has_line(cases[i].sent))
			fail_msg("case %zu: %s", i, fake_call.request.bytes);
		if (cases[i].kept_out != NULL && has_line(cases[i].kept_out))
			fail_msg("case %zu: %s", i, fake_call.request.bytes);
		respond(200, "", 0, BODY_END);
		shot_free(shot);
	}
	unsigned before = fake_calls;
	const char *const headers[] = {"authorization", flow_token("conditions"), "if-match", "\"other\"", NULL};
	struct shot *shot = pull("GET", "", headers);
	assert_int_equal(shot->exchange.status, 412);
	assert_int_equal(fake_calls, before); /* the source is not even asked */
	shot_free(shot);
}

static void test_failures(void **state)
{
	static const struct {
		enum status why;
		int status;
	} cases[] = {{STATUS_UNAVAILABLE, 502}, {STATUS_PROTOCOL, 502}, {STATUS_FORBIDDEN, 502}, {STATUS_TIMEOUT, 504},
		{STATUS_REFUSED, 503}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shot *shot = ask("fixed", "GET", "");
		fake_call.events->on_failed(fake_call.state, &fake_call, cases[i].why);
		assert_int_equal(shot->exchange.status, cases[i].status);
		shot_free(shot);
		fake_call_status = cases[i].why;
		shot = ask("fixed", "GET", "");
		assert_int_equal(shot->exchange.status, cases[i].status);
		shot_free(shot);
		fake_call_status = STATUS_OK;
	}
	struct shot *shot = ask("fixed", "GET", "");
	respond(200, "short", 1000, BODY_FAILED);
	assert_int_equal(shot_read(shot, 64), BODY_FAILED);
	shot_free(shot);
}

static void test_upload(void **state)
{
	(void)state;
	make("upload", "\"baseUrl\":\"http://h\",\"proxyMethod\":\"true\",\"proxyBody\":\"true\"");
	const char *const headers[] = {"authorization", flow_token("upload"), "content-type", "text/own", NULL};
	struct shot *shot = shot_new("PUT", "", headers);
	shot->exchange.request_length = 11;
	const struct route route = {.participant = &fake_participant, .rest = TEXT("")};
	dp_pull(fake_dp, &shot->exchange, &route);
	assert_true(
		text_starts_with(buffer_text(&fake_call.request), TEXT("PUT /\n")) && has_line("content-type: text/own\n"));
	fake_call.events->on_writable(fake_call.state, &fake_call);
	assert_non_null(shot->on_body);
	fake_call.take = 2;
	shot->on_body(&shot->exchange, (const uint8_t *)"hello ", 6, false);
	assert_int_equal(shot->consumed, 2); /* the rest waits, and so does the consumer */
	shot->on_body(&shot->exchange, (const uint8_t *)"world", 5, true);
	assert_int_equal(shot->consumed, 2);
	while (!fake_call.has_ended)
		fake_call.events->on_writable(fake_call.state, &fake_call);
	assert_int_equal(shot->consumed, 11);
	assert_true(text_equals(buffer_text(&fake_call.sent), TEXT("hello world")));
	respond(201, "", 0, BODY_END);
	assert_int_equal(shot->exchange.status, 201);
	shot_free(shot);
}

static void test_secrets(void **state)
{
	(void)state;
	make("secret", "\"baseUrl\":\"http://h\",\"authKey\":\"X-Api-Key\",\"secretName\":\"alias\"");
	fake_secret_reads = 0;
	for (int i = 0; i < 3; i++) {
		struct shot *shot = ask("secret", "GET", "");
		assert_true(has_line("\nx-api-key: vault-secret\n"));
		respond(200, "", 0, BODY_END);
		shot_free(shot);
	}
	assert_int_equal(fake_secret_reads, 1);
	fake_secret = "{\"token\":\"second\"}";
	struct shot *shot = ask("secret", "GET", "");
	respond(401, "", 0, BODY_END); /* asked again with what the vault has now, once */
	assert_false(shot->has_responded);
	assert_true(has_line("\nx-api-key: second\n"));
	respond(401, "", 0, BODY_END);
	assert_int_equal(shot->exchange.status, 401);
	shot_free(shot);
	fake_secret = "third";
	assert_int_equal(manage_status("PUT", "/" CTX "/secrets/alias", "{\"value\":\"third\"}"), 204);
	shot = ask("secret", "GET", "");
	assert_true(has_line("\nx-api-key: third\n"));
	shot_free(shot);
}

static void test_oauth2(void **state)
{
	(void)state;
	fake_secret = "s3&cret";
	make("oauth", "\"baseUrl\":\"http://h\",\"oauth2:clientId\":\"me\",\"oauth2:clientSecretKey\":\"k\","
				  "\"oauth2:tokenUrl\":\"http://i/token\",\"oauth2:scope\":\"read\"");
	struct shot *shot = ask("oauth", "GET", "");
	assert_true(text_starts_with(buffer_text(&fake_call.request), TEXT("POST /token\n")));
	fake_call.events->on_writable(fake_call.state, &fake_call);
	assert_true(text_equals(buffer_text(&fake_call.sent),
		TEXT("grant_type=client_credentials&client_id=me&client_secret=s3%26cret&scope=read")));
	respond(200, "{\"access_token\":\"granted\",\"expires_in\":3600}", -1, BODY_END);
	assert_true(text_starts_with(buffer_text(&fake_call.request), TEXT("GET /\n")));
	assert_true(has_line("\nauthorization: Bearer granted\n"));
	shot_free(shot);
	unsigned calls = fake_calls;
	shot = ask("oauth", "GET", "");
	assert_true(has_line("\nauthorization: Bearer granted\n"));
	assert_int_equal(fake_calls, calls + 1);
	shot_free(shot);
	fake.wall_ms += 3590000; /* within the margin before its end */
	shot = ask("oauth", "GET", "");
	assert_true(text_starts_with(buffer_text(&fake_call.request), TEXT("POST /token\n")));
	respond(500, "", 0, BODY_END);
	assert_int_equal(shot->exchange.status, 502);
	shot_free(shot);
}

static void test_cut_closes_the_source(void **state)
{
	(void)state;
	struct shot *shot = ask("fixed", "GET", "");
	respond(200, "endless", -1, BODY_LATER);
	assert_true(fake_call.is_open);
	assert_int_equal(manage_status("POST", "/" CTX "/flows/fixed/terminate", ""), 200);
	assert_false(fake_call.is_open);
	assert_int_equal(shot->outcome, STATUS_STOPPED);
	shot_free(shot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_proxied), cmocka_unit_test(test_lent),
		cmocka_unit_test(test_fixed), cmocka_unit_test(test_validators_are_bound),
		cmocka_unit_test(test_conditions_go_to_the_source), cmocka_unit_test(test_failures),
		cmocka_unit_test(test_upload), cmocka_unit_test(test_secrets), cmocka_unit_test(test_oauth2),
		cmocka_unit_test(test_cut_closes_the_source)};
	return cmocka_run_group_tests(tests, dp_setup, dp_teardown);
}
