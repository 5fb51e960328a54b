/* The store, inside: store.c has the queue and the thread, store_batch.c what the thread does with a batch. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tenants/store/apply.h"
#include "tenants/store/listing.h"
#include "tenants/store/store.h"
#include "tenants/store/transaction.h"

enum { LISTENERS_MAX = 8, BATCH_MAX = 256 };

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

/* On the store's thread (or the loading one). */
/* Tells the listeners; a record_visit. */
bool store_tell(void *store, const struct record *record);
/* Behind the last record of a batch. */
void store_tell_end(struct store *store);
/* Tells what other processes have committed. STOPPED: too late to learn all of it, the process ends. */
enum status store_look(struct store *store);
/* Commits at most BATCH_MAX, tells them, completes them. Takes them. */
void store_run_batch(struct store *store, struct transaction *batch);
