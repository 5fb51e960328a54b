/* A worker, for its pool: made before its thread, run by it. */
#pragma once

#include "server/worker.h"

/* NULL: out of memory or descriptors. */
struct worker *worker_new(struct worker_pool *pool, unsigned index);
void worker_free(struct worker *worker); /* NULL is fine */
/* The calling thread is the worker from here on; NULL: it is none any more. */
void worker_enter(struct worker *worker);
/* Turns the loop until worker_leave. */
void worker_run(struct worker *worker);
/* On its own thread: this turn is the last. */
void worker_leave(struct worker *worker);
/* Runs what was posted. False: there was nothing. */
bool worker_run_posted(struct worker *worker);
