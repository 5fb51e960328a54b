/* The contract at a pull. */
#include "tenants/dp/contract/contract.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/dp/contract/books.h"

static struct agreement_lane *lane_of(const struct pull *pull)
{
	return agreement_lane(pull->contract, pull->home->index);
}

static void book(struct pull *pull, enum book_entry entry, uint64_t amount)
{
	struct agreement_lane *lane = lane_of(pull);
	lane->counted.of[entry] += amount;
	if (!lane->is_dirty) {
		lane->is_dirty = true;
		lane->next_dirty = pull->home->dirty;
		pull->home->dirty = lane;
		agreement_hold(pull->contract);
	}
}

static bool is_use(const struct pull *pull)
{
	return !pull->continues && !text_equals(pull->exchange->method, TEXT("HEAD"));
}

/* --- judging */

static struct text known(const char *text)
{
	return text == NULL ? TEXT_NONE : text_of(text);
}

static struct text find_region(const struct pull *pull, const struct flow_terms *terms)
{
	if (terms->region != NULL)
		return text_of(terms->region);
	const struct participant *participant = registry_find(pull->home->dp->registry, text_of(pull->flow->ctx));
	return participant == NULL ? TEXT_NONE : known(participant->region);
}

/* A request that says two says none. */
static struct text find_purpose(const struct pull *pull, const struct flow_terms *terms)
{
	const struct text name = TEXT("celld-purpose");
	if (terms->purpose != NULL)
		return text_of(terms->purpose);
	return exchange_header_count(pull->exchange, name) == 1 ? exchange_header(pull->exchange, name) : TEXT_NONE;
}

/* Only what the policy asks for. */
static void find_facts(
	struct pull *pull, const struct policy *policy, const struct flow_terms *terms, struct policy_facts *facts)
{
	*facts = (struct policy_facts){
		.recipient = known(terms->counter_party), .dataset = known(terms->dataset), .industry = known(terms->industry)};
	if (policy_asks(policy, POLICY_SPATIAL))
		facts->region = find_region(pull, terms);
	if (policy_asks(policy, POLICY_PURPOSE))
		facts->purpose = find_purpose(pull, terms);
}

/* uses: those before this one */
static enum policy_reason judge(struct pull *pull, const struct agreement_terms *agreed, uint64_t uses, int64_t now_ms)
{
	struct policy_facts facts;
	const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
	find_facts(pull, agreed->policy, terms, &facts);
	facts.now_ms = now_ms;
	facts.requests = uses;
	facts.bytes = agreement_bytes(pull->contract, lane_of(pull));
	pull->grant = policy_judge(agreed->policy, &facts);
	return pull->grant.reason;
}

static bool is_enforceable(const struct dp *dp, const struct agreement_terms *agreed)
{
	return dp->settings.policy_unenforceable == POLICY_FLAG || policy_unenforceable_count(agreed->policy) == 0;
}

/* A use is taken when the policy counts them; another may have taken the last meanwhile: then it is judged again. */
static enum policy_reason take_use(struct pull *pull, const struct agreement_terms *agreed, int64_t now_ms)
{
	bool is_counted = policy_has_count(agreed->policy);
	uint64_t uses = atomic_load_explicit(&pull->contract->uses, memory_order_relaxed);
	if (pull->continues && uses > 0) /* it is one of these */
		uses--;
	for (;;) {
		enum policy_reason reason = judge(pull, agreed, uses, now_ms);
		pull->ordinal = uses;
		if (reason != POLICY_NONE || !is_counted || !is_use(pull))
			return reason;
		if (agreement_use(pull->contract, pull->grant.requests, &pull->ordinal)) {
			pull->has_use = true;
			return POLICY_NONE;
		}
		uses = atomic_load_explicit(&pull->contract->uses, memory_order_relaxed);
	}
}

static enum policy_reason admit(struct pull *pull, int64_t now_ms)
{
	const struct dp *dp = pull->home->dp;
	const struct agreement_terms *agreed = atomic_load_explicit(&pull->contract->terms, memory_order_acquire);
	pull->grant = (struct policy_grant){POLICY_NONE, INT64_MAX, UINT64_MAX, UINT64_MAX};
	if (agreed == NULL)
		return dp->settings.agreement_required ? POLICY_MISSING : POLICY_NONE;
	if (!is_enforceable(dp, agreed))
		return POLICY_UNENFORCEABLE;
	return take_use(pull, agreed, now_ms);
}

/* --- life */

static void link_pull(struct pull *pull)
{
	struct agreement_lane *lane = lane_of(pull);
	pull->contract_next = lane->pulls;
	pull->contract_previous = &lane->pulls;
	if (lane->pulls != NULL)
		lane->pulls->contract_previous = &pull->contract_next;
	lane->pulls = pull;
}

