/* The workers of a process: started and stopped together.
 *
 * Grace: an object that workers read without a lock (a version of a map, a flow) is freed with worker_pool_retire after
 * it has been unpublished. Rule for readers: a pointer taken from a published map is good until the worker returns to
 * its loop; whoever needs it longer links itself into the object (or copies what it needs). */
#pragma once

#include "server/worker.h"

enum { WORKERS_MAX = 64 };

struct worker_pool *worker_pool_new(unsigned count);
/* Each hook runs once on every worker's own thread: at start before any event, at stop after the last. Register before
 * start. */
void worker_pool_on_start(
	struct worker_pool *pool, enum status (*hook)(void *context, struct worker *worker), void *context);
void worker_pool_on_stop(struct worker_pool *pool, void (*hook)(void *context, struct worker *worker), void *context);
/* Starts the threads; fails when a start hook fails. */
enum status worker_pool_start(struct worker_pool *pool) MUST_CHECK;
/* Leaves every loop, runs the stop hooks, joins the threads, runs what was posted or retired until nothing is left. */
void worker_pool_stop(struct worker_pool *pool);
void worker_pool_free(struct worker_pool *pool);
unsigned worker_pool_count(const struct worker_pool *pool);
struct worker *worker_pool_at(struct worker_pool *pool, unsigned index);

/* From any thread: `done` runs once, on one of the workers, after every worker has finished what was posted to it
 * before this call and has gone through its loop. Barriers begun by one thread end in their order. With the pool not
 * started or already stopped: at once, here. */
void worker_pool_barrier(struct worker_pool *pool, void (*done)(void *context), void *context);
/* barrier + release(object). */
void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object);
