/* Keys: their life, signing and verifying. */
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "tenants/jose/key_private.h"

static bool kind_of(const EVP_PKEY *pair, enum key_kind *kind)
{
	char group[64];
	size_t length;
	if (EVP_PKEY_is_a(pair, "ED25519")) {
		*kind = KEY_EDDSA;
		return true;
	}
	if (EVP_PKEY_is_a(pair, "RSA")) {
		*kind = KEY_RS256;
		return true;
	}
	*kind = KEY_ES256;
	return EVP_PKEY_is_a(pair, "EC") && EVP_PKEY_get_group_name(pair, group, sizeof(group), &length) &&
		   strcmp(group, "prime256v1") == 0;
}

static const EVP_MD *digest_of(enum key_kind kind)
{
	return kind == KEY_EDDSA ? NULL : EVP_sha256();
}

enum status key_new(EVP_PKEY *pair, bool private, struct text kid, struct key **key)
{
	enum key_kind kind;
	if (pair == NULL || kid.length > KEY_ID_MAX || !kind_of(pair, &kind) || (private && kind == KEY_RS256)) {
		EVP_PKEY_free(pair);
		ERR_clear_error();
		return STATUS_INVALID;
	}
	struct key *made = calloc(1, sizeof(*made) + kid.length + 1);
	if (made == NULL) {
		EVP_PKEY_free(pair);
		return STATUS_NO_MEMORY;
	}
	atomic_init(&made->references, 1);
	made->kind = kind;
	made->pair = pair;
	made->id_length = kid.length;
	if (kid.length > 0)
		memcpy(made->id, kid.bytes, kid.length);
	made->verifier = EVP_MD_CTX_new();
	made->signer = private ? EVP_MD_CTX_new() : NULL;
	if (made->verifier == NULL || (private && made->signer == NULL) ||
		EVP_DigestVerifyInit(made->verifier, NULL, digest_of(kind), NULL, pair) != 1 ||
		(private && EVP_DigestSignInit(made->signer, NULL, digest_of(kind), NULL, pair) != 1)) {
		key_free(made);
		ERR_clear_error();
		return STATUS_NO_MEMORY;
	}
	*key = made;
	return STATUS_OK;
}

enum status key_generate(enum key_kind kind, struct text kid, struct key **key)
{
	if (kind == KEY_RS256)
		return STATUS_INVALID;
	EVP_PKEY *pair =
		kind == KEY_ES256 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return pair == NULL ? STATUS_INTERNAL : key_new(pair, true, kid, key);
}

enum status key_coordinates(const struct key *key, uint8_t x[COORDINATE_BYTES], uint8_t y[COORDINATE_BYTES])
{
	if (key->kind == KEY_EDDSA) {
		size_t length = COORDINATE_BYTES;
		return EVP_PKEY_get_raw_public_key(key->pair, x, &length) == 1 ? STATUS_OK : STATUS_INTERNAL;
	}
	BIGNUM *x_number = NULL, *y_number = NULL;
	bool good = EVP_PKEY_get_bn_param(key->pair, OSSL_PKEY_PARAM_EC_PUB_X, &x_number) &&
				EVP_PKEY_get_bn_param(key->pair, OSSL_PKEY_PARAM_EC_PUB_Y, &y_number) &&
				BN_bn2binpad(x_number, x, COORDINATE_BYTES) > 0 && BN_bn2binpad(y_number, y, COORDINATE_BYTES) > 0;
	BN_free(x_number);
	BN_free(y_number);
	return good ? STATUS_OK : STATUS_INTERNAL;
}

/* OpenSSL speaks DER for ECDSA, JWS r||s (RFC 7518 section 3.4). Returns the length, 0 on failure. */
static size_t raw_to_der(const uint8_t raw[SIGNATURE_BYTES], uint8_t *der, size_t room)
{
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, COORDINATE_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(raw + COORDINATE_BYTES, COORDINATE_BYTES, NULL);
	int length = 0;
	if (pair == NULL || r == NULL || s == NULL || !ECDSA_SIG_set0(pair, r, s)) {
		BN_free(r);
		BN_free(s);
	} else if ((length = i2d_ECDSA_SIG(pair, NULL)) > 0 && (size_t)length <= room) {
		length = i2d_ECDSA_SIG(pair, &der);
	} else {
		length = 0;
	}
	ECDSA_SIG_free(pair);
	return length > 0 ? (size_t)length : 0;
}

static bool der_to_raw(const uint8_t *der, size_t length, uint8_t raw[SIGNATURE_BYTES])
{
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)length);
	bool good = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, COORDINATE_BYTES) > 0 &&
				BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + COORDINATE_BYTES, COORDINATE_BYTES) > 0;
	ECDSA_SIG_free(pair);
	return good;
}

enum { DER_SIGNATURE_MAX = 80 };

enum status key_sign(const struct key *key, struct text bytes, uint8_t signature[64])
{
	uint8_t der[DER_SIGNATURE_MAX];
	uint8_t *into = key->kind == KEY_ES256 ? der : signature;
	size_t length = key->kind == KEY_ES256 ? sizeof(der) : SIGNATURE_BYTES;
	if (key->signer == NULL)
		return STATUS_INVALID;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context != NULL && EVP_MD_CTX_copy_ex(context, key->signer) == 1 &&
				EVP_DigestSign(context, into, &length, (const unsigned char *)bytes.bytes, bytes.length) == 1;
	EVP_MD_CTX_free(context);
	if (good)
		good = key->kind == KEY_ES256 ? der_to_raw(der, length, signature) : length == SIGNATURE_BYTES;
	if (!good)
		ERR_clear_error();
	return good ? STATUS_OK : STATUS_INTERNAL;
}

enum status key_verify(const struct key *key, struct text bytes, struct text signature)
{
	uint8_t der[DER_SIGNATURE_MAX];
	const uint8_t *from = (const uint8_t *)signature.bytes;
	size_t length = signature.length;
	if (length != (key->kind == KEY_RS256 ? (size_t)EVP_PKEY_get_size(key->pair) : SIGNATURE_BYTES))
		return STATUS_UNAUTHORIZED;
	if (key->kind == KEY_ES256) {
		length = raw_to_der(from, der, sizeof(der));
		from = der;
		if (length == 0)
			return STATUS_NO_MEMORY;
	}
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (context == NULL || EVP_MD_CTX_copy_ex(context, key->verifier) != 1) {
		EVP_MD_CTX_free(context);
		ERR_clear_error();
		return STATUS_NO_MEMORY;
	}
	int verdict = EVP_DigestVerify(context, from, length, (const unsigned char *)bytes.bytes, bytes.length);
	EVP_MD_CTX_free(context);
	if (verdict != 1)
		ERR_clear_error();
	return verdict == 1 ? STATUS_OK : STATUS_UNAUTHORIZED;
}

enum key_kind key_kind(const struct key *key)
{
	return key->kind;
}

struct text key_id(const struct key *key)
{
	return key->id_length > 0 ? (struct text){key->id, key->id_length} : TEXT_NONE;
}

void key_ref(struct key *key)
{
	atomic_fetch_add_explicit(&key->references, 1, memory_order_relaxed);
}

void key_free(struct key *key)
{
	if (key == NULL || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1)
		return;
	EVP_MD_CTX_free(key->verifier);
	EVP_MD_CTX_free(key->signer);
	EVP_PKEY_free(key->pair);
	free(key);
}
