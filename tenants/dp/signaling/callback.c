/* Callbacks: token, body, call. */
#include "tenants/dp/signaling/callback.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "server/fetch.h"
#include "tenants/dp/signaling/callback_token.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/signaling/offer.h"

enum { ANSWER_MAX = 64 * 1024 };

struct callback {
	struct dp_worker *home;
	char ctx[ID_LENGTH + 1];
	char *flow, *error;
	enum letter_kind kind;
	char message[ID_LENGTH + 1];
	struct control_plane *plane; /* a reference */
	struct callback_token_waiter waiter;
	struct fetch *fetch;
	struct buffer body;
	bool is_waiting; /* for the vault, which cannot be called off */
	bool is_cancelled;
	bool has_token; /* the call carries one of ours */
	callback_done *done;
	void *context;
};

static void callback_free(struct callback *callback)
{
	callback_token_leave(&callback->waiter);
	fetch_cancel(callback->fetch);
	control_plane_unref(callback->plane);
	buffer_wipe(&callback->body);
	free(callback->flow);
	free(callback->error);
	free(callback);
}

static void finish(struct callback *callback, enum status status, int http)
{
	callback->done(callback->context, status, http);
	callback_free(callback);
}

/* Back from the vault; false: nobody waits any more. */
static bool resumes(struct callback *callback)
{
	callback->is_waiting = false;
	if (!callback->is_cancelled)
		return true;
	callback_free(callback);
	return false;
}

void callback_cancel(struct callback *callback)
{
	if (callback == NULL)
		return;
	callback->is_cancelled = true;
	if (!callback->is_waiting)
		callback_free(callback);
}

/* --- the call */

static struct address_rules rules_of(const struct callback *callback)
{
	const struct participant *participant = registry_find(callback->home->dp->registry, text_of(callback->ctx));
	return participant == NULL ? (struct address_rules){0} : participant_address_rules(participant);
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct callback *callback = context;
	int http = answer->http;
	callback->fetch = NULL;
	bool has_answer = status == STATUS_OK || status == STATUS_TOO_LARGE; /* what it says is of no interest */
	if (http == 401 && callback->has_token)
		callback_token_forget(callback->home, text_of(callback->ctx), callback->plane);
	if (has_answer && http >= 200 && http < 300)
		finish(callback, STATUS_OK, http);
	else
		finish(callback, has_answer ? STATUS_REFUSED : status, has_answer ? http : 0);
}

static void call(struct callback *callback)
{
	const struct secret *bearer = callback->plane->token_endpoint == NULL
									  ? NULL
									  : callback_token_now(callback->home, text_of(callback->ctx), callback->plane);
	struct address_rules rules = rules_of(callback);
	struct buffer url = {0};
	buffer_printf(
		&url, "%s/transfers/%s/dataflow/%s", callback->plane->endpoint, callback->flow, letter_segment(callback->kind));
	callback->has_token = bearer != NULL;
	const struct fetch_order order = {.tenant = text_of(callback->ctx),
		.address = buffer_text(&url),
		.method = TEXT("POST"),
		.accept = TEXT("application/json"),
		.authorization = bearer == NULL ? TEXT_NONE : secret_expose(bearer),
		.content_type = TEXT("application/json"),
		.body = buffer_text(&callback->body),
		.rules = &rules,
		.timeout_ms = (uint32_t)callback->home->dp->settings.callback_timeout_ms,
		.answer_max = ANSWER_MAX};
	enum status status = url.failed || callback->body.failed
							 ? STATUS_NO_MEMORY
							 : fetch_start(callback->home->worker, &order, on_answer, callback, &callback->fetch);
	buffer_free(&url);
	if (status != STATUS_OK)
		finish(callback, status, 0);
}

/* --- the token */

static void on_token(struct callback_token_waiter *waiter, enum status status, int http)
{
	struct callback *callback = (struct callback *)(void *)((char *)waiter - offsetof(struct callback, waiter));
	if (status == STATUS_OK)
		call(callback);
	else
		finish(callback, status, http);
}

static void authorize(struct callback *callback)
{
	struct text ctx = text_of(callback->ctx);
	if (callback->plane->token_endpoint == NULL || callback_token_now(callback->home, ctx, callback->plane) != NULL)
		call(callback);
	else
		callback_token_fetch(callback->home, ctx, callback->plane, &callback->waiter);
}

