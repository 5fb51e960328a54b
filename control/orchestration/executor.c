/* The executor: each message is a run that goes through stages, each stage one read and one compare-and-set of the
 * orchestration, begun again while others are faster. */
#include "control/orchestration/executor.h"

#include <stdlib.h>

#include "server/base/id.h"
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
	CLASH_MS = 4,        /* the first pause after a lost compare-and-set */
	CLASH_MAX_MS = 1000,
	CLASHES_MAX = 100,
	DETAIL_MAX = 2000,
};

enum stage { STAGE_BEGIN, STAGE_RUN, STAGE_END };

struct activity {
	struct activity *next; /* of the executor */
	struct executor *executor;
	struct activity_message message;
	char *reply;
	struct bus_delivery delivery;
	char *traceparent;  /* or NULL */
	struct buffer copy; /* subject, NUL, headers, NUL, body: for parking */

	enum stage stage;
	struct orchestration orchestration; /* as last read */
	uint64_t revision;
	unsigned clashes;
	bool is_busy; /* the bus works for it: an answer will come */
	struct timer *timer, *beat;

	struct json *values, *removed, *outputs;
	void *state;
	bool is_running, is_late, is_ended; /* with the processor; beyond its time; to be freed when nothing is awaited */
	enum activity_outcome outcome;
	uint64_t delay_ms, began_ms;
	char *detail;
	size_t awaited; /* publications under way */
	bool has_unsent;
};

struct executor {
	struct bus *bus;
	struct worker *worker;
	struct executor_settings settings;
	struct executor_processor processor;
	struct buffer type, queue, subject, config, bucket;
	struct bus_consumer *consumer;
	struct activity *activities;
	bool is_closed, is_closing;
};

static void activity_read(struct activity *activity);

/* --- life of a run */

static void activity_free(struct activity *activity)
{
	json_free(activity->message.root);
	orchestration_free(&activity->orchestration);
	timer_free(activity->timer);
	timer_free(activity->beat);
	json_free(activity->values);
	json_free(activity->removed);
	json_free(activity->outputs);
	buffer_free(&activity->copy);
	free(activity->reply);
	free(activity->traceparent);
	free(activity->detail);
	free(activity);
}

static void executor_leave(struct executor *executor)
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

/* The run is over: freed when nobody will call it back. */
static void activity_end(struct activity *activity)
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

static void activity_answer(struct activity *activity, enum bus_verdict verdict, uint64_t delay_ms)
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

static void activity_again(struct activity *activity, uint64_t count)
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

static void activity_park(struct activity *activity, const char *why)
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

/* --- telling the others */

static void on_told(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct activity *activity = context;
	(void)sequence, (void)is_duplicate;
	activity->awaited--;
	activity->has_unsent = activity->has_unsent || status != STATUS_OK;
	if (activity->awaited > 0)
		return;
	if (activity->has_unsent)
		activity_again(activity, activity->delivery.deliveries); /* it will find itself completed, and tell again */
	else
		activity_answer(activity, BUS_ACK, 0);
}

static void tell(struct activity *activity, struct text subject, struct text message_id, const struct buffer *body)
{
	struct bus_header header = {TEXT("traceparent"), text_of(activity->traceparent)};
	activity->awaited++;
	bus_publish(activity->executor->bus, subject, message_id, &header, activity->traceparent != NULL ? 1 : 0,
		buffer_text(body), on_told, activity);
}

static void tell_next(struct activity *activity, const struct json *step)
{
	struct text id = activity->orchestration.id;
	activity->awaited++; /* not over before all are under way */
	for (const struct json *next = json_first(step); next != NULL; next = json_next(next)) {
		struct buffer subject = {0}, message_id = {0}, body = {0};
		buffer_append(&subject, TEXT("event."));
		activity_queue(json_member_text(next, "type"), &subject);
		buffer_printf(&message_id, "%.*s.%.*s", TEXT_ARGUMENTS(id), TEXT_ARGUMENTS(json_member_text(next, "id")));
		activity_message_print(id, next, &body);
		if (subject.failed || message_id.failed || body.failed)
			activity->has_unsent = true;
		else
			tell(activity, buffer_text(&subject), buffer_text(&message_id), &body);
		buffer_free(&subject);
		buffer_free(&message_id);
		buffer_free(&body);
	}
	on_told(activity, STATUS_OK, 0, false);
}

