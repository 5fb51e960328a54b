/* Held tokens: questions travel to the flow's worker and back; there is no lock, and one renewal for all. */
#include "tenants/dp/consumer/held_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/dp/consumer/renewal_request.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/state.h"
#include "tenants/jose/jws.h"

#define MARGIN_MS INT64_C(5000)
#define QUARTERS 4
enum { BUCKETS = 256, IDLE_MAX = 4096, ATTEMPTS_MAX = 4, ATTEMPT_MS = 250, FAILURE_MS = 1000 };

struct question {
	struct task task; /* first: to the flow's worker, then back */
	struct dp *dp;
	struct worker *worker, *owner; /* who asks; who keeps the flow's token */
	struct question *next;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct secret *refused, *token;
	char *endpoint, *endpoint_type;
	int64_t expires_ms;
	enum status status;
	held_done *done;
	void *context;
};

struct holding {
	struct holdings *home;
	struct holding *next;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct data_address *address; /* NULL: not loaded */
	int64_t revision;             /* of the flow's record it was loaded under */
	int64_t expires_ms, renew_ms; /* renew_ms: when to; 0: unknown */
	bool is_busy, is_reloaded;
	unsigned attempts;
	uint64_t failed_until_ms;
	enum status failure;
	struct renewal_request *request;
	struct timer *timer;
	struct question *questions, **questions_end;
};

struct holdings {
	struct dp *dp;
	struct worker *worker;
	struct holding *buckets[BUCKETS];
	size_t count;
};

/* Store and vault are on their way out: nothing new is asked of them. */
static bool is_stopping(const struct holdings *home)
{
	return atomic_load_explicit(&home->dp->is_stopping, memory_order_relaxed);
}

/* --- answers go back to who asked */

static void question_free(struct question *question)
{
	secret_free(question->refused);
	secret_free(question->token);
	free(question->endpoint);
	free(question->endpoint_type);
	free(question->flow);
	free(question);
}

static void run_answer(struct task *task)
{
	struct question *question = (struct question *)task;
	const struct held_token token = {.endpoint = question->endpoint == NULL ? TEXT_NONE : text_of(question->endpoint),
		.endpoint_type = question->endpoint_type == NULL ? TEXT_NONE : text_of(question->endpoint_type),
		.token = question->token == NULL ? TEXT_NONE : secret_expose(question->token),
		.expires_ms = question->expires_ms};
	question->done(question->context, question->status, question->status == STATUS_OK ? &token : NULL);
	question_free(question);
}

static void answer(struct question *question, enum status status)
{
	question->status = status;
	question->task.run = run_answer;
	worker_post(question->worker, &question->task);
}

static void answer_token(struct question *question, const struct holding *holding)
{
	struct text token = data_address_property(holding->address, "authorization");
	question->endpoint = text_copy(data_address_endpoint(holding->address));
	question->endpoint_type = text_copy(data_address_type(holding->address));
	question->token = token.length == 0 ? NULL : secret_new(token);
	question->expires_ms = holding->expires_ms;
	bool is_whole =
		question->endpoint != NULL && question->endpoint_type != NULL && (token.length == 0 || question->token != NULL);
	answer(question, is_whole ? STATUS_OK : STATUS_NO_MEMORY);
}

static struct question *take(struct holding *holding)
{
	struct question *first = holding->questions;
	holding->questions = NULL;
	holding->questions_end = &holding->questions;
	return first;
}

static void answer_all(struct holding *holding, enum status status)
{
	struct question *question = take(holding);
	while (question != NULL) {
		struct question *next = question->next;
		answer(question, status);
		question = next;
	}
}

/* --- what is held */

static void holding_forget(struct holding *holding)
{
	data_address_free(holding->address);
	holding->address = NULL;
	holding->expires_ms = holding->renew_ms = 0;
	holding->attempts = 0;
	holding->failed_until_ms = 0;
}

static void holding_free(struct holding *holding)
{
	renewal_request_cancel(holding->request);
	timer_free(holding->timer);
	data_address_free(holding->address);
	free(holding->flow);
	free(holding);
}

static struct holding **bucket_of(struct holdings *home, struct text ctx, struct text flow)
{
	char room[512];
	return &home->buckets[text_hash(map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2)) % BUCKETS];
}

/* Room for one more: those of this bucket that nobody waits for go. */
static void shrink(struct holdings *home, struct holding **bucket)
{
	for (struct holding **at = bucket; *at != NULL && home->count >= IDLE_MAX;) {
		struct holding *holding = *at;
		if (holding->is_busy || holding->questions != NULL) {
			at = &holding->next;
			continue;
		}
		*at = holding->next;
		home->count--;
		holding_free(holding);
	}
}

