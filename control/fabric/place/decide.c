/* Deciding: every cell is judged, by sets of cells for the filters and by columns for the scores. Each score is written
 * once, as "add weight times the part of every cell"; an explanation asks for it with weight 1. */
#include <stdlib.h>
#include <string.h>

#include "control/fabric/place/bits.h"
#include "control/fabric/place/columns.h"
#include "control/fabric/place/snapshot.h"

enum { PART = 1000, DEGRADED_PART = 300, ZONE_PART = 800, REGION_PART = 600, OVERLAP_LODGINGS = 64 };

const char *place_filter_name(enum place_filter filter)
{
	static const char *const names[] = {
#define FILTER_NAME(name, text, wrong) text,
		PLACE_FILTER_LIST(FILTER_NAME)
#undef FILTER_NAME
	};
	return names[filter];
}

const char *place_score_name(enum place_score score)
{
	static const char *const names[] = {
#define SCORE_NAME(name, text, weight) text,
		PLACE_SCORE_LIST(SCORE_NAME)
#undef SCORE_NAME
	};
	return names[score];
}

/* --- sets */

static void clear(const struct place_snapshot *snapshot, uint64_t *set)
{
	memset(set, 0, snapshot->words * sizeof(*set));
}

static void fill(const struct place_snapshot *snapshot, uint64_t *set)
{
	memset(set, 0xff, snapshot->words * sizeof(*set));
}

