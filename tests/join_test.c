/* Joining: tokens, what is sent and signed, and the credentials that are given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "control/bus/join_request.h"
#include "control/bus/nats_operator.h"
#include "control/fabric/fleet/credentials.h"
#include "control/fabric/fleet/join_tokens.h"
#include "server/base/log.h"
#include "tenants/jose/jws.h"
#include "tests/state_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
#define INCARNATION "0123456789abcdef0123456789abcdef"

/* --- tokens */

static struct join_tokens *tokens;

static int setup(void **state)
{
	(void)state;
	return join_tokens_open(fixture_state(), &tokens) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	join_tokens_free(tokens);
	fixture_clear();
	return 0;
}

static void ignore(void *context, enum status status, int64_t revision)
{
	(void)revision;
	*(enum status *)context = status;
}

static enum status submit(struct transaction *transaction)
{
	enum status status = STATUS_INTERNAL;
	state_submit(&fixture.states[0], transaction, ignore, &status);
	fixture_run();
	return status;
}

static void make(const char *cell, bool is_approved, int64_t lifetime_s, struct buffer *token)
{
	struct transaction *transaction = transaction_new();
	assert_int_equal(join_token_create(transaction, text_of(cell), is_approved, lifetime_s, 1000000, token), STATUS_OK);
	assert_int_equal(submit(transaction), STATUS_OK);
}

/* F39 */
static void a_token_is_good_once_for_its_cell_and_its_time(void **state)
{
	struct buffer token = {0};
	const char *why;
	(void)state;
	make("cell-1", true, 60, &token);
	assert_int_equal(token.length, JOIN_TOKEN_LENGTH);
	assert_null(strstr(fixture.records[0].body, token.bytes));
	assert_null(strstr(fixture.records[0].id, token.bytes));
	assert_null(join_tokens_check(tokens, buffer_text(&token), TEXT("cell-2"), 1000001, &why));
	assert_string_equal(why, "the join token is for another cell");
	assert_null(join_tokens_check(tokens, buffer_text(&token), TEXT("cell-1"), 1060000, &why));
	assert_string_equal(why, "the join token has expired");
	const struct join_token *found = join_tokens_check(tokens, buffer_text(&token), TEXT("cell-1"), 1059999, &why);
	assert_non_null(found);
	assert_true(found->is_approved);
	/* two that use it at once: one is let in */
	struct transaction *first = transaction_new(), *second = transaction_new();
	assert_true(state_delete(first, RECORD_JOIN_TOKEN, text_of(found->id), found->revision));
	assert_true(state_delete(second, RECORD_JOIN_TOKEN, text_of(found->id), found->revision));
	assert_int_equal(submit(first), STATUS_OK);
	assert_int_equal(submit(second), STATUS_NOT_FOUND);
	assert_null(join_tokens_check(tokens, buffer_text(&token), TEXT("cell-1"), 1000001, &why));
	assert_string_equal(why, "the join token is unknown, or has been used");
	assert_int_equal(join_tokens_count(tokens), 0);
	buffer_free(&token);
}

static void no_token_lives_longer_than_a_day(void **state)
{
	static const int64_t lifetimes[] = {-1, 0, 86401};
	struct buffer token = {0};
	(void)state;
	for (size_t i = 0; i < COUNT(lifetimes); i++) {
		struct transaction *transaction = transaction_new();
		assert_int_equal(join_token_create(transaction, TEXT("a"), false, lifetimes[i], 0, &token), STATUS_INVALID);
		transaction_free(transaction);
	}
	make("a", false, 86400, &token);
	buffer_free(&token);
}

static void many_tokens_are_kept_apart(void **state)
{
	struct buffer made[20] = {{0}};
	const char *why;
	char cell[16];
	(void)state;
	for (size_t i = 0; i < COUNT(made); i++) {
		snprintf(cell, sizeof(cell), "cell-%zu", i);
		make(cell, false, 60, &made[i]);
	}
	for (size_t i = 0; i < COUNT(made); i++) {
		snprintf(cell, sizeof(cell), "cell-%zu", i);
		assert_non_null(join_tokens_check(tokens, buffer_text(&made[i]), text_of(cell), 1000001, &why));
		buffer_free(&made[i]);
	}
	fixture_put(RECORD_JOIN_TOKEN, "x", "{}");
	assert_int_equal(join_tokens_count(tokens), COUNT(made));
}

