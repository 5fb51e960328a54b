/* Fetches of agreements: token, call, record. */
#include "tenants/dp/signaling/agreement_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/fetch.h"
#include "tenants/dp/contract/agreement_record.h"
#include "tenants/dp/signaling/agreement_answer.h"
#include "tenants/dp/signaling/callback_token.h"

enum { FETCHES_MAX = 1024 }; /* at once, of one worker */

struct agreement_fetch {
	struct task task; /* first: begins in the next turn, so that `ready` never runs inside agreement_fetch_join */
	struct agreement_fetch *next;
	struct dp_worker *home;
	char ctx[ID_LENGTH + 1];
	char *flow, *agreement, *counter_party;
	bool is_provider;
	struct control_plane *plane; /* a reference */
	struct callback_token_waiter token;
	bool has_token; /* the call carries one of ours */
	struct fetch *fetch;
	struct agreement_waiter *waiters;
};

static void fetch_free(struct agreement_fetch *fetch)
{
	callback_token_leave(&fetch->token);
	fetch_cancel(fetch->fetch);
	control_plane_unref(fetch->plane);
	free(fetch->flow);
	free(fetch->agreement);
	free(fetch->counter_party);
	free(fetch);
}

void agreement_fetches_free(struct agreement_fetch *fetches)
{
	while (fetches != NULL) {
		struct agreement_fetch *next = fetches->next;
		fetch_free(fetches);
		fetches = next;
	}
}

void agreement_fetch_leave(struct agreement_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	waiter->previous = NULL;
}

static void finish(struct agreement_fetch *fetch, enum status status, const char *why)
{
	struct agreement_fetch **at = &fetch->home->agreement_fetches;
	struct agreement_waiter *waiters = fetch->waiters;
	while (*at != fetch)
		at = &(*at)->next;
	*at = fetch->next;
	if (status != STATUS_OK)
		LOG(WARNING, "agreement.fetch", log_text("tenant", text_of(fetch->ctx)), log_text("flow", text_of(fetch->flow)),
			log_text("agreement", text_of(fetch->agreement)), log_text("error", text_of(why)));
	fetch->waiters = NULL;
	if (waiters != NULL)
		waiters->previous = &waiters;
	while (waiters != NULL) {
		struct agreement_waiter *waiter = waiters;
		agreement_fetch_leave(waiter);
		waiter->ready(waiter, status, status == STATUS_OK ? NULL : why);
	}
	fetch_free(fetch);
}

static void finish_unavailable(struct agreement_fetch *fetch)
{
	finish(fetch, STATUS_UNAVAILABLE, "the agreement cannot be had from the control plane now");
}

/* --- the record */

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct agreement_fetch *fetch = context;
	(void)revision;
	if (status == STATUS_OK || status == STATUS_CONFLICT) /* somebody has put one: that one counts */
		finish(fetch, STATUS_OK, NULL);
	else if (status == STATUS_INVALID)
		finish(fetch, status, "the control plane's agreement cannot be stored");
	else
		finish(fetch, STATUS_UNAVAILABLE, "the agreement cannot be stored now");
}

static void keep(struct agreement_fetch *fetch, const struct participant *participant, struct text answer)
{
	struct dp *dp = fetch->home->dp;
	struct buffer record = {0}, error = {0};
	const struct agreement_expected expected = {.id = text_of(fetch->agreement),
		.counter_party = text_of(fetch->counter_party),
		.participant = participant,
		.is_provider = fetch->is_provider};
	enum status status = agreement_answer_read(answer, &expected, &record, &error);
	if (status == STATUS_OK)
		status = agreement_put(dp, fetch->home->worker, text_of(fetch->ctx), text_of(fetch->agreement),
			buffer_text(&record), REVISION_ABSENT, on_stored, fetch, &error);
	if (status == STATUS_NO_MEMORY)
		finish_unavailable(fetch);
	else if (status != STATUS_OK)
		finish(fetch, status == STATUS_REFUSED ? status : STATUS_INVALID,
			error.failed || error.length == 0 ? "the control plane's agreement is not valid" : error.bytes);
	buffer_free(&record);
	buffer_free(&error);
}

/* --- the call */

/* NULL: the participant has gone, or the cell is about to: nothing is begun any more. */
static const struct participant *participant_of(const struct agreement_fetch *fetch)
{
	const struct dp *dp = fetch->home->dp;
	if (atomic_load_explicit(&dp->is_stopping, memory_order_acquire))
		return NULL;
	return registry_find(dp->registry, text_of(fetch->ctx));
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct agreement_fetch *fetch = context;
	int http = answer->http;
	const struct participant *participant = participant_of(fetch);
	bool is_stale_token = http == 401 && fetch->has_token;
	fetch->fetch = NULL;
	if (is_stale_token)
		callback_token_forget(fetch->home, text_of(fetch->ctx), fetch->plane);
	if (status == STATUS_TOO_LARGE && http == 200)
		finish(fetch, STATUS_INVALID, "the control plane's agreement is too large");
	else if ((status != STATUS_OK && status != STATUS_TOO_LARGE) || is_stale_token || http >= 500 || http == 429 ||
			 participant == NULL)
		finish_unavailable(fetch);
	else if (http != 200)
		finish(fetch, STATUS_NOT_FOUND, "the control plane does not give this agreement");
	else
		keep(fetch, participant, answer->body);
}

