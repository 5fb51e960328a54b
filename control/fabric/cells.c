/* The index of the cells, and what their records look like. */
#include "control/fabric/cells.h"

#include <stdlib.h>

#include "control/fabric/cell_names.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/map.h"
#include "server/base/timestamp.h"

enum { OBSERVERS_MAX = 8 };

static const char *const mode_names[] = {
#define MODE_NAME(name, text, state) text,
	CELL_MODE_LIST(MODE_NAME)
#undef MODE_NAME
};
/* The Tenant Manager's state of a cell that is well. */
static const char *const mode_states[] = {
#define MODE_STATE(name, text, state) state,
	CELL_MODE_LIST(MODE_STATE)
#undef MODE_STATE
};
static const char *const health_names[] = {
#define HEALTH_NAME(name, text) text,
	CELL_HEALTH_LIST(HEALTH_NAME)
#undef HEALTH_NAME
};

struct observer {
	void (*changed)(void *context, uint32_t slot, const struct cell_record *cell);
	void *context;
};

struct cells {
	struct map *by_id, *by_external; /* of struct cell_record */
	struct cell_record **sorted;     /* by id */
	struct cell_record **slots;
	size_t count, room;
	uint32_t slot_count, slot_room;
	bool is_loaded; /* before it, `sorted` is in the order of loading */
	struct observer observers[OBSERVERS_MAX];
	size_t observer_count;
	struct cell_names *names;
};

const char *cell_mode_name(enum cell_mode mode)
{
	return mode_names[mode];
}

const char *cell_health_name(enum cell_health health)
{
	return health_names[health];
}

/* --- one record */

static void record_free(struct cell_record *cell)
{
	if (cell == NULL)
		return;
	cell_definition_free(cell->definition);
	free(cell->id);
	free(cell->external_id);
	free(cell->body);
	free(cell->incarnation);
	free(cell->key);
	free(cell->offline_since);
	free(cell);
}

static bool copy_member(const struct json *object, const char *name, char **into)
{
	struct text text = json_member_text(object, name);
	if (text.bytes == NULL)
		return true;
	*into = text_copy(text);
	return *into != NULL;
}

/* What is ours of the body. A cell that nobody of ours has touched has the mode that its state says. */
static bool read_own(struct cell_record *cell, const struct json *root)
{
	const struct json *own = json_member(root, "celld"), *epoch = json_member(own, "epoch");
	struct text mode_text = json_member_text(own, "mode"), health_text = json_member_text(own, "health");
	struct text state = json_member_text(root, "state");
	int mode = mode_text.bytes != NULL ? text_find_word(mode_text, mode_names, CELL_ERROR + 1)
									   : text_find_word(state, mode_states, CELL_ERROR + 1);
	int health =
		health_text.bytes == NULL ? CELL_UNKNOWN : text_find_word(health_text, health_names, CELL_FLAPPING + 1);
	if (mode < 0 && mode_text.bytes == NULL)
		mode = CELL_REGISTERING; /* "initial" */
	if (mode < 0 || health < 0 || (epoch != NULL && (!json_integer(epoch, &cell->epoch) || cell->epoch < 0)))
		return false;
	cell->mode = (enum cell_mode)mode;
	cell->health = (enum cell_health)health;
	cell->is_active = text_equals(state, TEXT("active"));
	return copy_member(own, "incarnation", &cell->incarnation) && copy_member(own, "key", &cell->key);
}

static bool is_away_at_times(const struct cell_record *cell)
{
	return cell->definition != NULL && cell->definition->is_intermittent;
}

/* A cell that is expected to be silent at times only alarms (control.md F49). */
static bool read_offline(struct cell_record *cell, const struct json *root)
{
	int64_t since_ms;
	char stamp[25];
	bool is_unreachable = cell_health_is_gone(cell->health) && !is_away_at_times(cell);
	struct text since = json_member_text(root, "stateTimestamp");
	if (cell->mode != CELL_FENCED && !is_unreachable)
		return true;
	if (is_unreachable && json_integer(json_member(json_member(root, "celld"), "healthSince"), &since_ms)) {
		clock_format(since_ms, stamp);
		since = text_of(stamp);
	}
	cell->offline_since = text_copy(since.bytes == NULL ? TEXT(TIMESTAMP_NEVER) : since);
	return cell->offline_since != NULL;
}

