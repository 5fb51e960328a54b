/* Times as the existing managers write them: RFC 3339 in UTC, of a fraction what is there, without zeros at its end. */
#pragma once

#include "server/base/text.h"

/* What a thing that never happened has. */
#define TIMESTAMP_NEVER "0001-01-01T00:00:00Z"

/* Any RFC 3339 time of the years 1 to 9999, with an offset or Z, a fraction of up to nine digits: the same in UTC.
 * INVALID: it is none, or leaves those years. */
enum status timestamp_normal(struct text text, struct buffer *into) MUST_CHECK;
