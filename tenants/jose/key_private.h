/* Inside a key; private to this folder. */
#pragma once

#include <openssl/evp.h>
#include <stdatomic.h>

#include "tenants/jose/jwk.h"

/* A point is 4, x, y. */
enum { COORDINATE_BYTES = 32, POINT_BYTES = 1 + 2 * COORDINATE_BYTES, SIGNATURE_BYTES = 64, KEY_ID_MAX = 512 };

struct key {
	_Atomic unsigned references;
	enum key_kind kind;
	EVP_PKEY *pair;
	/* Initialised once and copied for each use: initialising looks algorithms up under locks shared by all threads. */
	EVP_MD_CTX *verifier, *signer; /* signer NULL: public */
	size_t id_length;
	char id[];
};

/* Takes `pair` over, also on failure. */
enum status key_new(EVP_PKEY *pair, bool private, struct text kid, struct key **key) MUST_CHECK;
/* x and, for EC, y of the public key. */
enum status key_coordinates(const struct key *key, uint8_t x[COORDINATE_BYTES], uint8_t y[COORDINATE_BYTES]) MUST_CHECK;
