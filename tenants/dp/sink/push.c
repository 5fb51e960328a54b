/* The push engine: whose turn it is, pauses between attempts, and the end. */
#include "tenants/dp/sink/push.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/sink/push_private.h"
#include "tenants/dp/source/source_external.h"

enum { CHECK_MS = 1000, PAUSE_MAX_MS = 30000 };

enum command_kind { COMMAND_START, COMMAND_STOP, COMMAND_END, COMMAND_GONE };
struct command {
	struct task task;
	enum command_kind kind;
	struct push *push; /* a reference */
	struct flow *flow;
	int64_t changed_ms;
};

void push_ref(struct push *push)
{
	atomic_fetch_add_explicit(&push->references, 1, memory_order_relaxed);
}

void push_unref(struct push *push)
{
	if (push == NULL || atomic_fetch_sub_explicit(&push->references, 1, memory_order_acq_rel) != 1)
		return;
	free(push->id);
	free(push);
}

/* --- the worker's list: what stands in it lives by its flow, which is retired behind COMMAND_GONE */

static void enlist(struct push *push, struct dp_worker *home)
{
	push->home = home;
	push->timer = NULL;
	push->next = home->pushes;
	push->previous = &home->pushes;
	if (home->pushes != NULL)
		home->pushes->previous = &push->next;
	home->pushes = push;
}

static void delist(struct push *push)
{
	*push->previous = push->next;
	if (push->next != NULL)
		push->next->previous = push->previous;
	timer_free(push->timer);
	push->timer = NULL;
	push->home = NULL;
}

/* --- whose turn */

static void rest(struct push *push, uint64_t pause_ms)
{
	push->phase = PUSH_RESTING;
	timer_set(push->timer, pause_ms);
}

/* Doubles with each failure; a quarter of it is chance, so that many pushes to one receiver do not come at once. */
static uint64_t pause_of(const struct push *push)
{
	uint64_t pause = (uint64_t)push->dp->settings.push_pause_ms;
	uint16_t chance;
	for (unsigned i = 1; i < push->failures && pause < PAUSE_MAX_MS; i++)
		pause *= 2;
	if (pause > PAUSE_MAX_MS)
		pause = PAUSE_MAX_MS;
	random_bytes(&chance, sizeof(chance));
	return pause - pause / 4 * chance / UINT16_MAX;
}

static bool may_send(const struct push *push, uint64_t *wait_ms)
{
	const struct flow_terms *terms = atomic_load_explicit(&push->flow->terms, memory_order_acquire);
	int64_t now_ms = worker_wall_ms(push->home->worker);
	const struct dataset *dataset = dp_find(push->dp, DP_DATASETS, text_of(push->ctx), text_of(terms->dataset));
	*wait_ms = 0;
	if (atomic_load_explicit(&push->dp->is_stopping, memory_order_relaxed))
		return false;
	if (dataset_external(dataset) != NULL) /* somebody else sends */
		return false;
	if (!dp_serves(registry_find(push->dp->registry, text_of(push->ctx))))
		return false;
	if (terms->state == FLOW_STARTED && now_ms < terms->not_before_ms)
		*wait_ms = (uint64_t)(terms->not_before_ms - now_ms);
	return flow_terms_admit(terms, now_ms);
}

static void begin(struct push *push)
{
	uint64_t wait_ms;
	if (push->progress.is_done) { /* the end was not heard of yet */
		push->phase = PUSH_OVER;
		flow_finish(push->dp, text_of(push->ctx), text_of(push->id));
		return;
	}
	if (!may_send(push, &wait_ms)) {
		push->phase = PUSH_IDLE;
		if (wait_ms > 0)
			rest(push, wait_ms < PAUSE_MAX_MS ? wait_ms : PAUSE_MAX_MS);
		return;
	}
	push->phase = PUSH_RUNNING;
	push->attempt = push_attempt_start(push);
	if (push->attempt == NULL)
		rest(push, PAUSE_MAX_MS);
	else
		timer_set(push->timer, CHECK_MS);
}

