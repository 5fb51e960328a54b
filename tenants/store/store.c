/* The store: transactions queue for one thread, which commits many at once, tells the listeners, and completes. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tenants/store/store_private.h"

enum { TOMBSTONES = 1000000 };

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

bool store_tell(void *context, const struct record *record)
{
	struct store *store = context;
	if (store->backend->told != NULL)
		store->backend->told(store->database, record);
	for (unsigned i = 0; i < store->listener_count; i++)
		store->listeners[i].on_record(store->listeners[i].context, record);
	return true;
}

void store_tell_end(struct store *store)
{
	for (unsigned i = 0; i < store->listener_count; i++) {
		if (store->listeners[i].on_batch != NULL)
			store->listeners[i].on_batch(store->listeners[i].context);
	}
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
			store_run_batch(store, batch);
		run_listings(store, listings);
		if (batch == NULL && listings == NULL && !atomic_load(&store->is_left_behind)) {
			store_look(store); /* what fails now is asked again at the next look */
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
	enum status status = store->backend->load(store->database, store_tell, store, &store->revision);
	if (status == STATUS_OK) {
		store_tell_end(store);
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
