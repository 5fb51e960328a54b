/* REST of the fabric: one table of endpoints, their scopes, and the error bodies of the existing managers (cfm.md 2.1,
 * 2.2). Runs on the fabric's worker. */
#pragma once

#include "server/base/json.h"
#include "server/exchange.h"
#include "tenants/access.h"

enum { REST_ARGUMENTS_MAX = 3, REST_BODY_MAX = 1024 * 1024 };

struct rest;
/* One call, from its body to its answer. Lives until both the exchange and what it waits for are over; all texts are
 * the call's own, so they may be read after the caller has gone. */
struct rest_call {
	struct exchange *exchange;                 /* NULL: the caller has gone */
	struct text arguments[REST_ARGUMENTS_MAX]; /* percent-decoded path segments in place of {...} */
	struct text caller;                        /* whom the token is of; absent: nobody was asked for one */
	const struct json *body;                   /* an object; NULL: none was asked for */
	struct text text;                          /* the body as sent */
	struct text traceparent, tracestate;       /* of the caller's trace; absent: none */
	void *context;                             /* of the endpoint's table */
	void *state;                               /* the endpoint's own */
	void (*free_state)(void *state);           /* NULL: free() */
};

struct rest_endpoint {
	const char *method, *path; /* "/tenants/{tenantID}" below the table's base, "{id}:verb" too; first match wins */
	const char *scope;         /* compared verbatim with the token's; NULL: no token asked for */
	bool has_body;             /* a JSON object; a missing or bad one is 400 before run */
	void (*run)(struct rest_call *call); /* answers, or holds the call */
};

/* access NULL: nobody is asked for a token (tests). */
enum status rest_open(struct access *access, struct rest **rest) MUST_CHECK;
void rest_free(struct rest *rest);
/* base: "/api/v1alpha1", or "". Before the server opens; tables and contexts outlive it; several tables may share a
 * base. INVALID: too many, or a path with too many arguments. */
enum status rest_add(
	struct rest *rest, const char *base, const struct rest_endpoint *endpoints, size_t count, void *context) MUST_CHECK;
/* Whoever calls below this base is asked for no token: something before the listeners does. The text outlives it. */
void rest_ask_nobody(struct rest *rest, const char *base);
/* Changes below this base (all but GET and queries) are refused with 503 while `refusal` says why. At most one, before
 * the server opens. */
void rest_guard(struct rest *rest, const char *base, const char *(*refusal)(const void *context), const void *context);
/* The server's handler: unknown path 404, known path with another method 405, 401 and 403 as cfm.md 2.2 says. */
void rest_handle(void *rest, struct exchange *exchange);

/* Keep the call beyond run: rest_hold, then exactly one rest_release after the answer was given (or not needed). */
void rest_hold(struct rest_call *call);
void rest_release(struct rest_call *call);
/* Runs the endpoint again, when what it read has changed meanwhile: call->state is freed before. At most RUNS_MAX runs
 * of a call; false: it is enough. */
enum { REST_RUNS_MAX = 6 };
bool rest_again(struct rest_call *call);
/* All of these do nothing when the caller has gone. */
void rest_answer(struct rest_call *call, int status, struct text json); /* json absent: an empty body */
/* {"error","message","code"} as cfm.md 2.1: NOT_FOUND "Not found", CONFLICT "Conflict", INVALID "Bad request: why" (why
 * NULL: "Invalid input"), UNAVAILABLE and TIMEOUT 503 with Retry-After (why NULL: the database cannot be reached); the
 * rest is 500 "Operation failed: why" (why NULL: the status's text). */
void rest_refuse(struct rest_call *call, enum status status, const char *why);
/* 400 "Invalid payload: ...", 503 "...": as given. */
void rest_refuse_with(struct rest_call *call, int status, const char *message);
/* A header of the answer to come; the value is copied. */
bool rest_add_header(struct rest_call *call, const char *name, struct text value);
/* 200 with one JSON array whose elements are printed as the caller takes them, each ended by a newline as the existing
 * managers do. `print` appends element `index` (of `count`), or nothing: that one is left out; false: the answer is cut
 * off. It runs on the fabric's worker until the exchange is over; what it needs lies in call->state. */
void rest_answer_list(
	struct rest_call *call, size_t count, bool (*print)(struct rest_call *call, size_t index, struct buffer *into));
/* The same for elements that must be fetched: the first portion is given right after this call, then `more` is called
 * whenever all that was given is taken, and the next portion is given at once or later. A portion: rest_give for each
 * element, then rest_given; failed: the answer is cut off. */
void rest_answer_portions(struct rest_call *call, void (*more)(struct rest_call *call));
void rest_give(struct rest_call *call, struct text element);
void rest_given(struct rest_call *call, bool is_last, bool failed);
/* The value of the first query parameter of this name, percent-decoded into the call's memory; TEXT_NONE when absent or
 * badly encoded. */
struct text rest_parameter(struct rest_call *call, const char *name);
