/* Strings in HPACK's Huffman code (RFC 7541, section 5.2). nghttp2 decodes it by half bytes, and a request carries some
 * hundred bytes of a token that no table ever holds: that was a quarter of a small request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The shortest code has five bits: so many bytes hold whatever `length` packed ones may mean. */
static inline size_t huffman_room(size_t length)
{
	return length * 8 / 5 + 1;
}
/* False: a broken code or padding, or no room. */
bool huffman_unpack(const uint8_t *packed, size_t length, uint8_t *into, size_t room, size_t *written);
