/* NATS keys and the JWTs made with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/bus/nats_jwt.h"
#include "server/base/json.h"
#include "tenants/jose/jws.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* From the documentation of the format. */
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static void a_known_pair(void **state)
{
	struct nkey *nkey, *public;
	struct buffer seed = {0};
	uint8_t signature[NKEY_SIGNATURE_BYTES];
	(void)state;
	assert_int_equal(nkey_from_seed(TEXT(SEED), NKEY_USER, &nkey), STATUS_OK);
	assert_string_equal(nkey_public(nkey), PUBLIC);
	assert_int_equal(nkey_seed(nkey, &seed), STATUS_OK);
	assert_string_equal(seed.bytes, SEED);
	assert_int_equal(nkey_from_public(TEXT(PUBLIC), NKEY_USER, &public), STATUS_OK);
	assert_string_equal(nkey_public(public), PUBLIC);
	assert_int_equal(nkey_sign(nkey, TEXT("a nonce"), signature), STATUS_OK);
	const struct text signed_by = {(const char *)signature, sizeof(signature)};
	assert_int_equal(nkey_verify(public, TEXT("a nonce"), signed_by), STATUS_OK);
	assert_int_equal(nkey_verify(public, TEXT("another"), signed_by), STATUS_UNAUTHORIZED);
	buffer_free(&seed);
	nkey_free(public);
	nkey_free(nkey);
}

static void kinds_have_their_letters(void **state)
{
	static const char letters[] = {'O', 'A', 'U'};
	(void)state;
	for (int kind = NKEY_OPERATOR; kind <= NKEY_USER; kind++) {
		struct nkey *nkey, *again;
		struct buffer seed = {0};
		assert_int_equal(nkey_generate((enum nkey_kind)kind, &nkey), STATUS_OK);
		assert_int_equal(strlen(nkey_public(nkey)), NKEY_PUBLIC_LENGTH);
		assert_int_equal(nkey_public(nkey)[0], letters[kind]);
		assert_int_equal(nkey_seed(nkey, &seed), STATUS_OK);
		assert_int_equal(seed.length, NKEY_SEED_LENGTH);
		assert_int_equal(seed.bytes[0], 'S');
		assert_int_equal(seed.bytes[1], letters[kind]);
		assert_int_equal(nkey_from_seed(buffer_text(&seed), (enum nkey_kind)kind, &again), STATUS_OK);
		assert_string_equal(nkey_public(again), nkey_public(nkey));
		nkey_free(again);
		assert_int_equal(nkey_from_seed(buffer_text(&seed), (enum nkey_kind)((kind + 1) % 3), &again), STATUS_INVALID);
		nkey_free(nkey);
		buffer_free(&seed);
	}
}

static void what_is_no_key(void **state)
{
	static const char *const publics[] = {"", "U", PUBLIC "A",
		"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF5",
		"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF1",
		"udxu4rcsjnzoiqhznwxhxordprtgnjahahfrgzneejcpqtt2m7nlcnf4",
		"ADXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", SEED};
	static const char *const seeds[] = {"", PUBLIC, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VZ",
		"SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3V",
		"SAACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"};
	struct nkey *nkey;
	(void)state;
	for (size_t i = 0; i < COUNT(publics); i++)
		assert_int_equal(nkey_from_public(text_of(publics[i]), NKEY_USER, &nkey), STATUS_INVALID);
	for (size_t i = 0; i < COUNT(seeds); i++)
		assert_int_equal(nkey_from_seed(text_of(seeds[i]), NKEY_USER, &nkey), STATUS_INVALID);
}

