/* One run of an activity, from its message to its answer. */
#include "control/orchestration/executor_private.h"

#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/log.h"

enum {
	CLASH_MS = 4, /* the first pause after a lost compare-and-set */
	CLASH_MAX_MS = 1000,
	CLASHES_MAX = 100,
};

/* --- life of a run */

static void activity_free(struct activity *activity)
{
	json_free(activity->message.root);
	orchestration_free(&activity->orchestration);
	timer_free(activity->timer);
	timer_free(activity->beat);
	json_free(activity->values);
	json_free(activity->outputs);
	buffer_free(&activity->copy);
	free(activity->reply);
	free(activity->traceparent);
	free(activity->detail);
	free(activity);
}

void activity_end(struct activity *activity)
{
	struct executor *executor = activity->executor;
	activity->is_ended = true;
	if (activity->is_busy || activity->is_running || activity->awaited > 0)
		return;
	struct activity **at = &executor->activities;
	while (*at != activity)
		at = &(*at)->next;
	*at = activity->next;
	activity_free(activity);
	executor_leave(executor);
}

void activity_answer(struct activity *activity, enum bus_verdict verdict, uint64_t delay_ms)
{
	if (!activity->executor->is_closed)
		(void)bus_answer(activity->executor->bus, text_of(activity->reply), verdict, delay_ms);
	activity_end(activity);
}

static uint64_t jittered(uint64_t ms)
{
	uint32_t random;
	random_bytes(&random, sizeof(random));
	return ms - ms / 5 + (ms * 2 / 5) * (random % 1024) / 1024;
}

/* The pause before try number `count` (1, 2, ...). */
static uint64_t growing(uint64_t first_ms, uint64_t max_ms, uint64_t count)
{
	uint64_t ms = first_ms;
	for (uint64_t i = 1; i < count && ms < max_ms; i++)
		ms *= 2;
	return jittered(ms < max_ms ? ms : max_ms);
}

void activity_again(struct activity *activity, uint64_t count)
{
	const struct executor_settings *settings = &activity->executor->settings;
	activity_answer(activity, BUS_NAK, growing(settings->retry_ms, settings->retry_max_ms, count));
}

/* --- poison */

static void on_parked(void *ticket, bool is_kept)
{
	struct activity *activity = ticket;
	activity->awaited--;
	if (is_kept)
		activity_answer(activity, BUS_ACK, 0);
	else
		activity_again(activity, activity->delivery.deliveries);
}

void activity_park(struct activity *activity, const char *why)
{
	struct executor *executor = activity->executor;
	struct text copy = buffer_text(&activity->copy);
	size_t subject = strlen(copy.bytes), headers = strlen(copy.bytes + subject + 1);
	struct bus_message message = {.subject = text_slice(copy, 0, subject),
		.headers = text_slice(copy, subject + 1, subject + 1 + headers),
		.body = text_slice(copy, subject + headers + 2, copy.length)};
	LOG(WARNING, "activity.parked", log_text("type", buffer_text(&executor->type)), log_text("why", text_of(why)));
	activity->awaited++;
	executor->processor.park(executor->processor.context, &message, why, on_parked, activity);
}

/* --- stages */

static void run(struct activity *activity);

static void end_written(struct activity *activity)
{
	const struct json *note = orchestration_note(&activity->orchestration, activity->message.id);
	switch (activity->outcome) {
	case ACTIVITY_COMPLETE:
		activity_settle(activity);
		break;
	case ACTIVITY_SCHEDULE:
		activity_answer(activity, BUS_NAK, activity->delay_ms);
		break;
	case ACTIVITY_RETRY:
		if (activity->delay_ms > 0)
			activity_answer(activity, BUS_NAK, activity->delay_ms);
		else
			activity_again(activity, (uint64_t)activity_note_number(note, "failures"));
		break;
	case ACTIVITY_FATAL:
		activity_tell_response(activity);
		break;
	}
}

