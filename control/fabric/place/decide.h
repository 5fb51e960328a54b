/* What filters and scores have in common: sets of cells, and where a participant's VPAs are. For place/ alone. */
#pragma once

#include <string.h>

#include "control/fabric/place/bits.h"
#include "control/fabric/place/snapshot.h"

static inline void set_clear(const struct place_snapshot *snapshot, uint64_t *set)
{
	memset(set, 0, snapshot->words * sizeof(*set));
}

static inline void set_fill(const struct place_snapshot *snapshot, uint64_t *set)
{
	memset(set, 0xff, snapshot->words * sizeof(*set));
}

/* --- neighbours.c */

/* Adds the domain of this key that the cell at `slot` is in. */
void neighbours_add_domain(const struct place_snapshot *snapshot, enum place_key key, uint32_t slot, uint64_t *into);
/* Where the VPAs of the term are. False: there are none. */
bool neighbours_find(const struct place_snapshot *snapshot, const struct place_request *request,
	const struct affinity *term, uint64_t *into);
/* How many VPAs of the participant and type are in the domain that is `attribute` (of the cell itself for
 * PLACE_KEY_CELL). */
uint32_t neighbours_count(
	const struct place_snapshot *snapshot, const struct place_request *request, enum place_key key, uint32_t domain);

/* --- filter.c: of what was asked: the feasible set, and what is counted. */
void filter_all(struct place_snapshot *snapshot, struct place_decision *decision);

/* --- score.c */

/* The request that scores are of: the others follow it, whatever they would prefer. */
static inline const struct place_request *place_first(const struct place_snapshot *snapshot)
{
	return snapshot->asked.requests[0];
}
/* The sum of all scores of every cell that is feasible, in `total`, -1 of the others; returns the largest. */
int16_t score_all(struct place_snapshot *snapshot);
