/* The router: from a request to its tenant's runtime. */
#include "router/router.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "router/route_table.h"
#include "server/answer.h"
#include "server/base/metric.h"
#include "server/path.h"
#include "server/worker_pool.h"

enum { RULES_MAX = 64 };

const struct setting router_settings_table[] = {
	{.key = "tenant_header",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct router_settings, tenant_header),
		.preset = "x-celld-context",
		.minimum = 1,
		.maximum = 64,
		.help = "lower-case name of the header in which a trusted ingress names the tenant"},
};
const size_t router_settings_count = sizeof(router_settings_table) / sizeof(router_settings_table[0]);

struct router {
	struct route_table *table;
	const struct tenant_settings *tenants;
	const struct router_settings *settings;
	struct route_rule rules[RULES_MAX];
	size_t rule_count;
	int slot, memos_slot;
	int refused_rate, refused_streams, refused_connections;
	struct exchange_meter meters[3]; /* in the order of `components` */
	const struct exchange_meter *rule_meters[RULES_MAX];
	atomic_bool is_fenced;
};

/* The runtimes whose requests are counted apart. */
static const struct {
	const char *runtime, *labels;
} components[] = {{"cp", "component=\"cp\""}, {"dp", "component=\"dp\""}, {"cs", "component=\"cs\""}};

static void register_meters(struct router *router)
{
	for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++) {
		router->meters[i] = (struct exchange_meter){
			metric_register(METRIC_HISTOGRAM, ROUTER_TIME_METRIC, components[i].labels, "Requests of a runtime"),
			metric_register(
				METRIC_COUNTER, ROUTER_FAILURES_METRIC, components[i].labels, "Answers of class 5xx of a runtime")};
		for (size_t j = 0; j < router->rule_count; j++) {
			if (strcmp(router->rules[j].runtime.name, components[i].runtime) == 0)
				router->rule_meters[j] = &router->meters[i];
		}
	}
}

static enum status on_start(void *context, struct worker *worker)
{
	const struct router *router = context;
	struct accounts *accounts = accounts_new(worker, router->tenants);
	struct route_memos *memos = calloc(1, sizeof(*memos));
	worker_slot_set(worker, router->slot, accounts);
	worker_slot_set(worker, router->memos_slot, memos);
	return accounts == NULL || memos == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	const struct router *router = context;
	accounts_free(worker_slot(worker, router->slot));
	free(worker_slot(worker, router->memos_slot));
	worker_slot_set(worker, router->slot, NULL);
	worker_slot_set(worker, router->memos_slot, NULL);
}

enum status router_open(struct registry *registry, struct worker_pool *pool, const struct tenant_settings *tenants,
	const struct router_settings *settings, const struct route_rule *rules, size_t count, struct router **router)
{
	struct router *made = calloc(1, sizeof(*made));
	if (made == NULL || count > RULES_MAX) {
		free(made);
		return made == NULL ? STATUS_NO_MEMORY : STATUS_INVALID;
	}
	made->tenants = tenants;
	made->settings = settings;
	memcpy(made->rules, rules, count * sizeof(rules[0]));
	made->rule_count = count;
	enum status status = route_table_open(registry, pool, tenants->domain, &made->table);
	if (status != STATUS_OK) {
		free(made);
		return status;
	}
	static const char name[] = "celld_tenant_refusals_total", help[] = "Requests refused by a tenant's limits";
	made->refused_rate = metric_register(METRIC_COUNTER, name, "limit=\"requests\"", help);
	made->refused_streams = metric_register(METRIC_COUNTER, name, "limit=\"streams\"", help);
	made->refused_connections = metric_register(METRIC_COUNTER, name, "limit=\"connections\"", help);
	register_meters(made);
	made->slot = worker_slot_new();
	made->memos_slot = worker_slot_new();
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	*router = made;
	return STATUS_OK;
}

void router_fence(struct router *router, bool is_fenced)
{
	atomic_store_explicit(&router->is_fenced, is_fenced, memory_order_release);
}

void router_free(struct router *router)
{
	if (router == NULL)
		return;
	route_table_free(router->table);
	free(router);
}

/* --- one request */

static void refuse(struct exchange *exchange, int status)
{
	answer_problem(exchange, status, TEXT_NONE);
}

static void refuse_admission(const struct router *router, struct exchange *exchange, enum admission admission)
{
	switch (admission) {
	case ADMITTED:
		return;
	case REFUSED_RATE:
		metric_add(router->refused_rate, 1);
		exchange_add_header(exchange, TEXT("retry-after"), TEXT("1"));
		answer_problem(exchange, 429, TEXT("the tenant's requests per second are used up"));
		return;
	case REFUSED_STREAMS:
		metric_add(router->refused_streams, 1);
		exchange_add_header(exchange, TEXT("retry-after"), TEXT("1"));
		answer_problem(exchange, 429, TEXT("the tenant has too many open requests"));
		return;
	case REFUSED_CONNECTIONS:
		metric_add(router->refused_connections, 1);
		exchange_add_header(exchange, TEXT("retry-after"), TEXT("1"));
		answer_problem(exchange, 429, TEXT("the tenant has too many connections"));
		return;
	case REFUSED_MEMORY:
		refuse(exchange, 503);
		return;
	}
}

