/* What an access token of a flow says: as a JWT's claims before they are signed (token_issue.h) and after (token.h),
 * and as the record of an opaque token. */
#pragma once

#include "tenants/dp/flow.h"
#include "tenants/participant.h"

struct access_claims {
	struct text identity; /* of the participant: issuer and subject */
	struct text audience, ctx, flow, jti;
	int64_t issued_s, expires_s;
};

/* Good for lifetime_s, but never beyond the flow's own end. jti: made here. The texts are borrowed of all that is
 * given. */
struct access_claims access_claims_of(const struct participant *participant, struct text flow,
	const struct flow_terms *terms, int64_t lifetime_s, int64_t now_ms, char jti[ID_LENGTH + 1]);
enum status access_claims_print(const struct access_claims *claims, struct buffer *into) MUST_CHECK;
/* Texts into `json`. False: not all is there. */
bool access_claims_read(const struct json *json, struct access_claims *claims);
