/* The pull: who may, which source, and the end of it, whatever ends it. */
#include "tenants/dp/pull.h"

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/metric.h"

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
}

/* --- the lane */

static void arm(struct dp_worker *home, const struct flow_terms *terms, int64_t now_ms)
{
	int64_t left = terms->expires_ms - now_ms;
	timer_set(home->tick, left < 1 ? 1 : left < TICK_MS ? (uint64_t)left : TICK_MS);
}

static void enter(struct pull *pull, const struct flow_terms *terms, int64_t now_ms)
{
	struct flow_lane *lane = &pull->flow->lanes[pull->home->index];
	pull->next = lane->pulls;
	pull->previous = &lane->pulls;
	if (lane->pulls != NULL)
		lane->pulls->previous = &pull->next;
	lane->pulls = pull;
	uint64_t before = atomic_load_explicit(&lane->requests, memory_order_relaxed);
	atomic_store_explicit(&lane->requests, before + 1, memory_order_relaxed);
	if (terms->expires_ms == 0)
		return;
	struct dp_worker *home = pull->home;
	if (home->expiring == NULL || terms->expires_ms - now_ms < TICK_MS)
		arm(home, terms, now_ms);
	pull->expiring_next = home->expiring;
	pull->expiring_previous = &home->expiring;
	if (home->expiring != NULL)
		home->expiring->expiring_previous = &pull->expiring_next;
	home->expiring = pull;
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

static void stop(struct pull *pull)
{
	dp_count(DP_CUTS);
	leave(pull);
	exchange_abort(pull->exchange, STATUS_STOPPED);
}

void pull_cut(struct dp_worker *home, struct flow *flow)
{
	struct flow_lane *lane = &flow->lanes[home->index];
	while (lane->pulls != NULL)
		stop(lane->pulls);
}

/* Runs at least every TICK_MS while streams of flows with an expiry are live: so changes of expiry and of the clock
 * count. */
void pull_tick(void *context)
{
	struct dp_worker *home = context;
	int64_t now_ms = clock_wall_ms();
	bool again = true;
	while (again) { /* stopping one may close others: start over */
		again = false;
		for (struct pull *pull = home->expiring; pull != NULL && !again; pull = pull->expiring_next) {
			const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
			if (terms->expires_ms != 0 && now_ms >= terms->expires_ms) {
				pull_cut(home, pull->flow);
				again = true;
			}
		}
	}
	int64_t earliest = INT64_MAX;
	for (const struct pull *pull = home->expiring; pull != NULL; pull = pull->expiring_next) {
		const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
		if (terms->expires_ms != 0 && terms->expires_ms < earliest)
			earliest = terms->expires_ms;
	}
	if (home->expiring != NULL)
		timer_set(home->tick, earliest - now_ms < TICK_MS ? (uint64_t)(earliest - now_ms) : TICK_MS);
}

/* --- admission */

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
	return verdicts_verify(home->verdicts, participant, token, now_ms, verdict);
}

/* NULL: not admitted. */
static struct flow *find_flow(
	const struct dp *dp, const struct participant *participant, const struct verdict *verdict, int64_t now_ms)
{
	struct text ctx = text_of(participant->ctx);
	struct flow *flow = dp_find(dp, DP_FLOWS, ctx, verdict->flow);
	if (flow == NULL || dp_find(dp, DP_REVOCATIONS, ctx, verdict->jti) != NULL)
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
	leave(pull);
	dataset_unref(pull->dataset);
	if (outcome == STATUS_STOPPED)
		dp_count(DP_PULL_STOPPED);
	else if (outcome != STATUS_OK)
		dp_count(DP_PULL_BROKEN);
	else if (exchange->status < 400)
		count_outcome(exchange->status);
}

struct pull *pull_admit(struct dp_worker *home, struct exchange *exchange, struct flow *flow)
{
	struct pull *pull = exchange_allocate(exchange, sizeof(*pull));
	if (pull == NULL)
		return NULL;
	int64_t now_ms = worker_wall_ms(home->worker);
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	*pull = (struct pull){.exchange = exchange, .home = home, .flow = flow};
	pull->agreement = exchange_copy(exchange, text_of(terms->agreement));
	pull->dataset = dp_find(home->dp, DP_DATASETS, text_of(flow->ctx), text_of(terms->dataset));
	if (pull->dataset != NULL)
		dataset_ref(pull->dataset);
	exchange->state = pull;
	exchange->on_close = on_close;
	enter(pull, terms, now_ms);
	return pull;
}

static void refuse_method(struct pull *pull, unsigned methods)
{
	struct buffer allow = {0};
	methods_print(methods, &allow);
	struct text value = exchange_copy(pull->exchange, buffer_text(&allow));
	if (!allow.failed && value.bytes != NULL)
		exchange_add_header(pull->exchange, TEXT("allow"), value);
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
	struct pull *pull = pull_admit(home, exchange, flow);
	if (pull == NULL)
		refuse(exchange, 503, TEXT_NONE);
	else
		serve(pull, route->rest);
}
