/* A broker in memory behind bus.h, for tests that need its answers exactly so: a work queue for event.*, buckets, lost
 * and doubled messages. The functions of control/bus are defined here, so that the linker takes these. All on one
 * worker. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/bus/bus.h"
#include "server/base/json.h"

struct broker_message {
	struct broker_message *next;
	char *subject, *body, *id, *headers;
	uint64_t sequence, due_ms, deliveries;
	bool is_taken, is_bucket;
	size_t taken_by; /* of a bucket's: how many consumers have it */
};

struct bus_consumer {
	struct bus_consumer *next;
	struct bus *bus;
	char *stream, *filter;
	unsigned batch, in_hand;
	uint64_t seen; /* bucket streams: the last sequence given */
	void (*on_message)(void *context, const struct bus_message *message);
	void *context;
	bool is_closed;
};

struct bus {
	struct worker *worker;
	struct broker_message *messages, **last;
	struct bus_consumer *consumers;
	struct timer *timer;
	struct task task;
	bool is_posted, is_down, has_no_stream, forgets_ids;
	uint64_t sequence, published, conflicts;
	int64_t fail_publishes;       /* so many more fail */
	void (*asked)(void *context); /* what a stream holds: after the answer has been made; NULL: nobody cares */
	void *asked_context;
	char ids[4096][96];
	size_t id_count;
	void (*changed[8])(void *context, bool is_up);
	void *changed_context[8];
	size_t changed_count;
};

static inline void broker_turn(struct bus *bus);

static inline void broker_run(struct task *task)
{
	struct bus *bus = (struct bus *)((char *)task - offsetof(struct bus, task));
	bus->is_posted = false;
	broker_turn(bus);
}

static inline void broker_kick(struct bus *bus)
{
	if (bus->is_posted)
		return;
	bus->is_posted = true;
	worker_post(bus->worker, &bus->task);
}

static inline void broker_fire(void *context)
{
	broker_turn(context);
}

static inline void broker_open(struct bus *bus, struct worker *worker)
{
	memset(bus, 0, sizeof(*bus));
	bus->worker = worker;
	bus->last = &bus->messages;
	bus->task.run = broker_run;
	bus->timer = timer_new(worker, broker_fire, bus);
}

static inline void broker_message_free(struct broker_message *message)
{
	free(message->subject);
	free(message->body);
	free(message->id);
	free(message->headers);
	free(message);
}

static inline void broker_remove(struct bus *bus, struct broker_message **at)
{
	struct broker_message *message = *at;
	*at = message->next;
	if (message->next == NULL)
		bus->last = at;
	broker_message_free(message);
}

/* As rm -rf of its folder does. */
static inline void broker_wipe(struct bus *bus)
{
	while (bus->messages != NULL)
		broker_remove(bus, &bus->messages);
	bus->sequence = 0;
	bus->id_count = 0;
	for (struct bus_consumer *consumer = bus->consumers; consumer != NULL; consumer = consumer->next)
		consumer->seen = consumer->in_hand = 0;
}

static inline void broker_close(struct bus *bus)
{
	broker_wipe(bus);
	while (bus->consumers != NULL) {
		struct bus_consumer *consumer = bus->consumers;
		bus->consumers = consumer->next;
		free(consumer->stream);
		free(consumer->filter);
		free(consumer);
	}
	timer_free(bus->timer);
}

static inline void broker_set_up(struct bus *bus, bool is_up)
{
	bus->is_down = !is_up;
	for (size_t i = 0; i < bus->changed_count; i++)
		bus->changed[i](bus->changed_context[i], is_up);
	broker_kick(bus);
}

static inline size_t broker_count(const struct bus *bus, const char *subject)
{
	size_t count = 0;
	for (const struct broker_message *message = bus->messages; message != NULL; message = message->next)
		count += strcmp(message->subject, subject) == 0;
	return count;
}

static inline struct broker_message *broker_add(
	struct bus *bus, struct text subject, struct text id, struct text body, bool is_bucket)
{
	struct broker_message *message = calloc(1, sizeof(*message));
	message->subject = text_copy(subject);
	message->body = text_copy(body.bytes != NULL ? body : TEXT(""));
	message->id = text_copy(id.bytes != NULL ? id : TEXT(""));
	message->headers = text_copy(TEXT(""));
	message->is_bucket = is_bucket;
	message->sequence = ++bus->sequence;
	*bus->last = message;
	bus->last = &message->next;
	broker_kick(bus);
	return message;
}

