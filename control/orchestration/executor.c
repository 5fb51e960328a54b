/* The executor: takes messages, and makes a run of each. */
#include "control/orchestration/executor_private.h"

#include <stdlib.h>

#include "server/base/log.h"

enum {
	PARALLEL = 8,
	FAILURES_MAX = 10,
	RUN_MS = 120 * 1000,
	CLOSE_MS = 15 * 60 * 1000,
	BEAT_MS = 15 * 1000,
	RETRY_MS = 1000,
	RETRY_MAX_MS = 60 * 1000,
	AGAIN_MS = 5 * 1000, /* a message that another run of ours works on already */
};

void executor_leave(struct executor *executor)
{
	if (!executor->is_closed || executor->is_closing || executor->activities != NULL)
		return;
	buffer_free(&executor->type);
	buffer_free(&executor->queue);
	buffer_free(&executor->subject);
	buffer_free(&executor->config);
	buffer_free(&executor->bucket);
	free(executor);
}

/* --- messages */

static bool is_in_hand(const struct executor *executor, const struct activity_message *message)
{
	const struct activity *other = executor->activities;
	while (other != NULL && !(text_equals(other->message.id, message->id) &&
								text_equals(other->message.orchestration_id, message->orchestration_id)))
		other = other->next;
	return other != NULL;
}

static void on_message(void *context, const struct bus_message *message)
{
	struct executor *executor = context;
	struct activity_message parsed = {0};
	struct buffer error = {0};
	if (executor->is_held) {
		(void)bus_answer(executor->bus, message->reply, BUS_NAK, EXECUTOR_HELD_MS);
		return;
	}
	struct activity *activity = activity_new(executor, message);
	if (activity == NULL) {
		(void)bus_answer(executor->bus, message->reply, BUS_NAK, RETRY_MS);
		return;
	}
	enum status status = activity_message_parse(message->body, &parsed, &error);
	bool is_again = status == STATUS_OK && is_in_hand(executor, &parsed);
	if (status == STATUS_OK)
		activity->message = parsed;
	activity->next = executor->activities;
	executor->activities = activity;
	if (status == STATUS_NO_MEMORY)
		activity_again(activity, 1);
	else if (status != STATUS_OK)
		activity_park(activity, error.failed ? "no activity message" : error.bytes);
	else if (is_again)
		activity_answer(activity, BUS_NAK, AGAIN_MS);
	else
		activity_read(activity);
	buffer_free(&error);
}

/* --- life */

static void settings_fill(struct executor_settings *settings)
{
	static const struct executor_settings defaults = {.parallel = PARALLEL,
		.failures_max = FAILURES_MAX,
		.run_ms = RUN_MS,
		.close_ms = CLOSE_MS,
		.beat_ms = BEAT_MS,
		.retry_ms = RETRY_MS,
		.retry_max_ms = RETRY_MAX_MS};
	settings->parallel = settings->parallel != 0 ? settings->parallel : defaults.parallel;
	settings->failures_max = settings->failures_max != 0 ? settings->failures_max : defaults.failures_max;
	settings->run_ms = settings->run_ms != 0 ? settings->run_ms : defaults.run_ms;
	settings->close_ms = settings->close_ms != 0 ? settings->close_ms : defaults.close_ms;
	settings->beat_ms = settings->beat_ms != 0 ? settings->beat_ms : defaults.beat_ms;
	settings->retry_ms = settings->retry_ms != 0 ? settings->retry_ms : defaults.retry_ms;
	settings->retry_max_ms = settings->retry_max_ms != 0 ? settings->retry_max_ms : defaults.retry_max_ms;
}

struct executor *executor_open(struct bus *bus, struct worker *worker, const struct executor_settings *settings,
	const struct executor_processor *processor)
{
	struct executor *executor = calloc(1, sizeof(*executor));
	if (executor == NULL)
		return NULL;
	executor->bus = bus;
	executor->worker = worker;
	executor->settings = *settings;
	executor->processor = *processor;
	settings_fill(&executor->settings);
	buffer_append(&executor->type, settings->type);
	executor->settings.type = buffer_text(&executor->type);
	activity_queue(settings->type, &executor->queue);
	buffer_append(&executor->bucket, settings->bucket.bytes != NULL ? settings->bucket : ORCHESTRATION_BUCKET);
	buffer_append(&executor->subject, TEXT("event."));
	activity_queue(settings->type, &executor->subject);
	/* as the existing agents have it: whoever comes later finds what it expects */
	buffer_append(&executor->config, TEXT("{\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\","
										  "\"replay_policy\":\"instant\",\"filter_subject\":"));
	buffer_append_json(&executor->config, buffer_text(&executor->subject));
	buffer_append_byte(&executor->config, '}');
	if (!executor->type.failed && !executor->queue.failed && !executor->subject.failed && !executor->config.failed &&
		!executor->bucket.failed)
		executor->consumer = bus_consume(bus,
			&(struct bus_consumer_settings){
				.stream = settings->stream.bytes != NULL ? settings->stream : ORCHESTRATION_STREAM,
				.durable = buffer_text(&executor->queue),
				.config = buffer_text(&executor->config),
				.batch = executor->settings.parallel,
				.is_reader_only = settings->is_reader_only,
				.is_found_only = true,
				.is_queue = true,
				.waits_for_stream = true},
			on_message, executor);
	if (executor->consumer != NULL)
		return executor;
	executor->is_closed = true;
	executor_leave(executor);
	return NULL;
}

void executor_close(struct executor *executor)
{
	if (executor == NULL)
		return;
	bus_consumer_close(executor->consumer);
	executor->is_closed = executor->is_closing = true;
	for (struct activity *activity = executor->activities, *next; activity != NULL; activity = next) {
		next = activity->next;
		timer_cancel(activity->timer);
		timer_cancel(activity->beat);
		activity->is_ended = true;
		if (activity->is_running && executor->processor.abandon != NULL)
			executor->processor.abandon(executor->processor.context, activity); /* may finish it, and so free it */
		else
			activity_end(activity);
	}
	executor->is_closing = false;
	executor_leave(executor); /* else the last one that is ended does */
}

void executor_hold(struct executor *executor, bool is_held)
{
	if (executor != NULL)
		executor->is_held = is_held;
}

/* --- for processors */

struct text activity_orchestration(const struct activity *activity)
{
	return activity->message.orchestration_id;
}

struct text activity_id(const struct activity *activity)
{
	return activity->message.id;
}

struct text activity_discriminator(const struct activity *activity)
{
	return activity->message.discriminator;
}

unsigned activity_attempt(const struct activity *activity)
{
	return (unsigned)orchestration_attempt(&activity->orchestration, activity->message.id);
}

const struct json *activity_value(const struct activity *activity, const char *name)
{
	const struct json *own = json_member(activity->values, name);
	return own != NULL ? own : orchestration_value(&activity->orchestration, name);
}

static bool set(struct json *object, const char *name, struct json *value)
{
	bool is_set = json_set(object, name, value);
	if (!is_set)
		json_free(value);
	return is_set;
}

bool activity_set_value(struct activity *activity, const char *name, struct json *value)
{
	return set(activity->values, name, value);
}

bool activity_set_output(struct activity *activity, const char *name, struct json *value)
{
	return set(activity->outputs, name, value);
}
