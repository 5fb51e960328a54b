/* The cells of the fabric, as records of kind CELL say (id: the CFM id, a UUID), indexed on the fabric's worker.
 *
 * Body: {"externalId", "version", "state", "stateTimestamp", "properties"{}, "celld"{...}}: the first five are the
 * Tenant Manager's cell as clients see it (cfm.md 1.2), properties["celld.definition"] the definition
 * (control.md 2.2.1); "celld" is ours and never shown by the Tenant Manager's API: {"mode", "epoch", "incarnation",
 * "key", "healthSince", ...}. A cell without a definition is a legacy one: no heartbeats, no limits, exactly what the
 * existing managers have. */
#pragma once

#include "control/command/cell_definition.h"
#include "control/state/state.h"

/* name, spelling, the CFM state while healthy (control.md 2.2.2) */
#define CELL_MODE_LIST(X)                                                                                              \
	X(REGISTERING, "registering", "pending")                                                                           \
	X(PROVISIONING, "provisioning", "pending")                                                                         \
	X(READY, "ready", "active")                                                                                        \
	X(CORDONED, "cordoned", "locked")                                                                                  \
	X(DRAINING, "draining", "locked")                                                                                  \
	X(FENCED, "fenced", "offline")                                                                                     \
	X(DECOMMISSIONING, "decommissioning", "disposing")                                                                 \
	X(GONE, "gone", "disposed")                                                                                        \
	X(ERROR, "error", "error")
enum cell_mode {
#define CELL_MODE_MEMBER(name, text, state) CELL_##name,
	CELL_MODE_LIST(CELL_MODE_MEMBER)
#undef CELL_MODE_MEMBER
};
const char *cell_mode_name(enum cell_mode mode);

/* control.md 2.5. Failover-eligible: unreachable for so long, and so surely, that others may take its VPAs; whatever
 * holds of an unreachable cell holds of it (cell_health_is_gone). */
#define CELL_HEALTH_LIST(X)                                                                                            \
	X(UNKNOWN, "unknown")                                                                                              \
	X(HEALTHY, "healthy")                                                                                              \
	X(DEGRADED, "degraded")                                                                                            \
	X(SUSPECT, "suspect")                                                                                              \
	X(UNREACHABLE, "unreachable")                                                                                      \
	X(ISOLATED, "isolated")                                                                                            \
	X(FAILOVER_ELIGIBLE, "failover_eligible")                                                                          \
	X(FLAPPING, "flapping")
enum cell_health {
#define CELL_HEALTH_MEMBER(name, text) CELL_##name,
	CELL_HEALTH_LIST(CELL_HEALTH_MEMBER)
#undef CELL_HEALTH_MEMBER
};
const char *cell_health_name(enum cell_health health);
/* Nobody reaches it. */
static inline bool cell_health_is_gone(enum cell_health health)
{
	return health == CELL_UNREACHABLE || health == CELL_FAILOVER_ELIGIBLE;
}

struct cell_record {
	char *id, *external_id; /* external_id: the definition's cellId; "" for none */
	int64_t revision;
	char *body; /* as stored */
	enum cell_mode mode;
	enum cell_health health;            /* the last that was written down; health.h knows better */
	int64_t epoch;                      /* grows with each join; 0: never joined */
	char *incarnation, *key;            /* NULL: never joined. key: public nkey "U..." */
	char *offline_since;                /* RFC 3339: unreachable or fenced, so that nobody serves its VPAs; NULL: no */
	bool is_legacy;                     /* no definition */
	bool is_active;                     /* its CFM state is "active": the Tenant Manager may choose it */
	struct cell_definition *definition; /* NULL: legacy */
	uint32_t slot; /* 0, 1, 2, ...: stable while the process runs; what other rooms index arrays by */
};

struct cells;
enum status cells_open(struct state *state, struct cells **cells) MUST_CHECK;
void cells_free(struct cells *cells);
/* NULL: unknown. Good until the worker returns to its loop. */
const struct cell_record *cells_find(const struct cells *cells, struct text id);
const struct cell_record *cells_find_external(const struct cells *cells, struct text external_id);
const struct cell_record *cells_at(const struct cells *cells, uint32_t slot); /* NULL: none (any more) */
uint32_t cells_slots(const struct cells *cells);
/* In the order of their ids. */
void cells_each(const struct cells *cells, bool (*visit)(void *context, const struct cell_record *cell), void *context);
/* Told after the index changed; `cell` NULL: the one at `slot` has gone. At most 8, before store_load. */
void cells_observe(
	struct cells *cells, void (*changed)(void *context, uint32_t slot, const struct cell_record *cell), void *context);
/* For the transaction that makes, or deletes, a cell: takes its external id, which no other cell of any replica gets
 * meanwhile (CONFLICT), or gives it back. "": it has none. False: out of memory. */
bool cells_take_name(
	const struct cells *cells, struct transaction *transaction, struct text external_id, struct text id) MUST_CHECK;
bool cells_give_name(
	const struct cells *cells, struct transaction *transaction, const struct cell_record *cell) MUST_CHECK;
/* The body with other values of ours and the CFM state that follows from mode and health, its timestamp set: what a
 * transaction puts with expected = cell->revision. "set" is merged into "celld" (members of null are removed). NULL:
 * out of memory. */
char *cells_body_with(const struct cell_record *cell, const struct json *set, enum cell_mode mode,
	enum cell_health health, int64_t wall_ms);
