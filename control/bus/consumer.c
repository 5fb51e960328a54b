/* Pull consumers that are read all the time. Each asks for a batch at its own reply subject, asks again when the batch
 * is over, and is made again when the broker does not know it any more. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/bus/consumer_private.h"
#include "server/base/clock.h"

enum {
	BATCH_MAX = 256,
	EXPIRES_MS = 20000,   /* of one pull request */
	GRACE_MS = 2000,      /* after it, when nothing was heard */
	UNANSWERED_MS = 40000 /* nothing answered for so long: the broker has long taken them for lost */
};

void consumer_release(struct bus_consumer *consumer)
{
	if (!consumer->is_closed || consumer->calls > 0)
		return;
	buffer_free(&consumer->inbox);
	free(consumer->stream);
	free(consumer->durable);
	free(consumer->config);
	free(consumer);
}

void consumer_wait(struct bus_consumer *consumer, uint64_t ms)
{
	consumer->state = CONSUMER_WAITING;
	consumer->until_ms = clock_monotonic_ms() + ms;
}

/* --- pulling */

void consumer_pull(struct bus_consumer *consumer)
{
	if (consumer->batch == 0) {
		consumer_wait(consumer, EXPIRES_MS);
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
		consumer_wait(consumer, CONSUMER_RETRY_MS);
}

static void pull_if_due(struct bus_consumer *consumer)
{
	if (!consumer->is_closed && consumer->state == CONSUMER_PULLING && consumer->wanted == 0 &&
		(!consumer->is_acknowledged || consumer->unanswered < consumer->batch))
		consumer_pull(consumer);
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
		consumer_wait(consumer, 0); /* a queue that has been quiet: is it really empty? */
		return;
	}
	consumer_wait(consumer, message->status == 503 ? CONSUMER_RETRY_MS : CONSUMER_RETRY_MS / 10);
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
		consumer_release(consumer);
	else
		pull_if_due(consumer);
}

/* --- what the bus tells */

void consumers_state(struct bus *bus, bool is_up)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		one->wanted = one->unanswered = 0;
		consumer_wait(one, is_up ? 0 : UINT32_MAX);
	}
}

void consumers_stream(struct bus *bus, struct text stream)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		if (one->state == CONSUMER_WAITING && text_equals(text_of(one->stream), stream))
			consumer_wait(one, 0);
	}
}

void consumers_tick(struct bus *bus, uint64_t now_ms)
{
	for (struct bus_consumer *one = *bus_consumers(bus); one != NULL; one = one->next) {
		if (one->unanswered > 0 && now_ms - one->moved_ms > UNANSWERED_MS)
			one->unanswered = 0;
		if (one->state == CONSUMER_PULLING && one->until_ms <= now_ms && one->wanted > 0)
			consumer_wait(one, 0); /* the answer was lost: does the consumer live? */
		if (one->state == CONSUMER_WAITING && one->until_ms <= now_ms && bus_is_up(bus))
			consumer_make(one);
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
		consumer_release(made);
		return NULL;
	}
	consumer_wait(made, 0);
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
	consumer_release(consumer);
}
