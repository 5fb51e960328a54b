/* Range sets: each range is cut to the representation, then all are sorted and joined. */
#include "server/range.h"

#include <inttypes.h>

/* Digits without a bound: what does not fit is as good as the largest. */
static bool position_read(struct text digits, uint64_t *value)
{
	*value = 0;
	for (size_t i = 0; i < digits.length; i++) {
		if (digits.bytes[i] < '0' || digits.bytes[i] > '9')
			return false;
		if (__builtin_mul_overflow(*value, 10, value) ||
			__builtin_add_overflow(*value, (uint64_t)(digits.bytes[i] - '0'), value))
			*value = UINT64_MAX; /* and stays so whatever digits follow */
	}
	return digits.length > 0;
}

/* range->length 0: well-formed but outside. */
static bool range_read(struct text spec, uint64_t length, struct byte_range *range)
{
	size_t dash = text_find(spec, '-');
	if (dash == spec.length)
		return false;
	struct text from = text_slice(spec, 0, dash), to = text_slice(spec, dash + 1, spec.length);
	uint64_t first, last = UINT64_MAX;
	*range = (struct byte_range){0};
	if (from.length == 0) {
		if (!position_read(to, &last))
			return false;
		range->length = last < length ? last : length;
		range->first = length - range->length;
		return true;
	}
	if (!position_read(from, &first) || (to.length > 0 && !position_read(to, &last)) || last < first)
		return false;
	if (first >= length)
		return true;
	range->first = first;
	range->length = (last < length ? last + 1 : length) - first;
	return true;
}

static void ranges_add(struct byte_ranges *ranges, struct byte_range range)
{
	unsigned at = ranges->count++;
	for (; at > 0 && ranges->at[at - 1].first > range.first; at--)
		ranges->at[at] = ranges->at[at - 1];
	ranges->at[at] = range;
}

static void ranges_join(struct byte_ranges *ranges)
{
	unsigned kept = 0;
	for (unsigned i = 1; i < ranges->count; i++) {
		struct byte_range *previous = &ranges->at[kept];
		uint64_t end = ranges->at[i].first + ranges->at[i].length;
		if (ranges->at[i].first > previous->first + previous->length)
			ranges->at[++kept] = ranges->at[i];
		else if (end > previous->first + previous->length)
			previous->length = end - previous->first;
	}
	ranges->count = kept + 1;
}

enum range_verdict range_parse(struct text value, uint64_t length, struct byte_ranges *ranges)
{
	value = text_trim(value);
	size_t equals = text_find(value, '=');
	if (equals == value.length || !text_equals_ignoring_case(text_slice(value, 0, equals), TEXT("bytes")))
		return RANGE_WHOLE;
	struct text rest = text_slice(value, equals + 1, value.length), spec;
	struct byte_ranges found = {0};
	unsigned specs = 0;
	for (bool done = false; text_next_part(&rest, ',', &spec, &done);) {
		struct byte_range range;
		spec = text_trim(spec);
		if (spec.length == 0)
			continue;
		if (++specs > RANGES_MAX || !range_read(spec, length, &range))
			return RANGE_WHOLE;
		if (range.length > 0)
			ranges_add(&found, range);
	}
	if (specs == 0)
		return RANGE_WHOLE;
	if (found.count == 0)
		return RANGE_UNSATISFIABLE;
	ranges_join(&found);
	*ranges = found;
	return RANGE_LIST;
}

void range_format(const struct byte_range *range, uint64_t length, struct buffer *into)
{
	if (range == NULL)
		buffer_printf(into, "bytes */%" PRIu64, length);
	else
		buffer_printf(
			into, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->first, range->first + range->length - 1, length);
}

bool content_range_parse(struct text value, struct byte_range *range, uint64_t *total)
{
	const uint64_t maximum = INT64_MAX - 1;
	uint64_t first, last, all;
	if (!text_starts_with(value, TEXT("bytes ")))
		return false;
	struct text rest = text_slice(value, 6, value.length);
	size_t dash = text_find(rest, '-'), slash = text_find(rest, '/');
	if (dash >= slash || slash >= rest.length ||
		text_to_unsigned(text_slice(rest, 0, dash), maximum, &first) != STATUS_OK ||
		text_to_unsigned(text_slice(rest, dash + 1, slash), maximum, &last) != STATUS_OK ||
		text_to_unsigned(text_slice(rest, slash + 1, rest.length), maximum, &all) != STATUS_OK || first > last ||
		last >= all)
		return false;
	*range = (struct byte_range){first, last - first + 1};
	*total = all;
	return true;
}
