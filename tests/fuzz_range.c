/* Any bytes as Range, entity-tag list and date; ranges that come out lie inside, ascending and apart. */
#include <stdlib.h>
#include <string.h>

#include "server/etag.h"
#include "server/http_date.h"
#include "server/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void ranges_check(struct text value, uint64_t size)
{
	struct byte_ranges ranges;
	if (range_parse(value, size, &ranges) != RANGE_LIST)
		return;
	if (ranges.count == 0 || ranges.count > RANGES_MAX)
		abort();
	for (unsigned i = 0; i < ranges.count; i++) {
		const struct byte_range *range = &ranges.at[i];
		if (range->length == 0 || range->first >= size || range->length > size - range->first)
			abort();
		if (i > 0 && range->first <= ranges.at[i - 1].first + ranges.at[i - 1].length)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	uint64_t size;
	if (length < sizeof size)
		return 0;
	memcpy(&size, bytes, sizeof size);
	struct text value = {(const char *)bytes + sizeof size, length - sizeof size};
	ranges_check(value, size);
	ranges_check(value, size % 1000);
	struct byte_range range;
	uint64_t total;
	if (content_range_parse(value, &range, &total)) {
		struct buffer again = {0};
		range_format(&range, total, &again);
		if (range.length == 0 || range.first + range.length > total || total > INT64_MAX || again.length > value.length)
			abort(); /* leading zeros may be longer */
		buffer_free(&again);
	}
	if (if_match(value, TEXT("\"a\"")) && !if_none_match(value, TEXT("\"a\"")))
		abort();
	int64_t seconds, again;
	if (http_date_parse(value, 1795521600, &seconds) == STATUS_OK) {
		char text[HTTP_DATE_LENGTH + 1];
		http_date_format(seconds, text);
		if (http_date_parse(text_of(text), 0, &again) != STATUS_OK || again != seconds)
			abort();
	}
	return 0;
}
