/* The renewal of an access token (dps.md 4.3): who asks proves to be the flow's counter party, by a signature of a key
 * in its DID document; then the refresh token is rotated and a new access token made: signed afterwards, or, where they
 * are opaque, stored in the same transaction.
 *
 * All that can be checked here is checked before the document is fetched: only who holds tokens of ours can make us
 * call anybody. Whatever is wrong with a proof, the answer is the same. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/secret.h"
#include "tenants/dp/form.h"
#include "tenants/dp/pull.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/token.h"
#include "tenants/dp/token_issue.h"

enum { BODY_MAX = 16384, LEEWAY_S = 30, PROOF_LIFETIME_S = 3600, ATTEMPTS_MAX = 6, ATTEMPT_MS = 20, FIELD_MAX = 512 };

/* Freed when both the exchange and what it waits for are over. */
struct renewal_call {
	struct dp *dp;
	struct worker *worker;
	struct exchange *exchange; /* NULL: the caller has gone */
	bool is_pending;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct jws proof; /* into the exchange's memory */
	char presented[REFRESH_TOKEN_LENGTH + 1];
	int64_t presented_s; /* when the access token was issued that is to be renewed */
	struct renewal_tokens next;
	unsigned attempts;
	bool is_replay;
	int64_t lifetime_s;
	struct timer *timer;
};

static void call_free(struct renewal_call *call)
{
	timer_free(call->timer);
	jws_free(&call->proof);
	free(call->flow);
	wipe(call->presented, sizeof(call->presented));
	wipe(&call->next, sizeof(call->next));
	free(call);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct renewal_call *call = exchange->state;
	(void)outcome;
	call->exchange = NULL;
	if (!call->is_pending)
		call_free(call);
}

static bool resumes(struct renewal_call *call)
{
	call->is_pending = false;
	if (call->exchange != NULL)
		return true;
	call_free(call);
	return false;
}

/* --- answers (RFC 6749 sections 5.1, 5.2) */

static void answer_uncached(struct exchange *exchange, int status, struct text json)
{
	exchange_add_header(exchange, TEXT("cache-control"), TEXT("no-store"));
	exchange_add_header(exchange, TEXT("pragma"), TEXT("no-cache"));
	answer_json(exchange, status, json);
}

static void refuse(struct renewal_call *call, int status, const char *error)
{
	struct buffer body = {0};
	dp_count(DP_RENEWAL_REFUSED);
	if (status == 401)
		exchange_add_header(call->exchange, TEXT("www-authenticate"), TEXT("Bearer"));
	if (status == 503)
		exchange_add_header(call->exchange, TEXT("retry-after"), TEXT("1"));
	buffer_printf(&body, "{\"error\":\"%s\"}", error);
	answer_uncached(call->exchange, status, body.failed ? TEXT("{}") : buffer_text(&body));
	buffer_free(&body);
}

static void refuse_proof(struct renewal_call *call)
{
	refuse(call, 401, "invalid_client");
}

static void refuse_flow(struct renewal_call *call)
{
	refuse(call, 403, "access_denied");
}

static void refuse_now(struct renewal_call *call)
{
	refuse(call, 503, "temporarily_unavailable");
}

static void answer_tokens(struct renewal_call *call, struct text token)
{
	struct buffer body = {0};
	buffer_append(&body, TEXT("{\"access_token\":"));
	buffer_append_json(&body, token);
	buffer_printf(&body, ",\"token_type\":\"Bearer\",\"expires_in\":%lld,\"expires\":%lld,\"refresh_token\":\"%s\"}",
		(long long)call->lifetime_s, (long long)call->lifetime_s, call->next.refresh);
	if (body.failed) {
		refuse_now(call);
	} else {
		dp_count(call->is_replay ? DP_RENEWAL_REPLAYED : DP_RENEWED);
		answer_uncached(call->exchange, 200, buffer_text(&body));
	}
	buffer_wipe(&body);
}

static void on_token(void *context, enum status status, struct text token)
{
	struct renewal_call *call = context;
	if (!resumes(call))
		return;
	if (status == STATUS_OK)
		answer_tokens(call, token);
	else
		refuse_now(call);
}

