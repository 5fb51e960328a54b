/* Keys and tokens: the RFCs' vectors, and every forgery we know of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tenants/jose/jws.h"

enum { NOW_S = 1700000000, MUTATIONS = 12000 };
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 7515 appendix A.3 */
static const char rfc7515_jwk[] =
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
static const char rfc7515_token[] =
	"eyJhbGciOiJFUzI1NiJ9"
	".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/* RFC 8037 appendix A */
static const char rfc8037_jwk[] =
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
static const char rfc8037_thumbprint[] = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
static const char rfc8037_input[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
static const char rfc8037_signature[] =
	"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
static const char rfc8037_private_pem[] =
	"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	"-----END PRIVATE KEY-----\n";

static struct key *good_keys[2]; /* by kind */

static struct key *jwk_key(const char *jwk)
{
	struct key *key = NULL;
	assert_int_equal(key_from_public_jwk(text_of(jwk), &key), STATUS_OK);
	return key;
}

/* A token of any header and claims, truly signed. */
static struct buffer signed_token(const struct key *key, const char *header, const char *claims)
{
	struct buffer token = {.bytes = NULL};
	uint8_t signature[64];
	assert_int_equal(jws_input(text_of(header), text_of(claims), &token), STATUS_OK);
	assert_int_equal(key_sign(key, buffer_text(&token), signature), STATUS_OK);
	assert_int_equal(jws_append_signature(&token, (struct text){(char *)signature, sizeof(signature)}), STATUS_OK);
	return token;
}

/* All that stands between a token and its acceptance, as every caller does it. */
static bool accepted(struct text token, const struct key *key)
{
	struct jws jws;
	int64_t expires_s;
	const struct token_rules rules = {
		.issuer = TEXT("joe"), .audience = TEXT("me"), .need_expiry = true, .leeway_s = 5, .now_s = NOW_S};
	if (jws_parse(token, &jws) != STATUS_OK)
		return false;
	bool good = jws_verify(&jws, key) == STATUS_OK && token_check(jws.claims, &rules, &expires_s) == STATUS_OK;
	jws_free(&jws);
	return good;
}

static const char good_claims[] = "{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"sub\":\"s\"}";
static const char *const good_headers[] = {
	[KEY_ES256] = "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"JWT\"}",
	[KEY_EDDSA] = "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"JWT\"}",
};

static int set_up(void **state)
{
	(void)state;
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		if (key_generate((enum key_kind)kind, TEXT("k"), &good_keys[kind]) != STATUS_OK)
			return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	key_free(good_keys[0]);
	key_free(good_keys[1]);
	return 0;
}

static void test_base64url(void **state)
{
	(void)state;
	static const struct {
		const char *plain, *encoded;
	} pairs[] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"\xff\xfe\xfd", "__79"}};
	static const char *const bad[] = {
		"A", "AAAAA", "Zg==", "Zg=", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm9v ", " Zm9v", "Zm\n9", "Zm.v", "\x80\x80"};
	uint8_t bytes[16];
	char text[16];
	size_t length;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_int_equal(base64url_encode(text_of(pairs[i].plain), text), strlen(pairs[i].encoded));
		assert_memory_equal(text, pairs[i].encoded, strlen(pairs[i].encoded));
		assert_int_equal(base64url_decode(text_of(pairs[i].encoded), bytes, sizeof(bytes), &length), STATUS_OK);
		assert_int_equal(length, strlen(pairs[i].plain));
		assert_memory_equal(bytes, pairs[i].plain, length);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(base64url_decode(text_of(bad[i]), bytes, sizeof(bytes), &length), STATUS_INVALID);
	assert_int_equal(base64url_decode(TEXT("Zm9v"), bytes, 2, &length), STATUS_TOO_LARGE);
}

static void test_rfc7515(void **state)
{
	(void)state;
	struct key *key = jwk_key(rfc7515_jwk);
	struct jws jws;
	assert_int_equal(jws_parse(text_of(rfc7515_token), &jws), STATUS_OK);
	assert_int_equal(jws_verify(&jws, key), STATUS_OK);
	assert_true(text_equals(json_member_text(jws.claims, "iss"), TEXT("joe")));
	assert_int_equal(jws_verify(&jws, good_keys[KEY_ES256]), STATUS_UNAUTHORIZED);
	jws_free(&jws);
	key_free(key);
}

