/* Frames of HTTP/2 as bytes (RFC 9113, sections 4, 6 and 7). Pure. */
#pragma once

#include <stdint.h>

enum frame_type {
	FRAME_DATA,
	FRAME_HEADERS,
	FRAME_PRIORITY,
	FRAME_RST_STREAM,
	FRAME_SETTINGS,
	FRAME_PUSH_PROMISE,
	FRAME_PING,
	FRAME_GOAWAY,
	FRAME_WINDOW_UPDATE,
	FRAME_CONTINUATION, /* what comes after it is an extension */
};

enum { FLAG_ACK = 1, FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4, FLAG_PADDED = 8, FLAG_PRIORITY = 0x20 };

enum h2_error {
	H2_NO_ERROR,
	H2_PROTOCOL_ERROR,
	H2_INTERNAL_ERROR,
	H2_FLOW_CONTROL_ERROR,
	H2_SETTINGS_TIMEOUT,
	H2_STREAM_CLOSED,
	H2_FRAME_SIZE_ERROR,
	H2_REFUSED_STREAM,
	H2_CANCEL,
	H2_COMPRESSION_ERROR,
	H2_CONNECT_ERROR,
	H2_ENHANCE_YOUR_CALM,
};

enum {
	SETTING_HEADER_TABLE_SIZE = 1,
	SETTING_ENABLE_PUSH,
	SETTING_MAX_CONCURRENT_STREAMS,
	SETTING_INITIAL_WINDOW_SIZE,
	SETTING_MAX_FRAME_SIZE,
	SETTING_MAX_HEADER_LIST_SIZE,
};

enum {
	FRAME_HEAD = 9,
	FRAME_PAYLOAD_MAX = 16384, /* unless its receiver said more; we never do */
	FRAME_SIZE_MAX = 0xffffff, /* what it may say at most */
	H2_WINDOW = 65535,         /* before anybody said anything */
	H2_WINDOW_MAX = INT32_MAX,
};

struct frame_head {
	uint32_t length; /* of the payload */
	uint8_t type, flags;
	int32_t id;
};

static inline uint32_t h2_number(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void h2_put_number(uint8_t *into, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		into[i] = (uint8_t)(number >> 8 * (3 - i));
}

/* Of FRAME_HEAD bytes. */
static inline struct frame_head frame_head_parse(const uint8_t *bytes)
{
	return (struct frame_head){.length = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2],
		.type = bytes[3],
		.flags = bytes[4],
		.id = (int32_t)(h2_number(bytes + 5) & INT32_MAX)};
}

static inline void frame_head_write(uint8_t *into, size_t length, unsigned type, unsigned flags, int32_t id)
{
	into[0] = (uint8_t)(length >> 16);
	into[1] = (uint8_t)(length >> 8);
	into[2] = (uint8_t)length;
	into[3] = (uint8_t)type;
	into[4] = (uint8_t)flags;
	h2_put_number(into + 5, (uint32_t)id);
}
