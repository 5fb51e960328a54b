/* The store: transactions queue for one thread, which commits many at once, tells the listeners, and completes. */
#include "tenants/store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/config.h"
#include "server/base/log.h"
#include "tenants/store/backend.h"

enum { LISTENERS_MAX = 8, BATCH_MAX = 256, TOMBSTONES = 1000000 };

static const char *const backends[] = {"sqlite", "postgres", NULL};
#define STORE(name, kind_, ...)                                                                                        \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct store_settings, name), __VA_ARGS__                      \
	}
const struct setting store_settings_table[] = {
	STORE(backend, SETTING_CHOICE, .preset = "sqlite", .choices = backends, .help = "the database"),
	STORE(file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "SQLite: the file; null: cell.db in the state directory"),
	STORE(connection_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "PostgreSQL: a file only its owner may read, holding the libpq connection string"),
	STORE(queued_transactions, SETTING_INTEGER, .preset = "4096", .minimum = 1, .maximum = 1000000,
		.help = "changes that may wait; further ones are refused"),
	STORE(poll_ms, SETTING_MILLISECONDS, .preset = "200 ms", .minimum = 10, .maximum = 60000,
		.help = "how often to look for commits of other processes"),
	STORE(tombstones, SETTING_INTEGER, .preset = "1000000", .minimum = 10, .maximum = 1000000000,
		.help = "how many changes back a deleted record is remembered; a process that was away for more of them ends"),
	STORE(statement_ms, SETTING_MILLISECONDS, .preset = "5 s", .minimum = 100, .maximum = 600000,
		.help = "longest time of one PostgreSQL statement, and of waiting for another process's lock"),
};
const size_t store_settings_count = sizeof(store_settings_table) / sizeof(store_settings_table[0]);

const char *record_kind_name(enum record_kind kind)
{
	static const char *const names[] = {
#define RECORD_NAME(name, text, loading) text,
		RECORD_LIST(RECORD_NAME)
#undef RECORD_NAME
	};
	return names[kind];
}

static const enum {
	ON_DEMAND,
	LOADED,
	PASSING
} loadings[] = {
#define RECORD_LOADING(name, text, loading) loading,
	RECORD_LIST(RECORD_LOADING)
#undef RECORD_LOADING
};

bool record_kind_is_loaded(enum record_kind kind)
{
	return loadings[kind] != ON_DEMAND;
}

bool record_kind_passes(enum record_kind kind)
{
	return loadings[kind] == PASSING;
}

/* --- transactions */

struct transaction {
	struct task task; /* first: its completion on a worker */
	struct transaction *next;
	struct change *changes;
	size_t count, room;
	struct worker *worker;
	void (*done)(void *context, enum status status, int64_t revision);
	void *context;
	enum status status;
	int64_t revision;
};

struct transaction *transaction_new(void)
{
	return calloc(1, sizeof(struct transaction));
}

void transaction_free(struct transaction *transaction)
{
	if (transaction == NULL)
		return;
	for (size_t i = 0; i < transaction->count; i++) {
		free((char *)(uintptr_t)transaction->changes[i].ctx.bytes);
		free((char *)(uintptr_t)transaction->changes[i].id.bytes);
		free((char *)(uintptr_t)transaction->changes[i].body.bytes);
	}
	free(transaction->changes);
	free(transaction);
}

static bool copy(struct text text, struct text *into)
{
	if (text.bytes == NULL)
		return true;
	char *bytes = text_copy(text);
	*into = (struct text){bytes, text.length};
	return bytes != NULL;
}

static bool add(struct transaction *transaction, struct change wish)
{
	if (transaction->count == transaction->room) {
		size_t room = transaction->room == 0 ? 4 : transaction->room * 2;
		struct change *more = realloc(transaction->changes, room * sizeof(*more));
		if (more == NULL)
			return false;
		transaction->changes = more;
		transaction->room = room;
	}
	struct change *change = &transaction->changes[transaction->count++];
	*change = (struct change){.kind = wish.kind, .record = wish.record, .expected = wish.expected};
	return copy(wish.ctx, &change->ctx) && copy(wish.id, &change->id) && copy(wish.body, &change->body);
}

