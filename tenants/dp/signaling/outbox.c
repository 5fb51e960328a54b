/* The outbox: lanes of flows on one worker. */
#include "tenants/dp/signaling/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/signaling/callback.h"
#include "tenants/dp/signaling/flow_moves.h"

enum { RETRY_MS = 1000, SLACK_MS = 1000 };

struct lane {
	struct outbox *outbox;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct timer *timer;
	struct lane *next, **previous; /* in the outbox's list */
	bool is_busy;                  /* something is under way that will look again */
	enum letter_kind kind;         /* under way, or the last that was */
	int64_t revision;              /* its letter's */
	bool is_acknowledged;          /* it has arrived, the record does not know yet */
	unsigned failures;             /* in a row */
	int64_t next_ms;               /* not before */
	struct callback *callback;
};

struct outbox {
	struct dp_worker *home;
	struct map *lanes; /* (ctx, flow) -> lane; this worker's alone */
	struct lane *first;
};

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
		.until_ms = now_ms + dp->settings.callback_timeout_ms + dp->settings.callback_min_ms + SLACK_MS};
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

static void look(struct lane *lane);

static void on_timer(void *context)
{
	look(context);
}

static struct lane *lane_find(struct outbox *outbox, struct text ctx, struct text flow)
{
	char room[LETTER_ID_MAX];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, flow}, 2);
	return key.length == 0 ? NULL : map_find(outbox->lanes, key);
}

/* lane NULL: removes */
static bool lane_index(struct outbox *outbox, struct text ctx, struct text flow, struct lane *lane)
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

static void lane_free(struct lane *lane)
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

static struct lane *lane_new(struct outbox *outbox, struct text ctx, struct text flow)
{
	struct lane *lane = calloc(1, sizeof(*lane));
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

static void lane_end(struct lane *lane)
{
	if (lane_index(lane->outbox, text_of(lane->ctx), text_of(lane->flow), NULL))
		lane_free(lane);
	/* out of memory: it stays, with nothing to do */
}

static struct letter *lane_letter(const struct lane *lane, enum letter_kind kind)
{
	char room[LETTER_ID_MAX];
	return dp_find(lane->outbox->home->dp, DP_LETTERS, text_of(lane->ctx), letter_id(text_of(lane->flow), kind, room));
}

static int64_t now_of(const struct lane *lane)
{
	return worker_wall_ms(lane->outbox->home->worker);
}

/* --- what is under way */

static int64_t backoff(const struct dp *dp, unsigned failures)
{
	int64_t step = dp->settings.callback_min_ms;
	for (unsigned i = 1; i < failures && step < dp->settings.callback_max_ms; i++)
		step *= 2;
	if (step > dp->settings.callback_max_ms)
		step = dp->settings.callback_max_ms;
	uint32_t random;
	random_bytes(&random, sizeof(random));
	return step / 2 + (int64_t)(random % (uint64_t)(step / 2 + 1)); /* those that failed together come back apart */
}

static void resume(struct lane *lane)
{
	lane->is_busy = false;
	look(lane);
}

/* Later: not to spin when the database is away or another process was faster. */
static void resume_later(struct lane *lane)
{
	lane->is_busy = false;
	timer_set(lane->timer, RETRY_MS);
}

/* What the vault kept for the callback, or for a flow that is over. */
static void forget_secrets(const struct lane *lane)
{
	const struct dp_worker *home = lane->outbox->home;
	const struct flow *flow = dp_find(home->dp, DP_FLOWS, text_of(lane->ctx), text_of(lane->flow));
	if (flow == NULL || flow_is_final(flow))
		flow_forget_secrets(home->dp, home->worker, text_of(lane->ctx), text_of(lane->flow), true);
	else if (lane->kind == LETTER_PREPARED || lane->kind == LETTER_STARTED)
		flow_forget_secrets(home->dp, home->worker, text_of(lane->ctx), text_of(lane->flow), false);
}

static void on_settled(void *context, enum status status, int64_t revision)
{
	struct lane *lane = context;
	(void)revision;
	if (status != STATUS_OK) {
		resume_later(lane);
		return;
	}
	if (!atomic_load_explicit(&lane->outbox->home->dp->is_stopping, memory_order_relaxed))
		forget_secrets(lane);
	resume(lane);
}

static void submit(struct lane *lane, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision))
{
	lane->is_busy = true;
	store_submit(lane->outbox->home->dp->store, transaction, lane->outbox->home->worker, done, lane);
}

