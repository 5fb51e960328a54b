/* Workers: threads with an event loop each, their task queues, barriers and timers. */
#include "server/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/metric.h"
#include "server/loop_memory.h"

enum {
	SLOTS_MAX = 32,
	HOOKS_MAX = 64,
	LAST_ROUNDS = 100, /* of what is posted to workers that have ended */
};

/* A worker writes its own at every turn: whole lines of its own, and what others write in one apart. */
struct worker {
	_Alignas(64) _Atomic(struct task *) posted; /* newest first */
	atomic_bool is_awake;                       /* a wake is under way: no need for another */
	char apart[55];
	struct worker_pool *pool;
	unsigned index;
	pthread_t thread;
	struct event_base *loop;
	struct event *wake_event;
	int wake;
	struct task *later, *later_end, *next, *next_end;
	uint64_t now_ms;
	int64_t wall_ms;
	uint64_t turn;
	bool is_stopping;
	bool is_stale; /* the clocks were read in an earlier turn */
	enum status start_status;
	void *slots[SLOTS_MAX];
};

struct hook {
	enum status (*start)(void *context, struct worker *worker);
	void (*stop)(void *context, struct worker *worker);
	void *context;
};

struct worker_pool {
	struct worker *workers[WORKERS_MAX];
	unsigned count;
	struct hook hooks[HOOKS_MAX];
	unsigned hook_count;
	atomic_bool is_running;
	pthread_mutex_t lock; /* of start-up */
	pthread_cond_t started;
	unsigned started_count;
};

static _Thread_local struct worker *current;
static int slot_count;

struct worker *worker_current(void)
{
	return current;
}

/* --- tasks from other threads */

void worker_post(struct worker *worker, struct task *task)
{
	struct task *head = atomic_load_explicit(&worker->posted, memory_order_relaxed);
	do
		task->next = head;
	while (!atomic_compare_exchange_weak_explicit(
		&worker->posted, &head, task, memory_order_release, memory_order_relaxed));
	if (!atomic_exchange_explicit(&worker->is_awake, true, memory_order_acq_rel)) {
		uint64_t one = 1;
		while (write(worker->wake, &one, sizeof(one)) < 0 && errno == EINTR)
			continue;
	}
}

/* False: there was nothing. */
static bool run_posted(struct worker *worker)
{
	struct task *task = atomic_exchange_explicit(&worker->posted, NULL, memory_order_acquire), *ordered = NULL;
	while (task != NULL) { /* newest first: turn round */
		struct task *next = task->next;
		task->next = ordered;
		ordered = task;
		task = next;
	}
	bool is_any = ordered != NULL;
	while (ordered != NULL) {
		struct task *next = ordered->next;
		ordered->run(ordered);
		ordered = next;
	}
	return is_any;
}

static void on_wake(evutil_socket_t descriptor, short what, void *context)
{
	struct worker *worker = context;
	uint64_t count;
	(void)what;
	while (read(descriptor, &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
	/* before the queue is taken: whoever posts after that wakes again */
	atomic_store_explicit(&worker->is_awake, false, memory_order_seq_cst);
	run_posted(worker);
}

/* --- the end of a turn */

void worker_later(struct worker *worker, struct task *task)
{
	task->next = NULL;
	if (worker->later == NULL)
		worker->later = task;
	else
		worker->later_end->next = task;
	worker->later_end = task;
}

void worker_next(struct worker *worker, struct task *task)
{
	task->next = NULL;
	if (worker->next == NULL)
		worker->next = task;
	else
		worker->next_end->next = task;
	worker->next_end = task;
}

/* What is for the next turn comes first in it. */
static void take_next(struct worker *worker)
{
	if (worker->next == NULL)
		return;
	worker->next_end->next = worker->later;
	if (worker->later == NULL)
		worker->later_end = worker->next_end;
	worker->later = worker->next;
	worker->next = NULL;
}

void worker_run_later(struct worker *worker)
{
	/* what these queue runs in this turn too, but bounded: the loop must turn */
	for (int pass = 0; pass < 4 && worker->later != NULL; pass++) {
		struct task *task = worker->later;
		worker->later = NULL;
		while (task != NULL) {
			struct task *next = task->next;
			task->run(task);
			task = next;
		}
	}
	take_next(worker);
	worker->turn++;
}

/* --- barriers: one task goes through all workers, the same way each time, so that barriers end in the order they began
 */

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
		worker_post(barrier->pool->workers[barrier->next], &barrier->task);
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
	worker_post(pool->workers[0], &barrier->task);
}

void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	worker_pool_barrier(pool, release, object);
}

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
		struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof(*worker));
		if (worker == NULL)
			goto failed;
		memset(worker, 0, sizeof(*worker));
		pool->workers[pool->count] = worker;
		worker->pool = pool;
		worker->index = pool->count;
		worker->is_stale = true;
		worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		worker->loop = event_base_new();
		worker->wake_event =
			worker->loop == NULL ? NULL : event_new(worker->loop, worker->wake, EV_READ | EV_PERSIST, on_wake, worker);
		if (worker->wake < 0 || worker->wake_event == NULL || event_add(worker->wake_event, NULL) != 0) {
			pool->count++;
			goto failed;
		}
	}
	return pool;
failed:
	worker_pool_free(pool);
	return NULL;
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

static void tell_started(struct worker *worker, enum status status)
{
	struct worker_pool *pool = worker->pool;
	pthread_mutex_lock(&pool->lock);
	worker->start_status = status;
	pool->started_count++;
	pthread_cond_signal(&pool->started);
	pthread_mutex_unlock(&pool->lock);
}

static void refresh_clock(struct worker *worker)
{
	worker->is_stale = false;
	worker->now_ms = clock_monotonic_ms();
	worker->wall_ms = clock_wall_ms();
}

