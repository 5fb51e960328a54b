/* Access tokens of flows: verification, and verdicts remembered by each worker. */
#pragma once

#include "tenants/jose/jws.h"
#include "tenants/participant.h"

/* What a good token says. One allocation; the texts point into it. */
struct verdict {
	uint64_t hash;
	struct text ctx, token, flow, jti, audience;
	const struct key *key; /* a reference: the verdict stands as long as the participant has this very key */
	int64_t expires_ms, issued_s;
	uint32_t used;
};
struct verdicts;

struct verdicts *verdicts_new(size_t capacity);
void verdicts_free(struct verdicts *verdicts);
/* NULL: not known, expired, or the key is no longer the participant's. Valid until the next call. */
const struct verdict *verdicts_find(
	struct verdicts *verdicts, const struct participant *participant, struct text token, int64_t now_ms);
/* Verifies and remembers. UNAUTHORIZED: not a good token of this participant; FORBIDDEN: good, but for another ctx. */
enum status verdicts_verify(struct verdicts *verdicts, const struct participant *participant, struct text token,
	int64_t now_ms, const struct verdict **verdict) MUST_CHECK;
/* The token in an Authorization value: "Bearer x" in any case, or the bare JWT; TEXT_NONE when neither. */
struct text token_of(struct text authorization);
