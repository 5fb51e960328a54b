/* The books' thread, and what workers hand to it. */
#include "tenants/dp/contract/books.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/dp/contract/contract.h"
#include "tenants/dp/contract/ledger.h"
#include "tenants/dp/signer.h"

enum { SIGNING_MS = 5000, SETTLE_MS = 10000, WAIT_MS = 1000 };

/* What one worker has counted of one agreement. */
struct delta {
	struct delta *next;
	struct agreement *agreement; /* held */
	struct book_totals counted;
};

struct parcel {
	struct message message; /* first */
	struct delta *deltas;
	struct tally *tallies;
};

struct forgetting {
	struct message message; /* first */
	char ctx[ID_LENGTH + 1];
};

struct collection {
	struct task task;
	struct dp *dp;
};

struct books {
	struct dp *dp;
	char cell[CELL_NAME_MAX + 1];
	pthread_t thread;
	bool has_thread;
	atomic_bool is_closing;
	sem_t wake;
	_Atomic(struct message *) inbox;
	/* the thread's; before it starts, the loading one's */
	struct map *ledgers;
	struct message collected;
	struct collection collections[WORKERS_MAX];
	bool is_collecting;
	uint64_t next_ms, end_ms;
};

/* --- messages: a stack that many push to and one takes whole */

static void push(struct books *books, struct message *message)
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

/* --- on a worker */

