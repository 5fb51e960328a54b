/* Opaque tokens: the record, who may what with them, what a remembered verdict stands on, and when a record is over. */
#include "tests/dp_fixture.h"

#include <sys/stat.h>

#include "tenants/dp/opaque_token.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/state.h"

#define FLOW "f1"
#define FLOW_BODY "{\"id\":\"" FLOW "\",\"datasetId\":\"d\",\"agreementId\":\"a\",\"counterParty\":\"" CONSUMER "\"}"
#define FLOW_PATH "/" CTX "/flows/" FLOW
#define OTHER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void on_done(void *context, enum status status, int64_t revision)
{
	(void)context, (void)revision;
	assert_int_equal(status, STATUS_OK);
}

static void commit(struct transaction *transaction)
{
	store_submit(NULL, transaction, NULL, on_done, NULL);
}

static int setup(void **state)
{
	char path[256];
	dp_setup(state);
	fake_dp->settings.token_form = TOKEN_FORM_OPAQUE;
	fake_dp->settings.renewal_grace_ms = 1000000;
	snprintf(path, sizeof(path), "%s/" CTX, fake_root);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/" CTX "/file", fake_root);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	fclose(file);
	return manage_status("PUT", "/" CTX "/datasets/d", "{\"type\":\"file\",\"properties\":{\"path\":\"file\"}}") == 201
			   ? 0
			   : -1;
}

/* Each test begins with a flow of its own, and leaves no token behind. */
static int begin(void **state)
{
	(void)state;
	fake.wall_ms += 1000;
	return manage_status("POST", "/" CTX "/flows", FLOW_BODY) == 201 ? 0 : -1;
}

static size_t count(void)
{
	return map_count(atomic_load(&fake_dp->maps[DP_TOKENS]));
}

static int end(void **state)
{
	(void)state;
	manage_status("DELETE", FLOW_PATH, NULL);
	fake.wall_ms += 5000;
	fake_record(RECORD_REVOCATION, CTX, "none", NULL); /* any batch will do */
	fake_turn();
	assert_int_equal(count(), 0);
	return 0;
}

/* "Bearer ..." */
enum { TOKEN_ROOM = 64 };
static void copy_token(const char *value, char token[TOKEN_ROOM])
{
	size_t length = strlen(value);
	assert_true(length < TOKEN_ROOM);
	memcpy(token, value, length + 1);
}

static int status_with(const char *authorization)
{
	const char *const headers[] = {"authorization", authorization, NULL};
	struct shot *shot = pull("GET", "", headers);
	int status = shot->exchange.status;
	shot_free(shot);
	return status;
}

static struct access_claims claims_of(const char *ctx, int64_t issued_s, int64_t expires_s)
{
	return (struct access_claims){.identity = TEXT(IDENTITY),
		.audience = TEXT(CONSUMER),
		.ctx = text_of(ctx),
		.flow = TEXT(FLOW),
		.jti = TEXT("j"),
		.issued_s = issued_s,
		.expires_s = expires_s};
}

/* Stores claims of a token, as another process may. */
static void keep(const char *token, const struct access_claims *claims)
{
	struct transaction *transaction = transaction_new();
	assert_int_equal(opaque_token_put(transaction, claims, text_of(token)), STATUS_OK);
	commit(transaction);
}

static void id_of(const char *token, char id[DIGEST_HEX + 1])
{
	uint8_t digest[DIGEST_BYTES];
	assert_int_equal(digest_of(text_of(token), digest), STATUS_OK);
	digest_hex(digest, id);
}

/* --- */

