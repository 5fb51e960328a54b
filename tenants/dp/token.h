/* Access tokens of flows: verification, and verdicts remembered by each worker. */
#pragma once

#include <stdatomic.h>

#include "server/base/map.h"
#include "tenants/dp/access_claims.h"
#include "tenants/jose/jws.h"
#include "tenants/participant.h"

/* What a good token says. One allocation; the texts point into it. */
struct verdict {
	uint64_t hash;
	struct text ctx, token, flow, jti, audience;
	/* a reference: the verdict stands as long as the participant has this very key; NULL: an opaque token, whose
	 * verdict stands as long as the epoch */
	const struct key *key;
	uint64_t epoch;
	int64_t expires_ms, issued_s;
	uint32_t used;
	struct verdict **recent; /* a place of the verdicts' own that leads to it; NULL: none does */
	struct verdict_memo {
		struct map_memo flow, revocation;
	} * memo; /* its worker's */
};
struct verdicts;

/* epoch: of opaque tokens; borrowed as long as the verdicts live. */
struct verdicts *verdicts_new(size_t capacity, const _Atomic uint64_t *epoch);
void verdicts_free(struct verdicts *verdicts);
/* NULL: not known, expired, or what it stands on is no longer there. Valid until the next call. */
const struct verdict *verdicts_find(
	struct verdicts *verdicts, const struct participant *participant, struct text token, int64_t now_ms);
/* Verifies and remembers. UNAUTHORIZED: not a good token of this participant; FORBIDDEN: good, but for another ctx. */
enum status verdicts_verify(struct verdicts *verdicts, const struct participant *participant, struct text token,
	int64_t now_ms, const struct verdict **verdict) MUST_CHECK;
/* The same of an opaque token, by what its record says; epoch: before the record was looked up. */
enum status verdicts_take(struct verdicts *verdicts, const struct participant *participant, struct text token,
	const struct access_claims *claims, uint64_t epoch, int64_t now_ms, const struct verdict **verdict) MUST_CHECK;
/* The token in an Authorization value: "Bearer x" in any case, or the bare token; TEXT_NONE when neither. */
struct text token_of(struct text authorization);
/* The participant's own public key of this kid; NULL: none, or an empty kid. */
const struct key *token_key(const struct participant *participant, struct text kid);
