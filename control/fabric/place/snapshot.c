/* The snapshot: every change goes through one of four setters, which write down how to undo it. */
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
	return is_done && WIDEN(snapshot->balance) && WIDEN(snapshot->hash) && WIDEN(snapshot->tenants) &&
		   WIDEN(snapshot->sketch) && WIDEN(snapshot->cold) && WIDEN(snapshot->total) && WIDEN(snapshot->least);
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
	return is_done;
}

/* Columns that grew before another could not are wider than `words` says: no harm. */
static bool reserve(struct place_snapshot *snapshot, uint32_t slot)
{
	uint32_t words = snapshot->words == 0 ? 1 : snapshot->words;
	while (words * 64 <= slot)
		words *= 2;
	if (words == snapshot->words)
		return true;
	if (!widen_columns(snapshot, snapshot->words * 64, words * 64) || !widen_sets(snapshot, snapshot->words, words) ||
		!attributes_widen(&snapshot->attributes, words))
		return false;
	snapshot->words = words;
	return true;
}

struct place_snapshot *place_snapshot_new(void)
{
	struct place_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot == NULL)
		return NULL;
	snapshot->next_expiry_ms = INT64_MAX;
	snapshot->history = calloc(HISTORY_MAX, sizeof(*snapshot->history));
	if (snapshot->history == NULL || !reserve(snapshot, 0)) {
		place_snapshot_free(snapshot);
		return NULL;
	}
	return snapshot;
}

static void cold_free(struct cold *cold)
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
	void *const columns[] = {snapshot->balance, snapshot->hash, snapshot->tenants, snapshot->sketch, snapshot->cold,
		snapshot->total, snapshot->least, snapshot->feasible, snapshot->taints, snapshot->history};
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		free(columns[i]);
	attributes_free(&snapshot->attributes);
	lodgings_free(&snapshot->participants);
	lodgings_free(&snapshot->tenancies);
	free(snapshot);
}

/* --- the setters, and what they write down */

static void note(struct place_snapshot *snapshot, struct past past)
{
	past.version = snapshot->version++;
	if (snapshot->is_walking)
		return;
	snapshot->history[snapshot->history_end++ % HISTORY_MAX] = past;
	if (snapshot->history_end - snapshot->history_first > HISTORY_MAX)
		snapshot->history_first++;
}

static void forget(struct place_snapshot *snapshot)
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
	snapshot->allowed[dimension][slot] = allowed;
	snapshot->share[dimension][slot] = UINT32_MAX / (uint32_t)(allowed > 0 ? allowed : 1);
	if (dimension == PLACE_VPAS)
		rebalance(snapshot, slot);
}

static void set_room(struct place_snapshot *snapshot, uint32_t slot, int dimension, int32_t left, int32_t allowed)
{
	int32_t old_left = snapshot->free[dimension][slot], old = snapshot->allowed[dimension][slot];
	if (old_left == left && old == allowed)
		return;
	note(snapshot,
		(struct past){.kind = PAST_ROW, .dimension = (uint8_t)dimension, .slot = slot, .room = {old_left, old}});
	write_room(snapshot, slot, dimension, left, allowed);
}

static void set_load(struct place_snapshot *snapshot, uint32_t slot, int16_t load)
{
	if (snapshot->cold[slot].load == load)
		return;
	note(snapshot, (struct past){.kind = PAST_ROW,
					   .dimension = PLACE_DIMENSION_COUNT,
					   .slot = slot,
					   .room = {snapshot->cold[slot].load, 0}});
	snapshot->cold[slot].load = load;
	rebalance(snapshot, slot);
}

static void set_in_set(struct place_snapshot *snapshot, uint32_t slot, uint32_t set, bool value)
{
	if (bits_has(snapshot->sets[set], slot) == value)
		return;
	note(snapshot, (struct past){.kind = PAST_SET, .slot = slot, .index = set, .value = !value});
	bits_put(snapshot->sets[set], slot, value);
}

static void set_attribute(struct place_snapshot *snapshot, uint32_t slot, uint32_t index, bool value)
{
	if (bits_has(snapshot->attributes.items[index].bits, slot) == value)
		return;
	note(snapshot, (struct past){.kind = PAST_ATTRIBUTE, .slot = slot, .index = index, .value = !value});
	bits_put(snapshot->attributes.items[index].bits, slot, value);
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

static enum status hold(struct place_snapshot *snapshot, uint64_t participant, uint64_t tenant, uint32_t slot,
	enum vpa_type type, int change)
{
	if (participant == 0 && tenant == 0)
		return STATUS_OK;
	if (!write_hold(snapshot, participant, tenant, slot, type, change))
		return STATUS_NO_MEMORY;
	note(snapshot, (struct past){.kind = PAST_HOLD,
					   .slot = slot,
					   .type = (uint8_t)type,
					   .change = (int8_t)change,
					   .who = {participant, tenant}});
	return STATUS_OK;
}

/* --- cells */

static int32_t bounded(int64_t number)
{
	return number < 0 ? 0 : number > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)number;
}

