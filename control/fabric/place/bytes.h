/* Compact bytes: numbers of seven bits a byte, the lowest first; texts behind their length. Reading is strict: whatever
 * is cut or out of range makes the reader bad, and then everything reads as 0. */
#pragma once

#include "server/base/text.h"

static inline void bytes_put(struct buffer *into, uint64_t number)
{
	char bytes[10];
	size_t count = 0;
	for (; number > 127; number >>= 7)
		bytes[count++] = (char)((number & 127) | 128);
	bytes[count++] = (char)number;
	buffer_append(into, (struct text){bytes, count});
}

/* Small ones of either sign are short. */
static inline void bytes_put_signed(struct buffer *into, int64_t number)
{
	bytes_put(into, (uint64_t)number << 1 ^ (uint64_t)(number >> 63));
}

static inline void bytes_put_text(struct buffer *into, struct text text)
{
	bytes_put(into, text.length);
	buffer_append(into, text);
}

struct bytes {
	const uint8_t *at, *end;
	bool is_bad;
};

static inline struct bytes bytes_of(struct text text)
{
	const uint8_t *start = (const uint8_t *)text.bytes;
	return (struct bytes){start, start + text.length, false};
}

static inline uint64_t bytes_bad(struct bytes *bytes)
{
	bytes->is_bad = true;
	bytes->at = bytes->end;
	return 0;
}

/* At most `most`. */
static inline uint64_t bytes_get(struct bytes *bytes, uint64_t most)
{
	uint64_t number = 0;
	for (unsigned shift = 0; bytes->at < bytes->end && shift < 63; shift += 7) {
		uint8_t byte = *bytes->at++;
		number |= (uint64_t)(byte & 127U) << shift;
		if (byte < 128)
			return number <= most ? number : bytes_bad(bytes);
	}
	return bytes_bad(bytes);
}

/* Between `least` and `most`, both of 33 bits at most. */
static inline int64_t bytes_get_signed(struct bytes *bytes, int64_t least, int64_t most)
{
	uint64_t number = bytes_get(bytes, UINT64_MAX >> 2);
	int64_t value = (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
	return value >= least && value <= most ? value : (int64_t)bytes_bad(bytes);
}

/* Borrowed. */
static inline struct text bytes_get_text(struct bytes *bytes)
{
	size_t length = (size_t)bytes_get(bytes, (uint64_t)(bytes->end - bytes->at));
	if (bytes->is_bad || length > (size_t)(bytes->end - bytes->at)) {
		bytes_bad(bytes);
		return TEXT("");
	}
	struct text text = {(const char *)bytes->at, length};
	bytes->at += length;
	return text;
}
