/* The heads of HTTP/2 frames as they pass, also of those that nghttp2 drops without a word. Pure: no input, no output.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame_head {
	uint32_t length; /* of the payload */
	uint8_t type, flags;
	int32_t id;
};

enum { FRAME_HEAD = 9, RECENT_STREAMS = 16 };

/* Of FRAME_HEAD bytes. */
struct frame_head frame_head_parse(const uint8_t *head);

/* Begin with `skip` as long as the preface, all else zero. */
struct frame_scan {
	uint8_t head[FRAME_HEAD];
	uint8_t seen;                   /* bytes of the present head */
	uint32_t skip;                  /* bytes of the preface or a payload still to pass */
	int32_t recent[RECENT_STREAMS]; /* the last streams opened, to tell skipped ids from closed ones */
	unsigned recent_at;
	int32_t last_id;
};

/* At the end of a frame: what comes next is a head's first byte. */
bool frame_scan_is_between(const struct frame_scan *scan);
/* Passes over bytes, at most to the end of the present head or payload; returns how many. True in *is_head: `head` is
 * set. */
size_t frame_scan_pass(
	struct frame_scan *scan, const uint8_t *bytes, size_t length, struct frame_head *head, bool *is_head);
/* For the id of each HEADERS frame: true for one below the last that was never opened (RFC 9113 section 5.1.1); older
 * ones than the recent are not remembered. */
bool frame_scan_is_skipped(struct frame_scan *scan, int32_t id);
