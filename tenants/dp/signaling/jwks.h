/* Key sets of other servers, fetched by each worker and remembered: one fetch at a time for each, again when old, and
 * once more when a token names a key that is not there. */
#pragma once

#include "server/url.h"
#include "server/worker.h"
#include "tenants/jose/jwk.h"

struct jwks;

enum { JWKS_KEYS = 32 };

/* The keys of one address as last fetched. */
struct jwks_set {
	struct key *keys[JWKS_KEYS];
	size_t count;
};

struct jwks_waiter {
	/* OK: look again. UNAVAILABLE: the keys cannot be had. */
	void (*ready)(struct jwks_waiter *waiter, enum status status);
	struct jwks_waiter *next, **previous; /* previous NULL: it does not wait */
};

/* One worker's. Sets are good for ttl_ms. */
struct jwks *jwks_new(struct worker *worker, int64_t ttl_ms, uint32_t timeout_ms);
void jwks_free(struct jwks *jwks);
/* OK: *set is fresh, and holds a key of this id (or kid is absent); valid until the next call. NOT_FOUND: fresh, and
 * the key is not in it. UNAVAILABLE: fetch first. Sets are one tenant's: what one may reach, another may not. */
enum status jwks_find(
	struct jwks *jwks, struct text ctx, struct text uri, struct text kid, const struct jwks_set **set) MUST_CHECK;
/* `ready` runs later on this worker, once, unless the waiter leaves. */
void jwks_fetch(
	struct jwks *jwks, struct text ctx, struct text uri, const struct address_rules *rules, struct jwks_waiter *waiter);
void jwks_leave(struct jwks_waiter *waiter);
