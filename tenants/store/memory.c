/* Revisions by fingerprint, in one table. */
#include "tenants/store/memory.h"

#include <stdlib.h>

enum { FIRST_ROOM = 256 };

uint64_t record_hash(struct text ctx, enum record_kind kind, struct text id)
{
	uint64_t hash = text_hash(id) ^ text_hash(ctx) * 0xbf58476d1ce4e5b9U;
	return hash ^ ((uint64_t)kind + (id.bytes == NULL ? 64 : 0)) * 0x9e3779b97f4a7c15U;
}

static bool is_remembered(enum record_kind kind)
{
	return record_kind_is_loaded(kind) && !record_kind_passes(kind);
}

/* Where it is, or where it would be. */
static size_t find(const struct memory *memory, uint64_t fingerprint)
{
	size_t mask = memory->room - 1, at = (size_t)fingerprint & mask;
	while (memory->slots[at].revision != 0 && memory->slots[at].fingerprint != fingerprint)
		at = (at + 1) & mask;
	return at;
}

void memory_clear(struct memory *memory)
{
	free(memory->slots);
	*memory = (struct memory){0};
}

/* At most three quarters are used. */
static bool grow(struct memory *memory)
{
	if (memory->count * 4 < memory->room * 3)
		return true;
	struct memory wider = {.count = memory->count, .room = memory->room == 0 ? FIRST_ROOM : memory->room * 2};
	wider.slots = calloc(wider.room, sizeof(*wider.slots));
	if (wider.slots == NULL)
		return false;
	for (size_t i = 0; i < memory->room; i++) {
		if (memory->slots[i].revision != 0)
			wider.slots[find(&wider, memory->slots[i].fingerprint)] = memory->slots[i];
	}
	free(memory->slots);
	*memory = wider;
	return true;
}

/* Those behind it in its run move up, as far as each may. */
static void forget(struct memory *memory, size_t at)
{
	size_t mask = memory->room - 1;
	for (size_t next = (at + 1) & mask; memory->slots[next].revision != 0; next = (next + 1) & mask) {
		size_t home = (size_t)memory->slots[next].fingerprint & mask;
		if (((next - home) & mask) < ((next - at) & mask))
			continue;
		memory->slots[at] = memory->slots[next];
		at = next;
	}
	memory->slots[at].revision = 0;
	memory->count--;
}

void memory_note(struct memory *memory, const struct record *record)
{
	if (!is_remembered(record->kind))
		return;
	if (!grow(memory)) {
		memory_clear(memory); /* rather nothing than something that is no longer so */
		return;
	}
	size_t at = find(memory, record_hash(record->ctx, record->kind, record->id));
	bool was_there = memory->slots[at].revision != 0;
	if (record->body.bytes == NULL) {
		if (was_there)
			forget(memory, at);
		return;
	}
	memory->slots[at] = (struct memory_slot){record_hash(record->ctx, record->kind, record->id), record->revision};
	memory->count += !was_there;
}

int64_t memory_revision(const struct memory *memory, struct text ctx, enum record_kind kind, struct text id)
{
	if (memory->room == 0 || !is_remembered(kind))
		return 0;
	return memory->slots[find(memory, record_hash(ctx, kind, id))].revision;
}
