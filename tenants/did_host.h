/* The did:web documents of this cell's own participants, for those whose DID names this cell: did:web:<host>%3A<port>
 * lives at /.well-known/did.json, did:web:<host>%3A<port>:<path> at /<path>/did.json. */
#pragma once

#include "tenants/registry.h"
#include "tenants/runtime.h"

struct did_host;

/* How a participant names a key in its proofs, where that is not by the fragment of its id: "<did>#...", TEXT_NONE: it
 * is. On a worker; good until it returns to its loop. */
typedef struct text did_key_name(void *context, const struct participant *participant, const struct key *key);
/* Observes the registry. */
enum status did_host_open(struct registry *registry, struct worker_pool *pool, did_key_name *name, void *context,
	struct did_host **host) MUST_CHECK;
/* GET and HEAD of a document; 404 for all else. The keys are those of the data plane. */
void did_host_handle(void *host, struct exchange *exchange, const struct route *route);
/* After the workers have stopped, before the registry. */
void did_host_free(struct did_host *host);