/* NULL, with a line in the log: no record of a cell. */
static struct cell_record *record_read(const struct record *record)
{
	struct json *root = NULL;
	struct buffer error = {0}, warning = {0};
	struct cell_record *cell = calloc(1, sizeof(*cell));
	const struct json *definition = NULL;
	bool is_read = cell != NULL && json_parse(record->body, NULL, &root) == STATUS_OK;
	if (is_read) {
		definition = json_member(json_member(root, "properties"), "celld.definition");
		cell->revision = record->revision;
		cell->id = text_copy(record->id);
		cell->body = text_copy(record->body);
		cell->is_legacy = definition == NULL;
		is_read = cell->id != NULL && cell->body != NULL && read_own(cell, root) &&
				  copy_member(root, "externalId", &cell->external_id);
	}
	if (is_read && definition != NULL)
		is_read = cell_definition_parse(definition, &cell->definition, &error, &warning) == STATUS_OK;
	if (is_read && cell->definition != NULL) {
		free(cell->external_id);
		cell->external_id = text_copy(text_of(cell->definition->cell_id));
	} else if (is_read && cell->external_id == NULL) {
		cell->external_id = text_copy(TEXT(""));
	}
	if (!is_read || cell->external_id == NULL || !read_offline(cell, root)) {
		LOG(ERROR, "cell.unreadable", log_text("cell", record->id), log_text("why", buffer_text(&error)));
		record_free(cell);
		cell = NULL;
	}
	json_free(root);
	buffer_free(&error);
	buffer_free(&warning);
	return cell;
}

/* --- the index. A change that cannot be remembered would be a wrong decision for ever: out of memory ends the process.
 */

static void must(bool is_done)
{
	if (!is_done)
		abort();
}

/* In place: there is no reader but this thread. */
static void index_put(struct map *map, const char *key, struct cell_record *cell)
{
	if (key[0] != 0)
		must(map_load(map, text_of(key), cell) == STATUS_OK);
}

static void index_remove(struct map **map, const char *key)
{
	struct map *next;
	must(map_remove(*map, text_of(key), &next) == STATUS_OK);
	if (next != *map)
		map_retire(*map);
	*map = next;
}

/* Of several with one external id the one with a definition is meant, then the one whose id comes first. */
static bool is_meant_before(const struct cell_record *cell, const struct cell_record *other)
{
	if (cell->is_legacy != other->is_legacy)
		return !cell->is_legacy;
	return strcmp(cell->id, other->id) < 0;
}

static void choose_external(struct cells *cells, const char *external_id)
{
	struct cell_record *chosen = NULL;
	for (size_t i = 0; i < cells->count; i++) {
		struct cell_record *cell = cells->sorted[i];
		if (strcmp(cell->external_id, external_id) == 0 && (chosen == NULL || is_meant_before(cell, chosen)))
			chosen = cell;
	}
	if (chosen != NULL)
		index_put(cells->by_external, external_id, chosen);
	else if (external_id[0] != 0)
		index_remove(&cells->by_external, external_id);
}

