/* Pull consumers that are read all the time. Each asks for a batch at its own reply subject, asks again when the batch
 * is over, and is made again when the broker does not know it any more. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/bus/bus_private.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/log.h"

enum {
	BATCH_MAX = 256,
	EXPIRES_MS = 20000, /* of one pull request */
	GRACE_MS = 2000,    /* after it, when nothing was heard */
	RETRY_MS = 1000,
	UNANSWERED_MS = 40000, /* nothing answered for so long: the broker has long taken them for lost */
	NAME_MAX_LENGTH = 128,
	SUBJECT_MAX = 512
};

enum consumer_state { CONSUMER_WAITING, CONSUMER_MAKING, CONSUMER_PULLING };

struct bus_consumer {
	struct bus *bus;
	struct bus_consumer *next;
	struct bus_subscription *subscription;
	void (*on_message)(void *context, const struct bus_message *message);
	void *context;
	char *stream, *durable, *config;
	char name[NAME_MAX_LENGTH]; /* as the broker knows it */
	struct buffer inbox;
	unsigned batch;
	bool is_found_only, is_reader_only, is_queue, waits_for_stream, is_acknowledged, is_complaining;
	/* in use by whom: the list, an API call, a callback */
	bool is_closed;
	unsigned calls;
	enum consumer_state state;
	unsigned wanted, unanswered; /* of the running pull; delivered and not answered */
	uint64_t until_ms;           /* WAITING: when to try; PULLING: when the pull is taken for lost */
	uint64_t moved_ms;           /* something was delivered or answered */
	uint32_t pull;
	uint64_t gone_past; /* what the broker thinks this consumer has seen of the stream */
};

static void release(struct bus_consumer *consumer)
{
	if (!consumer->is_closed || consumer->calls > 0)
		return;
	buffer_free(&consumer->inbox);
	free(consumer->stream);
	free(consumer->durable);
	free(consumer->config);
	free(consumer);
}

static void wait(struct bus_consumer *consumer, uint64_t ms)
{
	consumer->state = CONSUMER_WAITING;
	consumer->until_ms = clock_monotonic_ms() + ms;
}

/* --- pulling */

static void pull(struct bus_consumer *consumer)
{
	if (consumer->batch == 0) {
		wait(consumer, EXPIRES_MS);
		return;
	}
	char subject[SUBJECT_MAX], body[96], reply[SUBJECT_MAX];
	unsigned batch = consumer->is_acknowledged ? consumer->batch - consumer->unanswered : consumer->batch;
	uint64_t now_ms = clock_monotonic_ms();
	int length =
		snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", consumer->stream, consumer->name);
	int body_length =
		snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":%" PRIu64 "}", batch, (uint64_t)EXPIRES_MS * 1000000);
	int reply_length =
		snprintf(reply, sizeof(reply), "%.*s.%u", TEXT_ARGUMENTS(buffer_text(&consumer->inbox)), ++consumer->pull);
	consumer->state = CONSUMER_PULLING;
	consumer->wanted = batch;
	consumer->until_ms = now_ms + EXPIRES_MS + GRACE_MS;
	if (!bus_send_asking(consumer->bus, (struct text){subject, (size_t)length},
			(struct text){reply, (size_t)reply_length}, (struct text){body, (size_t)body_length}))
		wait(consumer, RETRY_MS);
}

static void pull_if_due(struct bus_consumer *consumer)
{
	if (!consumer->is_closed && consumer->state == CONSUMER_PULLING && consumer->wanted == 0 &&
		(!consumer->is_acknowledged || consumer->unanswered < consumer->batch))
		pull(consumer);
}

/* 404 no messages, 408 the pull is over, 409 the consumer was deleted or the like; 503: nobody knows it. */
static void on_status(struct bus_consumer *consumer, const struct bus_message *message)
{
	struct text rest = text_slice(message->subject, consumer->inbox.length + 1, message->subject.length);
	uint64_t number;
	if (text_to_unsigned(rest, UINT32_MAX, &number) != STATUS_OK || number != consumer->pull ||
		consumer->state != CONSUMER_PULLING || message->status == 100)
		return;
	bool is_idle = consumer->wanted > 0 && clock_monotonic_ms() - consumer->moved_ms > EXPIRES_MS / 2;
	if ((message->status == 408 || message->status == 404) && !(consumer->is_queue && is_idle)) {
		consumer->wanted = 0;
		pull_if_due(consumer);
		return;
	}
	if (message->status == 408 || message->status == 404) {
		wait(consumer, 0); /* a queue that has been quiet: is it really empty? */
		return;
	}
	wait(consumer, message->status == 503 ? RETRY_MS : RETRY_MS / 10);
}

