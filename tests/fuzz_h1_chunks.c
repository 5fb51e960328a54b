/* Any bytes as a chunked body with trailers: whole and in pieces they say the same, and no field holds a line end. The
 * first byte says how long the pieces are. */
#include <stdlib.h>
#include <string.h>

#include "server/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct taken {
	struct buffer data, trailers;
	size_t used;
	bool has_ended;
};

static enum status take(const char *bytes, size_t length, size_t piece, struct taken *taken)
{
	struct h1_chunks chunks = {.trailers = &taken->trailers};
	while (taken->used < length && !taken->has_ended) {
		size_t used, at, count, given = length - taken->used < piece ? length - taken->used : piece;
		enum status status = h1_chunks_take(&chunks, bytes + taken->used, given, &used, &at, &count, &taken->has_ended);
		if (status != STATUS_OK)
			return status;
		if (used > given || at + count > used || (used == 0 && !taken->has_ended))
			abort();
		buffer_append(&taken->data, (struct text){bytes + taken->used + at, count});
		taken->used += used;
	}
	return STATUS_OK;
}

static void check_trailers(struct buffer *trailers)
{
	enum { FIELDS = 8 };
	struct header fields[FIELDS];
	unsigned count = h1_trailers(trailers->bytes, trailers->length, fields, FIELDS);
	if (count > FIELDS)
		abort();
	for (unsigned i = 0; i < count; i++) {
		for (size_t j = 0; j < fields[i].value.length; j++) {
			if (fields[i].value.bytes[j] == '\n' || fields[i].value.bytes[j] == '\r' || fields[i].value.bytes[j] == 0)
				abort();
		}
		if (fields[i].name.length == 0 || text_find(fields[i].name, ':') < fields[i].name.length)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct taken whole = {0}, pieces = {0};
	if (length == 0)
		return 0;
	const char *body = (const char *)bytes + 1;
	enum status first = take(body, length - 1, length, &whole);
	enum status second = take(body, length - 1, (size_t)bytes[0] % 16 + 1, &pieces);
	if (first != second || (first == STATUS_OK && (whole.used != pieces.used || whole.has_ended != pieces.has_ended)) ||
		(first == STATUS_OK && !text_equals(buffer_text(&whole.data), buffer_text(&pieces.data))))
		abort();
	if (first == STATUS_OK && whole.has_ended)
		check_trailers(&whole.trailers);
	buffer_free(&whole.data);
	buffer_free(&whole.trailers);
	buffer_free(&pieces.data);
	buffer_free(&pieces.trailers);
	return 0;
}
