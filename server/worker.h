/* A worker: one thread, one event loop, everything on it owned by it alone. Other threads reach it by posting tasks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"

struct event_base;
struct worker;
struct worker_pool;
struct timer;

/* Embed it in what you post; it is the receiver's once posted. */
struct task {
	void (*run)(struct task *task);
	struct task *next;
};

/* From any thread: runs on the worker's thread at its next turn, in the order posted by one thread. */
void worker_post(struct worker *worker, struct task *task);

/* On the worker's own thread: */
unsigned worker_index(const struct worker *worker);
struct worker_pool *worker_pool_of(const struct worker *worker);
struct event_base *worker_loop(struct worker *worker); /* for server/ only */
/* The loop's time, refreshed once a turn. */
uint64_t worker_now_ms(const struct worker *worker);
int64_t worker_wall_ms(const struct worker *worker);
/* Counts the turns of the loop, from 0: what is bounded for each turn begins anew when it changes. */
uint64_t worker_turn(const struct worker *worker);
/* Runs `task` at the end of this turn, after all ready events (flushes, frees). Not thread-safe. */
void worker_later(struct worker *worker, struct task *task);
/* Runs `task` at the end of the next turn, before what that puts off; the loop does not sleep until then. */
void worker_next(struct worker *worker, struct task *task);
/* For stop hooks: ends a turn, that is runs what was put off to its end. */
void worker_run_later(struct worker *worker);
/* The worker the calling thread is, or NULL. */
struct worker *worker_current(void);
/* A per-worker slot for a room's own per-worker state. Keys are handed out at start (before worker_pool_start), at
 * most 32. */
int worker_slot_new(void);
void worker_slot_set(struct worker *worker, int slot, void *value);
void *worker_slot(const struct worker *worker, int slot);

/* One-shot timers on the worker's loop. */
struct timer *timer_new(struct worker *worker, void (*fire)(void *context), void *context);
void timer_set(struct timer *timer, uint64_t after_ms); /* re-arms */
void timer_cancel(struct timer *timer);
void timer_free(struct timer *timer); /* NULL is fine; allowed inside fire */
