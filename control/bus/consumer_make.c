/* A consumer at the broker: found, made, made again when it has gone past what is in the stream. */
#include <stdlib.h>

#include "control/bus/consumer_private.h"
#include "server/base/json.h"
#include "server/base/log.h"

static void complain(struct bus_consumer *consumer, enum status status, struct text answer)
{
	if (!consumer->is_complaining && !(status == STATUS_NOT_FOUND && consumer->waits_for_stream))
		LOG(WARNING, "bus.consumer_waits", log_text("stream", text_of(consumer->stream)),
			log_text("consumer", text_of(consumer->durable == NULL ? "" : consumer->durable)),
			log_text("status", text_of(status_name(status))), log_text("answer", answer));
	consumer->is_complaining = true;
}

static void create(struct bus_consumer *consumer);

/* Callbacks of the API while MAKING: false when the consumer is not waiting for them any more. */
static bool is_making(struct bus_consumer *consumer)
{
	consumer->calls--;
	if (consumer->is_closed) {
		consumer_release(consumer);
		return false;
	}
	return consumer->state == CONSUMER_MAKING;
}

static void call(struct bus_consumer *consumer, const char *what, const char *name, struct text body,
	void (*done)(void *context, enum status status, struct text json))
{
	char subject[SUBJECT_MAX];
	int length = snprintf(subject, sizeof(subject), "%s.%s%s%s", what, consumer->stream, name == NULL ? "" : ".",
		name == NULL ? "" : name);
	consumer->calls++;
	bus_api(consumer->bus, (struct text){subject, (size_t)length}, body, done, consumer);
}

static void on_deleted(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	(void)status;
	(void)json;
	if (is_making(consumer))
		create(consumer);
}

static void make_anew(struct bus_consumer *consumer)
{
	LOG(WARNING, "bus.consumer_made_anew", log_text("stream", text_of(consumer->stream)),
		log_text("consumer", text_of(consumer->name)), log_number("had_seen", consumer->gone_past));
	call(consumer, "CONSUMER.DELETE", consumer->name, TEXT(""), on_deleted);
}

static void on_first(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	struct json *answer = NULL;
	int64_t sequence = INT64_MAX;
	if (!is_making(consumer))
		return;
	if (status == STATUS_OK && json_parse(json, NULL, &answer) == STATUS_OK)
		json_integer(json_member(json_member(answer, "message"), "seq"), &sequence);
	json_free(answer);
	if ((uint64_t)sequence <= consumer->gone_past)
		make_anew(consumer);
	else
		consumer_pull(consumer);
}

static void on_stream(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	struct json *answer = NULL, *config = NULL;
	int64_t last = INT64_MAX, messages = 0;
	if (!is_making(consumer))
		return;
	if (status == STATUS_OK && json_parse(json, NULL, &answer) == STATUS_OK) {
		json_integer(json_member(json_member(answer, "state"), "last_seq"), &last);
		json_integer(json_member(json_member(answer, "state"), "messages"), &messages);
	}
	json_free(answer);
	struct text filter = TEXT_NONE;
	if (json_parse(text_of(consumer->config), NULL, &config) == STATUS_OK)
		filter = json_member_text(config, "filter_subject");
	if ((uint64_t)last < consumer->gone_past) {
		make_anew(consumer);
	} else if (messages > 0 && filter.length > 0) { /* never of a stream that may have no store yet: bucket.c */
		struct buffer body = {0};
		buffer_printf(&body, "{\"seq\":1,\"next_by_subj\":");
		buffer_append_json(&body, filter);
		buffer_append_byte(&body, '}');
		call(consumer, "STREAM.MSG.GET", NULL, buffer_text(&body), on_first);
		buffer_free(&body);
	} else {
		consumer_pull(consumer);
	}
	json_free(config);
}

