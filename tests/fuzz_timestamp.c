/* Any bytes as a time: what is read is written in a form that is read as itself. */
#include <stdlib.h>

#include "server/base/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct buffer once = {0}, twice = {0};
	if (timestamp_normal((struct text){(const char *)bytes, length}, &once) == STATUS_OK &&
		(timestamp_normal(buffer_text(&once), &twice) != STATUS_OK ||
			!text_equals(buffer_text(&once), buffer_text(&twice))))
		abort();
	buffer_free(&once);
	buffer_free(&twice);
	return 0;
}
