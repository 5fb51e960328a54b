/* Which header fields cross between consumer and source. Pure functions. */
#pragma once

#include "server/exchange.h"

/* A consumer's field that may go on to a source: an allow list, so that no identity header can. */
bool header_goes_to_source(struct text name);
/* A source's field that may go on to the consumer: all but hop-by-hop fields, those its Connection fields name, and
 * what the engine writes itself. */
bool header_goes_to_consumer(struct text name, const struct header *headers, size_t count);
/* The same for a trailer: nothing that frames, routes or vouches (RFC 9110 section 6.5.1). */
bool trailer_goes_to_consumer(struct text name);
/* A field a dataset may set itself (header:<name>, authKey): a token that is not the client's business. */
bool header_may_be_set(struct text name);
/* No control bytes. */
bool header_value_is_valid(struct text value);
