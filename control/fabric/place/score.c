/* How good a cell is. Each score is written once, as "add weight times the part of every cell"; an explanation asks for
 * it with weight 1. All cells are summed up in one pass (columns_sum). */
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

/* What adds up to the scores asked for. */
struct tally {
	struct place_snapshot *snapshot;
	struct sum sum;
};

static void add_all(struct tally *tally, int value)
{
	tally->sum.base = (int16_t)(tally->sum.base + value);
}

static void add_column(struct tally *tally, const int16_t *column, int times)
{
	tally->sum.columns[tally->sum.column_count].column = column;
	tally->sum.columns[tally->sum.column_count++].times = (int16_t)times;
}

/* Room for one more set. When there is none, what is there so far becomes a column. */
static void make_room(struct tally *tally)
{
	int16_t *total = tally->snapshot->total;
	if (tally->sum.set_count < SUM_SETS_MAX)
		return;
	columns_sum(total, &tally->sum, NULL, tally->snapshot->words);
	tally->sum.base = 0;
	tally->sum.column_count = tally->sum.set_count = 0;
	add_column(tally, total, 1);
}

/* `value` for the members. */
static void add_set(struct tally *tally, const uint64_t *bits, int value)
{
	make_room(tally);
	tally->sum.sets[tally->sum.set_count].bits = bits;
	tally->sum.sets[tally->sum.set_count++].value = (int16_t)value;
}

/* An empty set, to be filled, for the next to be added. */
static uint64_t *spare_set(struct tally *tally)
{
	make_room(tally);
	uint64_t *set = tally->snapshot->spare[tally->sum.set_count];
	set_clear(tally->snapshot, set);
	return set;
}

/* The smallest share that stays free of what is asked for. */
static void add_headroom(struct tally *tally, int weight)
{
	bool is_pack = place_first(tally->snapshot)->strategy == PLACE_PACK;
	add_all(tally, is_pack ? weight * PART : 0);
	add_column(tally, tally->snapshot->asked.size->headroom, is_pack ? -weight : weight);
}

static void add_balance(struct tally *tally, int weight)
{
	add_column(tally, tally->snapshot->balance, weight);
}

static void add_affinity(struct tally *tally, int weight)
{
	const struct place_request *request = place_first(tally->snapshot);
	int soft = 0;
	for (size_t i = 0; i < request->affinity_count; i++)
		soft += !request->affinities[i].is_hard;
	for (size_t i = 0; soft > 0 && i < request->affinity_count; i++) {
		const struct affinity *term = &request->affinities[i];
		int value = PART / soft * weight;
		if (term->is_hard)
			continue;
		if (term->is_anti)
			add_all(tally, value);
		uint64_t *near = spare_set(tally);
		if (neighbours_find(tally->snapshot, request, term, near))
			add_set(tally, near, term->is_anti ? -value : value);
	}
}

/* The nearest of what is said counts: the site, its zone, a region. */
static void add_locality(struct tally *tally, int weight)
{
	struct place_snapshot *snapshot = tally->snapshot;
	const struct place_request *request = place_first(snapshot);
	const struct wants *const levels[] = {&request->near, &request->near, &request->preferred_regions};
	static const enum place_attribute kinds[] = {PLACE_SITE, PLACE_ZONE, PLACE_REGION};
	static const int parts[] = {PART, ZONE_PART, REGION_PART};
	uint64_t *nearer = snapshot->scratch[0];
	if (request->near.count == 0 && request->preferred_regions.count == 0)
		return;
	set_clear(snapshot, nearer);
	for (size_t level = 0; level < sizeof(levels) / sizeof(levels[0]); level++) {
		uint64_t *here = NULL;
		for (size_t i = 0; i < levels[level]->count; i++) {
			const struct want *want = &levels[level]->items[i];
			const uint64_t *set = want->kind == kinds[level] ? place_snapshot_set(snapshot, want) : NULL;
			if (set == NULL)
				continue;
			here = here == NULL ? spare_set(tally) : here;
			bits_or(here, set, snapshot->words);
		}
		if (here == NULL)
			continue;
		bits_and_not(here, nearer, snapshot->words);
		bits_or(nearer, here, snapshot->words);
		add_set(tally, here, parts[level] * weight);
	}
}