/* --- what is sent */

static void append_body(struct buffer *into, const char *signature, const char *more)
{
	buffer_printf(into,
		"{\"cellId\":\"cell-1\",\"nkey\":\"" PUBLIC "\",\"incarnation\":\"" INCARNATION
		"\",\"definition\":{},\"protocolVersions\":[2,1],\"nonce\":\"n\",\"signature\":\"%s\"%s}",
		signature, more);
}

static void what_is_signed_is_verified(void **state)
{
	struct nkey *nkey;
	struct buffer text = {0}, body = {0}, error = {0};
	struct join_request request;
	struct json *root;
	uint8_t bytes[NKEY_SIGNATURE_BYTES];
	char signature[NKEY_SIGNATURE_BYTES * 2] = "";
	(void)state;
	assert_int_equal(nkey_from_seed(TEXT(SEED), NKEY_USER, &nkey), STATUS_OK);
	join_signed_text(TEXT("cell-1"), TEXT(INCARNATION), TEXT(PUBLIC), TEXT("n"), &text);
	assert_int_equal(nkey_sign(nkey, buffer_text(&text), bytes), STATUS_OK);
	signature[base64url_encode((struct text){(const char *)bytes, sizeof(bytes)}, signature)] = 0;
	append_body(&body, signature, ",\"epoch\":3,\"lastEpoch\":7,\"token\":\"t\"");
	assert_int_equal(json_parse(buffer_text(&body), NULL, &root), STATUS_OK);
	assert_int_equal(join_request_read(root, &request, &error), STATUS_OK);
	assert_int_equal(request.epoch, 3);
	assert_int_equal(request.last_epoch, 7);
	assert_int_equal(join_request_verify(&request), STATUS_OK);
	struct join_request changed = request;
	changed.nonce = TEXT("m");
	assert_int_equal(join_request_verify(&changed), STATUS_UNAUTHORIZED);
	changed = request;
	changed.cell_id = TEXT("cell-2");
	assert_int_equal(join_request_verify(&changed), STATUS_UNAUTHORIZED);
	changed = request;
	changed.incarnation = TEXT("1123456789abcdef0123456789abcdef");
	assert_int_equal(join_request_verify(&changed), STATUS_UNAUTHORIZED);
	json_free(root);
	buffer_free(&text);
	buffer_free(&body);
	nkey_free(nkey);
}

/* --- credentials */

static struct json *claims_of(struct text jwt)
{
	static uint8_t bytes[NATS_JWT_MAX];
	struct text rest = text_slice(jwt, text_find(jwt, '.') + 1, jwt.length);
	size_t length;
	struct json *root;
	assert_int_equal(
		base64url_decode(text_slice(rest, 0, text_find(rest, '.')), bytes, sizeof(bytes), &length), STATUS_OK);
	assert_int_equal(json_parse((struct text){(const char *)bytes, length}, NULL, &root), STATUS_OK);
	return root;
}

static bool allows(const struct json *claims, const char *direction, const char *subject)
{
	const struct json *list = json_member(json_member(json_member(claims, "nats"), direction), "allow");
	for (const struct json *one = json_first(list); one != NULL; one = json_next(one)) {
		if (text_equals(json_text(one), text_of(subject)))
			return true;
	}
	return false;
}

