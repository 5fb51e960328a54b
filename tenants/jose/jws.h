/* Compact JWS and JWT, strictly: base64url without padding or spaces, at most 8 KiB, header and claims through
 * json_parse, the algorithm fixed by the key, never by the token. Nothing here fetches anything. */
#pragma once

#include "server/base/json.h"
#include "server/base/text.h"
#include "tenants/jose/jwk.h"

enum { TOKEN_BYTES_MAX = 8192 };

size_t base64url_encode(
	struct text bytes, char *into); /* into: (length * 4 + 2) / 3 bytes; returns the length written */
enum status base64url_decode(struct text encoded, uint8_t *into, size_t room, size_t *length) MUST_CHECK;

enum { JWS_SIGNATURE_MAX = 512 };
/* A parsed, not yet verified token. */
struct jws {
	struct text signing_input; /* points into the token text */
	uint8_t signature[JWS_SIGNATURE_MAX];
	size_t signature_length;
	struct json *header, *claims; /* owned */
	struct text kid;              /* into header */
	struct text algorithm;
};
/* INVALID: not three parts, header without a known alg ("ES256", "EdDSA", "RS256"), any of crit, jku, jwk, x5u, x5c,
 * b64, zip in the header, claims no object, a signature of the wrong length. */
enum status jws_parse(struct text token, struct jws *jws) MUST_CHECK;
void jws_free(struct jws *jws);
/* alg must be the key's. */
enum status jws_verify(const struct jws *jws, const struct key *key) MUST_CHECK;

/* header and claims as JSON texts -> the signing input "b64.b64" (to be signed by key or vault), then token = input "."
 * b64(signature). */
enum status jws_input(struct text header, struct text claims, struct buffer *into) MUST_CHECK;
enum status jws_append_signature(struct buffer *input, struct text signature) MUST_CHECK;

struct token_rules {
	struct text issuer;   /* absent: not checked */
	struct text audience; /* absent: not checked; else aud (string or array) must hold it */
	bool need_expiry;
	int64_t leeway_s; /* 5..60 */
	int64_t now_s;
};
/* exp, nbf, iat must be integers in range; UNAUTHORIZED otherwise. *expires_s = exp or INT64_MAX. */
enum status token_check(const struct json *claims, const struct token_rules *rules, int64_t *expires_s) MUST_CHECK;
