/* The snapshot: its room, what is asked of it, and who lives where. */
#include "control/fabric/place/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "control/fabric/place/bits.h"

enum { ALIGNMENT = 64 };

const char *place_dimension_name(int dimension)
{
	static const char *const names[] = {"VPAs",
#define TYPE_NAME(name, text) text,
		VPA_LIST(TYPE_NAME)
#undef TYPE_NAME
#define RESOURCE_NAME(name, text) text,
			CELL_RESOURCE_LIST(RESOURCE_NAME)
#undef RESOURCE_NAME
	};
	return names[dimension];
}

/* --- room */

/* A zeroed, aligned copy of the first `old` bytes; NULL: out of memory, the old one stays. */
static void *widened(void *column, size_t old, size_t size)
{
	char *next = aligned_alloc(ALIGNMENT, (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
	if (next == NULL)
		return NULL;
	memset(next, 0, size);
	if (old > 0)
		memcpy(next, column, old);
	free(column);
	return next;
}

static bool widen(void **column, size_t item, uint32_t from, uint32_t to)
{
	void *next = widened(*column, (size_t)from * item, (size_t)to * item);
	if (next == NULL)
		return false;
	*column = next;
	return true;
}

#define WIDEN(column) widen((void **)&(column), sizeof(*(column)), from, to)

static bool widen_columns(struct place_snapshot *snapshot, uint32_t from, uint32_t to)
{
	bool is_done = true;
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
		is_done = is_done && WIDEN(snapshot->free[i]) && WIDEN(snapshot->allowed[i]) && WIDEN(snapshot->share[i]);
	for (uint32_t i = 0; i < snapshot->opinion_count; i++)
		is_done = is_done && WIDEN(snapshot->opinions[i].parts);
	for (int i = 0; i < SIZES_MAX; i++)
		is_done = is_done && WIDEN(snapshot->sizes.items[i].headroom);
	return is_done && WIDEN(snapshot->balance) && WIDEN(snapshot->hash) && WIDEN(snapshot->tenants) &&
		   WIDEN(snapshot->sketch) && WIDEN(snapshot->cold) && WIDEN(snapshot->total) && WIDEN(snapshot->overlap);
}

static bool widen_sets(struct place_snapshot *snapshot, uint32_t from, uint32_t to)
{
	bool is_done = WIDEN(snapshot->feasible);
	for (int i = 0; i < SETS_MAX; i++)
		is_done = is_done && WIDEN(snapshot->sets[i]);
	for (int i = 0; i < PLACE_FILTER_COUNT; i++)
		is_done = is_done && WIDEN(snapshot->ok[i]);
	for (size_t i = 0; i < sizeof(snapshot->scratch) / sizeof(snapshot->scratch[0]); i++)
		is_done = is_done && WIDEN(snapshot->scratch[i]);
	for (int i = 0; i < SUM_SETS_MAX; i++)
		is_done = is_done && WIDEN(snapshot->spare[i]);
	for (int i = 0; i < SIZES_MAX * SIZE_SETS; i++)
		is_done = is_done && WIDEN(snapshot->sizes.items[i / SIZE_SETS].sets[i % SIZE_SETS]);
	return is_done;
}

/* Columns that grew before another could not are wider than `words` says: no harm. */
bool snapshot_reserve(struct place_snapshot *snapshot, uint32_t slot)
{
	uint32_t words = snapshot->words == 0 ? 1 : snapshot->words;
	while (words * 64 <= slot)
		words *= 2;
	if (words == snapshot->words)
		return true;
	journal_break(snapshot->journal);
	if (!widen_columns(snapshot, snapshot->words * 64, words * 64) || !widen_sets(snapshot, snapshot->words, words) ||
		!attributes_widen(&snapshot->attributes, words))
		return false;
	snapshot->words = words;
	sizes_forget(&snapshot->sizes);
	return true;
}

struct place_snapshot *place_snapshot_new(void)
{
	struct place_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot == NULL)
		return NULL;
	snapshot->next_expiry_ms = INT64_MAX;
	snapshot->history = calloc(HISTORY_MAX, sizeof(*snapshot->history));
	if (snapshot->history == NULL || !snapshot_reserve(snapshot, 0)) {
		place_snapshot_free(snapshot);
		return NULL;
	}
	return snapshot;
}

void cold_free(struct cold *cold)
{
	free(cold->id);
	free(cold->cfm_id);
	free(cold->attestations);
	*cold = (struct cold){0};
}

void place_snapshot_free(struct place_snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	for (uint32_t i = 0; snapshot->cold != NULL && i < snapshot->words * 64; i++)
		cold_free(&snapshot->cold[i]);
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		free(snapshot->free[i]);
		free(snapshot->allowed[i]);
		free(snapshot->share[i]);
	}
	for (int i = 0; i < SETS_MAX; i++)
		free(snapshot->sets[i]);
	for (int i = 0; i < PLACE_FILTER_COUNT; i++)
		free(snapshot->ok[i]);
	for (size_t i = 0; i < sizeof(snapshot->scratch) / sizeof(snapshot->scratch[0]); i++)
		free(snapshot->scratch[i]);
	for (int i = 0; i < SUM_SETS_MAX; i++)
		free(snapshot->spare[i]);
	for (int i = 0; i < SIZES_MAX * SIZE_SETS; i++)
		free(snapshot->sizes.items[i / SIZE_SETS].sets[i % SIZE_SETS]);
	for (int i = 0; i < SIZES_MAX; i++)
		free(snapshot->sizes.items[i].headroom);
	void *const columns[] = {snapshot->balance, snapshot->hash, snapshot->tenants, snapshot->sketch, snapshot->cold,
		snapshot->total, snapshot->overlap, snapshot->feasible, snapshot->taints, snapshot->history};
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		free(columns[i]);
	for (uint32_t i = 0; i < snapshot->opinion_count; i++) {
		free(snapshot->opinions[i].name);
		free(snapshot->opinions[i].parts);
	}
	attributes_free(&snapshot->attributes);
	lodgings_free(&snapshot->participants);
	lodgings_free(&snapshot->tenancies);
	free(snapshot);
}

