/* The registry: records of participants become snapshots in a persistent map, published by the store's thread. */
#include "tenants/registry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/map.h"
#include "server/worker_pool.h"
#include "tenants/participant_build.h"

enum { OBSERVERS_MAX = 8, KEYS_MAX = 64 };

#define TENANT(name, kind_, ...)                                                                                       \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct tenant_settings, name), __VA_ARGS__                     \
	}
#define LARGE ((int64_t)1 << 50)
const struct setting tenant_settings_table[] = {
	TENANT(requests_per_second, SETTING_INTEGER, .preset = "1000", .minimum = 1, .maximum = LARGE,
		.help = "of one tenant; entry celld.limits.requestsPerSecond"),
	TENANT(bytes_per_second, SETTING_BYTES, .preset = "0", .minimum = 0, .maximum = LARGE,
		.help = "sent for one tenant, 0: as much as its share gives; entry celld.limits.bytesPerSecond"),
	TENANT(streams, SETTING_INTEGER, .preset = "200", .minimum = 1, .maximum = LARGE,
		.help = "open exchanges of one tenant; entry celld.limits.streams"),
	TENANT(connections, SETTING_INTEGER, .preset = "200", .minimum = 1, .maximum = LARGE,
		.help = "connections with open exchanges of one tenant; entry celld.limits.connections"),
	TENANT(weight, SETTING_INTEGER, .preset = "1", .minimum = 1, .maximum = 1000,
		.help = "in the division of a worker's core and sockets; entry celld.weight"),
	TENANT(domain, SETTING_TEXT, .minimum = 1, .maximum = 200, .help = "{ctx}.<domain> leads to the tenant; null: off"),
};
const size_t tenant_settings_count = sizeof(tenant_settings_table) / sizeof(tenant_settings_table[0]);

struct observer {
	void (*on_change)(
		void *context, const char *ctx, const struct participant *participant, const struct participant *previous);
	void (*on_batch)(void *context);
	void *context;
};

struct registry {
	struct worker_pool *pool;
	_Atomic(struct map *) participants; /* written by the store's thread */
	atomic_size_t count;
	bool is_loading; /* nobody reads yet: the map is edited in place */
	struct observer observers[OBSERVERS_MAX];
	unsigned observer_count;
};

static struct map *current(const struct registry *registry)
{
	return atomic_load_explicit(&registry->participants, memory_order_acquire);
}

const struct participant *registry_find(const struct registry *registry, struct text ctx)
{
	return map_find(current(registry), ctx);
}

size_t registry_count(const struct registry *registry)
{
	return atomic_load_explicit(&registry->count, memory_order_relaxed);
}

struct visit {
	bool (*visit)(void *context, const struct participant *participant);
	void *context;
};

static bool visit_one(void *context, struct text key, void *value)
{
	const struct visit *visit = context;
	(void)key;
	return visit->visit(visit->context, value);
}

void registry_each(
	const struct registry *registry, bool (*visit)(void *context, const struct participant *participant), void *context)
{
	struct visit both = {visit, context};
	map_each(current(registry), visit_one, &both);
}

/* --- changes */

static void retire_map(void *map)
{
	map_retire(map);
}

/* next NULL: the participant is gone. */
static enum status publish(struct registry *registry, const char *ctx, struct participant *next)
{
	struct map *old = current(registry), *map = old;
	struct participant *previous = map_find(old, text_of(ctx));
	enum status status;
	if (registry->is_loading && next != NULL)
		status = map_load(old, text_of(ctx), next);
	else
		status = next != NULL ? map_put(old, text_of(ctx), next, &map) : map_remove(old, text_of(ctx), &map);
	if (status != STATUS_OK)
		return status;
	if (map != old) {
		atomic_store_explicit(&registry->participants, map, memory_order_release);
		worker_pool_retire(registry->pool, retire_map, old);
	}
	atomic_store_explicit(&registry->count, map_count(map), memory_order_relaxed);
	for (unsigned i = 0; i < registry->observer_count; i++)
		registry->observers[i].on_change(registry->observers[i].context, ctx, next, previous);
	if (previous != NULL)
		worker_pool_retire(registry->pool, participant_free, previous);
	return STATUS_OK;
}

/* The record's id is the alias, and kids are "<ctx>#<alias>-<8 hex>"; or it is the kid itself, of a mapped key. */
static bool is_of_alias(const struct key *key, struct text alias)
{
	struct text kid = key_id(key);
	if (text_equals(kid, alias))
		return true;
	size_t mark = text_find(kid, '#'), dash = kid.length;
	while (dash > 0 && kid.bytes[dash - 1] != '-')
		dash--;
	return mark < dash && text_equals(text_slice(kid, mark + 1, dash - 1), alias);
}