/* --- the new tokens */

/* The flow as it stands, while bytes may flow; NULL: refused. */
static const struct flow *find_flow(struct renewal_call *call, const struct flow_terms **terms)
{
	const struct flow *flow = dp_find(call->dp, DP_FLOWS, text_of(call->ctx), text_of(call->flow));
	*terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	if (flow != NULL && flow_terms_admit(*terms, worker_wall_ms(call->worker)))
		return flow;
	refuse_flow(call);
	return NULL;
}

static bool is_stopping(const struct renewal_call *call)
{
	return atomic_load_explicit(&call->dp->is_stopping, memory_order_relaxed);
}

static struct access_claims make_claims(struct renewal_call *call, const struct participant *participant,
	const struct flow *flow, const struct flow_terms *terms, char jti[ID_LENGTH + 1])
{
	int64_t lifetime_s = call->dp->settings.renewal_lifetime_ms / 1000;
	const struct access_claims claims =
		access_claims_of(participant, text_of(flow->id), terms, lifetime_s, worker_wall_ms(call->worker), jti);
	call->lifetime_s = claims.expires_s - claims.issued_s;
	return claims;
}

/* A JWT; the refresh token is stored. */
static void sign(struct renewal_call *call)
{
	const struct participant *participant = registry_find(call->dp->registry, text_of(call->ctx));
	const struct flow_terms *terms;
	const struct flow *flow = find_flow(call, &terms);
	if (flow == NULL)
		return;
	if (participant == NULL || is_stopping(call)) {
		refuse_now(call);
		return;
	}
	char jti[ID_LENGTH + 1];
	const struct access_claims claims = make_claims(call, participant, flow, terms, jti);
	call->is_pending = true;
	token_issue(call->dp, call->worker, &claims, NULL, on_token, call);
}

/* An opaque token, into the transaction that is to be submitted next. False: out of memory, or the participant is gone.
 */
static bool add_access(struct renewal_call *call, struct transaction *transaction)
{
	const struct participant *participant = registry_find(call->dp->registry, text_of(call->ctx));
	const struct flow *flow = dp_find(call->dp, DP_FLOWS, text_of(call->ctx), text_of(call->flow));
	if (participant == NULL || flow == NULL)
		return false;
	char jti[ID_LENGTH + 1];
	const struct access_claims claims =
		make_claims(call, participant, flow, atomic_load_explicit(&flow->terms, memory_order_acquire), jti);
	return opaque_token_put(transaction, &claims, text_of(call->next.access)) == STATUS_OK;
}

static void rotate(void *context);

static void on_rotated(void *context, enum status status, int64_t revision)
{
	struct renewal_call *call = context;
	(void)revision;
	if (!resumes(call))
		return;
	if (status == STATUS_OK) {
		if (token_issue_is_opaque(call->dp))
			answer_tokens(call, text_of(call->next.access));
		else
			sign(call);
		return;
	}
	/* somebody else rotated it just now: the record comes, and this token is then a replay */
	if (call->timer == NULL)
		call->timer = timer_new(call->worker, rotate, call);
	if (status != STATUS_CONFLICT || call->attempts++ == ATTEMPTS_MAX || call->timer == NULL) {
		refuse_now(call);
		return;
	}
	call->is_pending = true;
	timer_set(call->timer, (uint64_t)ATTEMPT_MS << call->attempts);
}

static const struct renewal *find_renewal(const struct renewal_call *call, const struct flow_terms *terms)
{
	const struct renewal *renewal = dp_find(call->dp, DP_RENEWALS, text_of(call->ctx), text_of(call->flow));
	/* of this flow, not of an earlier one with its id */
	bool is_its_own = renewal != NULL && renewal->issued_ms >= terms->created_ms &&
					  text_equals(text_of(renewal->counter_party), text_of(terms->counter_party));
	return is_its_own ? renewal : NULL;
}

/* Takes the transaction over; NULL: out of memory. */
static void submit(struct renewal_call *call, struct transaction *transaction, bool is_good)
{
	if (transaction == NULL || !is_good) {
		transaction_free(transaction);
		refuse_now(call);
		return;
	}
	call->is_pending = true;
	store_submit(call->dp->store, transaction, call->worker, on_rotated, call);
}