static void unlink_pull(struct pull *pull)
{
	if (pull->sending_previous != NULL) {
		*pull->sending_previous = pull->sending_next;
		if (pull->sending_next != NULL)
			pull->sending_next->sending_previous = pull->sending_previous;
		pull->sending_previous = NULL;
	}
	if (pull->contract_previous == NULL)
		return;
	*pull->contract_previous = pull->contract_next;
	if (pull->contract_next != NULL)
		pull->contract_next->contract_previous = pull->contract_previous;
	pull->contract_previous = NULL;
}

enum policy_reason contract_enter(struct pull *pull)
{
	pull->contract = atomic_load_explicit(&pull->flow->agreement, memory_order_acquire);
	pull->is_push = flow_terms_is_push(atomic_load_explicit(&pull->flow->terms, memory_order_acquire));
	enum policy_reason reason = admit(pull, worker_wall_ms(pull->home->worker));
	book(pull, BOOK_REQUESTS, 1);
	if (reason != POLICY_NONE) {
		book(pull, BOOK_REFUSED, 1);
		return reason;
	}
	if (is_use(pull)) {
		book(pull, BOOK_USES, 1);
		lane_of(pull)->unreserved_uses += pull->has_use ? 0 : 1;
	}
	link_pull(pull);
	return POLICY_NONE;
}

void contract_count(struct pull *pull, size_t bytes)
{
	struct agreement_lane *lane = lane_of(pull);
	book(pull, pull->is_push ? BOOK_PUSHED : BOOK_BYTES, bytes);
	if (pull->is_metered && lane->credit >= bytes)
		lane->credit -= bytes;
	else
		lane->unreserved_bytes += bytes;
}

void contract_count_sending(struct dp_worker *home)
{
	for (struct pull *pull = home->sending; pull != NULL; pull = pull->sending_next) {
		uint64_t sent = exchange_sent(pull->exchange);
		if (sent > pull->counted)
			pull_count(pull, (size_t)(sent - pull->counted));
	}
}

/* A request that brought nothing was no use of the data. */
static void give_back_use(struct pull *pull)
{
	struct agreement_lane *lane = lane_of(pull);
	if (!is_use(pull))
		return;
	lane->counted.of[BOOK_USES]--;
	if (pull->has_use)
		agreement_unuse(pull->contract);
	else
		lane->unreserved_uses--;
}

void contract_leave(struct pull *pull, enum status outcome)
{
	struct agreement_lane *lane = lane_of(pull);
	bool is_refused = pull->exchange->status >= 400 && pull->counted == 0;
	enum book_entry entry = outcome == STATUS_STOPPED ? BOOK_STOPPED
							: outcome != STATUS_OK    ? BOOK_BROKEN
							: is_refused              ? BOOK_REFUSED
													  : BOOK_OK;
	struct tally *tally = books_tally(pull->home, pull->flow, pull->counted > 0);
	unlink_pull(pull);
	book(pull, entry, 1);
	if (tally != NULL) {
		tally->totals.of[BOOK_REQUESTS]++;
		tally->totals.of[pull->is_push ? BOOK_PUSHED : BOOK_BYTES] += pull->counted;
		tally->totals.of[entry]++;
		tally->last_ms = worker_wall_ms(pull->home->worker);
	}
	if (is_refused)
		give_back_use(pull);
	if (lane->pulls == NULL)
		agreement_return(pull->contract, lane);
}

/* --- the quota of bytes */

bool contract_renew(struct pull *pull, int64_t now_ms)
{
	const struct dp *dp = pull->home->dp;
	const struct agreement_terms *agreed = atomic_load_explicit(&pull->contract->terms, memory_order_acquire);
	if (agreed == NULL) {
		pull->grant = (struct policy_grant){POLICY_NONE, INT64_MAX, UINT64_MAX, UINT64_MAX};
		return !dp->settings.agreement_required;
	}
	return is_enforceable(dp, agreed) && judge(pull, agreed, pull->ordinal, now_ms) == POLICY_NONE;
}

struct check {
	struct task task;
	struct dp *dp;
	unsigned index;
	struct agreement *agreement;
};

static void run_check(struct task *task)
{
	struct check *check = (struct check *)task;
	struct dp_worker *home = dp_here(check->dp, worker_pool_at(check->dp->pool, check->index));
	if (home != NULL)
		contract_check(home, check->agreement);
	agreement_drop(check->agreement);
	free(check);
}