static void written(struct activity *activity)
{
	if (activity->stage == STAGE_END)
		end_written(activity);
	else if (activity->orchestration.state == ORCHESTRATION_ERRORED)
		activity_answer(activity, BUS_ACK, 0); /* skipped */
	else
		run(activity);
}

/* --- reading and writing */

static void on_clash_over(void *context)
{
	activity_read(context);
}

/* Another was faster, or the bus has failed: again, a few times at once, then as a new delivery. */
static void activity_clash(struct activity *activity)
{
	if (++activity->clashes > CLASHES_MAX) {
		activity_again(activity, activity->delivery.deliveries);
		return;
	}
	timer_set(activity->timer, growing(CLASH_MS, CLASH_MAX_MS, activity->clashes));
}

/* What the bus's answers have in common: true when the run goes on. */
static bool is_going_on(struct activity *activity)
{
	activity->is_busy = false;
	if (activity->executor->is_closed || activity->is_ended) {
		activity_end(activity);
		return false;
	}
	return true;
}

static void on_put(void *context, enum status status, uint64_t revision)
{
	struct activity *activity = context;
	(void)revision;
	if (!is_going_on(activity))
		return;
	if (status == STATUS_OK)
		written(activity);
	else if (status == STATUS_CONFLICT || status == STATUS_TIMEOUT)
		activity_clash(activity); /* after a TIMEOUT it may be written or not: reading says which */
	else
		activity_again(activity, activity->delivery.deliveries);
}

static void activity_write(struct activity *activity)
{
	struct buffer value = {0};
	orchestration_print(&activity->orchestration, &value);
	if (value.failed || value.length > ORCHESTRATION_BYTES_MAX) {
		bool is_large = !value.failed;
		buffer_free(&value);
		if (is_large && activity->outcome != ACTIVITY_FATAL) { /* what was given does not fit: it cannot be kept */
			json_free(activity->values);
			json_free(activity->outputs);
			activity->values = activity->outputs = NULL;
			activity_end_with(activity, ACTIVITY_FATAL, "the orchestration's data would be larger than a message");
			activity_read(activity);
		} else {
			activity_again(activity, activity->delivery.deliveries);
		}
		return;
	}
	activity->is_busy = true;
	bus_bucket_put(activity->executor->bus, buffer_text(&activity->executor->bucket), activity->orchestration.id,
		buffer_text(&value), (int64_t)activity->revision, on_put, activity);
	buffer_free(&value);
}

/* What is read decides before any stage does. True: the stage's turn. */
static bool is_stage_due(struct activity *activity)
{
	const struct orchestration *orchestration = &activity->orchestration;
	struct text id = activity->message.id;
	if (orchestration_step_of(orchestration, id) == SIZE_MAX) {
		activity_park(activity, "the orchestration has no such activity");
		return false;
	}
	if (orchestration_is_completed(orchestration, id)) {
		activity_settle(activity);
		return false;
	}
	if (activity->stage == STAGE_END)
		return true;
	if (orchestration->state == ORCHESTRATION_COMPLETED) {
		activity_answer(activity, BUS_ACK, 0);
		return false;
	}
	if (orchestration->state == ORCHESTRATION_ERRORED) {
		const struct json *note = orchestration_note(orchestration, id);
		if (json_member(note, "failed") != NULL)
			activity_tell_response(activity); /* our process died before it could */
		else if (json_member(note, "skipped") != NULL)
			activity_answer(activity, BUS_ACK, 0);
		else
			return true;
		return false;
	}
	return true;
}

static void on_read(void *context, enum status status, struct text value, uint64_t revision)
{
	struct activity *activity = context;
	struct buffer error = {0};
	if (!is_going_on(activity))
		return;
	if (status == STATUS_NOT_FOUND && activity->delivery.deliveries > activity->executor->settings.failures_max) {
		activity_park(activity, "there is no such orchestration");
		return;
	}
	if (status != STATUS_OK) { /* the provision manager writes again what a broker has lost */
		activity_again(activity, activity->delivery.deliveries);
		return;
	}
	orchestration_free(&activity->orchestration);
	activity->revision = revision;
	status = orchestration_parse(value, &activity->orchestration, &error);
	if (status == STATUS_NO_MEMORY)
		activity_again(activity, activity->delivery.deliveries);
	else if (status != STATUS_OK)
		activity_park(activity, error.failed ? "the orchestration is unreadable" : error.bytes);
	else if (is_stage_due(activity)) {
		if (activity->stage == STAGE_BEGIN ? activity_note_begin(activity) : activity_note_end(activity))
			activity_write(activity);
		else
			activity_again(activity, activity->delivery.deliveries); /* out of memory */
	}
	buffer_free(&error);
}