/* One of them, when any is asked for. */
static void keep_any(struct place_snapshot *snapshot, const struct wants *wants, uint64_t *into)
{
	uint64_t *any = snapshot->scratch[0];
	if (wants->count == 0)
		return;
	clear(snapshot, any);
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
			clear(snapshot, into);
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

const struct held *place_held(
	const struct place_snapshot *snapshot, const struct place_request *request, enum place_whose whose, uint32_t *count)
{
	*count = 0;
	switch (whose) {
	case PLACE_OF_PARTICIPANT:
		return lodgings_of(&snapshot->participants, request->participant_hash, count);
	case PLACE_OF_TENANT:
		return lodgings_of(&snapshot->tenancies, request->tenant_hash, count);
	case PLACE_OF_STANDBY:
		return NULL;
	}
	return NULL;
}

static void add_domain(const struct place_snapshot *snapshot, enum place_key key, uint32_t slot, uint64_t *into)
{
	uint16_t attribute = snapshot->cold[slot].keys[key];
	if (key == PLACE_KEY_CELL)
		bits_put(into, slot, true);
	else if (attribute != ATTRIBUTE_NONE)
		bits_or(into, snapshot->attributes.items[attribute].bits, snapshot->words);
}

/* Where the VPAs of the term are. False: there are none. */
static bool find_neighbours(const struct place_snapshot *snapshot, const struct place_request *request,
	const struct affinity *term, uint64_t *into)
{
	uint32_t count;
	const struct held *held = place_held(snapshot, request, term->whose, &count);
	bool is_any = false;
	clear(snapshot, into);
	for (uint32_t i = 0; i < count; i++) {
		if ((term->types >> held[i].type & 1U) != 0) {
			add_domain(snapshot, term->key, held[i].slot, into);
			is_any = true;
		}
	}
	return is_any;
}

static void keep_near(struct place_snapshot *snapshot, const struct place_request *request, uint64_t *into)
{
	for (size_t i = 0; i < request->affinity_count; i++) {
		const struct affinity *term = &request->affinities[i];
		if (!term->is_hard || !find_neighbours(snapshot, request, term, snapshot->scratch[0]))
			continue; /* the first of them may go anywhere */
		if (term->is_anti)
			bits_and_not(into, snapshot->scratch[0], snapshot->words);
		else
			bits_and(into, snapshot->scratch[0], snapshot->words);
	}
}

/* How many VPAs of the participant and type are in the domain that is `attribute` (of the cell itself for
 * PLACE_KEY_CELL). */
static uint32_t count_in(
	const struct place_snapshot *snapshot, const struct place_request *request, enum place_key key, uint32_t domain)
{
	uint32_t count, found = 0;
	const struct held *held = place_held(snapshot, request, PLACE_OF_PARTICIPANT, &count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t its = key == PLACE_KEY_CELL ? held[i].slot : snapshot->cold[held[i].slot].keys[key];
		found += held[i].type == request->type && its == domain ? held[i].count : 0;
	}
	return found;
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
		uint32_t count = count_in(snapshot, request, key, domain++);
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
		clear(snapshot, even);
		for (; (domain = next_domain(snapshot, term->key, eligible, domain)) != UINT32_MAX; domain++) {
			if (count_in(snapshot, request, term->key, domain) + 1 > least + (uint64_t)term->max_skew)
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
	clear(snapshot, snapshot->scratch[0]);
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
		fill(snapshot, snapshot->ok[filter]);
	}
	return snapshot->ok[filter];
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
	bits_and(passing(snapshot, PLACE_FILTER_STATE), snapshot->sets[SET_OPEN], snapshot->words);
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++) {
		if ((request->components >> type & 1U) != 0)
			bits_and(snapshot->ok[PLACE_FILTER_STATE], snapshot->sets[SET_READY + type], snapshot->words);
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
	for (int i = from; i < to; i++) {
		uint64_t *fits = snapshot->scratch[0];
		if (snapshot->asked.need[i] == 0)
			continue;
		fill(snapshot, fits);
		columns_keep_at_least(fits, snapshot->free[i], snapshot->asked.need[i], snapshot->words);
		bits_and(passing(snapshot, filter), fits, snapshot->words);
		exhausted[i] = columns_count(snapshot->feasible, fits, snapshot->words);
	}
}

static void filter_all(struct place_snapshot *snapshot, struct place_decision *decision)
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
		decision->filtered[filter] = columns_count(alive, snapshot->ok[filter], snapshot->words);
		decision->feasible -= decision->filtered[filter];
		bits_and(alive, snapshot->ok[filter], snapshot->words);
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

/* --- scores */

static const struct place_request *first_of(const struct place_snapshot *snapshot)
{
	return snapshot->asked.requests[0]; /* the others follow it, whatever they would prefer */
}

static void add_all(const struct place_snapshot *snapshot, int value, int16_t *column)
{
	column_add_all(column, (int16_t)value, snapshot->words);
}

/* The smallest share that stays free of what is asked for. */
static void add_headroom(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	bool is_pack = first_of(snapshot)->strategy == PLACE_PACK;
	struct columns columns = {.count = 0};
	for (int dimension = 0; dimension < PLACE_DIMENSION_COUNT; dimension++) {
		if (snapshot->asked.need[dimension] == 0)
			continue;
		columns.left[columns.count] = snapshot->free[dimension];
		columns.share[columns.count] = snapshot->share[dimension];
		columns.need[columns.count++] = snapshot->asked.need[dimension];
	}
	columns_least(snapshot->least, &columns, snapshot->words);
	column_add_part(column, snapshot->least, PART, (int16_t)(is_pack ? -weight : weight),
		(int16_t)(is_pack ? weight * PART : 0), snapshot->words);
}

static void add_balance(struct place_snapshot *snapshot, int weight, int16_t *restrict column)
{
	const int16_t *restrict balance = snapshot->balance;
	for (uint32_t i = 0; i < snapshot->words * 64; i++)
		column[i] = (int16_t)(column[i] + balance[i] * weight);
}

static void add_affinity(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct place_request *request = first_of(snapshot);
	int soft = 0;
	for (size_t i = 0; i < request->affinity_count; i++)
		soft += !request->affinities[i].is_hard;
	for (size_t i = 0; soft > 0 && i < request->affinity_count; i++) {
		const struct affinity *term = &request->affinities[i];
		int value = PART / soft * weight;
		if (term->is_hard)
			continue;
		bool is_any = find_neighbours(snapshot, request, term, snapshot->scratch[0]);
		if (term->is_anti)
			add_all(snapshot, value, column);
		if (is_any)
			column_add_where(column, snapshot->scratch[0], (int16_t)(term->is_anti ? -value : value), snapshot->words);
	}
}

/* The nearest of what is said counts: the site, its zone, a region. */
static void add_locality(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct place_request *request = first_of(snapshot);
	const struct wants *const levels[] = {&request->near, &request->near, &request->preferred_regions};
	static const enum place_attribute kinds[] = {PLACE_SITE, PLACE_ZONE, PLACE_REGION};
	static const int parts[] = {PART, ZONE_PART, REGION_PART};
	uint64_t *rest = snapshot->scratch[0], *here = snapshot->scratch[1];
	if (request->near.count == 0 && request->preferred_regions.count == 0)
		return;
	fill(snapshot, rest);
	for (size_t level = 0; level < sizeof(levels) / sizeof(levels[0]); level++) {
		clear(snapshot, here);
		for (size_t i = 0; i < levels[level]->count; i++) {
			const struct want *want = &levels[level]->items[i];
			const uint64_t *set = want->kind == kinds[level] ? place_snapshot_set(snapshot, want) : NULL;
			if (set != NULL)
				bits_or(here, set, snapshot->words);
		}
		bits_and(here, rest, snapshot->words);
		column_add_where(column, here, (int16_t)(parts[level] * weight), snapshot->words);
		bits_and_not(rest, here, snapshot->words);
	}
}

/* A domain with n of the participant's VPAs of this type is worth 1/(1 + n). */
static void add_spread(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct place_request *request = first_of(snapshot);
	for (size_t i = 0; i < request->spread_count; i++) {
		enum place_key key = request->spreads[i].key;
		int whole = PART / (int)request->spread_count;
		uint64_t *seen = snapshot->scratch[0], *domain = snapshot->scratch[1];
		uint32_t count;
		const struct held *held = place_held(snapshot, request, PLACE_OF_PARTICIPANT, &count);
		add_all(snapshot, whole * weight, column);
		clear(snapshot, seen);
		for (uint32_t at = 0; at < count; at++) {
			if (held[at].type != request->type || bits_has(seen, held[at].slot))
				continue;
			uint32_t its = key == PLACE_KEY_CELL ? held[at].slot : snapshot->cold[held[at].slot].keys[key];
			int value = whole / (1 + (int)count_in(snapshot, request, key, its)) - whole;
			clear(snapshot, domain);
			add_domain(snapshot, key, held[at].slot, domain);
			column_add_where(column, domain, (int16_t)(value * weight), snapshot->words);
			bits_or(seen, domain, snapshot->words);
		}
	}
}

static void add_prefer_labels(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct wants *wants = &first_of(snapshot)->preferred_labels;
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(snapshot, &wants->items[i]);
		if (set != NULL)
			column_add_where(column, set, (int16_t)(PART / (int)wants->count * weight), snapshot->words);
	}
}

