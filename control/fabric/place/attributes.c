/* Interned attributes: an open table over an array. */
#include "control/fabric/place/attributes.h"

#include <stdlib.h>

uint64_t attribute_hash(enum place_attribute kind, struct text text)
{
	return text_hash(text) ^ (uint64_t)kind * 0x9e3779b97f4a7c15U;
}

uint16_t attributes_find(
	const struct attributes *attributes, enum place_attribute kind, struct text text, uint64_t hash)
{
	if (attributes->table_room == 0)
		return ATTRIBUTE_NONE;
	uint32_t mask = attributes->table_room - 1;
	for (uint32_t at = (uint32_t)hash & mask; attributes->table[at] != 0; at = (at + 1) & mask) {
		const struct attribute *found = &attributes->items[attributes->table[at] - 1];
		if (found->hash == hash && found->kind == kind && text_equals(text_of(found->text), text))
			return (uint16_t)(attributes->table[at] - 1);
	}
	return ATTRIBUTE_NONE;
}

static void enter(struct attributes *attributes, uint32_t index)
{
	uint32_t mask = attributes->table_room - 1, at = (uint32_t)attributes->items[index].hash & mask;
	while (attributes->table[at] != 0)
		at = (at + 1) & mask;
	attributes->table[at] = (uint16_t)(index + 1);
}

static bool grow(struct attributes *attributes)
{
	if (attributes->count < attributes->room)
		return true;
	uint32_t room = attributes->room == 0 ? 64 : attributes->room * 2;
	struct attribute *items = realloc(attributes->items, room * sizeof(*items));
	if (items == NULL)
		return false;
	attributes->items = items;
	uint16_t *table = calloc((size_t)room * 2, sizeof(*table));
	if (table == NULL)
		return false;
	free(attributes->table);
	attributes->table = table;
	attributes->table_room = room * 2;
	attributes->room = room;
	for (uint32_t i = 0; i < attributes->count; i++)
		enter(attributes, i);
	return true;
}

uint16_t attributes_intern(struct attributes *attributes, enum place_attribute kind, struct text text)
{
	uint64_t hash = attribute_hash(kind, text);
	uint16_t found = attributes_find(attributes, kind, text, hash);
	if (found != ATTRIBUTE_NONE)
		return found;
	if (attributes->count == ATTRIBUTE_NONE - 1 || !grow(attributes))
		return ATTRIBUTE_NONE;
	struct attribute *made = &attributes->items[attributes->count];
	*made = (struct attribute){.kind = kind, .hash = hash, .text = text_copy(text)};
	made->bits = calloc(attributes->words + 1, sizeof(*made->bits));
	if (made->text == NULL || made->bits == NULL) {
		free(made->text);
		free(made->bits);
		return ATTRIBUTE_NONE;
	}
	enter(attributes, attributes->count);
	return (uint16_t)attributes->count++;
}

bool attributes_widen(struct attributes *attributes, uint32_t words)
{
	for (uint32_t i = 0; i < attributes->count; i++) {
		uint64_t *bits = realloc(attributes->items[i].bits, (words + 1) * sizeof(*bits));
		if (bits == NULL)
			return false;
		memset(bits + attributes->words, 0, (words + 1 - attributes->words) * sizeof(*bits));
		attributes->items[i].bits = bits;
	}
	attributes->words = words;
	return true;
}

void attributes_free(struct attributes *attributes)
{
	for (uint32_t i = 0; i < attributes->count; i++) {
		free(attributes->items[i].text);
		free(attributes->items[i].bits);
	}
	free(attributes->items);
	free(attributes->table);
	*attributes = (struct attributes){0};
}
