/* One thread that makes a connection, sends what is queued, and makes the next one when it ends. The library's own
 * reconnecting is not used: of the versions about, some get stuck in it (reliability.md 0, row 7). Subscriptions are
 * destroyed only after the library has said that their last callback is over. */
#include "control/bus/link.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

enum {
	CONNECT_MS = 2000,
	SECRET_MAX = 64 * 1024,
	RECEIVED_MAX = 65536, /* messages that may wait for the worker */
	URLS_MAX = 16
};

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

/* Settings made ready for the library; secrets are read at each connection. */
struct login {
	enum bus_method method;
	char *urls[URLS_MAX], *username, *secret_file, *ca_file;
	size_t url_count;
	int64_t reconnect_ms;
};

struct subscription {
	struct subscription *next;
	struct link *link;
	uint32_t number;
	bool is_dead;
	natsSubscription *handle; /* of this connection */
	char subject[];
};

struct link {
	struct worker *worker;
	struct link_events events;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct wish *first, **last; /* under the lock, as is all to `callbacks` */
	size_t waiting, waiting_max;
	bool is_stopping, is_lost, is_closed; /* is_lost: this connection is to end; is_closed: the library says it has */
	size_t callbacks;                     /* subscriptions whose last callback is not over */
	/* the thread's own */
	struct login *login;
	struct subscription *subscriptions;
	natsConnection *connection;
	char error[256];
	atomic_size_t received; /* posted and not yet taken */
};

/* --- logins */

static void login_free(struct login *login)
{
	if (login == NULL)
		return;
	for (size_t i = 0; i < login->url_count; i++)
		free(login->urls[i]);
	free(login->username);
	free(login->secret_file);
	free(login->ca_file);
	free(login);
}

static bool copy_of(const char *from, char **to)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}

static bool is_complete(const struct bus_settings *settings, const char **secret, struct buffer *error)
{
	const struct {
		const char *name, *file;
	} files[] = {[BUS_NONE] = {NULL, NULL},
		[BUS_USERINFO] = {"password_file", settings->password_file},
		[BUS_TOKEN] = {"token_file", settings->token_file},
		[BUS_NKEY] = {"nkey_seed_file", settings->nkey_seed_file},
		[BUS_CREDENTIALS] = {"credentials_file", settings->credentials_file}};
	const char *missing =
		files[settings->method].name != NULL && files[settings->method].file == NULL ? files[settings->method].name
		: (settings->method == BUS_USERINFO || settings->method == BUS_NKEY) && settings->username == NULL ? "username"
																										   : NULL;
	*secret = files[settings->method].file;
	if (missing != NULL)
		buffer_printf(error, "nats.%s: needed by this nats.method", missing);
	return missing == NULL;
}

static bool is_url(struct text url)
{
	return (text_starts_with(url, TEXT("nats://")) || text_starts_with(url, TEXT("tls://"))) && url.length < 512 &&
		   text_is_printable(url, ' ', '"');
}

static enum status login_make(const struct bus_settings *settings, struct login **login, struct buffer *error)
{
	const char *secret = NULL;
	if (settings->urls.count == 0 || settings->urls.count > URLS_MAX) {
		buffer_printf(error, "nats.urls: 1 to %d are needed", URLS_MAX);
		return STATUS_INVALID;
	}
	if (!is_complete(settings, &secret, error))
		return STATUS_INVALID;
	struct login *made = calloc(1, sizeof(*made));
	bool is_made = made != NULL && copy_of(settings->username, &made->username) &&
				   copy_of(secret, &made->secret_file) && copy_of(settings->ca_file, &made->ca_file);
	for (size_t i = 0; is_made && i < settings->urls.count; i++) {
		if (!is_url(text_of(settings->urls.items[i]))) {
			buffer_printf(
				error, "nats.urls: \"%s\": must be nats://host:port or tls://host:port", settings->urls.items[i]);
			login_free(made);
			return STATUS_INVALID;
		}
		is_made = copy_of(settings->urls.items[i], &made->urls[made->url_count++]);
	}
	if (!is_made) {
		login_free(made);
		return STATUS_NO_MEMORY;
	}
	made->method = (enum bus_method)settings->method;
	made->reconnect_ms = settings->reconnect_ms;
	*login = made;
	return STATUS_OK;
}

/* --- what the library calls, on threads of its own */

struct arrival {
	struct task task;
	struct link *link;
	uint32_t subscription;
	struct bus_message message;
	char bytes[];
};

static void arrive(struct task *task)
{
	struct arrival *arrival = (struct arrival *)task;
	struct link *link = arrival->link;
	atomic_fetch_sub_explicit(&link->received, 1, memory_order_relaxed);
	link->events.on_message(link->events.context, arrival->subscription, &arrival->message);
	free(arrival);
}

