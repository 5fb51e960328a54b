/* Route tables from the registry's changes. */
#include "router/route_table.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/worker_pool.h"

struct route_table {
	struct worker_pool *pool;
	struct text domain; /* TEXT_NONE: off */
	bool is_loading;
	_Atomic(struct map *) by_ctx, by_host;
};

static struct map *version(const _Atomic(struct map *) *map)
{
	return atomic_load_explicit(map, memory_order_acquire);
}

static void retire_map(void *map)
{
	map_retire(map);
}

/* gate NULL: removes. False: out of memory, the table is as it was. */
static bool publish(struct route_table *table, _Atomic(struct map *) *which, struct text key, struct gate *gate)
{
	struct map *old = version(which), *next = old;
	enum status status;
	if (table->is_loading && gate != NULL)
		status = map_load(old, key, gate);
	else
		status = gate != NULL ? map_put(old, key, gate, &next) : map_remove(old, key, &next);
	if (status != STATUS_OK) {
		LOG(ERROR, "router.publish", log_text("key", key), log_text("error", text_of(status_text(status))));
		return false;
	}
	if (next != old) {
		atomic_store_explicit(which, next, memory_order_release);
		worker_pool_retire(table->pool, retire_map, old);
	}
	return true;
}

static bool has_host(const struct participant *participant, const char *host)
{
	for (size_t i = 0; participant != NULL && i < participant->host_count; i++) {
		if (strcmp(participant->hosts[i], host) == 0)
			return true;
	}
	return false;
}

/* False: a name that was to go still leads to the gate. */
static bool change_hosts(struct route_table *table, struct gate *gate, const struct participant *participant,
	const struct participant *previous)
{
	bool is_gone = true;
	for (size_t i = 0; previous != NULL && i < previous->host_count; i++) {
		struct text host = text_of(previous->hosts[i]);
		if (!has_host(participant, previous->hosts[i]) && map_find(version(&table->by_host), host) == gate)
			is_gone = publish(table, &table->by_host, host, NULL) && is_gone;
	}
	for (size_t i = 0; participant != NULL && i < participant->host_count; i++) {
		struct text host = text_of(participant->hosts[i]);
		struct gate *owner = map_find(version(&table->by_host), host);
		if (owner == NULL)
			(void)publish(table, &table->by_host, host, gate);
		else if (owner != gate) /* a name belongs to whoever had it first */
			LOG(WARNING, "router.host_taken", log_text("tenant", text_of(gate->ctx)), log_text("host", host));
	}
	return is_gone;
}

static void on_change(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous)
{
	struct route_table *table = context;
	struct gate *gate = map_find(version(&table->by_ctx), text_of(ctx));
	bool is_new = gate == NULL;
	if (participant == NULL) {
		if (gate == NULL)
			return;
		/* whoever still finds the gate finds nobody behind it */
		atomic_store_explicit(&gate->participant, NULL, memory_order_release);
		bool is_gone = change_hosts(table, gate, NULL, previous);
		if (publish(table, &table->by_ctx, text_of(ctx), NULL) && is_gone)
			worker_pool_retire(table->pool, gate_unref, gate);
		return;
	}
	if (is_new)
		gate = gate_new(participant);
	if (gate == NULL) {
		LOG(ERROR, "router.publish", log_text("tenant", text_of(ctx)), log_text("error", TEXT("out of memory")));
		return;
	}
	atomic_store_explicit(&gate->participant, participant, memory_order_release);
	if (is_new && !publish(table, &table->by_ctx, text_of(gate->ctx), gate)) {
		gate_unref(gate);
		return;
	}
	(void)change_hosts(table, gate, participant, previous);
}

static void on_batch(void *context)
{
	((struct route_table *)context)->is_loading = false;
}

enum status route_table_open(
	struct registry *registry, struct worker_pool *pool, const char *domain, struct route_table **table)
{
	struct route_table *made = calloc(1, sizeof(*made));
	struct map *by_ctx = map_new(), *by_host = map_new();
	if (made == NULL || by_ctx == NULL || by_host == NULL) {
		free(made);
		map_free(by_ctx);
		map_free(by_host);
		return STATUS_NO_MEMORY;
	}
	made->pool = pool;
	made->domain = domain == NULL ? TEXT_NONE : text_of(domain);
	made->is_loading = true;
	atomic_init(&made->by_ctx, by_ctx);
	atomic_init(&made->by_host, by_host);
	registry_observe(registry, on_change, on_batch, made);
	*table = made;
	return STATUS_OK;
}

struct gate *route_table_find(const struct route_table *table, struct text ctx)
{
	return map_find(version(&table->by_ctx), ctx);
}

/* A gate stands as long as the version in which it was found. */
struct gate *route_table_recall(const struct route_table *table, struct text ctx, struct route_memos *memos)
{
	const struct map *map = version(&table->by_ctx);
	uint64_t end;
	if (ctx.length != ID_LENGTH)
		return NULL;
	memcpy(&end, ctx.bytes + ID_LENGTH - sizeof(end), sizeof(end));
	struct map_memo *memo = &memos->of[end * UINT64_C(0x9e3779b97f4a7c15) >> 58];
	struct gate *gate = memo->found;
	if (memo->version == map_version(map) && memcmp(gate->ctx, ctx.bytes, ID_LENGTH) == 0)
		return gate;
	gate = map_find(map, ctx);
	if (gate != NULL)
		*memo = (struct map_memo){map_version(map), gate};
	return gate;
}

struct gate *route_table_find_host(const struct route_table *table, struct text authority)
{
	struct text host = text_slice(authority, 0, text_find(authority, ':'));
	if (table->domain.bytes != NULL && host.length == ID_LENGTH + 1 + table->domain.length &&
		host.bytes[ID_LENGTH] == '.' && /* NOLINT(clang-analyzer-core.NullDereference): its length says it is there */
		text_ends_with(host, table->domain))
		return route_table_find(table, text_slice(host, 0, ID_LENGTH));
	return map_count(version(&table->by_host)) == 0 ? NULL : map_find(version(&table->by_host), host);
}

size_t route_table_count(const struct route_table *table)
{
	return map_count(version(&table->by_ctx));
}

static bool free_one(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	gate_unref(value);
	return true;
}

void route_table_free(struct route_table *table)
{
	if (table == NULL)
		return;
	map_each(version(&table->by_ctx), free_one, NULL);
	map_free(version(&table->by_ctx));
	map_free(version(&table->by_host));
	free(table);
}
