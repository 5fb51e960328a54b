/* Names to addresses on threads of their own: one flight per name, a cache of raw answers, answers posted to the asking
 * worker. The answers are unchecked: the address guard is the asker's, for its rules are per call. */
#pragma once

#include <netinet/in.h>

#include "server/worker.h"

enum { RESOLVER_ADDRESSES = 64 };

union resolver_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct resolver_answer {
	enum status status; /* OK with count >= 1; NOT_FOUND, UNAVAILABLE, TOO_LARGE (more addresses than we look at),
						   REFUSED (queue full) */
	unsigned count;
	union resolver_address addresses[RESOLVER_ADDRESSES]; /* port 0 */
};

struct resolver_options {
	unsigned threads;
	uint64_t ttl_ms, negative_ttl_ms;
	unsigned queue; /* names waiting for a thread */
	/* Blocking look-up; NULL: getaddrinfo. */
	void (*lookup)(const char *name, struct resolver_answer *answer);
};

struct resolver;
struct resolver_request;

enum status resolver_open(const struct resolver_options *options, struct resolver **resolver) MUST_CHECK;
/* No answer is posted after this returns. A thread inside a look-up ends when that does, on its own. */
void resolver_close(struct resolver *resolver);

/* A literal address: no thread, no cache. */
bool resolver_literal(struct text host, struct resolver_answer *answer);
/* On a worker. `done` runs later on the same worker, once, unless cancelled; the answer is borrowed. NULL: out of
 * memory. */
struct resolver_request *resolver_ask(struct resolver *resolver, struct worker *worker, struct text name,
	void (*done)(void *context, const struct resolver_answer *answer), void *context);
/* On the same worker, before `done`. */
void resolver_cancel(struct resolver_request *request);
/* On a worker that stops: its requests end without an answer. */
void resolver_forget(struct resolver *resolver, struct worker *worker);
