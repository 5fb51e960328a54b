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

void digest_hex(const uint8_t bytes[DIGEST_BYTES], char into[DIGEST_HEX + 1])
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		into[2 * i] = digits[bytes[i] >> 4];
		into[2 * i + 1] = digits[bytes[i] & 15];
	}
	into[DIGEST_HEX] = 0;
}

enum status digest_hex_of(struct text bytes, char into[DIGEST_HEX + 1])
{
	uint8_t digest[DIGEST_BYTES];
	enum status status = digest_of(bytes, digest);
	if (status == STATUS_OK)
		digest_hex(digest, into);
	return status;
}
