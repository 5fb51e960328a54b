/* The books' thread: what comes to it, and its ledgers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/dp/contract/agreement_records.h"
#include "tenants/dp/contract/books_private.h"

enum { SIGNING_MS = 5000, SETTLE_MS = 10000, WAIT_MS = 1000 };

struct forgetting {
	struct message message; /* first */
	char ctx[ID_LENGTH + 1];
};

/* --- messages: a stack that many push to and one takes whole */

void books_push(struct books *books, struct message *message)
{
	message->next = atomic_load_explicit(&books->inbox, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(
		&books->inbox, &message->next, message, memory_order_release, memory_order_relaxed))
		;
	sem_post(&books->wake);
}

/* In the order they came. */
static struct message *take_all(struct books *books)
{
	struct message *stack = atomic_exchange_explicit(&books->inbox, NULL, memory_order_acquire), *queue = NULL;
	while (stack != NULL) {
		struct message *next = stack->next;
		stack->next = queue;
		queue = stack;
		stack = next;
	}
	return queue;
}

/* --- ledgers */

/* NULL: out of memory. */
static struct ledger *find_ledger(struct books *books, struct text ctx)
{
	struct ledger *ledger = map_find(books->ledgers, ctx);
	if (ledger != NULL)
		return ledger;
	ledger = ledger_new(ctx);
	if (ledger != NULL && map_load(books->ledgers, ctx, ledger) != STATUS_OK) {
		ledger_free(ledger);
		return NULL;
	}
	return ledger;
}

void books_forget_ledger(struct books *books, struct text ctx)
{
	struct ledger *ledger = map_find(books->ledgers, ctx);
	struct map *next = NULL;
	if (ledger == NULL || map_remove(books->ledgers, ctx, &next) != STATUS_OK || next == books->ledgers)
		return;
	map_retire(books->ledgers);
	books->ledgers = next;
	ledger_free(ledger);
}

static void on_parcel(struct books *books, struct parcel *parcel)
{
	while (parcel->deltas != NULL) {
		struct delta *delta = parcel->deltas;
		struct ledger *ledger = find_ledger(books, text_of(delta->agreement->ctx));
		if (ledger == NULL || !ledger_add(ledger, text_of(delta->agreement->id), &delta->counted))
			LOG(ERROR, "dp.books", log_text("tenant", text_of(delta->agreement->ctx)),
				log_text("error", TEXT("out of memory: counts are lost")));
		parcel->deltas = delta->next;
		agreement_drop(delta->agreement);
		free(delta);
	}
	while (parcel->tallies != NULL) {
		struct tally *tally = parcel->tallies;
		struct ledger *ledger = find_ledger(books, text_of(tally->ctx));
		parcel->tallies = tally->next;
		if (ledger != NULL)
			ledger_take(ledger, tally);
		else
			tally_free(tally);
	}
	free(parcel);
}

/* --- the thread */

static bool advance_ledger(void *context, struct text key, void *value)
{
	struct books *books = context;
	struct ledger *ledger = value;
	uint64_t now_ms = clock_monotonic_ms();
	const struct dp_settings *settings = &books->dp->settings;
	(void)key;
	if (ledger->batch == NULL) {
		if (ledger_is_clean(ledger) || !ledger_make_batch(ledger, text_of(books->cell), settings->receipts,
										   (uint64_t)settings->receipts_kept, now_ms))
			return true;
		if (ledger->batch->state == BATCH_SIGNING)
			batch_sign(books, ledger->batch);
	}
	/* a vault that does not answer holds up no count */
	if (ledger->batch->state == BATCH_SIGNING && now_ms - ledger->batch->signing_since_ms >= SIGNING_MS)
		ledger->batch->state = BATCH_READY;
	if (ledger->batch->state == BATCH_READY)
		batch_store(books, ledger->batch);
	return true;
}

static void on_message(struct books *books, struct message *message)
{
	switch (message->kind) {
	case MESSAGE_PARCEL:
		on_parcel(books, (struct parcel *)message);
		break;
	case MESSAGE_COLLECTED:
		books->is_collecting = false;
		map_each(books->ledgers, advance_ledger, books);
		break;
	case MESSAGE_SIGNED:
		batch_on_signed(books, batch_of(message));
		break;
	case MESSAGE_STORED:
		batch_on_stored(books, batch_of(message));
		break;
	case MESSAGE_FORGET:
		books_forget_ledger(books, text_of(((struct forgetting *)message)->ctx));
		free(message);
		break;
	}
}

static bool is_busy(void *context, struct text key, void *value)
{
	bool *busy = context;
	const struct ledger *ledger = value;
	(void)key;
	*busy = *busy || ledger->batch != NULL || !ledger_is_clean(ledger);
	return !*busy;
}

/* Everything has been collected since the end was asked for, and stored. */
static bool is_settled(struct books *books, bool has_collected)
{
	bool busy = books->is_collecting || !has_collected;
	if (!busy)
		map_each(books->ledgers, is_busy, &busy);
	return !busy || clock_monotonic_ms() >= books->end_ms;
}

static void wait_until(struct books *books, uint64_t when_ms)
{
	const struct timespec when = {.tv_sec = (time_t)(when_ms / 1000), .tv_nsec = (long)(when_ms % 1000) * 1000000};
	while (sem_clockwait(&books->wake, CLOCK_MONOTONIC, &when) != 0 && errno == EINTR)
		;
}