static void a_key_of_a_file(void **state)
{
	char folder[] = "/tmp/nkeyXXXXXX", file[64];
	struct nkey *nkey, *again;
	struct buffer error = {0};
	struct stat found;
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/cell.nk", folder);
	assert_int_equal(nkey_open(file, NKEY_USER, false, &nkey, &error), STATUS_NOT_FOUND);
	buffer_clear(&error);
	assert_int_equal(nkey_open(file, NKEY_USER, true, &nkey, &error), STATUS_OK);
	assert_int_equal(stat(file, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0400);
	assert_int_equal(nkey_open(file, NKEY_USER, true, &again, &error), STATUS_OK);
	assert_string_equal(nkey_public(nkey), nkey_public(again));
	nkey_free(again);
	assert_int_equal(nkey_open(file, NKEY_ACCOUNT, false, &again, &error), STATUS_INVALID);
	assert_non_null(strstr(error.bytes, "no seed of the right kind"));
	buffer_clear(&error);
	assert_int_equal(chmod(file, 0440), 0);
	assert_int_equal(nkey_open(file, NKEY_USER, true, &again, &error), STATUS_FORBIDDEN);
	nkey_free(nkey);
	buffer_free(&error);
	unlink(file);
	rmdir(folder);
}

static struct json *claims_of(struct text jwt)
{
	struct text rest = text_slice(jwt, text_find(jwt, '.') + 1, jwt.length);
	struct text part = text_slice(rest, 0, text_find(rest, '.'));
	uint8_t bytes[NATS_JWT_MAX];
	size_t length;
	struct json *root;
	assert_int_equal(base64url_decode(part, bytes, sizeof(bytes), &length), STATUS_OK);
	assert_int_equal(json_parse((struct text){(const char *)bytes, length}, NULL, &root), STATUS_OK);
	return root;
}

static void a_user_of_an_account(void **state)
{
	struct nkey *operator, * account, *signer, *user;
	struct buffer jwt = {0}, read = {0};
	struct nats_subjects publish = {0}, subscribe = {0};
	int64_t expires;
	(void)state;
	assert_int_equal(nkey_generate(NKEY_OPERATOR, &operator), STATUS_OK);
	assert_int_equal(nkey_generate(NKEY_ACCOUNT, &account), STATUS_OK);
	assert_int_equal(nkey_generate(NKEY_ACCOUNT, &signer), STATUS_OK);
	assert_int_equal(nkey_from_seed(TEXT(SEED), NKEY_USER, &user), STATUS_OK);
	assert_int_equal(
		nats_jwt_account(operator, nkey_public(account), TEXT("fabric"), nkey_public(signer), true, 7, &jwt),
		STATUS_OK);
	assert_int_equal(nats_jwt_account_read(buffer_text(&jwt), nkey_public(signer), &read), STATUS_OK);
	assert_string_equal(read.bytes, nkey_public(account));
	assert_int_equal(nats_jwt_account_read(buffer_text(&jwt), nkey_public(user), &read), STATUS_INVALID);

	buffer_clear(&jwt);
	nats_subjects_add(&publish, "celld.hb.%s", "a");
	nats_subjects_add(&publish, "celld.evt.%s.>", "a");
	nats_subjects_add(&subscribe, "_INBOX_%s.>", "a");
	const struct nats_user claims = {.public = PUBLIC,
		.name = TEXT("cell \"a\""),
		.account = text_of(nkey_public(account)),
		.issued_s = 10,
		.expires_s = 20,
		.publish = &publish,
		.subscribe = &subscribe};
	assert_int_equal(nats_jwt_user(signer, &claims, &jwt), STATUS_OK);
	buffer_clear(&read);
	assert_int_equal(nats_jwt_user_read(buffer_text(&jwt), &read, &expires), STATUS_OK);
	assert_string_equal(read.bytes, PUBLIC);
	assert_int_equal(expires, 20);
	struct json *root = claims_of(buffer_text(&jwt));
	struct buffer nats = {0};
	json_print(json_member(root, "nats"), &nats);
	char expected[512];
	snprintf(expected, sizeof(expected),
		"{\"pub\":{\"allow\":[\"celld.hb.a\",\"celld.evt.a.>\"]},\"sub\":{\"allow\":[\"_INBOX_a.>\"]},\"issuer_"
		"account\":\"%s\","
		"\"subs\":-1,\"data\":-1,\"payload\":-1,\"type\":\"user\",\"version\":2}",
		nkey_public(account));
	assert_string_equal(nats.bytes, expected);
	assert_true(text_equals(json_member_text(root, "name"), TEXT("cell \"a\"")));
	json_free(root);
	buffer_free(&nats);

	buffer_clear(&read);
	assert_int_equal(nats_credentials_print(TEXT("the.jwt.itself"), user, &read), STATUS_OK);
	assert_string_equal(read.bytes, "-----BEGIN NATS USER JWT-----\nthe.jwt.itself\n------END NATS USER JWT------\n\n"
									"-----BEGIN USER NKEY SEED-----\n" SEED "\n------END USER NKEY SEED------\n");
	for (size_t i = publish.count; i <= NATS_SUBJECTS_MAX; i++)
		nats_subjects_add(&publish, "x%zu", i);
	assert_true(publish.failed);
	assert_int_equal(nats_jwt_user(signer, &claims, &jwt), STATUS_NO_MEMORY);
	nats_subjects_free(&publish);
	nats_subjects_free(&subscribe);
	buffer_free(&jwt);
	buffer_free(&read);
	nkey_free(user);
	nkey_free(signer);
	nkey_free(account);
	nkey_free(operator);
}

static void what_is_no_jwt(void **state)
{
	static const char *const wrong[] = {
		"", ".", "..", "a.b.c", "e30.e30.e30", "e30.eyJuYXRzIjp7InR5cGUiOiJ1c2VyIn19.e30"};
	struct buffer read = {0};
	int64_t expires;
	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		assert_int_equal(nats_jwt_user_read(text_of(wrong[i]), &read, &expires), STATUS_INVALID);
		assert_int_equal(nats_jwt_account_read(text_of(wrong[i]), PUBLIC, &read), STATUS_INVALID);
	}
	assert_int_equal(read.length, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_pair),
		cmocka_unit_test(kinds_have_their_letters),
		cmocka_unit_test(what_is_no_key),
		cmocka_unit_test(a_key_of_a_file),
		cmocka_unit_test(a_user_of_an_account),
		cmocka_unit_test(what_is_no_jwt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
