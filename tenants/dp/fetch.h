/* One small call to another server: the request goes out whole, the answer comes back whole. For what is no transfer:
 * key sets, tokens, callbacks. */
#pragma once

#include "server/client.h"

struct fetch;

struct fetch_order {
	struct text tenant; /* pool key of the client */
	const char *url;
	struct text method;
	struct text authorization; /* absent: none */
	struct text content_type;  /* absent: no body */
	struct text body;
	const struct address_rules *rules;
	uint32_t timeout_ms; /* of silence */
	size_t answer_max;
};

/* OK: there was an answer, `http` is its status; body borrowed. TOO_LARGE, TIMEOUT, FORBIDDEN (address guard),
 * UNAVAILABLE: there was none. The fetch is gone when this runs. */
typedef void fetch_done(void *context, enum status status, int http, struct text body);

/* Copies all of the order. `done` runs once on the worker, never from inside this call, unless cancelled. INVALID: no
 * URL. */
enum status fetch_start(struct worker *worker, const struct fetch_order *order, fetch_done *done, void *context,
	struct fetch **fetch) MUST_CHECK;
/* NULL is fine. */
void fetch_cancel(struct fetch *fetch);

/* name=value of application/x-www-form-urlencoded, with '&' before all but the first. */
void form_append(struct buffer *form, const char *name, struct text value);
/* Wipes, then frees. */
void buffer_wipe(struct buffer *buffer);
