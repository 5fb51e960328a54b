/* Ids of streams. */
#include "server/stream_ids.h"

void stream_ids_add(struct stream_ids *ids, int32_t id)
{
	unsigned at = ids->recent_at++ % RECENT_STREAMS;
	ids->last = id;
	ids->recent[at] = id;
	ids->was_cut[at] = false;
}

void stream_ids_cut(struct stream_ids *ids, int32_t id)
{
	for (unsigned i = 0; i < RECENT_STREAMS; i++)
		ids->was_cut[i] |= ids->recent[i] == id;
}

enum stream_past stream_ids_past(const struct stream_ids *ids, int32_t id)
{
	int32_t oldest = INT32_MAX;
	for (unsigned i = 0; i < RECENT_STREAMS; i++) {
		if (ids->recent[i] == id)
			return ids->was_cut[i] ? STREAM_CUT : STREAM_ENDED;
		oldest = ids->recent[i] < oldest ? ids->recent[i] : oldest;
	}
	return id > oldest ? STREAM_SKIPPED : STREAM_CUT;
}
