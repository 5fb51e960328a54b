/* Placement that holds: decides for a group of VPAs on the snapshot, reserves, and stores the decision together with
 * what the caller adds, in one transaction; concurrent placers (replicas) never book a slot twice. On the fabric's
 * worker.
 *
 * Records: CELL_CAPACITY (id: cell id) {"epoch", "accepting", "used":{...}} is changed by compare-and-set alone;
 * DECISION (id) {request, snapshot, chosen, explain}. */
#pragma once

#include "control/fabric/cells.h"
#include "control/fabric/place/place.h"

struct placer;
enum status placer_open(struct state *state, struct cells *cells, struct placer **placer) MUST_CHECK;
void placer_free(struct placer *placer);

/* All or nothing for the group (a participant's VPAs). `build` adds the caller's records for these choices (cells by
 * choices[i]) to the transaction; it is called again with other choices when another placer was faster. False: give up,
 * `done` gets INTERNAL. `done` once: OK; NOT_FOUND: no cell fits, `explain` says why in one line of text for people and
 * as JSON (control.md 2.7.6); else what the store says. */
struct placement {
	const struct place_request *requests;
	size_t count; /* 1 .. 64 */
	bool (*build)(void *context, const struct cell_record *const *choices, struct transaction *transaction);
	void (*done)(void *context, enum status status, struct text decision_id, struct text explain, struct text line);
	void *context;
};
/* The requests are copied. */
void placer_place(struct placer *placer, const struct placement *placement);
/* Gives back what VPAs held, within a transaction of the caller's that removes them: capacity follows the commit.
 * False: out of memory. */
bool placer_release(struct placer *placer, const struct cell_record *cell, enum vpa_type type,
	const int64_t *demand /* CELL_RESOURCE_COUNT, may be NULL */, struct transaction *transaction);
/* What is booked on a cell now: VPAs in all and per type. */
int64_t placer_used(const struct placer *placer, const struct cell_record *cell, const int64_t **per_type);