/* What gives a consumer its message: the worker's next turn, so that no callback comes inside a call. */
struct broker_delivery {
	struct task task;
	struct bus_consumer *consumer;
	uint64_t sequence;
};

static inline struct broker_message *broker_find(struct bus *bus, uint64_t sequence)
{
	struct broker_message *message = bus->messages;
	while (message != NULL && message->sequence != sequence)
		message = message->next;
	return message;
}

static inline void broker_deliver(struct bus_consumer *consumer, struct broker_message *message)
{
	char reply[160];
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	message->deliveries++;
	message->is_taken = true;
	consumer->in_hand++;
	snprintf(reply, sizeof(reply), "$JS.ACK.%s.test.%llu.%llu.1.%lld.0", consumer->stream,
		(unsigned long long)message->deliveries, (unsigned long long)message->sequence,
		(long long)now.tv_sec * 1000000000 + now.tv_nsec);
	/* the message may go while it is worked on: its texts must not */
	char *subject = strdup(message->subject), *body = strdup(message->body);
	consumer->on_message(consumer->context,
		&(struct bus_message){
			.subject = text_of(subject), .reply = text_of(reply), .body = text_of(body), .headers = TEXT("")});
	free(subject);
	free(body);
}

static inline bool broker_is_for(const struct bus_consumer *consumer, const struct broker_message *message)
{
	if (consumer->is_closed)
		return false;
	if (strncmp(consumer->stream, "KV_", 3) == 0)
		return message->is_bucket && message->sequence > consumer->seen;
	return !message->is_bucket && !message->is_taken && strcmp(consumer->filter, message->subject) == 0 &&
		   message->due_ms <= worker_now_ms(consumer->bus->worker) && consumer->in_hand < consumer->batch;
}

static inline void broker_turn(struct bus *bus)
{
	if (bus->is_down)
		return;
	for (struct bus_consumer *consumer = bus->consumers; consumer != NULL; consumer = consumer->next) {
		for (struct broker_message *message = bus->messages; message != NULL;) {
			if (!broker_is_for(consumer, message)) {
				message = message->next;
				continue;
			}
			uint64_t sequence = message->sequence;
			if (message->is_bucket)
				consumer->seen = sequence;
			broker_deliver(consumer, message);
			message = bus->messages; /* anything may have happened */
		}
	}
	timer_set(bus->timer, 2); /* what is due later */
}

/* --- bus.h */

struct broker_answer {
	struct task task;
	struct bus *bus;
	void (*done)(void *context, enum status status, uint64_t number, bool is_duplicate);
	void (*done_number)(void *context, enum status status, uint64_t number);
	void (*done_value)(void *context, enum status status, struct text value, uint64_t revision);
	void (*done_text)(void *context, enum status status, struct text text);
	void *context;
	enum status status;
	uint64_t number;
	bool is_duplicate;
	char *value;
};

static inline void broker_answer_run(struct task *task)
{
	struct broker_answer *answer = (struct broker_answer *)task;
	struct text value = answer->value != NULL ? text_of(answer->value) : TEXT_NONE;
	if (answer->done != NULL)
		answer->done(answer->context, answer->status, answer->number, answer->is_duplicate);
	if (answer->done_number != NULL)
		answer->done_number(answer->context, answer->status, answer->number);
	if (answer->done_value != NULL)
		answer->done_value(answer->context, answer->status, value, answer->number);
	if (answer->done_text != NULL)
		answer->done_text(answer->context, answer->status, value);
	free(answer->value);
	free(answer);
}

static inline void broker_answer_later(struct bus *bus, struct broker_answer answer)
{
	struct broker_answer *kept = malloc(sizeof(*kept));
	*kept = answer;
	kept->bus = bus;
	kept->task = (struct task){.run = broker_answer_run};
	worker_post(bus->worker, &kept->task);
}

bool bus_is_up(const struct bus *bus)
{
	return !bus->is_down;
}

void bus_on_state(struct bus *bus, void (*changed)(void *context, bool is_up), void *context)
{
	bus->changed[bus->changed_count] = changed;
	bus->changed_context[bus->changed_count++] = context;
}

