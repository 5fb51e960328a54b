/* One thread that makes a connection, sends what is queued, and makes the next one when it ends. The library's own
 * reconnecting is not used: of the versions about, some get stuck in it (reliability.md 0, row 7). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/bus/link_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"

/* What the worker wants done; its texts lie behind it, each ends with NUL. */
enum wish_kind { WISH_PUBLISH, WISH_SUBSCRIBE, WISH_UNSUBSCRIBE, WISH_RENEW };
struct wish {
	struct wish *next;
	enum wish_kind kind;
	uint32_t subscription;
	size_t header_count, body_length;
	const char *subject, *reply, *body; /* reply NULL: none */
	struct login *login;                /* WISH_RENEW: NULL = the same */
	char bytes[];                       /* headers first: name, value, name, value, ... */
};

/* --- telling the worker */

struct report {
	struct task task;
	struct link *link;
	bool is_up;
	char why[256];
};

static void tell(struct task *task)
{
	struct report *report = (struct report *)task;
	struct link *link = report->link;
	link->events.on_state(link->events.context, report->is_up, text_of(report->why));
	free(report);
}

static void report(struct link *link, bool is_up)
{
	struct report *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return; /* the next change says it */
	made->task.run = tell;
	made->link = link;
	made->is_up = is_up;
	if (is_up)
		natsConnection_GetConnectedUrl(link->connection, made->why, sizeof(made->why));
	else
		memcpy(made->why, link->error, sizeof(made->why));
	worker_post(link->worker, &made->task);
}

/* --- wishes */

static void lose(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->is_lost = true;
	pthread_mutex_unlock(&link->lock);
}

static void publish(struct link *link, const struct wish *wish)
{
	natsMsg *message = NULL;
	if (natsMsg_Create(&message, wish->subject, wish->reply, wish->body, (int)wish->body_length) != NATS_OK)
		return;
	natsStatus status = NATS_OK;
	const char *at = wish->bytes;
	for (size_t i = 0; i < wish->header_count && status == NATS_OK; i++) {
		const char *value = at + strlen(at) + 1;
		status = natsMsgHeader_Set(message, at, value);
		at = value + strlen(value) + 1;
	}
	if (status == NATS_OK)
		natsConnection_PublishMsg(
			link->connection, message); /* lost with the connection: whoever waits hears of that */
	natsMsg_Destroy(message);
}

static void subscribe(struct link *link, const struct wish *wish)
{
	size_t length = strlen(wish->subject) + 1;
	struct subscription *made = calloc(1, sizeof(*made) + length);
	if (made == NULL)
		abort(); /* whoever waits for its messages would wait for ever */
	made->link = link;
	made->number = wish->subscription;
	memcpy(made->subject, wish->subject, length);
	made->next = link->subscriptions;
	link->subscriptions = made;
	if (link->connection != NULL && !link_attach(link, made))
		lose(link);
}

static void unsubscribe(struct link *link, uint32_t number)
{
	for (struct subscription *one = link->subscriptions; one != NULL; one = one->next) {
		if (one->number != number)
			continue;
		one->is_dead = true; /* freed with the connection */
		if (one->handle != NULL)
			natsSubscription_Unsubscribe(one->handle);
	}
}

static void fulfil(struct link *link, struct wish *wish)
{
	switch (wish->kind) {
	case WISH_PUBLISH:
		if (link->connection != NULL)
			publish(link, wish);
		break;
	case WISH_SUBSCRIBE:
		subscribe(link, wish);
		break;
	case WISH_UNSUBSCRIBE:
		unsubscribe(link, wish->subscription);
		break;
	case WISH_RENEW:
		if (wish->login != NULL) {
			login_free(link->login);
			link->login = wish->login;
		}
		link_say(link, "connecting with new credentials", NULL);
		if (link->connection != NULL)
			lose(link);
		break;
	}
	free(wish);
}

static struct wish *take_wishes(struct link *link)
{
	struct wish *first = link->first;
	link->first = NULL;
	link->last = &link->first;
	link->waiting = 0;
	return first;
}

/* Until the connection is lost or the link stops; with none until `until_ms`. Returns whether to go on. */
static bool work(struct link *link, uint64_t until_ms)
{
	for (;;) {
		pthread_mutex_lock(&link->lock);
		while (link->first == NULL && !link->is_stopping && !(link->connection != NULL && link->is_lost)) {
			if (until_ms == UINT64_MAX) {
				pthread_cond_wait(&link->changed, &link->lock);
				continue;
			}
			struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
			if (pthread_cond_timedwait(&link->changed, &link->lock, &until) != 0)
				break;
		}
		bool is_over = link->is_stopping || (link->connection != NULL && link->is_lost),
			 is_stopping = link->is_stopping;
		struct wish *wish = is_over ? NULL : take_wishes(link);
		pthread_mutex_unlock(&link->lock);
		bool is_renewed = false;
		while (wish != NULL) {
			struct wish *next = wish->next;
			is_renewed = is_renewed || wish->kind == WISH_RENEW;
			fulfil(link, wish);
			wish = next;
		}
		if (is_over)
			return !is_stopping;
		if (is_renewed && link->connection == NULL)
			return true;
		if (until_ms != UINT64_MAX && clock_monotonic_ms() >= until_ms)
			return true;
	}
}