static void test_records(void **state)
{
#define TIMES "\"iat\":1,\"exp\":2,"
#define NAMES "\"iss\":\"i\",\"sub\":\"i\",\"aud\":\"a\",\"jti\":\"j\","
#define PLACE "\"ctx\":\"" CTX "\",\"flow\":\"f\""
	static const struct {
		const char *body;
		bool good;
	} cases[] = {
		{"{" TIMES NAMES PLACE "}", true},
		{"{" NAMES PLACE "}", false},
		{"{" TIMES PLACE "}", false},
		{"{" TIMES NAMES "\"ctx\":\"" CTX "\"}", false},
		{"{" TIMES NAMES "\"ctx\":\"" OTHER "\",\"flow\":\"f\"}", false},
		{"{\"iat\":1,\"exp\":-1," NAMES PLACE "}", false},
		{"{\"iat\":1,\"exp\":\"2\"," NAMES PLACE "}", false},
		{"{" TIMES "\"iss\":\"i\",\"sub\":\"k\",\"aud\":\"a\",\"jti\":\"j\"," PLACE "}", false},
		{"[]", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *root = NULL;
		struct opaque_token *token = NULL;
		assert_int_equal(json_parse(text_of(cases[i].body), NULL, &root), STATUS_OK);
		if ((opaque_token_build(TEXT(CTX), root, &token) == STATUS_OK) != cases[i].good)
			fail_msg("%s", cases[i].body);
		json_free(root);
		if (cases[i].good) {
			assert_true(text_equals(token->claims.ctx, TEXT(CTX)) && text_equals(token->claims.flow, TEXT("f")));
			assert_true(text_equals(token->claims.identity, TEXT("i")) && text_equals(token->claims.jti, TEXT("j")));
			assert_true(text_equals(token->claims.audience, TEXT("a")) && token->claims.expires_s == 2);
		}
		opaque_token_free(token);
	}
}

static void test_pulls(void **state)
{
	char token[TOKEN_ROOM], wrong[2 * TOKEN_ROOM];
	(void)state;
	copy_token(flow_token(FLOW), token);
	assert_int_equal(strlen(token), strlen("Bearer ") + OPAQUE_TOKEN_LENGTH);
	assert_int_equal(count(), 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(status_with(token), 200);
		assert_int_equal(status_with(token + 7), 200); /* bare */
	}
	for (int i = 7; i < 7 + OPAQUE_TOKEN_LENGTH; i++) {
		snprintf(wrong, sizeof(wrong), "%s", token);
		wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
		assert_int_equal(status_with(wrong), 401);
	}
	snprintf(wrong, sizeof(wrong), "%sA", token);
	assert_int_equal(status_with(wrong), 401);
	wrong[strlen(wrong) - 2] = 0;
	assert_int_equal(status_with(wrong), 401);
	/* what is stored opens nothing */
	memcpy(wrong, "Bearer ", 7);
	id_of(token + 7, wrong + 7);
	assert_int_equal(status_with(wrong), 401);
	/* both forms are good, whatever is made now */
	fake_dp->settings.token_form = TOKEN_FORM_JWT;
	assert_int_equal(status_with(flow_token(FLOW)), 200);
	assert_int_equal(status_with(token), 200);
	fake_dp->settings.token_form = TOKEN_FORM_OPAQUE;
	assert_int_equal(count(), 1);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *verb;
		int status;
	} moves[] = {{"suspend", 403}, {"resume", 200}, {"terminate", 403}};
	char token[TOKEN_ROOM];
	(void)state;
	copy_token(flow_token(FLOW), token);
	assert_int_equal(status_with(token), 200);
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		char path[128];
		snprintf(path, sizeof(path), FLOW_PATH "/%s", moves[i].verb);
		assert_int_equal(manage_status("POST", path, ""), 200);
		assert_int_equal(status_with(token), moves[i].status);
	}
	/* a flow of the same name that comes later is another one */
	fake.wall_ms += 1000;
	assert_int_equal(manage_status("DELETE", FLOW_PATH, NULL), 204);
	assert_int_equal(manage_status("POST", "/" CTX "/flows", FLOW_BODY), 201);
	assert_true(status_with(token) >= 401);
}