static void *run(void *context)
{
	struct books *books = context;
	uint64_t pause_ms = (uint64_t)books->dp->settings.flush_ms;
	bool has_collected = false; /* since the end was asked for */
	books->next_ms = clock_monotonic_ms() + pause_ms;
	for (;;) {
		wait_until(books, books->next_ms);
		bool is_closing = atomic_load(&books->is_closing);
		for (struct message *message = take_all(books), *next; message != NULL; message = next) {
			next = message->next;
			on_message(books, message);
		}
		if (is_closing && is_settled(books, has_collected))
			return NULL;
		uint64_t now_ms = clock_monotonic_ms();
		bool is_due = now_ms >= books->next_ms || (is_closing && !has_collected);
		if (is_due && !books->is_collecting) {
			has_collected = is_closing;
			books_collect(books);
		}
		if (is_due)
			books->next_ms = now_ms + (is_closing && pause_ms > WAIT_MS / 10 ? WAIT_MS / 10 : pause_ms);
	}
}

/* --- records */

/* "<agreement>#<cell>": both parts; the first is empty for the end of a chain. */
static bool split(struct text id, struct text *agreement, struct text *cell)
{
	for (size_t i = id.length; i-- > 0;) {
		if (id.bytes[i] != '#')
			continue;
		*agreement = text_slice(id, 0, i);
		*cell = text_slice(id, i + 1, id.length);
		return name_is_valid(*cell, CELL_NAME_MAX);
	}
	return false;
}

static enum status load_link(struct books *books, struct text ctx, const struct json *body)
{
	struct ledger *ledger = find_ledger(books, ctx);
	struct text hash = json_member_text(body, "hash");
	int64_t sequence, first;
	if (ledger == NULL)
		return STATUS_NO_MEMORY;
	if (!json_integer(json_member(body, "sequence"), &sequence) || sequence < 1 ||
		!json_integer(json_member(body, "firstKept"), &first) || first < 1 || hash.length != DIGEST_HEX)
		return STATUS_INVALID;
	ledger->link.sequence = (uint64_t)sequence;
	ledger->first_kept = (uint64_t)first;
	memcpy(ledger->link.hash, hash.bytes, DIGEST_HEX);
	return STATUS_OK;
}

enum status books_on_record(struct books *books, const struct record *record, const struct json *body)
{
	struct text agreement, cell;
	struct book_totals totals;
	if (!split(record->id, &agreement, &cell))
		return STATUS_INVALID;
	bool is_own = text_equals(cell, text_of(books->cell)), is_loading = books->dp->loading;
	if (agreement.length == 0)
		return is_own && is_loading ? load_link(books, record->ctx, body) : STATUS_OK;
	book_totals_read(body, &totals);
	if (is_own && is_loading) {
		struct ledger *ledger = find_ledger(books, record->ctx);
		if (ledger == NULL || !ledger_set(ledger, agreement, &totals))
			return STATUS_NO_MEMORY;
	}
	return agreement_on_book(books->dp, record->ctx, agreement, cell, &totals, is_own && !is_loading);
}

void books_on_gone(struct books *books, const struct record *record)
{
	struct text agreement, cell;
	if (split(record->id, &agreement, &cell) && agreement.length > 0)
		agreement_on_book_gone(books->dp, record->ctx, agreement, cell);
}

void books_forget(struct books *books, struct text ctx)
{
	struct forgetting *forgetting = malloc(sizeof(*forgetting));
	if (forgetting == NULL || ctx.length > ID_LENGTH) {
		free(forgetting);
		return;
	}
	*forgetting = (struct forgetting){.message.kind = MESSAGE_FORGET};
	memcpy(forgetting->ctx, ctx.bytes, ctx.length);
	books_push(books, &forgetting->message);
}

/* --- life */

struct books *books_new(struct dp *dp, struct text cell)
{
	struct books *books = calloc(1, sizeof(*books));
	if (books == NULL || !name_is_valid(cell, CELL_NAME_MAX) || (books->ledgers = map_new()) == NULL) {
		free(books);
		return NULL;
	}
	books->dp = dp;
	memcpy(books->cell, cell.bytes, cell.length);
	sem_init(&books->wake, 0, 0);
	return books;
}

enum status books_start(struct books *books)
{
	if (pthread_create(&books->thread, NULL, run, books) != 0)
		return STATUS_UNAVAILABLE;
	books->has_thread = true;
	return STATUS_OK;
}

void books_settle(struct books *books)
{
	if (books == NULL || !books->has_thread)
		return;
	books->end_ms = clock_monotonic_ms() + SETTLE_MS;
	atomic_store(&books->is_closing, true);
	sem_post(&books->wake);
	pthread_join(books->thread, NULL);
	books->has_thread = false;
}

static bool free_ledger(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	ledger_free(value);
	return true;
}

static void drop_message(struct message *message)
{
	switch (message->kind) {
	case MESSAGE_PARCEL:
		parcel_free((struct parcel *)message);
		break;
	case MESSAGE_SIGNED:
	case MESSAGE_STORED:
		batch_drop(batch_of(message));
		break;
	case MESSAGE_FORGET:
		free(message);
		break;
	case MESSAGE_COLLECTED:
		break;
	}
}

void books_free(struct books *books)
{
	if (books == NULL)
		return;
	for (struct message *message = take_all(books), *next; message != NULL; message = next) {
		next = message->next;
		drop_message(message);
	}
	map_each(books->ledgers, free_ledger, NULL);
	map_free(books->ledgers);
	sem_destroy(&books->wake);
	free(books);
}
