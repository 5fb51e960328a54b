/* Opaque access tokens: 43 characters that say nothing by themselves. What a JWT would say of the flow stands in a
 * record of this cell (TOKEN, id: the SHA-256 of the token in hex, body: the claims), so that who reads the database
 * holds no token. Good in the cell, or the processes on one database, that issued them.
 *
 * Nothing is revoked by deleting such a record (other processes do not hear of it): suspension, termination, a revoked
 * jti and the like refuse an opaque token as they refuse a JWT. Records that are over are swept. */
#pragma once

#include <stdatomic.h>

#include "tenants/dp/access_claims.h"
#include "tenants/store/store.h"

enum { OPAQUE_TOKEN_BYTES = 32, OPAQUE_TOKEN_LENGTH = 43 };

/* Immutable; one allocation. */
struct opaque_token {
	struct access_claims claims;
	char bytes[];
};

/* What is so long is no JWT: a signature alone is longer. */
bool opaque_token_fits(struct text token);
void opaque_token_print(const uint8_t bytes[OPAQUE_TOKEN_BYTES], char token[OPAQUE_TOKEN_LENGTH + 1]);
/* A new one, of random bytes. */
void opaque_token_make(char token[OPAQUE_TOKEN_LENGTH + 1]);
/* Into the transaction; the token is good once that is committed. The claims of the same token are replaced. */
enum status opaque_token_put(
	struct transaction *transaction, const struct access_claims *claims, struct text token) MUST_CHECK;

/* `body` as stored. */
enum status opaque_token_build(struct text ctx, const struct json *body, struct opaque_token **token) MUST_CHECK;
void opaque_token_free(void *token);

struct dp;
/* What the token says in this ctx, perhaps expired; on a worker until it returns to its loop. NOT_FOUND: nothing. */
enum status opaque_token_find(
	const struct dp *dp, struct text ctx, struct text token, const struct opaque_token **found) MUST_CHECK;
/* Grows with each record that goes or changes: who remembers what a token says looks again. Ask before you look. */
uint64_t opaque_token_epoch(const struct dp *dp);

/* It opens nothing and renews nothing any more: its flow is deleted; or it has expired, and its flow has no renewals
 * (as when it has ended), or its holder has shown a later one, or the grace is over. */
bool opaque_token_is_over(const struct dp *dp, const struct opaque_token *token, int64_t now_ms);
/* On the store's thread, after each batch: deletes what is over, looking every few seconds. */
void opaque_tokens_sweep(struct dp *dp);
