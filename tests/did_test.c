/* did:web: identifiers to URLs, documents to keys, keys to documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tenants/jose/did.h"

#define DID "did:web:example.com%3A8080:a"
#define X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define EC "{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y "}"
#define OKP "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define METHOD(id, jwk)                                                                                                \
	"{\"id\":\"" id "\",\"type\":\"JsonWebKey2020\",\"controller\":\"" DID "\",\"publicKeyJwk\":" jwk "}"
#define DOCUMENT(methods) "{\"id\":\"" DID "\",\"verificationMethod\":[" methods "]}"

static void test_urls(void **state)
{
	static const struct {
		const char *did, *url; /* NULL: INVALID */
	} cases[] = {
		{"did:web:example.com", "https://example.com/.well-known/did.json"},
		{"did:web:EXAMPLE.com", "https://example.com/.well-known/did.json"},
		{"did:web:example.com:p1", "https://example.com/p1/did.json"},
		{"did:web:localhost%3A8080:holder", "https://localhost:8080/holder/did.json"},
		{"did:web:localhost%3a8080", "https://localhost:8080/.well-known/did.json"},
		{"did:web:a.b:x:y-z:W_1", "https://a.b/x/y-z/W_1/did.json"},
		{"did:web:a.b:%41%2d%40", "https://a.b/A-%40/did.json"},
		{"did:web:127.0.0.1%3A1:a", "https://127.0.0.1:1/a/did.json"},
		{"did:web:", NULL},
		{"did:web::a", NULL},
		{"did:web:a.b:", NULL},
		{"did:web:a.b::c", NULL},
		{"did:web:a.b:..", NULL},
		{"did:web:a.b:%2e%2E", NULL},
		{"did:web:a.b:.", NULL},
		{"did:web:a.b:x%2fy", NULL},
		{"did:web:a.b:x%5cy", NULL},
		{"did:web:a.b:x%00y", NULL},
		{"did:web:a.b:x%25y", NULL},
		{"did:web:a.b:x%0ay", NULL},
		{"did:web:a.b:x%4", NULL},
		{"did:web:a.b:x%zz", NULL},
		{"did:web:a.b/x", NULL},
		{"did:web:a.b:x/y", NULL},
		{"did:web:a.b:x?y", NULL},
		{"did:web:a.b#x", NULL},
		{"did:web:user@a.b", NULL},
		{"did:web:a.b%40c", NULL},
		{"did:web:a.b%3A", NULL},
		{"did:web:a.b%3A0", NULL},
		{"did:web:a.b%3A65536", NULL},
		{"did:web:a.b%3A80%3A90", NULL},
		{"did:web:a.b%3A8x", NULL},
		{"did:web:%3A80", NULL},
		{"did:web:a b", NULL},
		{"did:key:z6Mk", NULL},
		{"web:a.b", NULL},
		{"", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer url = {0};
		enum status status = did_web_url(text_of(cases[i].did), false, &url);
		if (cases[i].url == NULL) {
			if (status != STATUS_INVALID)
				fail_msg("%s became %s", cases[i].did, url.bytes);
		} else {
			assert_int_equal(status, STATUS_OK);
			assert_string_equal(url.bytes, cases[i].url);
		}
		buffer_free(&url);
	}
	struct buffer url = {0};
	assert_int_equal(did_web_url(TEXT("did:web:a.b"), true, &url), STATUS_OK);
	assert_string_equal(url.bytes, "http://a.b/.well-known/did.json");
	buffer_free(&url);
}

static void test_equality(void **state)
{
	(void)state;
	assert_true(did_equals(TEXT("did:web:a%3A1:b"), TEXT("did:web:a%3a1:b")));
	assert_false(did_equals(TEXT("did:web:a%3A1:b"), TEXT("did:web:a%3A1:B")));
	assert_false(did_equals(TEXT("did:web:a%3A1"), TEXT("did:web:a%3A1:")));
	assert_false(did_equals(TEXT("did:web:a%3"), TEXT("did:web:a%4")));
	assert_true(did_equals(TEXT("a%"), TEXT("a%")));
}

