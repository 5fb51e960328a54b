/* The head of an HTTP/2 request: collected, limited, and checked beyond the rules of HTTP/2 (server/h2_message.h). */
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/stream.h"

/* A field as nghttp2 gives it. */
struct h2_field {
	nghttp2_rcbuf *name_buffer, *value_buffer;
	struct text name, value; /* theirs */
	bool is_known;           /* the name is of the static table */
};
struct h2_field h2_field_of(nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* REFUSED: over a limit; the rest of the head is read and dropped, and the request will be answered with 431. */
enum status h2_head_add(struct stream *stream, const struct h2_field *field) MUST_CHECK;
/* Lets go of what the head's fields point into: a field of HPACK's table is shared, not copied, so that a one-byte
 * reference costs no more than its place in the list. */
void h2_head_release(struct stream *stream);
/* All fields are there: sets the exchange's request half, or the refusal. */
void h2_head_complete(struct stream *stream, bool is_end);
/* What both protocols refuse: method, target, scheme, authority (lower-cased here; Host must agree), field names. 0, or
 * the status that refuses. */
int head_check(struct exchange *exchange);
