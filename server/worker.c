/* A worker: its event loop, its queues of tasks, its clocks and timers. */
#include "server/worker_private.h"

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/clock.h"

enum { SLOTS_MAX = 32 };

/* A worker writes its own at every turn: whole lines of its own, and what others write in one apart. */
struct worker {
	_Alignas(64) _Atomic(struct task *) posted; /* newest first */
	atomic_bool is_awake;                       /* a wake is under way: no need for another */
	char apart[55];
	struct worker_pool *pool;
	unsigned index;
	struct event_base *loop;
	struct event *wake_event;
	int wake;
	struct task *later, *later_end, *next, *next_end;
	uint64_t now_ms;
	int64_t wall_ms;
	uint64_t turn;
	bool is_stopping;
	bool is_stale; /* the clocks were read in an earlier turn */
	void *slots[SLOTS_MAX];
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

bool worker_run_posted(struct worker *worker)
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
	worker_run_posted(worker);
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

/* --- its life */

struct worker *worker_new(struct worker_pool *pool, unsigned index)
{
	struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof(*worker));
	if (worker == NULL)
		return NULL;
	memset(worker, 0, sizeof(*worker));
	worker->pool = pool;
	worker->index = index;
	worker->is_stale = true;
	worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker->loop = event_base_new();
	worker->wake_event =
		worker->loop == NULL ? NULL : event_new(worker->loop, worker->wake, EV_READ | EV_PERSIST, on_wake, worker);
	if (worker->wake >= 0 && worker->wake_event != NULL && event_add(worker->wake_event, NULL) == 0)
		return worker;
	worker_free(worker);
	return NULL;
}

void worker_free(struct worker *worker)
{
	if (worker == NULL)
		return;
	if (worker->wake_event != NULL)
		event_free(worker->wake_event);
	if (worker->loop != NULL)
		event_base_free(worker->loop);
	if (worker->wake >= 0)
		close(worker->wake);
	free(worker);
}

static void refresh_clock(struct worker *worker)
{
	worker->is_stale = false;
	worker->now_ms = clock_monotonic_ms();
	worker->wall_ms = clock_wall_ms();
}

void worker_enter(struct worker *worker)
{
	current = worker;
	if (worker != NULL)
		refresh_clock(worker);
}

void worker_run(struct worker *worker)
{
	while (!worker->is_stopping) {
		worker->is_stale = true; /* read again by the first who asks after the wait */
		event_base_loop(worker->loop, worker->later != NULL ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE);
		worker_run_later(worker);
	}
}

void worker_leave(struct worker *worker)
{
	worker->is_stopping = true;
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