static struct holding *find_or_add(struct holdings *home, struct text ctx, struct text flow)
{
	struct holding **bucket = bucket_of(home, ctx, flow);
	for (struct holding *holding = *bucket; holding != NULL; holding = holding->next) {
		if (text_equals(text_of(holding->ctx), ctx) && text_equals(text_of(holding->flow), flow))
			return holding;
	}
	shrink(home, bucket);
	struct holding *holding = calloc(1, sizeof(*holding));
	if (holding == NULL || (holding->flow = text_copy(flow)) == NULL) {
		free(holding);
		return NULL;
	}
	holding->home = home;
	memcpy(holding->ctx, ctx.bytes, ctx.length);
	holding->questions_end = &holding->questions;
	holding->next = *bucket;
	*bucket = holding;
	home->count++;
	return holding;
}

/* The exp of a JWT, unverified: it is the provider's business, and only a hint here. 0: none. */
static int64_t token_expiry_ms(struct text token)
{
	uint8_t bytes[TOKEN_BYTES_MAX];
	size_t first = text_find(token, '.'), length = 0;
	struct text rest = first < token.length ? text_slice(token, first + 1, token.length) : TEXT_NONE;
	struct json *claims = NULL;
	int64_t seconds = 0;
	if (rest.length > 0 &&
		base64url_decode(text_slice(rest, 0, text_find(rest, '.')), bytes, sizeof(bytes), &length) == STATUS_OK &&
		json_parse((struct text){(const char *)bytes, length}, NULL, &claims) == STATUS_OK &&
		(!json_integer(json_member(claims, "exp"), &seconds) || seconds < 0 || seconds > INT64_MAX / 1000))
		seconds = 0;
	json_free(claims);
	return seconds * 1000;
}

static void set_expiry(struct holding *holding, int64_t now_ms, int64_t expires_ms)
{
	int64_t left = expires_ms - now_ms;
	holding->expires_ms = expires_ms;
	/* of a token that lives no longer than the margin, the last quarter */
	holding->renew_ms =
		expires_ms == 0 ? 0 : expires_ms - (left > 0 && left < QUARTERS * MARGIN_MS ? left / QUARTERS : MARGIN_MS);
}

/* --- renewal */

static void serve(struct holding *holding, bool is_fresh);
static void load(struct holding *holding, const struct flow_terms *terms);

/* NULL: it is none to hold a token of; *status says why. */
static const struct flow_terms *find_terms(const struct holding *holding, enum status *status)
{
	const struct flow *flow = dp_find(holding->home->dp, DP_FLOWS, text_of(holding->ctx), text_of(holding->flow));
	const struct flow_terms *terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	*status = flow == NULL ? STATUS_NOT_FOUND : STATUS_CONFLICT;
	bool holds = terms != NULL && terms->role == FLOW_CONSUMER && !flow_terms_is_push(terms) &&
				 terms->address != NULL && flow_terms_admit(terms, worker_wall_ms(holding->home->worker));
	return holds ? terms : NULL;
}

static void fail(struct holding *holding, enum status status)
{
	holding->is_busy = false;
	holding->attempts = 0;
	holding->failure = status;
	holding->failed_until_ms = worker_now_ms(holding->home->worker) + FAILURE_MS;
	dp_count(DP_RENEWAL_FAILED);
	LOG(WARNING, "dp.renewal", log_text("tenant", text_of(holding->ctx)), log_text("flow", text_of(holding->flow)),
		log_text("error", text_of(status_text(status))));
	serve(holding, false);
}

static void on_kept(void *context, enum status status, struct text result)
{
	struct holding *holding = context;
	(void)result;
	holding->is_busy = false;
	if (status != STATUS_OK) /* good in memory; after a restart the old refresh token brings the current one */
		LOG(WARNING, "dp.renewal", log_text("tenant", text_of(holding->ctx)), log_text("flow", text_of(holding->flow)),
			log_text("error", TEXT("the renewed address could not be stored")));
	serve(holding, true);
}

/* The flow must be as it was when the renewal began: what a control plane has put into the vault since is newer. */
static void keep(struct holding *holding)
{
	struct buffer json = {0};
	char alias[FLOW_ALIAS_MAX];
	struct holdings *home = holding->home;
	data_address_print(holding->address, true, &json);
	flow_alias(text_of(holding->flow), "address", alias);
	if (json.failed || is_stopping(home))
		on_kept(holding, STATUS_NO_MEMORY, TEXT_NONE);
	else
		vault_secret_put(
			home->dp->vault, text_of(holding->ctx), text_of(alias), buffer_text(&json), home->worker, on_kept, holding);
	buffer_wipe(&json);
}

