/* Tokens that callbacks prove themselves with (dps.md 4.4): one for each control plane that asks for them, fetched by
 * client credentials or by exchange of the workload's own, kept until it expires or is refused. One worker's. */
#pragma once

#include "server/base/secret.h"
#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/state.h"

struct callback_token_waiter {
	/* OK: there is one now. `http`: what the token endpoint answered, 0: nothing. */
	void (*ready)(struct callback_token_waiter *waiter, enum status status, int http);
	struct callback_token_waiter *next, **previous; /* previous NULL: it does not wait */
};

struct callback_tokens;

/* "Bearer ..."; NULL: it must be fetched. Until the next call of these. */
const struct secret *callback_token_now(struct dp_worker *home, struct text ctx, const struct control_plane *plane);
/* Fetches, or joins the fetch under way. `ready` runs once unless the waiter leaves; before this returns only when
 * nothing could be begun. */
void callback_token_fetch(
	struct dp_worker *home, struct text ctx, struct control_plane *plane, struct callback_token_waiter *waiter);
void callback_token_leave(struct callback_token_waiter *waiter);
/* It was refused. */
void callback_token_forget(struct dp_worker *home, struct text ctx, const struct control_plane *plane);
void callback_tokens_free(struct callback_tokens *tokens);
