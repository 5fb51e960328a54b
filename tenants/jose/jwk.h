/* JSON Web Keys: ES256 (P-256) and EdDSA (Ed25519); RS256 (RSA) to verify tokens of others alone. */
#pragma once

#include "server/base/text.h"

enum key_kind { KEY_ES256, KEY_EDDSA, KEY_RS256 };
struct key; /* a public or private key, immutable, usable from any thread that holds it */

/* Public members only; unknown kty/crv/alg, private members ("d") in a public JWK, points off the curve: INVALID. `kid`
 * may be absent. */
enum status key_from_public_jwk(struct text jwk, struct key **key) MUST_CHECK;
/* A JWK set {"keys":[...]}: keys that are not signature keys of a known kind are skipped; returns up to `room` keys. */
enum status keys_from_jwks(struct text jwks, struct key **keys, size_t room, size_t *count) MUST_CHECK;
/* ES256, EdDSA; else INVALID. */
enum status key_generate(enum key_kind kind, struct text kid, struct key **key) MUST_CHECK;
/* PKCS#8 DER, for the vault alone. RSA: INVALID. */
enum status key_from_private_der(struct text der, struct text kid, struct key **key) MUST_CHECK;
/* The same from PEM, unencrypted. */
enum status key_from_private_pem(struct text pem, struct text kid, struct key **key) MUST_CHECK;
enum status key_to_private_der(const struct key *key, struct buffer *into) MUST_CHECK;
enum status key_to_public_jwk(const struct key *key, struct buffer *into) MUST_CHECK;
/* RFC 7638, base64url of SHA-256: 43 characters and a NUL. */
enum { KEY_THUMBPRINT_LENGTH = 43 };
enum status key_thumbprint(const struct key *key, char into[KEY_THUMBPRINT_LENGTH + 1]) MUST_CHECK;
enum key_kind key_kind(const struct key *key);
struct text key_id(const struct key *key);
/* raw JWS signature (64 bytes) */
enum status key_sign(const struct key *key, struct text bytes, uint8_t signature[64]) MUST_CHECK;
/* UNAUTHORIZED when it does not match. */
enum status key_verify(const struct key *key, struct text bytes, struct text signature) MUST_CHECK;
void key_ref(struct key *key);
void key_free(struct key *key); /* unref; NULL is fine */
