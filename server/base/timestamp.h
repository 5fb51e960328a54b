/* Times as texts: RFC 3339 and the dates of XML Schema. Pure functions over a peer's bytes. */
#pragma once

#include "server/base/text.h"

/* What a thing that never happened has. */
#define TIMESTAMP_NEVER "0001-01-01T00:00:00Z"

/* Any RFC 3339 time of the years 1 to 9999, with an offset or Z, a fraction of up to nine digits: the same in UTC, of
 * the fraction what is there, without zeros at its end, as the existing managers write it. INVALID: it is none, or
 * leaves those years. */
enum status timestamp_normal(struct text text, struct buffer *into) MUST_CHECK;
/* xsd:dateTime or xsd:date (whole day: *is_day) to wall milliseconds; without a zone it is UTC. Years 1970 to 9999. */
enum status time_parse(struct text text, int64_t *wall_ms, bool *is_day) MUST_CHECK;