/* --- asking */

uint64_t place_snapshot_version(const struct place_snapshot *snapshot)
{
	return snapshot->version;
}

int64_t place_snapshot_next_expiry(const struct place_snapshot *snapshot)
{
	return snapshot->next_expiry_ms;
}

void place_snapshot_lapses(const struct place_snapshot *snapshot,
	void (*visit)(void *context, uint32_t slot, const char *compliance), void *context)
{
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const struct cold *cold = &snapshot->cold[slot];
		for (uint32_t i = 0; i < cold->attestation_count; i++) {
			if (cold->attestations[i].until_ms <= snapshot->now_ms)
				visit(context, slot, snapshot->attributes.items[cold->attestations[i].attribute].text);
		}
	}
}

uint32_t place_snapshot_count(const struct place_snapshot *snapshot)
{
	return snapshot->count;
}

const char *place_snapshot_cell(const struct place_snapshot *snapshot, uint32_t slot)
{
	bool is_there = slot < snapshot->words * 64 && bits_has(snapshot->sets[SET_PRESENT], slot);
	return is_there ? snapshot->cold[slot].id : NULL;
}

int64_t place_snapshot_used(const struct place_snapshot *snapshot, uint32_t slot, int dimension)
{
	return (int64_t)snapshot->allowed[dimension][slot] - snapshot->free[dimension][slot];
}

int64_t place_snapshot_allowed(const struct place_snapshot *snapshot, uint32_t slot, int dimension)
{
	return is_limited(snapshot, dimension, slot) ? snapshot->allowed[dimension][slot] : -1;
}

int64_t place_snapshot_find(const struct place_snapshot *snapshot, const char *id)
{
	uint64_t hash = place_hash(text_of(id));
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const char *name = snapshot->hash[slot] == hash ? place_snapshot_cell(snapshot, slot) : NULL;
		if (name != NULL && strcmp(name, id) == 0)
			return slot;
	}
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		if (place_snapshot_cell(snapshot, slot) != NULL && strcmp(snapshot->cold[slot].cfm_id, id) == 0)
			return slot;
	}
	return -1;
}

const int16_t *place_opinion(const struct place_snapshot *snapshot, const struct weigh *weigh)
{
	for (uint32_t i = 0; i < snapshot->opinion_count; i++) {
		if (snapshot->opinions[i].hash == weigh->hash && strcmp(snapshot->opinions[i].name, weigh->name) == 0)
			return snapshot->opinions[i].parts;
	}
	return NULL;
}

enum status snapshot_add_opinion(struct place_snapshot *snapshot, const char *name, uint32_t *index)
{
	*index = UINT32_MAX;
	if (snapshot->opinion_count == PLACE_OPINIONS_MAX)
		return STATUS_OK;
	struct opinion made = {.name = text_copy(text_of(name)), .hash = place_hash(text_of(name))};
	size_t bytes = (size_t)snapshot->words * 64 * sizeof(*made.parts);
	made.parts = widened(NULL, 0, bytes);
	if (made.name == NULL || made.parts == NULL) {
		free(made.name);
		free(made.parts);
		return STATUS_NO_MEMORY;
	}
	*index = snapshot->opinion_count;
	snapshot->opinions[snapshot->opinion_count++] = made;
	return STATUS_OK;
}

const uint64_t *place_snapshot_set(const struct place_snapshot *snapshot, const struct want *want)
{
	uint16_t index = attributes_find(&snapshot->attributes, want->kind, text_of(want->text), want->hash);
	return index == ATTRIBUTE_NONE ? NULL : snapshot->attributes.items[index].bits;
}

/* --- VPAs */