/* What may be booked: max with overcommit, less what is kept for fail-over. -1: unlimited. */
static int64_t allowed_of(const struct cell_definition *definition, int dimension)
{
	if (definition == NULL)
		return -1;
	int resource = dimension - PLACE_RESOURCES;
	int64_t most = dimension == PLACE_VPAS       ? definition->max_vpas
				   : dimension < PLACE_RESOURCES ? definition->max_per_type[dimension - PLACE_TYPES]
												 : definition->resources[resource];
	if (most < 0)
		return -1;
	if (dimension >= PLACE_RESOURCES)
		most = most * definition->overcommit[resource] / 100;
	return most * (100 - definition->failover_reserve_pct) / 100;
}

static void put_rooms(struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition,
	const struct place_standing *standing)
{
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		int64_t allowed = allowed_of(definition, i), used = bounded(standing->used[i]);
		int32_t most = allowed < 0 ? INT32_MAX : bounded(allowed);
		set_room(snapshot, slot, i, (int32_t)(most - used), most);
	}
	set_load(snapshot, slot, (int16_t)standing->load);
}

/* A growing list of the attributes a cell is to have. */
struct chosen {
	struct place_snapshot *snapshot;
	uint8_t *has; /* one a known attribute */
	uint32_t room;
	bool is_failed;
};

static uint16_t choose(struct chosen *chosen, enum place_attribute kind, struct text text)
{
	uint16_t index = attributes_intern(&chosen->snapshot->attributes, kind, text);
	if (index >= chosen->room && index != ATTRIBUTE_NONE) {
		uint32_t room = index + 64U;
		uint8_t *more = realloc(chosen->has, room);
		if (more != NULL) {
			memset(more + chosen->room, 0, room - chosen->room);
			chosen->has = more;
			chosen->room = room;
		} else {
			index = ATTRIBUTE_NONE;
		}
	}
	if (index == ATTRIBUTE_NONE)
		chosen->is_failed = true;
	else
		chosen->has[index] = 1;
	return index;
}

static uint16_t choose_text(struct chosen *chosen, enum place_attribute kind, const char *text)
{
	return text == NULL ? ATTRIBUTE_NONE : choose(chosen, kind, text_of(text));
}

static void choose_pair(struct chosen *chosen, enum place_attribute kind, const char *key, const char *value)
{
	struct buffer pair = {0};
	buffer_printf(&pair, "%s=%s", key, value);
	if (pair.failed)
		chosen->is_failed = true;
	else
		choose(chosen, kind, buffer_text(&pair));
	buffer_free(&pair);
}

static void choose_attestations(struct chosen *chosen, const struct cell_definition *definition, struct cold *cold)
{
	cold->attestations = calloc(definition->compliance_count + 1, sizeof(*cold->attestations));
	if (cold->attestations == NULL) {
		chosen->is_failed = true;
		return;
	}
	for (size_t i = 0; i < definition->compliance_count; i++) {
		const struct cell_attestation *from = &definition->compliance[i];
		uint16_t index = choose_text(chosen, PLACE_COMPLIANCE, from->id);
		if (index == ATTRIBUTE_NONE)
			return;
		if (from->valid_until_ms <= chosen->snapshot->now_ms)
			chosen->has[index] = 0;
		cold->attestations[cold->attestation_count++] = (struct attestation){index, from->valid_until_ms};
	}
}

