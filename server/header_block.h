/* Blocks of HTTP/2 header fields (RFC 7541, section 3) as a peer sends them, in pieces as they come. A field that
 * came before costs its index, and a token that came before a comparison. */
#pragma once

#include "server/header_table.h"
#include "server/known_strings.h"

/* Of one connection. */
struct header_decoder {
	struct header_table table;
	size_t most; /* what the table's size may be set to */
	bool is_size_due, has_fields;
	struct buffer rest; /* of a field whose end has not come */
};

void header_decoder_open(struct header_decoder *decoder);
void header_decoder_close(struct header_decoder *decoder);
/* The peer has heard what its table may be (section 4.2). Between blocks. */
void header_decoder_allow(struct header_decoder *decoder, size_t most);

struct header_sink {
	/* The field's texts are valid until it returns. */
	void (*take)(void *context, const struct header_field *field);
	void *context;
};
/* Reads a piece of a block, `is_end` with its last. `known` is used and added to; NULL: none. PROTOCOL: it is broken,
 * NO_MEMORY: a field is lost; nothing that comes later can be understood. */
enum status header_block_read(struct header_decoder *decoder, const uint8_t *bytes, size_t length, bool is_end,
	struct known_strings *known, const struct header_sink *sink) MUST_CHECK;
