/* The router: the engine's one handler. Path, host or trusted header -> ctx -> participant and VPA -> runtime, with the
 * tenant's limits and share; an immutable table, swapped under the workers. */
#pragma once

#include "server/exchange.h"
#include "tenants/registry.h"
#include "tenants/runtime.h"

/* Section "router". */
struct router_settings {
	char *
		tenant_header; /* set by a trusted ingress: default "x-celld-context"; removed from everybody else's requests */
};
extern const struct setting router_settings_table[];
extern const size_t router_settings_count;

struct router;

enum route_kind {
	ROUTE_TENANT, /* {ctx} follows the prefix; needs an ACTIVATED participant with `vpa` */
	ROUTE_CELL,   /* no ctx; the runtime finds its own way */
	ROUTE_PROCESS /* the same, and nothing of a tenant: tells an operator how this process is, fenced or not */
};
struct route_rule {
	struct text prefix; /* "/api/public" */
	enum route_kind kind;
	enum vpa_type vpa;
	enum listener_role listener;
	bool by_host; /* also reachable without the ctx segment when host or trusted header names the tenant */
	struct runtime runtime;
};

/* Rules are copied; first match wins; no match: 404 before the body is read. */
enum status router_open(struct registry *registry, struct worker_pool *pool, const struct tenant_settings *tenants,
	const struct router_settings *settings, const struct route_rule *rules, size_t count,
	struct router **router) MUST_CHECK;
/* From any thread. Fenced: another process has taken this cell's place, and all that its tenants have, whatever becomes
 * of their class at the end of a lease (control.md 2.3, 2.9.1): the public listeners answer 503 to whatever is a
 * tenant's. */
void router_fence(struct router *router, bool is_fenced);
/* What the requests of a runtime took (histogram) and how many failed, label component="cp", "dp", "cs". */
#define ROUTER_TIME_METRIC "celld_component_seconds"
#define ROUTER_FAILURES_METRIC "celld_component_failures_total"
void router_handle(void *router, struct exchange *exchange);
void router_free(struct router *router);