static void test_rfc8037(void **state)
{
	(void)state;
	struct key *public = jwk_key(rfc8037_jwk), *private = NULL;
	uint8_t signature[64], made[64];
	char thumbprint[KEY_THUMBPRINT_LENGTH + 1];
	size_t length;
	assert_int_equal(base64url_decode(text_of(rfc8037_signature), signature, 64, &length), STATUS_OK);
	const struct text given = {(char *)signature, 64};
	assert_int_equal(key_verify(public, text_of(rfc8037_input), given), STATUS_OK);
	assert_int_equal(key_verify(public, TEXT("other"), given), STATUS_UNAUTHORIZED);
	assert_int_equal(key_thumbprint(public, thumbprint), STATUS_OK);
	assert_string_equal(thumbprint, rfc8037_thumbprint);
	assert_int_equal(key_from_private_pem(text_of(rfc8037_private_pem), TEXT_NONE, &private), STATUS_OK);
	assert_int_equal(key_sign(private, text_of(rfc8037_input), made), STATUS_OK);
	assert_memory_equal(made, signature, 64);
	assert_int_equal(key_sign(public, text_of(rfc8037_input), made), STATUS_INVALID);
	key_free(public);
	key_free(private);
}

static void test_key_forms(void **state)
{
	(void)state;
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		struct buffer der = {.bytes = NULL}, jwk = {.bytes = NULL}, again = {.bytes = NULL};
		struct key *private = NULL, *public = NULL;
		uint8_t signature[64];
		assert_int_equal(key_to_private_der(good_keys[kind], &der), STATUS_OK);
		assert_int_equal(key_from_private_der(buffer_text(&der), TEXT("kid \"1\""), &private), STATUS_OK);
		assert_int_equal(key_to_public_jwk(private, &jwk), STATUS_OK);
		assert_int_equal(key_from_public_jwk(buffer_text(&jwk), &public), STATUS_OK);
		assert_true(text_equals(key_id(public), TEXT("kid \"1\"")));
		assert_int_equal(key_kind(public), kind);
		assert_int_equal(key_to_public_jwk(public, &again), STATUS_OK);
		assert_true(text_equals(buffer_text(&jwk), buffer_text(&again)));
		assert_int_equal(key_sign(private, TEXT("x"), signature), STATUS_OK);
		assert_int_equal(key_verify(public, TEXT("x"), (struct text){(char *)signature, 64}), STATUS_OK);
		assert_int_equal(key_to_private_der(public, &again), STATUS_INVALID);
		key_free(private);
		for (size_t cut = 0; cut < der.length; cut++)
			assert_int_equal(
				key_from_private_der(text_slice(buffer_text(&der), 0, cut), TEXT_NONE, &private), STATUS_INVALID);
		buffer_append_byte(&der, 0);
		assert_int_equal(key_from_private_der(buffer_text(&der), TEXT_NONE, &private), STATUS_INVALID);
		key_free(public);
		buffer_free(&der);
		buffer_free(&jwk);
		buffer_free(&again);
	}
}

#define P256_X "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define P256_Y "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""
#define ED_X "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define P256 "\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X "," P256_Y
#define ED "\"kty\":\"OKP\",\"crv\":\"Ed25519\","

