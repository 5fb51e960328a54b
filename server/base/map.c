/* The persistent hash map: a root array of pointers to immutable buckets.
 *
 * Who owns what: the newest version owns everything reachable from it. A version that has been followed by another
 * owns, besides its root array, what its successor no longer uses: one bucket (or all of them, when the successor has
 * grown) and the key that was removed. As older versions may use the same bucket and key, versions are retired oldest
 * first. */
#include "server/base/map.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 8
#define BUCKET_FULL 12 /* entries a bucket, on average, before the root doubles */

struct key {
	uint32_t length;
	char bytes[];
};

struct entry {
	uint64_t hash;
	struct key *key;
	void *value;
};

struct bucket {
	size_t count;
	struct entry entries[];
};

struct map {
	size_t room, count; /* room: a power of two */
	uint64_t version;
	struct bucket **root;
	/* Set when the next version is made. */
	struct bucket *left_bucket;
	struct key *left_key;
	bool left_all;
};

static size_t slot_of(const struct map *map, uint64_t hash)
{
	return (size_t)hash & (map->room - 1);
}

static struct map *map_blank(void)
{
	static _Atomic uint64_t versions;
	struct map *map = calloc(1, sizeof(*map));
	if (map)
		map->version = atomic_fetch_add_explicit(&versions, 1, memory_order_relaxed) + 1;
	return map;
}

static struct map *map_with_room(size_t room)
{
	struct map *map = map_blank();
	if (!map)
		return NULL;
	map->room = room;
	map->root = calloc(room, sizeof(struct bucket *));
	if (map->root)
		return map;
	free(map);
	return NULL;
}

struct map *map_new(void)
{
	return map_with_room(FIRST_ROOM);
}

static bool key_equals(const struct key *key, struct text text)
{
	return key->length == text.length && (text.length == 0 || memcmp(key->bytes, text.bytes, text.length) == 0);
}

/* The index in the bucket, or its count. */
static size_t bucket_find(const struct bucket *bucket, uint64_t hash, struct text key)
{
	size_t i = 0, count = bucket ? bucket->count : 0;
	while (i < count && (bucket->entries[i].hash != hash || !key_equals(bucket->entries[i].key, key)))
		i++;
	return i;
}

void *map_find(const struct map *map, struct text key)
{
	if (!map || map->count == 0)
		return NULL;
	uint64_t hash = text_hash(key);
	const struct bucket *bucket = map->root[slot_of(map, hash)];
	size_t at = bucket_find(bucket, hash, key);
	return bucket && at < bucket->count ? bucket->entries[at].value : NULL;
}

size_t map_count(const struct map *map)
{
	return map ? map->count : 0;
}

uint64_t map_version(const struct map *map)
{
	return map->version;
}

void map_each(const struct map *map, bool (*visit)(void *context, struct text key, void *value), void *context)
{
	for (size_t slot = 0; map && slot < map->room; slot++) {
		const struct bucket *bucket = map->root[slot];
		for (size_t i = 0; bucket && i < bucket->count; i++) {
			const struct entry *entry = &bucket->entries[i];
			if (!visit(context, (struct text){entry->key->bytes, entry->key->length}, entry->value))
				return;
		}
	}
}

static struct bucket *bucket_new(size_t count)
{
	struct bucket *bucket = malloc(sizeof(*bucket) + count * sizeof(struct entry));
	if (bucket)
		bucket->count = count;
	return bucket;
}

static struct key *key_new(struct text text)
{
	if (text.length > UINT32_MAX)
		return NULL;
	struct key *key = malloc(sizeof(*key) + text.length);
	if (!key)
		return NULL;
	key->length = (uint32_t)text.length;
	if (text.length > 0)
		memcpy(key->bytes, text.bytes, text.length);
	return key;
}

/* A copy of `old` in which entry `at` is `entry`; at == count appends. */
static struct bucket *bucket_with(const struct bucket *old, size_t at, struct entry entry)
{
	size_t count = old ? old->count : 0;
	struct bucket *bucket = bucket_new(at == count ? count + 1 : count);
	if (!bucket)
		return NULL;
	if (count > 0)
		memcpy(bucket->entries, old->entries, count * sizeof(struct entry));
	bucket->entries[at] = entry;
	return bucket;
}

static struct bucket *bucket_without(const struct bucket *old, size_t at)
{
	struct bucket *bucket = bucket_new(old->count - 1);
	if (!bucket)
		return NULL;
	memcpy(bucket->entries, old->entries, at * sizeof(struct entry));
	memcpy(bucket->entries + at, old->entries + at + 1, (old->count - 1 - at) * sizeof(struct entry));
	return bucket;
}

static void free_buckets(struct bucket **root, size_t room)
{
	for (size_t i = 0; i < room; i++)
		free(root[i]);
}

/* Distributes the entries of one bucket over the two that take its place. */
static bool split_bucket(const struct bucket *bucket, struct bucket **low, struct bucket **high, size_t bit)
{
	size_t highs = 0;
	for (size_t i = 0; i < bucket->count; i++)
		highs += (bucket->entries[i].hash & bit) != 0;
	size_t lows = bucket->count - highs;
	*low = lows > 0 ? bucket_new(lows) : NULL;
	*high = highs > 0 ? bucket_new(highs) : NULL;
	if ((lows > 0 && !*low) || (highs > 0 && !*high))
		return false;
	lows = highs = 0;
	for (size_t i = 0; i < bucket->count; i++) {
		if (bucket->entries[i].hash & bit)
			(*high)->entries[highs++] = bucket->entries[i];
		else
			(*low)->entries[lows++] = bucket->entries[i];
	}
	return true;
}

