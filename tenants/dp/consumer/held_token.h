/* Access tokens this participant holds as a consumer: the addresses of its pull flows, from the vault, kept in memory
 * by one worker for each flow and renewed there, once for all who ask. */
#pragma once

#include "tenants/dp/dp.h"

struct held_token {
	struct text endpoint, endpoint_type;
	struct text token;  /* absent: the endpoint asks for none */
	int64_t expires_ms; /* 0: not known */
};

/* token: borrowed for the call, NULL unless OK. NOT_FOUND: no such flow; CONFLICT: not one that pulls, or not started;
 * UNAUTHORIZED: the token has ended and the provider renews it no more; UNAVAILABLE, TIMEOUT, FORBIDDEN (the tenant's
 * address rules), NO_MEMORY. */
typedef void held_done(void *context, enum status status, const struct held_token *token);
/* `done` runs later on `worker`, once; nothing takes it back. A token with less than five seconds to live is renewed
 * first; so is one the provider `refused` (absent: none was), unless another has come meanwhile. */
void held_token_get(struct dp *dp, struct worker *worker, struct text ctx, struct text flow, struct text refused,
	held_done *done, void *context);

/* A worker's half. */
struct holdings;
struct holdings *holdings_new(struct dp *dp, struct worker *worker);
void held_tokens_free(struct holdings *holdings);
/* May the caller have tokens of this participant? By the management API's scopes, or by siglet's. On failure it has
 * answered. */
struct exchange;
bool held_token_allow(const struct dp *dp, struct exchange *exchange, struct text ctx);
/* Answers a caller who cannot have a token. */
void held_token_refuse(struct exchange *exchange, enum status status);