static void *run_worker(void *context)
{
	struct worker *worker = context;
	struct worker_pool *pool = worker->pool;
	enum status status = STATUS_OK;
	current = worker;
	metric_thread_start();
	refresh_clock(worker);
	for (unsigned i = 0; i < pool->hook_count && status == STATUS_OK; i++) {
		if (pool->hooks[i].start != NULL)
			status = pool->hooks[i].start(pool->hooks[i].context, worker);
	}
	tell_started(worker, status);
	while (!worker->is_stopping) {
		worker->is_stale = true; /* read again by the first who asks after the wait */
		event_base_loop(worker->loop, worker->later != NULL ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE);
		worker_run_later(worker);
	}
	run_posted(worker);
	worker_run_later(worker);
	for (unsigned i = pool->hook_count; i-- > 0;) { /* the last opened is closed first */
		if (pool->hooks[i].stop != NULL)
			pool->hooks[i].stop(pool->hooks[i].context, worker);
	}
	run_posted(worker);
	worker_run_later(worker);
	current = NULL;
	return NULL;
}

enum status worker_pool_start(struct worker_pool *pool)
{
	atomic_store_explicit(&pool->is_running, true, memory_order_release);
	unsigned threads = 0;
	while (threads < pool->count &&
		   pthread_create(&pool->workers[threads]->thread, NULL, run_worker, pool->workers[threads]) == 0)
		threads++;
	enum status status = threads == pool->count ? STATUS_OK : STATUS_UNAVAILABLE;
	pthread_mutex_lock(&pool->lock);
	while (pool->started_count < threads)
		pthread_cond_wait(&pool->started, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < threads && status == STATUS_OK; i++)
		status = pool->workers[i]->start_status;
	if (status != STATUS_OK) {
		pool->count = threads;
		worker_pool_stop(pool);
	}
	return status;
}

struct stop_task {
	struct task task; /* first */
	struct worker *worker;
};

static void on_stop(struct task *task)
{
	((struct stop_task *)task)->worker->is_stopping = true;
}

void worker_pool_stop(struct worker_pool *pool)
{
	struct stop_task tasks[WORKERS_MAX];
	if (!atomic_load_explicit(&pool->is_running, memory_order_acquire))
		return;
	for (unsigned i = 0; i < pool->count; i++) {
		tasks[i] = (struct stop_task){.task.run = on_stop, .worker = pool->workers[i]};
		worker_post(pool->workers[i], &tasks[i].task);
	}
	for (unsigned i = 0; i < pool->count; i++)
		pthread_join(pool->workers[i]->thread, NULL);
	atomic_store_explicit(&pool->is_running, false, memory_order_release);
	/* what was posted to a worker after its end, barriers among it, and what that posts */
	bool is_any = true;
	for (unsigned round = 0; is_any && round < LAST_ROUNDS; round++) {
		is_any = false;
		for (unsigned i = 0; i < pool->count; i++)
			is_any = run_posted(pool->workers[i]) || is_any;
	}
}

void worker_pool_free(struct worker_pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned i = 0; i < pool->count; i++) {
		struct worker *worker = pool->workers[i];
		if (worker == NULL)
			continue;
		if (worker->wake_event != NULL)
			event_free(worker->wake_event);
		if (worker->loop != NULL)
			event_base_free(worker->loop);
		if (worker->wake >= 0)
			close(worker->wake);
		free(worker);
	}
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
	return pool->workers[index];
}

/* --- the worker's own */

unsigned worker_index(const struct worker *worker)
{
	return worker->index;
}

struct worker_pool *worker_pool_of(const struct worker *worker)
{
	return worker->pool;
}

struct event_base *worker_loop(struct worker *worker)
{
	return worker->loop;
}

uint64_t worker_now_ms(const struct worker *worker)
{
	if (worker->is_stale)
		refresh_clock((struct worker *)(uintptr_t)worker);
	return worker->now_ms;
}

int64_t worker_wall_ms(const struct worker *worker)
{
	if (worker->is_stale)
		refresh_clock((struct worker *)(uintptr_t)worker);
	return worker->wall_ms;
}

uint64_t worker_turn(const struct worker *worker)
{
	return worker->turn;
}

int worker_slot_new(void)
{
	if (slot_count == SLOTS_MAX)
		abort(); /* our mistake */
	return slot_count++;
}

void worker_slot_set(struct worker *worker, int slot, void *value)
{
	worker->slots[slot] = value;
}

void *worker_slot(const struct worker *worker, int slot)
{
	return worker->slots[slot];
}

/* --- timers */

struct timer {
	struct event *event;
	void (*fire)(void *context);
	void *context;
};

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
	struct timer *timer = context;
	(void)descriptor, (void)what;
	timer->fire(timer->context);
}

struct timer *timer_new(struct worker *worker, void (*fire)(void *context), void *context)
{
	struct timer *timer = malloc(sizeof(*timer));
	if (timer == NULL)
		return NULL;
	*timer = (struct timer){.fire = fire, .context = context};
	timer->event = evtimer_new(worker->loop, on_timer, timer);
	if (timer->event == NULL) {
		free(timer);
		return NULL;
	}
	return timer;
}

void timer_set(struct timer *timer, uint64_t after_ms)
{
	const struct timeval after = {
		.tv_sec = (time_t)(after_ms / 1000), .tv_usec = (suseconds_t)(after_ms % 1000 * 1000)};
	evtimer_add(timer->event, &after);
}

void timer_cancel(struct timer *timer)
{
	evtimer_del(timer->event);
}

void timer_free(struct timer *timer)
{
	if (timer == NULL)
		return;
	event_free(timer->event);
	free(timer);
}