bool transaction_put(struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id,
	struct text body, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_PUT, .record = kind, .ctx = ctx, .id = id, .body = body, .expected = expected});
}

bool transaction_delete(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_DELETE, .record = kind, .ctx = ctx, .id = id, .expected = expected});
}

bool transaction_expect(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	return add(transaction,
		(struct change){.kind = CHANGE_EXPECT, .record = kind, .ctx = ctx, .id = id, .expected = expected});
}

bool transaction_delete_ctx(struct transaction *transaction, struct text ctx)
{
	return add(transaction, (struct change){.kind = CHANGE_DELETE_CTX, .ctx = ctx});
}

enum status change_judge(const struct change *change, bool is_present, int64_t revision, bool has_owner)
{
	bool wants_owner = change->kind == CHANGE_PUT && change->record != RECORD_PARTICIPANT && change->ctx.length > 0;
	if ((wants_owner && !has_owner) || (change->kind == CHANGE_DELETE && !is_present))
		return STATUS_NOT_FOUND;
	if (change->expected == REVISION_ANY)
		return STATUS_OK;
	if (change->expected == REVISION_ABSENT)
		return is_present ? STATUS_CONFLICT : STATUS_OK;
	return !is_present ? STATUS_NOT_FOUND : revision == change->expected ? STATUS_OK : STATUS_CONFLICT;
}

/* --- the store */

struct store {
	const struct backend *backend;
	void *database;
	struct worker_pool *pool;
	struct store_settings settings;
	struct store_listener listeners[LISTENERS_MAX];
	unsigned listener_count;
	int64_t revision; /* the newest that the listeners know */
	atomic_bool is_healthy, is_left_behind;
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t filled;
	struct transaction *queue, **queue_end;
	struct listing *listings, **listings_end;
	size_t queued; /* of both */
	bool is_closing;
};

enum status store_open(
	const struct store_settings *settings, struct worker_pool *pool, struct store **store, struct buffer *error)
{
	struct store *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->backend = settings->backend == STORE_POSTGRES ? &backend_postgres : &backend_sqlite;
	made->pool = pool;
	made->settings = *settings;
	if (made->settings.tombstones == 0)
		made->settings.tombstones = TOMBSTONES;
	made->queue_end = &made->queue;
	made->listings_end = &made->listings;
	enum status status = made->backend->open(settings, &made->database, error);
	if (status != STATUS_OK) {
		free(made);
		return status;
	}
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&made->filled, &attributes);
	pthread_condattr_destroy(&attributes);
	*store = made;
	return STATUS_OK;
}

void store_listen(struct store *store, const struct store_listener *listener)
{
	if (store->listener_count == LISTENERS_MAX)
		abort(); /* our mistake */
	store->listeners[store->listener_count++] = *listener;
}

static bool tell(void *context, const struct record *record)
{
	struct store *store = context;
	for (unsigned i = 0; i < store->listener_count; i++)
		store->listeners[i].on_record(store->listeners[i].context, record);
	return true;
}

static void tell_end(struct store *store)
{
	for (unsigned i = 0; i < store->listener_count; i++) {
		if (store->listeners[i].on_batch != NULL)
			store->listeners[i].on_batch(store->listeners[i].context);
	}
}

/* --- what a commit will tell, once it is one */

struct news {
	struct record record;
	struct news *next;
	char bytes[];
};
struct newspaper {
	struct news *first, **end;
};

static struct text place(char **at, struct text text)
{
	if (text.bytes == NULL)
		return TEXT_NONE;
	char *start = *at;
	memcpy(start, text.bytes, text.length);
	*at += text.length;
	return (struct text){start, text.length};
}

