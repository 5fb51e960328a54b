/* Keys as JSON (RFC 7517, 7518, 8037) and their thumbprints (RFC 7638). */
#include "tenants/jose/jwk.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>

#include "tenants/jose/curve_point.h"
#include "tenants/jose/jws.h"
#include "tenants/jose/key_private.h"
#include "tenants/jose/rsa_key.h"

enum { COORDINATE_TEXT = 43, UNCOMPRESSED = 4 };

static const struct {
	enum key_kind kind;
	struct text type, curve, algorithm;
} kinds[] = {
	[KEY_ES256] = {KEY_ES256, {"EC", 2}, {"P-256", 5}, {"ES256", 5}},
	[KEY_EDDSA] = {KEY_EDDSA, {"OKP", 3}, {"Ed25519", 7}, {"EdDSA", 5}},
	[KEY_RS256] = {KEY_RS256, {"RSA", 3}, {NULL, 0}, {"RS256", 5}},
};

static bool coordinate(const struct json *jwk, const char *name, uint8_t into[COORDINATE_BYTES])
{
	size_t length;
	return base64url_decode(json_member_text(jwk, name), into, COORDINATE_BYTES, &length) == STATUS_OK &&
		   length == COORDINATE_BYTES;
}

static EVP_PKEY *ec_key(const uint8_t point[POINT_BYTES])
{
	char group[] = "prime256v1";
	OSSL_PARAM members[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)point, POINT_BYTES),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *pair = NULL;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
		EVP_PKEY_fromdata(context, &pair, EVP_PKEY_PUBLIC_KEY, members) != 1)
		pair = NULL;
	EVP_PKEY_CTX_free(context);
	context = pair == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, pair, NULL);
	if (context == NULL || EVP_PKEY_public_check(context) != 1) {
		EVP_PKEY_free(pair);
		pair = NULL;
	}
	EVP_PKEY_CTX_free(context);
	return pair;
}

static EVP_PKEY *public_pair(const struct json *jwk, enum key_kind kind)
{
	uint8_t point[POINT_BYTES] = {UNCOMPRESSED};
	if (kind == KEY_RS256)
		return rsa_from_jwk(jwk);
	if (!coordinate(jwk, "x", point + 1))
		return NULL;
	if (kind == KEY_ES256)
		return coordinate(jwk, "y", point + 1 + COORDINATE_BYTES) ? ec_key(point) : NULL;
	if (!ed25519_point_is_good(point + 1))
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point + 1, COORDINATE_BYTES);
}

static bool is_text_or_absent(const struct json *jwk, const char *name, struct text expected)
{
	const struct json *node = json_member(jwk, name);
	return node == NULL || (json_kind(node) == JSON_STRING && text_equals(json_text(node), expected));
}

static bool may_verify(const struct json *jwk)
{
	const struct json *operations = json_member(jwk, "key_ops");
	bool found = operations == NULL;
	for (const struct json *item = json_first(operations); item != NULL; item = json_next(item))
		found = found || (json_kind(item) == JSON_STRING && text_equals(json_text(item), TEXT("verify")));
	return found && is_text_or_absent(jwk, "use", TEXT("sig"));
}

static enum status from_json(const struct json *jwk, struct key **key)
{
	struct text type = json_member_text(jwk, "kty"), curve = json_member_text(jwk, "crv");
	struct text kid = json_member_text(jwk, "kid");
	if (json_member(jwk, "d") != NULL || (json_member(jwk, "kid") != NULL && kid.bytes == NULL) || !may_verify(jwk))
		return STATUS_INVALID;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (text_equals(type, kinds[i].type) && text_equals(curve, kinds[i].curve) &&
			is_text_or_absent(jwk, "alg", kinds[i].algorithm))
			return key_new(public_pair(jwk, kinds[i].kind), false, kid, key);
	}
	return STATUS_INVALID;
}

enum status key_from_public_jwk(struct text jwk, struct key **key)
{
	struct json *root;
	enum status status = json_parse(jwk, NULL, &root);
	if (status != STATUS_OK)
		return status;
	status = from_json(root, key);
	json_free(root);
	return status;
}

enum status keys_from_jwks(struct text jwks, struct key **keys, size_t room, size_t *count)
{
	struct json *root;
	enum status status = json_parse(jwks, NULL, &root);
	if (status != STATUS_OK)
		return status;
	const struct json *list = json_member(root, "keys");
	size_t found = 0;
	status = json_kind(list) == JSON_ARRAY ? STATUS_OK : STATUS_INVALID;
	for (const struct json *item = json_first(list); status == STATUS_OK && item != NULL && found < room;
		 item = json_next(item)) {
		enum status one = from_json(item, &keys[found]);
		if (one == STATUS_OK)
			found++;
		else if (one == STATUS_NO_MEMORY)
			status = one;
	}
	json_free(root);
	while (status != STATUS_OK && found > 0)
		key_free(keys[--found]);
	if (status == STATUS_OK)
		*count = found;
	return status;
}

static void append_coordinate(struct buffer *into, const char *name, const uint8_t bytes[COORDINATE_BYTES])
{
	char text[COORDINATE_TEXT];
	size_t length = base64url_encode((struct text){(const char *)bytes, COORDINATE_BYTES}, text);
	buffer_printf(into, "\"%s\":\"%.*s\"", name, (int)length, text);
}

/* The required members in the order of RFC 7638 section 3: also the start of the JWK. */
static enum status append_required(const struct key *key, struct buffer *into)
{
	uint8_t x[COORDINATE_BYTES], y[COORDINATE_BYTES];
	if (key->kind == KEY_RS256)
		return rsa_append_required(key, into);
	enum status status = key_coordinates(key, x, y);
	if (status != STATUS_OK)
		return status;
	buffer_printf(into, "{\"crv\":\"%.*s\",\"kty\":\"%.*s\",", TEXT_ARGUMENTS(kinds[key->kind].curve),
		TEXT_ARGUMENTS(kinds[key->kind].type));
	append_coordinate(into, "x", x);
	if (key->kind == KEY_ES256) {
		buffer_append_byte(into, ',');
		append_coordinate(into, "y", y);
	}
	return STATUS_OK;
}

enum status key_to_public_jwk(const struct key *key, struct buffer *into)
{
	enum status status = append_required(key, into);
	if (status != STATUS_OK)
		return status;
	buffer_printf(into, ",\"alg\":\"%.*s\",\"use\":\"sig\"", TEXT_ARGUMENTS(kinds[key->kind].algorithm));
	if (key->id_length > 0) {
		buffer_append(into, TEXT(",\"kid\":"));
		buffer_append_json(into, key_id(key));
	}
	buffer_append_byte(into, '}');
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status key_thumbprint(const struct key *key, char into[KEY_THUMBPRINT_LENGTH + 1])
{
	uint8_t hash[COORDINATE_BYTES];
	struct buffer canonical = {.bytes = NULL};
	enum status status = append_required(key, &canonical);
	buffer_append_byte(&canonical, '}');
	if (status == STATUS_OK &&
		(canonical.failed || EVP_Digest(canonical.bytes, canonical.length, hash, NULL, EVP_sha256(), NULL) != 1))
		status = STATUS_NO_MEMORY;
	buffer_free(&canonical);
	if (status == STATUS_OK)
		into[base64url_encode((struct text){(const char *)hash, sizeof(hash)}, into)] = 0;
	return status;
}
