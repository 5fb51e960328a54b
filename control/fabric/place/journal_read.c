/* Changes of a journal, done again. */
#include "control/fabric/place/bits.h"
#include "control/fabric/place/bytes.h"
#include "control/fabric/place/journal.h"
#include "control/fabric/place/snapshot.h"

enum { HELD_MAX = 1 << 20, MANY = OVERLAP_LODGINGS + 1 };

struct reading {
	struct bytes bytes;
	struct place_snapshot *snapshot;
	struct journal_target *target;
	int64_t slot;  /* of the change before */
	bool is_new;   /* the snapshot does not have it yet */
	bool is_asked; /* the decision is the next */
	enum status status;
};

static uint32_t get_slot(struct reading *reading)
{
	int64_t rows = (int64_t)reading->snapshot->words * 64;
	int64_t slot = reading->slot + bytes_get_signed(&reading->bytes, -rows, rows);
	if (slot < 0 || slot >= rows)
		slot = (int64_t)bytes_bad(&reading->bytes);
	reading->slot = slot;
	return (uint32_t)slot;
}

static bool get_bool(struct reading *reading)
{
	return bytes_get_signed(&reading->bytes, 0, 1) != 0;
}

static uint32_t get_index(struct reading *reading, uint32_t count)
{
	return (uint32_t)bytes_get_signed(&reading->bytes, 0, (int64_t)count - 1);
}

static void read_room(struct reading *reading, unsigned dimension, bool is_whole)
{
	struct place_snapshot *snapshot = reading->snapshot;
	uint32_t slot = get_slot(reading);
	if (dimension >= PLACE_DIMENSION_COUNT || reading->bytes.is_bad) {
		bytes_bad(&reading->bytes);
		return;
	}
	int64_t left = bytes_get_signed(&reading->bytes, -(int64_t)UINT32_MAX, UINT32_MAX);
	int64_t allowed = is_whole ? bytes_get_signed(&reading->bytes, 0, INT32_MAX) : snapshot->allowed[dimension][slot];
	left += is_whole ? 0 : reading->is_new ? snapshot->free[dimension][slot] : 0;
	if (reading->is_new && (left < INT32_MIN || left > INT32_MAX))
		bytes_bad(&reading->bytes);
	else if (reading->is_new && !reading->bytes.is_bad)
		snapshot_set_room(snapshot, slot, (int)dimension, (int32_t)left, (int32_t)allowed);
}

static void read_member(struct reading *reading, unsigned set)
{
	uint32_t slot = get_slot(reading);
	bool value = get_bool(reading);
	if (set >= SETS_MAX)
		bytes_bad(&reading->bytes);
	else if (reading->is_new && !reading->bytes.is_bad)
		snapshot_set_member(reading->snapshot, slot, set, value);
}

static void read_attribute(struct reading *reading)
{
	uint32_t slot = get_slot(reading), index = get_index(reading, reading->snapshot->attributes.count);
	bool value = get_bool(reading);
	if (reading->is_new && !reading->bytes.is_bad)
		snapshot_set_attribute(reading->snapshot, slot, index, value);
}

static void read_opinion(struct reading *reading)
{
	uint32_t slot = get_slot(reading), index = get_index(reading, reading->snapshot->opinion_count);
	int16_t part = (int16_t)bytes_get_signed(&reading->bytes, 0, 1000);
	if (reading->is_new && !reading->bytes.is_bad)
		snapshot_set_opinion(reading->snapshot, slot, index, part);
}

static void read_load(struct reading *reading)
{
	uint32_t slot = get_slot(reading);
	int16_t load = (int16_t)bytes_get_signed(&reading->bytes, -1, 1000);
	if (reading->is_new && !reading->bytes.is_bad)
		snapshot_set_load(reading->snapshot, slot, load);
}

/* Who lives where is told with each decision; here only what all of a tenant's neighbours see. */
static void read_sketch(struct reading *reading, unsigned bit)
{
	uint32_t slot = get_slot(reading);
	if (reading->is_new && !reading->bytes.is_bad)
		snapshot_put_sketch(reading->snapshot, slot, reading->snapshot->sketch[slot] ^ 1U << bit);
}

/* --- lodgings */

static void enter(struct reading *reading, unsigned which, uint64_t who, const struct held *held)
{
	struct place_snapshot *snapshot = reading->snapshot;
	struct lodgings *lodgings = which == JOURNAL_PARTICIPANT ? &snapshot->participants : &snapshot->tenancies;
	bool is_edge;
	for (uint32_t i = 0; i < held->count && reading->status == STATUS_OK; i++) {
		if (!lodgings_change(lodgings, who, held->slot, (enum vpa_type)held->type, 1, &is_edge))
			reading->status = STATUS_NO_MEMORY;
	}
}

