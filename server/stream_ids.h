/* The ids under which a peer has opened streams (RFC 9113, section 5.1.1). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RECENT_STREAMS = 16 };

/* All-zero to begin with. */
struct stream_ids {
	int32_t recent[RECENT_STREAMS]; /* the last ones, to tell skipped ids from closed ones */
	unsigned recent_at;
	int32_t last; /* what is above it is idle */
};

/* A new one, above the last. */
void stream_ids_add(struct stream_ids *ids, int32_t id);
/* For an id that is not above the last: was it never used? Older ones than the recent are not remembered. */
bool stream_ids_is_skipped(const struct stream_ids *ids, int32_t id);
