/* Keys of other participants, from their did:web documents: fetched by each worker as a tenant of it needs them, one
 * fetch at a time for a DID, kept for five minutes. */
#pragma once

#include "tenants/jose/did.h"
#include "tenants/registry.h"

struct did_resolver;

/* Before the workers start. */
enum status did_resolver_open(
	struct worker_pool *pool, const struct registry *registry, struct did_resolver **resolver) MUST_CHECK;
/* After they have stopped. */
void did_resolver_free(struct did_resolver *resolver);

/* key: borrowed for the call, NULL unless OK. NOT_FOUND: the document has no such key; INVALID: not a did:web, or no
 * document of it; UNAVAILABLE, TIMEOUT, FORBIDDEN (the tenant's address rules), REFUSED: it cannot be had now. */
typedef void did_done(void *context, enum status status, const struct key *key);
/* The key `kid` of `did`, as the tenant may reach it: https only, unless the tenant's entry celld.dps.clear says so. On
 * `worker`; `done` runs there once, perhaps before this returns. Nothing takes it back: whoever may go away keeps the
 * context alive. A kid the kept document does not have brings a new fetch, a few times a minute. */
void did_resolver_key(struct did_resolver *resolver, struct worker *worker, struct text ctx, struct text did,
	struct text kid, did_done *done, void *context);
