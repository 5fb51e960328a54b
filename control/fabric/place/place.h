/* Choosing a cell: pure, no clock, no random, no floating point (control.md 2.7). Hard filters as one bit mask a cell,
 * integer scores, and an explanation for free. */
#pragma once

#include "control/command/cell_definition.h"

/* bit, name, what is wrong with a cell that does not pass; a cell is counted under the first it does not pass */
#define PLACE_FILTER_LIST(X)                                                                                           \
	X(STATE, "state", "not ready")                                                                                     \
	X(RESIDENCY, "residency", "outside the required jurisdictions or compliance")                                      \
	X(LOCATION, "location", "elsewhere")                                                                               \
	X(LABELS, "labels", "without the right labels")                                                                    \
	X(TAINTS, "taints", "tainted")                                                                                     \
	X(CAPACITY, "capacity", "full")                                                                                    \
	X(RESOURCES, "resources", "short of resources")                                                                    \
	X(AFFINITY, "affinity", "against affinity or spread")                                                              \
	X(PROFILES, "profiles", "without the dataspace profiles")                                                          \
	X(VERSIONS, "versions", "too old or not always connected")
enum place_filter {
#define PLACE_FILTER_MEMBER(name, text, wrong) PLACE_FILTER_##name,
	PLACE_FILTER_LIST(PLACE_FILTER_MEMBER)
#undef PLACE_FILTER_MEMBER
		PLACE_FILTER_COUNT
};
const char *place_filter_name(enum place_filter filter);

/* name, weight: each part is 0 ... 1000 */
#define PLACE_SCORE_LIST(X)                                                                                            \
	X(HEADROOM, "headroom", 4)                                                                                         \
	X(BALANCE, "balance", 2)                                                                                           \
	X(AFFINITY, "affinity", 3)                                                                                         \
	X(LOCALITY, "locality", 3)                                                                                         \
	X(SPREAD, "spread", 2)                                                                                             \
	X(PREFER_LABELS, "preferLabels", 1)                                                                                \
	X(STEADY, "steady", 3)                                                                                             \
	X(HEALTH, "health", 2)                                                                                             \
	X(TENANT_OVERLAP, "tenantOverlap", 1)
enum place_score {
#define PLACE_SCORE_MEMBER(name, text, weight) PLACE_SCORE_##name,
	PLACE_SCORE_LIST(PLACE_SCORE_MEMBER)
#undef PLACE_SCORE_MEMBER
		PLACE_SCORE_COUNT
};
const char *place_score_name(enum place_score score);
/* "cost" and "external.<name>" weigh what the request says ("weights"), nothing by default; all of them so much at
 * most, for a total must fit its column. A cell that says nothing of itself has part 0, as the dearest has. Of so many
 * names what cells say is heard. */
enum { PLACE_WEIGHTS_MAX = 11, PLACE_OPINIONS_MAX = 64 };

/* What a cell has room for: VPAs in all, VPAs of each type, each resource. */
enum {
	PLACE_VPAS,
	PLACE_TYPES,
	PLACE_RESOURCES = PLACE_TYPES + VPA_TYPE_COUNT,
	PLACE_DIMENSION_COUNT = PLACE_RESOURCES + CELL_RESOURCE_COUNT
};
/* "VPAs", "cfm.connector", ..., "cpuMilli", ... */
const char *place_dimension_name(int dimension);

/* --- requests */

/* A request as control.md 2.7.1 has it, parsed and interned. Opaque, immutable; made from JSON. */
struct place_request;
/* INVALID with one line that names the member. vpaId and participant may be absent in a dry run. */
enum status place_request_parse(
	const struct json *object, struct place_request **request, struct buffer *error) MUST_CHECK;
struct place_request *place_request_ref(struct place_request *request);
void place_request_free(struct place_request *request); /* gives back one reference; NULL is fine */
enum vpa_type place_request_type(const struct place_request *request);
/* As it was sent, compact. */
struct text place_request_text(const struct place_request *request);
/* CELL_RESOURCE_COUNT numbers. */
const int64_t *place_request_demand(const struct place_request *request);

/* --- the snapshot: what decisions are made on. One thread at a time. */

struct place_snapshot;
struct place_snapshot *place_snapshot_new(void); /* NULL: out of memory */
void place_snapshot_free(struct place_snapshot *snapshot);
/* Grows with every change; a decision holds for one version. */
uint64_t place_snapshot_version(const struct place_snapshot *snapshot);

/* What is true of a cell now, besides its definition. */
struct place_standing {
	bool is_open;                /* takes new VPAs: mode ready and health good enough */
	bool is_degraded;            /* open, but with a penalty */
	unsigned ready;              /* bit per enum vpa_type: its runtime has something ready; all bits: not known */
	int load;                    /* measured, 0 ... 1000; -1: not known, what is booked stands for it */
	const char *why;             /* static text: why it is not open ("cordoned", "unreachable") */
	const struct text *profiles; /* dataspace profiles deployed and active there */
	size_t profile_count;
	int64_t used[PLACE_DIMENSION_COUNT]; /* booked */
};
/* The cell at `slot` (0, 1, 2, ... dense): added or changed. definition NULL: a legacy cell, everything unlimited.
 * id: its CFM id, by which a request may pin it as well as by its cellId. Copies. */
