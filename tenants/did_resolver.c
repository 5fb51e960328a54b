/* The resolver: a bounded cache on each worker, and the fetches that fill it. */
#include "tenants/did_resolver.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/map.h"
#include "server/fetch.h"
#include "server/worker_pool.h"

enum {
	ENTRIES_MAX = 1024, /* on each worker */
	BUCKETS = 256,
	WAITERS_MAX = 1024, /* for one document */
	KEEP_MS = 300000,
	KEEP_FAILURE_MS = 10000,
	FETCH_MS = 10000, /* the whole of it */
	SILENCE_MS = 5000,
	FORCED_MAX = 8, /* fetches for unknown kids: that many at once, then one in ... */
	FORCED_EVERY_MS = 5000,
	KID_MAX = 2048
};

struct waiter {
	did_done *done;
	void *context;
	struct waiter *next;
	size_t length;
	char kid[];
};

struct entry {
	struct home *home;
	struct entry *next;            /* in its bucket */
	struct entry *newer, *older;   /* by use */
	struct did_document *document; /* NULL: none, `failure` says why */
	enum status failure;
	uint64_t until_ms;  /* of document or failure; 0: nothing is known */
	uint64_t forced_ms; /* when the allowance was last counted */
	unsigned forced;    /* what is left of it */
	bool is_fetching;
	struct fetch *fetch;
	struct timer *timer;
	struct waiter *waiters, **waiters_end;
	unsigned waiter_count;
	char ctx[ID_LENGTH + 1];
	char did[]; /* NUL-terminated */
};

struct home {
	struct did_resolver *resolver;
	struct worker *worker;
	struct entry *buckets[BUCKETS];
	struct entry *newest, *oldest;
	unsigned count;
};

struct did_resolver {
	const struct registry *registry;
	int slot;
};

/* --- the cache */

static struct entry **bucket_of(struct home *home, struct text ctx, struct text did)
{
	char room[DID_LENGTH_MAX + ID_LENGTH + 64];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, did}, 2);
	return &home->buckets[text_hash(key) % BUCKETS];
}

static void unlink_use(struct entry *entry)
{
	struct home *home = entry->home;
	*(entry->newer != NULL ? &entry->newer->older : &home->newest) = entry->older;
	*(entry->older != NULL ? &entry->older->newer : &home->oldest) = entry->newer;
	entry->newer = entry->older = NULL;
}

static void link_use(struct entry *entry)
{
	struct home *home = entry->home;
	entry->older = home->newest;
	*(home->newest != NULL ? &home->newest->newer : &home->oldest) = entry;
	home->newest = entry;
}

static void entry_free(struct entry *entry)
{
	struct entry **at = bucket_of(entry->home, text_of(entry->ctx), text_of(entry->did));
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	unlink_use(entry);
	entry->home->count--;
	fetch_cancel(entry->fetch);
	timer_free(entry->timer);
	did_document_free(entry->document);
	free(entry);
}

static bool make_room(struct home *home)
{
	struct entry *entry = home->oldest;
	while (home->count >= ENTRIES_MAX && entry != NULL) {
		struct entry *next = entry->newer;
		if (!entry->is_fetching)
			entry_free(entry);
		entry = next;
	}
	return home->count < ENTRIES_MAX;
}

static struct entry *find_or_add(struct home *home, struct text ctx, struct text did)
{
	struct entry **bucket = bucket_of(home, ctx, did);
	for (struct entry *entry = *bucket; entry != NULL; entry = entry->next) {
		if (text_equals(text_of(entry->ctx), ctx) && text_equals(text_of(entry->did), did)) {
			unlink_use(entry);
			link_use(entry);
			return entry;
		}
	}
	struct entry *entry = make_room(home) ? calloc(1, sizeof(*entry) + did.length + 1) : NULL;
	if (entry == NULL)
		return NULL;
	entry->home = home;
	entry->forced = FORCED_MAX;
	entry->forced_ms = worker_now_ms(home->worker);
	entry->waiters_end = &entry->waiters;
	memcpy(entry->ctx, ctx.bytes, ctx.length);
	memcpy(entry->did, did.bytes, did.length);
	entry->next = *bucket;
	*bucket = entry;
	home->count++;
	link_use(entry);
	return entry;
}

