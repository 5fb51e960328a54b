/* An index of the records of one kind of the fabric's state, in memory on its worker, in the order of their ids. */
#pragma once

#include "control/state/state.h"
#include "server/base/json.h"

/* Shared: kept with record_item_ref beyond the turn in which it was found. Immutable. */
struct record_item {
	struct text id;
	struct text body; /* NUL-terminated */
	int64_t revision;
	unsigned references;
};

struct record_index;
/* Before store_load. */
enum status record_index_open(struct state *state, enum record_kind kind, struct record_index **index) MUST_CHECK;
void record_index_free(struct record_index *index);

/* NULL: none. Good until the worker returns to its loop. */
const struct record_item *record_index_find(const struct record_index *index, struct text id);
size_t record_index_count(const struct record_index *index);
/* In the order of ids, position < count. */
const struct record_item *record_index_at(const struct record_index *index, size_t position);
/* The position of the first whose id is not before `id` (`after`: that comes after it), or count. */
size_t record_index_position(const struct record_index *index, struct text id, bool after);
/* Those whose ids begin with `prefix`, in the order of their ids: calls until `visit` returns false. */
void record_index_each(const struct record_index *index, struct text prefix,
	bool (*visit)(void *context, const struct record_item *item), void *context);

const struct record_item *record_item_ref(const struct record_item *item);
void record_item_unref(const struct record_item *item);
/* The body as a tree; NULL: out of memory (what is stored is JSON). json_free it. */
struct json *record_item_json(const struct record_item *item);
