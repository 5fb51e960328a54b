/* The loops over all cells that deciding spends its time in, sixteen cells an instruction where the machine can.
 * Columns and sets begin at a multiple of 64 bytes; a set has `words` words of 64 cells, a column as many cells. */
#pragma once

#include <stdint.h>

enum { COLUMNS_MAX = 16, SUM_COLUMNS_MAX = 16, SUM_SETS_MAX = 12 };

struct columns {
	const int32_t *left[COLUMNS_MAX];   /* what is free */
	const uint32_t *share[COLUMNS_MAX]; /* what one unit is of 2^32 */
	int32_t need[COLUMNS_MAX];
	int count;
};

/* What a cell's score is made of: base, columns times a number, and a value where it is a member of a set. All numbers
 * go round at 2^16. */
struct sum {
	int16_t base;
	uint32_t column_count, set_count;
	struct {
		const int16_t *column;
		int16_t times;
	} columns[SUM_COLUMNS_MAX];
	struct {
		const uint64_t *bits;
		int16_t value;
	} sets[SUM_SETS_MAX];
};

/* Those whose column is at least `least`. */
void columns_at_least(uint64_t *into, const int32_t *column, int32_t least, uint32_t words);
/* Keeps those that are in the second set, too; returns how many went. */
uint32_t columns_keep(uint64_t *bits, const uint64_t *with, uint32_t words);
/* How many are in the first set and not in the second. */
uint32_t columns_count(const uint64_t *bits, const uint64_t *without, uint32_t words);
/* least[c]: the smallest share of 2^15, over the columns, that is left when `need` has gone. Where there is no room for
 * it, whatever comes out. */
void columns_least(int16_t *least, const struct columns *columns, uint32_t words);
/* into[c]: the sum, or -1 for those that are not in `keep`; into may be one of its columns. Returns the largest. */
int16_t columns_sum(int16_t *into, const struct sum *sum, const uint64_t *keep, uint32_t words);
/* Those whose column is the value. */
void columns_equal(uint64_t *into, const int16_t *column, int16_t value, uint32_t words);
/* into[c]: how many bits sets[c] has in common with `with`. */
void columns_common(int16_t *into, const uint32_t *sets, uint32_t with, uint32_t words);