static char *append(char *at, struct text *text, const void *bytes, size_t length)
{
	if (length > 0)
		memcpy(at, bytes, length);
	at[length] = 0;
	*text = (struct text){at, length};
	return at + length + 1;
}

/* "Name: value\r\n" of each. */
static void collect_headers(natsMsg *message, struct buffer *into, int *status)
{
	const char **keys = NULL;
	int count = 0;
	if (natsMsgHeader_Keys(message, &keys, &count) != NATS_OK)
		return;
	for (int i = 0; i < count; i++) {
		const char *value = NULL;
		if (natsMsgHeader_Get(message, keys[i], &value) != NATS_OK || value == NULL)
			continue;
		buffer_printf(into, "%s: %s\r\n", keys[i], value);
		uint64_t number;
		if (strcmp(keys[i], "Status") == 0 && text_to_unsigned(text_of(value), 999, &number) == STATUS_OK)
			*status = (int)number;
	}
	free((void *)keys);
}

static void on_message(natsConnection *connection, natsSubscription *handle, natsMsg *message, void *closure)
{
	struct subscription *subscription = closure;
	struct link *link = subscription->link;
	struct buffer headers = {0};
	int status = 0;
	(void)connection;
	(void)handle;
	const char *subject = natsMsg_GetSubject(message), *reply = natsMsg_GetReply(message);
	size_t subject_length = strlen(subject), reply_length = reply == NULL ? 0 : strlen(reply);
	size_t length = (size_t)natsMsg_GetDataLength(message);
	collect_headers(message, &headers, &status);
	struct arrival *arrival = NULL;
	if (atomic_fetch_add_explicit(&link->received, 1, memory_order_relaxed) < RECEIVED_MAX && !headers.failed)
		arrival = malloc(sizeof(*arrival) + subject_length + reply_length + length + headers.length + 4);
	if (arrival == NULL) {
		/* as if the network had lost it */
		atomic_fetch_sub_explicit(&link->received, 1, memory_order_relaxed);
	} else {
		*arrival = (struct arrival){.task.run = arrive, .link = link, .subscription = subscription->number};
		arrival->message.status = status;
		char *at = append(arrival->bytes, &arrival->message.subject, subject, subject_length);
		at = append(at, &arrival->message.reply, reply, reply_length);
		at = append(at, &arrival->message.headers, headers.bytes, headers.length);
		append(at, &arrival->message.body, natsMsg_GetData(message), length);
		worker_post(link->worker, &arrival->task);
	}
	buffer_free(&headers);
	natsMsg_Destroy(message);
}

static void on_complete(void *closure)
{
	struct link *link = closure;
	pthread_mutex_lock(&link->lock);
	link->callbacks--;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

static void lose(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->is_lost = true;
	pthread_mutex_unlock(&link->lock);
}

static void on_closed(natsConnection *connection, void *closure)
{
	struct link *link = closure;
	(void)connection;
	pthread_mutex_lock(&link->lock);
	link->is_lost = link->is_closed = true;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus error, void *closure)
{
	const char *detail = NULL;
	(void)closure;
	(void)subscription;
	if (natsConnection_GetLastError(connection, &detail) == NATS_OK || detail == NULL)
		detail = "";
	LOG(WARNING, "bus.error", log_text("error", text_of(natsStatus_GetText(error))),
		log_text("detail", text_of(detail)));
}

/* --- connecting, on the link's thread */

static void say(struct link *link, const char *what, const char *detail)
{
	snprintf(link->error, sizeof(link->error), "%s%s%s", what, detail == NULL || *detail == 0 ? "" : ": ",
		detail == NULL ? "" : detail);
}

static bool read_secret(struct link *link, const char *path, struct buffer *content)
{
	int folder;
	const char *name;
	enum status status = safe_file_split(path, &folder, &name);
	if (status == STATUS_OK) {
		status = safe_file_read(folder, name, SECRET_MAX, true, content);
		close(folder);
	}
	if (status != STATUS_OK)
		say(link, path, status_text(status));
	while (content->length > 0 && strchr("\r\n", content->bytes[content->length - 1]) != NULL)
		content->bytes[--content->length] = 0;
	return status == STATUS_OK;
}

static bool set_method(struct link *link, natsOptions *options)
{
	const struct login *login = link->login;
	struct buffer secret = {0};
	natsStatus status = NATS_OK;
	bool is_read = true;
	switch (login->method) {
	case BUS_NONE:
		break;
	case BUS_USERINFO:
		if ((is_read = read_secret(link, login->secret_file, &secret)))
			status = natsOptions_SetUserInfo(options, login->username, secret.bytes);
		break;
	case BUS_TOKEN:
		if ((is_read = read_secret(link, login->secret_file, &secret)))
			status = natsOptions_SetToken(options, secret.bytes);
		break;
	case BUS_NKEY:
	case BUS_CREDENTIALS:
		/* the library reads the file; this says what is wrong with it */
		if ((is_read = read_secret(link, login->secret_file, &secret)))
			status = login->method == BUS_CREDENTIALS
						 ? natsOptions_SetUserCredentialsFromFiles(options, login->secret_file, NULL)
						 : natsOptions_SetNKeyFromSeed(options, login->username, login->secret_file);
		break;
	}
	if (secret.bytes != NULL)
		wipe(secret.bytes, secret.room);
	buffer_free(&secret);
	if (is_read && status != NATS_OK)
		say(link, "credentials", natsStatus_GetText(status));
	return is_read && status == NATS_OK;
}

static bool set_options(struct link *link, natsOptions *options)
{
	const struct login *login = link->login;
	natsStatus status = natsOptions_SetServers(options, (const char **)(uintptr_t)login->urls, (int)login->url_count);
	const struct {
		natsStatus (*set)(natsOptions *options, bool value);
		bool value;
	} switches[] = {{natsOptions_SetAllowReconnect, false}, {natsOptions_SetSendAsap, true},
		{natsOptions_SetIgnoreDiscoveredServers, true}};
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]) && status == NATS_OK; i++)
		status = switches[i].set(options, switches[i].value);
	if (status == NATS_OK)
		status = natsOptions_SetTimeout(options, CONNECT_MS);
	if (status == NATS_OK)
		status = natsOptions_SetClosedCB(options, on_closed, link);
	if (status == NATS_OK)
		status = natsOptions_SetErrorHandler(options, on_error, link);
	if (status == NATS_OK && login->ca_file != NULL)
		status = natsOptions_LoadCATrustedCertificates(options, login->ca_file);
	if (status != NATS_OK)
		say(link, "options", natsStatus_GetText(status));
	return status == NATS_OK && set_method(link, options);
}