/* What is known of a consumer that is there. False: the answer makes no sense. */
static bool learn(struct bus_consumer *consumer, const struct json *answer)
{
	struct text name = json_member_text(answer, "name");
	int64_t delivered = 0, floor = 0, pending = 0;
	if (name.length == 0 || name.length >= sizeof(consumer->name))
		return false;
	snprintf(consumer->name, sizeof(consumer->name), "%.*s", TEXT_ARGUMENTS(name));
	consumer->is_acknowledged =
		!text_equals(json_member_text(json_member(answer, "config"), "ack_policy"), TEXT("none"));
	json_integer(json_member(json_member(answer, "delivered"), "stream_seq"), &delivered);
	json_integer(json_member(json_member(answer, "ack_floor"), "stream_seq"), &floor);
	json_integer(json_member(answer, "num_ack_pending"), &pending);
	consumer->gone_past = (uint64_t)(pending == 0 ? delivered : floor);
	return true;
}

static void on_made(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	struct json *answer = NULL;
	if (!is_making(consumer))
		return;
	if (status == STATUS_OK && json_parse(json, NULL, &answer) == STATUS_OK && learn(consumer, answer)) {
		consumer->is_complaining = false;
		consumer->unanswered = 0;
		if (consumer->is_queue)
			call(consumer, "STREAM.INFO", NULL, TEXT(""), on_stream);
		else
			consumer_pull(consumer);
	} else {
		complain(consumer, status, json);
		consumer_wait(consumer, CONSUMER_RETRY_MS);
	}
	json_free(answer);
}

static void create(struct bus_consumer *consumer)
{
	struct buffer subject = {0}, body = {0};
	struct text config = text_of(consumer->config);
	buffer_printf(&body, "{\"stream_name\":");
	buffer_append_json(&body, text_of(consumer->stream));
	buffer_printf(&body, ",\"config\":{");
	if (consumer->durable != NULL) {
		buffer_printf(&subject, "CONSUMER.DURABLE.CREATE.%s.%s", consumer->stream, consumer->durable);
		buffer_printf(&body, "\"durable_name\":");
		buffer_append_json(&body, text_of(consumer->durable));
		buffer_append(&body, config.length > 2 ? TEXT(",") : TEXT(""));
	} else {
		buffer_printf(&subject, "CONSUMER.CREATE.%s", consumer->stream);
	}
	buffer_append(&body, text_slice(config, 1, config.length));
	buffer_append_byte(&body, '}');
	if (subject.failed || body.failed)
		abort();
	consumer->calls++;
	bus_api(consumer->bus, buffer_text(&subject), buffer_text(&body), on_made, consumer);
	buffer_free(&subject);
	buffer_free(&body);
}

static void on_found(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	if (status != STATUS_NOT_FOUND || consumer->is_closed || consumer->state != CONSUMER_MAKING) {
		on_made(context, status, json);
		return;
	}
	consumer->calls--;
	create(consumer);
}

/* A pull from a consumer that is not there is answered by nobody (2.9): whoever may not make it asks before, for a
 * broker may have lost it and another may be about to make it again. Whoever may not ask pulls. */
static void on_read(void *context, enum status status, struct text json)
{
	struct bus_consumer *consumer = context;
	if (status != STATUS_TIMEOUT || consumer->is_closed || consumer->state != CONSUMER_MAKING) {
		on_made(context, status, json);
		return;
	}
	consumer->calls--;
	snprintf(consumer->name, sizeof(consumer->name), "%s", consumer->durable);
	consumer->is_acknowledged = true;
	consumer->unanswered = 0;
	consumer_pull(consumer);
}

void consumer_make(struct bus_consumer *consumer)
{
	consumer->state = CONSUMER_MAKING;
	if (consumer->is_reader_only && consumer->durable != NULL) {
		call(consumer, "CONSUMER.INFO", consumer->durable, TEXT(""), on_read);
		return;
	}
	if (!consumer->is_found_only || consumer->durable == NULL) {
		create(consumer);
		return;
	}
	call(consumer, "CONSUMER.INFO", consumer->durable, TEXT(""), on_found);
}
