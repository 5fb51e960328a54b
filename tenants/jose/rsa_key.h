/* RSA public keys, for tokens of others (RS256): never made, never signed with. Private to this folder. */
#pragma once

#include "server/base/json.h"
#include "tenants/jose/key_private.h"

/* NULL: not a key of 2,048 to 4,096 bits with an odd exponent above 1, of at most 4 bytes. */
EVP_PKEY *rsa_from_jwk(const struct json *jwk);
/* "e","kty","n" in the order of RFC 7638. */
enum status rsa_append_required(const struct key *key, struct buffer *into) MUST_CHECK;