/* The keys after the record, borrowed; *added: the one of them that is the caller's to free, or NULL. */
static enum status change_keys(const struct participant *previous, const struct record *record, struct key **keys,
	size_t *count, struct key **added)
{
	size_t kept = 0;
	*added = NULL;
	for (size_t i = 0; i < previous->key_count; i++) {
		if (!is_of_alias(previous->keys[i], record->id))
			keys[kept++] = previous->keys[i];
	}
	if (record->body.bytes != NULL) {
		if (kept == KEYS_MAX)
			return STATUS_TOO_LARGE;
		enum status status = key_from_public_jwk(record->body, added);
		if (status != STATUS_OK)
			return status;
		keys[kept++] = *added;
	}
	*count = kept;
	return STATUS_OK;
}

static enum status rebuild(struct registry *registry, const struct record *record, const struct participant *previous)
{
	struct text body = previous == NULL ? TEXT_NONE : text_of(previous->body);
	struct text config = previous == NULL || previous->config == NULL ? TEXT_NONE : text_of(previous->config);
	struct key *keys[KEYS_MAX], *added = NULL;
	size_t key_count = previous == NULL ? 0 : previous->key_count;
	for (size_t i = 0; i < key_count; i++)
		keys[i] = previous->keys[i];
	enum status status = STATUS_OK;
	if (record->kind == RECORD_PARTICIPANT)
		body = record->body;
	else if (record->kind == RECORD_PARTICIPANT_CONFIG)
		config = record->body;
	else
		status = change_keys(previous, record, keys, &key_count, &added);
	struct participant *next = NULL;
	if (status == STATUS_OK)
		status = participant_build(record->ctx, body, config, keys, key_count, &next);
	key_free(added); /* the snapshot has its own reference */
	if (status != STATUS_OK)
		return status;
	next->revision = record->kind == RECORD_PARTICIPANT ? record->revision : previous->revision;
	next->config_revision = record->kind == RECORD_PARTICIPANT_CONFIG
								? (record->body.bytes != NULL ? record->revision : 0)
							: previous != NULL ? previous->config_revision
											   : 0;
	status = publish(registry, next->ctx, next);
	if (status != STATUS_OK)
		participant_free(next);
	return status;
}

static void on_record(void *context, const struct record *record)
{
	struct registry *registry = context;
	char ctx[ID_LENGTH + 1];
	if (record->kind != RECORD_PARTICIPANT && record->kind != RECORD_PARTICIPANT_CONFIG && record->kind != RECORD_KEY)
		return;
	if (!id_is_valid(record->ctx))
		return;
	memcpy(ctx, record->ctx.bytes, ID_LENGTH);
	ctx[ID_LENGTH] = 0;
	const struct participant *previous = registry_find(registry, record->ctx);
	enum status status = STATUS_OK;
	if (record->kind == RECORD_PARTICIPANT && record->body.bytes == NULL)
		status = previous == NULL ? STATUS_OK : publish(registry, ctx, NULL);
	else if (previous != NULL || record->kind == RECORD_PARTICIPANT)
		status = rebuild(registry, record, previous);
	if (status != STATUS_OK)
		LOG(ERROR, "registry.record", log_text("tenant", record->ctx),
			log_text("kind", text_of(record_kind_name(record->kind))), log_text("error", text_of(status_text(status))));
}

static void on_batch(void *context)
{
	struct registry *registry = context;
	registry->is_loading = false;
	for (unsigned i = 0; i < registry->observer_count; i++) {
		if (registry->observers[i].on_batch != NULL)
			registry->observers[i].on_batch(registry->observers[i].context);
	}
}

enum status registry_open(
	struct store *store, struct worker_pool *pool, const struct tenant_settings *settings, struct registry **registry)
{
	struct registry *made = calloc(1, sizeof(*made));
	struct map *map = map_new();
	(void)settings;
	if (made == NULL || map == NULL) {
		free(made);
		map_free(map);
		return STATUS_NO_MEMORY;
	}
	made->pool = pool;
	made->is_loading = true;
	atomic_init(&made->participants, map);
	const struct store_listener listener = {.on_record = on_record, .on_batch = on_batch, .context = made};
	store_listen(store, &listener);
	*registry = made;
	return STATUS_OK;
}

void registry_observe(struct registry *registry,
	void (*on_change)(
		void *context, const char *ctx, const struct participant *participant, const struct participant *previous),
	void (*on_batch_end)(void *context), void *context)
{
	if (registry->observer_count == OBSERVERS_MAX)
		abort(); /* our mistake */
	registry->observers[registry->observer_count++] = (struct observer){on_change, on_batch_end, context};
}

static bool free_one(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	participant_free(value);
	return true;
}

void registry_free(struct registry *registry)
{
	if (registry == NULL)
		return;
	map_each(current(registry), free_one, NULL);
	map_free(current(registry));
	free(registry);
}