/* Whose it is among those that are asked for; 0: nobody's, or it is known already. */
static uint64_t find_holder(const struct reading *reading, unsigned which, uint64_t bits)
{
	const struct place_snapshot *snapshot = reading->snapshot;
	const struct journal_target *target = reading->target;
	uint32_t count;
	for (size_t i = 0; reading->is_asked && i < target->count; i++) {
		const struct place_request *request = target->requests[i];
		uint64_t who = which == JOURNAL_PARTICIPANT ? request->participant_hash : request->tenant_hash;
		const struct lodgings *lodgings = which == JOURNAL_PARTICIPANT ? &snapshot->participants : &snapshot->tenancies;
		if (who != 0 && (who & JOURNAL_HASH) == bits && lodgings_of(lodgings, who, &count) == NULL)
			return who;
	}
	return 0;
}

static void read_held(struct reading *reading, unsigned which)
{
	uint64_t rows = (uint64_t)reading->snapshot->words * 64;
	uint64_t who = find_holder(reading, which, bytes_get(&reading->bytes, JOURNAL_HASH));
	uint64_t count = bytes_get(&reading->bytes, rows * VPA_TYPE_COUNT);
	for (uint64_t i = 0; i < count && !reading->bytes.is_bad; i++) {
		uint64_t slot = bytes_get(&reading->bytes, rows - 1), word = bytes_get(&reading->bytes, UINT32_MAX);
		const struct held held = {(uint32_t)slot, word % 16, (uint32_t)(word / 16) & 0xfffffff};
		if (held.type >= VPA_TYPE_COUNT || held.count == 0 || held.count > HELD_MAX)
			bytes_bad(&reading->bytes);
		else if (who != 0)
			enter(reading, which, who, &held);
	}
}

/* As many lodgings, on rows at the end where no cell can be; the first has what is on all of them. */
static void read_overlap(struct reading *reading)
{
	struct place_snapshot *snapshot = reading->snapshot;
	uint32_t last = snapshot->words * 64 - 1;
	uint64_t who = find_holder(reading, JOURNAL_OVERLAP, bytes_get(&reading->bytes, JOURNAL_HASH));
	uint32_t count = (uint32_t)bytes_get(&reading->bytes, OVERLAP_LODGINGS);
	/* of another decision at this version: this one's are told, too */
	if (!journal_is_overlap(reading->target, count == 0 ? MANY : count))
		who = 0;
	uint32_t together = count == 0 ? 0 : (uint32_t)bytes_get(&reading->bytes, UINT32_MAX);
	if (reading->bytes.is_bad || who == 0)
		return;
	if (count > 0)
		snapshot_put_sketch(snapshot, last, together);
	for (uint32_t i = 0; i < (count == 0 ? MANY : count); i++)
		enter(reading, JOURNAL_OVERLAP, who, &(struct held){last - i / VPA_TYPE_COUNT, i % VPA_TYPE_COUNT & 15U, 1});
}

static void read_told(struct reading *reading, unsigned which)
{
	if (which == JOURNAL_DECISION)
		reading->target->is_met = reading->target->is_met || reading->is_asked;
	else if (which == JOURNAL_OVERLAP)
		read_overlap(reading);
	else if (which < JOURNAL_OVERLAP)
		read_held(reading, which);
	else
		bytes_bad(&reading->bytes);
}

/* False: it is no version. */
static bool read_change(struct reading *reading)
{
	unsigned head = *reading->bytes.at++, which = head >> JOURNAL_SHIFT;
	enum journal_change kind = (enum journal_change)(head & ((1U << JOURNAL_SHIFT) - 1));
	switch (kind) {
	case JOURNAL_ROOM:
	case JOURNAL_ROOMS:
		read_room(reading, which, kind == JOURNAL_ROOMS);
		return true;
	case JOURNAL_LOAD:
		read_load(reading);
		return true;
	case JOURNAL_SET:
		read_member(reading, which);
		return true;
	case JOURNAL_ATTRIBUTE:
		read_attribute(reading);
		return true;
	case JOURNAL_OPINION:
		read_opinion(reading);
		return true;
	case JOURNAL_HOLD:
		if (which != 0)
			read_told(reading, which);
		return which == 0;
	case JOURNAL_SKETCH:
		read_sketch(reading, which);
		return true;
	}
	return false;
}

static bool is_lodging(unsigned head)
{
	return (head & ((1U << JOURNAL_SHIFT) - 1)) == JOURNAL_HOLD && head >> JOURNAL_SHIFT != 0;
}

enum status journal_apply(
	struct place_snapshot *snapshot, struct text changes, uint64_t from, uint64_t to, struct journal_target *target)
{
	struct reading reading = {.bytes = bytes_of(changes), .snapshot = snapshot, .target = target};
	uint64_t at = from, have = snapshot->version;
	if (from > have)
		return STATUS_INVALID; /* what lies between is missing */
	while (at <= target->version && reading.bytes.at < reading.bytes.end && reading.status == STATUS_OK) {
		if (at == target->version && !is_lodging(*reading.bytes.at))
			break;
		reading.is_new = at >= have;
		reading.is_asked = at == target->version;
		at += read_change(&reading);
	}
	if (reading.status != STATUS_OK)
		return reading.status;
	bool is_end = reading.bytes.at == reading.bytes.end;
	if (reading.bytes.is_bad || at > to || (is_end && at != to))
		return STATUS_INVALID;
	snapshot->version = at > have ? at : have;
	snapshot->count = bits_count(snapshot->sets[SET_PRESENT], snapshot->words);
	return STATUS_OK;
}
