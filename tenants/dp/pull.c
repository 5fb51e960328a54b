/* The pull: who may, which source, and the end of it, whatever ends it. */
#include "tenants/dp/pull.h"

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/metric.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/contract/contract.h"
#include "tenants/dp/opaque_token.h"

enum { TICK_MS = 50 };

static const struct {
	int status;
	enum dp_metric metric;
} outcomes[] = {{401, DP_PULL_UNAUTHORIZED}, {403, DP_PULL_FORBIDDEN}, {404, DP_PULL_NOT_FOUND}};

static void count_outcome(int status)
{
	enum dp_metric metric = status < 400 ? DP_PULL_OK : DP_PULL_REFUSED;
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		if (outcomes[i].status == status)
			metric = outcomes[i].metric;
	}
	dp_count(metric);
}

static void refuse(struct exchange *exchange, int status, struct text detail)
{
	count_outcome(status);
	if (status == 401)
		exchange_add_header(exchange, TEXT("www-authenticate"), TEXT("Bearer"));
	exchange->read_body = NULL;
	exchange->response_length = -1;
	exchange->file_descriptor = -1;
	exchange->known = NULL;
	answer_problem(exchange, status, detail);
}

void pull_refuse(struct pull *pull, int status, struct text detail)
{
	if (status >= 500)
		dp_count(DP_SOURCE_ERRORS);
	refuse(pull->exchange, status, detail);
}

void pull_count(struct pull *pull, size_t bytes)
{
	/* one writer: a plain addition that others may read */
	uint64_t before = atomic_load_explicit(&pull->flow->lanes[pull->home->index].bytes, memory_order_relaxed);
	atomic_store_explicit(&pull->flow->lanes[pull->home->index].bytes, before + bytes, memory_order_relaxed);
	pull->counted += bytes;
	contract_count(pull, bytes);
}

void pull_sent(struct pull *pull, struct text tag, struct text digest, uint64_t first, uint64_t length)
{
	struct tally *tally = books_tally(pull->home, pull->flow, length > 0);
	if (tally != NULL)
		tally_add(tally, tag, digest, first, length);
}

void pull_respond(struct pull *pull)
{
	contract_respond(pull);
	exchange_respond(pull->exchange);
}

/* --- the lane */

/* When the clock ends it: the flow's own end, as its terms say now, or that of what the policy granted. */
static int64_t end_of(const struct pull *pull)
{
	const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
	return terms->expires_ms != 0 && terms->expires_ms < pull->grant.until_ms ? terms->expires_ms
																			  : pull->grant.until_ms;
}

void pull_expect(struct pull *pull)
{
	struct dp_worker *home = pull->home;
	int64_t end_ms = end_of(pull), left = end_ms - worker_wall_ms(home->worker);
	if (end_ms == INT64_MAX || pull->expiring_previous != NULL)
		return;
	if (home->expiring == NULL || left < TICK_MS)
		timer_set(home->tick, left < 1 ? 1 : left < TICK_MS ? (uint64_t)left : TICK_MS);
	pull->expiring_next = home->expiring;
	pull->expiring_previous = &home->expiring;
	if (home->expiring != NULL)
		home->expiring->expiring_previous = &pull->expiring_next;
	home->expiring = pull;
}

static void enter(struct pull *pull)
{
	struct flow_lane *lane = &pull->flow->lanes[pull->home->index];
	pull->next = lane->pulls;
	pull->previous = &lane->pulls;
	if (lane->pulls != NULL)
		lane->pulls->previous = &pull->next;
	lane->pulls = pull;
	uint64_t before = atomic_load_explicit(&lane->requests, memory_order_relaxed);
	atomic_store_explicit(&lane->requests, before + 1, memory_order_relaxed);
	pull_expect(pull);
}

static void leave(struct pull *pull)
{
	if (pull->previous != NULL) {
		*pull->previous = pull->next;
		if (pull->next != NULL)
			pull->next->previous = pull->previous;
		pull->previous = NULL;
	}
	if (pull->expiring_previous != NULL) {
		*pull->expiring_previous = pull->expiring_next;
		if (pull->expiring_next != NULL)
			pull->expiring_next->expiring_previous = pull->expiring_previous;
		pull->expiring_previous = NULL;
	}
}

void pull_stop(struct pull *pull, enum policy_reason reason)
{
	dp_count(DP_CUTS);
	if (reason != POLICY_NONE) {
		dp_count_reason(reason);
		pull->exchange->note = text_of(policy_reason_name(reason));
	}
	leave(pull);
	exchange_abort(pull->exchange, STATUS_STOPPED);
}

