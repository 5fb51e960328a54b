/* The two loops over all cells and dimensions that deciding spends its time in, eight cells an instruction where the
 * machine can. Columns begin at a multiple of 64 bytes and have a multiple of 64 rows. */
#pragma once

#include <stdint.h>

enum { COLUMNS_MAX = 16 };

struct columns {
	const int32_t *left[COLUMNS_MAX];   /* what is free */
	const uint32_t *share[COLUMNS_MAX]; /* what one unit is of 2^32 */
	int32_t need[COLUMNS_MAX];
	int count;
};

/* Keeps those whose column is at least `least`. */
void columns_keep_at_least(uint64_t *into, const int32_t *column, int32_t least, uint32_t words);
/* How many are in the first set and not in the second. */
uint32_t columns_count(const uint64_t *bits, const uint64_t *without, uint32_t words);
/* least[c]: the smallest share of 2^15, over the columns, that is left when `need` has gone. Where there is no room for
 * it, whatever comes out. */
void columns_least(int16_t *least, const struct columns *columns, uint32_t words);