static void replace(struct renewal_call *call, const struct renewal *renewal)
{
	struct transaction *transaction = is_stopping(call) ? NULL : transaction_new();
	bool is_made = transaction != NULL && renewal_rotate(renewal, text_of(call->presented), call->presented_s,
											  transaction, &call->next) == STATUS_OK;
	submit(call, transaction, is_made && (!token_issue_is_opaque(call->dp) || add_access(call, transaction)));
}

static void repeat(struct renewal_call *call, const struct renewal *renewal)
{
	call->is_replay = true;
	if (renewal_repeat(renewal, text_of(call->presented), &call->next) != STATUS_OK) {
		refuse_now(call);
	} else if (token_issue_is_opaque(call->dp)) {
		struct transaction *transaction = is_stopping(call) ? NULL : transaction_new();
		submit(call, transaction, transaction != NULL && add_access(call, transaction));
	} else {
		sign(call);
	}
}

static void rotate(void *context)
{
	struct renewal_call *call = context;
	const struct flow_terms *terms;
	if (!resumes(call) || find_flow(call, &terms) == NULL)
		return;
	const struct renewal *renewal = find_renewal(call, terms);
	switch (renewal == NULL ? RENEWAL_UNKNOWN : renewal_judge(renewal, text_of(call->presented))) {
	case RENEWAL_UNKNOWN:
		refuse_proof(call);
		return;
	case RENEWAL_CURRENT:
		replace(call, renewal);
		return;
	case RENEWAL_REPLAYED:
		repeat(call, renewal);
		return;
	}
}

/* --- the proof */

static void on_key(void *context, enum status status, const struct key *key)
{
	struct renewal_call *call = context;
	if (!resumes(call))
		return;
	if (status == STATUS_OK)
		status = jws_verify(&call->proof, key);
	if (status == STATUS_OK)
		rotate(call);
	else if (status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT || status == STATUS_REFUSED ||
			 status == STATUS_NO_MEMORY)
		refuse_now(call); /* this caller holds tokens of ours: it may know that its own host does not answer */
	else
		refuse_proof(call);
}

/* What an access token of ours says, perhaps an expired one: the flow's id in call->flow. */
static bool check_claims(
	struct renewal_call *call, const struct participant *participant, const struct access_claims *claims)
{
	struct text ctx = text_of(call->ctx);
	int64_t now_s = worker_wall_ms(call->worker) / 1000;
	if (!text_equals(claims->identity, text_of(participant->identity)) || !text_equals(claims->ctx, ctx) ||
		claims->expires_s + call->dp->settings.renewal_grace_ms / 1000 < now_s ||
		dp_find(call->dp, DP_REVOCATIONS, ctx, claims->jti) != NULL)
		return false;
	const struct flow *flow = dp_find(call->dp, DP_FLOWS, ctx, claims->flow);
	if (flow == NULL)
		return false;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	call->flow = text_copy(claims->flow);
	call->presented_s = claims->issued_s;
	return call->flow != NULL && claims->issued_s >= terms->created_ms / 1000 &&
		   text_equals(claims->audience, text_of(terms->counter_party));
}

static bool check_signed(struct renewal_call *call, const struct participant *participant, struct text token)
{
	struct jws jws;
	struct access_claims claims;
	if (token.length == 0 || token.length > TOKEN_BYTES_MAX || jws_parse(token, &jws) != STATUS_OK)
		return false;
	const struct key *key = token_key(participant, jws.kid);
	bool is_good = key != NULL && jws_verify(&jws, key) == STATUS_OK && access_claims_read(jws.claims, &claims) &&
				   check_claims(call, participant, &claims);
	jws_free(&jws);
	return is_good;
}

static bool check_access_token(struct renewal_call *call, const struct participant *participant, struct text token)
{
	const struct opaque_token *known;
	if (!opaque_token_fits(token))
		return check_signed(call, participant, token);
	return opaque_token_find(call->dp, text_of(call->ctx), token, &known) == STATUS_OK &&
		   check_claims(call, participant, &known->claims);
}

