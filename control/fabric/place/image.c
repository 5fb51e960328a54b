/* The cells of a snapshot as bytes:
 *
 *   1 (the form), PLACE_DIMENSION_COUNT, rows (the last slot that a cell has or had, and 1); how many attributes: kind
 * and text of each; how many opinions: the name of each; how many cells there are or were, and of each: slot, id, CFM
 * id, protocol, measured load, the attributes that are its keys (0: none, else index + 1), of each dimension what is
 * allowed (0: unlimited, else number + 1) and what of it is used, sketch, sets (a bit each), how many attributes it has
 * and the distance of each from the one before it, of each opinion its part. */
#include <stdlib.h>

#include "control/fabric/place/bits.h"
#include "control/fabric/place/bytes.h"
#include "control/fabric/place/journal.h"
#include "control/fabric/place/snapshot.h"

enum { FORM = 1, ROWS_MAX = 1 << 20, ID_MAX = 4096, SPARE_ROWS = 64 };

/* --- printing */

static void print_row_numbers(const struct place_snapshot *snapshot, uint32_t slot, struct buffer *into)
{
	const struct cold *cold = &snapshot->cold[slot];
	bytes_put_signed(into, cold->protocol);
	bytes_put_signed(into, cold->load);
	for (int key = 0; key < PLACE_KEY_COUNT; key++)
		bytes_put(into, cold->keys[key] == ATTRIBUTE_NONE ? 0 : cold->keys[key] + 1U);
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		int32_t allowed = snapshot->allowed[i][slot];
		bytes_put(into, allowed == INT32_MAX ? 0 : (uint64_t)allowed + 1);
		bytes_put_signed(into, (int64_t)allowed - snapshot->free[i][slot]);
	}
	bytes_put(into, snapshot->sketch[slot]);
}

static void print_row(const struct place_snapshot *snapshot, uint32_t slot, struct buffer *into)
{
	const struct cold *cold = &snapshot->cold[slot];
	uint64_t sets = 0, count = 0, last = 0;
	bytes_put(into, slot);
	bytes_put_text(into, text_of(cold->id));
	bytes_put_text(into, text_of(cold->cfm_id));
	print_row_numbers(snapshot, slot, into);
	for (uint32_t set = 0; set < SETS_MAX; set++)
		sets |= (uint64_t)bits_has(snapshot->sets[set], slot) << set;
	bytes_put(into, sets);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		count += bits_has(snapshot->attributes.items[i].bits, slot);
	bytes_put(into, count);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++) {
		if (!bits_has(snapshot->attributes.items[i].bits, slot))
			continue;
		bytes_put(into, i - last);
		last = i;
	}
	for (uint32_t i = 0; i < snapshot->opinion_count; i++)
		bytes_put_signed(into, snapshot->opinions[i].parts[slot]);
}

void image_print(const struct place_snapshot *snapshot, struct buffer *into)
{
	uint64_t count = 0, rows = 0;
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		count += snapshot->cold[slot].id != NULL;
		rows = snapshot->cold[slot].id != NULL ? slot + 1 : rows;
	}
	bytes_put(into, FORM);
	bytes_put(into, PLACE_DIMENSION_COUNT);
	bytes_put(into, rows);
	bytes_put(into, snapshot->attributes.count);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++) {
		bytes_put(into, snapshot->attributes.items[i].kind);
		bytes_put_text(into, text_of(snapshot->attributes.items[i].text));
	}
	bytes_put(into, snapshot->opinion_count);
	for (uint32_t i = 0; i < snapshot->opinion_count; i++)
		bytes_put_text(into, text_of(snapshot->opinions[i].name));
	bytes_put(into, count);
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		if (snapshot->cold[slot].id != NULL)
			print_row(snapshot, slot, into);
	}
}

/* --- parsing */

struct parse {
	struct bytes bytes;
	struct place_snapshot *snapshot;
	enum status status; /* what is wrong besides the bytes */
};

static bool is_good(const struct parse *parse)
{
	return parse->status == STATUS_OK && !parse->bytes.is_bad;
}

static void fail(struct parse *parse, enum status status)
{
	if (parse->status == STATUS_OK)
		parse->status = status;
}

/* NULL: it has failed. An empty one, or one with a NUL, is none. */
static char *take_text(struct parse *parse)
{
	struct text text = bytes_get_text(&parse->bytes);
	char *copy = NULL;
	if (parse->bytes.is_bad || text.length == 0 || text.length > ID_MAX || memchr(text.bytes, 0, text.length) != NULL)
		bytes_bad(&parse->bytes);
	else if ((copy = text_copy(text)) == NULL)
		fail(parse, STATUS_NO_MEMORY);
	return copy;
}

static void parse_names(struct parse *parse)
{
	struct place_snapshot *snapshot = parse->snapshot;
	uint64_t attributes = bytes_get(&parse->bytes, ATTRIBUTE_NONE - 1);
	for (uint64_t i = 0; i < attributes && is_good(parse); i++) {
		enum place_attribute kind = (enum place_attribute)bytes_get(&parse->bytes, PLACE_ATTRIBUTE_COUNT - 1);
		char *text = take_text(parse);
		if (text != NULL && attributes_intern(&snapshot->attributes, kind, text_of(text)) != i)
			fail(parse, STATUS_INVALID); /* twice the same */
		free(text);
	}
	uint64_t opinions = bytes_get(&parse->bytes, PLACE_OPINIONS_MAX);
	for (uint64_t i = 0; i < opinions && is_good(parse); i++) {
		uint32_t index;
		char *name = take_text(parse);
		if (name != NULL)
			fail(parse, snapshot_add_opinion(snapshot, name, &index));
		free(name);
	}
}

