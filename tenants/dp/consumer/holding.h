/* A held token, inside: holding.c keeps it and answers who asks, held_token.c loads and renews it. On the worker that
 * keeps the flow's, but for what is said of questions. */
#pragma once

#include "tenants/dp/consumer/held_token.h"
#include "tenants/dp/consumer/renewal_request.h"
#include "tenants/dp/state.h"

enum { HOLDING_BUCKETS = 256 };

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
	struct holding *buckets[HOLDING_BUCKETS];
	size_t count;
};

/* Any worker, before it is posted. */
void held_question_free(struct question *question);
/* These two take it, back to who asks. */
void held_question_answer(struct question *question, enum status status);
void held_question_answer_token(struct question *question, const struct holding *holding);

/* NULL: out of memory. Others that nobody waits for may go. */
struct holding *holding_find_or_add(struct holdings *home, struct text ctx, struct text flow);
/* The address, and all that followed from it. */
void holding_forget(struct holding *holding);
/* 0: not known. Renewed in time before it. */
void holding_set_expiry(struct holding *holding, int64_t now_ms, int64_t expires_ms);
/* All questions, in the order they came; they are the caller's. */
struct question *holding_take(struct holding *holding);
/* The same answer for all. */
void holding_answer(struct holding *holding, enum status status);
