/* Known strings: one place for each value of a hash over a string's end, where tokens differ. What is found is compared
 * whole, but only behind an equal hash of 32 bytes: so nobody learns by time how much of a guess was right. */
#include "server/known_strings.h"

#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/secret.h"

enum { PLACES = 128, HASHED = 32 };

struct known_strings {
	uint64_t key; /* random: nobody can choose a place */
	struct place {
		uint64_t hash;      /* of what is kept */
		uint64_t candidate; /* of the last that came and was not */
		char *bytes;        /* packed, then plain; tokens among them: wiped */
		size_t packed, plain;
	} places[PLACES];
};

struct known_strings *known_strings_new(void)
{
	struct known_strings *strings = calloc(1, sizeof(*strings));
	if (strings != NULL)
		random_bytes(&strings->key, sizeof(strings->key));
	return strings;
}

static void forget(struct place *place)
{
	if (place->bytes != NULL)
		wipe(place->bytes, place->packed + place->plain);
	free(place->bytes);
	place->bytes = NULL;
	place->packed = place->plain = 0;
}

void known_strings_free(struct known_strings *strings)
{
	if (strings == NULL)
		return;
	for (size_t i = 0; i < PLACES; i++)
		forget(&strings->places[i]);
	free(strings);
}

/* A collision costs its makers a decoding: no need of text_hash. */
static uint64_t hash_of(const struct known_strings *strings, struct text packed)
{
	uint64_t words[HASHED / sizeof(uint64_t)], hash = strings->key ^ packed.length;
	memcpy(words, packed.bytes + packed.length - HASHED, HASHED);
	for (size_t i = 0; i < HASHED / sizeof(uint64_t); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15U;
		hash ^= hash >> 32;
	}
	return hash;
}

struct text known_strings_find(struct known_strings *strings, struct text packed)
{
	uint64_t hash = hash_of(strings, packed);
	const struct place *place = &strings->places[hash % PLACES];
	if (place->hash != hash || !text_equals((struct text){place->bytes, place->packed}, packed))
		return TEXT_NONE;
	return (struct text){place->bytes + place->packed, place->plain};
}

void known_strings_keep(struct known_strings *strings, struct text packed, struct text plain)
{
	uint64_t hash = hash_of(strings, packed);
	struct place *place = &strings->places[hash % PLACES];
	bool is_second = place->candidate == hash;
	place->candidate = hash;
	if (!is_second || plain.length > KNOWN_MOST)
		return;
	forget(place);
	place->hash = hash;
	place->bytes = malloc(packed.length + plain.length);
	if (place->bytes == NULL)
		return;
	memcpy(place->bytes, packed.bytes, packed.length);
	if (plain.length > 0)
		memcpy(place->bytes + packed.length, plain.bytes, plain.length);
	place->packed = packed.length;
	place->plain = plain.length;
}