/* All but the signature: for whom it is, from whom, and that its refresh token is one of this flow. */
static bool check_proof(struct renewal_call *call, const struct participant *participant)
{
	const struct json *claims = call->proof.claims;
	struct text issuer = json_member_text(claims, "iss");
	const struct token_rules rules = {.audience = text_of(participant->identity),
		.need_expiry = true,
		.leeway_s = LEEWAY_S,
		.now_s = worker_wall_ms(call->worker) / 1000};
	int64_t expires_s;
	if (call->proof.kid.length == 0 || issuer.length == 0 || !text_equals(json_member_text(claims, "sub"), issuer) ||
		token_check(claims, &rules, &expires_s) != STATUS_OK || expires_s > rules.now_s + PROOF_LIFETIME_S + LEEWAY_S ||
		!check_access_token(call, participant, json_member_text(claims, "token")))
		return false;
	const struct flow *flow = dp_find(call->dp, DP_FLOWS, text_of(call->ctx), text_of(call->flow));
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	const struct renewal *renewal = find_renewal(call, terms);
	return renewal != NULL && did_equals(issuer, text_of(renewal->counter_party)) &&
		   renewal_judge(renewal, text_of(call->presented)) != RENEWAL_UNKNOWN;
}

static void authenticate(struct renewal_call *call)
{
	struct exchange *exchange = call->exchange;
	const struct participant *participant = registry_find(call->dp->registry, text_of(call->ctx));
	struct text token = token_of(exchange_header(exchange, TEXT("authorization")));
	enum status status = STATUS_UNAUTHORIZED;
	if (participant != NULL && token.length > 0 && exchange_header_count(exchange, TEXT("authorization")) == 1)
		status = jws_parse(token, &call->proof);
	if (status == STATUS_OK && !check_proof(call, participant))
		status = STATUS_UNAUTHORIZED;
	if (status != STATUS_OK) {
		refuse_proof(call);
		return;
	}
	call->is_pending = true;
	did_resolver_key(call->dp->resolver, call->worker, text_of(call->ctx), json_member_text(call->proof.claims, "iss"),
		call->proof.kid, on_key, call);
}

/* --- the form: in the body, or (older consumers) in the query, or in both */

static enum status find_field(
	const struct exchange *exchange, struct text body, struct text name, char room[FIELD_MAX], struct text *value)
{
	enum status status = form_find(body, name, room, FIELD_MAX, value);
	return status == STATUS_NOT_FOUND ? form_find(exchange_query(exchange), name, room, FIELD_MAX, value) : status;
}

static void on_body(struct exchange *exchange, struct text body)
{
	struct renewal_call *call = exchange->state;
	char type_room[FIELD_MAX], token_room[FIELD_MAX];
	struct text type, token;
	if (find_field(exchange, body, TEXT("grant_type"), type_room, &type) != STATUS_OK ||
		find_field(exchange, body, TEXT("refresh_token"), token_room, &token) != STATUS_OK || token.length == 0) {
		refuse(call, 400, "invalid_request");
	} else if (!text_equals(type, TEXT("refresh_token"))) {
		refuse(call, 400, "unsupported_grant_type");
	} else if (token.length != REFRESH_TOKEN_LENGTH) {
		refuse_proof(call);
	} else {
		memcpy(call->presented, token.bytes, token.length);
		authenticate(call);
	}
	wipe(token_room, sizeof(token_room));
}

static void renew(struct dp *dp, struct exchange *exchange, const struct participant *participant)
{
	struct renewal_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	call->dp = dp;
	call->worker = exchange->worker;
	call->exchange = exchange;
	memcpy(call->ctx, participant->ctx, sizeof(call->ctx));
	exchange->state = call;
	exchange->on_close = on_close;
	collect_body(exchange, BODY_MAX, on_body);
}

void dp_public(void *context, struct exchange *exchange, const struct route *route)
{
	bool is_renewal = text_equals(exchange->method, TEXT("POST")) && route->participant != NULL &&
					  (text_equals(route->rest, TEXT("/token")) || text_equals(route->rest, TEXT("/token/refresh")));
	if (is_renewal)
		renew(context, exchange, route->participant);
	else
		dp_pull(context, exchange, route);
}