static void *run(void *context)
{
	struct link *link = context;
	bool was_up = false, is_first = true;
	for (bool goes_on = true; goes_on;) {
		bool is_up = link_connect(link);
		if (is_up || was_up || is_first)
			report(link, is_up);
		is_first = false;
		was_up = is_up;
		if (is_up) {
			link_say(link, "the connection was lost", NULL);
			goes_on = work(link, UINT64_MAX);
			const char *detail = NULL;
			if (natsConnection_GetLastError(link->connection, &detail) != NATS_OK && detail != NULL && *detail != 0)
				link_say(link, "the connection was lost", detail);
			if (goes_on) /* else nobody may be there to hear it */
				report(link, false);
			was_up = false;
		}
		link_disconnect(link);
		if (goes_on)
			goes_on = work(link, clock_monotonic_ms() + (uint64_t)link->login->reconnect_ms);
	}
	nats_ReleaseThreadMemory();
	return NULL;
}

/* --- the worker's side */

static struct wish *wish_new(enum wish_kind kind, size_t room)
{
	struct wish *wish = calloc(1, sizeof(*wish) + room);
	if (wish != NULL)
		wish->kind = kind;
	return wish;
}

static bool wish_for(struct link *link, struct wish *wish, bool is_urgent)
{
	if (wish == NULL)
		return false;
	pthread_mutex_lock(&link->lock);
	bool is_taken = is_urgent || link->waiting < link->waiting_max;
	if (is_taken) {
		*link->last = wish;
		link->last = &wish->next;
		link->waiting++;
		pthread_cond_broadcast(&link->changed);
	}
	pthread_mutex_unlock(&link->lock);
	if (!is_taken)
		free(wish);
	return is_taken;
}

static char *put(char *at, struct text text)
{
	if (text.length > 0)
		memcpy(at, text.bytes, text.length);
	at[text.length] = 0;
	return at + text.length + 1;
}

bool link_publish(struct link *link, struct text subject, struct text reply, const struct bus_header *headers,
	size_t count, struct text body)
{
	size_t room = subject.length + reply.length + body.length + 3;
	for (size_t i = 0; i < count; i++)
		room += headers[i].name.length + headers[i].value.length + 2;
	struct wish *wish = wish_new(WISH_PUBLISH, room);
	if (wish == NULL)
		return false;
	char *at = wish->bytes;
	wish->header_count = count;
	for (size_t i = 0; i < count; i++)
		at = put(put(at, headers[i].name), headers[i].value);
	wish->subject = at;
	at = put(at, subject);
	wish->reply = reply.length > 0 ? at : NULL;
	at = put(at, reply);
	wish->body = at;
	wish->body_length = body.length;
	put(at, body);
	return wish_for(link, wish, false);
}

bool link_subscribe(struct link *link, uint32_t subscription, struct text subject)
{
	struct wish *wish = wish_new(WISH_SUBSCRIBE, subject.length + 1);
	if (wish == NULL)
		return false;
	wish->subscription = subscription;
	wish->subject = wish->bytes;
	put(wish->bytes, subject);
	return wish_for(link, wish, true);
}

void link_unsubscribe(struct link *link, uint32_t subscription)
{
	struct wish *wish = wish_new(WISH_UNSUBSCRIBE, 1);
	if (wish == NULL)
		return; /* its messages go nowhere */
	wish->subscription = subscription;
	wish_for(link, wish, true);
}

bool link_renew(struct link *link, const struct bus_settings *settings)
{
	struct buffer error = {0};
	struct login *login = NULL;
	enum status status = settings == NULL ? STATUS_OK : login_make(settings, &login, &error);
	if (status != STATUS_OK)
		LOG(ERROR, "bus.renew",
			log_text("error", error.length > 0 ? buffer_text(&error) : text_of(status_text(status))));
	buffer_free(&error);
	struct wish *wish = status == STATUS_OK ? wish_new(WISH_RENEW, 1) : NULL;
	if (wish == NULL) {
		login_free(login);
		return false;
	}
	wish->login = login;
	return wish_for(link, wish, true);
}

/* --- life */

enum status link_open(const struct bus_settings *settings, struct worker *worker, const struct link_events *events,
	struct link **link, struct buffer *error)
{
	struct link *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = login_make(settings, &made->login, error);
	if (status == STATUS_OK && nats_Open(-1) != NATS_OK)
		status = STATUS_NO_MEMORY;
	made->worker = worker;
	made->events = *events;
	made->last = &made->first;
	made->waiting_max = (size_t)settings->pending_max;
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&made->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&made->lock, NULL);
	link_say(made, "not connected yet", NULL);
	if (status == STATUS_OK && pthread_create(&made->thread, NULL, run, made) != 0)
		status = STATUS_UNAVAILABLE;
	if (status != STATUS_OK) {
		link_free(made);
		return status;
	}
	pthread_setname_np(made->thread, "bus");
	*link = made;
	return STATUS_OK;
}

void link_stop(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->is_stopping = true;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
	pthread_join(link->thread, NULL);
}

void link_free(struct link *link)
{
	for (struct wish *wish = link->first; wish != NULL;) {
		struct wish *next = wish->next;
		login_free(wish->login);
		free(wish);
		wish = next;
	}
	while (link->subscriptions != NULL) {
		struct subscription *one = link->subscriptions;
		link->subscriptions = one->next;
		free(one);
	}
	login_free(link->login);
	pthread_mutex_destroy(&link->lock);
	pthread_cond_destroy(&link->changed);
	free(link);
}
