/* The did:web documents of this cell's own participants, for those whose DID names this cell: did:web:<host>%3A<port>
 * lives at /.well-known/did.json, did:web:<host>%3A<port>:<path> at /<path>/did.json. */
#pragma once

#include "tenants/registry.h"
#include "tenants/runtime.h"

struct did_host;

/* Observes the registry. */
enum status did_host_open(struct registry *registry, struct worker_pool *pool, struct did_host **host) MUST_CHECK;
/* GET and HEAD of a document; 404 for all else. The keys are those of the data plane. */
void did_host_handle(void *host, struct exchange *exchange, const struct route *route);
/* After the workers have stopped, before the registry. */
void did_host_free(struct did_host *host);
