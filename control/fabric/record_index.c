/* Sorted arrays of shared items. A change that cannot be remembered would be a wrong answer for ever: out of memory
 * ends the process, as in the other indexes. */
#include "control/fabric/record_index.h"

#include <stdlib.h>

struct order {
	struct record_item **items;
	size_t count, room;
	bool by_id; /* else by key */
};

struct record_index {
	enum record_key by;
	bool is_loaded;           /* before it, the orders are those of loading */
	struct order by_key, ids; /* ids: only when keys are not the ids */
};

/* --- items */

static struct record_item *item_new(const struct record *record, enum record_key by)
{
	struct record_item *item = malloc(sizeof(*item) + record->id.length + record->body.length + 2);
	if (item == NULL)
		abort();
	char *id = (char *)(item + 1), *body = id + record->id.length + 1;
	memcpy(id, record->id.bytes, record->id.length);
	memcpy(body, record->body.bytes, record->body.length);
	id[record->id.length] = body[record->body.length] = 0;
	const char *slash = by == RECORD_KEY_TAIL ? memrchr(id, '/', record->id.length) : NULL;
	size_t from = slash == NULL ? 0 : (size_t)(slash + 1 - id);
	*item = (struct record_item){.id = {id, record->id.length},
		.key = {id + from, record->id.length - from},
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

/* --- orders */

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

static int by_key(const void *a, const void *b)
{
	struct record_item *const *first = a, *const *second = b;
	int order = text_order((*first)->key, (*second)->key);
	return order != 0 ? order : by_id(a, b);
}

/* The first that is not before `text`; `after`: that comes after it. */
static size_t position_of(const struct order *order, struct text text, bool after)
{
	size_t low = 0, high = order->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct record_item *item = order->items[middle];
		int compared = text_order(order->by_id ? item->id : item->key, text);
		if (compared < 0 || (after && compared == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void insert(struct order *order, size_t position, struct record_item *item)
{
	if (order->count == order->room) {
		order->room = order->room == 0 ? 64 : order->room * 2;
		order->items = realloc(order->items, order->room * sizeof(struct record_item *));
		if (order->items == NULL)
			abort();
	}
	memmove(
		&order->items[position + 1], &order->items[position], (order->count - position) * sizeof(struct record_item *));
	order->items[position] = item;
	order->count++;
}

/* The position of the item with this id, or count. Keys may be shared, ids are not. */
static size_t find_id(const struct order *order, struct text key, struct text id)
{
	for (size_t i = position_of(order, order->by_id ? id : key, false); i < order->count; i++) {
		if (text_equals(order->items[i]->id, id))
			return i;
		if (order->by_id || !text_equals(order->items[i]->key, key))
			break;
	}
	return order->count;
}

static void order_put(struct order *order, struct record_item *item, bool is_loaded)
{
	size_t position = is_loaded ? find_id(order, item->key, item->id) : order->count;
	if (position < order->count)
		order->items[position] = item;
	else
		insert(order, is_loaded ? position_of(order, order->by_id ? item->id : item->key, true) : order->count, item);
}

static struct record_item *order_find(const struct order *order, struct text key, struct text id)
{
	size_t position = find_id(order, key, id);
	return position < order->count ? order->items[position] : NULL;
}

static void order_remove(struct order *order, struct text key, struct text id)
{
	size_t position = find_id(order, key, id);
	if (position == order->count)
		return;
	order->count--;
	memmove(
		&order->items[position], &order->items[position + 1], (order->count - position) * sizeof(struct record_item *));
}

/* --- what the state tells */

static void on_record(void *context, const struct record *record)
{
	struct record_index *index = context;
	struct record_item *item = NULL, *before = NULL;
	struct text key = record->id;
	if (index->by == RECORD_KEY_TAIL) {
		const char *slash = memrchr(key.bytes, '/', key.length);
		key = slash == NULL ? key : text_slice(key, (size_t)(slash + 1 - key.bytes), key.length);
	}
	if (index->is_loaded)
		before = order_find(&index->by_key, key, record->id);
	if (record->body.bytes != NULL) {
		item = item_new(record, index->by);
		order_put(&index->by_key, item, index->is_loaded);
		if (index->by != RECORD_KEY_ID)
			order_put(&index->ids, item, index->is_loaded);
	} else if (before != NULL) {
		order_remove(&index->by_key, key, record->id);
		if (index->by != RECORD_KEY_ID)
			order_remove(&index->ids, key, record->id);
	}
	record_item_unref(before);
}

static void on_batch(void *context)
{
	struct record_index *index = context;
	if (index->is_loaded)
		return;
	index->is_loaded = true;
	if (index->by_key.count > 1)
		qsort(index->by_key.items, index->by_key.count, sizeof(struct record_item *), by_key);
	if (index->ids.count > 1)
		qsort(index->ids.items, index->ids.count, sizeof(struct record_item *), by_id);
}

enum status record_index_open(
	struct state *state, enum record_kind kind, enum record_key by, struct record_index **index)
{
	struct record_index *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->by = by;
	made->ids.by_id = true;
	made->by_key.by_id = by == RECORD_KEY_ID;
	state_watch(state, kind, on_record, on_batch, made);
	*index = made;
	return STATUS_OK;
}

void record_index_free(struct record_index *index)
{
	if (index == NULL)
		return;
	for (size_t i = 0; i < index->by_key.count; i++)
		record_item_unref(index->by_key.items[i]);
	free(index->by_key.items);
	free(index->ids.items);
	free(index);
}

/* --- looking up */

const struct record_item *record_index_find(const struct record_index *index, struct text key)
{
	size_t position = position_of(&index->by_key, key, false);
	const struct record_item *item = position < index->by_key.count ? index->by_key.items[position] : NULL;
	return item != NULL && text_equals(item->key, key) ? item : NULL;
}

size_t record_index_count(const struct record_index *index)
{
	return index->by_key.count;
}

const struct record_item *record_index_at(const struct record_index *index, size_t position)
{
	return index->by_key.items[position];
}

size_t record_index_position(const struct record_index *index, struct text key, bool after)
{
	return position_of(&index->by_key, key, after);
}

void record_index_each(const struct record_index *index, struct text prefix,
	bool (*visit)(void *context, const struct record_item *item), void *context)
{
	const struct order *order = index->by == RECORD_KEY_ID ? &index->by_key : &index->ids;
	for (size_t i = position_of(order, prefix, false);
		 i < order->count && text_starts_with(order->items[i]->id, prefix); i++) {
		if (!visit(context, order->items[i]))
			return;
	}
}
