/* A digest over bytes as they pass, by the algorithms HTTP digests have in use (RFC 9530 section 5). One thread at a
 * time. */
#pragma once

#include "server/base/text.h"

/* kind, name on the wire, bytes */
#define HASH_LIST(X)                                                                                                   \
	X(SHA256, "sha-256", 32)                                                                                           \
	X(SHA512, "sha-512", 64)
enum hash_kind {
#define HASH_MEMBER(kind, name, bytes) HASH_##kind,
	HASH_LIST(HASH_MEMBER)
#undef HASH_MEMBER
		HASH_COUNT
};
enum { HASH_BYTES_MAX = 64 };

struct text hash_name(enum hash_kind kind);
size_t hash_bytes(enum hash_kind kind);

struct running_digest;
enum status running_digest_new(enum hash_kind kind, struct running_digest **digest) MUST_CHECK;
enum status running_digest_add(struct running_digest *digest, const uint8_t *bytes, size_t length) MUST_CHECK;
/* Of all that was added; nothing may be added afterwards. */
enum status running_digest_end(struct running_digest *digest, uint8_t into[HASH_BYTES_MAX]) MUST_CHECK;
void running_digest_free(struct running_digest *digest); /* NULL is fine */