static bool write_copy(void *context, const struct record *record)
{
	struct newspaper *paper = context;
	struct news *news = malloc(sizeof(*news) + record->ctx.length + record->id.length + record->body.length + 1);
	if (news == NULL)
		return false;
	char *at = news->bytes;
	news->record = *record;
	news->record.ctx = place(&at, record->ctx);
	news->record.id = place(&at, record->id);
	news->record.body = place(&at, record->body);
	news->next = NULL;
	*paper->end = news;
	paper->end = &news->next;
	return true;
}

static bool write_news(void *context, const struct record *record)
{
	return !record_kind_is_loaded(record->kind) || write_copy(context, record);
}

static void drop_news(struct news *news)
{
	while (news != NULL) {
		struct news *next = news->next;
		free(news);
		news = next;
	}
}

/* --- the thread */

static void on_worker(struct task *task)
{
	struct transaction *transaction = (struct transaction *)task;
	transaction->done(transaction->context, transaction->status, transaction->revision);
	transaction_free(transaction);
}

struct completion {
	struct transaction *transactions;
};

/* Every worker has seen the changes: the askers may be told. */
static void complete(void *context)
{
	struct completion *completion = context;
	struct transaction *transaction = completion->transactions;
	while (transaction != NULL) {
		struct transaction *next = transaction->next;
		if (transaction->worker == NULL)
			on_worker(&transaction->task);
		else {
			transaction->task.run = on_worker;
			worker_post(transaction->worker, &transaction->task);
		}
		transaction = next;
	}
	free(completion);
}

static void complete_behind_barrier(struct store *store, struct transaction *batch)
{
	struct completion *completion = malloc(sizeof(*completion));
	if (completion == NULL)
		abort(); /* committed and nobody to tell: better restarted */
	completion->transactions = batch;
	worker_pool_barrier(store->pool, complete, completion);
}

static void fail_all(struct transaction *batch, enum status status)
{
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
		transaction->status = status;
}

/* May the other transactions of the batch go on? Only when the database has judged this one, not failed at it. */
static bool is_verdict(enum status status)
{
	return status == STATUS_OK || status == STATUS_CONFLICT || status == STATUS_NOT_FOUND || status == STATUS_INVALID;
}

/* A zero byte is no text in PostgreSQL, so it is none in any store. */
static bool is_text(const struct transaction *transaction)
{
	for (size_t i = 0; i < transaction->count; i++) {
		const struct text texts[] = {
			transaction->changes[i].ctx, transaction->changes[i].id, transaction->changes[i].body};
		for (size_t j = 0; j < sizeof(texts) / sizeof(texts[0]); j++) {
			if (texts[j].length > 0 && memchr(texts[j].bytes, 0, texts[j].length) != NULL)
				return false;
		}
	}
	return true;
}

static enum status apply_all(struct store *store, struct transaction *batch, struct newspaper *paper)
{
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next) {
		struct newspaper page = {.end = &page.first};
		int64_t revision = 0;
		transaction->status = STATUS_INVALID;
		if (is_text(transaction))
			transaction->status = store->backend->apply(
				store->database, transaction->changes, transaction->count, write_news, &page, &revision);
		/* what a refused one would have written counts for nothing: others will have these revisions */
		transaction->revision = transaction->status == STATUS_OK ? revision : 0;
		if (transaction->status == STATUS_OK && page.first != NULL) {
			*paper->end = page.first;
			paper->end = page.end;
		} else {
			drop_news(page.first);
		}
		if (!is_verdict(transaction->status))
			return transaction->status;
	}
	return STATUS_OK;
}

static void left_behind(struct store *store);

static enum status look_for_others(struct store *store)
{
	struct newspaper paper = {.end = &paper.first};
	int64_t revision = store->revision;
	enum status status = store->backend->poll(store->database, store->revision, write_news, &paper, &revision);
	if (status == STATUS_OK) {
		for (struct news *news = paper.first; news != NULL; news = news->next) {
			revision = news->record.revision > revision ? news->record.revision : revision;
			tell(store, &news->record);
		}
		if (revision > store->revision)
			store->revision = revision;
		if (paper.first != NULL)
			tell_end(store);
	}
	drop_news(paper.first);
	if (status == STATUS_STOPPED)
		left_behind(store);
	return status;
}