struct text bus_message_header(const struct bus_message *message, struct text name)
{
	(void)message, (void)name;
	return TEXT_NONE;
}

void bus_publish(struct bus *bus, struct text subject, struct text message_id, const struct bus_header *headers,
	size_t count, struct text body,
	void (*done)(void *context, enum status status, uint64_t sequence, bool is_duplicate), void *context)
{
	struct broker_answer answer = {.done = done, .context = context};
	(void)headers, (void)count;
	if (bus->is_down || bus->fail_publishes > 0) {
		bus->fail_publishes -= bus->fail_publishes > 0;
		answer.status = STATUS_UNAVAILABLE;
	} else if (bus->has_no_stream || !text_starts_with(subject, TEXT("event."))) {
		answer.status = STATUS_NOT_FOUND;
	} else {
		for (size_t i = 0; i < bus->id_count && message_id.length > 0; i++)
			answer.is_duplicate = answer.is_duplicate || text_equals(text_of(bus->ids[i]), message_id);
		if (!answer.is_duplicate) {
			if (message_id.length > 0 && !bus->forgets_ids && bus->id_count < sizeof(bus->ids) / sizeof(bus->ids[0]))
				snprintf(bus->ids[bus->id_count++], sizeof(bus->ids[0]), "%.*s", TEXT_ARGUMENTS(message_id));
			answer.number = broker_add(bus, subject, message_id, body, false)->sequence;
			bus->published++;
		}
	}
	broker_answer_later(bus, answer);
}

struct bus_consumer *bus_consume(struct bus *bus, const struct bus_consumer_settings *settings,
	void (*on_message)(void *context, const struct bus_message *message), void *context)
{
	struct bus_consumer *consumer = calloc(1, sizeof(*consumer));
	struct json *config = NULL;
	consumer->bus = bus;
	consumer->stream = text_copy(settings->stream);
	if (json_parse(settings->config, NULL, &config) == STATUS_OK)
		consumer->filter = text_copy(json_member_text(config, "filter_subject"));
	json_free(config);
	consumer->batch = settings->batch;
	consumer->on_message = on_message;
	consumer->context = context;
	consumer->next = bus->consumers;
	bus->consumers = consumer;
	broker_kick(bus);
	return consumer;
}

void bus_consumer_close(struct bus_consumer *consumer)
{
	if (consumer != NULL)
		consumer->is_closed = true;
}

enum status bus_delivery_parse(struct text reply, struct bus_delivery *delivery)
{
	unsigned long long deliveries = 0, sequence = 0;
	long long timestamp = 0;
	char copy[200];
	snprintf(copy, sizeof(copy), "%.*s", TEXT_ARGUMENTS(reply));
	char *at = strstr(copy, ".test.");
	if (at == NULL || sscanf(at, ".test.%llu.%llu.1.%lld", &deliveries, &sequence, &timestamp) != 3)
		return STATUS_INVALID;
	*delivery = (struct bus_delivery){
		.stream_sequence = sequence, .deliveries = deliveries, .consumer_sequence = 1, .timestamp_ns = timestamp};
	return STATUS_OK;
}

bool bus_answer(struct bus *bus, struct text reply, enum bus_verdict verdict, uint64_t delay_ms)
{
	struct bus_delivery delivery;
	char copy[200];
	if (verdict == BUS_PROGRESS || bus_delivery_parse(reply, &delivery) != STATUS_OK)
		return true;
	snprintf(copy, sizeof(copy), "%.*s", TEXT_ARGUMENTS(reply));
	struct broker_message **at = &bus->messages;
	while (*at != NULL && (*at)->sequence != delivery.stream_sequence)
		at = &(*at)->next;
	struct broker_message *message = *at;
	for (struct bus_consumer *consumer = bus->consumers; consumer != NULL; consumer = consumer->next) {
		bool is_bucket = strncmp(consumer->stream, "KV_", 3) == 0;
		if (message != NULL && is_bucket == message->is_bucket && consumer->in_hand > 0 &&
			(is_bucket || strcmp(consumer->filter, message->subject) == 0))
			consumer->in_hand--;
		if (message != NULL && message->is_bucket && is_bucket && verdict == BUS_NAK &&
			consumer->seen >= message->sequence)
			consumer->seen = message->sequence - 1;
	}
	if (message != NULL && !message->is_bucket && verdict == BUS_NAK) {
		message->is_taken = false;
		message->due_ms = worker_now_ms(bus->worker) + delay_ms;
	} else if (message != NULL && !message->is_bucket) {
		broker_remove(bus, at);
	}
	broker_kick(bus);
	return true;
}

