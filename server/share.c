/* Deficit round robin between shares, per worker: a round ends with the turn, when everybody who could send has. */
#include "server/share.h"

#include <stdlib.h>

enum { CAP_TICK_MS = 5, BURST_MIN = 64 * 1024 };
/* A round has so many bytes for all who send much, that is a frame or more; of these each share's quantum is a part. So
 * a round is short however many they are, and shorter the fewer: the answers of those who ask for little wait for one
 * of them, and a connection of many tenants can carry it in one turn. A share that was alone for CALM rounds has eight
 * of the largest quanta: nobody waits for it, and larger reads and sends cost less. */
enum { ROUND = 384 * 1024, QUANTUM_LEAST = 16 * 1024, QUANTUM_MOST = 64 * 1024, ALONE = 8, MUCH = 16 * 1024 };
/* So many, 64 MiB, that who asks a dozen times a second meets no large one. */
enum { CALM = 1024 };
enum { OVERDRAFT = 16384 }; /* what one take may overdraw */

struct waiting {
	struct share_waiter *first, **end;
};

struct share {
	struct scheduler *scheduler;
	unsigned references;
	struct share_limits limits;
	uint64_t round; /* the round `credit` is of */
	uint64_t taken; /* in it */
	int64_t credit; /* bytes; may fall below zero by one frame, which the next round pays */
	int64_t bucket; /* bytes that the cap leaves */
	uint64_t bucket_ms;
	uint64_t crumbs; /* thousandths of a byte that the bucket is owed: slow rates fill it, too */
	uint64_t sent;
	struct waiting hungry, served; /* who got nothing in this round goes first in the next */
	struct share *queue_next;
	bool is_queued, is_capped;
};

struct scheduler {
	struct task task; /* first: the end of the round */
	struct worker *worker;
	struct share *common;
	uint64_t round;
	int64_t quantum;                  /* of this round, for a weight of 1 */
	unsigned active, senders;         /* shares that took in it, and took much */
	struct share *queue, **queue_end; /* shares with waiters */
	uint64_t shared;                  /* the last round in which more than one took */
	bool is_scheduled, was_alone;
	struct timer *tick;
};

static int slot = -1;

/* Called while the process starts: before any worker runs. */
__attribute__((constructor)) static void reserve_slot(void)
{
	slot = worker_slot_new();
}

static void schedule(struct scheduler *scheduler);

static int64_t burst_of(const struct share *share)
{
	uint64_t burst = share->limits.bytes_per_second;
	return burst < BURST_MIN ? BURST_MIN : burst > INT64_MAX / 4096 ? INT64_MAX / 4096 : (int64_t)burst;
}

static void refill(struct share *share, uint64_t now_ms)
{
	uint64_t passed = now_ms - share->bucket_ms;
	int64_t burst = burst_of(share);
	uint64_t rate = share->limits.bytes_per_second < (uint64_t)burst ? share->limits.bytes_per_second : (uint64_t)burst;
	if (passed == 0 || share->bucket >= burst || rate == 0) {
		share->bucket_ms = now_ms;
		return;
	}
	uint64_t missing = (uint64_t)(burst - share->bucket);
	share->bucket_ms = now_ms;
	if (passed / 1000 > missing / rate) { /* the bound keeps the product in range */
		share->bucket = burst;
		share->crumbs = 0;
		return;
	}
	share->crumbs += rate * passed;
	uint64_t add = share->crumbs / 1000;
	share->crumbs %= 1000;
	share->bucket += (int64_t)(add < missing ? add : missing);
}

static void waiting_clear(struct waiting *waiting)
{
	*waiting = (struct waiting){NULL, &waiting->first};
}

/* A waiter may let go of the share: the caller holds on to it. */
static void wake_waiters(struct share *share)
{
	if (share->served.first != NULL) {
		*share->hungry.end = share->served.first;
		share->served.first->previous = share->hungry.end;
	}
	struct share_waiter *waiter = share->hungry.first;
	waiting_clear(&share->hungry);
	waiting_clear(&share->served);
	while (waiter != NULL) {
		struct share_waiter *next = waiter->next;
		waiter->previous = NULL;
		waiter->next = NULL;
		if (next != NULL)
			next->previous = &next; /* no longer in the list it pointed into */
		waiter->go(waiter);
		waiter = next;
	}
}

