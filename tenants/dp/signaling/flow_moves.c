/* Moves of flows by the clock and by the wire. */
#include "tenants/dp/signaling/flow_moves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/signaling/offer.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/source/source_external.h"

enum { RETRY_MS = 1000, ERROR_MAX = 1024 };

void flow_alias(struct text flow, const char *what, char into[FLOW_ALIAS_MAX])
{
	snprintf(into, FLOW_ALIAS_MAX, "flow:%.*s:%s", TEXT_ARGUMENTS(flow), what);
}

struct control_plane *flow_control_plane(const struct dp *dp, struct text ctx, const struct flow_terms *terms)
{
	const struct control_planes *planes = dp_find(dp, DP_CONTROL_PLANES, ctx, TEXT(""));
	if (terms->control_plane != NULL)
		return control_planes_find(planes, text_of(terms->control_plane));
	return planes != NULL && planes->count == 1 ? planes->items[0] : NULL;
}

static const struct flow_terms *terms_of(const struct flow *flow)
{
	return atomic_load_explicit(&flow->terms, memory_order_acquire);
}

bool flow_is_final(const struct flow *flow)
{
	return flow_state_is_final(terms_of(flow)->state);
}

bool flow_store_into(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text id,
	const struct flow_terms *terms, int64_t expected)
{
	struct buffer body = {0};
	flow_terms_print(terms, id, &body);
	buffer_append_byte(&body, '}');
	bool is_put = !body.failed && transaction_put(transaction, ctx, RECORD_FLOW, id, buffer_text(&body), expected);
	buffer_free(&body);
	return is_put && (!flow_state_is_final(terms->state) || renewal_end(dp, transaction, ctx, id));
}

bool flow_move_into(const struct dp *dp, struct transaction *transaction, const struct flow *flow,
	enum flow_event event, int64_t now_ms)
{
	struct flow_terms terms = *terms_of(flow); /* texts borrowed, printed before this returns */
	if (flow_terms_move(&terms, event, now_ms) != STATUS_OK)
		return false;
	terms.due_ms = flow_due(dp, text_of(flow->ctx), &terms, now_ms);
	return flow_store_into(dp, transaction, text_of(flow->ctx), text_of(flow->id), &terms, terms.revision);
}

int64_t flow_due(const struct dp *dp, struct text ctx, const struct flow_terms *terms, int64_t now_ms)
{
	const struct external_source *external = dataset_external(dp_find(dp, DP_DATASETS, ctx, text_of(terms->dataset)));
	int64_t after_ms = 0;
	if (external != NULL && terms->state == FLOW_STARTED)
		after_ms = external->complete_after_ms;
	else if (external != NULL && (terms->state == FLOW_PREPARING || terms->state == FLOW_STARTING))
		after_ms = external->ready_after_ms;
	return after_ms == 0 ? 0 : now_ms + after_ms;
}

static void on_forgotten(void *context, enum status status, struct text result)
{
	(void)context, (void)status, (void)result;
}

void flow_forget_secrets(const struct dp *dp, struct worker *worker, struct text ctx, struct text flow, bool all)
{
	static const char *const kept[] = {"offer", "address"};
	char alias[FLOW_ALIAS_MAX];
	for (size_t i = 0; i < (all ? sizeof(kept) / sizeof(kept[0]) : 1); i++) {
		flow_alias(flow, kept[i], alias);
		vault_delete(dp->vault, ctx, text_of(alias), worker, on_forgotten, NULL);
	}
}

/* --- by the clock */

/* One move under way. */
struct move {
	struct dp_worker *home;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct transaction *transaction;
	void (*done)(void *context, enum status status);
	void *context;
};

static void move_end(struct move *move, enum status status)
{
	move->done(move->context, status);
	transaction_free(move->transaction);
	free(move->flow);
	free(move);
}

static void on_moved(void *context, enum status status, int64_t revision)
{
	(void)revision;
	move_end(context, status);
}

static void move_submit(struct move *move)
{
	struct transaction *transaction = move->transaction;
	move->transaction = NULL;
	if (atomic_load_explicit(&move->home->dp->is_stopping, memory_order_relaxed)) {
		transaction_free(transaction);
		move_end(move, STATUS_UNAVAILABLE);
	} else {
		store_submit(move->home->dp->store, transaction, move->home->worker, on_moved, move);
	}
}

static void on_offer_kept(void *context, enum status status, struct text result)
{
	(void)result;
	if (status == STATUS_OK)
		move_submit(context);
	else
		move_end(context, status);
}

/* The callback may be sent hours from now, and more than once: always with this same address. */
static void on_offer(void *context, enum status status, struct text address)
{
	struct move *move = context;
	char alias[FLOW_ALIAS_MAX];
	if (status != STATUS_OK) {
		move_end(move, status);
		return;
	}
	flow_alias(text_of(move->flow), "offer", alias);
	vault_secret_put(
		move->home->dp->vault, text_of(move->ctx), text_of(alias), address, move->home->worker, on_offer_kept, move);
}

/* PREPARING and STARTING: what took a while is there. */
static void move_ready(struct move *move, const struct flow *flow, const struct flow_terms *present, int64_t now_ms)
{
	struct dp *dp = move->home->dp;
	struct text ctx = text_of(flow->ctx), id = text_of(flow->id);
	struct flow_terms terms = *present;
	enum letter_kind kind = terms.state == FLOW_PREPARING ? LETTER_PREPARED : LETTER_STARTED;
	bool is_made = flow_terms_move(&terms, FLOW_ON_READY, now_ms) == STATUS_OK;
	terms.due_ms = flow_due(dp, ctx, &terms, now_ms);
	is_made = is_made && flow_store_into(dp, move->transaction, ctx, id, &terms, terms.revision);
	if (is_made && flow_control_plane(dp, ctx, &terms) != NULL)
		is_made = outbox_put(dp, move->transaction, ctx, id, kind, TEXT_NONE, now_ms);
	if (!is_made)
		move_end(move, STATUS_NO_MEMORY);
	else if (flow_terms_offers(&terms))
		offer_make(move->home, ctx, id, &terms, move->transaction, on_offer, move);
	else
		move_submit(move);
}