static bool adopt(struct holding *holding, const struct renewal_answer *renewed)
{
	char seconds[24];
	int length = snprintf(seconds, sizeof(seconds), "%lld", (long long)renewed->lifetime_s);
	int64_t now_ms = worker_wall_ms(holding->home->worker);
	set_expiry(holding, now_ms,
		renewed->lifetime_s > 0 ? now_ms + renewed->lifetime_s * 1000 : token_expiry_ms(renewed->access_token));
	return data_address_set(holding->address, "authorization", renewed->access_token) &&
		   (renewed->refresh_token.bytes == NULL ||
			   data_address_set(holding->address, "refreshToken", renewed->refresh_token)) &&
		   (renewed->lifetime_s == 0 ||
			   data_address_set(holding->address, "expiresIn", (struct text){seconds, (size_t)length}));
}

static void renew(void *context);

static void retry(struct holding *holding, enum status status)
{
	if (holding->timer == NULL)
		holding->timer = timer_new(holding->home->worker, renew, holding);
	if (holding->timer == NULL || ++holding->attempts == ATTEMPTS_MAX)
		fail(holding, status);
	else
		timer_set(holding->timer, (uint64_t)ATTEMPT_MS << holding->attempts);
}

static void on_renewed(void *context, enum status status, const struct renewal_answer *renewed)
{
	struct holding *holding = context;
	enum status why;
	const struct flow_terms *terms = find_terms(holding, &why);
	if (terms == NULL || terms->revision != holding->revision) {
		holding->is_busy = false;
		serve(holding, false);
	} else if (status == STATUS_OK) {
		holding->attempts = 0;
		holding->is_reloaded = false;
		dp_count(DP_RENEWAL_RECEIVED);
		if (adopt(holding, renewed))
			keep(holding);
		else
			fail(holding, STATUS_NO_MEMORY);
	} else if (status == STATUS_UNAUTHORIZED && !holding->is_reloaded) {
		/* another process of this cell may have renewed it: the vault knows */
		holding->is_reloaded = true;
		load(holding, terms);
	} else if (status == STATUS_UNAUTHORIZED || status == STATUS_INVALID || status == STATUS_FORBIDDEN) {
		holding->is_reloaded = false;
		fail(holding, status == STATUS_INVALID ? STATUS_UNAUTHORIZED : status);
	} else {
		retry(holding, status);
	}
}

static void renew(void *context)
{
	struct holding *holding = context;
	struct holdings *home = holding->home;
	enum status why;
	const struct flow_terms *terms = find_terms(holding, &why);
	if (terms == NULL || terms->revision != holding->revision) {
		holding->is_busy = false;
		serve(holding, false);
		return;
	}
	if (is_stopping(home)) {
		holding->is_busy = false;
		answer_all(holding, STATUS_UNAVAILABLE);
		return;
	}
	holding->is_busy = true;
	renewal_request_start(home->dp, home->worker, text_of(holding->ctx), holding->address,
		text_of(terms->counter_party), on_renewed, holding, &holding->request);
}

/* --- loading */

