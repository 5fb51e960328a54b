/* Drawers: a range of addresses of which each shut drawer uses no page. */
#include "server/drawer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "server/base/secret.h"

/* WARM: emptied drawers that keep their pages for the next connection. */
enum { BLOCK = 64, WARM = 32, GRAIN = 32, GRAINS = DRAWER_SIZE / GRAIN };

/* What is not zero of a shut drawer: which grains, and these one after the other. */
struct packed {
	size_t count;
	uint8_t present[GRAINS / 8];
	_Alignas(16) uint8_t grains[][GRAIN];
};

struct drawer {
	struct drawer_pool *pool;
	uint8_t *bytes; /* DRAWER_SIZE, whole pages */
	size_t used;
	struct packed *packed; /* NULL: open */
	struct drawer *next;   /* of those that are free */
};

struct block {
	struct block *next;
	struct drawer drawers[BLOCK];
};

struct drawer_pool {
	struct block *blocks;
	struct drawer *warm, *cold; /* free ones, with and without pages */
	unsigned warm_count;
};

_Atomic uintptr_t drawer_range = 0 - DRAWER_RANGE;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint8_t *range;
static _Atomic size_t blocks; /* handed out */

static void reserve(void)
{
	void *bytes = mmap(NULL, DRAWER_RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED) /* a limit of addresses: every connection does without */
		return;
	range = bytes;
	atomic_store_explicit(&drawer_range, (uintptr_t)bytes, memory_order_relaxed);
}

size_t drawer_extent(const void *bytes)
{
	return DRAWER_SIZE - ((uintptr_t)bytes - (uintptr_t)range) % DRAWER_SIZE;
}

struct drawer_pool *drawer_pool_new(void)
{
	pthread_once(&once, reserve);
	return calloc(1, sizeof(struct drawer_pool));
}

/* The addresses of its blocks are not used again: workers start once. */
void drawer_pool_free(struct drawer_pool *pool)
{
	if (pool == NULL)
		return;
	while (pool->blocks != NULL) {
		struct block *next = pool->blocks->next;
		(void)madvise(pool->blocks->drawers[0].bytes, (size_t)BLOCK * DRAWER_SIZE, MADV_DONTNEED);
		free(pool->blocks);
		pool->blocks = next;
	}
	free(pool);
}

static bool add_block(struct drawer_pool *pool)
{
	size_t index = atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
	if (range == NULL || index >= DRAWERS_MAX / BLOCK)
		return false;
	const size_t size = (size_t)BLOCK * DRAWER_SIZE;
	uint8_t *bytes = range + index * size;
	struct block *block = calloc(1, sizeof(*block));
	if (block == NULL || mprotect(bytes, size, PROT_READ | PROT_WRITE) != 0) {
		free(block);
		return false;
	}
	(void)madvise(bytes, size, MADV_NOHUGEPAGE); /* a page is what is given back */
	block->next = pool->blocks;
	pool->blocks = block;
	for (size_t i = 0; i < BLOCK; i++) {
		block->drawers[i] = (struct drawer){.pool = pool, .bytes = bytes + i * DRAWER_SIZE, .next = pool->cold};
		pool->cold = &block->drawers[i];
	}
	return true;
}

struct drawer *drawer_new(struct drawer_pool *pool)
{
	struct drawer **at = pool->warm != NULL ? &pool->warm : &pool->cold, *drawer;
	if (*at == NULL && !add_block(pool))
		return NULL;
	drawer = *at;
	*at = drawer->next;
	if (at == &pool->warm)
		pool->warm_count--;
	return drawer;
}

static void packed_free(struct packed *packed)
{
	if (packed == NULL)
		return;
	wipe(packed, sizeof(*packed) + packed->count * GRAIN); /* keys of TLS among it */
	free(packed);
}

/* While a drawer is shut. A release build does not ask: every change would cost a mapping of its own. */
static void forbid(struct drawer *drawer, bool is_forbidden)
{
#ifdef NDEBUG
	(void)drawer, (void)is_forbidden;
#else
	(void)mprotect(drawer->bytes, DRAWER_SIZE, is_forbidden ? PROT_NONE : PROT_READ | PROT_WRITE);
#endif
}

void drawer_free(struct drawer *drawer)
{
	if (drawer == NULL)
		return;
	struct drawer_pool *pool = drawer->pool;
	bool is_warm = drawer->packed == NULL && pool->warm_count < WARM;
	struct drawer **at = is_warm ? &pool->warm : &pool->cold;
	if (drawer->packed != NULL)
		forbid(drawer, false);
	else if (is_warm)
		wipe(drawer->bytes, drawer->used);
	else
		(void)madvise(drawer->bytes, DRAWER_SIZE, MADV_DONTNEED);
	packed_free(drawer->packed);
	drawer->packed = NULL;
	drawer->used = 0;
	drawer->next = *at;
	*at = drawer;
	if (is_warm)
		pool->warm_count++;
}

void *drawer_take(struct drawer *drawer, size_t size)
{
	if (size > DRAWER_SIZE - drawer->used)
		return NULL;
	uint8_t *taken = drawer->bytes + drawer->used;
	size_t room = (size + 15) / 16 * 16;
	drawer->used = room > DRAWER_SIZE - drawer->used ? DRAWER_SIZE : drawer->used + room;
	return taken;
}

/* --- shut and open */

static bool is_zero(const uint8_t *grain)
{
	uint64_t words[GRAIN / 8];
	memcpy(words, grain, sizeof(words));
	return (words[0] | words[1] | words[2] | words[3]) == 0;
}

static bool is_present(const struct packed *packed, size_t grain)
{
	return (packed->present[grain / 8] >> grain % 8 & 1) != 0;
}

static size_t grains_of(const struct drawer *drawer)
{
	return (drawer->used + GRAIN - 1) / GRAIN;
}

void drawer_shut(struct drawer *drawer)
{
	size_t count = 0, grains = grains_of(drawer);
	if (drawer->packed != NULL)
		return;
	for (size_t i = 0; i < grains; i++)
		count += !is_zero(drawer->bytes + i * GRAIN);
	struct packed *packed = malloc(sizeof(*packed) + count * GRAIN);
	if (packed == NULL)
		return;
	*packed = (struct packed){0};
	for (size_t i = 0; i < grains; i++) {
		if (is_zero(drawer->bytes + i * GRAIN))
			continue;
		packed->present[i / 8] = (uint8_t)(packed->present[i / 8] | 1U << i % 8);
		memcpy(packed->grains[packed->count++], drawer->bytes + i * GRAIN, GRAIN);
	}
	if (madvise(drawer->bytes, DRAWER_SIZE, MADV_DONTNEED) != 0) {
		packed_free(packed);
		return;
	}
	drawer->packed = packed;
	forbid(drawer, true);
}

void drawer_open(struct drawer *drawer)
{
	struct packed *packed = drawer->packed;
	if (packed == NULL)
		return;
	forbid(drawer, false);
	size_t from = 0, grains = grains_of(drawer);
	for (size_t i = 0; i < grains; i++) {
		if (is_present(packed, i))
			memcpy(drawer->bytes + i * GRAIN, packed->grains[from++], GRAIN);
	}
	drawer->packed = NULL;
	packed_free(packed);
}

bool drawer_is_shut(const struct drawer *drawer)
{
	return drawer->packed != NULL;
}
