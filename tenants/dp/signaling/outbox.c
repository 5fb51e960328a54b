/* The outbox: its letters, and lanes of flows on one worker. */
#include "tenants/dp/signaling/outbox_private.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/worker_pool.h"

bool outbox_has(const struct dp *dp, struct text ctx, struct text flow, enum letter_kind kind)
{
	char room[LETTER_ID_MAX];
	return dp_find(dp, DP_LETTERS, ctx, letter_id(flow, kind, room)) != NULL;
}

bool outbox_put(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text flow,
	enum letter_kind kind, struct text error, int64_t now_ms)
{
	struct letter letter = {.kind = kind,
		.queued_ms = now_ms,
		.until_ms = now_ms + dp->settings.callback_timeout_ms + dp->settings.callback_min_ms + OUTBOX_SLACK_MS};
	memcpy(letter.ctx, ctx.bytes, ctx.length < ID_LENGTH ? ctx.length : ID_LENGTH);
	memcpy(letter.owner, dp->process, sizeof(letter.owner));
	id_random(letter.message);
	letter.flow = text_copy(flow);
	letter.error = error.bytes == NULL ? NULL : text_copy(error);
	bool is_put = letter.flow != NULL && (error.bytes == NULL || letter.error != NULL) &&
				  letter_put(transaction, &letter, kind == LETTER_ERRORED ? REVISION_ANY : REVISION_ABSENT);
	free(letter.flow);
	free(letter.error);
	return is_put;
}

/* --- lanes */

static void on_timer(void *context)
{
	outbox_lane_look(context);
}

static struct outbox_lane *lane_find(struct outbox *outbox, struct text ctx, struct text flow)
{
	char room[LETTER_ID_MAX];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2);
	return key.length == 0 ? NULL : map_find(outbox->lanes, key);
}

/* lane NULL: removes */
static bool lane_index(struct outbox *outbox, struct text ctx, struct text flow, struct outbox_lane *lane)
{
	char room[LETTER_ID_MAX];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2);
	struct map *old = outbox->lanes, *next = old;
	if (key.length == 0 || (lane != NULL ? map_put(old, key, lane, &next) : map_remove(old, key, &next)) != STATUS_OK)
		return false;
	outbox->lanes = next;
	if (next != old)
		map_retire(old); /* nobody else reads it */
	return true;
}

static void lane_free(struct outbox_lane *lane)
{
	if (lane->previous != NULL) {
		*lane->previous = lane->next;
		if (lane->next != NULL)
			lane->next->previous = lane->previous;
	}
	callback_cancel(lane->callback);
	timer_free(lane->timer);
	free(lane->flow);
	free(lane);
}

static struct outbox_lane *lane_new(struct outbox *outbox, struct text ctx, struct text flow)
{
	struct outbox_lane *lane = calloc(1, sizeof(*lane));
	if (lane == NULL)
		return NULL;
	lane->outbox = outbox;
	memcpy(lane->ctx, ctx.bytes, ctx.length < ID_LENGTH ? ctx.length : ID_LENGTH);
	lane->flow = text_copy(flow);
	lane->timer = timer_new(outbox->home->worker, on_timer, lane);
	if (lane->flow == NULL || lane->timer == NULL || !lane_index(outbox, ctx, flow, lane)) {
		lane_free(lane);
		return NULL;
	}
	lane->next = outbox->first;
	lane->previous = &outbox->first;
	if (lane->next != NULL)
		lane->next->previous = &lane->next;
	outbox->first = lane;
	return lane;
}

void outbox_lane_end(struct outbox_lane *lane)
{
	if (lane_index(lane->outbox, text_of(lane->ctx), text_of(lane->flow), NULL))
		lane_free(lane);
	/* out of memory: it stays, with nothing to do */
}

/* --- waking */

struct wake {
	struct task task; /* first */
	struct dp *dp;
	struct text flow; /* TEXT_NONE: all of the ctx */
	char ctx[ID_LENGTH + 1];
	char bytes[];
};

