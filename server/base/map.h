/* A persistent hash map from text to pointer: readers hold an immutable version, one writer makes the next. An update
 * copies the root array and one bucket; all else is shared. This is how every in-memory index of a tenant's things
 * (participants, routes, datasets, flows) is swapped under running workers without a lock.
 *
 * The writer publishes with an atomic pointer store of its own and retires the version before it once no reader can
 * hold it (worker_pool_retire). Keys are copied; values are borrowed and never freed here. Compound keys are built with
 * map_key, which is length-prefixed: ("ab","c") differs from ("a","bc"). */
#pragma once

#include "server/base/text.h"

struct map;

/* An empty map for the first version; NULL when out of memory. */
struct map *map_new(void);
/* The next version with key -> value (value != NULL). The old version stays valid until map_retire(old). */
enum status map_put(struct map *old, struct text key, void *value, struct map **next) MUST_CHECK;
/* The next version without the key; *next == old when it was not there. */
enum status map_remove(struct map *old, struct text key, struct map **next) MUST_CHECK;
/* In place, only while no reader has seen the map (loading at start). Replaces an existing value. */
enum status map_load(struct map *map, struct text key, void *value) MUST_CHECK;
void *map_find(const struct map *map, struct text key);
size_t map_count(const struct map *map);
/* Tells a version from all that ever were in this process; never 0. */
uint64_t map_version(const struct map *map);
/* What was found under a key, for who asks for it again and again: it stands as long as the version does. All-zero
 * starts. */
struct map_memo {
	uint64_t version;
	void *found;
};
/* Calls for each entry, in no order, until the visitor returns false. */
void map_each(const struct map *map, bool (*visit)(void *context, struct text key, void *value), void *context);
/* Frees what this version does not share with the version made from it (versions form one line). */
void map_retire(struct map *old);
/* Frees the last version whole. */
void map_free(struct map *map);

/* Writes the length-prefixed tuple of `parts` into `into`, at most `room` bytes; an empty text when it does not fit. */
struct text map_key(char *into, size_t room, const struct text *parts, size_t count);