static const struct {
	const char *jwk;
	bool good;
} jwks[] = {
	{"{" P256 "}", true},
	{"{" P256 ",\"alg\":\"ES256\",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"other\":1}", true},
	{"{" ED ED_X "}", true},
	{"{" P256 ",\"d\":\"AA\"}", false},
	{"{" P256 ",\"d\":null}", false},
	{"{" P256 ",\"alg\":\"EdDSA\"}", false},
	{"{" P256 ",\"alg\":\"HS256\"}", false},
	{"{" P256 ",\"alg\":null}", false},
	{"{" P256 ",\"use\":\"enc\"}", false},
	{"{" P256 ",\"key_ops\":[\"sign\"]}", false},
	{"{" P256 ",\"key_ops\":[]}", false},
	{"{" P256 ",\"kid\":7}", false},
	{"{" P256 "," P256_X "}", false},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X "}", false},
	{"{\"kty\":\"EC\",\"crv\":\"P-384\"," P256_X "," P256_Y "}", false},
	{"{\"kty\":\"EC\",\"crv\":\"secp256k1\"," P256_X "," P256_Y "}", false},
	{"{\"kty\":\"OKP\",\"crv\":\"P-256\"," P256_X "," P256_Y "}", false},
	{"{\"kty\":\"OKP\",\"crv\":\"X25519\"," ED_X "}", false},
	{"{\"kty\":\"oct\",\"k\":\"AAAA\"}", false},
	{"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", false},
	/* off the curve, the wrong way round, zero, too long, padded */
	{"{\"kty\":\"EC\",\"crv\":\"P-256\"," P256_X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4\"}", false},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	 "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
		false},
	{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AH_NzidwxYRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF\"," P256_Y "}", false},
	{"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}", false},
	/* small order: 0, 1, -1, and both of order 8; 1 with y + p; y = 2 is off the curve */
	{"{" ED "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", false},
	{"{" ED "\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", false},
	{"{" ED "\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA\"}", false},
	{"{" ED "\"x\":\"7P_______________________________________38\"}", false},
	{"{" ED "\"x\":\"7v_______________________________________38\"}", false},
	{"{" ED "\"x\":\"xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o\"}", false},
	{"{" ED "\"x\":\"JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU\"}", false},
	{"{" ED "\"x\":\"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", false},
	{"[]", false},
	{"\"x\"", false},
	{"{}", false},
	{"", false},
};

static void test_jwk_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(jwks); i++) {
		struct key *key = NULL;
		enum status status = key_from_public_jwk(text_of(jwks[i].jwk), &key);
		if ((status == STATUS_OK) != jwks[i].good)
			fail_msg("%s: %s", jwks[i].jwk, status_text(status));
		key_free(key);
	}
}

static void test_jwk_set(void **state)
{
	(void)state;
	static const char set[] = "{\"keys\":[{\"kty\":\"RSA\"},7,{" P256 ",\"kid\":\"a\"},{" P256
							  ",\"use\":\"enc\"},{" ED ED_X ",\"kid\":\"b\"},{" P256 ",\"kid\":\"c\"}]}";
	static const char *const bad[] = {"{}", "[]", "{\"keys\":{}}", "{\"keys\":null}", "{\"keys\":[]} ,", ""};
	struct key *keys[4];
	size_t count = 9;
	assert_int_equal(keys_from_jwks(text_of(set), keys, COUNT(keys), &count), STATUS_OK);
	assert_int_equal(count, 3);
	assert_true(text_equals(key_id(keys[1]), TEXT("b")));
	for (size_t i = 0; i < count; i++)
		key_free(keys[i]);
	assert_int_equal(keys_from_jwks(text_of(set), keys, 1, &count), STATUS_OK);
	assert_int_equal(count, 1);
	key_free(keys[0]);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_not_equal(keys_from_jwks(text_of(bad[i]), keys, COUNT(keys), &count), STATUS_OK);
}