static void call(struct agreement_fetch *fetch)
{
	const struct participant *participant = participant_of(fetch);
	const struct secret *bearer = fetch->plane->token_endpoint == NULL
									  ? NULL
									  : callback_token_now(fetch->home, text_of(fetch->ctx), fetch->plane);
	if (participant == NULL) {
		finish_unavailable(fetch);
		return;
	}
	struct address_rules rules = participant_address_rules(participant);
	struct buffer url = {0};
	buffer_printf(&url, "%s/transfers/%s/agreement", fetch->plane->endpoint, fetch->flow);
	fetch->has_token = bearer != NULL;
	const struct fetch_order order = {.tenant = text_of(fetch->ctx),
		.address = buffer_text(&url),
		.method = TEXT("GET"),
		.accept = TEXT("application/json"),
		.authorization = bearer == NULL ? TEXT_NONE : secret_expose(bearer),
		.rules = &rules,
		.timeout_ms = (uint32_t)fetch->home->dp->settings.callback_timeout_ms,
		.answer_max = AGREEMENT_ANSWER_MAX};
	enum status status =
		url.failed ? STATUS_NO_MEMORY : fetch_start(fetch->home->worker, &order, on_answer, fetch, &fetch->fetch);
	buffer_free(&url);
	if (status != STATUS_OK) {
		fetch->fetch = NULL;
		finish_unavailable(fetch);
	}
}

static void on_token(struct callback_token_waiter *waiter, enum status status, int http)
{
	struct agreement_fetch *fetch =
		(struct agreement_fetch *)(void *)((char *)waiter - offsetof(struct agreement_fetch, token));
	(void)http;
	if (status == STATUS_OK)
		call(fetch);
	else
		finish_unavailable(fetch);
}

static void on_begin(struct task *task)
{
	struct agreement_fetch *fetch = (struct agreement_fetch *)task;
	struct text ctx = text_of(fetch->ctx);
	if (participant_of(fetch) == NULL)
		finish_unavailable(fetch);
	else if (fetch->plane->token_endpoint == NULL || callback_token_now(fetch->home, ctx, fetch->plane) != NULL)
		call(fetch);
	else
		callback_token_fetch(fetch->home, ctx, fetch->plane, &fetch->token);
}

/* --- joining */

/* The same agreement of other parties is another question: whose it is decides whether its answer is taken. */
static struct agreement_fetch *find(
	const struct dp_worker *home, const struct agreement_question *question, size_t *count)
{
	for (struct agreement_fetch *fetch = home->agreement_fetches; fetch != NULL; fetch = fetch->next) {
		if (text_equals(text_of(fetch->ctx), question->ctx) &&
			text_equals(text_of(fetch->agreement), question->agreement) &&
			text_equals(text_of(fetch->counter_party), question->counter_party) &&
			fetch->is_provider == question->is_provider && fetch->plane == question->plane)
			return fetch;
		++*count;
	}
	return NULL;
}

static struct agreement_fetch *fetch_new(struct dp_worker *home, const struct agreement_question *question)
{
	struct agreement_fetch *fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return NULL;
	fetch->task.run = on_begin;
	fetch->home = home;
	memcpy(fetch->ctx, question->ctx.bytes, question->ctx.length < ID_LENGTH ? question->ctx.length : ID_LENGTH);
	fetch->flow = text_copy(question->flow);
	fetch->agreement = text_copy(question->agreement);
	fetch->counter_party = text_copy(question->counter_party);
	fetch->is_provider = question->is_provider;
	control_plane_ref(question->plane);
	fetch->plane = question->plane;
	fetch->token.ready = on_token;
	if (fetch->flow != NULL && fetch->agreement != NULL && fetch->counter_party != NULL)
		return fetch;
	fetch_free(fetch);
	return NULL;
}

enum status agreement_fetch_join(
	struct dp_worker *home, const struct agreement_question *question, struct agreement_waiter *waiter)
{
	size_t count = 0;
	struct agreement_fetch *fetch = find(home, question, &count);
	if (fetch == NULL && count < FETCHES_MAX && (fetch = fetch_new(home, question)) != NULL) {
		fetch->next = home->agreement_fetches;
		home->agreement_fetches = fetch;
		worker_post(home->worker, &fetch->task);
	}
	if (fetch == NULL)
		return STATUS_UNAVAILABLE;
	waiter->next = fetch->waiters;
	waiter->previous = &fetch->waiters;
	if (fetch->waiters != NULL)
		fetch->waiters->previous = &waiter->next;
	fetch->waiters = waiter;
	return STATUS_OK;
}