static void add_steady(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const char *current = first_of(snapshot)->current;
	int64_t slot = current == NULL ? -1 : place_snapshot_find(snapshot, current);
	if (slot >= 0)
		column[slot] = (int16_t)(column[slot] + PART * weight);
}

static void add_health(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	add_all(snapshot, PART * weight, column);
	column_add_where(column, snapshot->sets[SET_DEGRADED], (int16_t)((DEGRADED_PART - PART) * weight), snapshot->words);
}

/* Tenants that share many cells fall together; a tenant that is on very many cells overlaps with all anyway. */
static void add_tenant_overlap(struct place_snapshot *snapshot, int weight, int16_t *restrict column)
{
	const struct place_request *request = first_of(snapshot);
	const uint32_t *restrict sketch = snapshot->sketch;
	uint32_t count, together = 0;
	const struct held *held = place_held(snapshot, request, PLACE_OF_TENANT, &count);
	add_all(snapshot, PART * weight, column);
	for (uint32_t i = 0; count <= OVERLAP_LODGINGS && i < count; i++)
		together |= snapshot->sketch[held[i].slot];
	together &= ~(1U << request->tenant_hash % SKETCH_SIZE);
	if (together == 0)
		return;
	for (uint32_t i = 0; i < snapshot->words * 64; i++) {
		uint32_t both = sketch[i] & together;
		both -= both >> 1 & 0x55555555U;
		both = (both & 0x33333333U) + (both >> 2 & 0x33333333U);
		both = (both + (both >> 4)) & 0x0f0f0f0fU;
		both += both >> 8;
		both = (both + (both >> 16)) & 63U;
		column[i] = (int16_t)(column[i] - (int16_t)both * (PART / SKETCH_SIZE) * weight);
	}
}

static void add_part(struct place_snapshot *snapshot, enum place_score score, int weight, int16_t *column)
{
	static void (*const adders[])(struct place_snapshot * snapshot, int weight, int16_t *column) = {
		[PLACE_SCORE_HEADROOM] = add_headroom,
		[PLACE_SCORE_BALANCE] = add_balance,
		[PLACE_SCORE_AFFINITY] = add_affinity,
		[PLACE_SCORE_LOCALITY] = add_locality,
		[PLACE_SCORE_SPREAD] = add_spread,
		[PLACE_SCORE_PREFER_LABELS] = add_prefer_labels,
		[PLACE_SCORE_STEADY] = add_steady,
		[PLACE_SCORE_HEALTH] = add_health,
		[PLACE_SCORE_TENANT_OVERLAP] = add_tenant_overlap,
	};
	adders[score](snapshot, weight, column);
}

