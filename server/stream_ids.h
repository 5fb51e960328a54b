/* The ids under which a peer has opened streams (RFC 9113, section 5.1.1). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RECENT_STREAMS = 16 };

/* All-zero to begin with. */
struct stream_ids {
	int32_t recent[RECENT_STREAMS]; /* the last ones, to tell skipped ids from closed ones */
	bool was_cut[RECENT_STREAMS];   /* by us: its peer may not have heard of it */
	unsigned recent_at;
	int32_t last; /* what is above it is idle */
};

/* A new one, above the last. */
void stream_ids_add(struct stream_ids *ids, int32_t id);
/* We have reset it, or dropped it. */
void stream_ids_cut(struct stream_ids *ids, int32_t id);

enum stream_past {
	STREAM_SKIPPED, /* never used */
	STREAM_ENDED,   /* by its peer, which knows */
	STREAM_CUT,     /* by us; or too long ago to say */
};
/* Of a closed stream, whose id is not above the last. */
enum stream_past stream_ids_past(const struct stream_ids *ids, int32_t id);