void activity_read(struct activity *activity)
{
	activity->is_busy = true;
	bus_bucket_get(activity->executor->bus, buffer_text(&activity->executor->bucket),
		activity->message.orchestration_id, on_read, activity);
}

/* --- the processor's turn */

static void on_beat(void *context)
{
	struct activity *activity = context;
	struct executor *executor = activity->executor;
	uint64_t run = worker_now_ms(executor->worker) - activity->began_ms;
	if (run < executor->settings.run_ms) {
		(void)bus_answer(executor->bus, text_of(activity->reply), BUS_PROGRESS, 0);
		uint64_t left = executor->settings.run_ms - run;
		timer_set(activity->beat, left < executor->settings.beat_ms ? left : executor->settings.beat_ms);
		return;
	}
	activity->is_late = true;
	activity_end_with(activity, ACTIVITY_RETRY, "the run took too long");
	if (executor->processor.abandon != NULL)
		executor->processor.abandon(executor->processor.context, activity);
	/* the processor may be stuck: what the run's end writes does not wait for it */
	activity->clashes = 0;
	activity_read(activity);
}

static void run(struct activity *activity)
{
	struct executor *executor = activity->executor;
	activity->stage = STAGE_RUN;
	activity->clashes = 0;
	activity->is_running = true;
	activity->began_ms = worker_now_ms(executor->worker);
	timer_set(activity->beat, executor->settings.beat_ms < executor->settings.run_ms ? executor->settings.beat_ms
																					 : executor->settings.run_ms);
	executor->processor.run(executor->processor.context, activity);
}

void activity_finish(struct activity *activity, enum activity_outcome outcome, uint64_t delay_ms, const char *detail)
{
	activity->is_running = false;
	if (activity->is_ended || activity->executor->is_closed) {
		activity_end(activity);
		return;
	}
	if (activity->is_late)
		return; /* its end is being written, or will be when it comes again */
	timer_cancel(activity->beat);
	activity->delay_ms = delay_ms;
	activity_end_with(activity, outcome, detail != NULL ? detail : "");
	activity_read(activity);
}

/* --- from a message */

static bool copy_message(struct activity *activity, const struct bus_message *message)
{
	struct buffer *copy = &activity->copy;
	const struct text parts[] = {message->subject, message->headers, message->body};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		buffer_append(copy, parts[i]);
		if (i < 2)
			buffer_append_byte(copy, 0);
	}
	struct text traceparent = bus_message_header(message, TEXT("traceparent"));
	if (traceparent.bytes != NULL)
		activity->traceparent = text_copy(traceparent);
	activity->reply = text_copy(message->reply);
	return !copy->failed && activity->reply != NULL && (traceparent.bytes == NULL || activity->traceparent != NULL);
}

struct activity *activity_new(struct executor *executor, const struct bus_message *message)
{
	struct activity *activity = calloc(1, sizeof(*activity));
	if (activity == NULL)
		return NULL;
	activity->executor = executor;
	activity->timer = timer_new(executor->worker, on_clash_over, activity);
	activity->beat = timer_new(executor->worker, on_beat, activity);
	activity->values = json_object_new();
	activity->outputs = json_object_new();
	if (bus_delivery_parse(message->reply, &activity->delivery) != STATUS_OK)
		activity->delivery.deliveries = 1;
	if (activity->timer != NULL && activity->beat != NULL && activity->values != NULL && activity->outputs != NULL &&
		copy_message(activity, message))
		return activity;
	activity_free(activity);
	return NULL;
}
