/* The HTTPS calls of a join, on a thread of their own: a nonce is fetched, signed, and the join is asked for. One at a
 * time. */
#pragma once

#include "control/bus/nkey.h"
#include "server/worker.h"

struct join_call;
/* url: of the manager, "https://cfm:8443"; ca_file may be NULL. Copied; the worker is the one that asks. */
enum status join_call_open(
	const char *url, const char *ca_file, struct worker *worker, struct join_call **call) MUST_CHECK;
/* After the worker has stopped. Breaks off what is under way. */
void join_call_close(struct join_call *call);

struct join_ask {
	struct text cell_id, incarnation, definition; /* definition: a JSON object */
	struct text token;                            /* "": none */
	const struct nkey *nkey;                      /* outlives the call */
	int64_t epoch, last_epoch;
};
/* On the worker; copies. `done` once on it: http_status 0: the manager was not reached, `body` is one line of why.
 * False: one is under way, or out of memory. */
bool join_call_ask(struct join_call *call, const struct join_ask *ask,
	void (*done)(void *context, int http_status, struct text body), void *context);
