/* A bounded set of byte ranges, of several entities: which bytes of which version have been sent. Pure functions over
 * an array that the owner gives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
	uint32_t entity; /* whatever the owner numbers */
	uint64_t first, end;
};

/* Sorted by entity and place; disjoint and not touching. */
struct span_set {
	struct span *spans;
	size_t count, room;
};

/* Adds [first, end), end > first. Returns how many of its bytes were there already; *is_kept false: no room is left for
 * a range of its own, the set is as before. */
uint64_t span_set_add(struct span_set *set, uint32_t entity, uint64_t first, uint64_t end, bool *is_kept);
/* Without the spans of one entity. */
void span_set_drop(struct span_set *set, uint32_t entity);
