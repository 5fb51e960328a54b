/* Deciding: every cell is judged, by sets of cells for the filters and by columns for the scores. */
#include "control/fabric/place/decide.h"
#include "control/fabric/place/columns.h"

static uint64_t mix(uint64_t word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9U;
	word = (word ^ word >> 27) * 0x94d049bb133111ebU;
	return word ^ word >> 31;
}

bool place_wins_tie(const struct place_snapshot *snapshot, uint32_t slot, uint32_t other)
{
	uint64_t vpa = place_first(snapshot)->vpa_hash;
	uint64_t one = mix(vpa ^ snapshot->hash[slot]), two = mix(vpa ^ snapshot->hash[other]);
	return one != two ? one > two : strcmp(snapshot->cold[slot].id, snapshot->cold[other].id) < 0;
}

static void choose(struct place_snapshot *snapshot, struct place_decision *decision)
{
	uint64_t *best = snapshot->scratch[0];
	decision->total = score_all(snapshot);
	columns_equal(best, snapshot->total, (int16_t)decision->total, snapshot->words);
	bits_and(best, snapshot->feasible, snapshot->words);
	for (uint32_t slot = bits_next(best, snapshot->words, 0); slot < snapshot->words * 64;
		 slot = bits_next(best, snapshot->words, slot + 1)) {
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
	lodgings_expect(&snapshot->participants, requests[0]->participant_hash);
	lodgings_expect(&snapshot->tenancies, requests[0]->tenant_hash);
	asked->size = sizes_find(snapshot, asked->need);
}

void place_decide(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	struct place_decision *decision)
{
	*decision = (struct place_decision){.slot = -1, .evaluated = snapshot->count};
	ask(snapshot, requests, count);
	filter_all(snapshot, decision);
	if (decision->feasible == 0)
		return;
	choose(snapshot, decision);
}