static void tell_response(struct activity *activity)
{
	const struct orchestration *orchestration = &activity->orchestration;
	char id[UUID_LENGTH + 1];
	struct buffer message_id = {0}, body = {0};
	bool is_success = orchestration->state != ORCHESTRATION_ERRORED;
	struct text error = json_text(orchestration_value(orchestration, "error"));
	uuid_random(id);
	response_print(&(struct response){.id = text_of(id),
					   .manifest_id = orchestration->id,
					   .correlation_id = orchestration->correlation_id,
					   .type = orchestration->type,
					   .is_success = is_success,
					   .error_detail = is_success ? TEXT_NONE : error,
					   .properties = orchestration_output(orchestration)},
		&body);
	/* the same for each telling of this end, another for the end after a retry */
	buffer_printf(&message_id, "%.*s.%.*s", TEXT_ARGUMENTS(orchestration->id),
		TEXT_ARGUMENTS(json_member_text(orchestration->root, "stateTimestamp")));
	if (body.failed || message_id.failed)
		activity_again(activity, 1);
	else
		tell(activity, ORCHESTRATION_RESPONSE_SUBJECT, buffer_text(&message_id), &body);
	buffer_free(&message_id);
	buffer_free(&body);
}

/* The activity is completed, and written so: goes on with the orchestration, as far as it is this activity's turn. Also
 * for a message that comes again because its process died between the two. */
static void activity_settle(struct activity *activity)
{
	const struct orchestration *orchestration = &activity->orchestration;
	size_t now = orchestration_step_now(orchestration);
	size_t next = orchestration_step_of(orchestration, activity->message.id) + 1;
	while (next < now && json_count(orchestration_step(orchestration, next)) == 0)
		next++;
	if (orchestration->state == ORCHESTRATION_COMPLETED && now == next)
		tell_response(activity);
	else if (!orchestration_is_finished(orchestration) && now == next)
		tell_next(activity, orchestration_step(orchestration, now));
	else
		activity_answer(activity, BUS_ACK, 0);
}

/* --- stages: what each writes into the orchestration it has read. True: it is to be written. False: the run is over,
 * or goes another way. */

static int64_t note_number(const struct json *note, const char *name)
{
	int64_t number = 0;
	return json_integer(json_member(note, name), &number) ? number : 0;
}

static bool note_set(struct json *note, const char *name, int64_t value)
{
	json_remove(note, name);
	return json_add_integer(note, name, value);
}

static bool note_flag(struct json *note, const char *name)
{
	json_remove(note, name);
	return json_add_bool(note, name, true);
}

static bool note_detail(struct json *note, const char *detail)
{
	json_remove(note, "error");
	return detail == NULL || detail[0] == 0 || json_add_text(note, "error", text_of(detail));
}

static void end_with(struct activity *activity, enum activity_outcome outcome, const char *detail)
{
	activity->outcome = outcome;
	activity->stage = STAGE_END;
	free(activity->detail);
	activity->detail = text_copy(text_slice(text_of(detail), 0, DETAIL_MAX));
}

/* Too often, or too long: a text for people, or false. */
static bool is_given_up(const struct activity *activity, const struct json *note, struct buffer *why)
{
	const struct executor_settings *settings = &activity->executor->settings;
	int64_t failures = note_number(note, "failures"), first = note_number(note, "first");
	if (failures >= settings->failures_max)
		buffer_printf(
			why, "%.*s: given up after %lld attempts", TEXT_ARGUMENTS(activity->message.id), (long long)failures);
	else if (first > 0 && worker_wall_ms(activity->executor->worker) - first > (int64_t)settings->close_ms)
		buffer_printf(why, "%.*s: not done within %llu s", TEXT_ARGUMENTS(activity->message.id),
			(unsigned long long)(settings->close_ms / 1000));
	else
		return false;
	struct text last = json_member_text(note, "error");
	if (last.length > 0)
		buffer_printf(why, ": %.*s", TEXT_ARGUMENTS(last));
	return true;
}

static bool fail_now(struct activity *activity)
{
	struct json *note = orchestration_note_write(&activity->orchestration, activity->message.id);
	struct text detail = activity->detail != NULL ? text_of(activity->detail) : TEXT("failed");
	return note_flag(note, "failed") &&
		   orchestration_fail(&activity->orchestration, detail, worker_wall_ms(activity->executor->worker));
}

