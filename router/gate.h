/* A gate: what the router knows of one tenant on all workers, and a worker's account of it. Limits are process-wide: a
 * worker takes small leases from the gate's reserve, so that the shared counters are touched once in many requests. */
#pragma once

#include <stdatomic.h>

#include "server/exchange.h"
#include "server/share.h"
#include "tenants/registry.h"

struct gate {
	_Atomic(const struct participant *) participant; /* of the registry's current version */
	char ctx[ID_LENGTH + 1];
	atomic_uint references; /* the table's, and one for each account */
	/* the reserves: requests refill by the clock, the others are what is lent */
	_Alignas(64) _Atomic int64_t requests;
	_Atomic uint64_t refilled_ms;
	_Atomic int64_t streams, connections;
	_Atomic int64_t
		senders; /* workers on which the tenant has open exchanges, or had lately; kept while bytes are capped */
};

struct gate *gate_new(const struct participant *participant);
void gate_ref(struct gate *gate);
void gate_unref(void *gate);

/* The accounts of one worker. */
struct accounts;
struct accounts *accounts_new(struct worker *worker, const struct tenant_settings *defaults);
void accounts_free(struct accounts *accounts);

enum admission { ADMITTED, REFUSED_RATE, REFUSED_STREAMS, REFUSED_CONNECTIONS, REFUSED_MEMORY };
/* Charges one request: sets the exchange's tenant, share and on_leave. */
enum admission accounts_admit(
	struct accounts *accounts, struct gate *gate, const struct participant *participant, struct exchange *exchange);
