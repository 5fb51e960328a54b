/* The route table: ctx and host name -> gate, in persistent maps that the store's thread publishes and workers read. */
#pragma once

#include "router/gate.h"
#include "server/base/map.h"

struct route_table;

/* Observes the registry. domain: "{ctx}.<domain>" names a tenant; NULL: off. */
enum status route_table_open(
	struct registry *registry, struct worker_pool *pool, const char *domain, struct route_table **table) MUST_CHECK;
/* Valid until the worker returns to its loop. NULL: unknown. */
struct gate *route_table_find(const struct route_table *table, struct text ctx);
/* The same, for a worker that asks for the same again and again. All-zero starts. */
enum { ROUTE_MEMOS = 64 };
struct route_memos {
	struct map_memo of[ROUTE_MEMOS];
};
struct gate *route_table_recall(const struct route_table *table, struct text ctx, struct route_memos *memos);
/* By the authority of a request: lower-case, its port is ignored. */
struct gate *route_table_find_host(const struct route_table *table, struct text authority);
size_t route_table_count(const struct route_table *table);
void route_table_free(struct route_table *table);