static void test_revocation(void **state)
{
	struct json *root = NULL;
	char token[128], path[256];
	(void)state;
	struct shot *shot = manage("POST", FLOW_PATH "/token", "");
	assert_int_equal(json_parse(shot->exchange.response_text, NULL, &root), STATUS_OK);
	snprintf(token, sizeof(token), "%.*s", TEXT_ARGUMENTS(json_member_text(root, "token")));
	snprintf(path, sizeof(path), FLOW_PATH "/tokens/%.*s", TEXT_ARGUMENTS(json_member_text(root, "jti")));
	json_free(root);
	shot_free(shot);
	assert_int_equal(status_with(token), 200);
	assert_int_equal(manage_status("DELETE", path, NULL), 204);
	assert_int_equal(status_with(token), 403);
	assert_int_equal(status_with(flow_token(FLOW)), 200);
}

/* What is remembered does not outlive the record, nor what the record said. */
static void test_verdicts(void **state)
{
	char token[OPAQUE_TOKEN_LENGTH + 1], id[DIGEST_HEX + 1];
	int64_t now_s = fake.wall_ms / 1000;
	struct access_claims claims = claims_of(CTX, now_s, now_s + 10);
	(void)state;
	opaque_token_make(token);
	id_of(token, id);
	assert_int_equal(status_with(token), 401);
	keep(token, &claims);
	assert_int_equal(status_with(token), 200);
	fake.wall_ms += 10000;
	assert_int_equal(status_with(token), 401);
	claims.expires_s += 10; /* renewed */
	keep(token, &claims);
	assert_int_equal(status_with(token), 200);
	claims.flow = TEXT("another");
	keep(token, &claims);
	assert_int_equal(status_with(token), 403);
	claims.flow = TEXT(FLOW);
	claims.audience = TEXT("did:web:another");
	keep(token, &claims);
	assert_int_equal(status_with(token), 403);
	claims.audience = TEXT(CONSUMER);
	claims.identity = TEXT("did:web:formerly");
	keep(token, &claims);
	assert_int_equal(status_with(token), 401);
	claims.identity = TEXT(IDENTITY);
	keep(token, &claims);
	assert_int_equal(status_with(token), 200);
	fake_record(RECORD_TOKEN, CTX, id, NULL);
	assert_int_equal(status_with(token), 401);
	/* a record nobody understands admits nothing */
	keep(token, &claims);
	assert_int_equal(status_with(token), 200);
	fake_record(RECORD_TOKEN, CTX, id, "{}");
	assert_int_equal(status_with(token), 401);
	/* of another tenant */
	claims.ctx = TEXT(OTHER);
	keep(token, &claims);
	assert_int_equal(status_with(token), 401);
	const struct opaque_token *found;
	assert_int_equal(opaque_token_find(fake_dp, TEXT(CTX), text_of(token), &found), STATUS_NOT_FOUND);
	assert_int_equal(opaque_token_find(fake_dp, TEXT(OTHER), text_of(token), &found), STATUS_OK);
}

/* When a record may go; times in seconds after the flow was made. */
static void test_is_over(void **state)
{
	static const struct {
		int64_t issued, expires, now, acknowledged;
		bool is_renewable, is_over;
	} cases[] = {
		{0, 10, 9, 0, false, false},
		{0, 10, 10, 0, false, true},
		{-1, 10, 9, 0, false, true}, /* of an earlier flow */
		{0, 10, 10, 0, true, false},
		{0, 10, 1010, 0, true, false},
		{0, 10, 1011, 0, true, true}, /* the grace is over */
		{0, 10, 10, 1, true, true},   /* its holder showed a later one */
		{0, 10, 9, 1, true, false},
		{1, 10, 10, 1, true, false},
	};
	int64_t begin_s = fake.wall_ms / 1000;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char body[512];
		int64_t acknowledged_s = begin_s + cases[i].acknowledged;
		struct opaque_token token = {.claims = claims_of(CTX, begin_s + cases[i].issued, begin_s + cases[i].expires)};
		snprintf(body, sizeof(body),
			"{\"issuedAt\":%lld,\"counterParty\":\"c\",\"acknowledgedAt\":%lld,\"current\":"
			"\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
			(long long)fake.wall_ms, (long long)acknowledged_s);
		fake_record(RECORD_RENEWAL, CTX, FLOW, cases[i].is_renewable ? body : NULL);
		if (opaque_token_is_over(fake_dp, &token, (begin_s + cases[i].now) * 1000) != cases[i].is_over)
			fail_msg("case %zu", i);
		token.claims.flow = TEXT("gone");
		assert_true(opaque_token_is_over(fake_dp, &token, begin_s * 1000));
	}
	fake_record(RECORD_RENEWAL, CTX, FLOW, NULL);
}

