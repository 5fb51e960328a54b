/* One connection of the link: made with its login and all its subscriptions, and ended. Subscriptions are destroyed
 * only after the library has said that their last callback is over. */
#include <stdio.h>
#include <stdlib.h>

#include "control/bus/link_private.h"

enum { CONNECT_MS = 2000 };

void link_say(struct link *link, const char *what, const char *detail)
{
	snprintf(link->error, sizeof(link->error), "%s%s%s", what, detail == NULL || *detail == 0 ? "" : ": ",
		detail == NULL ? "" : detail);
}

static bool set_options(struct link *link, natsOptions *options)
{
	struct buffer error = {0};
	const struct {
		natsStatus (*set)(natsOptions *options, bool value);
		bool value;
	} switches[] = {{natsOptions_SetAllowReconnect, false}, {natsOptions_SetSendAsap, true},
		{natsOptions_SetIgnoreDiscoveredServers, true}};
	natsStatus status = natsOptions_SetTimeout(options, CONNECT_MS);
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]) && status == NATS_OK; i++)
		status = switches[i].set(options, switches[i].value);
	if (status == NATS_OK)
		status = natsOptions_SetClosedCB(options, link_on_closed, link);
	if (status == NATS_OK)
		status = natsOptions_SetErrorHandler(options, link_on_error, link);
	if (status != NATS_OK)
		link_say(link, "options", natsStatus_GetText(status));
	bool is_set = status == NATS_OK && login_apply(link->login, options, &error);
	if (status == NATS_OK && !is_set)
		link_say(link, error.bytes == NULL ? "login" : error.bytes, NULL);
	buffer_free(&error);
	return is_set;
}

bool link_attach(struct link *link, struct subscription *subscription)
{
	pthread_mutex_lock(&link->lock);
	link->callbacks++;
	pthread_mutex_unlock(&link->lock);
	natsStatus status = natsConnection_Subscribe(
		&subscription->handle, link->connection, subscription->subject, link_on_message, subscription);
	if (status != NATS_OK) {
		link_on_complete(link);
		return false;
	}
	natsSubscription_SetPendingLimits(subscription->handle, -1, -1);
	if (natsSubscription_SetOnCompleteCB(subscription->handle, link_on_complete, link) == NATS_OK)
		return true;
	link_on_complete(
		link); /* the broker has closed the connection already: nothing was delivered, and nobody would tell */
	return false;
}

bool link_connect(struct link *link)
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
			link_say(link, natsStatus_GetText(status), nats_GetLastError(NULL));
		link->connection = NULL;
		return false;
	}
	for (struct subscription *one = link->subscriptions; one != NULL; one = one->next) {
		if (!one->is_dead && !link_attach(link, one)) {
			link_say(link, "cannot subscribe", one->subject);
			return false;
		}
	}
	return true;
}

void link_disconnect(struct link *link)
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
