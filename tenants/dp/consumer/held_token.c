/* Held tokens: questions travel to the flow's worker and back; there is no lock, and one renewal for all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/base/secret.h"
#include "server/worker_pool.h"
#include "tenants/dp/consumer/holding.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/jose/jws.h"

enum { ATTEMPTS_MAX = 4, ATTEMPT_MS = 250, FAILURE_MS = 1000 };

/* Store and vault are on their way out: nothing new is asked of them. */
static bool is_stopping(const struct holdings *home)
{
	return atomic_load_explicit(&home->dp->is_stopping, memory_order_relaxed);
}

/* --- renewal */

static void serve(struct holding *holding, bool is_fresh);
static void load(struct holding *holding, const struct flow_terms *terms);

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
	holding_set_expiry(holding, now_ms,
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
		holding_answer(holding, STATUS_UNAVAILABLE);
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
			holding_answer(holding, status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
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
	holding_set_expiry(holding, now_ms, expires_ms);
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
		holding_answer(holding, STATUS_UNAVAILABLE);
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
		holding_answer(holding, status);
		return;
	}
	if (holding->questions == NULL)
		return;
	if (holding->address == NULL || terms->revision != holding->revision) {
		holding_forget(holding);
		load(holding, terms);
		return;
	}
	struct question *question = holding_take(holding);
	while (question != NULL) {
		struct question *next = question->next;
		status = judge(holding, question, is_fresh);
		if (status == STATUS_TIMEOUT) {
			question->next = NULL;
			*holding->questions_end = question;
			holding->questions_end = &question->next;
		} else if (status == STATUS_OK) {
			held_question_answer_token(question, holding);
		} else {
			held_question_answer(question, status);
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
		home == NULL ? NULL : holding_find_or_add(home->holdings, text_of(question->ctx), text_of(question->flow));
	if (holding == NULL) {
		held_question_answer(question, home == NULL ? STATUS_UNAVAILABLE : STATUS_NO_MEMORY);
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
			held_question_free(question);
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
