/* Putting and starting under an agreement: for whoever learns of one (management, signaling). On a worker. */
#pragma once

#include "tenants/dp/dp.h"

/* body: see agreement_terms_parse; what is stored has the id as its member "id". INVALID: it is no agreement. REFUSED:
 * it is one this cell must refuse. `error` gets one line that names the member or the operand; nothing is stored then,
 * and `done` not called. Else `done` runs once on `worker`. expected: see transaction_put. */
enum status agreement_put(struct dp *dp, struct worker *worker, struct text ctx, struct text id, struct text body,
	int64_t expected, void (*done)(void *context, enum status status, int64_t revision), void *context,
	struct buffer *error) MUST_CHECK;
/* NULL: a flow of this agreement may start; else why it may not. */
const char *agreement_obstacle(const struct dp *dp, struct text ctx, struct text id);
