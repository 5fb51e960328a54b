/* Whole answers in one call, and whole request bodies in one callback: for everything that is not a transfer. */
#pragma once

#include "server/exchange.h"

/* Short answers; `body` is copied. status 204/304: body must be empty. */
void answer(struct exchange *exchange, int status, struct text content_type, struct text body);
void answer_json(struct exchange *exchange, int status, struct text json);
void answer_empty(struct exchange *exchange, int status);
/* RFC 9457 application/problem+json: {"type":"about:blank","title":...,"status":...,"detail":...}. detail may be
 * absent. */
void answer_problem(struct exchange *exchange, int status, struct text detail);
/* The standard reason phrase; "" when unknown. */
struct text reason_phrase(int status);
/* 400 INVALID, 404 NOT_FOUND, 409 CONFLICT, 503 UNAVAILABLE, ... */
int status_to_http(enum status status);

/* Collects a body of at most `limit` bytes, then calls `done` once on this worker (body NUL-terminated, valid until
 * on_close). Over the limit: answers 413 itself and never calls done. The exchange's state and on_close stay the
 * runtime's. */
void collect_body(struct exchange *exchange, size_t limit, void (*done)(struct exchange *exchange, struct text body));