/* Those that live stay. */
static void test_sweep(void **state)
{
	enum { DEAD = 32 }; /* what a pretended transaction holds */
	int64_t now_s = fake.wall_ms / 1000;
	const struct access_claims dead = claims_of(CTX, now_s, now_s + 1), live = claims_of(CTX, now_s, now_s + 60);
	char token[OPAQUE_TOKEN_LENGTH + 1];
	(void)state;
	for (int i = 0; i < DEAD; i++) {
		opaque_token_make(token);
		keep(token, &dead);
	}
	opaque_token_make(token);
	keep(token, &live);
	assert_int_equal(count(), DEAD + 1);
	assert_int_equal(status_with(token), 200);
	fake.wall_ms += 6000;
	fake_record(RECORD_REVOCATION, CTX, "none", NULL);
	fake_turn();
	assert_int_equal(count(), 1);
	assert_int_equal(status_with(token), 200);
}

static void test_renewals(void **state)
{
	char refresh[REFRESH_TOKEN_LENGTH + 1];
	struct renewal_tokens tokens = {"", ""}, again = {"", ""};
	struct transaction *transaction = transaction_new();
	(void)state;
	assert_int_equal(
		renewal_issue(transaction, TEXT(CTX), TEXT(FLOW), TEXT(CONSUMER), fake.wall_ms, refresh), STATUS_OK);
	commit(transaction);
	for (int64_t issued_s = 7; issued_s > 4; issued_s--) {
		const struct renewal *renewal = dp_find(fake_dp, DP_RENEWALS, TEXT(CTX), TEXT(FLOW));
		transaction = transaction_new();
		assert_int_equal(renewal_rotate(renewal, text_of(refresh), issued_s, transaction, &tokens), STATUS_OK);
		commit(transaction);
		assert_int_equal(strlen(tokens.access), OPAQUE_TOKEN_LENGTH);
		assert_string_not_equal(tokens.access, tokens.refresh);
		assert_string_not_equal(tokens.access, again.access);
		renewal = dp_find(fake_dp, DP_RENEWALS, TEXT(CTX), TEXT(FLOW));
		assert_int_equal(renewal->acknowledged_s, 7); /* the latest that was shown, in whatever order */
		assert_int_equal(renewal_repeat(renewal, text_of(refresh), &again), STATUS_OK);
		assert_memory_equal(&again, &tokens, sizeof(tokens));
		memcpy(refresh, tokens.refresh, sizeof(refresh));
	}
	/* the access token renews nothing */
	assert_int_equal(
		renewal_judge(dp_find(fake_dp, DP_RENEWALS, TEXT(CTX), TEXT(FLOW)), text_of(tokens.access)), RENEWAL_UNKNOWN);
}

#define TOKEN_CASE(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_records), TOKEN_CASE(test_pulls),
		TOKEN_CASE(test_refusals), TOKEN_CASE(test_revocation), TOKEN_CASE(test_verdicts), TOKEN_CASE(test_is_over),
		TOKEN_CASE(test_sweep), TOKEN_CASE(test_renewals)};
	return cmocka_run_group_tests(tests, setup, dp_teardown);
}
