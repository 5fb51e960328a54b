/* Any bytes as a response head, whole and by prefixes: a verdict never changes with more bytes. */
#include <stdlib.h>
#include <string.h>

#include "server/h1_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static enum status run(const uint8_t *bytes, size_t length, size_t *used)
{
	enum { FIELDS = 16 };
	static const struct h1_limits limits = {.bytes = 1024, .fields = FIELDS};
	struct header headers[FIELDS];
	struct h1_head head;
	char *copy = malloc(length + 1);
	if (copy == NULL)
		abort();
	if (length > 0)
		memcpy(copy, bytes, length);
	enum status status = h1_parse_response(copy, length, &limits, headers, &head, used);
	if (status == STATUS_OK && *used > 0 && (*used > length || head.status < 100 || head.status > 599))
		abort();
	free(copy);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	size_t whole_used, used;
	enum status whole = run(bytes, length, &whole_used);
	for (size_t part = 0; part < length && part < 256; part++) {
		enum status status = run(bytes, part, &used);
		if (status != STATUS_OK && status != whole)
			abort();
		if (status == STATUS_OK && used > 0 && (whole != STATUS_OK || used != whole_used))
			abort();
	}
	return 0;
}
