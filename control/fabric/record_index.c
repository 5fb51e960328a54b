/* A sorted array of shared items. A change that cannot be remembered would be a wrong answer for ever: out of memory
 * ends the process, as in the other indexes. */
#include "control/fabric/record_index.h"

#include <stdlib.h>

struct record_index {
	struct record_item **items;
	size_t count, room;
	bool is_loaded; /* before it, the order is that of loading */
};

/* --- items */

static struct record_item *item_new(const struct record *record)
{
	struct record_item *item = malloc(sizeof(*item) + record->id.length + record->body.length + 2);
	if (item == NULL)
		abort();
	char *id = (char *)(item + 1), *body = id + record->id.length + 1;
	memcpy(id, record->id.bytes, record->id.length);
	memcpy(body, record->body.bytes, record->body.length);
	id[record->id.length] = body[record->body.length] = 0;
	*item = (struct record_item){.id = {id, record->id.length},
		.body = {body, record->body.length},
		.revision = record->revision,
		.references = 1};
	return item;
}

/* The counter is the one part that changes. */
const struct record_item *record_item_ref(const struct record_item *item)
{
	((struct record_item *)(uintptr_t)item)->references++;
	return item;
}

void record_item_unref(const struct record_item *item)
{
	struct record_item *own = (struct record_item *)(uintptr_t)item;
	if (own != NULL && --own->references == 0)
		free(own);
}

struct json *record_item_json(const struct record_item *item)
{
	struct json *root = NULL;
	return json_parse(item->body, NULL, &root) == STATUS_OK ? root : NULL;
}

/* --- the order */

static int text_order(struct text a, struct text b)
{
	size_t common = a.length < b.length ? a.length : b.length;
	int order = common == 0 ? 0 : memcmp(a.bytes, b.bytes, common);
	return order != 0 ? order : a.length < b.length ? -1 : a.length > b.length;
}

static int by_id(const void *a, const void *b)
{
	struct record_item *const *first = a, *const *second = b;
	return text_order((*first)->id, (*second)->id);
}

size_t record_index_position(const struct record_index *index, struct text id, bool after)
{
	size_t low = 0, high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int compared = text_order(index->items[middle]->id, id);
		if (compared < 0 || (after && compared == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void insert(struct record_index *index, size_t position, struct record_item *item)
{
	if (index->count == index->room) {
		index->room = index->room == 0 ? 64 : index->room * 2;
		index->items = realloc(index->items, index->room * sizeof(struct record_item *));
		if (index->items == NULL)
			abort();
	}
	memmove(
		&index->items[position + 1], &index->items[position], (index->count - position) * sizeof(struct record_item *));
	index->items[position] = item;
	index->count++;
}

static void remove_at(struct record_index *index, size_t position)
{
	index->count--;
	memmove(
		&index->items[position], &index->items[position + 1], (index->count - position) * sizeof(struct record_item *));
}

/* --- what the state tells */

static void on_record(void *context, const struct record *record)
{
	struct record_index *index = context;
	bool is_put = record->body.bytes != NULL;
	size_t position = index->is_loaded ? record_index_position(index, record->id, false) : index->count;
	struct record_item *before = position < index->count ? index->items[position] : NULL;
	if (before != NULL && !text_equals(before->id, record->id))
		before = NULL;
	if (is_put && before != NULL)
		index->items[position] = item_new(record);
	else if (is_put)
		insert(index, position, item_new(record));
	else if (before != NULL)
		remove_at(index, position);
	record_item_unref(before);
}

static void on_batch(void *context)
{
	struct record_index *index = context;
	if (index->is_loaded)
		return;
	index->is_loaded = true;
	if (index->count > 1)
		qsort(index->items, index->count, sizeof(struct record_item *), by_id);
}

enum status record_index_open(struct state *state, enum record_kind kind, struct record_index **index)
{
	struct record_index *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	state_watch(state, kind, on_record, on_batch, made);
	*index = made;
	return STATUS_OK;
}

void record_index_free(struct record_index *index)
{
	if (index == NULL)
		return;
	for (size_t i = 0; i < index->count; i++)
		record_item_unref(index->items[i]);
	free(index->items);
	free(index);
}

/* --- looking up */

const struct record_item *record_index_find(const struct record_index *index, struct text id)
{
	size_t position = record_index_position(index, id, false);
	const struct record_item *item = position < index->count ? index->items[position] : NULL;
	return item != NULL && text_equals(item->id, id) ? item : NULL;
}

size_t record_index_count(const struct record_index *index)
{
	return index->count;
}

const struct record_item *record_index_at(const struct record_index *index, size_t position)
{
	return index->items[position];
}

void record_index_each(const struct record_index *index, struct text prefix,
	bool (*visit)(void *context, const struct record_item *item), void *context)
{
	for (size_t i = record_index_position(index, prefix, false);
		 i < index->count && text_starts_with(index->items[i]->id, prefix); i++) {
		if (!visit(context, index->items[i]))
			return;
	}
}
