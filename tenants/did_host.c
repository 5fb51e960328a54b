/* DID documents: an index of identities, kept by the store's thread, and the answers made from the registry. */
#include "tenants/did_host.h"

#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/log.h"
#include "server/base/map.h"
#include "server/worker_pool.h"
#include "tenants/jose/did.h"

struct did_host {
	const struct registry *registry;
	struct worker_pool *pool;
	_Atomic(struct map *) identities; /* normal form of the DID -> struct owner */
	bool is_loading;
};

struct owner {
	char ctx[ID_LENGTH + 1];
};

/* Escapes in upper case, the host in lower case: one spelling for what means one document. False: no did:web, or too
 * long. */
static bool normalize(struct text did, struct buffer *into)
{
	static const struct text start = {"did:web:", 8};
	if (!text_starts_with(did, start) || did.length > DID_LENGTH_MAX)
		return false;
	size_t host_end = start.length + text_find(text_slice(did, start.length, did.length), ':');
	for (size_t i = 0; i < did.length; i++) {
		char byte = did.bytes[i];
		bool is_escape = (i >= 1 && did.bytes[i - 1] == '%') || (i >= 2 && did.bytes[i - 2] == '%');
		if (is_escape && byte >= 'a' && byte <= 'f')
			byte = (char)(byte - 'a' + 'A');
		else if (!is_escape && i < host_end && byte >= 'A' && byte <= 'Z')
			byte = (char)(byte - 'A' + 'a');
		buffer_append_byte(into, byte);
	}
	return !into->failed;
}

/* --- the index */

static void retire_map(void *map)
{
	map_retire(map);
}

/* owner NULL: removes */
static enum status publish(struct did_host *host, struct text key, struct owner *owner)
{
	struct map *old = atomic_load_explicit(&host->identities, memory_order_relaxed), *next = old;
	struct owner *previous = map_find(old, key);
	enum status status;
	if (host->is_loading && owner != NULL)
		status = map_load(old, key, owner);
	else
		status = owner != NULL ? map_put(old, key, owner, &next) : map_remove(old, key, &next);
	if (status != STATUS_OK)
		return status;
	if (next != old) {
		atomic_store_explicit(&host->identities, next, memory_order_release);
		worker_pool_retire(host->pool, retire_map, old);
	}
	if (previous != NULL)
		worker_pool_retire(host->pool, free, previous);
	return STATUS_OK;
}

static void remove_identity(struct did_host *host, const char *ctx, const char *identity)
{
	struct buffer key = {0};
	if (normalize(text_of(identity), &key)) {
		const struct owner *owner =
			map_find(atomic_load_explicit(&host->identities, memory_order_relaxed), buffer_text(&key));
		if (owner != NULL && strcmp(owner->ctx, ctx) == 0 && publish(host, buffer_text(&key), NULL) != STATUS_OK)
			LOG(ERROR, "did.host", log_text("tenant", text_of(ctx)), log_text("error", TEXT("out of memory")));
	}
	buffer_free(&key);
}

static void add_identity(struct did_host *host, const char *ctx, const char *identity)
{
	struct buffer key = {0};
	if (normalize(text_of(identity), &key)) {
		struct owner *owner = calloc(1, sizeof(*owner));
		if (owner != NULL)
			memcpy(owner->ctx, ctx, ID_LENGTH);
		if (owner == NULL || publish(host, buffer_text(&key), owner) != STATUS_OK) {
			free(owner);
			LOG(ERROR, "did.host", log_text("tenant", text_of(ctx)), log_text("error", TEXT("out of memory")));
		}
	}
	buffer_free(&key);
}

static void on_change(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous)
{
	struct did_host *host = context;
	if (participant != NULL && previous != NULL && strcmp(participant->identity, previous->identity) == 0)
		return;
	if (previous != NULL)
		remove_identity(host, ctx, previous->identity);
	if (participant != NULL)
		add_identity(host, ctx, participant->identity);
}

static void on_batch(void *context)
{
	((struct did_host *)context)->is_loading = false;
}

enum status did_host_open(struct registry *registry, struct worker_pool *pool, struct did_host **host)
{
	struct did_host *made = calloc(1, sizeof(*made));
	struct map *map = map_new();
	if (made == NULL || map == NULL) {
		free(made);
		map_free(map);
		return STATUS_NO_MEMORY;
	}
	made->registry = registry;
	made->pool = pool;
	made->is_loading = true;
	atomic_init(&made->identities, map);
	registry_observe(registry, on_change, on_batch, made);
	*host = made;
	return STATUS_OK;
}

static bool free_one(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	free(value);
	return true;
}

void did_host_free(struct did_host *host)
{
	if (host == NULL)
		return;
	struct map *map = atomic_load_explicit(&host->identities, memory_order_relaxed);
	map_each(map, free_one, NULL);
	map_free(map);
	free(host);
}

/* --- answers */

/* The DID whose document this request would be. */
static bool requested_did(const struct exchange *exchange, struct text path, struct buffer *did)
{
	static const struct text end = {"/did.json", 9};
	if (!text_ends_with(path, end) || exchange->authority.length == 0)
		return false;
	buffer_append(did, TEXT("did:web:"));
	for (size_t i = 0; i < exchange->authority.length; i++) {
		if (exchange->authority.bytes[i] == ':')
			buffer_append(did, TEXT("%3A"));
		else
			buffer_append_byte(did, exchange->authority.bytes[i]);
	}
	struct text rest = text_slice(path, 0, path.length - end.length);
	if (text_equals(rest, TEXT("/.well-known")))
		return !did->failed;
	for (size_t i = 0; i < rest.length; i++)
		buffer_append_byte(did, rest.bytes[i] == '/' ? ':' : rest.bytes[i]);
	return rest.length > 0 && !did->failed;
}

static const struct participant *find(const struct did_host *host, const struct exchange *exchange, struct text path)
{
	struct buffer did = {0}, key = {0};
	const struct owner *owner = NULL;
	if (requested_did(exchange, path, &did) && normalize(buffer_text(&did), &key))
		owner = map_find(atomic_load_explicit(&host->identities, memory_order_acquire), buffer_text(&key));
	buffer_free(&did);
	buffer_free(&key);
	const struct participant *participant = owner == NULL ? NULL : registry_find(host->registry, text_of(owner->ctx));
	return participant != NULL && participant->state == PARTICIPANT_ACTIVATED ? participant : NULL;
}

void did_host_handle(void *context, struct exchange *exchange, const struct route *route)
{
	bool is_read = text_equals(exchange->method, TEXT("GET")) || text_equals(exchange->method, TEXT("HEAD"));
	const struct participant *participant = is_read ? find(context, exchange, route->rest) : NULL;
	struct buffer document = {0};
	if (participant == NULL) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (did_document_print(text_of(participant->identity), participant->keys, participant->key_count, &document) !=
		STATUS_OK) {
		answer_problem(exchange, 503, TEXT_NONE);
	} else {
		/* a new key is asked for by its kid, past the caches */
		exchange_add_header(exchange, TEXT("cache-control"), TEXT("public, max-age=60"));
		answer_json(exchange, 200, buffer_text(&document));
	}
	buffer_free(&document);
}
