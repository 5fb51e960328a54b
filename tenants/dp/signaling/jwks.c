/* Key sets: a short list on each worker, the longest unused goes first. */
#include "tenants/dp/signaling/jwks.h"

#include <stdlib.h>
#include <string.h>

#include "server/fetch.h"

enum {
	SETS_MAX = 1024,
	BODY_MAX = 256 * 1024,
	FORCED_MAX = 4,        /* fetches for unknown keys in a row */
	FORCED_EACH_MS = 5000, /* and one more after each */
	STALE_MS = 3600000,    /* how long an old set serves while its server is away */
	RETRY_MS = 2000,       /* after a failure */
};

struct shelf {
	struct task task; /* first: tells the waiters when no fetch could begin */
	struct shelf *next;
	struct jwks *jwks;
	char *ctx, *uri;
	struct jwks_set set;
	bool has_set;
	uint64_t fetched_ms, fresh_until_ms, failed_until_ms;
	uint64_t forced_ms; /* the time that forced fetches have used up */
	struct fetch *fetch;
	struct jwks_waiter *waiters;
	bool is_task_due;
};

struct jwks {
	struct worker *worker;
	uint64_t ttl_ms;
	uint32_t timeout_ms;
	struct shelf *shelves; /* the latest used first */
	size_t count;
};

struct jwks *jwks_new(struct worker *worker, int64_t ttl_ms, uint32_t timeout_ms)
{
	struct jwks *jwks = calloc(1, sizeof(*jwks));
	if (jwks != NULL)
		*jwks = (struct jwks){.worker = worker, .ttl_ms = (uint64_t)ttl_ms, .timeout_ms = timeout_ms};
	return jwks;
}

static void set_clear(struct jwks_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		key_free(set->keys[i]);
	set->count = 0;
}

static void shelf_free(struct shelf *shelf)
{
	fetch_cancel(shelf->fetch);
	set_clear(&shelf->set);
	free(shelf->ctx);
	free(shelf->uri);
	free(shelf);
}

void jwks_free(struct jwks *jwks)
{
	while (jwks != NULL && jwks->shelves != NULL) {
		struct shelf *shelf = jwks->shelves;
		jwks->shelves = shelf->next;
		shelf_free(shelf);
	}
	free(jwks);
}

/* Brings it to the front. */
static struct shelf *find(struct jwks *jwks, struct text ctx, struct text uri)
{
	for (struct shelf **at = &jwks->shelves; *at != NULL; at = &(*at)->next) {
		struct shelf *shelf = *at;
		if (!text_equals(text_of(shelf->uri), uri) || !text_equals(text_of(shelf->ctx), ctx))
			continue;
		*at = shelf->next;
		shelf->next = jwks->shelves;
		return jwks->shelves = shelf;
	}
	return NULL;
}

static bool has_key(const struct jwks_set *set, struct text kid)
{
	for (size_t i = 0; i < set->count; i++) {
		if (kid.bytes == NULL || text_equals(key_id(set->keys[i]), kid))
			return true;
	}
	return false;
}

enum status jwks_find(struct jwks *jwks, struct text ctx, struct text uri, struct text kid, const struct jwks_set **set)
{
	struct shelf *shelf = find(jwks, ctx, uri);
	uint64_t now_ms = worker_now_ms(jwks->worker);
	if (shelf == NULL || !shelf->has_set)
		return STATUS_UNAVAILABLE;
	bool is_fresh = now_ms < shelf->fresh_until_ms;
	if (is_fresh && has_key(&shelf->set, kid)) {
		*set = &shelf->set;
		return STATUS_OK;
	}
	if (!is_fresh)
		return STATUS_UNAVAILABLE;
	/* a key we do not know: its owner may have changed them, within reason */
	bool may_force = shelf->forced_ms < now_ms + (uint64_t)FORCED_MAX * FORCED_EACH_MS;
	return may_force && shelf->fetched_ms != now_ms ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND;
}

/* --- fetching */

static void tell(struct shelf *shelf, enum status status)
{
	struct jwks_waiter *waiters = shelf->waiters;
	shelf->waiters = NULL;
	if (waiters != NULL)
		waiters->previous = &waiters;
	while (waiters != NULL) {
		struct jwks_waiter *waiter = waiters;
		jwks_leave(waiter);
		waiter->ready(waiter, status);
	}
}

