/* Blocks of HTTP/2 header fields (RFC 7541) with their Huffman strings unpacked. nghttp2 decodes Huffman by half bytes,
 * and a request carries some hundred bytes of a token that no table ever holds: that was a quarter of a small
 * request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/known_strings.h"

/* Rewrites a whole block so that its strings are plain: the same fields and the same table for whoever decodes it.
 * False: it does not fit into `room`, or it is broken, and the decoder shall say how: take the block as it is. `known`
 * is used and added to; NULL: none. */
bool header_block_unpack(
	const uint8_t *block, size_t length, uint8_t *into, size_t room, size_t *written, struct known_strings *known);