/* Headers with a signature that is right over them: what refuses is the header alone. %s: the key's own alg. */
static const struct {
	const char *header;
	bool good;
} headers[] = {
	{"{\"alg\":\"%s\"}", true},
	{"{\"alg\":\"%s\",\"kid\":\"../../etc/passwd\\u0027 or 1=1\"}", true}, /* a name, never a path or a query */
	{"{\"alg\":\"none\"}", false},
	{"{\"alg\":\"None\"}", false},
	{"{\"alg\":\"NONE\"}", false},
	{"{\"alg\":\"nOnE\"}", false},
	{"{\"alg\":\"\"}", false},
	{"{\"alg\":null}", false},
	{"{\"alg\":[\"%s\"]}", false},
	{"{\"alg\":0}", false},
	{"{}", false},
	{"{\"alg\":\"HS256\"}", false},
	{"{\"alg\":\"RS256\"}", false},
	{"{\"alg\":\"ES384\"}", false},
	{"{\"alg\":\"es256\"}", false},
	{"{\"alg\":\"eddsa\"}", false},
	{"{\"alg\":\"Ed25519\"}", false},
	{"{\"alg\":\"%s \"}", false},
	{"{\"alg\":\"%s\\u0000\"}", false},
	{"{\"Alg\":\"%s\"}", false},
	{"{\"alg\":\"none\",\"alg\":\"%s\"}", false},
	{"{\"alg\":\"%s\",\"alg\":\"none\"}", false},
	{"{\"alg\":\"%s\",\"\\u0061lg\":\"none\"}", false},
	{"{\"alg\":\"%s\",\"crit\":[\"exp\"]}", false},
	{"{\"alg\":\"%s\",\"crit\":[]}", false},
	{"{\"alg\":\"%s\",\"crit\":null}", false},
	{"{\"alg\":\"%s\",\"b64\":false,\"crit\":[\"b64\"]}", false},
	{"{\"alg\":\"%s\",\"b64\":true}", false},
	{"{\"alg\":\"%s\",\"zip\":\"DEF\"}", false},
	{"{\"alg\":\"%s\",\"jku\":\"https://evil/\"}", false},
	{"{\"alg\":\"%s\",\"x5u\":\"https://evil/\"}", false},
	{"{\"alg\":\"%s\",\"x5c\":[\"AAAA\"]}", false},
	{"{\"alg\":\"%s\",\"jwk\":{" P256 "}}", false},
	{"{\"alg\":\"%s\",\"jwk\":null}", false},
	{"{\"alg\":\"%s\",\"kid\":7}", false},
	{"{\"alg\":\"%s\",\"kid\":[\"k\"]}", false},
	{"{\"alg\":\"%s\",\"kid\":null}", false},
	{"{\"alg\":\"%s\",\"kid\":\"k\\u0000x\"}", false},
	{"[{\"alg\":\"%s\"}]", false},
	{"\"%s\"", false},
	{"{\"alg\":\"%s\"}{}", false},
	{"{\"alg\":\"%s\"", false},
	{"\xef\xbb\xbf{\"alg\":\"%s\"}", false},
	{"{\"alg\":\"%s\",\"x\":\"\xff\"}", false},
	{"{'alg':'%s'}", false},
	{"{\"alg\":\"%s\",}", false},
	{"{\"alg\":\"%s\",\"n\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", false},
};

static void test_headers(void **state)
{
	(void)state;
	static const char *const names[] = {"ES256", "EdDSA"};
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		for (size_t i = 0; i < COUNT(headers); i++) {
			struct buffer header = {.bytes = NULL};
			const char *hole = strstr(headers[i].header, "%s");
			struct text whole = text_of(headers[i].header);
			size_t at = hole == NULL ? whole.length : (size_t)(hole - headers[i].header);
			buffer_append(&header, text_slice(whole, 0, at));
			if (hole != NULL) {
				buffer_append(&header, text_of(names[kind]));
				buffer_append(&header, text_slice(whole, at + 2, whole.length));
			}
			struct buffer token = signed_token(good_keys[kind], header.bytes, good_claims);
			if (accepted(buffer_text(&token), good_keys[kind]) != headers[i].good)
				fail_msg("header %s", header.bytes);
			buffer_free(&token);
			buffer_free(&header);
		}
	}
}

/* The algorithm is the key's: another one's name, or another key, does not verify. */
static void test_algorithm_swap(void **state)
{
	(void)state;
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		struct buffer good = signed_token(good_keys[kind], good_headers[kind], good_claims);
		struct buffer named = signed_token(good_keys[kind], good_headers[!kind], good_claims);
		assert_true(accepted(buffer_text(&good), good_keys[kind]));
		assert_false(accepted(buffer_text(&good), good_keys[!kind]));
		assert_false(accepted(buffer_text(&named), good_keys[kind]));
		assert_false(accepted(buffer_text(&named), good_keys[!kind]));
		buffer_free(&good);
		buffer_free(&named);
	}
}

