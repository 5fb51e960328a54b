/* Agreements that have no record yet are asked of the flow's control plane (dps.md 2.2, GET .../agreement): one call at
 * a time for each agreement, parties and worker. What comes is checked and becomes the record, unless one was put
 * meanwhile. */
#pragma once

#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/state.h"

struct agreement_fetch;

/* Copied; of the plane a reference is taken. */
struct agreement_question {
	struct text ctx, flow, agreement, counter_party;
	bool is_provider; /* this participant is, in the flow */
	struct control_plane *plane;
};

struct agreement_waiter {
	/* OK: there is a record now, seen by every worker. NOT_FOUND: the control plane does not give it. INVALID: what it
	 * gave is not this agreement, or none that can be read. REFUSED: it cannot be enforced here. Else it cannot be had
	 * now. `why`: one line, borrowed; NULL with OK. */
	void (*ready)(struct agreement_waiter *waiter, enum status status, const char *why);
	struct agreement_waiter *next, **previous; /* previous NULL: it does not wait */
};

/* Begins, or joins. On a worker; `ready` runs later on it, once, unless the waiter leaves. On failure it does not. */
enum status agreement_fetch_join(
	struct dp_worker *home, const struct agreement_question *question, struct agreement_waiter *waiter) MUST_CHECK;
void agreement_fetch_leave(struct agreement_waiter *waiter);
void agreement_fetches_free(struct agreement_fetch *fetches);