/* The letter, and with `completed` the flow, which is over now that the control plane knows. */
static void settle(struct lane *lane, const struct letter *letter)
{
	char room[LETTER_ID_MAX];
	struct dp *dp = lane->outbox->home->dp;
	struct text ctx = text_of(lane->ctx), id = text_of(lane->flow);
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && transaction_delete(transaction, ctx, RECORD_OUTBOX,
											  letter_id(id, letter->kind, room), letter->revision);
	const struct flow *flow = dp_find(dp, DP_FLOWS, ctx, id);
	if (is_made && flow != NULL && letter->kind == LETTER_COMPLETED && lane->is_acknowledged && !flow_is_final(flow))
		is_made = flow_move_into(dp, transaction, flow, FLOW_ON_FINISH, now_of(lane));
	if (is_made) {
		submit(lane, transaction, on_settled);
		return;
	}
	transaction_free(transaction);
	resume_later(lane);
}

static void on_callback(void *context, enum status status, int http)
{
	struct lane *lane = context;
	const struct letter *letter = lane_letter(lane, lane->kind);
	const struct dp *dp = lane->outbox->home->dp;
	lane->callback = NULL;
	lane->is_busy = false;
	if (status == STATUS_OK) {
		dp_count(DP_CALLBACK_SENT);
		lane->failures = 0;
		lane->next_ms = 0;
		lane->is_acknowledged = true;
		look(lane);
		return;
	}
	dp_count(DP_CALLBACK_FAILED);
	lane->failures++;
	lane->next_ms = now_of(lane) + backoff(dp, lane->failures);
	LOG(WARNING, "callback.failed", log_text("tenant", text_of(lane->ctx)), log_text("flow", text_of(lane->flow)),
		log_text("callback", text_of(letter_segment(lane->kind))), log_number("status", http),
		log_text("error", text_of(status_text(status))), log_number("failures", lane->failures),
		log_number("queued_ms", letter == NULL ? 0 : now_of(lane) - letter->queued_ms),
		log_number("again_ms", lane->next_ms - now_of(lane)));
	look(lane);
}

static void lane_send(struct lane *lane, const struct letter *letter)
{
	const struct callback_order order = {.ctx = text_of(lane->ctx), .flow = text_of(lane->flow), .letter = letter};
	lane->is_busy = true;
	lane->kind = letter->kind;
	lane->revision = letter->revision;
	lane->is_acknowledged = false;
	if (callback_start(lane->outbox->home, &order, on_callback, lane, &lane->callback) != STATUS_OK)
		on_callback(lane, STATUS_NO_MEMORY, 0);
}

static void on_claimed(void *context, enum status status, int64_t revision)
{
	struct lane *lane = context;
	(void)revision;
	if (status == STATUS_OK)
		resume(lane); /* it is ours now, for long enough */
	else
		resume_later(lane);
}

/* Ours for this attempt and until the next one is due. */
static void claim(struct lane *lane, const struct letter *letter)
{
	const struct dp *dp = lane->outbox->home->dp;
	struct letter mine = *letter;
	struct transaction *transaction = transaction_new();
	memcpy(mine.owner, dp->process, sizeof(mine.owner));
	int64_t step = dp->settings.callback_min_ms << (lane->failures < 20 ? lane->failures + 1 : 20);
	if (step > dp->settings.callback_max_ms)
		step = dp->settings.callback_max_ms;
	mine.until_ms = now_of(lane) + dp->settings.callback_timeout_ms + step + SLACK_MS;
	mine.attempts = letter->attempts + 1;
	if (transaction != NULL && letter_put(transaction, &mine, letter->revision)) {
		submit(lane, transaction, on_claimed);
		return;
	}
	transaction_free(transaction);
	resume_later(lane);
}

/* --- looking */

