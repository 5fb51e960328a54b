/* Lodgings: an open table of short lists; a list of one stands in the table itself. */
#include "control/fabric/place/lodgings.h"

#include <stdlib.h>
#include <string.h>

static uint32_t start_of(const struct lodgings *lodgings, uint64_t who)
{
	return (uint32_t)((who * 0x9e3779b97f4a7c15U) >> 32) & (lodgings->room - 1);
}

static struct lodging *find(const struct lodgings *lodgings, uint64_t who)
{
	if (lodgings->room == 0)
		return NULL;
	uint32_t at = start_of(lodgings, who);
	while (lodgings->table[at].who != 0 && lodgings->table[at].who != who)
		at = (at + 1) & (lodgings->room - 1);
	return &lodgings->table[at];
}

static struct held *list_of(struct lodging *lodging)
{
	return lodging->room == 0 ? &lodging->one : lodging->items;
}

void lodgings_expect(const struct lodgings *lodgings, uint64_t who)
{
	if (lodgings->room > 0)
		__builtin_prefetch(&lodgings->table[start_of(lodgings, who)]);
}

const struct held *lodgings_of(const struct lodgings *lodgings, uint64_t who, uint32_t *count)
{
	struct lodging *found = who == 0 ? NULL : find(lodgings, who);
	*count = found == NULL || found->who == 0 ? 0 : found->count;
	return *count == 0 ? NULL : list_of(found);
}

static bool grow(struct lodgings *lodgings)
{
	if (lodgings->count * 4 < lodgings->room * 3)
		return true;
	struct lodgings next = {.room = lodgings->room == 0 ? 64 : lodgings->room * 2, .count = lodgings->count};
	next.table = calloc(next.room, sizeof(*next.table));
	if (next.table == NULL)
		return false;
	for (uint32_t i = 0; i < lodgings->room; i++) {
		if (lodgings->table[i].who != 0)
			*find(&next, lodgings->table[i].who) = lodgings->table[i];
	}
	free(lodgings->table);
	next.bytes = lodgings->bytes;
	*lodgings = next;
	return true;
}

/* The entries behind a freed one move up, so that no search ends too early. */
static void close_gap(struct lodgings *lodgings, uint32_t gap)
{
	uint32_t mask = lodgings->room - 1;
	lodgings->table[gap].who = 0;
	lodgings->count--;
	for (uint32_t at = (gap + 1) & mask; lodgings->table[at].who != 0; at = (at + 1) & mask) {
		uint32_t home = start_of(lodgings, lodgings->table[at].who);
		if (((at - home) & mask) >= ((at - gap) & mask)) {
			lodgings->table[gap] = lodgings->table[at];
			lodgings->table[at].who = 0;
			gap = at;
		}
	}
}

static bool widen(struct lodgings *lodgings, struct lodging *lodging)
{
	if (lodging->count < (lodging->room == 0 ? 1 : lodging->room))
		return true;
	uint32_t room = lodging->room == 0 ? 4 : lodging->room * 2;
	struct held *items = realloc(lodging->room == 0 ? NULL : lodging->items, room * sizeof(*items));
	if (items == NULL)
		return false;
	if (lodging->room == 0)
		items[0] = lodging->one;
	lodgings->bytes += (room - lodging->room) * sizeof(*items);
	lodging->items = items;
	lodging->room = room;
	return true;
}

static uint64_t order_of(uint32_t slot, uint32_t type)
{
	return (uint64_t)slot << 4 | type;
}

/* Where the entry is, or would be. */
static uint32_t position_of(struct lodging *lodging, uint32_t slot, enum vpa_type type)
{
	const struct held *items = list_of(lodging);
	uint32_t low = 0, high = lodging->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (order_of(items[middle].slot, items[middle].type) < order_of(slot, type))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(struct lodging *lodging, uint32_t at, uint32_t slot)
{
	return at < lodging->count && list_of(lodging)[at].slot == slot;
}

static bool come(struct lodgings *lodgings, uint64_t who, uint32_t slot, enum vpa_type type, bool *is_edge)
{
	if (!grow(lodgings))
		return false;
	struct lodging *lodging = find(lodgings, who);
	if (lodging->who == 0) {
		*lodging = (struct lodging){.who = who};
		lodgings->count++;
	}
	uint32_t at = position_of(lodging, slot, type);
	*is_edge = !is_at(lodging, at, slot) && (at == 0 || !is_at(lodging, at - 1, slot));
	if (is_at(lodging, at, slot) && list_of(lodging)[at].type == type) {
		list_of(lodging)[at].count++;
		return true;
	}
	if (!widen(lodgings, lodging))
		return false; /* an empty lodging is no harm */
	struct held *items = list_of(lodging);
	memmove(items + at + 1, items + at, (lodging->count++ - at) * sizeof(*items));
	items[at] = (struct held){slot, type & 15U, 1};
	return true;
}

static void go(struct lodgings *lodgings, uint64_t who, uint32_t slot, enum vpa_type type, bool *is_edge)
{
	struct lodging *lodging = find(lodgings, who);
	*is_edge = false;
	if (lodging == NULL || lodging->who == 0)
		return;
	uint32_t at = position_of(lodging, slot, type);
	struct held *items = list_of(lodging);
	if (!is_at(lodging, at, slot) || items[at].type != (unsigned)type)
		return;
	items[at].count = (items[at].count - 1U) & 0xfffffffU;
	if (items[at].count > 0)
		return;
	memmove(items + at, items + at + 1, (--lodging->count - at) * sizeof(*items));
	*is_edge = !is_at(lodging, at, slot) && (at == 0 || !is_at(lodging, at - 1, slot));
	if (lodging->count > 0)
		return;
	if (lodging->room > 0) {
		lodgings->bytes -= lodging->room * sizeof(struct held);
		free(lodging->items);
	}
	close_gap(lodgings, (uint32_t)(lodging - lodgings->table));
}

bool lodgings_change(
	struct lodgings *lodgings, uint64_t who, uint32_t slot, enum vpa_type type, int change, bool *is_edge)
{
	if (change > 0)
		return come(lodgings, who, slot, type, is_edge);
	go(lodgings, who, slot, type, is_edge);
	return true;
}

size_t lodgings_bytes(const struct lodgings *lodgings)
{
	return lodgings->room * sizeof(*lodgings->table) + lodgings->bytes;
}

void lodgings_free(struct lodgings *lodgings)
{
	for (uint32_t i = 0; i < lodgings->room; i++) {
		if (lodgings->table[i].who != 0 && lodgings->table[i].room > 0)
			free(lodgings->table[i].items);
	}
	free(lodgings->table);
	*lodgings = (struct lodgings){0};
}
