/* AES-256-GCM with random 96-bit nonces: a data key seals far fewer than 2^32 entries in its life. */
#include "tenants/vault/seal.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "server/base/id.h"
#include "server/base/secret.h"

static const uint8_t *bytes_of(struct text text)
{
	return (const uint8_t *)text.bytes;
}

enum status seal(const uint8_t key[SEAL_KEY], struct text bound, struct text plain, uint8_t *into)
{
	int length = 0;
	uint8_t *out = into + SEAL_NONCE;
	if (plain.length > INT_MAX || bound.length > INT_MAX)
		return STATUS_TOO_LARGE;
	random_bytes(into, SEAL_NONCE);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	bool good =
		context != NULL && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, into) == 1 &&
		EVP_EncryptUpdate(context, NULL, &length, bytes_of(bound), (int)bound.length) == 1 &&
		(plain.length == 0 || EVP_EncryptUpdate(context, out, &length, bytes_of(plain), (int)plain.length) == 1) &&
		EVP_EncryptFinal_ex(context, out + plain.length, &length) == 1 &&
		EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, out + plain.length) == 1;
	EVP_CIPHER_CTX_free(context);
	if (!good)
		ERR_clear_error();
	return good ? STATUS_OK : STATUS_INTERNAL;
}

enum status unseal(const uint8_t key[SEAL_KEY], struct text bound, struct text sealed, uint8_t *into)
{
	int length = 0;
	if (sealed.length < SEAL_EXTRA || sealed.length > INT_MAX || bound.length > INT_MAX)
		return STATUS_UNAUTHORIZED;
	const uint8_t *nonce = bytes_of(sealed), *from = nonce + SEAL_NONCE;
	size_t plain = sealed.length - SEAL_EXTRA;
	uint8_t tag[SEAL_TAG];
	for (size_t i = 0; i < sizeof(tag); i++)
		tag[i] = from[plain + i];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	bool good = context != NULL && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
				EVP_DecryptUpdate(context, NULL, &length, bytes_of(bound), (int)bound.length) == 1 &&
				(plain == 0 || EVP_DecryptUpdate(context, into, &length, from, (int)plain) == 1) &&
				EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) == 1;
	uint8_t none[SEAL_TAG];
	good = good && EVP_DecryptFinal_ex(context, none, &length) == 1;
	EVP_CIPHER_CTX_free(context);
	if (!good) {
		wipe(into, plain);
		ERR_clear_error();
	}
	return good ? STATUS_OK : STATUS_UNAUTHORIZED;
}