/* The prefix must end where a segment does. */
static bool rule_matches(const struct route_rule *rule, const struct exchange *exchange, struct text path)
{
	return rule->listener == exchange->listener && text_starts_with(path, rule->prefix) &&
		   (path.length == rule->prefix.length || path.bytes[rule->prefix.length] == '/' ||
			   text_equals(rule->prefix, TEXT("/")));
}

/* Which tenant the host or the ingress names; *wrong: they name two. */
static struct gate *named_gate(const struct router *router, const struct exchange *exchange, bool *wrong)
{
	struct gate *by_host = route_table_find_host(router->table, exchange->authority);
	*wrong = false;
	if (!exchange->trusted_ingress)
		return by_host;
	struct text name = text_of(router->settings->tenant_header);
	struct text ctx = exchange_header(exchange, name);
	if (ctx.bytes == NULL)
		return by_host;
	struct gate *by_header = id_is_valid(ctx) ? route_table_find(router->table, ctx) : NULL;
	*wrong =
		exchange_header_count(exchange, name) > 1 || by_header == NULL || (by_host != NULL && by_host != by_header);
	return by_header;
}

static struct gate *find_gate(const struct router *router, const struct route_rule *rule,
	const struct exchange *exchange, struct text *rest, int *refusal)
{
	bool wrong;
	struct gate *named = named_gate(router, exchange, &wrong);
	struct text behind = *rest, segment;
	bool has_ctx = path_next(&behind, &segment) && id_is_valid(segment);
	struct route_memos *memos = worker_slot(exchange->worker, router->memos_slot);
	struct gate *in_path = has_ctx ? route_table_recall(router->table, segment, memos) : NULL;
	*refusal = 404;
	if (wrong || (has_ctx && named != NULL && named != in_path)) {
		*refusal = 403;
		return NULL;
	}
	if (has_ctx) {
		*rest = behind;
		return in_path;
	}
	return rule->by_host ? named : NULL;
}

static void handle_tenant(
	const struct router *router, const struct route_rule *rule, struct exchange *exchange, struct text rest)
{
	int refusal;
	struct gate *gate = find_gate(router, rule, exchange, &rest, &refusal);
	const struct participant *participant =
		gate == NULL ? NULL : atomic_load_explicit(&gate->participant, memory_order_acquire);
	/* unknown, not active, without this agent: one answer, before any body is read */
	if (participant == NULL || participant->state != PARTICIPANT_ACTIVATED ||
		(participant->vpas >> rule->vpa & 1U) == 0) {
		refuse(exchange, refusal);
		return;
	}
	struct accounts *accounts = worker_slot(exchange->worker, router->slot);
	enum admission admission = accounts_admit(accounts, gate, participant, exchange);
	if (admission != ADMITTED) {
		exchange->tenant =
			exchange_copy(exchange, exchange->tenant); /* the account may go before the answer has left */
		refuse_admission(router, exchange, admission);
		return;
	}
	const struct route route = {.participant = participant, .rest = rest};
	rule->runtime.handle(rule->runtime.context, exchange, &route);
}

void router_handle(void *context, struct exchange *exchange)
{
	const struct router *router = context;
	struct text path = exchange_path(exchange), canonical;
	char *room = exchange_allocate(exchange, path.length + 1);
	if (room == NULL) {
		refuse(exchange, 503);
		return;
	}
	if (path_canonical(path, room, path.length + 1, &canonical) != STATUS_OK) {
		refuse(exchange, 400);
		return;
	}
	for (size_t i = 0; i < router->rule_count; i++) {
		const struct route_rule *rule = &router->rules[i];
		if (!rule_matches(rule, exchange, canonical))
			continue;
		exchange->meter = router->rule_meters[i];
		if (exchange->listener == LISTENER_PUBLIC && rule->kind != ROUTE_PROCESS &&
			atomic_load_explicit(&router->is_fenced, memory_order_acquire)) {
			exchange->note = TEXT("fenced");
			refuse(exchange, 503);
			return;
		}
		size_t length = text_equals(rule->prefix, TEXT("/")) ? 0 : rule->prefix.length;
		struct text rest = text_slice(canonical, length, canonical.length);
		if (rule->kind == ROUTE_TENANT) {
			handle_tenant(router, rule, exchange, rest);
			return;
		}
		const struct route route = {.rest = rest};
		rule->runtime.handle(rule->runtime.context, exchange, &route);
		return;
	}
	refuse(exchange, 404);
}
