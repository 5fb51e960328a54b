/* Sizes of demand: counted for all cells by columns, kept up row by row. */
#include "control/fabric/place/sizes.h"

#include "control/fabric/place/decide.h"

enum { SHARE_BITS = 15, WHOLE = 1000 };

void sizes_change(struct sizes *sizes, uint32_t slot)
{
	/* a booking changes many dimensions of one row: once is enough, until a size has looked */
	if (sizes->changes > sizes->seen && sizes->changed[(sizes->changes - 1) % SIZE_CHANGES_MAX] == slot)
		return;
	sizes->changed[sizes->changes++ % SIZE_CHANGES_MAX] = slot;
}

void sizes_forget(struct sizes *sizes)
{
	for (int i = 0; i < SIZES_MAX; i++)
		sizes->items[i].asked = 0;
}

/* The set that sums up the dimension. */
static enum size_set group_of(int dimension)
{
	return dimension < PLACE_RESOURCES ? SIZE_CAPACITY : SIZE_RESOURCES;
}

/* As count_all has it. */
static void count_row(const struct place_snapshot *snapshot, struct size *size, uint32_t slot)
{
	bool fits[] = {[SIZE_CAPACITY] = true, [SIZE_RESOURCES] = true};
	uint32_t least = INT16_MAX;
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		if (size->need[i] == 0)
			continue;
		bool has_room = snapshot->free[i][slot] >= size->need[i];
		uint32_t rest = (uint32_t)snapshot->free[i][slot] - (uint32_t)size->need[i];
		uint32_t share = rest * snapshot->share[i][slot] >> (32 - SHARE_BITS);
		least = share < least ? share : least;
		fits[group_of(i)] = fits[group_of(i)] && has_room;
		bits_put(size->sets[SIZE_FITS + i], slot, has_room);
	}
	bits_put(size->sets[SIZE_CAPACITY], slot, fits[SIZE_CAPACITY]);
	bits_put(size->sets[SIZE_RESOURCES], slot, fits[SIZE_RESOURCES]);
	size->headroom[slot] = (int16_t)(least * WHOLE >> SHARE_BITS);
}

static void count_all(struct place_snapshot *snapshot, struct size *size)
{
	struct columns columns = {.count = 0};
	set_fill(snapshot, size->sets[SIZE_CAPACITY]);
	set_fill(snapshot, size->sets[SIZE_RESOURCES]);
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		if (size->need[i] == 0)
			continue;
		columns.left[columns.count] = snapshot->free[i];
		columns.share[columns.count] = snapshot->share[i];
		columns.need[columns.count++] = size->need[i];
		columns_at_least(size->sets[SIZE_FITS + i], snapshot->free[i], size->need[i], snapshot->words);
		bits_and(size->sets[group_of(i)], size->sets[SIZE_FITS + i], snapshot->words);
	}
	columns_least(size->headroom, &columns, snapshot->words);
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++)
		size->headroom[slot] = (int16_t)((uint32_t)size->headroom[slot] * WHOLE >> SHARE_BITS);
}

/* The one of that size, else the one that was asked for longest ago. */
static struct size *find(struct sizes *sizes, const int32_t *need)
{
	struct size *oldest = &sizes->items[0];
	for (struct size *size = sizes->items; size < sizes->items + SIZES_MAX; size++) {
		if (size->asked != 0 && memcmp(size->need, need, sizeof(size->need)) == 0)
			return size;
		oldest = size->asked < oldest->asked ? size : oldest;
	}
	memcpy(oldest->need, need, sizeof(oldest->need));
	oldest->asked = 0;
	return oldest;
}

const struct size *sizes_find(struct place_snapshot *snapshot, const int32_t *need)
{
	struct sizes *sizes = &snapshot->sizes;
	struct size *size = find(sizes, need);
	if (size->asked == 0 || sizes->changes - size->seen > SIZE_CHANGES_MAX)
		count_all(snapshot, size);
	else
		for (; size->seen < sizes->changes; size->seen++)
			count_row(snapshot, size, sizes->changed[size->seen % SIZE_CHANGES_MAX]);
	sizes->seen = size->seen = sizes->changes;
	size->asked = ++sizes->questions;
	return size;
}