struct tally *books_tally(struct dp_worker *home, struct flow *flow, bool is_wanted)
{
	struct flow_lane *lane = &flow->lanes[home->index];
	if (lane->tally != NULL || !is_wanted)
		return lane->tally;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	const struct participant *participant = registry_find(home->dp->registry, text_of(flow->ctx));
	const struct agreement *agreement = atomic_load_explicit(&flow->agreement, memory_order_acquire);
	const struct agreement_terms *agreed = atomic_load_explicit(&agreement->terms, memory_order_acquire);
	const char *region = terms->region != NULL                                ? terms->region
						 : participant != NULL && participant->region != NULL ? participant->region
																			  : "";
	struct buffer flags = {0};
	buffer_append_byte(&flags, '[');
	for (size_t i = 0; agreed != NULL && i < policy_unenforceable_count(agreed->policy); i++) {
		buffer_append(&flags, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(&flags, text_of(policy_unenforceable(agreed->policy, i)));
	}
	buffer_append_byte(&flags, ']');
	const struct tally_names names = {.ctx = text_of(flow->ctx),
		.flow = text_of(flow->id),
		.agreement = text_of(agreement->id),
		.dataset = text_of(terms->dataset),
		.consumer = text_of(terms->counter_party),
		.provider = text_of(participant == NULL ? "" : participant->identity),
		.region = text_of(region),
		.flags = flags.failed ? TEXT("[]") : buffer_text(&flags)};
	struct tally *tally = tally_new(&names, worker_wall_ms(home->worker));
	buffer_free(&flags);
	if (tally == NULL) {
		dp_count(DP_RECEIPTS_LOST);
		return NULL;
	}
	tally->lane = lane;
	tally->next = home->tallies;
	home->tallies = tally;
	lane->tally = tally;
	return tally;
}

void books_leave_flow(struct dp_worker *home, const struct flow *flow)
{
	struct flow_lane *lane = &flow->lanes[home->index];
	if (lane->tally != NULL)
		lane->tally->lane = NULL;
	lane->tally = NULL;
}

static struct tally *take_tallies(struct dp_worker *home)
{
	struct tally *tallies = home->tallies;
	home->tallies = NULL;
	for (struct tally *tally = tallies; tally != NULL; tally = tally->next) {
		if (tally->lane != NULL)
			tally->lane->tally = NULL;
		tally->lane = NULL;
	}
	return tallies;
}

/* The counters that all share learn of what was sent without being reserved. */
static void reserve_late(struct agreement_lane *lane)
{
	struct agreement *agreement = lane->agreement;
	if (lane->unreserved_bytes > 0)
		atomic_fetch_add_explicit(&agreement->bytes, lane->unreserved_bytes, memory_order_relaxed);
	if (lane->unreserved_uses != 0)
		atomic_fetch_add_explicit(&agreement->uses, lane->unreserved_uses, memory_order_relaxed);
	lane->unreserved_bytes = lane->unreserved_uses = 0;
}

static struct agreement_lane *take_lane(struct dp_worker *home)
{
	struct agreement_lane *lane = home->dirty;
	home->dirty = lane->next_dirty;
	lane->next_dirty = NULL;
	lane->is_dirty = false;
	return lane;
}

static struct delta *take_deltas(struct dp_worker *home)
{
	struct delta *deltas = NULL;
	while (home->dirty != NULL) {
		struct delta *delta = malloc(sizeof(*delta));
		if (delta == NULL)
			break; /* the rest stays, and comes with the next */
		struct agreement_lane *lane = take_lane(home);
		*delta = (struct delta){.next = deltas, .agreement = lane->agreement, .counted = lane->counted};
		lane->counted = (struct book_totals){0};
		reserve_late(lane);
		deltas = delta;
	}
	return deltas;
}

/* Hands over what the worker has counted; also what its stop leaves behind. */
static void collect(struct dp_worker *home)
{
	contract_count_sending(home);
	if (home->dirty == NULL && home->tallies == NULL)
		return;
	struct parcel *parcel = malloc(sizeof(*parcel));
	if (parcel == NULL)
		return;
	*parcel =
		(struct parcel){.message.kind = MESSAGE_PARCEL, .deltas = take_deltas(home), .tallies = take_tallies(home)};
	push(home->dp->books, &parcel->message);
}

void books_drop(struct dp_worker *home)
{
	while (home->dirty != NULL)
		agreement_drop(take_lane(home)->agreement);
	for (struct tally *tally = take_tallies(home), *next; tally != NULL; tally = next) {
		next = tally->next;
		tally_free(tally);
	}
}

/* --- collecting */

static void run_collection(struct task *task)
{
	const struct collection *collection = (const struct collection *)task;
	struct dp_worker *home = dp_here(collection->dp, worker_current());
	if (home != NULL)
		collect(home);
}

static void on_collected(void *context)
{
	struct books *books = context;
	books->collected = (struct message){.kind = MESSAGE_COLLECTED};
	push(books, &books->collected);
}

static void begin_collecting(struct books *books)
{
	struct worker_pool *pool = books->dp->pool;
	books->is_collecting = true;
	for (unsigned i = 0; i < books->dp->workers; i++) {
		books->collections[i] = (struct collection){.task = {.run = run_collection}, .dp = books->dp};
		worker_post(worker_pool_at(pool, i), &books->collections[i].task);
	}
	worker_pool_barrier(pool, on_collected, books);
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

static void forget_ledger(struct books *books, struct text ctx)
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

/* --- signing: on a worker, one after the other */

struct signing {
	struct task task; /* first */
	struct books *books;
	struct batch *batch; /* held */
	struct worker *worker;
};

static void sign_next(struct signing *signing);

static void end_signing(struct signing *signing)
{
	struct batch *batch = signing->batch;
	batch->signing = (struct message){.kind = MESSAGE_SIGNED};
	push(signing->books, &batch->signing); /* the hold goes with it */
	free(signing);
}

static void on_signed(void *context, enum status status, struct text token)
{
	struct signing *signing = context;
	struct paper *paper = &signing->batch->papers[signing->batch->signed_count];
	if (status == STATUS_OK)
		buffer_append(&paper->token, token);
	if (status == STATUS_OK && !paper->token.failed) {
		signing->batch->signed_count++;
		sign_next(signing);
	} else { /* those that follow stay unsigned, a later one covers them */
		end_signing(signing);
	}
}

static void sign_next(struct signing *signing)
{
	const struct batch *batch = signing->batch;
	if (batch->signed_count == batch->paper_count)
		end_signing(signing);
	else
		signer_sign(signing->books->dp, signing->worker, text_of(batch->ctx),
			buffer_text(&batch->papers[batch->signed_count].receipt), on_signed, signing);
}

static void run_signing(struct task *task)
{
	sign_next((struct signing *)task);
}

static void begin_signing(struct books *books, struct batch *batch)
{
	struct signing *signing = malloc(sizeof(*signing));
	if (signing == NULL) {
		batch->state = BATCH_READY; /* unsigned */
		return;
	}
	unsigned index = (unsigned)(text_hash(text_of(batch->ctx)) % books->dp->workers);
	*signing = (struct signing){
		.task = {.run = run_signing}, .books = books, .batch = batch, .worker = worker_pool_at(books->dp->pool, index)};
	atomic_fetch_add_explicit(&batch->holders, 1, memory_order_relaxed);
	worker_post(signing->worker, &signing->task);
}

/* --- storing */

struct storing {
	struct books *books;
	struct batch *batch;
};

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct storing *storing = context;
	(void)revision;
	storing->batch->stored = status;
	storing->batch->storing = (struct message){.kind = MESSAGE_STORED};
	push(storing->books, &storing->batch->storing);
	free(storing);
}

static void begin_storing(struct books *books, struct batch *batch)
{
	struct storing *storing = malloc(sizeof(*storing));
	struct transaction *transaction = storing == NULL ? NULL : batch_transaction(batch, text_of(books->cell));
	if (transaction == NULL) {
		free(storing); /* in the next interval */
		return;
	}
	*storing = (struct storing){books, batch};
	batch->state = BATCH_STORING;
	atomic_fetch_add_explicit(&batch->holders, 1, memory_order_relaxed);
	store_submit(books->dp->store, transaction, NULL, on_stored, storing);
}

static void on_signed_batch(struct books *books, struct batch *batch)
{
	if (batch->ledger != NULL && batch->state == BATCH_SIGNING) {
		batch->is_signed = true;
		batch->state = BATCH_READY;
		begin_storing(books, batch);
	}
	batch_drop(batch);
}

static void on_stored_batch(struct books *books, struct batch *batch)
{
	struct ledger *ledger = batch->ledger;
	bool is_over = batch->stored == STATUS_OK;
	if (ledger != NULL && batch->stored == STATUS_NOT_FOUND) {
		forget_ledger(books, text_of(batch->ctx)); /* the participant is gone */
	} else if (ledger != NULL) {
		bool is_verdict = batch->stored == STATUS_INVALID || batch->stored == STATUS_CONFLICT;
		if (!is_over)
			LOG(ERROR, "dp.books", log_text("tenant", text_of(batch->ctx)),
				log_text("error", text_of(status_text(batch->stored))), log_bool("is_lost", is_verdict));
		batch->state = BATCH_READY;
		if (is_over || is_verdict) {
			ledger->batch = NULL;
			batch_drop(batch);
		}
	}
	batch_drop(batch);
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
			begin_signing(books, ledger->batch);
	}
	/* a vault that does not answer holds up no count */
	if (ledger->batch->state == BATCH_SIGNING && now_ms - ledger->batch->signing_since_ms >= SIGNING_MS)
		ledger->batch->state = BATCH_READY;
	if (ledger->batch->state == BATCH_READY)
		begin_storing(books, ledger->batch);
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
		on_signed_batch(books, batch_of(message));
		break;
	case MESSAGE_STORED:
		on_stored_batch(books, batch_of(message));
		break;
	case MESSAGE_FORGET:
		forget_ledger(books, text_of(((struct forgetting *)message)->ctx));
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
			begin_collecting(books);
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
	return records_book(books->dp, record->ctx, agreement, cell, &totals, is_own && !is_loading);
}

void books_on_gone(struct books *books, const struct record *record)
{
	struct text agreement, cell;
	if (split(record->id, &agreement, &cell) && agreement.length > 0)
		records_forget_book(books->dp, record->ctx, agreement, cell);
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
	push(books, &forgetting->message);
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
	struct parcel *parcel = (struct parcel *)message;
	switch (message->kind) {
	case MESSAGE_PARCEL:
		while (parcel->deltas != NULL) {
			struct delta *delta = parcel->deltas;
			parcel->deltas = delta->next;
			agreement_drop(delta->agreement);
			free(delta);
		}
		while (parcel->tallies != NULL) {
			struct tally *tally = parcel->tallies;
			parcel->tallies = tally->next;
			tally_free(tally);
		}
		free(parcel);
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