static int64_t quantum_among(unsigned senders)
{
	int64_t part = senders == 0 ? ROUND : ROUND / senders;
	return part < QUANTUM_LEAST ? QUANTUM_LEAST : part > QUANTUM_MOST ? QUANTUM_MOST : part;
}

/* Ends the round: everybody who waits may send again, in the order they came. */
static void advance(struct task *task)
{
	struct scheduler *scheduler = (struct scheduler *)task;
	struct share *share = scheduler->queue, *capped = NULL, **capped_end = &capped;
	uint64_t now_ms = worker_now_ms(scheduler->worker);
	scheduler->is_scheduled = false;
	scheduler->queue = NULL;
	scheduler->queue_end = &scheduler->queue;
	if (scheduler->active > 1)
		scheduler->shared = scheduler->round;
	scheduler->was_alone = scheduler->active == 1 && scheduler->round - scheduler->shared >= CALM;
	scheduler->round++;
	scheduler->quantum = scheduler->was_alone ? (int64_t)ALONE * QUANTUM_MOST : quantum_among(scheduler->senders);
	scheduler->active = scheduler->senders = 0;
	while (share != NULL) {
		struct share *next = share->queue_next;
		if (share->limits.bytes_per_second > 0)
			refill(share, now_ms);
		share->is_capped = share->limits.bytes_per_second > 0 && share->bucket <= 0;
		if (share->is_capped) {
			share->queue_next = NULL;
			*capped_end = share;
			capped_end = &share->queue_next;
		} else {
			share->is_queued = false;
			wake_waiters(share);
			share_unref(share); /* the queue's */
		}
		share = next;
	}
	if (capped != NULL) {
		*capped_end = scheduler->queue;
		if (scheduler->queue == NULL)
			scheduler->queue_end = capped_end;
		scheduler->queue = capped;
		timer_set(scheduler->tick, CAP_TICK_MS);
	}
}

static void on_tick(void *context)
{
	schedule(context);
}

static void schedule(struct scheduler *scheduler)
{
	if (scheduler->is_scheduled)
		return;
	scheduler->is_scheduled = true;
	/* one round a turn: what has come meanwhile is read first, of whomever */
	worker_next(scheduler->worker, &scheduler->task);
}

static struct scheduler *scheduler_of(struct worker *worker)
{
	struct scheduler *scheduler = worker_slot(worker, slot);
	if (scheduler != NULL)
		return scheduler;
	scheduler = calloc(1, sizeof(*scheduler));
	if (scheduler == NULL)
		return NULL;
	scheduler->task.run = advance;
	scheduler->worker = worker;
	scheduler->round = CALM;
	scheduler->quantum = quantum_among(0);
	scheduler->queue_end = &scheduler->queue;
	scheduler->tick = timer_new(worker, on_tick, scheduler);
	if (scheduler->tick == NULL) {
		free(scheduler);
		return NULL;
	}
	worker_slot_set(worker, slot, scheduler);
	return scheduler;
}

struct share *share_new(struct worker *worker, const struct share_limits *limits)
{
	struct scheduler *scheduler = scheduler_of(worker);
	struct share *share = scheduler == NULL ? NULL : calloc(1, sizeof(*share));
	if (share == NULL)
		return NULL;
	share->scheduler = scheduler;
	share->references = 1;
	waiting_clear(&share->hungry);
	waiting_clear(&share->served);
	share->bucket_ms = worker_now_ms(worker);
	share_change(share, limits);
	share->bucket = burst_of(share);
	return share;
}

struct share *share_common(struct worker *worker)
{
	struct scheduler *scheduler = scheduler_of(worker);
	static const struct share_limits limits = {.weight = 1};
	if (scheduler != NULL && scheduler->common == NULL)
		scheduler->common = share_new(worker, &limits);
	return scheduler == NULL ? NULL : scheduler->common;
}

