/* Which cells pass: each filter is a set of cells, and a cell is counted under the first it does not pass. */
#include "control/fabric/place/columns.h"
#include "control/fabric/place/decide.h"

const char *place_filter_name(enum place_filter filter)
{
	static const char *const names[] = {
#define FILTER_NAME(name, text, wrong) text,
		PLACE_FILTER_LIST(FILTER_NAME)
#undef FILTER_NAME
	};
	return names[filter];
}

/* --- sets */

/* One of them, when any is asked for. */
static void keep_any(struct place_snapshot *snapshot, const struct wants *wants, uint64_t *into)
{
	uint64_t *any = snapshot->scratch[0];
	if (wants->count == 0)
		return;
	set_clear(snapshot, any);
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(snapshot, &wants->items[i]);
		if (set != NULL)
			bits_or(any, set, snapshot->words);
	}
	bits_and(into, any, snapshot->words);
}

static void keep_all(struct place_snapshot *snapshot, const struct wants *wants, uint64_t *into)
{
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(snapshot, &wants->items[i]);
		if (set == NULL)
			set_clear(snapshot, into);
		else
			bits_and(into, set, snapshot->words);
	}
}

static void keep_none(struct place_snapshot *snapshot, const struct wants *wants, uint64_t *into)
{
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(snapshot, &wants->items[i]);
		if (set != NULL)
			bits_and_not(into, set, snapshot->words);
	}
}

/* --- affinity and spread */

static void keep_near(struct place_snapshot *snapshot, const struct place_request *request, uint64_t *into)
{
	for (size_t i = 0; i < request->affinity_count; i++) {
		const struct affinity *term = &request->affinities[i];
		if (!term->is_hard || !neighbours_find(snapshot, request, term, snapshot->scratch[0]))
			continue; /* the first of them may go anywhere */
		if (term->is_anti)
			bits_and_not(into, snapshot->scratch[0], snapshot->words);
		else
			bits_and(into, snapshot->scratch[0], snapshot->words);
	}
}

/* Walks the domains of a key that have a cell among `eligible`: UINT32_MAX at the end. */
static uint32_t next_domain(
	const struct place_snapshot *snapshot, enum place_key key, const uint64_t *eligible, uint32_t from)
{
	if (key == PLACE_KEY_CELL) {
		uint32_t slot = bits_next(eligible, snapshot->words, from);
		return slot == snapshot->words * 64 ? UINT32_MAX : slot;
	}
	for (uint32_t i = from; i < snapshot->attributes.count; i++) {
		const struct attribute *attribute = &snapshot->attributes.items[i];
		for (uint32_t word = 0; attribute->kind == place_key_attribute(key) && word < snapshot->words; word++) {
			if ((attribute->bits[word] & eligible[word]) != 0)
				return i;
		}
	}
	return UINT32_MAX;
}

static uint32_t fewest(const struct place_snapshot *snapshot, const struct place_request *request, enum place_key key,
	const uint64_t *eligible)
{
	uint32_t least = UINT32_MAX, domain = 0;
	while (least > 0 && domain != UINT32_MAX && (domain = next_domain(snapshot, key, eligible, domain)) != UINT32_MAX) {
		uint32_t count = neighbours_count(snapshot, request, key, domain++);
		least = count < least ? count : least;
	}
	return least == UINT32_MAX ? 0 : least;
}

static void keep_even(
	struct place_snapshot *snapshot, const struct place_request *request, const uint64_t *eligible, uint64_t *into)
{
	for (size_t i = 0; i < request->spread_count; i++) {
		const struct spread *term = &request->spreads[i];
		if (!term->is_hard)
			continue;
		uint64_t *even = snapshot->scratch[0];
		uint32_t least = fewest(snapshot, request, term->key, eligible), domain = 0;
		set_clear(snapshot, even);
		for (; (domain = next_domain(snapshot, term->key, eligible, domain)) != UINT32_MAX; domain++) {
			if (neighbours_count(snapshot, request, term->key, domain) + 1 > least + (uint64_t)term->max_skew)
				continue;
			if (term->key == PLACE_KEY_CELL)
				bits_put(even, domain, true);
			else
				bits_or(even, snapshot->attributes.items[domain].bits, snapshot->words);
		}
		bits_and(into, even, snapshot->words);
	}
}

