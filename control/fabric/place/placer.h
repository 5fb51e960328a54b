/* Placement that holds: decides for a group of VPAs on the snapshot, reserves, and stores the decision together with
 * what the caller adds, in one transaction; concurrent placers (replicas) never book a slot twice. On the fabric's
 * worker.
 *
 * Many placements share a transaction: while one is under way the next are gathered. A reservation is never apart from
 * its decision: whoever dies before the commit has reserved nothing, and after it everything.
 *
 * Records:
 *   CELL_CAPACITY (id: cell id) {"used": {"VPAs": 4, "cfm.connector": 1, ..., "cpuMilli": 200}}: what is booked,
 * changed by compare-and-set alone, together with the expectation that the cell's own record has not changed (so
 * nothing is placed on a cell that is cordoned meanwhile). CELL_CAPACITY (id: "<cell id>/<32 hex>") {"released":
 * {...}}: what is to be taken off that; it never conflicts with a placement, and the placer folds it in. DECISION (id:
 * 32 hex, the first 12 the time in ms) {"at", "process", "base"?, "journal"?, "decisions": [{"requests"[], "chosen"[],
 * "explain"{}, "line"}]}: a decision's id is "<record>-<index>". They go after 30 days, or when 100,000 newer ones were
 * written. */
#pragma once

#include "control/fabric/cells.h"
#include "control/fabric/place/place.h"

struct placer;
enum status placer_open(struct state *state, struct cells *cells, struct placer **placer) MUST_CHECK;
/* After the worker has stopped. */
void placer_free(struct placer *placer);

/* All or nothing for the group (a participant's VPAs). `build` adds the caller's records for these choices (cells by
 * choices[i]) to the transaction; it is called again with other choices when another placer was faster, or when others'
 * records of the same transaction were refused. NULL: nothing to add. False: give up, `done` gets INTERNAL. `done`
 * once, on a later turn or this one: OK; NOT_FOUND: no cell fits, `explain` says why as JSON (control.md 2.7.6) and
 * `line` in text for people; CONFLICT, NOT_FOUND with no line, INVALID: what the store says of the caller's records;
 * REFUSED: fifty times another placer was faster; else what the store says. */
struct placement {
	const struct place_request *const *requests;
	size_t count;        /* 1 .. PLACE_GROUP_MAX */
	int64_t patience_ms; /* how long to wait for a cell that fits; 0: not at all */
	bool (*build)(void *context, const struct cell_record *const *choices, struct transaction *transaction);
	void (*done)(void *context, enum status status, struct text decision_id, struct text explain, struct text line);
	void *context;
};
/* The requests are shared. */
void placer_place(struct placer *placer, const struct placement *placement);
/* Decides as placer_place would now, and books and stores nothing: OK, with the cellIds in chosen (count texts, good
 * until the next change), or NOT_FOUND. */
enum status placer_try(struct placer *placer, const struct place_request *const *requests, size_t count,
	struct text *chosen, struct buffer *explain, struct buffer *line) MUST_CHECK;
/* Decides again what was decided at that version of that process's snapshot (both are in its explanation): as
 * placer_try; UNAVAILABLE: that is too long ago, or was in another process. */
enum status placer_replay(struct placer *placer, int64_t process, uint64_t version,
	const struct place_request *const *requests, size_t count, struct text *chosen) MUST_CHECK;
/* Gives back what a VPA held, within a transaction of the caller's that removes it: capacity follows the commit.
 * demand: CELL_RESOURCE_COUNT numbers, or NULL. False: out of memory. */
bool placer_release(struct placer *placer, const struct cell_record *cell, enum vpa_type type, const int64_t *demand,
	struct transaction *transaction);
/* What is booked on a cell now: VPAs in all and (per_type may be NULL) of each type, good until the next change. */
int64_t placer_used(const struct placer *placer, const struct cell_record *cell, const int64_t **per_type);
/* What heartbeats say: bit per type of VPA that has something ready, and the measured load, 0 ... 1000 (-1: not known).
 */
void placer_measure(struct placer *placer, uint32_t slot, unsigned ready, int load);
/* Cells with an attestation that has expired, and how many VPAs live there: they stay, for the operator to judge. */
void placer_lapses(const struct placer *placer,
	void (*visit)(void *context, const struct cell_record *cell, const char *compliance, int64_t vpas), void *context);
struct place_snapshot *placer_snapshot(struct placer *placer);
