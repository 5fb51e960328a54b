/* What cells have left for a size of demand. VPAs come in few sizes, and a booking changes one cell: so what was
 * counted over all cells for a size is kept, and at its next use only the rows that have changed are counted anew. */
#pragma once

#include "control/fabric/place/columns.h"
#include "control/fabric/place/place.h"

enum {
	SIZES_MAX = 8,         /* kept at once; the one that was asked for longest ago goes */
	SIZE_CHANGES_MAX = 64, /* rows that are looked up one by one; after more of them all rows are counted */
};

/* The sets of a size: who has room in all dimensions of VPAs, of resources, and in each that is needed. */
enum size_set { SIZE_CAPACITY, SIZE_RESOURCES, SIZE_FITS, SIZE_SETS = SIZE_FITS + PLACE_DIMENSION_COUNT };

struct size {
	int32_t need[PLACE_DIMENSION_COUNT];
	int16_t *headroom; /* of those that have room, the smallest free share that stays: 0 ... 1000 */
	uint64_t *sets[SIZE_SETS];
	uint64_t seen;  /* changes that are in it */
	uint64_t asked; /* when, counted in questions; 0: it is of no size */
};

struct sizes {
	struct size items[SIZES_MAX];
	uint32_t changed[SIZE_CHANGES_MAX]; /* a ring: rows whose room has changed */
	uint64_t changes, seen, questions;  /* seen: the most changes that any size has in it */
};

/* Room of the cell at `slot` has changed. */
void sizes_change(struct sizes *sizes, uint32_t slot);
/* There are other rows now. */
void sizes_forget(struct sizes *sizes);
/* need: PLACE_DIMENSION_COUNT numbers. Good until the next change or question. */
const struct size *sizes_find(struct place_snapshot *snapshot, const int32_t *need);
