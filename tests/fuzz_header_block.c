/* Any bytes as blocks of header fields, one after the other: the fields and errors are those that nghttp2's decoder
 * sees, however a block is cut, and what is said of a field is what its bytes say.
 *
 * Input: the length of blocks, that of the pieces a block comes in, the size the table may have from the second block
 * on; then the blocks. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "server/header_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct seen {
	struct buffer fields;
	bool is_broken;
};

static void append(struct buffer *buffer, struct text text)
{
	buffer_append_number(buffer, (int64_t)text.length);
	buffer_append_byte(buffer, ':');
	buffer_append(buffer, text);
}

static void take(void *context, const struct header_field *field)
{
	struct seen *seen = context;
	struct h2_sense sense = h2_sense_of(h2_kind_of(field->name), field->value);
	if (field->sense.kind != sense.kind || field->sense.facts != sense.facts)
		abort();
	append(&seen->fields, field->name);
	append(&seen->fields, field->value);
}

static void read_ours(struct header_decoder *decoder, struct known_strings *known, const uint8_t *block, size_t length,
	size_t piece, struct seen *seen)
{
	const struct header_sink sink = {take, seen};
	size_t at = 0;
	do {
		size_t part = length - at < piece ? length - at : piece;
		uint8_t *copy = malloc(part > 0 ? part : 1); /* of its own: reading beyond it is seen */
		if (copy == NULL)
			abort();
		if (part > 0)
			memcpy(copy, block + at, part);
		at += part;
		seen->is_broken = header_block_read(decoder, copy, part, at == length, known, &sink) != STATUS_OK;
		free(copy);
	} while (at < length && !seen->is_broken);
}

static void read_theirs(nghttp2_hd_inflater *inflater, const uint8_t *block, size_t length, struct seen *seen)
{
	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, length, 1);
		seen->is_broken = used < 0;
		if (used < 0)
			return;
		block += used;
		length -= (size_t)used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
			append(&seen->fields, (struct text){(const char *)field.name, field.namelen});
			append(&seen->fields, (struct text){(const char *)field.value, field.valuelen});
		}
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
			nghttp2_hd_inflate_end_headers(inflater);
			return;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	enum { HEAD = 3 };
	nghttp2_hd_inflater *inflater;
	struct header_decoder decoder;
	struct known_strings *known = known_strings_new();
	bool is_over = false;
	if (known == NULL || nghttp2_hd_inflate_new(&inflater) != 0)
		abort();
	header_decoder_open(&decoder);
	for (size_t at = HEAD; at < length && !is_over;) {
		size_t whole = (size_t)bytes[0] * 8 + 1, part = length - at < whole ? length - at : whole;
		struct seen ours = {.is_broken = false}, theirs = {.is_broken = false};
		read_ours(&decoder, known, bytes + at, part, (size_t)bytes[1] + 1, &ours);
		read_theirs(inflater, bytes + at, part, &theirs);
		if (ours.is_broken != theirs.is_broken || !text_equals(buffer_text(&ours.fields), buffer_text(&theirs.fields)))
			abort();
		if (at == HEAD && !ours.is_broken) {
			size_t most = (size_t)bytes[2] * 64;
			header_decoder_allow(&decoder, most);
			if (nghttp2_hd_inflate_change_table_size(inflater, most) != 0)
				abort();
		}
		is_over = ours.is_broken;
		at += part;
		buffer_free(&ours.fields);
		buffer_free(&theirs.fields);
	}
	header_decoder_close(&decoder);
	known_strings_free(known);
	nghttp2_hd_inflate_del(inflater);
	return 0;
}