static void post_check(struct dp *dp, unsigned index, struct agreement *agreement)
{
	struct check *check = malloc(sizeof(*check));
	if (check == NULL) { /* as with a cut: better restarted than sending what is not allowed */
		LOG(ERROR, "dp.check", log_text("error", TEXT("out of memory")));
		abort();
	}
	*check = (struct check){.task = {.run = run_check}, .dp = dp, .index = index, .agreement = agreement};
	agreement_hold(agreement);
	worker_post(worker_pool_at(dp->pool, index), &check->task);
}

/* Nothing is left: this worker's pulls are looked at in the next turn, outside every callback. */
static void check_later(struct pull *pull)
{
	struct agreement_lane *lane = lane_of(pull);
	if (!lane->is_checking)
		post_check(pull->home->dp, pull->home->index, pull->contract);
	lane->is_checking = true;
}

static enum body_state read_metered(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count);

/* From here on the body is read through the quota. False: the kernel sends this one, which knows no quota. */
static bool meter(struct pull *pull)
{
	const struct agreement_terms *agreed = atomic_load_explicit(&pull->contract->terms, memory_order_acquire);
	struct exchange *exchange = pull->exchange;
	if (pull->is_metered || agreed == NULL || !policy_has_volume(agreed->policy) || exchange->read_body == NULL)
		return true;
	if (exchange->file_descriptor >= 0)
		return false;
	pull->is_metered = true;
	pull->read_body = exchange->read_body;
	exchange->read_body = read_metered;
	exchange->lend_body = NULL; /* what is lent is not asked for piece by piece */
	exchange->pipe_body = NULL;
	return true;
}

void contract_check(struct dp_worker *home, struct agreement *agreement)
{
	if (atomic_load_explicit(&agreement->lanes, memory_order_acquire) == NULL)
		return;
	struct agreement_lane *lane = agreement_lane(agreement, home->index);
	bool again = true;
	lane->is_checking = false;
	while (again) { /* stopping one may close others: start over */
		again = false;
		for (struct pull *pull = lane->pulls; pull != NULL && !again; pull = pull->contract_next) {
			again = !contract_renew(pull, clock_wall_ms()) || !meter(pull);
			if (again)
				pull_stop(pull, pull->grant.reason);
			else
				pull_expect(pull);
		}
	}
}

void contract_check_everywhere(struct dp *dp, struct agreement *agreement)
{
	for (unsigned i = 0; i < dp->workers && !dp->loading; i++)
		post_check(dp, i, agreement);
}

/* How many of `room` bytes may be produced; 0: the quota is used up. */
static size_t take_credit(struct pull *pull, size_t room)
{
	struct agreement_lane *lane = lane_of(pull);
	while (lane->credit == 0) {
		if (agreement_lend(pull->contract, lane, pull->grant.bytes))
			break;
		uint64_t before = pull->grant.bytes;
		/* another rule of the policy may allow more */
		if (!contract_renew(pull, worker_wall_ms(pull->home->worker)) || pull->grant.bytes <= before)
			return 0;
	}
	return lane->credit < room ? (size_t)lane->credit : room;
}

static enum body_state read_metered(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct pull *pull = exchange->state;
	size_t allowed = take_credit(pull, room);
	bool is_whole = exchange->response_length >= 0 && exchange->bytes_sent == (uint64_t)exchange->response_length;
	*count = 0;
	if (allowed == 0 && !is_whole) {
		check_later(pull);
		return BODY_LATER;
	}
	return pull->read_body(exchange, frame, allowed == 0 ? room : allowed, count);
}

/* What is left, for consumers that plan. */
static void announce(struct pull *pull)
{
	struct buffer number = {0};
	uint64_t sent = agreement_bytes(pull->contract, lane_of(pull));
	buffer_append_number(&number, (int64_t)(pull->grant.bytes > sent ? pull->grant.bytes - sent : 0));
	if (!number.failed)
		exchange_add_header_copy(pull->exchange, TEXT("celld-volume-remaining"), buffer_text(&number));
	buffer_free(&number);
}

/* What the kernel sends is asked for at each collection. */
static void watch_sending(struct pull *pull)
{
	struct dp_worker *home = pull->home;
	pull->sending_next = home->sending;
	pull->sending_previous = &home->sending;
	if (home->sending != NULL)
		home->sending->sending_previous = &pull->sending_next;
	home->sending = pull;
}

void contract_respond(struct pull *pull)
{
	struct exchange *exchange = pull->exchange;
	int descriptor = exchange->file_descriptor;
	exchange->file_descriptor = -1;
	meter(pull);
	if (!pull->is_metered)
		exchange->file_descriptor = descriptor;
	else if (pull->grant.bytes != UINT64_MAX)
		announce(pull);
	if (exchange->file_descriptor >= 0)
		watch_sending(pull);
}