void share_close_worker(struct worker *worker)
{
	struct scheduler *scheduler = worker_slot(worker, slot);
	if (scheduler == NULL)
		return;
	while (scheduler->is_scheduled)
		worker_run_later(worker);
	while (scheduler->queue != NULL) { /* capped ones, whose waiters have left */
		struct share *next = scheduler->queue->queue_next;
		share_unref(scheduler->queue);
		scheduler->queue = next;
	}
	share_unref(scheduler->common);
	timer_free(scheduler->tick);
	free(scheduler);
	worker_slot_set(worker, slot, NULL);
}

void share_unref(struct share *share)
{
	if (share != NULL && --share->references == 0)
		free(share);
}

void share_change(struct share *share, const struct share_limits *limits)
{
	share->limits = *limits;
	if (share->limits.weight == 0)
		share->limits.weight = 1;
	if (share->bucket > burst_of(share))
		share->bucket = burst_of(share);
}

uint64_t share_bytes_sent(const struct share *share)
{
	return share->sent;
}

static void wait_for_round(struct share *share, struct share_waiter *waiter)
{
	struct scheduler *scheduler = share->scheduler;
	if (waiter->previous == NULL) {
		struct waiting *waiting = waiter->served == scheduler->round ? &share->served : &share->hungry;
		waiter->next = NULL;
		waiter->share = share;
		waiter->previous = waiting->end;
		*waiting->end = waiter;
		waiting->end = &waiter->next;
	}
	if (!share->is_queued) {
		share->is_queued = true;
		share->references++; /* the queue's */
		share->queue_next = NULL;
		*scheduler->queue_end = share;
		scheduler->queue_end = &share->queue_next;
	}
	if (!share->is_capped)
		schedule(scheduler);
}

/* The first take of a round brings its credit. */
static void begin_round(struct share *share)
{
	struct scheduler *scheduler = share->scheduler;
	if (share->round == scheduler->round)
		return;
	int64_t quantum = scheduler->quantum * share->limits.weight;
	scheduler->active++;
	share->round = scheduler->round;
	share->taken = 0;
	share->credit = share->credit < 0 ? share->credit + quantum : quantum;
}

static size_t at_most(size_t wanted, int64_t left)
{
	size_t most = left < OVERDRAFT ? OVERDRAFT : (size_t)left;
	return wanted < most ? wanted : most;
}

size_t share_take(struct share *share, size_t wanted, struct share_waiter *waiter)
{
	bool is_capped = share->limits.bytes_per_second > 0;
	begin_round(share);
	if (is_capped)
		refill(share, worker_now_ms(share->scheduler->worker));
	if (share->credit <= 0 || (is_capped && share->bucket <= 0)) {
		wait_for_round(share, waiter);
		return 0;
	}
	wanted = at_most(wanted, share->credit);
	if (is_capped)
		wanted = at_most(wanted, share->bucket);
	share->scheduler->senders += share->taken < MUCH && share->taken + wanted >= MUCH;
	share->taken += wanted;
	waiter->served = share->scheduler->round;
	share->credit -= (int64_t)wanted;
	share->bucket -= is_capped ? (int64_t)wanted : 0;
	share->sent += wanted;
	return wanted;
}

bool share_rest(struct share *share, size_t least, struct share_waiter *waiter)
{
	begin_round(share);
	if (!share->scheduler->was_alone || share->credit >= (int64_t)least)
		return false;
	if (share->credit > 0)
		share->credit = 0;
	wait_for_round(share, waiter);
	return true;
}

bool share_is_alone(const struct share *share)
{
	return share->scheduler->was_alone;
}

void share_widen(struct share *share, size_t room)
{
	begin_round(share);
	if (share->scheduler->was_alone && share->taken == 0 && share->credit < (int64_t)room)
		share->credit = (int64_t)room;
}

void share_return(struct share *share, size_t unused)
{
	share->credit += (int64_t)unused;
	share->bucket += share->limits.bytes_per_second > 0 ? (int64_t)unused : 0;
	share->sent -= unused;
}

void share_leave(struct share_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	else if (waiter->share->hungry.end == &waiter->next)
		waiter->share->hungry.end = waiter->previous;
	else if (waiter->share->served.end == &waiter->next)
		waiter->share->served.end = waiter->previous;
	waiter->previous = NULL;
}