/* --- fetches */

static void start_fetch(struct entry *entry);

/* One more fetch for a kid the document does not have? */
static bool may_force(struct entry *entry)
{
	uint64_t now_ms = worker_now_ms(entry->home->worker), grown = (now_ms - entry->forced_ms) / FORCED_EVERY_MS;
	if (grown > 0) {
		entry->forced = entry->forced + grown > FORCED_MAX ? FORCED_MAX : entry->forced + (unsigned)grown;
		entry->forced_ms = now_ms;
	}
	if (entry->forced == 0)
		return false;
	entry->forced--;
	return true;
}

static void answer(struct entry *entry, const struct waiter *waiter)
{
	const struct key *key =
		entry->document == NULL ? NULL : did_document_find(entry->document, (struct text){waiter->kid, waiter->length});
	if (key != NULL && entry->forced < FORCED_MAX)
		entry->forced++; /* a fetch that found its key was no waste */
	waiter->done(waiter->context,
		key != NULL               ? STATUS_OK
		: entry->document == NULL ? entry->failure
								  : STATUS_NOT_FOUND,
		key);
}

static void finish(struct entry *entry, enum status status, struct did_document *document)
{
	fetch_cancel(entry->fetch);
	entry->fetch = NULL;
	if (entry->timer != NULL)
		timer_cancel(entry->timer);
	/* a document that is still good outlives a failed try for a newer one */
	uint64_t now_ms = worker_now_ms(entry->home->worker);
	if (status == STATUS_OK || entry->document == NULL || now_ms >= entry->until_ms) {
		did_document_free(entry->document);
		entry->document = document;
		entry->failure = status;
		entry->until_ms = now_ms + (status == STATUS_OK ? KEEP_MS : KEEP_FAILURE_MS);
	}
	struct waiter *waiter = entry->waiters;
	entry->waiters = NULL;
	entry->waiters_end = &entry->waiters;
	entry->waiter_count = 0;
	/* is_fetching keeps the entry from being freed by what the waiters do */
	while (waiter != NULL) {
		struct waiter *next = waiter->next;
		answer(entry, waiter);
		free(waiter);
		waiter = next;
	}
	entry->is_fetching = false;
	if (entry->waiters != NULL)
		start_fetch(entry);
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct entry *entry = context;
	struct did_document *document = NULL;
	entry->fetch = NULL;
	if (answer->http != 0 && answer->http != 200) /* how it ended does not matter then */
		status = answer->http >= 500 || answer->http == 429 ? STATUS_UNAVAILABLE : STATUS_INVALID;
	else if (status == STATUS_OK)
		status = did_document_parse(answer->body, text_of(entry->did), &document);
	finish(entry, status == STATUS_TOO_LARGE ? STATUS_INVALID : status, document);
}

static void on_time(void *context)
{
	finish(context, STATUS_TIMEOUT, NULL);
}

static enum status call_host(struct entry *entry)
{
	struct home *home = entry->home;
	const struct participant *participant = registry_find(home->resolver->registry, text_of(entry->ctx));
	struct buffer address = {0};
	if (participant == NULL)
		return STATUS_UNAVAILABLE;
	enum status status = did_web_url(text_of(entry->did), participant->signaling.allows_clear, &address);
	if (status == STATUS_OK) {
		struct address_rules addresses = participant_address_rules(participant);
		const struct fetch_order order = {.tenant = text_of(entry->ctx),
			.address = buffer_text(&address),
			.method = TEXT("GET"),
			.accept = TEXT("application/did+json, application/json"),
			.rules = &addresses,
			.timeout_ms = SILENCE_MS,
			.answer_max = DID_DOCUMENT_MAX};
		status = fetch_start(home->worker, &order, on_answer, entry, &entry->fetch);
	}
	buffer_free(&address);
	return status;
}