/* The same entries in fresh buckets under a root of twice the room; NULL when out of memory. */
static struct bucket **doubled_root(const struct map *map)
{
	struct bucket **root = calloc(map->room * 2, sizeof(struct bucket *));
	for (size_t i = 0; root && i < map->room; i++) {
		if (!map->root[i] || split_bucket(map->root[i], &root[i], &root[i + map->room], map->room))
			continue;
		free_buckets(root, map->room * 2);
		free(root);
		return NULL;
	}
	return root;
}

static bool is_full(const struct map *map)
{
	return map->count >= map->room * BUCKET_FULL;
}

enum status map_load(struct map *map, struct text key, void *value)
{
	uint64_t hash = text_hash(key);
	struct bucket **root = is_full(map) ? doubled_root(map) : NULL;
	if (root) { /* without memory for a larger root, the buckets just grow longer */
		free_buckets(map->root, map->room);
		free(map->root);
		map->root = root;
		map->room *= 2;
	}
	struct bucket **slot = &map->root[slot_of(map, hash)];
	size_t at = bucket_find(*slot, hash, key);
	if (*slot && at < (*slot)->count) {
		(*slot)->entries[at].value = value;
		return STATUS_OK;
	}
	struct key *copy = key_new(key);
	struct bucket *bucket = copy ? bucket_with(*slot, at, (struct entry){hash, copy, value}) : NULL;
	if (!bucket) {
		free(copy);
		return STATUS_NO_MEMORY;
	}
	free(*slot);
	*slot = bucket;
	map->count++;
	return STATUS_OK;
}

/* A version that shares every bucket with `old`. */
static struct map *map_share(const struct map *old)
{
	struct map *next = map_blank();
	if (!next)
		return NULL;
	next->room = old->room;
	next->count = old->count;
	next->root = malloc(old->room * sizeof(struct bucket *));
	if (!next->root) {
		free(next);
		return NULL;
	}
	memcpy(next->root, old->root, old->room * sizeof(struct bucket *));
	return next;
}

/* The first half of an update: a version of its own root, grown if it is time. */
static struct map *map_follow(struct map *old, bool *grown)
{
	struct bucket **root = is_full(old) ? doubled_root(old) : NULL;
	*grown = root != NULL;
	if (!root)
		return map_share(old);
	struct map *next = map_blank();
	if (!next) {
		free_buckets(root, old->room * 2);
		free(root);
		return NULL;
	}
	next->room = old->room * 2;
	next->count = old->count;
	next->root = root;
	return next;
}

static void map_abandon(struct map *next, bool grown)
{
	if (grown)
		free_buckets(next->root, next->room);
	free(next->root);
	free(next);
}

enum status map_put(struct map *old, struct text key, void *value, struct map **next)
{
	bool grown;
	uint64_t hash = text_hash(key);
	struct map *map = map_follow(old, &grown);
	if (!map)
		return STATUS_NO_MEMORY;
	struct bucket **slot = &map->root[slot_of(map, hash)], *before = *slot;
	size_t at = bucket_find(before, hash, key);
	bool replaces = before && at < before->count;
	struct key *copy = replaces ? before->entries[at].key : key_new(key);
	struct bucket *bucket = copy ? bucket_with(before, at, (struct entry){hash, copy, value}) : NULL;
	if (!bucket) {
		if (!replaces)
			free(copy);
		map_abandon(map, grown);
		return STATUS_NO_MEMORY;
	}
	*slot = bucket;
	map->count += !replaces;
	if (grown)
		free(before); /* made a moment ago, seen by nobody */
	old->left_all = grown;
	old->left_bucket = grown ? NULL : before;
	*next = map;
	return STATUS_OK;
}

enum status map_remove(struct map *old, struct text key, struct map **next)
{
	uint64_t hash = text_hash(key);
	size_t slot = slot_of(old, hash);
	struct bucket *before = old->root[slot], *bucket = NULL;
	size_t at = bucket_find(before, hash, key);
	if (!before || at == before->count) {
		*next = old;
		return STATUS_OK;
	}
	struct map *map = map_share(old);
	if (map && before->count > 1)
		bucket = bucket_without(before, at);
	if (!map || (before->count > 1 && !bucket)) {
		if (map)
			map_abandon(map, false);
		return STATUS_NO_MEMORY;
	}
	map->root[slot] = bucket;
	map->count--;
	old->left_bucket = before;
	old->left_key = before->entries[at].key;
	*next = map;
	return STATUS_OK;
}

void map_retire(struct map *old)
{
	if (!old)
		return;
	if (old->left_all)
		free_buckets(old->root, old->room);
	free(old->left_bucket);
	free(old->left_key);
	free(old->root);
	free(old);
}

void map_free(struct map *map)
{
	if (!map)
		return;
	for (size_t slot = 0; slot < map->room; slot++) {
		struct bucket *bucket = map->root[slot];
		for (size_t i = 0; bucket && i < bucket->count; i++)
			free(bucket->entries[i].key);
		free(bucket);
	}
	free(map->root);
	free(map);
}

struct text map_key(char *into, size_t room, const struct text *parts, size_t count)
{
	size_t length = 0;
	for (size_t i = 0; i < count; i++) {
		size_t left = room - length;
		if (parts[i].length > UINT32_MAX || left < sizeof(uint32_t) || left - sizeof(uint32_t) < parts[i].length)
			return (struct text){into, 0};
		uint32_t prefix = (uint32_t)parts[i].length;
		memcpy(into + length, &prefix, sizeof(prefix));
		length += sizeof(prefix);
		if (prefix > 0)
			memcpy(into + length, parts[i].bytes, prefix);
		length += prefix;
	}
	return (struct text){into, length};
}
