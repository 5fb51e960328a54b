/* Byte ranges that grow together. */
#include "tenants/dp/contract/span_set.h"

#include <string.h>

static bool is_before(const struct span *span, uint32_t entity, uint64_t at)
{
	return span->entity < entity || (span->entity == entity && span->end < at);
}

uint64_t span_set_add(struct span_set *set, uint32_t entity, uint64_t first, uint64_t end, bool *is_kept)
{
	struct span grown = {entity, first, end};
	uint64_t known = 0;
	size_t from = 0, to;
	*is_kept = true;
	while (from < set->count && is_before(&set->spans[from], entity, first))
		from++;
	for (to = from; to < set->count && set->spans[to].entity == entity && set->spans[to].first <= end; to++) {
		const struct span *span = &set->spans[to];
		uint64_t low = span->first > first ? span->first : first, high = span->end < end ? span->end : end;
		known += high > low ? high - low : 0;
		grown.first = span->first < grown.first ? span->first : grown.first;
		grown.end = span->end > grown.end ? span->end : grown.end;
	}
	if (to == from && set->count == set->room) {
		*is_kept = false;
		return known;
	}
	memmove(&set->spans[from + 1], &set->spans[to], (set->count - to) * sizeof(set->spans[0]));
	set->count = set->count - (to - from) + 1;
	set->spans[from] = grown;
	return known;
}

void span_set_drop(struct span_set *set, uint32_t entity)
{
	size_t kept = 0;
	for (size_t i = 0; i < set->count; i++) {
		if (set->spans[i].entity != entity)
			set->spans[kept++] = set->spans[i];
	}
	set->count = kept;
}