/* What was deleted meanwhile cannot be learnt any more, so what is in memory is not what is stored. A restart reads
 * what there is. */
static void left_behind(struct store *store)
{
	if (!atomic_exchange(&store->is_left_behind, true)) {
		LOG(ERROR, "store.left_behind", log_number("revision", store->revision));
		kill(getpid(), SIGTERM);
	}
}

static enum status gather(struct store *store, const struct transaction *batch)
{
	struct changes all[BATCH_MAX];
	size_t count = 0;
	if (store->backend->gather == NULL)
		return STATUS_OK;
	for (const struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next) {
		if (is_text(transaction))
			all[count++] = (struct changes){transaction->changes, transaction->count};
	}
	return store->backend->gather(store->database, all, count);
}

static enum status write_batch(struct store *store, struct transaction *batch, struct newspaper *paper)
{
	enum status status = store->backend->begin(store->database);
	if (status != STATUS_OK)
		return status;
	/* under the write lock: what others committed is told first, so that revisions come in their order */
	status = look_for_others(store);
	if (status == STATUS_OK)
		status = gather(store, batch);
	if (status == STATUS_OK)
		status = apply_all(store, batch, paper);
	if (status == STATUS_OK)
		status = store->backend->prune(store->database, store->settings.tombstones);
	if (status == STATUS_OK)
		return store->backend->commit(store->database);
	store->backend->rollback(store->database);
	return status;
}

static void run_batch(struct store *store, struct transaction *batch);

/* Somebody's bytes were refused: each alone. */
static void run_singly(struct store *store, struct transaction *batch)
{
	while (batch != NULL) {
		struct transaction *transaction = batch;
		batch = transaction->next;
		transaction->next = NULL;
		run_batch(store, transaction);
	}
}

