/* What the client library tells, on threads of its own: messages become turns of the worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/bus/link_private.h"
#include "server/base/log.h"

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

void link_on_message(natsConnection *connection, natsSubscription *handle, natsMsg *message, void *closure)
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
	if (atomic_fetch_add_explicit(&link->received, 1, memory_order_relaxed) < LINK_RECEIVED_MAX && !headers.failed)
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

void link_on_complete(void *closure)
{
	struct link *link = closure;
	pthread_mutex_lock(&link->lock);
	link->callbacks--;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

void link_on_closed(natsConnection *connection, void *closure)
{
	struct link *link = closure;
	(void)connection;
	pthread_mutex_lock(&link->lock);
	link->is_lost = link->is_closed = true;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&link->lock);
}

void link_on_error(natsConnection *connection, natsSubscription *subscription, natsStatus error, void *closure)
{
	const char *detail = NULL;
	(void)closure;
	(void)subscription;
	if (natsConnection_GetLastError(connection, &detail) == NATS_OK || detail == NULL)
		detail = "";
	LOG(WARNING, "bus.error", log_text("error", text_of(natsStatus_GetText(error))),
		log_text("detail", text_of(detail)));
}