/* Begins what waits in its tenant's queue: the list has the latest first. */
static void schedule(struct dp_worker *home, const char *ctx)
{
	for (;;) {
		unsigned running = 0;
		struct push *first = NULL;
		for (struct push *push = home->pushes; push != NULL; push = push->next) {
			if (strcmp(push->ctx, ctx) != 0)
				continue;
			running += push->phase == PUSH_RUNNING;
			if (push->phase == PUSH_QUEUED)
				first = push;
		}
		if (first == NULL || running >= home->dp->settings.pushes)
			return;
		begin(first);
	}
}

static void on_timer(void *context)
{
	struct push *push = context;
	if (push->phase == PUSH_RUNNING) {
		timer_set(push->timer, CHECK_MS);
		push_attempt_check(push->attempt);
	} else if (push->phase == PUSH_RESTING) {
		push->phase = PUSH_QUEUED;
		schedule(push->home, push->ctx);
	}
}

static void give_up(struct push *push, const char *error)
{
	push->phase = PUSH_OVER;
	dp_count(DP_PUSH_FAILED);
	LOG(WARNING, "push.failed", log_text("tenant", text_of(push->ctx)), log_text("flow", text_of(push->id)),
		log_number("offset", push->progress.offset), log_text("error", text_of(error)));
	flow_fail(push->dp, text_of(push->ctx), text_of(push->id), text_of(error));
}

void push_attempt_ended(struct push *push, enum attempt_end end, const char *error)
{
	push->attempt = NULL;
	timer_cancel(push->timer);
	uint64_t wait_ms;
	if (end == ATTEMPT_STOPPED && may_send(push, &wait_ms)) { /* neither the state nor the clock: the contract */
		end = ATTEMPT_FAILED;
		error = "stopped by the contract";
	}
	switch (end) {
	case ATTEMPT_DONE:
		push->phase = PUSH_OVER;
		push->progress.is_done = true;
		dp_count(DP_PUSH_OK);
		LOG(INFO, "push.done", log_text("tenant", text_of(push->ctx)), log_text("flow", text_of(push->id)));
		flow_finish(push->dp, text_of(push->ctx), text_of(push->id));
		push->is_dirty = true;
		break;
	case ATTEMPT_AGAIN:
		push->failures++;
		dp_count(DP_PUSH_RETRIED);
		LOG(INFO, "push.again", log_text("tenant", text_of(push->ctx)), log_text("flow", text_of(push->id)),
			log_number("offset", push->progress.offset), log_number("failures", push->failures),
			log_text("error", text_of(error)));
		if (push->failures > push->dp->settings.push_retries)
			give_up(push, error);
		else
			rest(push, pause_of(push));
		break;
	case ATTEMPT_FAILED:
		give_up(push, error);
		break;
	case ATTEMPT_STOPPED:
		push->phase = PUSH_IDLE;
		break;
	}
	if (push->is_dirty)
		push_progress_save(push);
	schedule(push->home, push->ctx);
}

/* --- commands */

static void start(struct push *push, int64_t changed_ms)
{
	bool is_new = push->started_ms != changed_ms;
	if (push->phase != PUSH_IDLE && !(push->phase == PUSH_OVER && is_new))
		return;
	push->started_ms = changed_ms;
	push->failures = 0;
	push->phase = PUSH_QUEUED;
	schedule(push->home, push->ctx);
}

static void stop(struct push *push)
{
	struct push_attempt *attempt = push->attempt;
	push->attempt = NULL;
	push->phase = PUSH_IDLE;
	timer_cancel(push->timer);
	if (attempt != NULL)
		push_attempt_stop(attempt);
	if (push->is_dirty)
		push_progress_save(push);
}

