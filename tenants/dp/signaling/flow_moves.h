/* Moves of a flow that no message asks for, and what they share with those that one does: the clock, the end of the
 * wire, the record. */
#pragma once

#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/state.h"

enum { FLOW_ALIAS_MAX = 192 };
/* Vault alias "flow:<id>:<what>": "address" is the DataAddress received, whole; "offer" the one a callback gives. */
void flow_alias(struct text flow, const char *what, char into[FLOW_ALIAS_MAX]);
/* Who gets the flow's callbacks: the one it names, or the only one there is. NULL: nobody. On a worker, until it
 * returns to its loop. */
struct control_plane *flow_control_plane(const struct dp *dp, struct text ctx, const struct flow_terms *terms);
bool flow_is_final(const struct flow *flow);

/* Puts the record into the transaction; a flow that has ended takes what was made for it along. False: out of memory.
 */
bool flow_store_into(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text id,
	const struct flow_terms *terms, int64_t expected) MUST_CHECK;
/* Moves the stored flow; the transaction is CONFLICT when somebody else was faster. False: out of memory, or the table
 * refuses. */
bool flow_move_into(const struct dp *dp, struct transaction *transaction, const struct flow *flow,
	enum flow_event event, int64_t now_ms) MUST_CHECK;
/* When a flow in this state is to be moved on by the clock; 0: never. */
int64_t flow_due(const struct dp *dp, struct text ctx, const struct flow_terms *terms, int64_t now_ms);
/* Out of the vault: the offer of a callback that has arrived; `all`: whatever there is of a flow that has ended. */
void flow_forget_secrets(const struct dp *dp, struct worker *worker, struct text ctx, struct text flow, bool all);

/* On the outbox's worker: does what is due by the clock according to `terms`, which must be those the caller has looked
 * at: when somebody has changed the flow since, CONFLICT. `done` runs once, perhaps before this returns. */
void flow_move_due(struct dp_worker *home, const struct flow *flow, const struct flow_terms *terms,
	void (*done)(void *context, enum status status), void *context);

/* All bytes were acknowledged: queues `completed`; the flow is COMPLETED when the control plane has acknowledged, or at
 * once when there is none. On a worker. Tried again until it is stored. */
void flow_finish(struct dp *dp, struct text ctx, struct text flow_id);
/* A wire error that cannot be mended: queues `errored`; the state stays. On a worker. */
void flow_fail(struct dp *dp, struct text ctx, struct text flow_id, struct text error);
