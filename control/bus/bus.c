/* Requests, subscriptions and the state of the connection on the worker. */
#include "control/bus/bus_private.h"

#include <semaphore.h>
#include <stdlib.h>

#include "control/bus/waits.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"
#include "server/worker_pool.h"

enum {
	TICK_MS = 50,
	ECHO_MS = 2000,      /* between round trips */
	ECHO_LOST_MS = 10000 /* without hearing anything for so long the connection is given up */
};

struct bus_subscription {
	struct bus *bus;
	struct bus_subscription *next;
	uint32_t number;
	void (*on_message)(void *context, const struct bus_message *message);
	void *context;
};

enum { STATE_WATCHERS_MAX = 8 };
struct state_watcher {
	void (*changed)(void *context, bool is_up);
	void *context;
};

struct bus {
	struct worker *worker;
	struct link *link;
	struct task begin, finish;
	sem_t is_finished;
	struct timer *tick;
	bool is_up, is_over, is_disconnected;
	char why[256];
	uint64_t since_ms, echo_sent_ns, echo_us, echo_asked_ms, echo_heard_ms;
	char inbox[128]; /* "<prefix>.<random>" */
	uint32_t numbers;
	struct bus_subscription *subscriptions;
	struct waits waits;
	struct state_watcher watchers[STATE_WATCHERS_MAX];
	size_t watcher_count;
	struct bus_consumer *consumers;
	struct bus_direct *directs;
};

struct bus_consumer **bus_consumers(struct bus *bus)
{
	return &bus->consumers;
}

struct bus_direct **bus_directs(struct bus *bus)
{
	return &bus->directs;
}

void bus_inbox(struct bus *bus, const char *kind, uint32_t number, struct buffer *into)
{
	buffer_printf(into, "%s.%s.%u", bus->inbox, kind, number);
}

/* --- requests */

/* A refusal that must not come inside the call. */
struct refusal {
	struct task task;
	enum status status;
	void (*done)(void *context, enum status status, const struct bus_message *message);
	void *context;
};

static void refuse(struct task *task)
{
	struct refusal *refusal = (struct refusal *)task;
	refusal->done(refusal->context, refusal->status, NULL);
	free(refusal);
}

static void refuse_later(struct bus *bus, enum status status,
	void (*done)(void *context, enum status status, const struct bus_message *message), void *context)
{
	struct refusal *refusal = malloc(sizeof(*refusal));
	if (refusal == NULL)
		abort(); /* whoever waits would wait for ever */
	*refusal = (struct refusal){.task.run = refuse, .status = status, .done = done, .context = context};
	worker_post(bus->worker, &refusal->task);
}

void bus_request(struct bus *bus, struct text subject, const struct bus_header *headers, size_t count, struct text body,
	uint64_t timeout_ms, void (*done)(void *context, enum status status, const struct bus_message *message),
	void *context)
{
	bool may_ask = bus->is_up && !bus->is_over;
	uint32_t place = may_ask ? waits_add(&bus->waits, clock_monotonic_ms() + timeout_ms, done, context) : NO_PLACE;
	if (place == NO_PLACE) {
		refuse_later(bus, bus->is_over ? STATUS_CLOSED : STATUS_UNAVAILABLE, done, context);
		return;
	}
	char reply[REPLY_MAX];
	if (!link_publish(bus->link, subject, waits_reply(&bus->waits, place, bus->inbox, reply), headers, count, body))
		waits_give_up(&bus->waits, place);
}

static void on_answer(void *context, const struct bus_message *message)
{
	struct bus *bus = context;
	waits_answer(&bus->waits, bus->inbox, message);
}

/* --- core */

bool bus_send(struct bus *bus, struct text subject, const struct bus_header *headers, size_t count, struct text body)
{
	return bus->is_up && !bus->is_over && link_publish(bus->link, subject, TEXT_NONE, headers, count, body);
}

bool bus_send_asking(struct bus *bus, struct text subject, struct text reply, struct text body)
{
	return bus->is_up && !bus->is_over && link_publish(bus->link, subject, reply, NULL, 0, body);
}

bool bus_respond(struct bus *bus, const struct bus_message *request, struct text body)
{
	return request->reply.length > 0 && bus_send(bus, request->reply, NULL, 0, body);
}