/* --- filters */

bool place_tolerates(const struct place_request *request, struct text taint)
{
	for (size_t i = 0; i < request->toleration_count; i++) {
		struct text key = text_of(request->tolerations[i].key);
		if (!text_starts_with(taint, key) || taint.length == key.length || taint.bytes[key.length] != '=')
			continue;
		const char *value = request->tolerations[i].value;
		if (value == NULL || text_equals(text_slice(taint, key.length + 1, taint.length), text_of(value)))
			return true;
	}
	return false;
}

static void filter_taints(struct place_snapshot *snapshot, const struct place_request *request, uint64_t *into)
{
	for (uint32_t i = 0; i < snapshot->taint_count; i++) {
		const struct attribute *taint = &snapshot->attributes.items[snapshot->taints[i]];
		if (!place_tolerates(request, text_of(taint->text)))
			bits_and_not(into, taint->bits, snapshot->words);
	}
}

static void filter_location(struct place_snapshot *snapshot, const struct place_request *request, uint64_t *into)
{
	keep_any(snapshot, &request->regions, into);
	keep_any(snapshot, &request->providers, into);
	keep_any(snapshot, &request->zones, into);
	keep_any(snapshot, &request->sites, into);
	keep_any(snapshot, &request->types, into);
	if (request->cell == NULL)
		return;
	int64_t slot = place_snapshot_find(snapshot, request->cell);
	set_clear(snapshot, snapshot->scratch[0]);
	if (slot >= 0)
		bits_put(snapshot->scratch[0], (uint32_t)slot, true);
	bits_and(into, snapshot->scratch[0], snapshot->words);
}

static void filter_versions(struct place_snapshot *snapshot, const struct place_request *request, uint64_t *into)
{
	if (request->class != PLACE_PINNED) /* a cell that may be away for days is never failed over to */
		bits_and_not(into, snapshot->sets[SET_INTERMITTENT], snapshot->words);
	for (uint32_t slot = 0; request->min_protocol > 0 && slot < snapshot->words * 64; slot++) {
		if (snapshot->cold[slot].protocol < request->min_protocol)
			bits_put(into, slot, false);
	}
}

/* The set of those that pass; before its first use everybody does. */
static uint64_t *passing(struct place_snapshot *snapshot, enum place_filter filter)
{
	if ((snapshot->asked.filters >> filter & 1U) == 0) {
		snapshot->asked.filters |= 1U << filter;
		set_fill(snapshot, snapshot->ok[filter]);
	}
	return snapshot->ok[filter];
}

/* Of those that pass, only these. */
static void keep(struct place_snapshot *snapshot, enum place_filter filter, const uint64_t *set)
{
	if ((snapshot->asked.filters >> filter & 1U) != 0) {
		bits_and(snapshot->ok[filter], set, snapshot->words);
		return;
	}
	snapshot->asked.filters |= 1U << filter;
	memcpy(snapshot->ok[filter], set, snapshot->words * sizeof(*set));
}

static bool is_located(const struct place_request *request)
{
	return request->cell != NULL || request->regions.count + request->providers.count + request->zones.count +
											request->sites.count + request->types.count >
										0;
}

/* What does not depend on what is booked. */
static void filter_one(struct place_snapshot *snapshot, const struct place_request *request)
{
	keep(snapshot, PLACE_FILTER_STATE, snapshot->sets[SET_OPEN]);
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++) {
		if ((request->components >> type & 1U) != 0)
			keep(snapshot, PLACE_FILTER_STATE, snapshot->sets[SET_READY + type]);
	}
	if (request->jurisdictions.count + request->compliance.count > 0) {
		keep_any(snapshot, &request->jurisdictions, passing(snapshot, PLACE_FILTER_RESIDENCY));
		keep_all(snapshot, &request->compliance, passing(snapshot, PLACE_FILTER_RESIDENCY));
	}
	if (is_located(request))
		filter_location(snapshot, request, passing(snapshot, PLACE_FILTER_LOCATION));
	if (request->labels.count + request->forbidden.count > 0) {
		keep_all(snapshot, &request->labels, passing(snapshot, PLACE_FILTER_LABELS));
		keep_none(snapshot, &request->forbidden, passing(snapshot, PLACE_FILTER_LABELS));
	}
	if (snapshot->taint_count > 0)
		filter_taints(snapshot, request, passing(snapshot, PLACE_FILTER_TAINTS));
	if (request->affinity_count > 0)
		keep_near(snapshot, request, passing(snapshot, PLACE_FILTER_AFFINITY));
	if (request->profiles.count > 0)
		keep_all(snapshot, &request->profiles, passing(snapshot, PLACE_FILTER_PROFILES));
	if (request->class != PLACE_PINNED || request->min_protocol > 0)
		filter_versions(snapshot, request, passing(snapshot, PLACE_FILTER_VERSIONS));
}

