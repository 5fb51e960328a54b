/* The identity provider whose tokens are accepted: its keys, from a file or fetched (provider_keys.h), and what its
 * tokens must say. */
#pragma once

#include "server/base/config.h"
#include "server/worker.h"
#include "tenants/jose/jws.h"

/* In section "access". */
struct provider_settings {
	char *jwks_file;                 /* read at start and on SIGHUP */
	char *jwks_url, *discovery_url;  /* or one of these; without workers (tools) nothing is fetched */
	char *issuer;                    /* expected iss */
	char *audience, *audience_claim; /* what `audience_claim` must hold; NULL: not asked for */
	int64_t refresh_ms;
};

struct provider;
/* No keys anywhere: there is no provider, and nothing is found. pool NULL: see access_open. Settings are copied.
 * INVALID: one line in `error`. */
enum status provider_open(const struct provider_settings *settings, struct worker_pool *pool,
	struct provider **provider, struct buffer *error) MUST_CHECK;
/* Reads the file again, or asks for a fetch; on failure the keys of before stay. */
enum status provider_reload(struct provider *provider, struct buffer *error) MUST_CHECK;
void provider_close(struct provider *provider); /* NULL is fine */

/* From any worker: the key of this kid, or the only one when the token names none (kid absent); NULL: none. `issuer`:
 * whom it speaks for. Both are good until the worker returns to its loop. */
const struct key *provider_find(struct provider *provider, struct text kid, struct text *issuer);
/* Is the token meant for us? */
bool provider_audience_matches(const struct provider *provider, const struct json *claims);