struct bus_subscription *bus_subscribe(struct bus *bus, struct text subject,
	void (*on_message)(void *context, const struct bus_message *message), void *context)
{
	struct bus_subscription *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	*made = (struct bus_subscription){
		.bus = bus, .next = bus->subscriptions, .number = ++bus->numbers, .on_message = on_message, .context = context};
	if (!link_subscribe(bus->link, made->number, subject)) {
		free(made);
		return NULL;
	}
	bus->subscriptions = made;
	return made;
}

void bus_unsubscribe(struct bus_subscription *subscription)
{
	if (subscription == NULL)
		return;
	link_unsubscribe(subscription->bus->link, subscription->number);
	for (struct bus_subscription **at = &subscription->bus->subscriptions; *at != NULL; at = &(*at)->next) {
		if (*at == subscription) {
			*at = subscription->next;
			break;
		}
	}
	free(subscription);
}

static void on_message(void *context, uint32_t number, const struct bus_message *message)
{
	struct bus *bus = context;
	bus->echo_heard_ms = clock_monotonic_ms();
	for (struct bus_subscription *one = bus->subscriptions; one != NULL && !bus->is_over; one = one->next) {
		if (one->number == number) {
			one->on_message(one->context, message);
			return;
		}
	}
}

struct text bus_message_header(const struct bus_message *message, struct text name)
{
	for (struct text rest = message->headers; rest.length > 0;) {
		struct text line = text_slice(rest, 0, text_find(rest, '\r'));
		rest = text_slice(rest, line.length + 2, rest.length);
		if (line.length > name.length && text_starts_with(line, name) && line.bytes[name.length] == ':')
			return text_trim(text_slice(line, name.length + 1, line.length));
	}
	return TEXT_NONE;
}

/* --- state */

bool bus_is_up(const struct bus *bus)
{
	return bus->is_up;
}

uint64_t bus_round_trip_us(const struct bus *bus)
{
	return bus->is_up ? bus->echo_us : 0;
}

void bus_line(const struct bus *bus, struct buffer *into)
{
	uint64_t now_ms = clock_monotonic_ms();
	if (bus->is_up)
		buffer_printf(into, "connected to %s, round trip %llu.%02llu ms", bus->why,
			(unsigned long long)(bus->echo_us / 1000), (unsigned long long)(bus->echo_us % 1000 / 10));
	else
		buffer_printf(
			into, "no connection for %llu s: %s", (unsigned long long)((now_ms - bus->since_ms) / 1000), bus->why);
}

void bus_on_state(struct bus *bus, void (*changed)(void *context, bool is_up), void *context)
{
	if (bus->watcher_count == STATE_WATCHERS_MAX)
		abort();
	bus->watchers[bus->watcher_count++] = (struct state_watcher){changed, context};
}

static void on_state(void *context, bool is_up, struct text why)
{
	struct bus *bus = context;
	bool was_up = bus->is_up;
	if (bus->is_over)
		return;
	if (is_up != was_up || bus->since_ms == 0)
		bus->since_ms = clock_monotonic_ms();
	snprintf(bus->why, sizeof(bus->why), "%.*s", TEXT_ARGUMENTS(why));
	bus->is_up = is_up;
	bus->echo_asked_ms = 0;
	bus->echo_heard_ms = clock_monotonic_ms();
	if (is_up)
		LOG(INFO, "bus.up", log_text("url", why));
	else
		LOG(WARNING, "bus.down", log_text("why", why));
	if (!is_up)
		waits_end(&bus->waits, STATUS_UNAVAILABLE);
	consumers_state(bus, is_up);
	directs_forget(bus, NULL);
	for (size_t i = 0; i < bus->watcher_count && is_up != was_up; i++)
		bus->watchers[i].changed(bus->watchers[i].context, is_up);
}

static void on_echo(void *context, enum status status, const struct bus_message *message)
{
	struct bus *bus = context;
	(void)message;
	if (status == STATUS_TIMEOUT || status == STATUS_CLOSED || !bus->is_up)
		return;
	bus->echo_us = (clock_monotonic_ns() - bus->echo_sent_ns) / 1000;
	bus->echo_heard_ms = clock_monotonic_ms();
}