/* A domain with n of the participant's VPAs of this type is worth 1/(1 + n). */
static void add_spread(struct tally *tally, int weight)
{
	struct place_snapshot *snapshot = tally->snapshot;
	const struct place_request *request = place_first(snapshot);
	for (size_t i = 0; i < request->spread_count; i++) {
		enum place_key key = request->spreads[i].key;
		int whole = PART / (int)request->spread_count;
		uint64_t *seen = snapshot->scratch[0];
		uint32_t count;
		const struct held *held = place_held(snapshot, request, PLACE_OF_PARTICIPANT, &count);
		add_all(tally, whole * weight);
		set_clear(snapshot, seen);
		for (uint32_t at = 0; at < count; at++) {
			if (held[at].type != request->type || bits_has(seen, held[at].slot))
				continue;
			uint32_t its = key == PLACE_KEY_CELL ? held[at].slot : snapshot->cold[held[at].slot].keys[key];
			int value = whole / (1 + (int)neighbours_count(snapshot, request, key, its)) - whole;
			uint64_t *domain = spare_set(tally);
			neighbours_add_domain(snapshot, key, held[at].slot, domain);
			bits_or(seen, domain, snapshot->words);
			add_set(tally, domain, value * weight);
		}
	}
}

static void add_prefer_labels(struct tally *tally, int weight)
{
	const struct wants *wants = &place_first(tally->snapshot)->preferred_labels;
	for (size_t i = 0; i < wants->count; i++) {
		const uint64_t *set = place_snapshot_set(tally->snapshot, &wants->items[i]);
		if (set != NULL)
			add_set(tally, set, PART / (int)wants->count * weight);
	}
}

static void add_steady(struct tally *tally, int weight)
{
	const char *current = place_first(tally->snapshot)->current;
	int64_t slot = current == NULL ? -1 : place_snapshot_find(tally->snapshot, current);
	if (slot < 0)
		return;
	uint64_t *here = spare_set(tally);
	bits_put(here, (uint32_t)slot, true);
	add_set(tally, here, PART * weight);
}

static void add_health(struct tally *tally, int weight)
{
	add_all(tally, PART * weight);
	add_set(tally, tally->snapshot->sets[SET_DEGRADED], (DEGRADED_PART - PART) * weight);
}

/* Tenants that share many cells fall together; a tenant that is on very many cells overlaps with all anyway. */
static void add_tenant_overlap(struct tally *tally, int weight)
{
	struct place_snapshot *snapshot = tally->snapshot;
	const struct place_request *request = place_first(snapshot);
	uint32_t count, together = 0;
	const struct held *held = place_held(snapshot, request, PLACE_OF_TENANT, &count);
	add_all(tally, PART * weight);
	for (uint32_t i = 0; count <= OVERLAP_LODGINGS && i < count; i++)
		together |= snapshot->sketch[held[i].slot];
	together &= ~(1U << request->tenant_hash % SKETCH_SIZE);
	if (together == 0)
		return;
	columns_common(snapshot->overlap, snapshot->sketch, together, snapshot->words);
	add_column(tally, snapshot->overlap, -(PART / SKETCH_SIZE) * weight);
}

static void add_part(struct tally *tally, enum place_score score, int weight)
{
	static void (*const adders[])(struct tally * tally, int weight) = {
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
	adders[score](tally, weight);
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
		struct tally tally = {.snapshot = snapshot};
		add_part(&tally, (enum place_score)score, 1);
		columns_sum(snapshot->total, &tally.sum, NULL, snapshot->words);
		for (size_t i = 0; i < count; i++)
			parts[i][score] = snapshot->total[slots[i]];
	}
}

/* What cells say of themselves, as far as it is asked for. */
static void add_opinions(struct tally *tally)
{
	const struct place_request *request = place_first(tally->snapshot);
	for (size_t i = 0; i < request->weight_count; i++) {
		const int16_t *parts = place_opinion(tally->snapshot, &request->weights[i]);
		if (parts != NULL)
			add_column(tally, parts, request->weights[i].weight);
	}
}

/* The columns of a sum: what was summed up before, headroom, balance, overlap, and as many opinions as have weight. */
_Static_assert(4 + PLACE_WEIGHTS_MAX <= SUM_COLUMNS_MAX, "every column finds room");

int16_t score_all(struct place_snapshot *snapshot)
{
	enum place_strategy strategy = place_first(snapshot)->strategy;
	struct tally tally = {.snapshot = snapshot};
	for (int score = 0; score < PLACE_SCORE_COUNT; score++)
		add_part(&tally, (enum place_score)score, place_weight((enum place_score)score, strategy));
	add_opinions(&tally);
	return columns_sum(snapshot->total, &tally.sum, snapshot->feasible, snapshot->words);
}