static const struct {
	const char *claims;
	bool good;
} claim_cases[] = {
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600}", true},
	{"{\"iss\":\"joe\",\"aud\":[\"you\",\"me\"],\"exp\":1700000600}", true},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1699999996}", true}, /* inside the leeway */
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1699999995}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"nbf\":1700000005,\"iat\":1700000005}", true},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"nbf\":1700000006}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"iat\":1700000006}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"nbf\":\"0\"}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"nbf\":null}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600,\"iat\":-1}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\"}", false}, {"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":null}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":\"1700000600\"}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600.5}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":-1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1e400}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":9007199254740993}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":9007199254740991}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":[1700000600]}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":true}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1,\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"Exp\":1700000600}", false},
	{"{\"iss\":\"jo\",\"aud\":\"me\",\"exp\":1700000600}", false},
	{"{\"iss\":\"Joe\",\"aud\":\"me\",\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\\u0000\",\"aud\":\"me\",\"exp\":1700000600}", false},
	{"{\"iss\":[\"joe\"],\"aud\":\"me\",\"exp\":1700000600}", false},
	{"{\"iss\":\"evil\",\"iss\":\"joe\",\"aud\":\"me\",\"exp\":1700000600}", false},
	{"{\"aud\":\"me\",\"exp\":1700000600}", false}, {"{\"iss\":\"joe\",\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":[],\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":\"\",\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me you\",\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":[\"me\",7],\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":[[\"me\"]],\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":{\"me\":\"me\"},\"exp\":1700000600}", false},
	{"{\"iss\":\"joe\",\"aud\":\"me\",\"aud\":\"you\",\"exp\":1700000600}", false}, {"[\"joe\"]", false},
	{"\"joe\"", false}, {"", false}, {"eyJhbGciOiJFUzI1NiJ9.e30.AAAA", false}, /* nested */
};

static void test_claims(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(claim_cases); i++) {
		struct buffer token = signed_token(good_keys[KEY_EDDSA], good_headers[KEY_EDDSA], claim_cases[i].claims);
		if (accepted(buffer_text(&token), good_keys[KEY_EDDSA]) != claim_cases[i].good)
			fail_msg("claims %s", claim_cases[i].claims);
		buffer_free(&token);
	}
}

static void test_rules(void **state)
{
	(void)state;
	struct json *claims = NULL;
	int64_t expires_s = 0;
	assert_int_equal(json_parse(TEXT("{\"sub\":\"x\"}"), NULL, &claims), STATUS_OK);
	assert_int_equal(token_check(claims, &(struct token_rules){.now_s = NOW_S}, &expires_s), STATUS_OK);
	assert_true(expires_s == INT64_MAX);
	assert_int_equal(token_check(claims, &(struct token_rules){.now_s = NOW_S, .need_expiry = true}, &expires_s),
		STATUS_UNAUTHORIZED);
	json_free(claims);
	assert_int_equal(token_check(NULL, &(struct token_rules){.now_s = NOW_S}, &expires_s), STATUS_UNAUTHORIZED);
	assert_int_equal(json_parse(TEXT("{\"exp\":1000}"), NULL, &claims), STATUS_OK);
	/* a leeway is never wider than a minute */
	const struct token_rules wide = {.now_s = 1060, .leeway_s = 100000}, good = {.now_s = 1059, .leeway_s = 100000};
	assert_int_equal(token_check(claims, &wide, &expires_s), STATUS_UNAUTHORIZED);
	assert_int_equal(token_check(claims, &good, &expires_s), STATUS_OK);
	assert_int_equal(expires_s, 1000);
	json_free(claims);
}

/* Texts around a good token "H.P.S": each is refused. */
static void test_shapes(void **state)
{
	(void)state;
	static const char *const shapes[] = {"", ".", "..", "...", "H", "H.P", "H.P.", "H..S", ".P.S", "..S", "H.P.S.",
		".H.P.S", "H.P.S.S", "H.P.SS", "H.P.S=", "H.P.S==", "H=.P.S", "H.P=.S", " H.P.S", "H.P.S ", "H.P.S\n", "H .P.S",
		"H.\tP.S", "H.P.P", "P.H.S", "H.H.S", "Bearer H.P.S", "H,P,S", "H.P.S.P.S", "H.P.S,H.P.S",
		"{\"payload\":\"P\",\"protected\":\"H\",\"signature\":\"S\"}",
		"{\"payload\":\"P\",\"signatures\":[{\"protected\":\"H\",\"signature\":\"S\"}]}"};
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		struct buffer good = signed_token(good_keys[kind], good_headers[kind], good_claims);
		struct text rest = buffer_text(&good), parts[3];
		bool done = false;
		for (int i = 0; i < 3; i++)
			assert_true(text_next_part(&rest, '.', &parts[i], &done));
		for (size_t i = 0; i < COUNT(shapes); i++) {
			struct buffer token = {.bytes = NULL};
			for (const char *at = shapes[i]; *at != 0; at++) {
				const char *part = strchr("HPS", *at);
				bool whole_word = *at == 'H' || *at == 'P' || *at == 'S';
				if (whole_word && part != NULL)
					buffer_append(&token, parts[part - "HPS"]);
				else
					buffer_append_byte(&token, *at);
			}
			if (accepted(buffer_text(&token), good_keys[kind]))
				fail_msg("shape %s", shapes[i]);
			buffer_free(&token);
		}
		for (size_t cut = 0; cut < good.length; cut++)
			assert_false(accepted(text_slice(buffer_text(&good), 0, cut), good_keys[kind]));
		buffer_free(&good);
	}
	assert_false(accepted(TEXT_NONE, good_keys[0]));
}

static void test_sizes(void **state)
{
	(void)state;
	static const size_t sizes[] = {3000, 7000, 65536};
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct buffer header = {.bytes = NULL};
		buffer_append(&header, TEXT("{\"alg\":\"EdDSA\",\"kid\":\""));
		for (size_t n = 0; n < sizes[i]; n++)
			buffer_append_byte(&header, 'k');
		buffer_append(&header, TEXT("\"}"));
		struct buffer token = signed_token(good_keys[KEY_EDDSA], header.bytes, good_claims);
		assert_int_equal(accepted(buffer_text(&token), good_keys[KEY_EDDSA]), token.length <= TOKEN_BYTES_MAX);
		buffer_free(&token);
		buffer_free(&header);
	}
}

