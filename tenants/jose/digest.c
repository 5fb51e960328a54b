/* Digests, by OpenSSL. */
#include "tenants/jose/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum status digest_of(struct text bytes, uint8_t into[DIGEST_BYTES])
{
	const void *start = bytes.bytes == NULL ? "" : bytes.bytes;
	return EVP_Digest(start, bytes.length, into, NULL, EVP_sha256(), NULL) == 1 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status digest_hmac(struct text key, struct text bytes, uint8_t into[DIGEST_BYTES])
{
	const void *secret = key.bytes == NULL ? "" : key.bytes, *start = bytes.bytes == NULL ? "" : bytes.bytes;
	if (key.length > INT_MAX)
		return STATUS_TOO_LARGE;
	return HMAC(EVP_sha256(), secret, (int)key.length, start, bytes.length, into, NULL) != NULL ? STATUS_OK
																								: STATUS_NO_MEMORY;
}

struct digest *digest_new(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(context);
		context = NULL;
	}
	return (struct digest *)context;
}

enum status digest_add(struct digest *digest, struct text bytes)
{
	return EVP_DigestUpdate((EVP_MD_CTX *)digest, bytes.bytes, bytes.length) == 1 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status digest_end(struct digest *digest, uint8_t into[DIGEST_BYTES])
{
	return EVP_DigestFinal_ex((EVP_MD_CTX *)digest, into, NULL) == 1 ? STATUS_OK : STATUS_NO_MEMORY;
}

void digest_free(struct digest *digest)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)digest);
}

void digest_hex(const uint8_t bytes[DIGEST_BYTES], char into[DIGEST_HEX + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		into[2 * i] = digits[bytes[i] >> 4];
		into[2 * i + 1] = digits[bytes[i] & 15];
	}
	into[DIGEST_HEX] = 0;
}
