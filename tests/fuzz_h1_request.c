/* Any bytes as a request: the head, then its chunked body; what was accepted obeys the grammar. */
#include <stdlib.h>
#include <string.h>

#include "server/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void chunks_run(const char *bytes, size_t length, size_t piece)
{
	struct h1_chunks chunks = {0};
	bool ended = false;
	for (size_t at = 0; at < length && !ended;) {
		size_t used, data_at, data_length, given = length - at < piece ? length - at : piece;
		if (h1_chunks_take(&chunks, bytes + at, given, &used, &data_at, &data_length, &ended) != STATUS_OK)
			return;
		if (used > given || data_at + data_length > used || (used == 0 && !ended))
			abort();
		at += used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	enum { FIELDS = 16 };
	static const struct h1_limits limits = {.bytes = 4096, .fields = FIELDS};
	struct header headers[FIELDS];
	struct h1_head head;
	size_t used;
	char *copy = malloc(length + 1);
	if (copy == NULL)
		return 0;
	if (length > 0)
		memcpy(copy, bytes, length);
	if (h1_parse_request(copy, length, &limits, headers, &head, &used) == STATUS_OK && used > 0) {
		if (used > length || used > limits.bytes || head.header_count > FIELDS ||
			(head.chunked && head.content_length >= 0))
			abort();
		for (unsigned i = 0; i < head.header_count; i++)
			if (memchr(headers[i].name.bytes, ':', headers[i].name.length) != NULL ||
				memchr(headers[i].value.bytes, '\n', headers[i].value.length) != NULL)
				abort();
		chunks_run(copy + used, length - used, 1);
		chunks_run(copy + used, length - used, 64);
	}
	chunks_run(copy, length, length);
	free(copy);
	return 0;
}