static void run_batch(struct store *store, struct transaction *batch)
{
	struct newspaper paper = {.end = &paper.first};
	enum status status = atomic_load(&store->is_left_behind) ? STATUS_UNAVAILABLE : write_batch(store, batch, &paper);
	atomic_store(&store->is_healthy, store->backend->is_healthy(store->database));
	if (status == STATUS_INVALID && batch->next != NULL) {
		drop_news(paper.first);
		run_singly(store, batch);
		return;
	}
	if (status == STATUS_INVALID) {
		fail_all(batch, STATUS_INVALID);
	} else if (status != STATUS_OK) {
		LOG(ERROR, "store.commit", log_text("error", text_of(status_text(status))));
		fail_all(batch, status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
	} else {
		for (struct news *news = paper.first; news != NULL; news = news->next)
			tell(store, &news->record);
		for (const struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
			store->revision = transaction->revision > store->revision ? transaction->revision : store->revision;
		if (paper.first != NULL)
			tell_end(store);
	}
	drop_news(paper.first);
	complete_behind_barrier(store, batch);
}

/* --- listing */

/* One store_list or store_read under way. */
struct listing {
	struct task task; /* first: its completion on a worker */
	struct listing *next;
	char *ctx, *after; /* after NULL: from the first */
	char *ids;         /* store_read's, as a JSON array; NULL: it is store_list */
	enum record_kind kind;
	size_t limit;
	struct worker *worker;
	void (*done)(void *context, enum status status, const struct record *records, size_t count);
	void *context;
	enum status status;
	struct newspaper paper;
};

static void listing_free(struct listing *listing)
{
	drop_news(listing->paper.first);
	free(listing->ctx);
	free(listing->after);
	free(listing->ids);
	free(listing);
}

static void on_listed(struct task *task)
{
	struct listing *listing = (struct listing *)task;
	struct record *records = NULL;
	size_t count = 0;
	for (const struct news *news = listing->paper.first; news != NULL; news = news->next)
		count++;
	if (count > 0 && (records = calloc(count, sizeof(*records))) == NULL)
		listing->status = STATUS_NO_MEMORY;
	count = 0;
	for (const struct news *news = listing->paper.first; records != NULL && news != NULL; news = news->next)
		records[count++] = news->record;
	listing->done(listing->context, listing->status, records, listing->status == STATUS_OK ? count : 0);
	free(records);
	listing_free(listing);
}

static void finish_listing(struct listing *listing, enum status status)
{
	listing->status = status;
	listing->task.run = on_listed;
	if (listing->worker == NULL)
		on_listed(&listing->task);
	else
		worker_post(listing->worker, &listing->task);
}

static enum status run_listing(struct store *store, struct listing *listing)
{
	struct text ctx = text_of(listing->ctx), after = listing->after == NULL ? TEXT_NONE : text_of(listing->after);
	if (listing->ids != NULL)
		return store->backend->read(
			store->database, ctx, listing->kind, text_of(listing->ids), write_copy, &listing->paper);
	return store->backend->list(
		store->database, ctx, listing->kind, after, listing->limit, write_copy, &listing->paper);
}

static void run_listings(struct store *store, struct listing *listings)
{
	while (listings != NULL) {
		struct listing *listing = listings;
		listings = listing->next;
		finish_listing(listing, run_listing(store, listing));
	}
}

/* Takes it. */
static void submit_listing(struct store *store, struct listing *listing)
{
	pthread_mutex_lock(&store->lock);
	bool is_taken = !store->is_closing && store->queued < (uint64_t)store->settings.queued_transactions;
	if (is_taken) {
		*store->listings_end = listing;
		store->listings_end = &listing->next;
		store->queued++;
		pthread_cond_signal(&store->filled);
	}
	pthread_mutex_unlock(&store->lock);
	if (!is_taken)
		finish_listing(listing, STATUS_UNAVAILABLE);
}

/* NULL: out of memory. */
static struct listing *listing_new(struct text ctx, enum record_kind kind, struct worker *worker,
	void (*done)(void *context, enum status status, const struct record *records, size_t count), void *context)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	if (listing == NULL)
		return NULL;
	*listing = (struct listing){.kind = kind, .worker = worker, .done = done, .context = context};
	listing->paper.end = &listing->paper.first;
	listing->ctx = text_copy(ctx);
	if (listing->ctx != NULL)
		return listing;
	free(listing);
	return NULL;
}

void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct listing *listing = listing_new(ctx, kind, worker, done, context);
	if (listing == NULL) {
		done(context, STATUS_NO_MEMORY, NULL, 0);
		return;
	}
	listing->limit = limit;
	listing->after = after.bytes == NULL ? NULL : text_copy(after);
	if (after.bytes == NULL || listing->after != NULL)
		submit_listing(store, listing);
	else
		finish_listing(listing, STATUS_NO_MEMORY);
}