static void choose_all(struct chosen *chosen, const struct cell_definition *definition, struct cold *cold)
{
	cold->keys[PLACE_KEY_REGION] = choose_text(chosen, PLACE_REGION, definition->region);
	cold->keys[PLACE_KEY_PROVIDER] = choose_text(chosen, PLACE_PROVIDER, definition->provider);
	cold->keys[PLACE_KEY_ZONE] = choose_text(chosen, PLACE_ZONE, definition->zone);
	cold->keys[PLACE_KEY_SITE] = choose_text(chosen, PLACE_SITE, definition->site);
	cold->keys[PLACE_KEY_POWER_DOMAIN] = choose_text(chosen, PLACE_POWER_DOMAIN, definition->power_domain);
	choose_text(chosen, PLACE_TYPE, definition->type);
	for (size_t i = 0; i < definition->jurisdiction_count; i++)
		choose_text(chosen, PLACE_JURISDICTION, definition->jurisdictions[i]);
	for (size_t i = 0; i < definition->label_count; i++)
		choose_pair(chosen, PLACE_LABEL, definition->labels[i].key, definition->labels[i].value);
	for (size_t i = 0; i < definition->taint_count; i++)
		choose_pair(chosen, PLACE_TAINT, definition->taints[i].key, definition->taints[i].value);
	choose_attestations(chosen, definition, cold);
}

/* Taints are looked at one by one, so they have a list. */
static bool list_taints(struct place_snapshot *snapshot)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		count += snapshot->attributes.items[i].kind == PLACE_TAINT;
	if (count == snapshot->taint_count)
		return true;
	uint16_t *taints = realloc(snapshot->taints, (count + 1) * sizeof(*taints));
	if (taints == NULL)
		return false;
	snapshot->taints = taints;
	snapshot->taint_count = 0;
	for (uint32_t i = 0; i < snapshot->attributes.count; i++) {
		if (snapshot->attributes.items[i].kind == PLACE_TAINT)
			taints[snapshot->taint_count++] = (uint16_t)i;
	}
	return true;
}

static void find_next_expiry(struct place_snapshot *snapshot)
{
	snapshot->next_expiry_ms = INT64_MAX;
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const struct cold *cold = &snapshot->cold[slot];
		for (uint32_t i = 0; i < cold->attestation_count; i++) {
			int64_t until_ms = cold->attestations[i].until_ms;
			if (until_ms > snapshot->now_ms && until_ms < snapshot->next_expiry_ms)
				snapshot->next_expiry_ms = until_ms;
		}
	}
}

static bool is_same_cold(const struct cold *a, const struct cold *b)
{
	return a->id != NULL && b->id != NULL && strcmp(a->id, b->id) == 0 && a->protocol == b->protocol &&
		   memcmp(a->keys, b->keys, sizeof(a->keys)) == 0;
}

static void put_sets(struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition,
	const struct place_standing *standing)
{
	unsigned components = definition == NULL ? ~0U : definition->components;
	set_in_set(snapshot, slot, SET_PRESENT, true);
	set_in_set(snapshot, slot, SET_OPEN, standing->is_open);
	set_in_set(snapshot, slot, SET_DEGRADED, standing->is_degraded);
	set_in_set(snapshot, slot, SET_INTERMITTENT, definition != NULL && definition->is_intermittent);
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++)
		set_in_set(snapshot, slot, SET_READY + type, (components & standing->ready & 1U << type) != 0);
}

static bool gather(struct chosen *chosen, const struct cell_definition *definition,
	const struct place_standing *standing, struct cold *cold)
{
	for (int key = 0; key < PLACE_KEY_COUNT; key++)
		cold->keys[key] = ATTRIBUTE_NONE;
	if (definition != NULL)
		choose_all(chosen, definition, cold);
	for (size_t i = 0; i < standing->profile_count; i++)
		choose(chosen, PLACE_PROFILE, standing->profiles[i]);
	return !chosen->is_failed && cold->id != NULL && cold->cfm_id != NULL && list_taints(chosen->snapshot);
}

enum status place_snapshot_put(struct place_snapshot *snapshot, uint32_t slot, struct text id,
	const struct cell_definition *definition, const struct place_standing *standing)
{
	if (!reserve(snapshot, slot))
		return STATUS_NO_MEMORY;
	struct text name = definition == NULL ? id : text_of(definition->cell_id);
	struct chosen chosen = {.snapshot = snapshot};
	struct cold cold = {.id = text_copy(name),
		.cfm_id = text_copy(id),
		.why = standing->why,
		.protocol = definition == NULL ? 0 : (int32_t)definition->protocol};
	if (!gather(&chosen, definition, standing, &cold)) {
		cold_free(&cold);
		free(chosen.has);
		return STATUS_NO_MEMORY;
	}
	struct cold *old = &snapshot->cold[slot];
	bool is_new = old->id == NULL;
	if (!is_new && !is_same_cold(old, &cold))
		forget(snapshot); /* what was decided of it before cannot be decided again */
	cold.load = -1;
	if (!is_new)
		cold.load = old->load;
	cold_free(old);
	*old = cold;
	snapshot->hash[slot] = place_hash(name);
	snapshot->count += !bits_has(snapshot->sets[SET_PRESENT], slot);
	put_sets(snapshot, slot, definition, standing);
	put_rooms(snapshot, slot, definition, standing);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		set_attribute(snapshot, slot, i, i < chosen.room && chosen.has[i] != 0);
	free(chosen.has);
	find_next_expiry(snapshot);
	return STATUS_OK;
}