static void wake_lane(struct outbox *outbox, struct text ctx, struct text flow)
{
	struct outbox_lane *lane = lane_find(outbox, ctx, flow);
	if (lane == NULL)
		lane = lane_new(outbox, ctx, flow);
	if (lane != NULL)
		outbox_lane_look(lane);
	else
		LOG(ERROR, "outbox.lane", log_text("tenant", ctx), log_text("flow", flow),
			log_text("error", TEXT("out of memory")));
}

static void wake_ctx(struct outbox *outbox, const char *ctx)
{
	for (struct outbox_lane *lane = outbox->first, *next; lane != NULL; lane = next) {
		next = lane->next;
		if (strcmp(lane->ctx, ctx) != 0)
			continue;
		lane->failures = 0;
		lane->next_ms = 0;
		outbox_lane_look(lane);
	}
}

static void on_wake(struct task *task)
{
	struct wake *wake = (struct wake *)task;
	struct dp_worker *home = dp_here(wake->dp, worker_pool_at(wake->dp->pool, 0));
	if (home != NULL && home->outbox != NULL) {
		if (wake->flow.bytes == NULL)
			wake_ctx(home->outbox, wake->ctx);
		else
			wake_lane(home->outbox, text_of(wake->ctx), wake->flow);
	}
	free(wake);
}

static void post(struct dp *dp, struct text ctx, struct text flow)
{
	if (dp->loading || ctx.length != ID_LENGTH)
		return; /* outbox_new takes up what is there */
	struct wake *wake = calloc(1, sizeof(*wake) + flow.length + 1);
	if (wake == NULL) {
		LOG(ERROR, "outbox.wake", log_text("tenant", ctx), log_text("error", TEXT("out of memory")));
		return;
	}
	wake->task.run = on_wake;
	wake->dp = dp;
	memcpy(wake->ctx, ctx.bytes, ID_LENGTH);
	if (flow.bytes != NULL) {
		memcpy(wake->bytes, flow.bytes, flow.length);
		wake->flow = (struct text){wake->bytes, flow.length};
	}
	worker_post(worker_pool_at(dp->pool, 0), &wake->task);
}

void outbox_wake(struct dp *dp, struct text ctx, struct text flow)
{
	post(dp, ctx, flow);
}

void outbox_wake_all(struct dp *dp, struct text ctx)
{
	post(dp, ctx, TEXT_NONE);
}

/* --- opening */

static bool take_letter(void *context, struct text key, void *value)
{
	const struct letter *letter = value;
	(void)key;
	wake_lane(context, text_of(letter->ctx), text_of(letter->flow));
	return true;
}

static bool take_flow(void *context, struct text key, void *value)
{
	const struct flow *flow = value;
	(void)key;
	if (atomic_load_explicit(&flow->terms, memory_order_acquire)->due_ms != 0)
		wake_lane(context, text_of(flow->ctx), text_of(flow->id));
	return true;
}

struct outbox *outbox_new(struct dp_worker *home)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));
	if (outbox == NULL || (outbox->lanes = map_new()) == NULL) {
		free(outbox);
		return NULL;
	}
	outbox->home = home;
	home->outbox = outbox;
	map_each(atomic_load_explicit(&home->dp->maps[DP_LETTERS], memory_order_acquire), take_letter, outbox);
	map_each(atomic_load_explicit(&home->dp->maps[DP_FLOWS], memory_order_acquire), take_flow, outbox);
	return outbox;
}

void outbox_free(struct outbox *outbox)
{
	if (outbox == NULL)
		return;
	for (struct outbox_lane *lane = outbox->first, *next; lane != NULL; lane = next) {
		next = lane->next;
		lane->previous = NULL; /* all go: nothing to take it out of */
		lane_free(lane);
	}
	map_free(outbox->lanes);
	free(outbox);
}