/* A request to oneself: the reply subject is the subject. */
static void ask_echo(struct bus *bus, uint64_t now_ms)
{
	uint32_t place = waits_add(&bus->waits, now_ms + ECHO_LOST_MS, on_echo, bus);
	bus->echo_asked_ms = now_ms;
	if (place == NO_PLACE)
		return;
	char subject[REPLY_MAX];
	bus->echo_sent_ns = clock_monotonic_ns();
	if (!link_publish(bus->link, waits_reply(&bus->waits, place, bus->inbox, subject), TEXT_NONE, NULL, 0, TEXT("")))
		waits_give_up(&bus->waits, place);
}

static void on_tick(void *context)
{
	struct bus *bus = context;
	uint64_t now_ms = clock_monotonic_ms();
	waits_tick(&bus->waits, now_ms);
	if (bus->is_up && now_ms - bus->echo_asked_ms >= ECHO_MS)
		ask_echo(bus, now_ms);
	if (bus->is_up && now_ms - bus->echo_heard_ms > ECHO_LOST_MS) {
		bus->echo_heard_ms = now_ms;
		LOG(WARNING, "bus.silent", log_number("ms", ECHO_LOST_MS));
		link_renew(bus->link, NULL);
	}
	consumers_tick(bus, now_ms);
	timer_set(bus->tick, TICK_MS);
}

/* --- life */

static void begin(struct task *task)
{
	struct bus *bus = (struct bus *)((char *)task - offsetof(struct bus, begin));
	bus->tick = timer_new(bus->worker, on_tick, bus);
	if (bus->tick == NULL)
		abort();
	timer_set(bus->tick, TICK_MS);
}

static void finish(struct task *task)
{
	struct bus *bus = (struct bus *)((char *)task - offsetof(struct bus, finish));
	bus->is_over = true;
	bus->is_up = false;
	waits_end(&bus->waits, STATUS_CLOSED);
	consumers_end(bus);
	directs_forget(bus, NULL);
	timer_free(bus->tick);
	bus->tick = NULL;
	while (bus->subscriptions != NULL) {
		struct bus_subscription *one = bus->subscriptions;
		bus->subscriptions = one->next;
		free(one);
	}
	sem_post(&bus->is_finished);
}

enum status bus_open(const struct bus_settings *settings, struct worker *worker, struct bus **bus, struct buffer *error)
{
	struct bus *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	char id[ID_LENGTH + 1];
	id_random(id);
	made->worker = worker;
	waits_init(&made->waits);
	made->since_ms = clock_monotonic_ms();
	snprintf(made->why, sizeof(made->why), "not connected yet");
	snprintf(made->inbox, sizeof(made->inbox), "%s.%.16s", settings->inbox, id);
	sem_init(&made->is_finished, 0, 0);
	const struct link_events events = {on_message, on_state, made};
	enum status status = link_open(settings, worker, &events, &made->link, error);
	if (status != STATUS_OK) {
		sem_destroy(&made->is_finished);
		free(made);
		return status;
	}
	char answers[160];
	int length = snprintf(answers, sizeof(answers), "%s.r.>", made->inbox);
	if (bus_subscribe(made, (struct text){answers, (size_t)length}, on_answer, made) == NULL)
		abort();
	made->begin.run = begin;
	worker_post(worker, &made->begin);
	*bus = made;
	return STATUS_OK;
}

static void wake(void *context)
{
	sem_post(context);
}

/* Until the worker has run what was posted to it. */
static void wait_turn(struct bus *bus)
{
	sem_t turned;
	sem_init(&turned, 0, 0);
	worker_pool_barrier(worker_pool_of(bus->worker), wake, &turned);
	while (sem_wait(&turned) != 0)
		continue;
	sem_destroy(&turned);
}

void bus_disconnect(struct bus *bus)
{
	if (bus == NULL || bus->is_disconnected)
		return;
	link_stop(bus->link);
	bus->is_disconnected = true;
	wait_turn(bus);
}

void bus_close(struct bus *bus)
{
	if (bus == NULL)
		return;
	if (!bus->is_disconnected)
		link_stop(bus->link);
	bus->finish.run = finish;
	worker_post(bus->worker, &bus->finish);
	wait_turn(bus);
	if (sem_trywait(&bus->is_finished) != 0)
		finish(&bus->finish); /* the workers have never run, or not any more */
	sem_destroy(&bus->is_finished);
	link_free(bus->link);
	waits_free(&bus->waits);
	free(bus);
}

void bus_renew(struct bus *bus, const struct bus_settings *settings)
{
	link_renew(bus->link, settings);
}
