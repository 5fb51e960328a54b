/* One participant's pages of the books: totals of its agreements, what waits to become receipts, and what is on its way
 * to the store. Private to books.c and ledger.c; the books' thread alone, but for what is said of batches. */
#pragma once

#include "server/base/map.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/contract/receipt.h"

/* Something that has come for the books' thread; pushed from any thread. */
enum message_kind { MESSAGE_PARCEL, MESSAGE_COLLECTED, MESSAGE_SIGNED, MESSAGE_STORED, MESSAGE_FORGET };
struct message {
	struct message *next;
	enum message_kind kind;
};

struct account {
	char *agreement;
	struct book_totals totals; /* of this cell, since ever */
	struct account *next_dirty;
	bool is_dirty;
};

struct paper {
	struct buffer receipt; /* canonical text */
	struct receipt_link link;
	struct buffer token; /* written by the signing worker */
};

enum batch_state { BATCH_SIGNING, BATCH_READY, BATCH_STORING };

/* What becomes one transaction; does not change any more once made, but for its tokens. */
struct batch {
	struct message signing, storing; /* when one of them has ended; batch_of */
	struct ledger *ledger;           /* NULL: the participant is gone */
	atomic_uint holders;             /* the ledger; who signs */
	enum batch_state state;          /* the books' thread */
	bool is_signed;                  /* all that could be, in time */
	char ctx[ID_LENGTH + 1];
	uint64_t signing_since_ms;
	enum status stored; /* how storing ended */
	struct paper *papers;
	size_t paper_count, signed_count;
	struct book_entry_change {
		struct buffer id, body;
	} * puts;
	size_t put_count;
	uint64_t drop_from, drop_end; /* receipts that are no longer kept */
};

struct ledger {
	char ctx[ID_LENGTH + 1];
	struct map *accounts;  /* by agreement */
	struct map *histories; /* by flow: what had been sent before */
	struct account *dirty;
	struct tally *tallies; /* one a flow */
	struct receipt_link link;
	uint64_t first_kept; /* sequence of the oldest receipt */
	struct batch *batch;
};

struct ledger *ledger_new(struct text ctx);
void ledger_free(struct ledger *ledger);
/* False: out of memory. */
bool ledger_add(struct ledger *ledger, struct text agreement, const struct book_totals *more) MUST_CHECK;
/* What the store held at the start. */
bool ledger_set(struct ledger *ledger, struct text agreement, const struct book_totals *totals) MUST_CHECK;
/* Takes the tally over. */
void ledger_take(struct ledger *ledger, struct tally *tally);
bool ledger_is_clean(const struct ledger *ledger);
/* Makes ledger->batch of all that waits; false: out of memory, it waits on. */
bool ledger_make_batch(
	struct ledger *ledger, struct text cell, bool has_receipts, uint64_t kept, uint64_t now_ms) MUST_CHECK;
void batch_drop(struct batch *batch);
struct batch *batch_of(struct message *message);
/* NULL: out of memory. */
struct transaction *batch_transaction(const struct batch *batch, struct text cell);