static void test_documents(void **state)
{
	static const struct {
		const char *json;
		int keys; /* -1: INVALID */
	} cases[] = {
		{DOCUMENT(""), 0},
		{"{\"id\":\"" DID "\"}", 0},
		{"{\"id\":\"did:web:example.com%3a8080:a\",\"verificationMethod\":[" METHOD("#k", EC) "]}", 1},
		{DOCUMENT(METHOD(DID "#k", EC)), 1},
		{DOCUMENT(METHOD("#k", EC) "," METHOD(DID "#l", OKP)), 2},
		{DOCUMENT(METHOD("#k", EC) "," METHOD(DID "#k", OKP)), -1}, /* two of one name */
		{DOCUMENT(METHOD("did:web:other#k", EC)), 0},
		{DOCUMENT(METHOD("k", EC)), 0},
		{DOCUMENT(METHOD("#", EC)), 0},
		{DOCUMENT(METHOD("#a#b", EC)), 0},
		{DOCUMENT("{\"id\":\"#k\",\"type\":\"JsonWebKey\",\"publicKeyJwk\":" EC "}"), 1},
		{DOCUMENT("{\"id\":\"#k\",\"type\":\"Multikey\",\"publicKeyJwk\":" EC "}"), 0},
		{DOCUMENT("{\"id\":\"#k\",\"type\":\"JsonWebKey2020\",\"controller\":\"did:web:x\",\"publicKeyJwk\":" EC "}"),
			0},
		{DOCUMENT("{\"id\":\"#k\",\"type\":\"JsonWebKey2020\",\"controller\":1,\"publicKeyJwk\":" EC "}"), 0},
		{DOCUMENT("{\"id\":\"#k\",\"type\":\"JsonWebKey2020\",\"publicKeyJwk\":\"x\"}"), 0},
		{DOCUMENT(METHOD("#k", "{\"kty\":\"EC\",\"crv\":\"secp256k1\"," X "," Y "}") "," METHOD("#l", EC)), 1},
		{DOCUMENT(METHOD("#k", "{\"kty\":\"EC\",\"crv\":\"P-256\"," X "," Y ",\"d\":\"AAAA\"}")), 0},
		{DOCUMENT("1,null,[]"), 0},
		{"{\"id\":\"did:web:other\",\"verificationMethod\":[" METHOD("#k", EC) "]}", -1},
		{"{\"verificationMethod\":[" METHOD("#k", EC) "]}", -1},
		{"{\"id\":\"" DID "\",\"verificationMethod\":{}}", -1},
		{"[]", -1},
		{"{", -1},
		{"", -1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct did_document *document = NULL;
		enum status status = did_document_parse(text_of(cases[i].json), TEXT(DID), &document);
		int keys = status == STATUS_OK ? (int)did_document_count(document) : -1;
		if (keys != cases[i].keys || (status != STATUS_OK && status != STATUS_INVALID))
			fail_msg("%s: %d keys", cases[i].json, keys);
		did_document_free(document);
	}
}

static void test_look_up(void **state)
{
	static const struct {
		const char *kid;
		bool is_there;
	} cases[] = {{DID "#k", true}, {"did:web:example.com%3a8080:a#k", true}, {"#k", true}, {"k", true}, {"ctx#k", true},
		{"did:web:other#k", false}, {DID, false}, {DID "#x", false}, {DID "#", false}, {"", false}};
	struct did_document *document = NULL;
	(void)state;
	assert_int_equal(did_document_parse(TEXT(DOCUMENT(METHOD("#k", EC))), TEXT(DID), &document), STATUS_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if ((did_document_find(document, text_of(cases[i].kid)) != NULL) != cases[i].is_there)
			fail_msg("kid %s", cases[i].kid);
	}
	did_document_free(document);
}

static void test_own_document(void **state)
{
	struct key *keys[2];
	struct buffer json = {0};
	struct did_document *document = NULL;
	(void)state;
	assert_int_equal(key_generate(KEY_ES256, TEXT("ctx#dataplane-01234567"), &keys[0]), STATUS_OK);
	assert_int_equal(key_generate(KEY_EDDSA, TEXT("ctx#other-76543210"), &keys[1]), STATUS_OK);
	assert_int_equal(did_document_print(TEXT(DID), keys, 2, &json), STATUS_OK);
	assert_int_equal(did_document_parse(buffer_text(&json), TEXT(DID), &document), STATUS_OK);
	assert_int_equal(did_document_count(document), 2);
	uint8_t signature[64];
	for (int i = 0; i < 2; i++) {
		const struct key *key = did_document_find(document, key_id(keys[i]));
		assert_non_null(key);
		assert_int_equal(key_sign(keys[i], TEXT("text"), signature), STATUS_OK);
		assert_int_equal(key_verify(key, TEXT("text"), (struct text){(const char *)signature, 64}), STATUS_OK);
		key_free(keys[i]);
	}
	did_document_free(document);
	buffer_free(&json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls), cmocka_unit_test(test_equality),
		cmocka_unit_test(test_documents), cmocka_unit_test(test_look_up), cmocka_unit_test(test_own_document)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