/* The subscription's own NATS part on this connection. */
static bool attach(struct link *link, struct subscription *subscription)
{
	pthread_mutex_lock(&link->lock);
	link->callbacks++;
	pthread_mutex_unlock(&link->lock);
	natsStatus status = natsConnection_Subscribe(
		&subscription->handle, link->connection, subscription->subject, on_message, subscription);
	if (status != NATS_OK) {
		on_complete(link);
		return false;
	}
	natsSubscription_SetPendingLimits(subscription->handle, -1, -1);
	if (natsSubscription_SetOnCompleteCB(subscription->handle, on_complete, link) == NATS_OK)
		return true;
	on_complete(link); /* the broker has closed the connection already: nothing was delivered, and nobody would tell */
	return false;
}

static bool connect_once(struct link *link)
{
	natsOptions *options = NULL;
	link->is_lost = link->is_closed = false;
	if (natsOptions_Create(&options) != NATS_OK)
		return false;
	bool is_set = set_options(link, options);
	natsStatus status = is_set ? natsConnection_Connect(&link->connection, options) : NATS_INVALID_ARG;
	natsOptions_Destroy(options);
	if (status != NATS_OK) {
		if (is_set)
			say(link, natsStatus_GetText(status), nats_GetLastError(NULL));
		link->connection = NULL;
		return false;
	}
	for (struct subscription *one = link->subscriptions; one != NULL; one = one->next) {
		if (!one->is_dead && !attach(link, one)) {
			say(link, "cannot subscribe", one->subject);
			return false;
		}
	}
	return true;
}

/* Everything of this connection is over when it returns. */
static void disconnect(struct link *link)
{
	if (link->connection == NULL)
		return;
	natsConnection_Close(link->connection);
	pthread_mutex_lock(&link->lock);
	while (link->callbacks > 0 || !link->is_closed)
		pthread_cond_wait(&link->changed, &link->lock);
	pthread_mutex_unlock(&link->lock);
	for (struct subscription *one = link->subscriptions; one != NULL; one = one->next) {
		natsSubscription_Destroy(one->handle);
		one->handle = NULL;
	}
	natsConnection_Destroy(link->connection);
	link->connection = NULL;
	for (struct subscription **at = &link->subscriptions; *at != NULL;) {
		struct subscription *one = *at;
		if (one->is_dead) {
			*at = one->next;
			free(one);
		} else {
			at = &one->next;
		}
	}
}

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
	if (link->connection != NULL && !attach(link, made))
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
		say(link, "connecting with new credentials", NULL);
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
		bool is_up = connect_once(link);
		if (is_up || was_up || is_first)
			report(link, is_up);
		is_first = false;
		was_up = is_up;
		if (is_up) {
			say(link, "the connection was lost", NULL);
			goes_on = work(link, UINT64_MAX);
			const char *detail = NULL;
			if (natsConnection_GetLastError(link->connection, &detail) != NATS_OK && detail != NULL && *detail != 0)
				say(link, "the connection was lost", detail);
			if (goes_on) /* else nobody may be there to hear it */
				report(link, false);
			was_up = false;
		}
		disconnect(link);
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
	say(made, "not connected yet", NULL);
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
