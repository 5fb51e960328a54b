/* The header fields of HTTP digests (RFC 9530), which are dictionaries of structured fields (RFC 8941). Pure functions;
 * a field that breaks the grammar is ignored whole, as section 4.2 of the latter wants. */
#pragma once

#include "tenants/jose/running_digest.h"

/* Want-Repr-Digest, Want-Content-Digest: the algorithm that is wanted most among those there are; false: none, or
 * malformed (every value must be an integer from 0 to 10, 0 = not wanted). */
bool digest_is_wanted(struct text want, enum hash_kind *kind);
/* Repr-Digest, Content-Digest: "sha-256=:...:" */
void digest_print(enum hash_kind kind, const uint8_t *bytes, struct buffer *into);
/* The digest by `kind` in a field somebody else wrote; false: not there, or malformed. */
bool digest_find(struct text field, enum hash_kind kind, uint8_t into[HASH_BYTES_MAX]);
