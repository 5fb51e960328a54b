/* All participant contexts of this cell, made from records by the store's thread, read by every worker without a lock.
 */
#pragma once

#include "tenants/participant.h"
#include "tenants/store/store.h"

struct registry;

/* Section "tenant": defaults of tenant_limits. */
struct tenant_settings {
	int64_t requests_per_second, bytes_per_second, streams, connections,
		weight;   /* 1,000 / 0 = no cap / 200 / 200 / 1 */
	char *domain; /* {ctx}.<domain> leads to ctx; NULL: off */
};
extern const struct setting tenant_settings_table[];
extern const size_t tenant_settings_count;

/* Registers a listener with the store. */
enum status registry_open(struct store *store, struct worker_pool *pool, const struct tenant_settings *settings,
	struct registry **registry) MUST_CHECK;
/* Told on the store's thread (or the loading thread) after the registry changed; `participant` NULL: it is gone;
 * `previous` may be NULL. Both stay valid through a worker_pool_barrier. Before store_load; at most 8. */
void registry_observe(struct registry *registry,
	void (*on_change)(
		void *context, const char *ctx, const struct participant *participant, const struct participant *previous),
	void (*on_batch)(void *context), void *context);
/* On a worker (or before the workers start): valid until the worker returns to its loop. NULL when unknown. */
const struct participant *registry_find(const struct registry *registry, struct text ctx);
/* From any thread. */
size_t registry_count(const struct registry *registry);
void registry_each(const struct registry *registry, bool (*visit)(void *context, const struct participant *participant),
	void *context);
void registry_free(struct registry *registry);
