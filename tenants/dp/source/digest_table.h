/* Digests that are known: of a file as it was at a time, by an algorithm. A fixed number of places, the newer takes the
 * older's. One thread at a time. */
#pragma once

#include "tenants/dp/source/open_file.h"
#include "tenants/jose/running_digest.h"

struct digest_key {
	struct text ctx, path;
	const struct open_file *file; /* its identity alone */
	enum hash_kind kind;
};

struct digest_table;

struct digest_table *digest_table_new(size_t places);
void digest_table_free(struct digest_table *table); /* NULL is fine */
bool digest_table_find(const struct digest_table *table, const struct digest_key *key, uint8_t into[HASH_BYTES_MAX]);
/* Without memory it stays unknown. */
void digest_table_put(struct digest_table *table, const struct digest_key *key, const uint8_t *digest);
/* Are the file and the algorithm the same? */
bool digest_key_equals(const struct digest_key *a, const struct digest_key *b);
