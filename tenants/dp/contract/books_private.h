/* The books, inside: books.c is the thread with its ledgers, books_counts.c what workers hand to it, books_batch.c the
 * signing and storing of what it makes. */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "server/worker_pool.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/contract/ledger.h"

/* What one worker has counted of one agreement. */
struct delta {
	struct delta *next;
	struct agreement *agreement; /* held */
	struct book_totals counted;
};

struct parcel {
	struct message message; /* first */
	struct delta *deltas;
	struct tally *tallies;
};

struct collection {
	struct task task;
	struct dp *dp;
};

struct books {
	struct dp *dp;
	char cell[CELL_NAME_MAX + 1];
	pthread_t thread;
	bool has_thread;
	atomic_bool is_closing;
	sem_t wake;
	_Atomic(struct message *) inbox;
	/* the thread's; before it starts, the loading one's */
	struct map *ledgers;
	struct message collected;
	struct collection collections[WORKERS_MAX];
	bool is_collecting;
	uint64_t next_ms, end_ms;
};

/* From any thread: the message (taken over) comes to the books' thread. */
void books_push(struct books *books, struct message *message);

/* The books' thread, from here on. */
/* Has every worker hand over what it has counted; then comes MESSAGE_COLLECTED. */
void books_collect(struct books *books);
void parcel_free(struct parcel *parcel);
/* The participant is gone. */
void books_forget_ledger(struct books *books, struct text ctx);

/* Receipts are signed on a worker, one after the other; then comes MESSAGE_SIGNED. Out of memory: BATCH_READY,
 * unsigned. */
void batch_sign(struct books *books, struct batch *batch);
/* One transaction; then comes MESSAGE_STORED. Out of memory: in the next interval. */
void batch_store(struct books *books, struct batch *batch);
/* These two end the hold that the message was. */
void batch_on_signed(struct books *books, struct batch *batch);
void batch_on_stored(struct books *books, struct batch *batch);
