/* The books: what was sent under each agreement, and the receipts of it, durable once a flush interval. Workers count
 * plainly, each for itself; a thread of its own collects their counts, has the receipts signed, and stores both in one
 * transaction a participant. What could not be stored is kept as it is and tried again: totals are this cell's own,
 * written whole, so that storing twice is storing once.
 *
 * Records. BOOK "<agreement>#<cell>": the totals of one cell. BOOK "#<cell>": the end of its chain of receipts.
 * RECEIPT "<cell>.<sequence, 16 digits>": the line of a receipt (receipt.h). */
#pragma once

#include "tenants/dp/contract/tally.h"
#include "tenants/dp/state.h"

struct books;
enum { CELL_NAME_MAX = 64, RECEIPT_ID_MAX = CELL_NAME_MAX + 1 + 16 };

/* NULL: out of memory, or `cell` is no name. */
struct books *books_new(struct dp *dp, struct text cell);
/* For the store's listener: a BOOK record. On the loading thread, or later the store's. */
enum status books_on_record(struct books *books, const struct record *record, const struct json *body) MUST_CHECK;
void books_on_gone(struct books *books, const struct record *record);
/* A participant is gone; store's thread. */
void books_forget(struct books *books, struct text ctx);
/* Once the workers run. */
enum status books_start(struct books *books) MUST_CHECK;
/* Stores what there is, for a bounded time, and ends the thread: before the store is closed, with the workers still
 * running. NULL is fine; does nothing when not started. */
void books_settle(struct books *books);
/* After the workers. */
void books_free(struct books *books);

void books_drop(struct dp_worker *home);
/* The pulls of a flow that end from now on are another tally: the flow may be gone. */
void books_leave_flow(struct dp_worker *home, const struct flow *flow);
/* The flow's tally on this worker; NULL: none, and `is_wanted` made none. */
struct tally *books_tally(struct dp_worker *home, struct flow *flow, bool is_wanted);
