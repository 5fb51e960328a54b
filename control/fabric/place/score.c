/* How good a cell is. Each score is written once, as "add weight times the part of every cell"; an explanation asks for
 * it with weight 1. */
#include "control/fabric/place/columns.h"
#include "control/fabric/place/decide.h"

enum { PART = 1000, DEGRADED_PART = 300, ZONE_PART = 800, REGION_PART = 600 };

const char *place_score_name(enum place_score score)
{
	static const char *const names[] = {
#define SCORE_NAME(name, text, weight) text,
		PLACE_SCORE_LIST(SCORE_NAME)
#undef SCORE_NAME
	};
	return names[score];
}

static void add_all(const struct place_snapshot *snapshot, int value, int16_t *column)
{
	column_add_all(column, (int16_t)value, snapshot->words);
}

/* The smallest share that stays free of what is asked for. */
static void add_headroom(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	bool is_pack = place_first(snapshot)->strategy == PLACE_PACK;
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
	const struct place_request *request = place_first(snapshot);
	int soft = 0;
	for (size_t i = 0; i < request->affinity_count; i++)
		soft += !request->affinities[i].is_hard;
	for (size_t i = 0; soft > 0 && i < request->affinity_count; i++) {
		const struct affinity *term = &request->affinities[i];
		int value = PART / soft * weight;
		if (term->is_hard)
			continue;
		bool is_any = neighbours_find(snapshot, request, term, snapshot->scratch[0]);
		if (term->is_anti)
			add_all(snapshot, value, column);
		if (is_any)
			column_add_where(column, snapshot->scratch[0], (int16_t)(term->is_anti ? -value : value), snapshot->words);
	}
}

/* The nearest of what is said counts: the site, its zone, a region. */
static void add_locality(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct place_request *request = place_first(snapshot);
	const struct wants *const levels[] = {&request->near, &request->near, &request->preferred_regions};
	static const enum place_attribute kinds[] = {PLACE_SITE, PLACE_ZONE, PLACE_REGION};
	static const int parts[] = {PART, ZONE_PART, REGION_PART};
	uint64_t *rest = snapshot->scratch[0], *here = snapshot->scratch[1];
	if (request->near.count == 0 && request->preferred_regions.count == 0)
		return;
	set_fill(snapshot, rest);
	for (size_t level = 0; level < sizeof(levels) / sizeof(levels[0]); level++) {
		set_clear(snapshot, here);
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
	const struct place_request *request = place_first(snapshot);
	for (size_t i = 0; i < request->spread_count; i++) {
		enum place_key key = request->spreads[i].key;
		int whole = PART / (int)request->spread_count;
		uint64_t *seen = snapshot->scratch[0], *domain = snapshot->scratch[1];
		uint32_t count;
		const struct held *held = place_held(snapshot, request, PLACE_OF_PARTICIPANT, &count);
		add_all(snapshot, whole * weight, column);
		set_clear(snapshot, seen);
		for (uint32_t at = 0; at < count; at++) {
			if (held[at].type != request->type || bits_has(seen, held[at].slot))
				continue;
			uint32_t its = key == PLACE_KEY_CELL ? held[at].slot : snapshot->cold[held[at].slot].keys[key];
			int value = whole / (1 + (int)neighbours_count(snapshot, request, key, its)) - whole;
			set_clear(snapshot, domain);
			neighbours_add_domain(snapshot, key, held[at].slot, domain);
			column_add_where(column, domain, (int16_t)(value * weight), snapshot->words);
			bits_or(seen, domain, snapshot->words);
		}
	}
}

static void add_prefer_labels(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const struct wants *wants = &place_first(snapshot)->preferred_labels;
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(snapshot, &wants->items[i]);
		if (set != NULL)
			column_add_where(column, set, (int16_t)(PART / (int)wants->count * weight), snapshot->words);
	}
}

static void add_steady(struct place_snapshot *snapshot, int weight, int16_t *column)
{
	const char *current = place_first(snapshot)->current;
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
	const struct place_request *request = place_first(snapshot);
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
_Static_assert(
	(WEIGHT_OF_HEADROOM + WEIGHT_OF_BALANCE + WEIGHT_OF_AFFINITY + WEIGHT_OF_LOCALITY + WEIGHT_OF_SPREAD +
		WEIGHT_OF_PREFER_LABELS + WEIGHT_OF_STEADY + WEIGHT_OF_HEALTH + WEIGHT_OF_TENANT_OVERLAP + PLACE_WEIGHTS_MAX) *
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

/* What cells say of themselves, as far as it is asked for. */
static void add_opinions(struct place_snapshot *snapshot, int16_t *restrict column)
{
	const struct place_request *request = place_first(snapshot);
	for (size_t i = 0; i < request->weight_count; i++) {
		const int16_t *restrict parts = place_opinion(snapshot, &request->weights[i]);
		int weight = request->weights[i].weight;
		for (uint32_t row = 0; parts != NULL && row < snapshot->words * 64; row++)
			column[row] = (int16_t)(column[row] + parts[row] * weight);
	}
}

void score_all(struct place_snapshot *snapshot)
{
	memset(snapshot->total, 0, (size_t)snapshot->words * 64 * sizeof(*snapshot->total));
	for (int score = 0; score < PLACE_SCORE_COUNT; score++)
		add_part(snapshot, (enum place_score)score,
			place_weight((enum place_score)score, place_first(snapshot)->strategy), snapshot->total);
	add_opinions(snapshot, snapshot->total);
}
