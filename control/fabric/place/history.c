/* What changes in a snapshot: every change goes through one of these setters, which write down how to undo it, so that
 * the snapshot can be walked backwards and forwards again. */
#include "control/fabric/place/bits.h"
#include "control/fabric/place/snapshot.h"

#include <stdlib.h>

static void note(struct place_snapshot *snapshot, struct past past)
{
	past.version = snapshot->version++;
	if (snapshot->is_walking)
		return;
	snapshot->history[snapshot->history_end++ % HISTORY_MAX] = past;
	if (snapshot->history_end - snapshot->history_first > HISTORY_MAX)
		snapshot->history_first++;
}

/* What is so now, for who does it again: after each note. */
static void tell(const struct place_snapshot *snapshot, enum journal_change kind, unsigned which,
	const int64_t *numbers, size_t count)
{
	if (snapshot->journal != NULL && !snapshot->is_walking)
		journal_note(snapshot->journal, kind, which, numbers, count);
}
#define TELL(snapshot, kind, which, ...)                                                                               \
	tell(snapshot, kind, which, (const int64_t[]){__VA_ARGS__},                                                        \
		sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

void snapshot_forget(struct place_snapshot *snapshot)
{
	snapshot->history_first = snapshot->history_end;
}

static void rebalance(struct place_snapshot *snapshot, uint32_t slot)
{
	int load = snapshot->cold[slot].load;
	int32_t allowed = snapshot->allowed[PLACE_VPAS][slot], used = allowed - snapshot->free[PLACE_VPAS][slot];
	if (load < 0)
		load = used <= 0 ? 0 : used >= allowed ? 1000 : (int)((int64_t)used * 1000 / allowed);
	snapshot->balance[slot] = (int16_t)(1000 - load);
}

static void write_room(struct place_snapshot *snapshot, uint32_t slot, int dimension, int32_t left, int32_t allowed)
{
	snapshot->free[dimension][slot] = left;
	if (snapshot->allowed[dimension][slot] != allowed) {
		snapshot->allowed[dimension][slot] = allowed;
		snapshot->share[dimension][slot] = UINT32_MAX / (uint32_t)(allowed > 0 ? allowed : 1);
	}
	sizes_change(&snapshot->sizes, slot);
	if (dimension == PLACE_VPAS)
		rebalance(snapshot, slot);
}

void snapshot_set_room(struct place_snapshot *snapshot, uint32_t slot, int dimension, int32_t left, int32_t allowed)
{
	int32_t old_left = snapshot->free[dimension][slot], old = snapshot->allowed[dimension][slot];
	if (old_left == left && old == allowed)
		return;
	note(snapshot,
		(struct past){.kind = PAST_ROW, .dimension = (uint8_t)dimension, .slot = slot, .room = {old_left, old}});
	if (old == allowed)
		TELL(snapshot, JOURNAL_ROOM, (unsigned)dimension, slot, (int64_t)left - old_left);
	else
		TELL(snapshot, JOURNAL_ROOMS, (unsigned)dimension, slot, left, allowed);
	write_room(snapshot, slot, dimension, left, allowed);
}

void snapshot_set_load(struct place_snapshot *snapshot, uint32_t slot, int16_t load)
{
	if (snapshot->cold[slot].load == load)
		return;
	note(snapshot, (struct past){.kind = PAST_ROW,
					   .dimension = PLACE_DIMENSION_COUNT,
					   .slot = slot,
					   .room = {snapshot->cold[slot].load, 0}});
	TELL(snapshot, JOURNAL_LOAD, 0, slot, load);
	snapshot->cold[slot].load = load;
	rebalance(snapshot, slot);
}

void snapshot_set_member(struct place_snapshot *snapshot, uint32_t slot, uint32_t set, bool value)
{
	if (bits_has(snapshot->sets[set], slot) == value)
		return;
	note(snapshot, (struct past){.kind = PAST_SET, .slot = slot, .index = set, .value = !value});
	TELL(snapshot, JOURNAL_SET, set, slot, value);
	bits_put(snapshot->sets[set], slot, value);
}

void snapshot_set_attribute(struct place_snapshot *snapshot, uint32_t slot, uint32_t index, bool value)
{
	if (bits_has(snapshot->attributes.items[index].bits, slot) == value)
		return;
	note(snapshot, (struct past){.kind = PAST_ATTRIBUTE, .slot = slot, .index = index, .value = !value});
	TELL(snapshot, JOURNAL_ATTRIBUTE, 0, slot, index, value);
	bits_put(snapshot->attributes.items[index].bits, slot, value);
}

void snapshot_set_opinion(struct place_snapshot *snapshot, uint32_t slot, uint32_t index, int16_t part)
{
	int16_t *at = &snapshot->opinions[index].parts[slot];
	if (*at == part)
		return;
	note(snapshot, (struct past){.kind = PAST_OPINION, .slot = slot, .index = index, .part = *at});
	TELL(snapshot, JOURNAL_OPINION, 0, slot, index, part);
	*at = part;
}

void snapshot_put_sketch(struct place_snapshot *snapshot, uint32_t slot, uint32_t sketch)
{
	snapshot->sketch[slot] = sketch;
	for (uint32_t at = 0; at < SKETCH_SIZE; at++)
		snapshot->tenants[slot][at] = sketch >> at & 1;
}

/* A tenant's first VPA on a cell, or its last, changes the cell's sketch. */
static void sketch_change(struct place_snapshot *snapshot, uint32_t slot, uint64_t tenant, int change)
{
	uint32_t at = (uint32_t)(tenant % SKETCH_SIZE);
	uint8_t *count = &snapshot->tenants[slot][at];
	if (*count < UINT8_MAX && (change > 0 || *count > 0))
		*count = (uint8_t)(*count + change);
	snapshot->sketch[slot] = *count > 0 ? snapshot->sketch[slot] | 1U << at : snapshot->sketch[slot] & ~(1U << at);
}

static bool write_hold(struct place_snapshot *snapshot, uint64_t participant, uint64_t tenant, uint32_t slot,
	enum vpa_type type, int change)
{
	bool is_edge = false;
	if (participant != 0 && !lodgings_change(&snapshot->participants, participant, slot, type, change, &is_edge))
		return false;
	is_edge = false;
	if (tenant != 0 && !lodgings_change(&snapshot->tenancies, tenant, slot, type, change, &is_edge)) {
		if (participant != 0 && !lodgings_change(&snapshot->participants, participant, slot, type, -change, &is_edge))
			abort(); /* taking back what was just given needs no memory */
		return false;
	}
	if (is_edge)
		sketch_change(snapshot, slot, tenant, change);
	return true;
}

enum status snapshot_hold(struct place_snapshot *snapshot, uint64_t participant, uint64_t tenant, uint32_t slot,
	enum vpa_type type, int change)
{
	if (participant == 0 && tenant == 0)
		return STATUS_OK;
	uint32_t sketch = snapshot->sketch[slot];
	if (!write_hold(snapshot, participant, tenant, slot, type, change))
		return STATUS_NO_MEMORY;
	note(snapshot, (struct past){.kind = PAST_HOLD,
					   .slot = slot,
					   .type = (uint8_t)type,
					   .change = (int8_t)change,
					   .who = {participant, tenant}});
	if (snapshot->sketch[slot] != sketch)
		TELL(snapshot, JOURNAL_SKETCH, (unsigned)__builtin_ctz(snapshot->sketch[slot] ^ sketch), slot);
	else
		tell(snapshot, JOURNAL_HOLD, 0, NULL, 0);
	return STATUS_OK;
}

/* --- walking back */

static void swap_room(struct place_snapshot *snapshot, struct past *past)
{
	if (past->dimension == PLACE_DIMENSION_COUNT) {
		int16_t load = snapshot->cold[past->slot].load;
		snapshot->cold[past->slot].load = (int16_t)past->room.free;
		past->room.free = load;
		rebalance(snapshot, past->slot);
		return;
	}
	int32_t left = snapshot->free[past->dimension][past->slot];
	int32_t allowed = snapshot->allowed[past->dimension][past->slot];
	write_room(snapshot, past->slot, past->dimension, past->room.free, past->room.allowed);
	past->room.free = left;
	past->room.allowed = allowed;
}

/* Undoes it, and makes of it what does it again. */
static void swap(struct place_snapshot *snapshot, struct past *past)
{
	uint64_t *bits;
	int16_t part;
	switch (past->kind) {
	case PAST_ROW:
		swap_room(snapshot, past);
		break;
	case PAST_SET:
	case PAST_ATTRIBUTE:
		bits = past->kind == PAST_SET ? snapshot->sets[past->index] : snapshot->attributes.items[past->index].bits;
		bits_put(bits, past->slot, past->value);
		past->value = !past->value;
		break;
	case PAST_OPINION:
		part = snapshot->opinions[past->index].parts[past->slot];
		snapshot->opinions[past->index].parts[past->slot] = past->part;
		past->part = part;
		break;
	case PAST_HOLD:
		past->change = (int8_t)-past->change;
		if (!write_hold(
				snapshot, past->who.participant, past->who.tenant, past->slot, (enum vpa_type)past->type, past->change))
			abort(); /* half a step back is no state at all */
		break;
	}
}

static struct past *past_at(struct place_snapshot *snapshot, uint64_t at)
{
	return &snapshot->history[at % HISTORY_MAX];
}

bool place_snapshot_rewind(struct place_snapshot *snapshot, uint64_t version)
{
	uint64_t oldest = snapshot->history_first == snapshot->history_end
						  ? snapshot->version
						  : past_at(snapshot, snapshot->history_first)->version;
	if (version < oldest || version > snapshot->version || snapshot->is_walking)
		return false;
	uint64_t at = snapshot->history_end;
	while (at > snapshot->history_first && past_at(snapshot, at - 1)->version >= version)
		swap(snapshot, past_at(snapshot, --at));
	snapshot->count = bits_count(snapshot->sets[SET_PRESENT], snapshot->words);
	snapshot->rewound = at;
	snapshot->present = snapshot->version;
	snapshot->version = version;
	snapshot->is_walking = true;
	return true;
}

void place_snapshot_return(struct place_snapshot *snapshot)
{
	for (uint64_t at = snapshot->rewound; at < snapshot->history_end; at++)
		swap(snapshot, past_at(snapshot, at));
	snapshot->count = bits_count(snapshot->sets[SET_PRESENT], snapshot->words);
	snapshot->version = snapshot->present;
	snapshot->is_walking = false;
}