void pull_cut(struct dp_worker *home, struct flow *flow)
{
	struct flow_lane *lane = &flow->lanes[home->index];
	while (lane->pulls != NULL)
		pull_stop(lane->pulls, POLICY_NONE);
	books_leave_flow(home, flow);
}

/* True: it has ended, and with it perhaps others. */
static bool end_if_due(struct dp_worker *home, struct pull *pull, int64_t now_ms)
{
	const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
	if (terms->expires_ms != 0 && now_ms >= terms->expires_ms) {
		pull_cut(home, pull->flow);
		return true;
	}
	if (now_ms < pull->grant.until_ms || contract_renew(pull, now_ms))
		return false;
	pull_stop(pull, pull->grant.reason);
	return true;
}

/* Runs at least every TICK_MS while streams that end by the clock are live: so changes of expiry and of the clock
 * count. */
void pull_tick(void *context)
{
	struct dp_worker *home = context;
	int64_t now_ms = clock_wall_ms(), earliest = INT64_MAX;
	bool again = true;
	while (again) { /* stopping one may close others: start over */
		again = false;
		for (struct pull *pull = home->expiring; pull != NULL && !again; pull = pull->expiring_next)
			again = end_if_due(home, pull, now_ms);
	}
	for (const struct pull *pull = home->expiring; pull != NULL; pull = pull->expiring_next) {
		int64_t end_ms = end_of(pull);
		earliest = end_ms < earliest ? end_ms : earliest;
	}
	if (home->expiring != NULL)
		timer_set(home->tick, earliest - now_ms < TICK_MS ? (uint64_t)(earliest - now_ms) : TICK_MS);
}

/* --- admission */

/* By its record: found by a digest, so that no timing tells how much of a guess is right. */
static enum status look_up(struct dp_worker *home, const struct participant *participant, struct text token,
	int64_t now_ms, const struct verdict **verdict)
{
	uint64_t epoch = opaque_token_epoch(home->dp);
	const struct opaque_token *found;
	enum status status = opaque_token_find(home->dp, text_of(participant->ctx), token, &found);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_UNAUTHORIZED;
	return verdicts_take(home->verdicts, participant, token, &found->claims, epoch, now_ms, verdict);
}

enum status pull_check_token(struct dp_worker *home, const struct participant *participant, struct exchange *exchange,
	const struct verdict **verdict)
{
	if (exchange_header_count(exchange, TEXT("authorization")) != 1)
		return STATUS_UNAUTHORIZED;
	struct text token = token_of(exchange_header(exchange, TEXT("authorization")));
	int64_t now_ms = worker_wall_ms(home->worker);
	if (token.length == 0)
		return STATUS_UNAUTHORIZED;
	*verdict = verdicts_find(home->verdicts, participant, token, now_ms);
	dp_count(*verdict != NULL ? DP_TOKEN_HIT : DP_TOKEN_MISS);
	if (*verdict != NULL)
		return STATUS_OK;
	return opaque_token_fits(token) ? look_up(home, participant, token, now_ms, verdict)
									: verdicts_verify(home->verdicts, participant, token, now_ms, verdict);
}

/* NULL: not admitted. */
static struct flow *find_flow(
	const struct dp *dp, const struct participant *participant, const struct verdict *verdict, int64_t now_ms)
{
	struct text ctx = {participant->ctx, ID_LENGTH};
	struct flow *flow = dp_recall(dp, DP_FLOWS, ctx, verdict->flow, &verdict->memo->flow);
	if (flow == NULL || dp_recall(dp, DP_REVOCATIONS, ctx, verdict->jti, &verdict->memo->revocation) != NULL)
		return NULL;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	/* a token is of the flow it was made for, not of a later one with the same id */
	bool is_its_own =
		text_equals(verdict->audience, text_of(terms->counter_party)) && verdict->issued_s >= terms->created_ms / 1000;
	return is_its_own && terms->role == FLOW_PROVIDER && flow_terms_admit(terms, now_ms) ? flow : NULL;
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct pull *pull = exchange->state;
	if (pull == NULL)
		return;
	if (pull->part != NULL)
		pull->part->driver->close(pull);
	/* sendfile bypasses read_body */
	if (exchange->file_descriptor >= 0 && exchange->bytes_sent > pull->counted)
		pull_count(pull, (size_t)(exchange->bytes_sent - pull->counted));
	pull_take_dataset(pull, NULL);
	leave(pull);
	contract_leave(pull, outcome);
	if (outcome == STATUS_STOPPED)
		dp_count(DP_PULL_STOPPED);
	else if (outcome != STATUS_OK)
		dp_count(DP_PULL_BROKEN);
	else if (exchange->status < 400)
		count_outcome(exchange->status);
}