enum status place_snapshot_put(struct place_snapshot *snapshot, uint32_t slot, struct text id,
	const struct cell_definition *definition, const struct place_standing *standing) MUST_CHECK;
/* Only what is measured of a cell that is there: `ready` and `load` as in its standing. */
void place_snapshot_measure(
	struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition, unsigned ready, int load);
void place_snapshot_remove(struct place_snapshot *snapshot, uint32_t slot);
/* Compliance that is no longer valid at this time stops counting: true when something changed. */
bool place_snapshot_advance(struct place_snapshot *snapshot, int64_t wall_ms);
/* When the next attestation expires; INT64_MAX: none. */
int64_t place_snapshot_next_expiry(const struct place_snapshot *snapshot);
/* The attestations that have expired by then: the cell's slot, and what it no longer attests. */
void place_snapshot_lapses(const struct place_snapshot *snapshot,
	void (*visit)(void *context, uint32_t slot, const char *compliance), void *context);
/* How many cells there are. */
uint32_t place_snapshot_count(const struct place_snapshot *snapshot);
/* The cellId (or CFM id of a legacy cell) at a slot; NULL: none. */
const char *place_snapshot_cell(const struct place_snapshot *snapshot, uint32_t slot);
/* What is booked and what may be; -1: unlimited. */
int64_t place_snapshot_used(const struct place_snapshot *snapshot, uint32_t slot, int dimension);
int64_t place_snapshot_allowed(const struct place_snapshot *snapshot, uint32_t slot, int dimension);

/* A VPA that lives somewhere: what affinity, spread and overlap look at. participant and tenant may be absent.
 * change: 1 comes, -1 goes. Capacity is not touched. */
enum status place_snapshot_hold(struct place_snapshot *snapshot, struct text participant, struct text tenant,
	uint32_t slot, enum vpa_type type, int change) MUST_CHECK;
/* Books what the request demands, and holds its VPA; sign -1: undoes both. */
enum status place_snapshot_book(
	struct place_snapshot *snapshot, uint32_t slot, const struct place_request *request, int sign) MUST_CHECK;
/* What is booked in each dimension now. */
void place_snapshot_set_used(struct place_snapshot *snapshot, uint32_t slot, const int64_t *used);
/* A participant's VPAs are exactly these. */
struct place_seat {
	uint32_t slot;
	enum vpa_type type;
};
enum status place_snapshot_settle(struct place_snapshot *snapshot, struct text participant, struct text tenant,
	const struct place_seat *seats, size_t count) MUST_CHECK;
/* Bytes: of the columns and sets of cells, and of who holds what. */
size_t place_snapshot_cell_bytes(const struct place_snapshot *snapshot);
size_t place_snapshot_hold_bytes(const struct place_snapshot *snapshot);

/* Every change is told to the journal from now on (journal.h), which outlives the snapshot. */
struct journal;
void place_snapshot_tell(struct place_snapshot *snapshot, struct journal *journal);

/* --- deciding */

enum { PLACE_GROUP_MAX = 64 };

struct place_decision {
	int64_t slot; /* -1: no cell passes */
	uint32_t evaluated, feasible;
	uint32_t filtered[PLACE_FILTER_COUNT];
	uint32_t exhausted[PLACE_DIMENSION_COUNT];
	int total;
	bool is_tie; /* the hash had to decide */
};
/* For one or several VPAs that must share one cell (their sums are what has to fit). Nothing is booked. */
void place_decide(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	struct place_decision *decision);
/* What is told of a group; either may be NULL. explain: a JSON array with one explanation a decision, the failed one
 * last; line: the same for people, or what failed. */
struct place_telling {
	struct buffer *explain, *line;
	bool is_brief;  /* only counts, for those that are placed by the thousand */
	uint32_t cells; /* tell of each cell why, when there are no more than so many */
};
/* All or nothing: VPAs bound to one cell by hard affinity of topologyKey cell are decided as one, the others one after
 * another, each with those before it booked. OK: slots[i] is chosen and booked for each. NOT_FOUND: nothing is booked.
 */
enum status place_group(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	uint32_t *slots, const struct place_telling *telling) MUST_CHECK;
/* Undoes what place_group booked. */
void place_group_undo(
	struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count, const uint32_t *slots);

/* control.md 2.7.6, of what place_decide was last asked, once, before anything is booked: {"vpas"[], "snapshot",
 * "evaluated", "feasible", "filtered"{}, "exhausted"{}, "chosen", "tieBreak", and unless brief "reason", "cells"[]: of
 * each {"cell", "total"} or {"cell", "filters"[], "why"}, "top"[]}. */
void place_explain(struct place_snapshot *snapshot, const struct place_decision *decision,
	const struct place_telling *telling, struct buffer *into);
/* "cell-eu-1 of 37 that fit; 963 did not: 610 ..." or "0 of 1000 cells: ...; nearest miss: ...". */
void place_explain_line(struct place_snapshot *snapshot, const struct place_decision *decision, struct buffer *into);

/* --- replay */

/* Makes the snapshot what it was at that version: false when that is too long ago. place_snapshot_return makes it again
 * what it was; in between only decisions (groups undone again) may be made. */
bool place_snapshot_rewind(struct place_snapshot *snapshot, uint64_t version);
void place_snapshot_return(struct place_snapshot *snapshot);