static void on_loaded(void *context, enum status status, struct text value)
{
	struct holding *holding = context;
	enum status why;
	const struct flow_terms *terms = find_terms(holding, &why);
	struct data_address *address = NULL;
	struct json *root = NULL;
	struct buffer error = {0};
	holding->is_busy = false;
	if (status == STATUS_NOT_FOUND && terms != NULL) { /* an address without secrets is in the record alone */
		value = text_of(terms->address);
		status = STATUS_OK;
	}
	if (status == STATUS_OK)
		status = json_parse(value, NULL, &root);
	if (status == STATUS_OK)
		status = data_address_parse(root, &address, &error);
	json_free(root);
	buffer_free(&error);
	if (status != STATUS_OK || terms == NULL || terms->revision != holding->revision) {
		data_address_free(address);
		if (status != STATUS_OK && terms != NULL)
			answer_all(holding, status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
		else
			serve(holding, false);
		return;
	}
	bool is_same = holding->address != NULL && text_equals(data_address_property(holding->address, "refreshToken"),
												   data_address_property(address, "refreshToken"));
	data_address_free(holding->address);
	holding->address = address;
	struct text token = data_address_property(address, "authorization");
	uint64_t lifetime_s;
	int64_t expires_ms = token_expiry_ms(token), now_ms = worker_wall_ms(holding->home->worker);
	if (expires_ms == 0 &&
		text_to_unsigned(data_address_property(address, "expiresIn"), INT32_MAX, &lifetime_s) == STATUS_OK)
		expires_ms = terms->changed_ms + (int64_t)lifetime_s * 1000;
	set_expiry(holding, now_ms, expires_ms);
	if (holding->is_reloaded && is_same) {
		holding->is_reloaded = false;
		fail(holding, STATUS_UNAUTHORIZED);
	} else {
		serve(holding, false);
	}
}

static void load(struct holding *holding, const struct flow_terms *terms)
{
	struct holdings *home = holding->home;
	char alias[FLOW_ALIAS_MAX];
	if (is_stopping(home)) {
		answer_all(holding, STATUS_UNAVAILABLE);
		return;
	}
	holding->revision = terms->revision;
	holding->is_busy = true;
	flow_alias(text_of(holding->flow), "address", alias);
	vault_secret_get(home->dp->vault, text_of(holding->ctx), text_of(alias), home->worker, on_loaded, holding);
}

/* --- serving those who ask */

/* OK: what is held will do. TIMEOUT: renew first. */
static enum status judge(const struct holding *holding, const struct question *question, bool is_fresh)
{
	int64_t now_ms = worker_wall_ms(holding->home->worker);
	struct text token = data_address_property(holding->address, "authorization");
	bool is_refused = question->refused != NULL && text_equals(secret_expose(question->refused), token);
	bool is_due = holding->renew_ms != 0 && now_ms >= holding->renew_ms && !is_fresh;
	bool has_ended = holding->expires_ms != 0 && now_ms >= holding->expires_ms;
	if (!is_refused && !is_due)
		return STATUS_OK;
	bool may_renew = data_address_property(holding->address, "refreshToken").length > 0 && !is_fresh;
	if (may_renew && worker_now_ms(holding->home->worker) >= holding->failed_until_ms)
		return STATUS_TIMEOUT;
	if (is_refused || has_ended)
		return may_renew ? holding->failure : STATUS_UNAUTHORIZED;
	return STATUS_OK;
}

static void serve(struct holding *holding, bool is_fresh)
{
	enum status status;
	const struct flow_terms *terms = find_terms(holding, &status);
	if (holding->is_busy)
		return;
	if (terms == NULL) {
		holding_forget(holding);
		answer_all(holding, status);
		return;
	}
	if (holding->questions == NULL)
		return;
	if (holding->address == NULL || terms->revision != holding->revision) {
		holding_forget(holding);
		load(holding, terms);
		return;
	}
	struct question *question = take(holding);
	while (question != NULL) {
		struct question *next = question->next;
		status = judge(holding, question, is_fresh);
		if (status == STATUS_TIMEOUT) {
			question->next = NULL;
			*holding->questions_end = question;
			holding->questions_end = &question->next;
		} else if (status == STATUS_OK) {
			answer_token(question, holding);
		} else {
			answer(question, status);
		}
		question = next;
	}
	if (holding->questions != NULL)
		renew(holding);
}

static void run_question(struct task *task)
{
	struct question *question = (struct question *)task;
	struct dp_worker *home = dp_here(question->dp, question->owner);
	struct holding *holding =
		home == NULL ? NULL : find_or_add(home->holdings, text_of(question->ctx), text_of(question->flow));
	if (holding == NULL) {
		answer(question, home == NULL ? STATUS_UNAVAILABLE : STATUS_NO_MEMORY);
		return;
	}
	question->next = NULL;
	*holding->questions_end = question;
	holding->questions_end = &question->next;
	serve(holding, false);
}

void held_token_get(struct dp *dp, struct worker *worker, struct text ctx, struct text flow, struct text refused,
	held_done *done, void *context)
{
	struct question *question = calloc(1, sizeof(*question));
	if (question != NULL && ctx.length == ID_LENGTH) {
		memcpy(question->ctx, ctx.bytes, ctx.length);
		question->flow = text_copy(flow);
		question->refused = refused.length > 0 ? secret_new(refused) : NULL;
	}
	if (question == NULL || question->flow == NULL || (refused.length > 0 && question->refused == NULL)) {
		if (question != NULL)
			question_free(question);
		done(context, STATUS_NO_MEMORY, NULL);
		return;
	}
	question->dp = dp;
	question->worker = worker;
	question->done = done;
	question->context = context;
	question->task.run = run_question;
	char room[512];
	uint64_t hash = text_hash(map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2));
	question->owner = worker_pool_at(dp->pool, (unsigned)((hash >> 32) % dp->workers));
	worker_post(question->owner, &question->task);
}

/* --- a worker's half */

struct holdings *holdings_new(struct dp *dp, struct worker *worker)
{
	struct holdings *made = calloc(1, sizeof(*made));
	if (made != NULL) {
		made->dp = dp;
		made->worker = worker;
	}
	return made;
}

void held_tokens_free(struct holdings *holdings)
{
	if (holdings == NULL)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		while (holdings->buckets[i] != NULL) {
			struct holding *holding = holdings->buckets[i];
			holdings->buckets[i] = holding->next;
			answer_all(holding, STATUS_UNAVAILABLE);
			holding_free(holding);
		}
	}
	free(holdings);
}