/* --- the body */

static void on_offer(void *context, enum status status, struct text address)
{
	struct callback *callback = context;
	if (!resumes(callback))
		return;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		finish(callback, status, 0);
		return;
	}
	if (status == STATUS_OK) {
		buffer_append(&callback->body, TEXT(",\"dataAddress\":"));
		buffer_append(&callback->body, address);
	}
	buffer_append_byte(&callback->body, '}');
	authorize(callback);
}

/* The state it tells is the one it was written for: COMPLETED is only reached when the control plane has heard of it.
 */
static struct text told_state(enum letter_kind kind, const struct flow_terms *terms)
{
	switch (kind) {
	case LETTER_PREPARED:
		return flow_state_name(FLOW_PREPARED);
	case LETTER_STARTED:
		return flow_state_name(FLOW_STARTED);
	case LETTER_COMPLETED:
		return flow_state_name(FLOW_COMPLETED);
	case LETTER_ERRORED:
	case LETTER_COUNT:
		break;
	}
	return flow_state_name(terms->state);
}

static void begin(struct callback *callback, const struct flow_terms *terms)
{
	char alias[FLOW_ALIAS_MAX];
	buffer_printf(&callback->body, "{\"messageId\":\"%s\",\"dataFlowId\":", callback->message);
	buffer_append_json(&callback->body, text_of(callback->flow));
	buffer_append(&callback->body, TEXT(",\"state\":"));
	buffer_append_json(&callback->body, told_state(callback->kind, terms));
	if (callback->error != NULL) {
		buffer_append(&callback->body, TEXT(",\"error\":"));
		buffer_append_json(&callback->body, text_of(callback->error));
	}
	bool is_ready = callback->kind == LETTER_PREPARED || callback->kind == LETTER_STARTED;
	if (!is_ready || !flow_terms_offers(terms)) {
		buffer_append_byte(&callback->body, '}');
		authorize(callback);
		return;
	}
	flow_alias(text_of(callback->flow), "offer", alias);
	callback->is_waiting = true;
	vault_secret_get(
		callback->home->dp->vault, text_of(callback->ctx), text_of(alias), callback->home->worker, on_offer, callback);
}

/* --- from the worker's next turn on, so that `done` never runs inside callback_start */

struct departure {
	struct task task; /* first */
	struct callback *callback;
};

static void on_departure(struct task *task)
{
	struct callback *callback = ((struct departure *)task)->callback;
	free(task);
	if (!resumes(callback))
		return;
	struct dp *dp = callback->home->dp;
	const struct flow *flow = dp_find(dp, DP_FLOWS, text_of(callback->ctx), text_of(callback->flow));
	const struct flow_terms *terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	callback->plane = terms == NULL ? NULL : flow_control_plane(dp, text_of(callback->ctx), terms);
	if (callback->plane == NULL) {
		finish(callback, STATUS_NOT_FOUND, 0);
		return;
	}
	control_plane_ref(callback->plane);
	begin(callback, terms);
}

enum status callback_start(struct dp_worker *home, const struct callback_order *order, callback_done *done,
	void *context, struct callback **callback)
{
	struct callback *made = calloc(1, sizeof(*made));
	struct departure *departure = calloc(1, sizeof(*departure));
	if (made != NULL && departure != NULL) {
		*made = (struct callback){.home = home,
			.kind = order->letter->kind,
			.waiter = {.ready = on_token},
			.is_waiting = true,
			.done = done,
			.context = context};
		memcpy(made->ctx, order->ctx.bytes, order->ctx.length < ID_LENGTH ? order->ctx.length : ID_LENGTH);
		memcpy(made->message, order->letter->message, sizeof(made->message));
		made->flow = text_copy(order->flow);
		made->error = order->letter->error == NULL ? NULL : text_copy(text_of(order->letter->error));
	}
	if (made == NULL || departure == NULL || made->flow == NULL ||
		(order->letter->error != NULL && made->error == NULL)) {
		free(departure);
		if (made != NULL)
			callback_free(made);
		return STATUS_NO_MEMORY;
	}
	*departure = (struct departure){.task = {.run = on_departure}, .callback = made};
	*callback = made;
	worker_post(home->worker, &departure->task);
	return STATUS_OK;
}
