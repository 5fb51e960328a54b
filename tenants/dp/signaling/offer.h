/* The DataAddress this side of a flow gives: where a consumer pulls, with a token for it; where a provider pushes. */
#pragma once

#include "tenants/dp/state.h"

/* Push: the consumer's side has the address; pull: the provider's. */
bool flow_terms_offers(const struct flow_terms *terms);

/* address: JSON with its secrets, borrowed for the call; absent unless OK. */
typedef void offer_done(void *context, enum status status, struct text address);
/* On the worker. `terms`: as they will be stored; used before this returns. What must be stored along with the offer is
 * put into `transaction` before this returns. `done` runs once on this worker, perhaps before this returns; nothing
 * takes it back. */
void offer_make(struct dp_worker *home, struct text ctx, struct text flow, const struct flow_terms *terms,
	struct transaction *transaction, offer_done *done, void *context);