static void on_pulled(void *context, const struct bus_message *message)
{
	struct bus_consumer *consumer = context;
	if (message->status != 0 && text_starts_with(message->subject, buffer_text(&consumer->inbox))) {
		on_status(consumer, message);
		return;
	}
	consumer->wanted -= consumer->wanted > 0;
	consumer->unanswered += consumer->is_acknowledged;
	consumer->moved_ms = clock_monotonic_ms();
	consumer->calls++;
	consumer->on_message(consumer->context, message);
	consumer->calls--;
	if (consumer->is_closed)
		release(consumer);
	else
		pull_if_due(consumer);
}

/* --- making */

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
		release(consumer);
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
		pull(consumer);
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
		pull(consumer);
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
			pull(consumer);
	} else {
		complain(consumer, status, json);
		wait(consumer, RETRY_MS);
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
	pull(consumer);
}

static void make(struct bus_consumer *consumer)
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

/* --- what the bus tells */

void consumers_state(struct bus *bus, bool is_up)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		one->wanted = one->unanswered = 0;
		wait(one, is_up ? 0 : UINT32_MAX);
	}
}

void consumers_stream(struct bus *bus, struct text stream)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		if (one->state == CONSUMER_WAITING && text_equals(text_of(one->stream), stream))
			wait(one, 0);
	}
}

void consumers_tick(struct bus *bus, uint64_t now_ms)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		if (one->unanswered > 0 && now_ms - one->moved_ms > UNANSWERED_MS)
			one->unanswered = 0;
		if (one->state == CONSUMER_PULLING && one->until_ms <= now_ms && one->wanted > 0)
			wait(one, 0); /* the answer was lost: does the consumer live? */
		if (one->state == CONSUMER_WAITING && one->until_ms <= now_ms && bus_is_up(bus))
			make(one);
		pull_if_due(one);
	}
}

void consumers_end(struct bus *bus)
{
	while (*bus_consumers(bus) != NULL)
		bus_consumer_close(*bus_consumers(bus));
}

void consumers_answered(struct bus *bus, struct text stream, struct text name)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		if (!text_equals(text_of(one->name), name) || !text_equals(text_of(one->stream), stream))
			continue;
		one->unanswered -= one->unanswered > 0;
		one->moved_ms = clock_monotonic_ms();
		if (one->calls == 0)
			pull_if_due(one);
	}
}

/* --- life */

struct bus_consumer *bus_consume(struct bus *bus, const struct bus_consumer_settings *settings,
	void (*on_message)(void *context, const struct bus_message *message), void *context)
{
	static uint32_t numbers; /* the inbox begins with the bus's own random part; one worker calls */
	struct bus_consumer *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->bus = bus;
	made->on_message = on_message;
	made->context = context;
	made->batch = settings->batch > BATCH_MAX ? BATCH_MAX : settings->batch;
	made->is_found_only = settings->is_found_only;
	made->is_reader_only = settings->is_reader_only;
	made->is_queue = settings->is_queue;
	made->waits_for_stream = settings->waits_for_stream;
	made->stream = text_copy(settings->stream);
	made->durable = settings->durable.length > 0 ? text_copy(settings->durable) : NULL;
	made->config = text_copy(settings->config.length > 0 ? settings->config : TEXT("{}"));
	bus_inbox(bus, "c", __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED), &made->inbox);
	char subject[SUBJECT_MAX];
	int length = snprintf(subject, sizeof(subject), "%.*s.*", TEXT_ARGUMENTS(buffer_text(&made->inbox)));
	bool is_made = made->stream != NULL && (settings->durable.length == 0 || made->durable != NULL) &&
				   made->config != NULL && !made->inbox.failed;
	made->subscription = is_made ? bus_subscribe(bus, (struct text){subject, (size_t)length}, on_pulled, made) : NULL;
	if (made->subscription == NULL) {
		made->is_closed = true;
		release(made);
		return NULL;
	}
	wait(made, 0);
	made->next = *bus_consumers(bus);
	*bus_consumers(bus) = made;
	return made;
}

void bus_consumer_close(struct bus_consumer *consumer)
{
	if (consumer == NULL)
		return;
	for (struct bus_consumer **at = bus_consumers(consumer->bus); *at != NULL; at = &(*at)->next) {
		if (*at == consumer) {
			*at = consumer->next;
			break;
		}
	}
	bus_unsubscribe(consumer->subscription);
	consumer->is_closed = true;
	release(consumer);
}
