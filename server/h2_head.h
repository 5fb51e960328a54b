/* The head of an HTTP/2 request: collected, limited, and checked beyond the rules of HTTP/2 (server/h2_message.h). */
#pragma once

#include "server/stream.h"

/* REFUSED: over a limit; the rest of the head is read and dropped, and the request will be answered with 431. */
enum status h2_head_add(struct stream *stream, const struct header_field *field) MUST_CHECK;
/* Lets go of what the head's fields point into: a field of HPACK's table is shared, not copied, so that a one-byte
 * reference costs no more than its place in the list. */
void h2_head_release(struct stream *stream);
/* All fields are there: sets the exchange's request half, or the refusal. */
void h2_head_complete(struct stream *stream, bool is_end);