static void remove_operator(const char *folder)
{
	static const char *const names[] = {
		"operator.nk", "account.nk", "system.nk", "signing.nk", "account.jwt", "nats.conf"};
	char path[128];
	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void each_role_has_its_subjects(void **state)
{
	char folder[] = "/tmp/operatorXXXXXX", signing[64], account[64];
	struct credentials *credentials;
	struct buffer error = {0}, jwt = {0};
	int64_t expires_ms;
	(void)state;
	assert_non_null(mkdtemp(folder));
	const struct nats_operator_settings made = {folder, TEXT("test"), 4222};
	assert_int_equal(nats_operator_make(&made, 1000, &error), STATUS_OK);
	assert_int_equal(nats_operator_make(&made, 1000, &error), STATUS_CONFLICT);
	buffer_clear(&error);
	snprintf(signing, sizeof(signing), "%s/signing.nk", folder);
	snprintf(account, sizeof(account), "%s/account.jwt", folder);
	const struct credentials_settings settings = {signing, account, {NULL, 0}};
	assert_int_equal(credentials_open(&settings, &credentials, &error), STATUS_OK);
	assert_int_equal(credentials_activities(credentials), 2);
	assert_int_equal(
		credentials_issue(credentials, ROLE_CELL, TEXT("c1"), PUBLIC, 5000, 60000, &jwt, &expires_ms), STATUS_OK);
	assert_int_equal(expires_ms, 65000);
	struct json *claims = claims_of(buffer_text(&jwt));
	assert_true(allows(claims, "pub", "celld.hb.c1"));
	assert_true(allows(claims, "pub", "celld.evt.c1.>"));
	assert_true(allows(claims, "pub", "$JS.API.CONSUMER.MSG.NEXT.celld-cmd.cell-c1"));
	assert_true(allows(claims, "pub", "$JS.ACK.cfm-stream.edcv-activity--c1.>"));
	assert_true(allows(claims, "sub", "_INBOX_c1.>"));
	assert_false(allows(claims, "sub", "_INBOX.>"));
	assert_false(allows(claims, "pub", ">"));
	json_free(claims);
	buffer_clear(&jwt);
	assert_int_equal(
		credentials_issue(credentials, ROLE_AGENT, TEXT("a"), PUBLIC, 5000, 0, &jwt, &expires_ms), STATUS_OK);
	assert_int_equal(expires_ms, 0);
	claims = claims_of(buffer_text(&jwt));
	assert_null(json_member(claims, "exp"));
	assert_true(allows(claims, "pub", "event.>"));
	assert_false(allows(claims, "pub", "celld.hb.a"));
	json_free(claims);
	buffer_clear(&jwt);
	assert_int_equal(
		credentials_issue(credentials, ROLE_MANAGER, TEXT("m"), PUBLIC, 5000, 1000, &jwt, &expires_ms), STATUS_OK);
	claims = claims_of(buffer_text(&jwt));
	assert_null(json_member(json_member(json_member(claims, "nats"), "pub"), "allow"));
	json_free(claims);
	credentials_free(credentials);
	remove_operator(folder);
	buffer_free(&jwt);
	buffer_free(&error);
}

static void keys_that_do_not_belong_together(void **state)
{
	char folder[] = "/tmp/operatorXXXXXX", other[] = "/tmp/operatorXXXXXX", signing[64], account[64];
	struct credentials *credentials;
	struct buffer error = {0};
	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_non_null(mkdtemp(other));
	const struct nats_operator_settings one = {folder, TEXT("test"), 4222}, two = {other, TEXT("test"), 4222};
	assert_int_equal(nats_operator_make(&one, 1000, &error), STATUS_OK);
	assert_int_equal(nats_operator_make(&two, 1000, &error), STATUS_OK);
	snprintf(signing, sizeof(signing), "%s/signing.nk", folder);
	snprintf(account, sizeof(account), "%s/account.jwt", other);
	const struct credentials_settings mixed = {signing, account, {NULL, 0}}, half = {signing, NULL, {NULL, 0}},
									  none = {NULL, NULL, {NULL, 0}};
	assert_int_equal(credentials_open(&mixed, &credentials, &error), STATUS_INVALID);
	assert_non_null(strstr(error.bytes, "is no JWT of an account for which A"));
	buffer_clear(&error);
	assert_int_equal(credentials_open(&half, &credentials, &error), STATUS_INVALID);
	assert_non_null(strstr(error.bytes, "one needs the other"));
	assert_int_equal(credentials_open(&none, &credentials, &error), STATUS_OK);
	assert_null(credentials);
	assert_int_equal(credentials_activities(credentials), 0);
	remove_operator(folder);
	remove_operator(other);
	buffer_free(&error);
}

int main(void)
{
	log_threshold = LOG_ERROR + 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_token_is_good_once_for_its_cell_and_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(no_token_lives_longer_than_a_day, setup, teardown),
		cmocka_unit_test_setup_teardown(many_tokens_are_kept_apart, setup, teardown),
		cmocka_unit_test(what_is_signed_is_verified),
		cmocka_unit_test(each_role_has_its_subjects),
		cmocka_unit_test(keys_that_do_not_belong_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