static void start_fetch(struct entry *entry)
{
	entry->is_fetching = true;
	if (entry->timer == NULL)
		entry->timer = timer_new(entry->home->worker, on_time, entry);
	enum status status = entry->timer == NULL ? STATUS_NO_MEMORY : call_host(entry);
	if (status != STATUS_OK)
		finish(entry, status, NULL);
	else
		timer_set(entry->timer, FETCH_MS);
}

/* --- asking */

static bool wait(struct entry *entry, struct text kid, did_done *done, void *context)
{
	struct waiter *waiter = entry->waiter_count < WAITERS_MAX ? malloc(sizeof(*waiter) + kid.length) : NULL;
	if (waiter == NULL)
		return false;
	*waiter = (struct waiter){.done = done, .context = context, .length = kid.length};
	memcpy(waiter->kid, kid.bytes, kid.length);
	*entry->waiters_end = waiter;
	entry->waiters_end = &waiter->next;
	entry->waiter_count++;
	return true;
}

void did_resolver_key(struct did_resolver *resolver, struct worker *worker, struct text ctx, struct text did,
	struct text kid, did_done *done, void *context)
{
	struct home *home = worker_slot(worker, resolver->slot);
	if (ctx.length != ID_LENGTH || did.length == 0 || did.length > DID_LENGTH_MAX || kid.length == 0 ||
		kid.length > KID_MAX || memchr(did.bytes, 0, did.length) != NULL) {
		done(context, STATUS_INVALID, NULL);
		return;
	}
	struct entry *entry = find_or_add(home, ctx, did);
	if (entry == NULL) {
		done(context, STATUS_REFUSED, NULL);
		return;
	}
	if (!entry->is_fetching && worker_now_ms(worker) < entry->until_ms) {
		const struct key *key = entry->document == NULL ? NULL : did_document_find(entry->document, kid);
		bool is_settled = key != NULL || entry->document == NULL || !may_force(entry);
		if (is_settled) {
			done(context, key != NULL ? STATUS_OK : entry->document == NULL ? entry->failure : STATUS_NOT_FOUND, key);
			return;
		}
	}
	if (!wait(entry, kid, done, context))
		done(context, STATUS_REFUSED, NULL);
	else if (!entry->is_fetching)
		start_fetch(entry);
}

/* --- opening */

static enum status on_start(void *context, struct worker *worker)
{
	struct did_resolver *resolver = context;
	struct home *home = calloc(1, sizeof(*home));
	if (home == NULL)
		return STATUS_NO_MEMORY;
	home->resolver = resolver;
	home->worker = worker;
	worker_slot_set(worker, resolver->slot, home);
	return STATUS_OK;
}

/* Whoever waits hears of it, so that nothing stays behind. */
static void on_stop(void *context, struct worker *worker)
{
	const struct did_resolver *resolver = context;
	struct home *home = worker_slot(worker, resolver->slot);
	if (home == NULL)
		return;
	for (struct entry *entry = home->newest; entry != NULL; entry = entry->older) {
		if (entry->is_fetching)
			finish(entry, STATUS_UNAVAILABLE, NULL);
	}
	for (struct entry *entry = home->newest, *older; entry != NULL; entry = older) {
		older = entry->older;
		entry_free(entry);
	}
	free(home);
	worker_slot_set(worker, resolver->slot, NULL);
}

enum status did_resolver_open(struct worker_pool *pool, const struct registry *registry, struct did_resolver **resolver)
{
	struct did_resolver *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->registry = registry;
	made->slot = worker_slot_new();
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	*resolver = made;
	return STATUS_OK;
}

void did_resolver_free(struct did_resolver *resolver)
{
	free(resolver);
}