/* A column holds the sum of all weights, times 1000, in 15 bits. */
enum {
#define WEIGHT_BEFORE(name, text, weight) WEIGHT_OF_##name = (weight),
	PLACE_SCORE_LIST(WEIGHT_BEFORE)
#undef WEIGHT_BEFORE
};
_Static_assert((WEIGHT_OF_HEADROOM + WEIGHT_OF_BALANCE + WEIGHT_OF_AFFINITY + WEIGHT_OF_LOCALITY + WEIGHT_OF_SPREAD +
				   WEIGHT_OF_PREFER_LABELS + WEIGHT_OF_STEADY + WEIGHT_OF_HEALTH + WEIGHT_OF_TENANT_OVERLAP) *
					   PART <=
				   INT16_MAX,
	"the total of all scores fits its column");

int place_weight(enum place_score score, enum place_strategy strategy)
{
	static const int weights[] = {
#define WEIGHT(name, text, weight) weight,
		PLACE_SCORE_LIST(WEIGHT)
#undef WEIGHT
	};
	/* packing fills cells up, so idle ones have no merit; balanced trusts the measured load more than what is booked */
	if (score == PLACE_SCORE_BALANCE && strategy == PLACE_PACK)
		return 0;
	if (strategy == PLACE_BALANCED && (score == PLACE_SCORE_BALANCE || score == PLACE_SCORE_HEADROOM))
		return weights[PLACE_SCORE_BALANCE + PLACE_SCORE_HEADROOM - score];
	return weights[score];
}

void place_parts(struct place_snapshot *snapshot, const uint32_t *slots, size_t count, int (*parts)[PLACE_SCORE_COUNT])
{
	for (int score = 0; score < PLACE_SCORE_COUNT; score++) {
		memset(snapshot->total, 0, (size_t)snapshot->words * 64 * sizeof(*snapshot->total));
		add_part(snapshot, (enum place_score)score, 1, snapshot->total);
		for (size_t i = 0; i < count; i++)
			parts[i][score] = snapshot->total[slots[i]];
	}
}

/* --- choosing */

static uint64_t mix(uint64_t word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9U;
	word = (word ^ word >> 27) * 0x94d049bb133111ebU;
	return word ^ word >> 31;
}

bool place_wins_tie(const struct place_snapshot *snapshot, uint32_t slot, uint32_t other)
{
	uint64_t vpa = first_of(snapshot)->vpa_hash;
	uint64_t one = mix(vpa ^ snapshot->hash[slot]), two = mix(vpa ^ snapshot->hash[other]);
	return one != two ? one > two : strcmp(snapshot->cold[slot].id, snapshot->cold[other].id) < 0;
}

static void choose(struct place_snapshot *snapshot, struct place_decision *decision)
{
	uint32_t words = snapshot->words;
	column_keep_where(snapshot->total, snapshot->feasible, words);
	int16_t best = column_largest(snapshot->total, words);
	if (best < 0)
		return;
	decision->total = best;
	for (uint32_t slot = column_find(snapshot->total, best, words, 0); slot < words * 64;
		 slot = column_find(snapshot->total, best, words, slot + 1)) {
		decision->is_tie = decision->slot >= 0;
		if (decision->slot < 0 || place_wins_tie(snapshot, slot, (uint32_t)decision->slot))
			decision->slot = slot;
	}
}

static void ask(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count)
{
	struct asked *asked = &snapshot->asked;
	memset(asked->need, 0, sizeof(asked->need));
	asked->count = count;
	for (size_t i = 0; i < count; i++) {
		asked->requests[i] = requests[i];
		asked->need[PLACE_VPAS]++;
		asked->need[PLACE_TYPES + requests[i]->type]++;
		for (int resource = 0; resource < CELL_RESOURCE_COUNT; resource++) {
			int64_t sum = asked->need[PLACE_RESOURCES + resource] + requests[i]->demand[resource];
			asked->need[PLACE_RESOURCES + resource] = sum > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)sum;
		}
	}
}

void place_decide(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	struct place_decision *decision)
{
	*decision = (struct place_decision){.slot = -1, .evaluated = snapshot->count};
	ask(snapshot, requests, count);
	filter_all(snapshot, decision);
	if (decision->feasible == 0)
		return;
	memset(snapshot->total, 0, (size_t)snapshot->words * 64 * sizeof(*snapshot->total));
	for (int score = 0; score < PLACE_SCORE_COUNT; score++)
		add_part(snapshot, (enum place_score)score, place_weight((enum place_score)score, requests[0]->strategy),
			snapshot->total);
	choose(snapshot, decision);
}
