/* One callback to a control plane (dps.md 2.2): its body, the token its authorization profile asks for, the call. */
#pragma once

#include "tenants/dp/signaling/outbox.h"

struct callback;

struct callback_order {
	struct text ctx, flow;
	const struct letter *letter;
};

/* OK: the control plane acknowledged. `http` is its status, 0: there was no answer. NOT_FOUND: it is not registered. */
typedef void callback_done(void *context, enum status status, int http);
/* On the outbox's worker. Copies. `done` runs later, once, unless cancelled. */
enum status callback_start(struct dp_worker *home, const struct callback_order *order, callback_done *done,
	void *context, struct callback **callback) MUST_CHECK;
/* NULL is fine. What the vault still does for it ends without telling anybody. */
void callback_cancel(struct callback *callback);
