/* What a worker holds, by flow, and the answers to those who ask for it. */
#include "tenants/dp/consumer/holding.h"

#include <stdlib.h>
#include <string.h>

#define MARGIN_MS INT64_C(5000)
#define QUARTERS 4
enum { IDLE_MAX = 4096 };

/* --- answers go back to who asked */

void held_question_free(struct question *question)
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
	held_question_free(question);
}

void held_question_answer(struct question *question, enum status status)
{
	question->status = status;
	question->task.run = run_answer;
	worker_post(question->worker, &question->task);
}

void held_question_answer_token(struct question *question, const struct holding *holding)
{
	struct text token = data_address_property(holding->address, "authorization");
	question->endpoint = text_copy(data_address_endpoint(holding->address));
	question->endpoint_type = text_copy(data_address_type(holding->address));
	question->token = token.length == 0 ? NULL : secret_new(token);
	question->expires_ms = holding->expires_ms;
	bool is_whole =
		question->endpoint != NULL && question->endpoint_type != NULL && (token.length == 0 || question->token != NULL);
	held_question_answer(question, is_whole ? STATUS_OK : STATUS_NO_MEMORY);
}

struct question *holding_take(struct holding *holding)
{
	struct question *first = holding->questions;
	holding->questions = NULL;
	holding->questions_end = &holding->questions;
	return first;
}

void holding_answer(struct holding *holding, enum status status)
{
	struct question *question = holding_take(holding);
	while (question != NULL) {
		struct question *next = question->next;
		held_question_answer(question, status);
		question = next;
	}
}

/* --- what is held */

void holding_forget(struct holding *holding)
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
	return &home->buckets[text_hash(map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2)) %
						  HOLDING_BUCKETS];
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

struct holding *holding_find_or_add(struct holdings *home, struct text ctx, struct text flow)
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

void holding_set_expiry(struct holding *holding, int64_t now_ms, int64_t expires_ms)
{
	int64_t left = expires_ms - now_ms;
	holding->expires_ms = expires_ms;
	/* of a token that lives no longer than the margin, the last quarter */
	holding->renew_ms =
		expires_ms == 0 ? 0 : expires_ms - (left > 0 && left < QUARTERS * MARGIN_MS ? left / QUARTERS : MARGIN_MS);
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
	for (int i = 0; i < HOLDING_BUCKETS; i++) {
		while (holdings->buckets[i] != NULL) {
			struct holding *holding = holdings->buckets[i];
			holdings->buckets[i] = holding->next;
			holding_answer(holding, STATUS_UNAVAILABLE);
			holding_free(holding);
		}
	}
	free(holdings);
}