static bool is_mine(const struct lane *lane, const struct letter *letter)
{
	return strcmp(letter->owner, lane->outbox->home->dp->process) == 0;
}

/* When it may be tried. */
static int64_t due_of(const struct lane *lane, const struct letter *letter)
{
	return is_mine(lane, letter) || letter->until_ms < lane->next_ms ? lane->next_ms : letter->until_ms;
}

static void attempt(struct lane *lane, const struct letter *letter)
{
	int64_t needed_ms = now_of(lane) + lane->outbox->home->dp->settings.callback_timeout_ms;
	if (is_mine(lane, letter) && letter->until_ms >= needed_ms)
		lane_send(lane, letter);
	else
		claim(lane, letter);
}

/* True: something is under way. Else *next_ms is when to look again. */
static bool look_at_letters(struct lane *lane, const struct flow_terms *terms, int64_t *next_ms)
{
	for (int kind = 0; kind < LETTER_COUNT; kind++) {
		const struct letter *letter = lane_letter(lane, (enum letter_kind)kind);
		if (letter == NULL)
			continue;
		bool is_told =
			lane->is_acknowledged && lane->kind == (enum letter_kind)kind && lane->revision == letter->revision;
		if (terms == NULL || is_told || letter_ends(letter->kind, terms->state)) {
			settle(lane, letter);
			return true;
		}
		if (!letter_goes(letter->kind, terms->state))
			continue; /* the flow's next change wakes us */
		int64_t due_ms = due_of(lane, letter);
		if (due_ms <= now_of(lane)) {
			attempt(lane, letter);
			return true;
		}
		*next_ms = due_ms < *next_ms ? due_ms : *next_ms;
		return false; /* those behind it wait for it */
	}
	return false;
}

static bool has_letters(const struct lane *lane)
{
	for (int kind = 0; kind < LETTER_COUNT; kind++) {
		if (lane_letter(lane, (enum letter_kind)kind) != NULL)
			return true;
	}
	return false;
}

static void on_moved(void *context, enum status status)
{
	if (status == STATUS_OK)
		resume(context);
	else
		resume_later(context);
}

static void look(struct lane *lane)
{
	struct dp_worker *home = lane->outbox->home;
	const struct flow *flow = dp_find(home->dp, DP_FLOWS, text_of(lane->ctx), text_of(lane->flow));
	const struct flow_terms *terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	int64_t next_ms = INT64_MAX, now_ms = now_of(lane);
	if (lane->is_busy || atomic_load_explicit(&home->dp->is_stopping, memory_order_relaxed))
		return;
	timer_cancel(lane->timer);
	if (look_at_letters(lane, terms, &next_ms))
		return;
	if (terms != NULL && terms->due_ms != 0) {
		if (terms->due_ms <= now_ms) {
			lane->is_busy = true;
			flow_move_due(home, flow, terms, on_moved, lane);
			return;
		}
		next_ms = terms->due_ms < next_ms ? terms->due_ms : next_ms;
	}
	if (next_ms != INT64_MAX)
		timer_set(lane->timer, (uint64_t)(next_ms - now_ms));
	else if (!has_letters(lane))
		lane_end(lane);
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
	struct lane *lane = lane_find(outbox, ctx, flow);
	if (lane == NULL)
		lane = lane_new(outbox, ctx, flow);
	if (lane != NULL)
		look(lane);
	else
		LOG(ERROR, "outbox.lane", log_text("tenant", ctx), log_text("flow", flow),
			log_text("error", TEXT("out of memory")));
}

static void wake_ctx(struct outbox *outbox, const char *ctx)
{
	for (struct lane *lane = outbox->first, *next; lane != NULL; lane = next) {
		next = lane->next;
		if (strcmp(lane->ctx, ctx) != 0)
			continue;
		lane->failures = 0;
		lane->next_ms = 0;
		look(lane);
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
	for (struct lane *lane = outbox->first, *next; lane != NULL; lane = next) {
		next = lane->next;
		lane->previous = NULL; /* all go: nothing to take it out of */
		lane_free(lane);
	}
	map_free(outbox->lanes);
	free(outbox);
}