/* `completed`, or the end itself where nobody is to be told. */
static bool finish_into(const struct dp *dp, struct transaction *transaction, const struct flow *flow,
	const struct flow_terms *present, int64_t now_ms)
{
	struct text ctx = text_of(flow->ctx), id = text_of(flow->id);
	struct flow_terms terms = *present;
	if (flow_control_plane(dp, ctx, &terms) == NULL)
		return flow_move_into(dp, transaction, flow, FLOW_ON_FINISH, now_ms);
	bool is_told = outbox_has(dp, ctx, id, LETTER_COMPLETED); /* it has ended before, was suspended, and went on */
	if (!is_told && !outbox_put(dp, transaction, ctx, id, LETTER_COMPLETED, TEXT_NONE, now_ms))
		return false;
	if (terms.due_ms == 0)
		return true;
	terms.due_ms = 0;
	return flow_store_into(dp, transaction, ctx, id, &terms, terms.revision);
}

void flow_move_due(struct dp_worker *home, const struct flow *flow, const struct flow_terms *terms,
	void (*done)(void *context, enum status status), void *context)
{
	struct move *move = calloc(1, sizeof(*move));
	if (move == NULL) {
		done(context, STATUS_NO_MEMORY);
		return;
	}
	*move = (struct move){.home = home, .done = done, .context = context};
	memcpy(move->ctx, flow->ctx, sizeof(move->ctx));
	move->flow = text_copy(text_of(flow->id));
	move->transaction = transaction_new();
	int64_t now_ms = worker_wall_ms(home->worker);
	bool is_made = move->flow != NULL && move->transaction != NULL;
	bool is_ready = terms->state == FLOW_PREPARING || terms->state == FLOW_STARTING;
	if (is_made && is_ready)
		move_ready(move, flow, terms, now_ms);
	else if (is_made && finish_into(home->dp, move->transaction, flow, terms, now_ms))
		move_submit(move);
	else
		move_end(move, STATUS_NO_MEMORY);
}

/* --- by the wire */

/* What must be stored, whatever it takes. */
struct notice {
	struct dp *dp;
	struct worker *worker;
	char ctx[ID_LENGTH + 1];
	char *flow, *error; /* error NULL: it has finished */
	struct timer *timer;
};

static void notice_free(struct notice *notice)
{
	timer_free(notice->timer);
	free(notice->flow);
	free(notice->error);
	free(notice);
}

static void on_noticed(void *context, enum status status, int64_t revision)
{
	struct notice *notice = context;
	(void)revision;
	if (status == STATUS_OK)
		notice_free(notice);
	else
		timer_set(notice->timer, RETRY_MS);
}

static void notice_store(void *context)
{
	struct notice *notice = context;
	struct dp *dp = notice->dp;
	struct text ctx = text_of(notice->ctx);
	const struct flow *flow = dp_find(dp, DP_FLOWS, ctx, text_of(notice->flow));
	bool nobody = flow != NULL && notice->error != NULL && flow_control_plane(dp, ctx, terms_of(flow)) == NULL;
	if (flow == NULL || flow_is_final(flow) || nobody || atomic_load_explicit(&dp->is_stopping, memory_order_relaxed)) {
		notice_free(notice);
		return;
	}
	int64_t now_ms = worker_wall_ms(notice->worker);
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL;
	if (is_made && notice->error != NULL)
		is_made =
			outbox_put(dp, transaction, ctx, text_of(notice->flow), LETTER_ERRORED, text_of(notice->error), now_ms);
	else if (is_made)
		is_made = finish_into(dp, transaction, flow, terms_of(flow), now_ms);
	if (is_made) {
		store_submit(dp->store, transaction, notice->worker, on_noticed, notice);
		return;
	}
	transaction_free(transaction);
	timer_set(notice->timer, RETRY_MS);
}

static void notice_new(struct dp *dp, struct text ctx, struct text flow, const struct text *error)
{
	struct notice *notice = calloc(1, sizeof(*notice));
	struct worker *worker = worker_current();
	if (notice != NULL && worker != NULL && ctx.length == ID_LENGTH) {
		notice->dp = dp;
		notice->worker = worker;
		memcpy(notice->ctx, ctx.bytes, ID_LENGTH);
		notice->flow = text_copy(flow);
		if (error != NULL)
			notice->error = text_copy(text_slice(*error, 0, error->length < ERROR_MAX ? error->length : ERROR_MAX));
		notice->timer = timer_new(worker, notice_store, notice);
		if (notice->flow != NULL && notice->timer != NULL && (error == NULL || notice->error != NULL)) {
			notice_store(notice);
			return;
		}
	}
	LOG(ERROR, "flow.notice", log_text("tenant", ctx), log_text("flow", flow),
		log_text("error", TEXT("out of memory")));
	if (notice != NULL)
		notice_free(notice);
}

void flow_finish(struct dp *dp, struct text ctx, struct text flow_id)
{
	notice_new(dp, ctx, flow_id, NULL);
}

void flow_fail(struct dp *dp, struct text ctx, struct text flow_id, struct text error)
{
	notice_new(dp, ctx, flow_id, &error);
}
