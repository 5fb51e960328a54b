/* One flow's lane: its letters in their order, and what the clock does to it. */
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/signaling/outbox_private.h"

enum { RETRY_MS = 1000 };

static struct letter *lane_letter(const struct outbox_lane *lane, enum letter_kind kind)
{
	char room[LETTER_ID_MAX];
	return dp_find(lane->outbox->home->dp, DP_LETTERS, text_of(lane->ctx), letter_id(text_of(lane->flow), kind, room));
}

static int64_t now_of(const struct outbox_lane *lane)
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

static void resume(struct outbox_lane *lane)
{
	lane->is_busy = false;
	outbox_lane_look(lane);
}

/* Later: not to spin when the database is away or another process was faster. */
static void resume_later(struct outbox_lane *lane)
{
	lane->is_busy = false;
	timer_set(lane->timer, RETRY_MS);
}

/* What the vault kept for the callback, or for a flow that is over. */
static void forget_secrets(const struct outbox_lane *lane)
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
	struct outbox_lane *lane = context;
	(void)revision;
	if (status != STATUS_OK) {
		resume_later(lane);
		return;
	}
	if (!atomic_load_explicit(&lane->outbox->home->dp->is_stopping, memory_order_relaxed))
		forget_secrets(lane);
	resume(lane);
}

static void submit(struct outbox_lane *lane, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision))
{
	lane->is_busy = true;
	store_submit(lane->outbox->home->dp->store, transaction, lane->outbox->home->worker, done, lane);
}

/* The letter, and with `completed` the flow, which is over now that the control plane knows. */
static void settle(struct outbox_lane *lane, const struct letter *letter)
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
	struct outbox_lane *lane = context;
	const struct letter *letter = lane_letter(lane, lane->kind);
	const struct dp *dp = lane->outbox->home->dp;
	lane->callback = NULL;
	lane->is_busy = false;
	if (status == STATUS_OK) {
		dp_count(DP_CALLBACK_SENT);
		lane->failures = 0;
		lane->next_ms = 0;
		lane->is_acknowledged = true;
		outbox_lane_look(lane);
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
	outbox_lane_look(lane);
}

static void lane_send(struct outbox_lane *lane, const struct letter *letter)
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
	struct outbox_lane *lane = context;
	(void)revision;
	if (status == STATUS_OK)
		resume(lane); /* it is ours now, for long enough */
	else
		resume_later(lane);
}

/* Ours for this attempt and until the next one is due. */
static void claim(struct outbox_lane *lane, const struct letter *letter)
{
	const struct dp *dp = lane->outbox->home->dp;
	struct letter mine = *letter;
	struct transaction *transaction = transaction_new();
	memcpy(mine.owner, dp->process, sizeof(mine.owner));
	int64_t step = dp->settings.callback_min_ms << (lane->failures < 20 ? lane->failures + 1 : 20);
	if (step > dp->settings.callback_max_ms)
		step = dp->settings.callback_max_ms;
	mine.until_ms = now_of(lane) + dp->settings.callback_timeout_ms + step + OUTBOX_SLACK_MS;
	mine.attempts = letter->attempts + 1;
	if (transaction != NULL && letter_put(transaction, &mine, letter->revision)) {
		submit(lane, transaction, on_claimed);
		return;
	}
	transaction_free(transaction);
	resume_later(lane);
}

/* --- looking */

static bool is_mine(const struct outbox_lane *lane, const struct letter *letter)
{
	return strcmp(letter->owner, lane->outbox->home->dp->process) == 0;
}

/* When it may be tried. */
static int64_t due_of(const struct outbox_lane *lane, const struct letter *letter)
{
	return is_mine(lane, letter) || letter->until_ms < lane->next_ms ? lane->next_ms : letter->until_ms;
}

static void attempt(struct outbox_lane *lane, const struct letter *letter)
{
	int64_t needed_ms = now_of(lane) + lane->outbox->home->dp->settings.callback_timeout_ms;
	if (is_mine(lane, letter) && letter->until_ms >= needed_ms)
		lane_send(lane, letter);
	else
		claim(lane, letter);
}

/* True: something is under way. Else *next_ms is when to look again. */
static bool look_at_letters(struct outbox_lane *lane, const struct flow_terms *terms, int64_t *next_ms)
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

static bool has_letters(const struct outbox_lane *lane)
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

void outbox_lane_look(struct outbox_lane *lane)
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
		outbox_lane_end(lane);
}
