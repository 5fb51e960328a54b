/* Fields that many answers have in common: checked once, and printed once for either version of HTTP. Immutable. */
#pragma once

#include "server/exchange.h"

struct known_fields {
	const struct header *fields;
	unsigned count;
	struct text block; /* as HTTP/2 sends them (answer_head.h) */
	struct text lines; /* as HTTP/1.1 does, each with its end */
};

/* Copies the texts; names lower-case, as for exchange_add_header. NULL: out of memory, or one cannot stand in a line.
 */
struct known_fields *known_fields_new(const struct header *fields, unsigned count);
void known_fields_free(struct known_fields *known); /* NULL is fine */
