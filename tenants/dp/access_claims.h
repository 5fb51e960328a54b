/* What an access token of a flow says: the claims, before they are signed (signer.h) and after (token.h). */
#pragma once

#include "tenants/dp/flow.h"
#include "tenants/participant.h"

/* Good for lifetime_s, but never beyond the flow's own end. jti: made here. */
enum status access_claims_print(const struct participant *participant, const struct flow *flow,
	const struct flow_terms *terms, int64_t lifetime_s, int64_t now_ms, char jti[ID_LENGTH + 1], int64_t *expires_s,
	struct buffer *into) MUST_CHECK;