static bool has_hard_spread(const struct place_request *request)
{
	for (size_t i = 0; i < request->spread_count; i++) {
		if (request->spreads[i].is_hard)
			return true;
	}
	return false;
}

static void filter_spread(struct place_snapshot *snapshot)
{
	uint64_t *eligible = snapshot->scratch[1];
	for (size_t i = 0; i < snapshot->asked.count; i++) {
		if (!has_hard_spread(snapshot->asked.requests[i]))
			continue;
		memcpy(eligible, snapshot->sets[SET_PRESENT], snapshot->words * sizeof(*eligible));
		for (unsigned filter = PLACE_FILTER_STATE; filter <= PLACE_FILTER_TAINTS; filter++) {
			if ((snapshot->asked.filters >> filter & 1U) != 0)
				bits_and(eligible, snapshot->ok[filter], snapshot->words);
		}
		keep_even(snapshot, snapshot->asked.requests[i], eligible, passing(snapshot, PLACE_FILTER_AFFINITY));
	}
}

/* Also counts, among those that passed what comes before, in which dimension room is missing. */
static void filter_room(
	struct place_snapshot *snapshot, enum place_filter filter, int from, int to, uint32_t *exhausted)
{
	const struct size *size = snapshot->asked.size;
	const uint64_t *fits = size->sets[filter == PLACE_FILTER_CAPACITY ? SIZE_CAPACITY : SIZE_RESOURCES];
	keep(snapshot, filter, fits);
	if (columns_count(snapshot->feasible, fits, snapshot->words) == 0)
		return;
	for (int i = from; i < to; i++) {
		if (snapshot->asked.need[i] > 0)
			exhausted[i] = columns_count(snapshot->feasible, size->sets[SIZE_FITS + i], snapshot->words);
	}
}

void filter_all(struct place_snapshot *snapshot, struct place_decision *decision)
{
	uint64_t *alive = snapshot->feasible;
	snapshot->asked.filters = 0;
	for (size_t i = 0; i < snapshot->asked.count; i++)
		filter_one(snapshot, snapshot->asked.requests[i]);
	filter_spread(snapshot);
	memcpy(alive, snapshot->sets[SET_PRESENT], snapshot->words * sizeof(*alive));
	decision->feasible = snapshot->count;
	for (unsigned filter = 0; filter < PLACE_FILTER_COUNT; filter++) {
		if (filter == PLACE_FILTER_CAPACITY)
			filter_room(snapshot, PLACE_FILTER_CAPACITY, 0, PLACE_RESOURCES, decision->exhausted);
		if (filter == PLACE_FILTER_RESOURCES)
			filter_room(snapshot, PLACE_FILTER_RESOURCES, PLACE_RESOURCES, PLACE_DIMENSION_COUNT, decision->exhausted);
		if ((snapshot->asked.filters >> filter & 1U) == 0)
			continue;
		decision->filtered[filter] = columns_keep(alive, snapshot->ok[filter], snapshot->words);
		decision->feasible -= decision->filtered[filter];
	}
}

uint32_t place_mask(const struct place_snapshot *snapshot, uint32_t slot)
{
	uint32_t mask = 0;
	for (unsigned filter = 0; filter < PLACE_FILTER_COUNT; filter++) {
		bool counts = (snapshot->asked.filters >> filter & 1U) != 0;
		mask |= counts && !bits_has(snapshot->ok[filter], slot) ? 1U << filter : 0;
	}
	return mask;
}
