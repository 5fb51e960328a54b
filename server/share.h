/* A share: the account by which one worker divides its core and its sockets between tenants. Deficit round robin by
 * bytes: in each round a share may send `weight` quanta, eight times as many when it has long been the only one that
 * sends; a share that has used its round waits until the others have had theirs and what came for them has been read. A
 * bucket caps bytes per second. Worker-local: no atomics. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/worker.h"

struct share;

struct share_limits {
	uint32_t weight;           /* 1 = normal */
	uint64_t bytes_per_second; /* of this worker; 0 = no cap. Burst: one second's worth, at least 64 KiB */
};

/* One reference; shares live while a stream or the router holds them. */
struct share *share_new(struct worker *worker, const struct share_limits *limits);
/* What exchanges without a tenant use; NULL when out of memory. Borrowed. */
struct share *share_common(struct worker *worker);
/* The worker ends: no stream may be left. */
void share_close_worker(struct worker *worker);
void share_unref(struct share *share);
void share_change(struct share *share, const struct share_limits *limits);
uint64_t share_bytes_sent(const struct share *share);

/* A place in the queue; one in each stream. `go` runs when the share may send again, and re-queues the stream. */
struct share_waiter {
	void (*go)(struct share_waiter *waiter);
	struct share_waiter *next, **previous;
	struct share *share; /* whose list it is in, while it is in one */
	uint64_t served;     /* the round in which it last got something */
};
/* How many bytes (at most `wanted`, and little more than the round has left) may be produced now; 0: the waiter was
 * queued, stop producing. */
size_t share_take(struct share *share, size_t wanted, struct share_waiter *waiter);
/* For who would read a block that does not fit into this round: while no other share sends, the next round costs
 * nothing and has room for `least`. True: the waiter was queued for it. */
bool share_rest(struct share *share, size_t least, struct share_waiter *waiter);
/* No other share has sent for long: who sends or reads much at once keeps nobody waiting. */
bool share_is_alone(const struct share *share);
/* While no other share sends: a round that begins has `room`, for bytes that cost the worker little. */
void share_widen(struct share *share, size_t room);
/* Gives back what was taken and not used. */
void share_return(struct share *share, size_t unused);
void share_leave(struct share_waiter *waiter);
