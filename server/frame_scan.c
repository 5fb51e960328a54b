/* Scanning of HTTP/2 frame heads. */
#include "server/frame_scan.h"

#include <string.h>

bool frame_scan_is_between(const struct frame_scan *scan)
{
	return scan->skip == 0 && scan->seen == 0;
}

struct frame_head frame_head_parse(const uint8_t *head)
{
	uint32_t id = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
	return (struct frame_head){.length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
		.type = head[3],
		.flags = head[4],
		.id = (int32_t)(id & INT32_MAX)};
}

size_t frame_scan_pass(
	struct frame_scan *scan, const uint8_t *bytes, size_t length, struct frame_head *head, bool *is_head)
{
	*is_head = false;
	if (scan->skip > 0) {
		size_t skipped = length < scan->skip ? length : scan->skip;
		scan->skip -= (uint32_t)skipped;
		return skipped;
	}
	size_t part = length < (size_t)(FRAME_HEAD - scan->seen) ? length : (size_t)(FRAME_HEAD - scan->seen);
	memcpy(scan->head + scan->seen, bytes, part);
	scan->seen = (uint8_t)(scan->seen + part);
	if (scan->seen == FRAME_HEAD) {
		*head = frame_head_parse(scan->head);
		*is_head = true;
		scan->seen = 0;
		scan->skip = head->length;
	}
	return part;
}

bool frame_scan_is_skipped(struct frame_scan *scan, int32_t id)
{
	int32_t oldest = INT32_MAX;
	if (id > scan->last_id) {
		scan->last_id = id;
		scan->recent[scan->recent_at++ % RECENT_STREAMS] = id;
		return false;
	}
	for (unsigned i = 0; i < RECENT_STREAMS; i++) {
		if (scan->recent[i] == id)
			return false;
		oldest = scan->recent[i] < oldest ? scan->recent[i] : oldest;
	}
	return id > oldest;
}
