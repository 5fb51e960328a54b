/* RSA public keys as JSON (RFC 7518 section 6.3). */
#include "tenants/jose/rsa_key.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "tenants/jose/jws.h"

enum { MODULUS_MIN = 256, MODULUS_MAX = 512, EXPONENT_MAX = 4 };

/* A big-endian number without leading zeros. */
static BIGNUM *number(const struct json *jwk, const char *name, size_t least, size_t most)
{
	uint8_t bytes[MODULUS_MAX];
	size_t length;
	if (base64url_decode(json_member_text(jwk, name), bytes, most, &length) != STATUS_OK || length < least ||
		bytes[0] == 0)
		return NULL;
	return BN_bin2bn(bytes, (int)length, NULL);
}

static EVP_PKEY *build(BIGNUM *modulus, BIGNUM *exponent)
{
	EVP_PKEY *pair = NULL;
	OSSL_PARAM *members = NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (builder != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		members = OSSL_PARAM_BLD_to_param(builder);
	if (context == NULL || members == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
		EVP_PKEY_fromdata(context, &pair, EVP_PKEY_PUBLIC_KEY, members) != 1)
		pair = NULL;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(members);
	OSSL_PARAM_BLD_free(builder);
	return pair;
}

EVP_PKEY *rsa_from_jwk(const struct json *jwk)
{
	BIGNUM *modulus = number(jwk, "n", MODULUS_MIN, MODULUS_MAX), *exponent = number(jwk, "e", 1, EXPONENT_MAX);
	EVP_PKEY *pair = NULL;
	/* 2,048 bits at least: the first byte has its high bit, or there are more bytes */
	if (modulus != NULL && exponent != NULL && BN_num_bits(modulus) >= MODULUS_MIN * 8 && BN_is_odd(modulus) &&
		BN_is_odd(exponent) && !BN_is_one(exponent))
		pair = build(modulus, exponent);
	BN_free(modulus);
	BN_free(exponent);
	return pair;
}

static enum status append_number(const struct key *key, const char *parameter, struct buffer *into)
{
	uint8_t bytes[MODULUS_MAX];
	char text[MODULUS_MAX / 3 * 4 + 4];
	BIGNUM *value = NULL;
	if (EVP_PKEY_get_bn_param(key->pair, parameter, &value) != 1)
		return STATUS_INTERNAL;
	int length = BN_num_bytes(value) <= MODULUS_MAX ? BN_bn2bin(value, bytes) : 0;
	BN_free(value);
	buffer_append(
		into, (struct text){text, base64url_encode((struct text){(const char *)bytes, (size_t)length}, text)});
	return STATUS_OK;
}

enum status rsa_append_required(const struct key *key, struct buffer *into)
{
	buffer_append(into, TEXT("{\"e\":\""));
	enum status status = append_number(key, OSSL_PKEY_PARAM_RSA_E, into);
	buffer_append(into, TEXT("\",\"kty\":\"RSA\",\"n\":\""));
	if (status == STATUS_OK)
		status = append_number(key, OSSL_PKEY_PARAM_RSA_N, into);
	buffer_append_byte(into, '"');
	return status;
}