static void with_signature(struct buffer *token, const uint8_t *signature, size_t length)
{
	while (token->length > 0 && token->bytes[token->length - 1] != '.')
		token->length--;
	token->length--;
	assert_int_equal(jws_append_signature(token, (struct text){(const char *)signature, length}), STATUS_OK);
}

static void put_hex(const char *hex, uint8_t into[32])
{
	for (size_t i = 0; i < 32; i++)
		into[i] = (uint8_t)strtoul((char[]){hex[2 * i], hex[2 * i + 1], 0}, NULL, 16);
}

static void test_signature_values(void **state)
{
	(void)state;
	static const char *const numbers[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000001",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", /* n */
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
		"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", /* p */
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", /* the order of Ed25519 */
	};
	for (int kind = KEY_ES256; kind <= KEY_EDDSA; kind++) {
		struct buffer token = signed_token(good_keys[kind], good_headers[kind], good_claims);
		uint8_t good[64], signature[64];
		struct jws jws;
		assert_int_equal(jws_parse(buffer_text(&token), &jws), STATUS_OK);
		memcpy(good, jws.signature, sizeof(good));
		jws_free(&jws);
		for (size_t r = 0; r <= COUNT(numbers); r++) {
			for (size_t s = 0; s <= COUNT(numbers); s++) {
				memcpy(signature, good, sizeof(good));
				if (r < COUNT(numbers))
					put_hex(numbers[r], signature);
				if (s < COUNT(numbers))
					put_hex(numbers[s], signature + 32);
				with_signature(&token, signature, sizeof(signature));
				bool unchanged = memcmp(signature, good, sizeof(good)) == 0;
				assert_int_equal(accepted(buffer_text(&token), good_keys[kind]), unchanged);
			}
		}
		/* DER in place of r||s, and the right signature with a byte more or less */
		uint8_t der[72] = {0x30, 0x44, 0x02, 0x20};
		memcpy(der + 4, good, 32);
		der[36] = 0x02, der[37] = 0x20;
		memcpy(der + 38, good + 32, 32);
		for (size_t length = 63; length <= sizeof(der); length++) {
			with_signature(&token, der, length);
			assert_false(accepted(buffer_text(&token), good_keys[kind]));
		}
		memcpy(der, good, sizeof(good));
		with_signature(&token, der, 65);
		assert_false(accepted(buffer_text(&token), good_keys[kind]));
		with_signature(&token, der, 63);
		assert_false(accepted(buffer_text(&token), good_keys[kind]));
		buffer_free(&token);
	}
}