static size_t place_of(const struct cells *cells, const char *id)
{
	size_t low = 0, high = cells->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(cells->sorted[middle]->id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void *grow(void *array, size_t count, size_t *room)
{
	if (count < *room)
		return array;
	*room = *room == 0 ? 64 : *room * 2;
	void *grown = realloc(array, *room * sizeof(void *));
	must(grown != NULL);
	return grown;
}

static void insert(struct cells *cells, struct cell_record *cell)
{
	size_t slot_room = cells->slot_room;
	size_t at = cells->is_loaded ? place_of(cells, cell->id) : cells->count;
	cells->sorted = grow(cells->sorted, cells->count, &cells->room);
	cells->slots = grow(cells->slots, cells->slot_count, &slot_room);
	cells->slot_room = (uint32_t)slot_room;
	memmove(cells->sorted + at + 1, cells->sorted + at, (cells->count - at) * sizeof(void *));
	cells->sorted[at] = cell;
	cells->count++;
	cell->slot = cells->slot_count++;
	cells->slots[cell->slot] = cell;
	const struct cell_record *meant = map_find(cells->by_external, text_of(cell->external_id));
	if (meant == NULL || is_meant_before(cell, meant))
		index_put(cells->by_external, cell->external_id, cell);
	index_put(cells->by_id, cell->id, cell);
}

/* The one before is freed by the caller. */
static void replace(struct cells *cells, struct cell_record *before, struct cell_record *cell)
{
	cell->slot = before->slot;
	cells->slots[cell->slot] = cell;
	cells->sorted[place_of(cells, cell->id)] = cell;
	index_put(cells->by_id, cell->id, cell);
	if (strcmp(before->external_id, cell->external_id) == 0 && before->is_legacy == cell->is_legacy) {
		if (map_find(cells->by_external, text_of(cell->external_id)) == before)
			index_put(cells->by_external, cell->external_id, cell);
		return;
	}
	choose_external(cells, before->external_id);
	choose_external(cells, cell->external_id);
}

static void take_out(struct cells *cells, struct cell_record *before)
{
	size_t at = place_of(cells, before->id);
	cells->count--;
	memmove(cells->sorted + at, cells->sorted + at + 1, (cells->count - at) * sizeof(void *));
	cells->slots[before->slot] = NULL;
	index_remove(&cells->by_id, before->id);
	choose_external(cells, before->external_id);
}

static void tell(struct cells *cells, uint32_t slot, const struct cell_record *cell)
{
	for (size_t i = 0; i < cells->observer_count; i++)
		cells->observers[i].changed(cells->observers[i].context, slot, cell);
}

static void on_record(void *context, const struct record *record)
{
	struct cells *cells = context;
	struct cell_record *before = map_find(cells->by_id, record->id);
	struct cell_record *cell = record->body.bytes == NULL ? NULL : record_read(record);
	uint32_t slot;
	if (before == NULL && cell == NULL)
		return;
	if (before == NULL)
		insert(cells, cell);
	else if (cell != NULL)
		replace(cells, before, cell);
	else
		take_out(cells, before);
	slot = cell != NULL ? cell->slot : before->slot;
	tell(cells, slot, cell);
	record_free(before);
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct cell_record *const *)a)->id, (*(struct cell_record *const *)b)->id);
}

static void on_batch(void *context)
{
	struct cells *cells = context;
	if (!cells->is_loaded && cells->count > 0)
		qsort(cells->sorted, cells->count, sizeof(void *), by_id);
	cells->is_loaded = true;
}

enum status cells_open(struct state *state, struct cells **cells)
{
	struct cells *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->by_id = map_new();
	made->by_external = map_new();
	if (made->by_id == NULL || made->by_external == NULL || cell_names_open(state, &made->names) != STATUS_OK) {
		cells_free(made);
		return STATUS_NO_MEMORY;
	}
	state_watch(state, RECORD_CELL, on_record, on_batch, made);
	*cells = made;
	return STATUS_OK;
}

void cells_free(struct cells *cells)
{
	if (cells == NULL)
		return;
	for (size_t i = 0; i < cells->count; i++)
		record_free(cells->sorted[i]);
	if (cells->by_id != NULL)
		map_free(cells->by_id);
	if (cells->by_external != NULL)
		map_free(cells->by_external);
	cell_names_free(cells->names);
	free(cells->sorted);
	free(cells->slots);
	free(cells);
}

