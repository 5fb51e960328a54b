/* Known digests: each key has one place. */
#include "tenants/dp/source/digest_table.h"

#include <stdlib.h>
#include <string.h>

struct known {
	uint8_t digest[HASH_BYTES_MAX];
	struct open_file file;
	struct digest_key key; /* texts behind this, file above */
};

struct digest_table {
	size_t count;
	struct known *places[];
};

struct digest_table *digest_table_new(size_t places)
{
	struct digest_table *table = calloc(1, sizeof(*table) + places * sizeof(struct known *));
	if (table != NULL)
		table->count = places;
	return table;
}

void digest_table_free(struct digest_table *table)
{
	for (size_t i = 0; table != NULL && i < table->count; i++)
		free(table->places[i]);
	free(table);
}

bool digest_key_equals(const struct digest_key *a, const struct digest_key *b)
{
	return a->kind == b->kind && open_file_equals(a->file, b->file) && text_equals(a->path, b->path) &&
		   text_equals(a->ctx, b->ctx);
}

static size_t place_of(const struct digest_table *table, const struct digest_key *key)
{
	return (text_hash(key->path) ^ text_hash(key->ctx) ^ (uint64_t)key->kind) % table->count;
}

bool digest_table_find(const struct digest_table *table, const struct digest_key *key, uint8_t into[HASH_BYTES_MAX])
{
	const struct known *known = table->places[place_of(table, key)];
	if (known == NULL || !digest_key_equals(&known->key, key))
		return false;
	memcpy(into, known->digest, HASH_BYTES_MAX);
	return true;
}

void digest_table_put(struct digest_table *table, const struct digest_key *key, const uint8_t *digest)
{
	struct known *made = malloc(sizeof(*made) + key->ctx.length + key->path.length);
	if (made == NULL)
		return;
	char *text = (char *)(made + 1);
	memcpy(text, key->ctx.bytes, key->ctx.length);
	memcpy(text + key->ctx.length, key->path.bytes, key->path.length);
	*made = (struct known){.file = *key->file, .key = *key};
	made->key.ctx = (struct text){text, key->ctx.length};
	made->key.path = (struct text){text + key->ctx.length, key->path.length};
	made->key.file = &made->file;
	memcpy(made->digest, digest, hash_bytes(key->kind));
	struct known **place = &table->places[place_of(table, key)];
	free(*place);
	*place = made;
}
