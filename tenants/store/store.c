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
#include "tenants/store/apply.h"
#include "tenants/store/listing.h"
#include "tenants/store/transaction.h"

enum { LISTENERS_MAX = 8, BATCH_MAX = 256, TOMBSTONES = 1000000 };

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
	if (store->backend->told != NULL)
		store->backend->told(store->database, record);
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

/* --- the thread */

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
			transaction_complete(&transaction->task);
		else {
			transaction->task.run = transaction_complete;
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

static enum status apply_all(struct store *store, struct transaction *batch, struct newspaper *paper)
{
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next) {
		struct newspaper page;
		int64_t revision = 0;
		newspaper_begin(&page);
		transaction->status = STATUS_INVALID;
		if (transaction->is_text)
			transaction->status = transaction_apply(store->backend, store->database,
				&(struct changes){transaction->changes, transaction->count}, newspaper_add_loaded, &page, &revision);
		/* what a refused one would have written counts for nothing: others will have these revisions */
		transaction->revision = transaction->status == STATUS_OK ? revision : 0;
		if (transaction->status == STATUS_OK)
			newspaper_append(paper, &page);
		newspaper_drop(&page);
		if (!is_verdict(transaction->status))
			return transaction->status;
	}
	return STATUS_OK;
}

static void left_behind(struct store *store);

static enum status look_for_others(struct store *store)
{
	struct newspaper paper;
	int64_t revision = store->revision;
	newspaper_begin(&paper);
	enum status status =
		store->backend->poll(store->database, store->revision, newspaper_add_loaded, &paper, &revision);
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
	newspaper_drop(&paper);
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
		if (transaction->is_text)
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
	struct newspaper paper;
	newspaper_begin(&paper);
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
		transaction->is_text = transaction_is_text(transaction);
	enum status status = atomic_load(&store->is_left_behind) ? STATUS_UNAVAILABLE : write_batch(store, batch, &paper);
	if (status == STATUS_CONFLICT) { /* once more, with a look */
		newspaper_drop(&paper);
		status = write_batch(store, batch, &paper);
	}
	atomic_store(&store->is_healthy, store->backend->is_healthy(store->database));
	if (status == STATUS_INVALID && batch->next != NULL) {
		newspaper_drop(&paper);
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
	newspaper_drop(&paper);
	complete_behind_barrier(store, batch);
}

/* --- listing */

static void run_listings(struct store *store, struct listing *listings)
{
	while (listings != NULL) {
		struct listing *listing = listings;
		listings = listing->next;
		listing_run(listing, store->backend, store->database);
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
		listing_finish(listing, STATUS_UNAVAILABLE);
}

void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct listing *listing = listing_new(
		ctx, &(struct listing){.kind = kind, .limit = limit, .worker = worker, .done = done, .context = context});
	if (listing == NULL)
		done(context, STATUS_NO_MEMORY, NULL, 0);
	else if (listing_after(listing, after))
		submit_listing(store, listing);
	else
		listing_finish(listing, STATUS_NO_MEMORY);
}

void store_read(struct store *store, struct text ctx, enum record_kind kind, const struct text *ids, size_t count,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct listing *listing =
		listing_new(ctx, &(struct listing){.kind = kind, .worker = worker, .done = done, .context = context});
	if (listing == NULL)
		done(context, STATUS_NO_MEMORY, NULL, 0);
	else if (listing_ids(listing, ids, count))
		submit_listing(store, listing);
	else
		listing_finish(listing, STATUS_NO_MEMORY);
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
	transaction->task.run = transaction_complete;
	if (worker == NULL)
		transaction_complete(&transaction->task);
	else
		worker_post(worker, &transaction->task);
}

bool store_is_healthy(const struct store *store)
{
	return atomic_load(&store->is_healthy) && !atomic_load(&store->is_left_behind);
}

void store_finish(struct store *store)
{
	if (store == NULL || !store->has_thread)
		return;
	pthread_mutex_lock(&store->lock);
	store->is_closing = true;
	pthread_cond_signal(&store->filled);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	store->has_thread = false;
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	store_finish(store);
	store->backend->close(store->database);
	pthread_cond_destroy(&store->filled);
	pthread_mutex_destroy(&store->lock);
	free(store);
}