const struct cell_record *cells_find(const struct cells *cells, struct text id)
{
	return map_find(cells->by_id, id);
}

const struct cell_record *cells_find_external(const struct cells *cells, struct text external_id)
{
	return map_find(cells->by_external, external_id);
}

const struct cell_record *cells_at(const struct cells *cells, uint32_t slot)
{
	return slot < cells->slot_count ? cells->slots[slot] : NULL;
}

uint32_t cells_slots(const struct cells *cells)
{
	return cells->slot_count;
}

void cells_each(const struct cells *cells, bool (*visit)(void *context, const struct cell_record *cell), void *context)
{
	for (size_t i = 0; i < cells->count; i++) {
		if (!visit(context, cells->sorted[i]))
			return;
	}
}

void cells_observe(
	struct cells *cells, void (*changed)(void *context, uint32_t slot, const struct cell_record *cell), void *context)
{
	must(cells->observer_count < OBSERVERS_MAX);
	cells->observers[cells->observer_count++] = (struct observer){changed, context};
}

static bool is_gone(const void *cells, struct text id)
{
	return cells_find(cells, id) == NULL;
}

bool cells_take_name(
	const struct cells *cells, struct transaction *transaction, struct text external_id, struct text id)
{
	return cell_name_take(cells->names, transaction, external_id, id, is_gone, cells);
}

bool cells_give_name(const struct cells *cells, struct transaction *transaction, const struct cell_record *cell)
{
	return cell_name_give(cells->names, transaction, text_of(cell->external_id), text_of(cell->id));
}

/* --- bodies */

/* A cell that is expected to be silent at times is not taken out for its silence: an alarm is all (control.md F49). */
static const char *state_of(enum cell_mode mode, enum cell_health health, bool is_intermittent)
{
	if (mode == CELL_READY && health == CELL_UNKNOWN)
		return "pending"; /* nothing has been heard of it yet */
	bool is_silent = health == CELL_SUSPECT || health == CELL_ISOLATED || cell_health_is_gone(health);
	if (mode != CELL_READY || health == CELL_HEALTHY || health == CELL_DEGRADED || (is_silent && is_intermittent))
		return mode_states[mode];
	return "offline";
}

static bool set_text(struct json *object, const char *name, const char *text)
{
	struct json *holder = json_array_new();
	bool is_set = json_add_text(holder, NULL, text_of(text)) && json_set(object, name, json_copy(json_first(holder)));
	json_free(holder);
	return is_set;
}

static bool merge(struct json *into, const struct json *set)
{
	bool is_set = into != NULL;
	for (const struct json *member = json_first(set); member != NULL && is_set; member = json_next(member)) {
		if (json_kind(member) == JSON_NULL)
			json_remove(into, json_name(member));
		else
			is_set = json_set(into, json_name(member), json_copy(member));
	}
	return is_set;
}

char *cells_body_with(const struct cell_record *cell, const struct json *set, enum cell_mode mode,
	enum cell_health health, int64_t wall_ms)
{
	struct json *root = NULL, *own = NULL;
	struct buffer body = {0};
	const char *state = state_of(mode, health, is_away_at_times(cell));
	char stamp[25];
	if (json_parse(text_of(cell->body), NULL, &root) != STATUS_OK)
		return NULL;
	own = json_member(root, "celld") != NULL ? json_copy(json_member(root, "celld")) : json_object_new();
	bool is_made = merge(own, set) && set_text(own, "mode", cell_mode_name(mode)) &&
				   set_text(own, "health", cell_health_name(health));
	is_made = json_set(root, "celld", own) && is_made;
	if (is_made && !text_equals(json_member_text(root, "state"), text_of(state))) {
		clock_format(wall_ms, stamp);
		is_made = set_text(root, "state", state) && set_text(root, "stateTimestamp", stamp);
	}
	if (is_made)
		json_print(root, &body);
	json_free(root);
	if (is_made && !body.failed)
		return buffer_take(&body);
	buffer_free(&body);
	return NULL;
}