/* 0 is nobody. */
static uint64_t name_hash(struct text name)
{
	uint64_t hash = name.length == 0 ? 0 : place_hash(name);
	return name.length > 0 && hash == 0 ? 1 : hash;
}

enum status place_snapshot_hold(struct place_snapshot *snapshot, struct text participant, struct text tenant,
	uint32_t slot, enum vpa_type type, int change)
{
	if (!snapshot_reserve(snapshot, slot))
		return STATUS_NO_MEMORY;
	return snapshot_hold(snapshot, name_hash(participant), name_hash(tenant), slot, type, change);
}

enum status place_snapshot_settle(struct place_snapshot *snapshot, struct text participant, struct text tenant,
	const struct place_seat *seats, size_t count)
{
	uint64_t who = name_hash(participant), whose = name_hash(tenant);
	uint32_t held_count;
	const struct held *held;
	/* what it holds and should not; each turn changes the list, so it is looked at anew */
	for (uint32_t i = 0; (held = lodgings_of(&snapshot->participants, who, &held_count)) != NULL && i < held_count;) {
		struct held one = held[i];
		uint32_t wanted = 0;
		for (size_t seat = 0; seat < count; seat++)
			wanted += seats[seat].slot == one.slot && seats[seat].type == (enum vpa_type)one.type;
		if (one.count <= wanted)
			i++;
		else if (snapshot_hold(snapshot, who, whose, one.slot, (enum vpa_type)one.type, -1) != STATUS_OK)
			return STATUS_NO_MEMORY;
	}
	for (size_t seat = 0; seat < count; seat++) {
		uint32_t wanted = 0, there = 0;
		for (size_t other = 0; other <= seat; other++)
			wanted += seats[other].slot == seats[seat].slot && seats[other].type == seats[seat].type;
		held = lodgings_of(&snapshot->participants, who, &held_count);
		for (uint32_t i = 0; i < held_count; i++)
			there += held[i].slot == seats[seat].slot && held[i].type == (unsigned)seats[seat].type ? held[i].count : 0;
		if (there >= wanted)
			continue;
		if (!snapshot_reserve(snapshot, seats[seat].slot) ||
			snapshot_hold(snapshot, who, whose, seats[seat].slot, seats[seat].type, 1) != STATUS_OK)
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

void place_snapshot_set_used(struct place_snapshot *snapshot, uint32_t slot, const int64_t *used)
{
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		int32_t most = snapshot->allowed[i][slot];
		snapshot_set_room(snapshot, slot, i, (int32_t)(most - snapshot_bounded(used[i])), most);
	}
}

static void take(struct place_snapshot *snapshot, uint32_t slot, int dimension, int64_t amount)
{
	int64_t left = (int64_t)snapshot->free[dimension][slot] - amount;
	int32_t most = snapshot->allowed[dimension][slot];
	if (amount != 0)
		snapshot_set_room(snapshot, slot, dimension,
			left < INT32_MIN / 2 ? INT32_MIN / 2
			: left > most        ? most
								 : (int32_t)left,
			most);
}

enum status place_snapshot_book(
	struct place_snapshot *snapshot, uint32_t slot, const struct place_request *request, int sign)
{
	enum status status =
		snapshot_hold(snapshot, request->participant_hash, request->tenant_hash, slot, request->type, sign);
	if (status != STATUS_OK)
		return status;
	take(snapshot, slot, PLACE_VPAS, sign);
	take(snapshot, slot, PLACE_TYPES + (int)request->type, sign);
	for (int i = 0; i < CELL_RESOURCE_COUNT; i++)
		take(snapshot, slot, PLACE_RESOURCES + i, sign * request->demand[i]);
	return STATUS_OK;
}

void place_snapshot_tell(struct place_snapshot *snapshot, struct journal *journal)
{
	snapshot->journal = journal;
}

size_t place_snapshot_cell_bytes(const struct place_snapshot *snapshot)
{
	size_t rows = (size_t)snapshot->words * 64,
		   sets = SETS_MAX + PLACE_FILTER_COUNT + 1 + sizeof(snapshot->scratch) / sizeof(snapshot->scratch[0]) +
				  SUM_SETS_MAX + (size_t)SIZES_MAX * SIZE_SETS + snapshot->attributes.count;
	size_t row =
		PLACE_DIMENSION_COUNT * (sizeof(**snapshot->free) + sizeof(**snapshot->allowed) + sizeof(**snapshot->share)) +
		sizeof(*snapshot->balance) + sizeof(*snapshot->hash) + sizeof(*snapshot->tenants) + sizeof(*snapshot->sketch) +
		sizeof(*snapshot->total) + sizeof(*snapshot->overlap) +
		((size_t)SIZES_MAX + snapshot->opinion_count) * sizeof(int16_t);
	return rows * row + sets * snapshot->words * sizeof(uint64_t);
}

size_t place_snapshot_hold_bytes(const struct place_snapshot *snapshot)
{
	return lodgings_bytes(&snapshot->participants) + lodgings_bytes(&snapshot->tenancies);
}
