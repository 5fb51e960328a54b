/* A hash table of objects that carry their own link: for indexes that one thread both reads and changes (what several
 * threads read is map.h). The objects stay the caller's. */
#pragma once

#include "server/base/text.h"

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

/* All-zero is a valid empty one. */
struct table {
	struct table_link **rows;
	size_t row_count, count;
};

/* `is`: is this object the one of this key? NULL: none. */
struct table_link *table_find(
	const struct table *table, struct text key, bool (*is)(const struct table_link *link, struct text key));
/* `key` must not be in it yet; it is not kept. False: out of memory, unchanged. */
bool table_add(struct table *table, struct text key, struct table_link *link);
void table_remove(struct table *table, struct table_link *link);
/* Forgets all objects. */
void table_free(struct table *table);
