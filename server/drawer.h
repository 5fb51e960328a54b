/* A drawer: memory of one connection that is shut while nobody needs it. What was taken from it stands at the same
 * addresses with the same bytes when it is opened again; shut, only what is not zero is kept, packed. OpenSSL's
 * largest objects are mostly zeros: a connection that waits costs half.
 *
 * Drawers are of one worker, and so is all that is done with them. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DRAWER_SIZE = 20 * 1024 };
/* What all workers together may have open or shut: their addresses are reserved at once, so that whose memory it is can
 * be told by one comparison. */
enum { DRAWERS_MAX = 1024 * 1024 };
#define DRAWER_RANGE ((uintptr_t)DRAWERS_MAX * DRAWER_SIZE)
/* Where they begin; set once, before a worker's first drawer. Before that, where no memory is. Others may ask
 * meanwhile: what they ask about is in no drawer, whichever they see. */
extern _Atomic uintptr_t drawer_range;

struct drawer;
struct drawer_pool;

/* NULL: out of memory. */
struct drawer_pool *drawer_pool_new(void);
/* All drawers have been freed. */
void drawer_pool_free(struct drawer_pool *pool);

/* An open, empty drawer; NULL: there is none, the caller takes memory elsewhere. */
struct drawer *drawer_new(struct drawer_pool *pool);
/* Open or shut; what was taken from it is gone, and wiped. */
void drawer_free(struct drawer *drawer);
/* Zeroed memory for as long as the drawer lives, aligned for anything; NULL: no room left. The drawer is open. */
void *drawer_take(struct drawer *drawer, size_t size);
/* How many bytes can be read from `bytes`, which was taken, without leaving the drawers. */
size_t drawer_extent(const void *bytes);
/* Does this memory lie in any drawer? From any thread; every free of OpenSSL asks. */
static inline bool drawer_owns(const void *bytes)
{
	return (uintptr_t)bytes - atomic_load_explicit(&drawer_range, memory_order_relaxed) < DRAWER_RANGE;
}

/* Packs it. Nothing taken from it may be touched until it is opened; a debug build ends at the first touch. Out of
 * memory it stays open. */
void drawer_shut(struct drawer *drawer);
void drawer_open(struct drawer *drawer);
bool drawer_is_shut(const struct drawer *drawer);
