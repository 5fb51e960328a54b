/* The Range header (RFC 9110 §14): which bytes of a representation of known length to send. Pure functions. */
#pragma once

#include "server/base/text.h"

enum { RANGES_MAX = 16 };

struct byte_range {
	uint64_t first, length; /* length > 0 */
};
struct byte_ranges {
	unsigned count;
	struct byte_range at[RANGES_MAX]; /* ascending, neither overlapping nor touching */
};

enum range_verdict {
	RANGE_WHOLE,         /* absent, another unit, malformed, or more than RANGES_MAX: answer 200 with everything */
	RANGE_LIST,          /* answer 206 with these */
	RANGE_UNSATISFIABLE, /* answer 416 with the length alone in content-range */
};

/* `value` of the Range header, `length` of the whole representation. `ranges` is set with RANGE_LIST only. Whoever asks
 * has looked at If-Range first (etag.h). */
enum range_verdict range_parse(struct text value, uint64_t length, struct byte_ranges *ranges);
/* A request's Content-Range (RFC 9110 section 14.5): "bytes 0-9/100", nothing else. False: malformed, or not inside its
 * total; all numbers fit an int64_t. */
bool content_range_parse(struct text value, struct byte_range *range, uint64_t *total);
/* "bytes 0-9/100" appended to `into`; range NULL: a star in place of "0-9", as 416 has it. */
void range_format(const struct byte_range *range, uint64_t length, struct buffer *into);
