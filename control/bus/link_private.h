/* What the files of the link share. */
#pragma once

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "control/bus/link.h"
#include "control/bus/login.h"

enum { LINK_RECEIVED_MAX = 65536 /* messages that may wait for the worker */ };

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

/* arrivals.c: called by the library, on threads of its own. */
void link_on_message(natsConnection *connection, natsSubscription *handle, natsMsg *message, void *subscription);
void link_on_complete(void *link); /* of a subscription: no callback comes after it */
void link_on_closed(natsConnection *connection, void *link);
void link_on_error(natsConnection *connection, natsSubscription *subscription, natsStatus error, void *link);

/* connection.c: on the link's thread. */
void link_say(struct link *link, const char *what, const char *detail);
/* False: `error` says why. */
bool link_connect(struct link *link);
/* The subscription's own NATS part on this connection. */
bool link_attach(struct link *link, struct subscription *subscription);
/* Everything of this connection is over when it returns. */
void link_disconnect(struct link *link);
