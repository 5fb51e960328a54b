/* SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104). */
#pragma once

#include "server/base/text.h"

enum { DIGEST_BYTES = 32, DIGEST_HEX = 64 };

enum status digest_of(struct text bytes, uint8_t into[DIGEST_BYTES]) MUST_CHECK;
enum status digest_hmac(struct text key, struct text bytes, uint8_t into[DIGEST_BYTES]) MUST_CHECK;
/* SHA-256 of what comes piece by piece. NULL: out of memory. */
struct digest;
struct digest *digest_new(void);
enum status digest_add(struct digest *digest, struct text bytes) MUST_CHECK;
/* Once; only digest_free may follow. */
enum status digest_end(struct digest *digest, uint8_t into[DIGEST_BYTES]) MUST_CHECK;
void digest_free(struct digest *digest);
/* Lower case, with a NUL. */
void digest_hex(const uint8_t bytes[DIGEST_BYTES], char into[DIGEST_HEX + 1]);
