/* Running digests, by OpenSSL. */
#include "tenants/jose/running_digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct running_digest {
	EVP_MD_CTX *context;
};

static const struct {
	struct text name;
	size_t bytes;
} hashes[HASH_COUNT] = {
#define HASH_ROW(kind, name, bytes) [HASH_##kind] = {{name, sizeof(name) - 1}, bytes},
	HASH_LIST(HASH_ROW)
#undef HASH_ROW
};

struct text hash_name(enum hash_kind kind)
{
	return hashes[kind].name;
}

size_t hash_bytes(enum hash_kind kind)
{
	return hashes[kind].bytes;
}

enum status running_digest_new(enum hash_kind kind, struct running_digest **digest)
{
	struct running_digest *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->context = EVP_MD_CTX_new();
	if (made->context == NULL ||
		EVP_DigestInit_ex(made->context, kind == HASH_SHA256 ? EVP_sha256() : EVP_sha512(), NULL) != 1) {
		running_digest_free(made);
		return STATUS_NO_MEMORY;
	}
	*digest = made;
	return STATUS_OK;
}

enum status running_digest_add(struct running_digest *digest, const uint8_t *bytes, size_t length)
{
	return EVP_DigestUpdate(digest->context, bytes, length) == 1 ? STATUS_OK : STATUS_INTERNAL;
}

enum status running_digest_end(struct running_digest *digest, uint8_t into[HASH_BYTES_MAX])
{
	return EVP_DigestFinal_ex(digest->context, into, NULL) == 1 ? STATUS_OK : STATUS_INTERNAL;
}

void running_digest_free(struct running_digest *digest)
{
	if (digest == NULL)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}
