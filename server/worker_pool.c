/* The pool of workers: their threads, from start to end, and barriers through all of them. */
#include "server/worker_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "server/base/metric.h"
#include "server/loop_memory.h"
#include "server/worker_private.h"

enum {
	HOOKS_MAX = 64,
	LAST_ROUNDS = 100, /* of what is posted to workers that have ended */
};

struct hook {
	enum status (*start)(void *context, struct worker *worker);
	void (*stop)(void *context, struct worker *worker);
	void *context;
};

struct seat {
	struct worker *worker;
	struct worker_pool *pool;
	pthread_t thread;
	enum status start_status;
	struct task stop;
};

struct worker_pool {
	struct seat seats[WORKERS_MAX];
	unsigned count;
	struct hook hooks[HOOKS_MAX];
	unsigned hook_count;
	atomic_bool is_running;
	pthread_mutex_t lock; /* of start-up */
	pthread_cond_t started;
	unsigned started_count;
};

/* --- the pool */

struct worker_pool *worker_pool_new(unsigned count)
{
	struct worker_pool *pool = calloc(1, sizeof(*pool));
	if (pool == NULL || count == 0 || count > WORKERS_MAX) {
		free(pool);
		return NULL;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->started, NULL);
	loop_memory_install();
	for (; pool->count < count; pool->count++) {
		struct seat *seat = &pool->seats[pool->count];
		*seat = (struct seat){.worker = worker_new(pool, pool->count), .pool = pool};
		if (seat->worker == NULL) {
			worker_pool_free(pool);
			return NULL;
		}
	}
	return pool;
}

static struct hook *hook_new(struct worker_pool *pool)
{
	if (pool->hook_count == HOOKS_MAX)
		abort(); /* our mistake */
	return &pool->hooks[pool->hook_count++];
}

void worker_pool_on_start(
	struct worker_pool *pool, enum status (*hook)(void *context, struct worker *worker), void *context)
{
	*hook_new(pool) = (struct hook){.start = hook, .context = context};
}

void worker_pool_on_stop(struct worker_pool *pool, void (*hook)(void *context, struct worker *worker), void *context)
{
	*hook_new(pool) = (struct hook){.stop = hook, .context = context};
}

static void tell_started(struct seat *seat, enum status status)
{
	struct worker_pool *pool = seat->pool;
	pthread_mutex_lock(&pool->lock);
	seat->start_status = status;
	pool->started_count++;
	pthread_cond_signal(&pool->started);
	pthread_mutex_unlock(&pool->lock);
}

static void *run_worker(void *context)
{
	struct seat *seat = context;
	struct worker_pool *pool = seat->pool;
	struct worker *worker = seat->worker;
	enum status status = STATUS_OK;
	worker_enter(worker);
	metric_thread_start();
	for (unsigned i = 0; i < pool->hook_count && status == STATUS_OK; i++) {
		if (pool->hooks[i].start != NULL)
			status = pool->hooks[i].start(pool->hooks[i].context, worker);
	}
	tell_started(seat, status);
	worker_run(worker);
	worker_run_posted(worker);
	worker_run_later(worker);
	for (unsigned i = pool->hook_count; i-- > 0;) { /* the last opened is closed first */
		if (pool->hooks[i].stop != NULL)
			pool->hooks[i].stop(pool->hooks[i].context, worker);
	}
	worker_run_posted(worker);
	worker_run_later(worker);
	worker_enter(NULL);
	return NULL;
}

enum status worker_pool_start(struct worker_pool *pool)
{
	atomic_store_explicit(&pool->is_running, true, memory_order_release);
	unsigned threads = 0;
	while (threads < pool->count &&
		   pthread_create(&pool->seats[threads].thread, NULL, run_worker, &pool->seats[threads]) == 0)
		threads++;
	enum status status = threads == pool->count ? STATUS_OK : STATUS_UNAVAILABLE;
	pthread_mutex_lock(&pool->lock);
	while (pool->started_count < threads)
		pthread_cond_wait(&pool->started, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < threads && status == STATUS_OK; i++)
		status = pool->seats[i].start_status;
	if (status != STATUS_OK) {
		pool->count = threads;
		worker_pool_stop(pool);
	}
	return status;
}

static void on_stop(struct task *task)
{
	worker_leave(((struct seat *)(void *)((char *)task - offsetof(struct seat, stop)))->worker);
}

void worker_pool_stop(struct worker_pool *pool)
{
	if (!atomic_load_explicit(&pool->is_running, memory_order_acquire))
		return;
	for (unsigned i = 0; i < pool->count; i++) {
		pool->seats[i].stop.run = on_stop;
		worker_post(pool->seats[i].worker, &pool->seats[i].stop);
	}
	for (unsigned i = 0; i < pool->count; i++)
		pthread_join(pool->seats[i].thread, NULL);
	atomic_store_explicit(&pool->is_running, false, memory_order_release);
	/* what was posted to a worker after its end, barriers among it, and what that posts */
	bool is_any = true;
	for (unsigned round = 0; is_any && round < LAST_ROUNDS; round++) {
		is_any = false;
		for (unsigned i = 0; i < pool->count; i++)
			is_any = worker_run_posted(pool->seats[i].worker) || is_any;
	}
}

void worker_pool_free(struct worker_pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned i = 0; i < WORKERS_MAX; i++) /* also those that could not be started */
		worker_free(pool->seats[i].worker);
	pthread_cond_destroy(&pool->started);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

unsigned worker_pool_count(const struct worker_pool *pool)
{
	return pool->count;
}

struct worker *worker_pool_at(struct worker_pool *pool, unsigned index)
{
	return pool->seats[index].worker;
}

/* --- barriers: one task goes through all workers, the same way each time, so that they end in the order they began */

struct barrier {
	struct task task; /* first */
	struct worker_pool *pool;
	unsigned next;
	void (*done)(void *context);
	void *context;
};

static void on_barrier(struct task *task)
{
	struct barrier *barrier = (struct barrier *)task;
	if (++barrier->next < barrier->pool->count) {
		worker_post(barrier->pool->seats[barrier->next].worker, &barrier->task);
		return;
	}
	barrier->done(barrier->context);
	free(barrier);
}

void worker_pool_barrier(struct worker_pool *pool, void (*done)(void *context), void *context)
{
	if (pool == NULL || !atomic_load_explicit(&pool->is_running, memory_order_acquire)) {
		done(context);
		return;
	}
	struct barrier *barrier = malloc(sizeof(*barrier));
	if (barrier == NULL)
		abort(); /* a promise that cannot be kept: better restarted than freed under a reader */
	*barrier = (struct barrier){.task.run = on_barrier, .pool = pool, .done = done, .context = context};
	worker_post(pool->seats[0].worker, &barrier->task);
}

void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	worker_pool_barrier(pool, release, object);
}
