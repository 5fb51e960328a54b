/* SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104). */
#pragma once

#include "server/base/text.h"

enum { DIGEST_BYTES = 32, DIGEST_HEX = 64 };

enum status digest_of(struct text bytes, uint8_t into[DIGEST_BYTES]) MUST_CHECK;
enum status digest_hmac(struct text key, struct text bytes, uint8_t into[DIGEST_BYTES]) MUST_CHECK;
/* Lower case, with a NUL. */
void digest_hex(const uint8_t bytes[DIGEST_BYTES], char into[DIGEST_HEX + 1]);
enum status digest_hex_of(struct text bytes, char into[DIGEST_HEX + 1]) MUST_CHECK;
