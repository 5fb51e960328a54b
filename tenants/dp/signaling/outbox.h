/* What the data plane says to control planes by itself: callbacks (dps.md 2.2), each a record made in the same
 * transaction as the change it tells of, sent at least once, in order for each flow, until the control plane has
 * acknowledged it or the flow has ended otherwise. And what it does to flows by the clock.
 *
 * One worker of the process does all of it, with a lane for each flow that has something to do. Of several processes on
 * one database the owner of a letter sends it; another takes over when the owner has not renewed its claim in time. */
#pragma once

#include "tenants/dp/signaling/letter.h"
#include "tenants/dp/state.h"

/* Is there such a letter that has not been acknowledged? On a worker. */
bool outbox_has(const struct dp *dp, struct text ctx, struct text flow, enum letter_kind kind);
/* Into the transaction with the change it tells of, which is CONFLICT when there is such a letter already (but for
 * ERRORED: there the last error counts); on a worker. error: TEXT_NONE but for ERRORED. False: out of memory. */
bool outbox_put(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text flow,
	enum letter_kind kind, struct text error, int64_t now_ms) MUST_CHECK;
/* Something about the flow has changed: look whether there is something to do. From any thread. */
void outbox_wake(struct dp *dp, struct text ctx, struct text flow);
/* The same for all flows of the ctx that have letters; their waiting is over. */
void outbox_wake_all(struct dp *dp, struct text ctx);

struct outbox;
/* On the worker that runs it; takes up what is there. */
struct outbox *outbox_new(struct dp_worker *home);
void outbox_free(struct outbox *outbox);
