/* Holdings: an open table of short lists; a list of one stands in the table itself. */
#include "control/fabric/place/holdings.h"

#include <stdlib.h>
#include <string.h>

static uint32_t start_of(const struct holdings *holdings, uint64_t who)
{
	return (uint32_t)((who * 0x9e3779b97f4a7c15U) >> 32) & (holdings->room - 1);
}

static struct holding *find(const struct holdings *holdings, uint64_t who)
{
	if (holdings->room == 0)
		return NULL;
	uint32_t at = start_of(holdings, who);
	while (holdings->table[at].who != 0 && holdings->table[at].who != who)
		at = (at + 1) & (holdings->room - 1);
	return &holdings->table[at];
}

static struct held *list_of(struct holding *holding)
{
	return holding->room == 0 ? &holding->one : holding->items;
}

const struct held *holdings_of(const struct holdings *holdings, uint64_t who, uint32_t *count)
{
	struct holding *found = who == 0 ? NULL : find(holdings, who);
	*count = found == NULL || found->who == 0 ? 0 : found->count;
	return *count == 0 ? NULL : list_of(found);
}

static bool grow(struct holdings *holdings)
{
	if (holdings->count * 4 < holdings->room * 3)
		return true;
	struct holdings next = {.room = holdings->room == 0 ? 64 : holdings->room * 2, .count = holdings->count};
	next.table = calloc(next.room, sizeof(*next.table));
	if (next.table == NULL)
		return false;
	for (uint32_t i = 0; i < holdings->room; i++) {
		if (holdings->table[i].who != 0)
			*find(&next, holdings->table[i].who) = holdings->table[i];
	}
	free(holdings->table);
	next.bytes = holdings->bytes;
	*holdings = next;
	return true;
}

/* The entries behind a freed one move up, so that no search ends too early. */
static void close_gap(struct holdings *holdings, uint32_t gap)
{
	uint32_t mask = holdings->room - 1;
	holdings->table[gap].who = 0;
	holdings->count--;
	for (uint32_t at = (gap + 1) & mask; holdings->table[at].who != 0; at = (at + 1) & mask) {
		uint32_t home = start_of(holdings, holdings->table[at].who);
		if (((at - home) & mask) >= ((at - gap) & mask)) {
			holdings->table[gap] = holdings->table[at];
			holdings->table[at].who = 0;
			gap = at;
		}
	}
}

static bool widen(struct holdings *holdings, struct holding *holding)
{
	if (holding->count < (holding->room == 0 ? 1 : holding->room))
		return true;
	uint32_t room = holding->room == 0 ? 4 : holding->room * 2;
	struct held *items = realloc(holding->room == 0 ? NULL : holding->items, room * sizeof(*items));
	if (items == NULL)
		return false;
	if (holding->room == 0)
		items[0] = holding->one;
	holdings->bytes += (room - holding->room) * sizeof(*items);
	holding->items = items;
	holding->room = room;
	return true;
}

static uint64_t order_of(uint32_t slot, uint32_t type)
{
	return (uint64_t)slot << 4 | type;
}

/* Where the entry is, or would be. */
static uint32_t position_of(struct holding *holding, uint32_t slot, enum vpa_type type)
{
	const struct held *items = list_of(holding);
	uint32_t low = 0, high = holding->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (order_of(items[middle].slot, items[middle].type) < order_of(slot, type))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(struct holding *holding, uint32_t at, uint32_t slot)
{
	return at < holding->count && list_of(holding)[at].slot == slot;
}

static bool come(struct holdings *holdings, uint64_t who, uint32_t slot, enum vpa_type type, bool *is_edge)
{
	if (!grow(holdings))
		return false;
	struct holding *holding = find(holdings, who);
	if (holding->who == 0) {
		*holding = (struct holding){.who = who};
		holdings->count++;
	}
	uint32_t at = position_of(holding, slot, type);
	*is_edge = !is_at(holding, at, slot) && (at == 0 || !is_at(holding, at - 1, slot));
	if (is_at(holding, at, slot) && list_of(holding)[at].type == type) {
		list_of(holding)[at].count++;
		return true;
	}
	if (!widen(holdings, holding))
		return false; /* an empty holding is no harm */
	struct held *items = list_of(holding);
	memmove(items + at + 1, items + at, (holding->count++ - at) * sizeof(*items));
	items[at] = (struct held){slot, type & 15U, 1};
	return true;
}

static void go(struct holdings *holdings, uint64_t who, uint32_t slot, enum vpa_type type, bool *is_edge)
{
	struct holding *holding = find(holdings, who);
	*is_edge = false;
	if (holding == NULL || holding->who == 0)
		return;
	uint32_t at = position_of(holding, slot, type);
	struct held *items = list_of(holding);
	if (!is_at(holding, at, slot) || items[at].type != type || --items[at].count > 0)
		return;
	memmove(items + at, items + at + 1, (--holding->count - at) * sizeof(*items));
	*is_edge = !is_at(holding, at, slot) && (at == 0 || !is_at(holding, at - 1, slot));
	if (holding->count > 0)
		return;
	if (holding->room > 0) {
		holdings->bytes -= holding->room * sizeof(struct held);
		free(holding->items);
	}
	close_gap(holdings, (uint32_t)(holding - holdings->table));
}

bool holdings_change(
	struct holdings *holdings, uint64_t who, uint32_t slot, enum vpa_type type, int change, bool *is_edge)
{
	if (change > 0)
		return come(holdings, who, slot, type, is_edge);
	go(holdings, who, slot, type, is_edge);
	return true;
}

size_t holdings_bytes(const struct holdings *holdings)
{
	return holdings->room * sizeof(*holdings->table) + holdings->bytes;
}

void holdings_free(struct holdings *holdings)
{
	for (uint32_t i = 0; i < holdings->room; i++) {
		if (holdings->table[i].who != 0 && holdings->table[i].room > 0)
			free(holdings->table[i].items);
	}
	free(holdings->table);
	*holdings = (struct holdings){0};
}