static uint32_t dice(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* One to three random edits of a good token: none is accepted unless the text is the same again. */
static void test_mutations(void **state)
{
	(void)state;
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t seed = 20261124;
	int wrong = 0;
	for (int i = 0; i < MUTATIONS; i++) {
		int kind = i % 2;
		struct buffer good = signed_token(good_keys[kind], good_headers[kind], good_claims), changed = {.bytes = NULL};
		buffer_append(&changed, buffer_text(&good));
		for (uint32_t edits = 1 + dice(&seed) % 3; edits > 0; edits--) {
			size_t at = dice(&seed) % changed.length;
			switch (dice(&seed) % 5) {
			case 0:
				changed.bytes[at] = digits[dice(&seed) % 64];
				break;
			case 1:
				changed.bytes[at] ^= (char)(1 << dice(&seed) % 8);
				break;
			case 2:
				memmove(changed.bytes + at, changed.bytes + at + 1, changed.length - at - 1);
				changed.length--;
				break;
			case 3:
				buffer_append_byte(&changed, changed.bytes[at]);
				break;
			default: {
				size_t other = dice(&seed) % changed.length;
				char kept = changed.bytes[at];
				changed.bytes[at] = changed.bytes[other];
				changed.bytes[other] = kept;
			}
			}
		}
		bool same = text_equals(buffer_text(&good), buffer_text(&changed));
		wrong += accepted(buffer_text(&changed), good_keys[kind]) != same;
		buffer_free(&good);
		buffer_free(&changed);
	}
	assert_int_equal(wrong, 0);
}

static void *verify_many(void *context)
{
	const struct buffer *tokens = context;
	size_t good = 0;
	for (int i = 0; i < 200; i++) {
		struct key *key = good_keys[i % 2];
		key_ref(key);
		good += accepted(buffer_text(&tokens[i % 2]), key);
		key_free(key);
	}
	return (void *)(uintptr_t)good;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t threads[4];
	struct buffer tokens[2];
	for (int kind = 0; kind < 2; kind++)
		tokens[kind] = signed_token(good_keys[kind], good_headers[kind], good_claims);
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_many, tokens), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		void *good;
		pthread_join(threads[i], &good);
		assert_int_equal((uintptr_t)good, 200);
	}
	buffer_free(&tokens[0]);
	buffer_free(&tokens[1]);
}

/* RFC 7515 appendix A.2 */
#define RSA_N                                                                                                          \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql"                 \
	"L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs"                 \
	"LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud"                 \
	"F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
static const char rfc7515_rsa[] =
	"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
	"cnVlfQ."
	"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG"
	"bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
	"0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6"
	"LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static void test_rsa(void **state)
{
	static const char *const bad[] = {"{\"kty\":\"RSA\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQ\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"Ag\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AAEAAQ\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQABAQEB\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"d\":\"AQ\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"PS256\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"ES256\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\",\"n\":\"" RSA_N RSA_N "\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"n\":\"" RSA_N RSA_N RSA_N "\",\"e\":\"AQAB\"}"};
	struct key *key = NULL, *again = NULL;
	struct buffer print = {.bytes = NULL};
	struct jws jws;
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(key_from_public_jwk(text_of(bad[i]), &key), STATUS_INVALID);
	}
	assert_int_equal(
		key_from_public_jwk(TEXT("{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}"), &key),
		STATUS_OK);
	assert_int_equal(key_kind(key), KEY_RS256);
	assert_int_equal(jws_parse(text_of(rfc7515_rsa), &jws), STATUS_OK);
	assert_int_equal(jws_verify(&jws, key), STATUS_OK);
	for (size_t i = 0; i < jws.signature_length; i += 37) {
		jws.signature[i] ^= 1;
		assert_int_equal(jws_verify(&jws, key), STATUS_UNAUTHORIZED);
		jws.signature[i] ^= 1;
	}
	jws.signature_length--;
	assert_int_equal(jws_verify(&jws, key), STATUS_UNAUTHORIZED);
	jws_free(&jws);
	/* the key alone says which algorithm: a token of another does not reach it */
	struct buffer token = signed_token(good_keys[KEY_ES256], good_headers[KEY_ES256], good_claims);
	assert_false(accepted(buffer_text(&token), key));
	buffer_free(&token);
	assert_int_equal(key_to_public_jwk(key, &print), STATUS_OK);
	assert_int_equal(key_from_public_jwk(buffer_text(&print), &again), STATUS_OK);
	uint8_t signature[64];
	assert_int_equal(key_sign(key, TEXT("x"), signature), STATUS_INVALID);
	key_free(again);
	assert_int_equal(key_generate(KEY_RS256, TEXT_NONE, &again), STATUS_INVALID);
	key_free(key);
	buffer_free(&print);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64url),
		cmocka_unit_test(test_rfc7515),
		cmocka_unit_test(test_rfc8037),
		cmocka_unit_test(test_key_forms),
		cmocka_unit_test(test_jwk_table),
		cmocka_unit_test(test_jwk_set),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_algorithm_swap),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_signature_values),
		cmocka_unit_test(test_rsa),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
