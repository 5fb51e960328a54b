/* NATS keys: Ed25519, written in base32 with a letter for whose it is ("U..." of a user) and a checksum. */
#pragma once

#include "tenants/jose/jwk.h"

/* whose, first byte, letter */
#define NKEY_LIST(X)                                                                                                   \
	X(OPERATOR, 14, 'O')                                                                                               \
	X(ACCOUNT, 0, 'A')                                                                                                 \
	X(USER, 20, 'U')
enum nkey_kind {
#define NKEY_MEMBER(name, number, letter) NKEY_##name,
	NKEY_LIST(NKEY_MEMBER)
#undef NKEY_MEMBER
};

enum { NKEY_PUBLIC_LENGTH = 56, NKEY_SEED_LENGTH = 58, NKEY_SIGNATURE_BYTES = 64 };
/* Immutable, any thread. */
struct nkey;

enum status nkey_generate(enum nkey_kind kind, struct nkey **nkey) MUST_CHECK;
/* INVALID: not base32 of the right length, checksum or kind. */
enum status nkey_from_seed(struct text seed, enum nkey_kind kind, struct nkey **nkey) MUST_CHECK;
enum status nkey_from_public(struct text public, enum nkey_kind kind, struct nkey **nkey) MUST_CHECK;
/* The seed in a file of mode 0400, NKEY_SEED_LENGTH bytes and perhaps a line end; made when it is missing and `create`.
 * `error` gets one line without the file's content. */
enum status nkey_open(
	const char *file, enum nkey_kind kind, bool create, struct nkey **nkey, struct buffer *error) MUST_CHECK;
void nkey_free(struct nkey *nkey); /* NULL is fine */

const char *nkey_public(const struct nkey *nkey); /* NKEY_PUBLIC_LENGTH characters and a NUL */
/* A secret: the caller wipes it. */
enum status nkey_seed(const struct nkey *nkey, struct buffer *into) MUST_CHECK;
enum status nkey_sign(const struct nkey *nkey, struct text bytes, uint8_t signature[NKEY_SIGNATURE_BYTES]) MUST_CHECK;
/* UNAUTHORIZED: it does not match. */
enum status nkey_verify(const struct nkey *nkey, struct text bytes, struct text signature) MUST_CHECK;