static void parse_rooms(struct parse *parse, uint32_t slot)
{
	struct place_snapshot *snapshot = parse->snapshot;
	for (int i = 0; i < PLACE_DIMENSION_COUNT && is_good(parse); i++) {
		int64_t said = (int64_t)bytes_get(&parse->bytes, INT32_MAX);
		int64_t allowed = said == 0 ? INT32_MAX : said - 1;
		int64_t left = allowed - bytes_get_signed(&parse->bytes, INT32_MIN / 2, (int64_t)INT32_MAX + INT32_MAX / 2 + 1);
		if (left < INT32_MIN || left > INT32_MAX)
			bytes_bad(&parse->bytes);
		else
			snapshot_set_room(snapshot, slot, i, (int32_t)left, (int32_t)allowed);
	}
}

static void parse_numbers(struct parse *parse, uint32_t slot)
{
	struct place_snapshot *snapshot = parse->snapshot;
	struct cold *cold = &snapshot->cold[slot];
	cold->protocol = (int32_t)bytes_get_signed(&parse->bytes, INT32_MIN, INT32_MAX);
	cold->load = (int16_t)bytes_get_signed(&parse->bytes, -1, 1000);
	for (int key = 0; key < PLACE_KEY_COUNT; key++) {
		uint64_t said = bytes_get(&parse->bytes, snapshot->attributes.count);
		cold->keys[key] = said == 0 ? ATTRIBUTE_NONE : (uint16_t)(said - 1);
	}
	parse_rooms(parse, slot);
	snapshot_put_sketch(snapshot, slot, (uint32_t)bytes_get(&parse->bytes, UINT32_MAX));
}

static void parse_sets(struct parse *parse, uint32_t slot)
{
	struct place_snapshot *snapshot = parse->snapshot;
	uint64_t sets = bytes_get(&parse->bytes, (1U << SETS_MAX) - 1), at = 0;
	for (uint32_t set = 0; set < SETS_MAX; set++)
		snapshot_set_member(snapshot, slot, set, (sets >> set & 1) != 0);
	uint64_t count = bytes_get(&parse->bytes, snapshot->attributes.count);
	for (uint64_t i = 0; i < count && is_good(parse); i++) {
		at += bytes_get(&parse->bytes, ATTRIBUTE_NONE);
		if (at >= snapshot->attributes.count)
			bytes_bad(&parse->bytes);
		else
			snapshot_set_attribute(snapshot, slot, (uint32_t)at, true);
	}
	for (uint32_t i = 0; i < snapshot->opinion_count && is_good(parse); i++)
		snapshot_set_opinion(snapshot, slot, i, (int16_t)bytes_get_signed(&parse->bytes, 0, 1000));
}

static void parse_rows(struct parse *parse, uint64_t rows)
{
	struct place_snapshot *snapshot = parse->snapshot;
	uint64_t count = bytes_get(&parse->bytes, rows), next = 0;
	for (uint64_t i = 0; i < count && is_good(parse); i++) {
		uint64_t slot = bytes_get(&parse->bytes, rows - 1);
		if (slot < next) {
			bytes_bad(&parse->bytes);
			return;
		}
		struct cold *cold = &snapshot->cold[slot];
		next = slot + 1;
		cold->id = take_text(parse);
		cold->cfm_id = take_text(parse);
		if (!is_good(parse))
			return;
		snapshot->hash[slot] = place_hash(text_of(cold->id));
		parse_numbers(parse, (uint32_t)slot);
		parse_sets(parse, (uint32_t)slot);
	}
}

enum status image_parse(struct text image, struct place_snapshot **snapshot)
{
	struct parse parse = {.bytes = bytes_of(image), .snapshot = place_snapshot_new()};
	if (parse.snapshot == NULL)
		return STATUS_NO_MEMORY;
	parse.snapshot->is_walking = true; /* nothing of it is written down */
	if (bytes_get(&parse.bytes, FORM) != FORM ||
		bytes_get(&parse.bytes, PLACE_DIMENSION_COUNT) != PLACE_DIMENSION_COUNT)
		bytes_bad(&parse.bytes);
	uint64_t rows = bytes_get(&parse.bytes, ROWS_MAX);
	if (rows > image.length)
		bytes_bad(&parse.bytes); /* nearly every row has a cell, of many bytes */
	/* behind the last one lodgings of which only the number is known find room */
	if (is_good(&parse) && !snapshot_reserve(parse.snapshot, (uint32_t)rows + SPARE_ROWS - 1))
		fail(&parse, STATUS_NO_MEMORY);
	if (is_good(&parse))
		parse_names(&parse);
	if (is_good(&parse) && !snapshot_list_taints(parse.snapshot))
		fail(&parse, STATUS_NO_MEMORY);
	if (is_good(&parse))
		parse_rows(&parse, rows);
	if (parse.bytes.is_bad || parse.bytes.at != parse.bytes.end)
		fail(&parse, STATUS_INVALID);
	if (parse.status != STATUS_OK) {
		place_snapshot_free(parse.snapshot);
		return parse.status;
	}
	parse.snapshot->count = bits_count(parse.snapshot->sets[SET_PRESENT], parse.snapshot->words);
	*snapshot = parse.snapshot;
	return STATUS_OK;
}
