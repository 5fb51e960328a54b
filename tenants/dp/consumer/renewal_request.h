/* One renewal of a token this participant holds as a consumer (dps.md 4.3): a proof signed with its key, and the call
 * of the provider's endpoint. */
#pragma once

#include "tenants/dp/data_address.h"
#include "tenants/dp/dp.h"

struct renewal_request;

struct renewal_answer {
	struct text access_token, refresh_token; /* refresh_token absent: the old one stays */
	int64_t lifetime_s;                      /* 0: not said */
};

/* answer: borrowed for the call, NULL unless OK. UNAUTHORIZED: the provider refuses it. INVALID: the address cannot be
 * renewed. All else: it could not be had now, and the same may be tried again, for a provider that rotates with
 * acknowledgement knows the old token still. The request is gone when this runs. */
typedef void renewal_done(void *context, enum status status, const struct renewal_answer *answer);
/* On `worker`, where `done` runs once, unless cancelled; perhaps before this returns, and then *request is NULL.
 * provider: DID, when the address names none. The texts of `address` are copied. */
void renewal_request_start(struct dp *dp, struct worker *worker, struct text ctx, const struct data_address *address,
	struct text provider, renewal_done *done, void *context, struct renewal_request **request);
/* NULL is fine. */
void renewal_request_cancel(struct renewal_request *request);
