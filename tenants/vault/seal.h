/* AES-256-GCM over small things. Private to this folder. */
#pragma once

#include "server/base/text.h"

enum { SEAL_KEY = 32, SEAL_NONCE = 12, SEAL_TAG = 16, SEAL_EXTRA = SEAL_NONCE + SEAL_TAG };

/* Writes nonce, ciphertext and tag: plain.length + SEAL_EXTRA bytes. `bound` is authenticated with it. */
enum status seal(const uint8_t key[SEAL_KEY], struct text bound, struct text plain, uint8_t *into) MUST_CHECK;
/* Writes sealed.length - SEAL_EXTRA bytes; UNAUTHORIZED when key, bound text or bytes are not those sealed (then `into`
 * is wiped). */
enum status unseal(const uint8_t key[SEAL_KEY], struct text bound, struct text sealed, uint8_t *into) MUST_CHECK;
