/* A snapshot as it was at a version of some process, made again from the journal in the records of decisions
 * (journal.h). On the fabric's worker. */
#pragma once

#include "control/fabric/place/place.h"
#include "control/state/state.h"

struct recall_wish {
	int64_t process;
	uint64_t version;
	const struct place_request *const *requests; /* what was decided of then; they outlive the call */
	size_t count;
	struct text record; /* of the decision */
	struct text base;   /* as its record says; absent: nothing */
};
/* `done` once, on a later turn: OK with a snapshot of the caller's, on which only decisions may be made (those of the
 * participants and tenants that were decided of at that version); NOT_FOUND: what is stored does not reach so far, or
 * is no journal; else what the store says. */
void recall(struct state *state, const struct recall_wish *wish,
	void (*done)(void *context, enum status status, struct place_snapshot *snapshot), void *context);
