/* Heartbeats: whatever is taken for one can be printed and is then the same. */
#include <stdlib.h>

#include "control/command/beat.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct beat beat, again;
	struct buffer printed = {0}, reprinted = {0};
	if (beat_parse((struct text){(const char *)bytes, length}, &beat) != STATUS_OK)
		return 0;
	beat_print(&beat, &printed);
	if (beat_parse(buffer_text(&printed), &again) != STATUS_OK)
		abort();
	beat_print(&again, &reprinted);
	if (!text_equals(buffer_text(&printed), buffer_text(&reprinted)) || beat.number != again.number ||
		beat.epoch != again.epoch)
		abort();
	buffer_free(&printed);
	buffer_free(&reprinted);
	return 0;
}