void pull_take_dataset(struct pull *pull, struct dataset *dataset)
{
	struct flow_lane *lane = &pull->flow->lanes[pull->home->index];
	if (pull->is_reader)
		lane->readers--;
	else
		dataset_unref(pull->dataset);
	if (dataset != NULL && lane->dataset != dataset && lane->readers == 0) { /* the first of it, or of its new record */
		dataset_ref(dataset);
		dataset_unref(lane->dataset);
		lane->dataset = dataset;
	}
	pull->dataset = dataset;
	pull->is_reader = dataset != NULL && lane->dataset == dataset;
	if (pull->is_reader)
		lane->readers++;
	else if (dataset != NULL)
		dataset_ref(dataset);
}

/* The flow's may be another than before: then what is known of it is of another. What was known in an older version of
 * the map may be gone: it is looked at only when it is of this one. */
static struct dataset *find_dataset(struct dp_worker *home, struct flow *flow, struct text id)
{
	struct map_memo *memo = &flow->lanes[home->index].known;
	struct text ctx = {flow->ctx, ID_LENGTH};
	struct dataset *known = dp_recall(home->dp, DP_DATASETS, ctx, id, memo);
	if (known != NULL && text_equals(text_of(known->id), id))
		return known;
	memo->version = 0;
	return dp_recall(home->dp, DP_DATASETS, ctx, id, memo);
}

struct pull *pull_admit(struct dp_worker *home, struct exchange *exchange, struct flow *flow, bool continues)
{
	struct pull *pull = exchange_allocate(exchange, sizeof(*pull));
	if (pull == NULL) {
		refuse(exchange, 503, TEXT_NONE);
		return NULL;
	}
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	*pull = (struct pull){.exchange = exchange, .home = home, .flow = flow, .continues = continues};
	enum policy_reason reason = contract_enter(pull);
	if (reason != POLICY_NONE) {
		dp_count_reason(reason);
		exchange->note = text_of(policy_reason_name(reason));
		refuse(exchange, 403, TEXT("the agreement does not allow this"));
		return NULL;
	}
	pull->agreement = exchange_copy(exchange, text_of(terms->agreement));
	pull_take_dataset(pull, find_dataset(home, flow, text_of(terms->dataset)));
	exchange->state = pull;
	exchange->on_close = on_close;
	enter(pull);
	return pull;
}

static void refuse_method(struct pull *pull, unsigned methods)
{
	struct buffer allow = {0};
	methods_print(methods, &allow);
	if (!allow.failed)
		exchange_add_header_copy(pull->exchange, TEXT("allow"), buffer_text(&allow));
	buffer_free(&allow);
	pull_refuse(pull, 405, TEXT_NONE);
}

static void serve(struct pull *pull, struct text rest)
{
	if (pull->dataset == NULL) {
		pull_refuse(pull, 404, TEXT_NONE);
		return;
	}
	const struct dataset_part *part = dataset_find(pull->dataset, rest, &pull->below);
	if (part == NULL) {
		pull_refuse(pull, 404, TEXT_NONE);
		return;
	}
	unsigned methods = pull->dataset->methods & part->driver->methods(part->source);
	if (!method_parse(pull->exchange->method, &pull->method) || (methods >> pull->method & 1U) == 0) {
		refuse_method(pull, methods);
		return;
	}
	pull->part = part;
	part->driver->start(pull);
}

void dp_pull(void *context, struct exchange *exchange, const struct route *route)
{
	struct dp *dp = context;
	struct dp_worker *home = dp_here(dp, exchange->worker);
	const struct participant *participant = route->participant;
	exchange->on_close = NULL;
	exchange->state = NULL;
	if (participant == NULL) {
		refuse(exchange, 404, TEXT_NONE);
		return;
	}
	const struct verdict *verdict = NULL;
	enum status status = pull_check_token(home, participant, exchange, &verdict);
	struct flow *flow = NULL;
	if (status == STATUS_OK) {
		flow = find_flow(dp, participant, verdict, worker_wall_ms(home->worker));
		status = flow == NULL ? STATUS_FORBIDDEN : STATUS_OK;
	}
	if (status == STATUS_NO_MEMORY) {
		refuse(exchange, 503, TEXT_NONE);
		return;
	}
	if (status != STATUS_OK) { /* one body for whatever is wrong with a flow: it tells nothing */
		bool is_known = status == STATUS_FORBIDDEN;
		refuse(exchange, is_known ? 403 : 401,
			is_known ? TEXT("this token does not open this") : TEXT("a valid access token is required"));
		return;
	}
	struct pull *pull = pull_admit(home, exchange, flow, false);
	if (pull != NULL)
		serve(pull, route->rest);
}
