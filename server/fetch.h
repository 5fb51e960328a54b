/* One small call to another server: the request goes out whole, the answer comes back whole. For what is no transfer:
 * key sets, tokens, DID documents, callbacks, what steers uploads. */
#pragma once

#include "server/client.h"

struct fetch;

enum { FETCH_HEADERS_MAX = 16 };

struct fetch_order {
	struct text tenant;    /* pool key of the client */
	struct text address;   /* of http or https */
	const struct url *url; /* the same, parsed; NULL: it is parsed here */
	struct text method;
	struct text accept, authorization, content_type; /* absent: no such field */
	const struct header *headers;                    /* further ones, at most FETCH_HEADERS_MAX */
	size_t header_count;
	struct text body;
	const struct address_rules *rules;
	uint32_t timeout_ms; /* of silence; 0: the client's setting */
	size_t answer_max;   /* bytes of the body */
};

/* Borrowed until fetch_done returns. */
struct fetch_answer {
	int http;       /* of its head; 0: none came */
	int64_t length; /* what the head says of the body, also of HEAD's; -1: nothing */
	struct text body;
};

/* OK: the answer is whole, whatever its `http`. TOO_LARGE: its body, or what the head says of it, is over `answer_max`;
 * the body is a part. UNAVAILABLE: none came, or it was cut off; TIMEOUT; FORBIDDEN (address guard). The fetch is gone
 * and its connection free again when this runs. */
typedef void fetch_done(void *context, enum status status, const struct fetch_answer *answer);

/* Copies all of the order. `done` runs once on the worker, never from inside this call, unless cancelled. INVALID: not
 * an address of http or https. */
enum status fetch_start(struct worker *worker, const struct fetch_order *order, fetch_done *done, void *context,
	struct fetch **fetch) MUST_CHECK;
/* Ends it in any state, `done` does not run. NULL is fine. */
void fetch_cancel(struct fetch *fetch);
