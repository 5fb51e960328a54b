/* Ids of streams. */
#include "server/stream_ids.h"

void stream_ids_add(struct stream_ids *ids, int32_t id)
{
	ids->last = id;
	ids->recent[ids->recent_at++ % RECENT_STREAMS] = id;
}

bool stream_ids_is_skipped(const struct stream_ids *ids, int32_t id)
{
	int32_t oldest = INT32_MAX;
	for (unsigned i = 0; i < RECENT_STREAMS; i++) {
		if (ids->recent[i] == id)
			return false;
		oldest = ids->recent[i] < oldest ? ids->recent[i] : oldest;
	}
	return id > oldest;
}
