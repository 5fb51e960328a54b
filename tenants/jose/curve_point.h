/* Which 32 bytes are a public key of Ed25519. Private to this folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Canonical (y < p), on the curve, and not of small order: with such a point signatures hold for messages never signed.
 */
bool ed25519_point_is_good(const uint8_t encoded[32]);
