/* The connection under the bus: a thread that owns the NATS client library, connects again for ever, and speaks with
 * the worker by tasks alone. Private to this folder. */
#pragma once

#include "control/bus/bus.h"

struct link;

/* Called on the worker. */
struct link_events {
	void (*on_message)(void *context, uint32_t subscription, const struct bus_message *message);
	/* is_up: connected anew, subscriptions made; else it was lost, or could not be made: `why` in one line. */
	void (*on_state)(void *context, bool is_up, struct text why);
	void *context;
};

enum status link_open(const struct bus_settings *settings, struct worker *worker, const struct link_events *events,
	struct link **link, struct buffer *error) MUST_CHECK;
/* Ends the thread and all callbacks of the library; what was posted to the worker before may still run: link_free after
 * a turn of it. */
void link_stop(struct link *link);
void link_free(struct link *link);

/* On the worker. False: too many wait, or out of memory. Nothing is kept for a later connection. */
bool link_publish(struct link *link, struct text subject, struct text reply, const struct bus_header *headers,
	size_t count, struct text body);
/* `subscription`: the caller's number, never used twice. Lives across connections. */
bool link_subscribe(struct link *link, uint32_t subscription, struct text subject);
void link_unsubscribe(struct link *link, uint32_t subscription);
/* Ends the connection; the next is made with these settings (NULL: as before). False: they are wrong, or no memory. */
bool link_renew(struct link *link, const struct bus_settings *settings);
