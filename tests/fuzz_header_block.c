/* Any bytes as blocks of header fields, one after the other (cut where the first byte says): a decoder that is given
 * them unpacked sees the fields, the table and the errors that one sees which is given them as they came. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "server/header_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { ROOM = 16384 };

/* 0: the block has ended; 1: a field; -1: broken. */
static int step(nghttp2_hd_inflater *inflater, const uint8_t **at, const uint8_t *end, nghttp2_nv *field)
{
	for (;;) {
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, field, &flags, *at, (size_t)(end - *at), 1);
		if (used < 0)
			return -1;
		*at += used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
			return 1;
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
			nghttp2_hd_inflate_end_headers(inflater);
			return 0;
		}
		if (used == 0 && *at == end)
			return -1;
	}
}

static int compare(nghttp2_hd_inflater *packed_inflater, nghttp2_hd_inflater *plain_inflater, const uint8_t *packed,
	size_t packed_length, const uint8_t *plain, size_t plain_length)
{
	const uint8_t *packed_end = packed + packed_length, *plain_end = plain + plain_length;
	for (;;) {
		nghttp2_nv a, b;
		int expected = step(packed_inflater, &packed, packed_end, &a);
		int seen = step(plain_inflater, &plain, plain_end, &b);
		if (expected != seen)
			abort();
		if (expected != 1)
			return expected;
		if (a.namelen != b.namelen || a.valuelen != b.valuelen || a.flags != b.flags ||
			memcmp(a.name, b.name, a.namelen) != 0 || memcmp(a.value, b.value, a.valuelen) != 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static uint8_t plain[ROOM];
	nghttp2_hd_inflater *packed_inflater, *plain_inflater;
	if (length < 1 || nghttp2_hd_inflate_new(&packed_inflater) != 0)
		return 0;
	if (nghttp2_hd_inflate_new(&plain_inflater) != 0)
		abort();
	size_t piece = (size_t)bytes[0] * 8 + 1;
	bool is_fine = true;
	struct known_strings *known = known_strings_new();
	if (known == NULL)
		abort();
	for (size_t at = 1; at < length && is_fine; at += piece) {
		size_t part = length - at < piece ? length - at : piece, written;
		/* a copy of its own: reading beyond it is seen */
		uint8_t *block = malloc(part);
		if (block == NULL)
			abort();
		memcpy(block, bytes + at, part);
		is_fine = header_block_unpack(block, part, plain, sizeof(plain), &written, known) &&
				  compare(packed_inflater, plain_inflater, block, part, plain, written) == 0;
		free(block);
	}
	known_strings_free(known);
	nghttp2_hd_inflate_del(packed_inflater);
	nghttp2_hd_inflate_del(plain_inflater);
	return 0;
}
