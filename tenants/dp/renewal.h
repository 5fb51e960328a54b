/* Refresh tokens of flows (dps.md 4.3), rotated with acknowledgement (dataplane.md 1.4): the token that replaces
 * another is in force at once, but the other stays good until its holder presents the new one. An answer that got lost
 * on the way is so asked for again: a replay of the old token brings the current one.
 *
 * Kept are SHA-256 digests alone (record RENEWAL, id: the flow's). The new token is HMAC(old token, nonce of the
 * record): whoever presents the old token lets us make the same new one again, and nobody who reads the record can. So
 * is the access token that comes with it, where those are opaque: a replay brings that again, too, and makes it good
 * for longer. */
#pragma once

#include "server/base/id.h"
#include "server/base/json.h"
#include "tenants/dp/opaque_token.h"
#include "tenants/jose/digest.h"
#include "tenants/store/store.h"

enum { REFRESH_TOKEN_LENGTH = OPAQUE_TOKEN_LENGTH };

/* Immutable once published. */
struct renewal {
	char ctx[ID_LENGTH + 1];
	char *flow, *counter_party; /* whom the tokens are bound to */
	int64_t issued_ms, revision;
	int64_t acknowledged_s; /* when the latest access token was issued that came with a current refresh token; 0: none
							   did */
	bool has_previous;
	uint8_t current[DIGEST_BYTES], previous[DIGEST_BYTES], nonce[DIGEST_BYTES];
};

/* `body` as stored. */
enum status renewal_parse(
	struct text ctx, struct text flow, const struct json *body, struct renewal **renewal) MUST_CHECK;
void renewal_free(void *renewal);

/* The first token of a flow, into the transaction that starts (or resumes) it; older tokens of the flow end. */
enum status renewal_issue(struct transaction *transaction, struct text ctx, struct text flow, struct text counter_party,
	int64_t now_ms, char token[REFRESH_TOKEN_LENGTH + 1]) MUST_CHECK;

/* The tokens end with their flow: into the transaction that ends it. False: out of memory. */
struct dp;
bool renewal_end(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text flow);

enum renewal_verdict {
	RENEWAL_UNKNOWN,
	RENEWAL_CURRENT,  /* acknowledges itself and is to be replaced */
	RENEWAL_REPLAYED, /* already replaced, its replacement not yet seen */
};
enum renewal_verdict renewal_judge(const struct renewal *renewal, struct text token);
/* What takes a token's place. */
struct renewal_tokens {
	char refresh[REFRESH_TOKEN_LENGTH + 1];
	char access[OPAQUE_TOKEN_LENGTH + 1]; /* for who wants an opaque one */
};
/* CURRENT: replaces `token` in the transaction, which fails with CONFLICT when somebody else just did. issued_s: of the
 * access token that came with it. `next`: to hand out once it is committed. */
enum status renewal_rotate(const struct renewal *renewal, struct text token, int64_t issued_s,
	struct transaction *transaction, struct renewal_tokens *next) MUST_CHECK;
/* REPLAYED: the current tokens, again. */
enum status renewal_repeat(const struct renewal *renewal, struct text token, struct renewal_tokens *current) MUST_CHECK;

/* What a consumer is told, as properties of the flow's DataAddress. */
struct renewal_offer {
	struct text access_token, refresh_token; /* refresh_token absent: it cannot be renewed */
	struct text endpoint;                    /* where to renew */
	struct text audience;                    /* DID of the provider */
	int64_t lifetime_s;
	bool legacy; /* also in the spelling of Tractus-X */
};
struct data_address;
/* authorization, authType and, with a refresh token, refreshToken, expiresIn, refreshEndpoint. False: out of memory. */
bool renewal_offer_add(const struct renewal_offer *offer, struct data_address *address);