static bool write_end(struct activity *activity);

/* Counts the run before it begins: a processor that ends its process is counted too. */
static bool write_begin(struct activity *activity)
{
	struct orchestration *orchestration = &activity->orchestration;
	struct json *note = orchestration_note_write(orchestration, activity->message.id);
	struct buffer why = {0};
	if (note == NULL)
		return false;
	if (orchestration->state == ORCHESTRATION_ERRORED) /* another has failed: nothing new begins (T6) */
		return note_flag(note, "skipped");
	if (is_given_up(activity, note, &why)) {
		end_with(activity, ACTIVITY_FATAL, why.failed ? "given up" : why.bytes);
		buffer_free(&why);
		return write_end(activity);
	}
	buffer_free(&why);
	if (note_number(note, "first") == 0 && !note_set(note, "first", worker_wall_ms(activity->executor->worker)))
		return false;
	return note_set(note, "failures", note_number(note, "failures") + 1) &&
		   orchestration_set_attempt(
			   orchestration, activity->message.id, orchestration_attempt(orchestration, activity->message.id) + 1);
}

static bool merge(struct activity *activity)
{
	return orchestration_merge(&activity->orchestration, activity->message.id,
		&(struct activity_result){activity->values, activity->outputs, activity->removed});
}

static bool write_end(struct activity *activity)
{
	struct orchestration *orchestration = &activity->orchestration;
	struct text id = activity->message.id;
	struct json *note = orchestration_note_write(orchestration, id);
	if (note == NULL || !note_detail(note, activity->outcome == ACTIVITY_COMPLETE ? NULL : activity->detail) ||
		!merge(activity))
		return false;
	switch (activity->outcome) {
	case ACTIVITY_COMPLETE:
		return note_set(note, "failures", 0) &&
			   orchestration_complete(orchestration, id, worker_wall_ms(activity->executor->worker));
	case ACTIVITY_SCHEDULE:
		return note_set(note, "failures", 0);
	case ACTIVITY_RETRY:
		return true;
	case ACTIVITY_FATAL:
		return orchestration_is_finished(orchestration) ? note_flag(note, "failed") : fail_now(activity);
	}
	return false;
}

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
			activity_again(activity, (uint64_t)note_number(note, "failures"));
		break;
	case ACTIVITY_FATAL:
		tell_response(activity);
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
			end_with(activity, ACTIVITY_FATAL, "the orchestration's data would be larger than a message");
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
			tell_response(activity); /* our process died before it could */
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
		if (activity->stage == STAGE_BEGIN ? write_begin(activity) : write_end(activity))
			activity_write(activity);
		else
			activity_again(activity, activity->delivery.deliveries); /* out of memory */
	}
	buffer_free(&error);
}

static void activity_read(struct activity *activity)
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
	end_with(activity, ACTIVITY_RETRY, "the run took too long");
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
	end_with(activity, outcome, detail != NULL ? detail : "");
	activity_read(activity);
}

/* --- messages */

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

static struct activity *activity_new(struct executor *executor, const struct bus_message *message)
{
	struct activity *activity = calloc(1, sizeof(*activity));
	if (activity == NULL)
		return NULL;
	activity->executor = executor;
	activity->timer = timer_new(executor->worker, on_clash_over, activity);
	activity->beat = timer_new(executor->worker, on_beat, activity);
	activity->values = json_object_new();
	activity->outputs = json_object_new();
	activity->removed = json_array_new();
	if (bus_delivery_parse(message->reply, &activity->delivery) != STATUS_OK)
		activity->delivery.deliveries = 1;
	if (activity->timer != NULL && activity->beat != NULL && activity->values != NULL && activity->outputs != NULL &&
		activity->removed != NULL && copy_message(activity, message))
		return activity;
	activity_free(activity);
	return NULL;
}

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

const struct json *activity_vpa_properties(const struct activity *activity, struct text vpa_type)
{
	return orchestration_vpa_properties(&activity->orchestration, vpa_type);
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

bool activity_remove_value(struct activity *activity, const char *name)
{
	json_remove(activity->values, name);
	orchestration_remove_value(&activity->orchestration, name);
	return json_add_text(activity->removed, NULL, text_of(name));
}

bool activity_set_output(struct activity *activity, const char *name, struct json *value)
{
	return set(activity->outputs, name, value);
}

void **activity_state(struct activity *activity)
{
	return &activity->state;
}
