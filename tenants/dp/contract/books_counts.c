/* What a worker counts, and hands to the books' thread in parcels. */
#include <stdlib.h>

#include "server/worker_pool.h"
#include "tenants/dp/contract/books_private.h"
#include "tenants/dp/contract/contract.h"

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
	books_push(home->dp->books, &parcel->message);
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
	books_push(books, &books->collected);
}

void books_collect(struct books *books)
{
	struct worker_pool *pool = books->dp->pool;
	books->is_collecting = true;
	for (unsigned i = 0; i < books->dp->workers; i++) {
		books->collections[i] = (struct collection){.task = {.run = run_collection}, .dp = books->dp};
		worker_post(worker_pool_at(pool, i), &books->collections[i].task);
	}
	worker_pool_barrier(pool, on_collected, books);
}

void parcel_free(struct parcel *parcel)
{
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
}