void store_read(struct store *store, struct text ctx, enum record_kind kind, const struct text *ids, size_t count,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct listing *listing = listing_new(ctx, kind, worker, done, context);
	struct buffer array = {0};
	if (listing == NULL) {
		done(context, STATUS_NO_MEMORY, NULL, 0);
		return;
	}
	buffer_append_byte(&array, '[');
	for (size_t i = 0; i < count; i++) {
		buffer_append(&array, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(&array, ids[i]);
	}
	buffer_append_byte(&array, ']');
	bool is_printed = !array.failed;
	listing->ids = buffer_take(&array);
	if (is_printed && listing->ids != NULL)
		submit_listing(store, listing);
	else
		finish_listing(listing, STATUS_NO_MEMORY);
}

static void deadline(int64_t after_ms, struct timespec *when)
{
	clock_gettime(CLOCK_MONOTONIC, when);
	when->tv_sec += after_ms / 1000;
	when->tv_nsec += after_ms % 1000 * 1000000;
	if (when->tv_nsec >= 1000000000) {
		when->tv_nsec -= 1000000000;
		when->tv_sec++;
	}
}

static struct transaction *take_batch(struct store *store)
{
	struct transaction *batch = NULL, **end = &batch;
	for (int i = 0; i < BATCH_MAX && store->queue != NULL; i++) {
		*end = store->queue;
		store->queue = store->queue->next;
		end = &(*end)->next;
		*end = NULL;
		store->queued--;
	}
	if (store->queue == NULL)
		store->queue_end = &store->queue;
	return batch;
}

static struct listing *take_listings(struct store *store)
{
	struct listing *listings = store->queue == NULL ? store->listings : NULL; /* behind what was submitted before */
	if (listings == NULL)
		return NULL;
	for (const struct listing *listing = listings; listing != NULL; listing = listing->next)
		store->queued--;
	store->listings = NULL;
	store->listings_end = &store->listings;
	return listings;
}

static void *run(void *context)
{
	struct store *store = context;
	struct timespec next;
	deadline(store->settings.poll_ms, &next);
	pthread_mutex_lock(&store->lock);
	while (!store->is_closing || store->queue != NULL || store->listings != NULL) {
		int waited = 0;
		while (store->queue == NULL && store->listings == NULL && !store->is_closing && waited == 0)
			waited = pthread_cond_timedwait(&store->filled, &store->lock, &next);
		struct transaction *batch = take_batch(store);
		struct listing *listings = take_listings(store);
		pthread_mutex_unlock(&store->lock);
		if (batch != NULL)
			run_batch(store, batch);
		run_listings(store, listings);
		if (batch == NULL && listings == NULL && !atomic_load(&store->is_left_behind)) {
			look_for_others(store); /* what fails now is asked again at the next look */
			atomic_store(&store->is_healthy, store->backend->is_healthy(store->database));
		}
		deadline(store->settings.poll_ms, &next);
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

enum status store_load(struct store *store, struct buffer *error)
{
	enum status status = store->backend->load(store->database, tell, store, &store->revision);
	if (status == STATUS_OK) {
		tell_end(store);
		atomic_store(&store->is_healthy, true);
		status = pthread_create(&store->thread, NULL, run, store) == 0 ? STATUS_OK : STATUS_UNAVAILABLE;
		store->has_thread = status == STATUS_OK;
	}
	if (status != STATUS_OK)
		buffer_printf(error, "store: cannot be read: %s", status_text(status));
	return status;
}

void store_submit(struct store *store, struct transaction *transaction, struct worker *worker,
	void (*done)(void *context, enum status status, int64_t revision), void *context)
{
	transaction->worker = worker;
	transaction->done = done;
	transaction->context = context;
	transaction->next = NULL;
	pthread_mutex_lock(&store->lock);
	bool is_taken = !store->is_closing && store->queued < (uint64_t)store->settings.queued_transactions;
	if (is_taken) {
		*store->queue_end = transaction;
		store->queue_end = &transaction->next;
		store->queued++;
		pthread_cond_signal(&store->filled);
	}
	pthread_mutex_unlock(&store->lock);
	if (is_taken)
		return;
	transaction->status = STATUS_UNAVAILABLE;
	transaction->task.run = on_worker;
	if (worker == NULL)
		on_worker(&transaction->task);
	else
		worker_post(worker, &transaction->task);
}

bool store_is_healthy(const struct store *store)
{
	return atomic_load(&store->is_healthy) && !atomic_load(&store->is_left_behind);
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	if (store->has_thread) {
		pthread_mutex_lock(&store->lock);
		store->is_closing = true;
		pthread_cond_signal(&store->filled);
		pthread_mutex_unlock(&store->lock);
		pthread_join(store->thread, NULL);
	}
	store->backend->close(store->database);
	pthread_cond_destroy(&store->filled);
	pthread_mutex_destroy(&store->lock);
	free(store);
}