static inline struct broker_message **broker_key(struct bus *bus, struct text bucket, struct text key)
{
	char subject[400];
	snprintf(subject, sizeof(subject), "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
	struct broker_message **at = &bus->messages;
	while (*at != NULL && !((*at)->is_bucket && strcmp((*at)->subject, subject) == 0))
		at = &(*at)->next;
	return at;
}

void bus_bucket_get(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, struct text value, uint64_t revision), void *context)
{
	struct broker_message *entry = *broker_key(bus, bucket, key);
	broker_answer_later(bus, (struct broker_answer){.done_value = done,
								 .context = context,
								 .status = bus->is_down    ? STATUS_UNAVAILABLE
										   : entry == NULL ? STATUS_NOT_FOUND
														   : STATUS_OK,
								 .value = entry != NULL ? strdup(entry->body) : NULL,
								 .number = entry != NULL ? entry->sequence : 0});
}

void bus_bucket_put(struct bus *bus, struct text bucket, struct text key, struct text value, int64_t expected,
	void (*done)(void *context, enum status status, uint64_t revision), void *context)
{
	struct broker_message **at = broker_key(bus, bucket, key);
	struct broker_answer answer = {.done_number = done, .context = context};
	int64_t revision = *at != NULL ? (int64_t)(*at)->sequence : 0;
	if (bus->is_down) {
		answer.status = STATUS_UNAVAILABLE;
	} else if (expected != BUS_REVISION_ANY && expected != revision) {
		answer.status = STATUS_CONFLICT;
		bus->conflicts++;
	} else {
		char subject[400];
		snprintf(subject, sizeof(subject), "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
		if (*at != NULL)
			broker_remove(bus, at);
		answer.number = broker_add(bus, text_of(subject), TEXT_NONE, value, true)->sequence;
	}
	broker_answer_later(bus, answer);
}

void bus_stream_ensure(struct bus *bus, struct text name, struct text config,
	void (*done)(void *context, enum status status, struct text error), void *context)
{
	(void)name, (void)config;
	broker_answer_later(
		bus, (struct broker_answer){
				 .done_text = done, .context = context, .status = bus->is_down ? STATUS_UNAVAILABLE : STATUS_OK});
}

void bus_bucket_ensure(struct bus *bus, struct text bucket,
	void (*done)(void *context, enum status status, struct text error), void *context)
{
	bus_stream_ensure(bus, bucket, TEXT("{}"), done, context);
}

/* STREAM.INFO with a filter, and the purge of one subject. */
void bus_api(struct bus *bus, struct text subject, struct text body,
	void (*done)(void *context, enum status status, struct text json), void *context)
{
	struct json *request = NULL;
	struct buffer answer = {0};
	enum status status = bus->is_down ? STATUS_UNAVAILABLE : STATUS_OK;
	if (status == STATUS_OK && json_parse(body, NULL, &request) == STATUS_OK) {
		if (text_starts_with(subject, TEXT("STREAM.INFO."))) {
			char *filter = text_copy(json_member_text(request, "subjects_filter"));
			size_t count = broker_count(bus, filter);
			buffer_append(&answer, TEXT("{\"state\":{\"subjects\":{"));
			if (count > 0)
				buffer_printf(&answer, "\"%s\":%zu", filter, count);
			buffer_append(&answer, TEXT("}}}"));
			free(filter);
			if (bus->asked != NULL)
				bus->asked(bus->asked_context);
		} else {
			struct text filter = json_member_text(request, "filter");
			for (struct broker_message **at = &bus->messages; *at != NULL;) {
				if (text_equals(text_of((*at)->subject), filter))
					broker_remove(bus, at);
				else
					at = &(*at)->next;
			}
			buffer_append(&answer, TEXT("{\"success\":true}"));
		}
	}
	json_free(request);
	broker_answer_later(bus, (struct broker_answer){.done_text = done,
								 .context = context,
								 .status = status,
								 .value = answer.bytes != NULL ? buffer_take(&answer) : NULL});
}