static void on_fetched(void *context, enum status status, const struct fetch_answer *answer)
{
	struct shelf *shelf = context;
	uint64_t now_ms = worker_now_ms(shelf->jwks->worker);
	struct jwks_set set = {.count = 0};
	shelf->fetch = NULL;
	if (status == STATUS_OK)
		status =
			answer->http == 200 ? keys_from_jwks(answer->body, set.keys, JWKS_KEYS, &set.count) : STATUS_UNAVAILABLE;
	if (status == STATUS_OK) {
		set_clear(&shelf->set);
		shelf->set = set;
		shelf->has_set = true;
		shelf->fetched_ms = now_ms;
		shelf->fresh_until_ms = now_ms + shelf->jwks->ttl_ms;
		shelf->failed_until_ms = 0;
	} else {
		shelf->failed_until_ms = now_ms + RETRY_MS;
		/* what we have serves on for a while: a server that is away must not stop those it vouched for */
		if (shelf->has_set && shelf->fresh_until_ms <= now_ms &&
			now_ms < shelf->fetched_ms + shelf->jwks->ttl_ms + STALE_MS) {
			shelf->fresh_until_ms = now_ms + RETRY_MS;
			status = STATUS_OK;
		}
	}
	tell(shelf, status == STATUS_OK ? STATUS_OK : STATUS_UNAVAILABLE);
}

static void on_refused(struct task *task)
{
	struct shelf *shelf = (struct shelf *)task;
	shelf->is_task_due = false;
	tell(shelf, STATUS_UNAVAILABLE);
}

static void drop_oldest(struct jwks *jwks)
{
	struct shelf **last = NULL;
	for (struct shelf **at = &jwks->shelves; *at != NULL; at = &(*at)->next) {
		if ((*at)->waiters == NULL && (*at)->fetch == NULL && !(*at)->is_task_due)
			last = at;
	}
	if (last == NULL)
		return;
	struct shelf *shelf = *last;
	*last = shelf->next;
	shelf_free(shelf);
	jwks->count--;
}

static struct shelf *add(struct jwks *jwks, struct text ctx, struct text uri)
{
	if (jwks->count >= SETS_MAX)
		drop_oldest(jwks);
	struct shelf *shelf = calloc(1, sizeof(*shelf));
	if (shelf == NULL)
		return NULL;
	shelf->jwks = jwks;
	shelf->ctx = text_copy(ctx);
	shelf->uri = text_copy(uri);
	if (shelf->ctx == NULL || shelf->uri == NULL) {
		shelf_free(shelf);
		return NULL;
	}
	shelf->next = jwks->shelves;
	jwks->shelves = shelf;
	jwks->count++;
	return shelf;
}

static enum status start(struct shelf *shelf, const struct address_rules *rules)
{
	uint64_t now_ms = worker_now_ms(shelf->jwks->worker);
	if (now_ms < shelf->failed_until_ms)
		return STATUS_UNAVAILABLE;
	if (shelf->has_set && now_ms < shelf->fresh_until_ms)
		shelf->forced_ms = (shelf->forced_ms > now_ms ? shelf->forced_ms : now_ms) + FORCED_EACH_MS;
	const struct fetch_order order = {.tenant = text_of(shelf->ctx),
		.address = text_of(shelf->uri),
		.method = TEXT("GET"),
		.accept = TEXT("application/json"),
		.rules = rules,
		.timeout_ms = shelf->jwks->timeout_ms,
		.answer_max = BODY_MAX};
	return fetch_start(shelf->jwks->worker, &order, on_fetched, shelf, &shelf->fetch);
}

void jwks_fetch(
	struct jwks *jwks, struct text ctx, struct text uri, const struct address_rules *rules, struct jwks_waiter *waiter)
{
	struct shelf *shelf = find(jwks, ctx, uri);
	if (shelf == NULL)
		shelf = add(jwks, ctx, uri);
	if (shelf == NULL) {
		waiter->previous = NULL;
		waiter->ready(waiter, STATUS_UNAVAILABLE);
		return;
	}
	waiter->next = shelf->waiters;
	waiter->previous = &shelf->waiters;
	if (shelf->waiters != NULL)
		shelf->waiters->previous = &waiter->next;
	shelf->waiters = waiter;
	if (shelf->fetch != NULL || shelf->is_task_due || start(shelf, rules) == STATUS_OK)
		return;
	shelf->fetch = NULL;
	shelf->is_task_due = true;
	shelf->task.run = on_refused;
	worker_post(jwks->worker, &shelf->task);
}

void jwks_leave(struct jwks_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	waiter->previous = NULL;
}
