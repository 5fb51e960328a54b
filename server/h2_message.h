/* What HTTP/2 demands of a request beyond its frames (RFC 9113 sections 8.1 to 8.3): which fields, in which order, with
 * which bytes, and as much body as was said. nghttp2 has the same rules, byte by byte and field by field; here most of
 * a head is passed over sixteen bytes at a time. tests/h2_message_test.c and tests/fuzz_h2_message.c hold the two
 * against each other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"

enum h2_kind {
	H2_PLAIN,
	H2_METHOD,
	H2_SCHEME,
	H2_PATH,
	H2_AUTHORITY, /* so far the pseudo fields */
	H2_HOST,
	H2_TE,
	H2_LENGTH,
	H2_FORBIDDEN, /* whatever its value */
};

/* What a field says by itself, wherever it stands: worth remembering for one that comes with every request. */
struct h2_sense {
	uint8_t kind;   /* enum h2_kind */
	uint16_t facts; /* enum in h2_message.c; 0: its name or its value must not be */
};
enum h2_kind h2_kind_of(struct text name);
struct h2_sense h2_sense_of(enum h2_kind kind, struct text value);

/* One request, its trailers included. */
struct h2_message {
	uint16_t seen;    /* enum in h2_message.c */
	int64_t length;   /* content-length; -1: none */
	int64_t received; /* bytes of body */
};

void h2_message_begin(struct h2_message *message);
/* A field of the head, or of the trailers. False: the request is malformed, and what else comes of it must be dropped.
 */
bool h2_message_field(struct h2_message *message, struct h2_sense sense, struct text value, bool is_trailer) MUST_CHECK;
/* The head is complete. False: it lacks something. */
bool h2_message_head(struct h2_message *message) MUST_CHECK;
/* head_check has nothing to say but of names. */
bool h2_message_is_clean(const struct h2_message *message);
/* Bytes of body. False: more than was said. */
bool h2_message_body(struct h2_message *message, size_t length) MUST_CHECK;
/* The request has ended. False: less than was said. */
bool h2_message_end(const struct h2_message *message) MUST_CHECK;
