/* Who calls the signaling API of a participant (dps.md 4.4, 9.2): a token of the cell or its identity provider, or one
 * that a registered control plane's authorization profile verifies. */
#pragma once

#include "server/exchange.h"
#include "tenants/dp/signaling/jwks.h"
#include "tenants/dp/state.h"

enum caller_verdict {
	CALLER_GOOD,
	CALLER_WAITS,       /* the keys at `jwks_uri` must be fetched first; then check again */
	CALLER_UNKNOWN,     /* 401 */
	CALLER_FORBIDDEN,   /* 403 */
	CALLER_UNAVAILABLE, /* 503 */
};

/* What is asked for. */
struct caller_need {
	struct text resource; /* "dataflow", "controlplane" */
	enum access_action action;
};

struct caller {
	struct text control_plane; /* id of the registered control plane it is; TEXT_NONE: it is none. The exchange's */
	struct text jwks_uri;      /* CALLER_WAITS; the exchange's */
};

/* On the exchange's worker. */
enum caller_verdict caller_check(struct dp_worker *home, const struct participant *participant,
	struct exchange *exchange, const struct caller_need *need, struct caller *caller);
