/* An agreement as the data plane sees it: its policy, what has been used of it, and the lanes its live pulls stand in.
 * There is one for each agreement id that a flow, an agreement record or a book names. */
#pragma once

#include <stdatomic.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "tenants/dp/contract/policy.h"

/* What is booked, by the name in records and views. */
#define BOOK_ENTRY_LIST(X)                                                                                             \
	X(BYTES, "bytesSent")        /* of bodies pulled, repeated ones included */                                        \
	X(REPEATED, "bytesRepeated") /* of these, ranges that had been sent to the flow before */                          \
	X(PUSHED, "bytesPushed")     /* the same, pushed */                                                                \
	X(REPUSHED, "bytesRepushed")                                                                                       \
	X(REQUESTS, "requests") /* let in by the token, whatever became of them */                                         \
	X(USES, "uses")         /* of these, what the policy's count counts */                                             \
	X(OK, "ok")                                                                                                        \
	X(STOPPED, "stopped") /* by the contract or the operator */                                                        \
	X(BROKEN, "broken")   /* by the source, the network or the consumer */                                             \
	X(REFUSED, "refused")
enum book_entry {
#define BOOK_ENTRY_MEMBER(name, text) BOOK_##name,
	BOOK_ENTRY_LIST(BOOK_ENTRY_MEMBER)
#undef BOOK_ENTRY_MEMBER
		BOOK_ENTRY_COUNT
};
struct book_totals {
	uint64_t of[BOOK_ENTRY_COUNT];
};
void book_totals_add(struct book_totals *to, const struct book_totals *more);
/* The members of a JSON object, without its braces. */
void book_totals_print(const struct book_totals *totals, struct buffer *into);
/* Members that are missing are 0. */
void book_totals_read(const struct json *object, struct book_totals *totals);

/* What the record says; immutable once published. */
struct agreement_terms {
	struct policy *policy;
	char *body; /* the record */
	int64_t revision;
};
/* A record or request: {"policy": an ODRL Agreement or Set, "contractSigningDate"?: seconds, ...}; what else it holds
 * is kept. `error` gets one line that names the member. */
enum status agreement_terms_parse(
	const struct json *body, struct agreement_terms **terms, struct buffer *error) MUST_CHECK;
/* For a record that cannot be read: nothing is allowed. NULL: out of memory. */
struct agreement_terms *agreement_terms_deny(void);
void agreement_terms_free(void *terms);

struct pull;

/* One worker's; touched by that worker alone. */
struct agreement_lane {
	_Alignas(64) struct pull *pulls;
	struct agreement *agreement;
	uint64_t credit;                            /* bytes reserved and not yet sent */
	struct book_totals counted;                 /* since the last collection */
	uint64_t unreserved_bytes, unreserved_uses; /* of these, what the counters below do not know yet */
	struct agreement_lane *next_dirty;
	bool is_dirty, is_checking;
};

/* What one cell has booked. Store's thread alone. */
struct book_slot {
	struct book_slot *next;
	char *cell;
	struct book_totals totals;
};

struct agreement {
	_Alignas(64) _Atomic uint64_t bytes; /* reserved: sent, or lent to a lane */
	_Atomic uint64_t uses;
	char apart[48]; /* what follows is read by all, and changes seldom */
	char ctx[ID_LENGTH + 1];
	atomic_uint holders; /* of the memory: the map, and what waits to be booked */
	char *id;
	_Atomic(struct agreement_terms *) terms; /* NULL: no record; replaced by the store's thread, the old retired */
	struct book_slot *slots;
	_Atomic(struct agreement_lane *) lanes;    /* one per worker, made with the first flow */
	_Atomic uint64_t booked[BOOK_ENTRY_COUNT]; /* durable, over all cells */
	unsigned lane_count;
	unsigned users; /* flows; store's thread alone */
};

struct agreement *agreement_new(struct text ctx, struct text id, unsigned workers);
/* Store's thread. False: out of memory. */
bool agreement_make_lanes(struct agreement *agreement);
void agreement_hold(struct agreement *agreement);
void agreement_drop(void *agreement);
/* Store's thread: the totals that a cell has stored. is_counted: the counters of this process know them already. */
enum status agreement_book(
	struct agreement *agreement, struct text cell, const struct book_totals *totals, bool is_counted) MUST_CHECK;
/* Store's thread: what the cell has stored is gone. */
void agreement_forget_book(struct agreement *agreement, struct text cell);

/* --- on a worker */

struct agreement_lane *agreement_lane(const struct agreement *agreement, unsigned worker);
/* Bytes sent so far as this lane knows: what other lanes have been lent counts as sent. */
uint64_t agreement_bytes(const struct agreement *agreement, const struct agreement_lane *lane);
/* Lends the lane at most CREDIT_MAX bytes more, less near `limit`; false: the limit is reached. */
enum { CREDIT_MAX = 4 * 1024 * 1024, CREDIT_MIN = 64 * 1024 };
bool agreement_lend(struct agreement *agreement, struct agreement_lane *lane, uint64_t limit);
/* Gives back what was lent and not sent. */
void agreement_return(struct agreement *agreement, struct agreement_lane *lane);
/* One use more, unless `limit` is reached; *before: the uses there were. */
bool agreement_use(struct agreement *agreement, uint64_t limit, uint64_t *before);
void agreement_unuse(struct agreement *agreement);