static void obey(struct push *push, const struct command *command)
{
	struct dp_worker *home = push->home;
	char ctx[ID_LENGTH + 1];
	memcpy(ctx, push->ctx, sizeof(ctx));
	switch (command->kind) {
	case COMMAND_START:
		push->flow = command->flow;
		start(push, command->changed_ms);
		return;
	case COMMAND_STOP:
		stop(push);
		break;
	case COMMAND_END:
		stop(push);
		push_progress_forget(push);
		break;
	case COMMAND_GONE:
		stop(push);
		push_progress_forget(push);
		push->flow = NULL;
		delist(push);
		break;
	}
	schedule(home, ctx);
}

static void run_command(struct task *task)
{
	struct command *command = (struct command *)task;
	struct push *push = command->push;
	struct dp_worker *home = dp_here(push->dp, worker_pool_at(push->dp->pool, push->index));
	if (home != NULL) {
		if (push->home == NULL)
			enlist(push, home);
		if (push->timer == NULL)
			push->timer = timer_new(home->worker, on_timer, push);
		if (push->timer != NULL)
			obey(push, command);
	}
	push_unref(push);
	free(command);
}

static void post(struct dp *dp, struct flow *flow, enum command_kind kind, int64_t changed_ms)
{
	struct command *command = malloc(sizeof(*command));
	if (command == NULL) { /* as for cuts: the contract's end outranks this process */
		LOG(ERROR, "push.command", log_text("error", TEXT("out of memory")));
		abort();
	}
	*command = (struct command){
		.task.run = run_command, .kind = kind, .push = flow->push, .flow = flow, .changed_ms = changed_ms};
	push_ref(flow->push);
	worker_post(worker_pool_at(dp->pool, flow->push->index), &command->task);
}

static struct push *push_new(struct dp *dp, const struct flow *flow)
{
	struct push *push = calloc(1, sizeof(*push));
	if (push == NULL || (push->id = text_copy(text_of(flow->id))) == NULL) {
		free(push);
		return NULL;
	}
	atomic_init(&push->references, 1);
	push->dp = dp;
	push->index = (unsigned)(text_hash(text_of(flow->ctx)) % dp->workers);
	memcpy(push->ctx, flow->ctx, sizeof(push->ctx));
	return push;
}

void pushes_flow_changed(struct dp *dp, struct flow *flow, const struct flow_terms *terms)
{
	if (terms->role != FLOW_PROVIDER || !flow_terms_is_push(terms)) {
		if (flow->push != NULL)
			post(dp, flow, COMMAND_END, 0);
		return;
	}
	if (flow->push == NULL)
		flow->push = push_new(dp, flow);
	if (flow->push == NULL)
		LOG(ERROR, "push.new", log_text("flow", text_of(flow->id)), log_text("error", TEXT("out of memory")));
	else if (terms->state == FLOW_STARTED)
		post(dp, flow, COMMAND_START, terms->changed_ms);
	else
		post(dp, flow, terms->state == FLOW_COMPLETED || terms->state == FLOW_TERMINATED ? COMMAND_END : COMMAND_STOP,
			0);
}

void pushes_flow_held(struct dp *dp, struct flow *flow)
{
	if (flow->push != NULL)
		post(dp, flow, COMMAND_STOP, 0);
}

void pushes_flow_gone(struct dp *dp, struct flow *flow)
{
	if (flow->push != NULL)
		post(dp, flow, COMMAND_GONE, 0);
}

void pushes_load_progress(struct flow *flow, const struct json *body)
{
	if (flow->push != NULL)
		flow->push->has_record = push_progress_read(body, &flow->push->progress);
}

void pushes_close_worker(struct dp_worker *home)
{
	struct push *next;
	for (struct push *push = home->pushes; push != NULL; push = next) {
		next = push->next;
		struct push_attempt *attempt = push->attempt;
		push->attempt = NULL;
		if (attempt != NULL)
			push_attempt_stop(attempt);
		push->phase = PUSH_IDLE;
		delist(push);
	}
}