void place_snapshot_remove(struct place_snapshot *snapshot, uint32_t slot)
{
	if (place_snapshot_cell(snapshot, slot) == NULL)
		return;
	snapshot->count--;
	for (uint32_t set = 0; set < SETS_MAX; set++)
		set_in_set(snapshot, slot, set, false);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		set_attribute(snapshot, slot, i, false);
	snapshot->cold[slot].attestation_count = 0; /* the names stay, for who looks back */
	find_next_expiry(snapshot);
}

bool place_snapshot_advance(struct place_snapshot *snapshot, int64_t wall_ms)
{
	if (wall_ms <= snapshot->now_ms)
		return false; /* a clock that goes back revives nothing */
	snapshot->now_ms = wall_ms;
	if (wall_ms < snapshot->next_expiry_ms)
		return false;
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const struct cold *cold = &snapshot->cold[slot];
		for (uint32_t i = 0; i < cold->attestation_count; i++) {
			if (cold->attestations[i].until_ms <= wall_ms)
				set_attribute(snapshot, slot, cold->attestations[i].attribute, false);
		}
	}
	find_next_expiry(snapshot);
	return true;
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
	if (!reserve(snapshot, slot))
		return STATUS_NO_MEMORY;
	return hold(snapshot, name_hash(participant), name_hash(tenant), slot, type, change);
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
		else if (hold(snapshot, who, whose, one.slot, (enum vpa_type)one.type, -1) != STATUS_OK)
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
		if (!reserve(snapshot, seats[seat].slot) ||
			hold(snapshot, who, whose, seats[seat].slot, seats[seat].type, 1) != STATUS_OK)
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

void place_snapshot_set_used(struct place_snapshot *snapshot, uint32_t slot, const int64_t *used)
{
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		int32_t most = snapshot->allowed[i][slot];
		set_room(snapshot, slot, i, (int32_t)(most - bounded(used[i])), most);
	}
}

static void take(struct place_snapshot *snapshot, uint32_t slot, int dimension, int64_t amount)
{
	int64_t left = (int64_t)snapshot->free[dimension][slot] - amount;
	int32_t most = snapshot->allowed[dimension][slot];
	if (amount != 0)
		set_room(snapshot, slot, dimension,
			left < INT32_MIN / 2 ? INT32_MIN / 2
			: left > most        ? most
								 : (int32_t)left,
			most);
}

enum status place_snapshot_book(
	struct place_snapshot *snapshot, uint32_t slot, const struct place_request *request, int sign)
{
	enum status status = hold(snapshot, request->participant_hash, request->tenant_hash, slot, request->type, sign);
	if (status != STATUS_OK)
		return status;
	take(snapshot, slot, PLACE_VPAS, sign);
	take(snapshot, slot, PLACE_TYPES + (int)request->type, sign);
	for (int i = 0; i < CELL_RESOURCE_COUNT; i++)
		take(snapshot, slot, PLACE_RESOURCES + i, sign * request->demand[i]);
	return STATUS_OK;
}

size_t place_snapshot_cell_bytes(const struct place_snapshot *snapshot)
{
	size_t rows = (size_t)snapshot->words * 64, sets = SETS_MAX + PLACE_FILTER_COUNT + 1 +
													   sizeof(snapshot->scratch) / sizeof(snapshot->scratch[0]) +
													   snapshot->attributes.count;
	size_t row =
		PLACE_DIMENSION_COUNT * (sizeof(**snapshot->free) + sizeof(**snapshot->allowed) + sizeof(**snapshot->share)) +
		sizeof(*snapshot->balance) + sizeof(*snapshot->hash) + sizeof(*snapshot->tenants) + sizeof(*snapshot->sketch) +
		sizeof(*snapshot->total) + sizeof(*snapshot->least);
	return rows * row + sets * snapshot->words * sizeof(uint64_t);
}

size_t place_snapshot_hold_bytes(const struct place_snapshot *snapshot)
{
	return lodgings_bytes(&snapshot->participants) + lodgings_bytes(&snapshot->tenancies);
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
