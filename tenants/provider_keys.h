/* The key set of an identity provider, fetched over HTTP: at start, every so often, and when a token names a key that
 * is not in it. Told by its own address, or by the provider's discovery document (OpenID Connect Discovery 1.0 section
 * 4, RFC 8414). Lives on the first worker; what cannot be fetched is tried again, and what was fetched before stays. */
#pragma once

#include "server/worker.h"

struct provider_source {
	const char *discovery_url, *jwks_url; /* one of them; copied */
	uint64_t refresh_ms;
};

struct provider_keys;
/* Before the workers start; they must have clients (server/client.h). take: on the first worker, with a set; issuer: as
 * the discovery document says, absent without one; anything but OK: the set is not taken, one line in `error`. */
enum status provider_keys_open(struct worker_pool *pool, const struct provider_source *source,
	enum status (*take)(void *context, struct text jwks, struct text issuer, struct buffer *error), void *context,
	struct provider_keys **keys) MUST_CHECK;
/* From any thread: fetch soon, if it was not done just now. */
void provider_keys_ask(struct provider_keys *keys);
/* After the workers have stopped; NULL is fine. */
void provider_keys_free(struct provider_keys *keys);
