/* Cells as the existing manager's clients see them. A definition (control.md 2.2.1) may stand in the properties. */
#include <stdlib.h>

#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/wire.h"
#include "server/base/id.h"
#include "server/base/timestamp.h"

#define DEFINITION "celld.definition"

/* cfm.md 1.1 */
static const char *const states[] = {
	"initial", "pending", "active", "disposing", "disposed", "locked", "offline", "error"};

/* --- showing */

/* What is booked is computed, never stored. */
static void print_properties(struct buffer *into, struct json *properties, int64_t used)
{
	struct json *capacity = (struct json *)(uintptr_t)json_member(json_member(properties, DEFINITION), "capacity");
	if (capacity != NULL) {
		json_remove(capacity, "currentVPAs");
		into->failed |= !json_add_integer(capacity, "currentVPAs", used);
	}
	wire_print_filled(into, "properties", properties);
}

/* The record's body as clients see it. */
static void print_body(struct buffer *into, struct text id, struct json *body, int64_t used)
{
	static const char *const names[] = {"version", "externalId", "state", "stateTimestamp"};
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct json *value = json_member(body, names[i]);
		if (value == NULL)
			continue;
		buffer_printf(into, ",\"%s\":", names[i]);
		json_print(value, into);
	}
	print_properties(into, (struct json *)(uintptr_t)json_member(body, "properties"), used);
	buffer_append_byte(into, '}');
}

struct shown {
	struct manager *manager;
	size_t count;
	char (*ids)[UUID_LENGTH + 1];
};

static bool keep_id(void *context, const struct cell_record *cell)
{
	struct shown *shown = context;
	if (strlen(cell->id) <= UUID_LENGTH)
		memcpy(shown->ids[shown->count++], cell->id, strlen(cell->id) + 1);
	return true;
}

static bool count_one(void *context, const struct cell_record *cell)
{
	(void)cell;
	++*(size_t *)context;
	return true;
}

static bool print_cell(struct rest_call *call, size_t index, struct buffer *into)
{
	struct shown *shown = call->state;
	struct json *body = NULL;
	const struct cell_record *cell = cells_find(shown->manager->cells, text_of(shown->ids[index]));
	if (cell == NULL)
		return true;
	if (json_parse(text_of(cell->body), NULL, &body) != STATUS_OK)
		return false;
	print_body(into, text_of(cell->id), body, placer_used(shown->manager->placer, cell, NULL));
	json_free(body);
	return !into->failed;
}

static void free_shown(void *state)
{
	free(((struct shown *)state)->ids);
	free(state);
}

static void list(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	struct shown *shown = calloc(1, sizeof(*shown));
	size_t count = 0;
	cells_each(manager->cells, count_one, &count);
	char(*ids)[UUID_LENGTH + 1] = calloc(count + 1, sizeof(*ids));
	if (shown == NULL || ids == NULL) {
		free(shown);
		free(ids);
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	*shown = (struct shown){.manager = manager, .ids = ids};
	call->state = shown;
	call->free_state = free_shown;
	cells_each(manager->cells, keep_id, shown);
	rest_answer_list(call, shown->count, print_cell);
}

/* --- creating */

/* What was asked for, read and judged. */
struct new_cell {
	const char *state;
	struct text external_id;
	struct buffer timestamp, warning;
	struct cell_definition *definition;
};

static void new_cell_free(struct new_cell *cell)
{
	buffer_free(&cell->timestamp);
	buffer_free(&cell->warning);
	cell_definition_free(cell->definition);
}

static bool refuse(struct rest_call *call, const char *message)
{
	rest_refuse_with(call, 400, message);
	return false;
}

/* A cell with a definition that names no state is one that has yet to join. */
static bool read_state(struct rest_call *call, struct new_cell *cell)
{
	struct text text = json_member_text(call->body, "state");
	if (text.length == 0 && cell->definition != NULL)
		cell->state = "pending";
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]) && cell->state == NULL; i++) {
		if (text_equals_ignoring_case(text, text_of(states[i])))
			cell->state = states[i];
	}
	return cell->state != NULL ||
		   refuse(call, "Invalid payload: state: must be initial, pending, active, disposing, disposed, "
						"locked, offline or error");
}

static bool read_definition(struct rest_call *call, struct new_cell *cell)
{
	const struct json *definition = wire_member(wire_member(call->body, "properties"), DEFINITION);
	struct buffer error = {0}, message = {0};
	if (definition == NULL)
		return true;
	enum status status = cell_definition_parse(definition, &cell->definition, &error, &cell->warning);
	if (status == STATUS_INVALID)
		buffer_printf(
			&message, "Invalid payload: properties." DEFINITION ".%s", error.bytes == NULL ? "" : error.bytes);
	else if (status == STATUS_OK && cell->external_id.length > 0 &&
			 !text_equals(cell->external_id, text_of(cell->definition->cell_id)))
		buffer_append(&message,
			TEXT("Invalid payload: externalId: must be the cellId of properties." DEFINITION ", or be left out"));
	bool is_fine = status == STATUS_OK && message.length == 0;
	if (message.length > 0)
		refuse(call, message.bytes);
	else if (!is_fine)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		cell->external_id = text_of(cell->definition->cell_id);
	buffer_free(&error);
	buffer_free(&message);
	return is_fine;
}

/* False: it has answered. */
static bool read_cell(struct rest_call *call, struct new_cell *cell)
{
	static const struct wire_member members[] = {{"externalId", WIRE_TEXT, false}, {"state", WIRE_TEXT, false},
		{"stateTimestamp", WIRE_TEXT, false}, {"properties", WIRE_OBJECT, false}};
	if (!wire_check(call, call->body, "", members, 4))
		return false;
	cell->external_id = json_member_text(call->body, "externalId");
	struct text time = json_member_text(call->body, "stateTimestamp");
	if (timestamp_normal(time.bytes == NULL ? TEXT(TIMESTAMP_NEVER) : time, &cell->timestamp) != STATUS_OK)
		return refuse(call, "Invalid JSON: stateTimestamp: must be an RFC 3339 time");
	return read_definition(call, cell) && read_state(call, cell);
}

/* The properties to be stored: the definition without what is computed. NULL: out of memory; *is_none: there are none.
 */
static struct json *stored_properties(const struct rest_call *call, const struct new_cell *cell)
{
	const struct json *sent = wire_member(call->body, "properties");
	struct json *made = sent == NULL ? json_object_new() : json_copy(sent), *definition = NULL;
	if (made == NULL || cell->definition == NULL)
		return made;
	if (json_parse(text_of(cell->definition->text), NULL, &definition) == STATUS_OK &&
		json_set(made, DEFINITION, definition))
		return made;
	json_free(definition);
	json_free(made);
	return NULL;
}

static void print_record(struct buffer *into, const struct new_cell *cell, const struct json *properties)
{
	buffer_append(into, TEXT("{\"version\":0"));
	buffer_append_member(into, "externalId", cell->external_id);
	buffer_append_member(into, "state", text_of(cell->state));
	buffer_append_member(into, "stateTimestamp", buffer_text(&cell->timestamp));
	wire_print_filled(into, "properties", properties);
	buffer_append_byte(into, '}');
	into->failed |= properties == NULL || cell->timestamp.failed;
}

/* A cell on its way to its commit. */
struct coming {
	struct rest_call *call;
	struct pending *pending;
	struct buffer answer;
};

static void on_created(void *context, enum status status, int64_t revision)
{
	struct coming *coming = context;
	(void)revision;
	pending_remove(&manager_of(coming->call)->cells_coming, coming->pending);
	if (status == STATUS_OK)
		rest_answer(coming->call, 201, buffer_text(&coming->answer));
	else
		rest_refuse(coming->call, status, NULL);
	buffer_free(&coming->answer);
	rest_release(coming->call);
	free(coming);
}

/* RFC 9111 5.5: for people. */
static void warn(struct rest_call *call, const struct buffer *warning)
{
	struct buffer value = {0};
	if (warning->length == 0)
		return;
	buffer_append(&value, TEXT("199 - "));
	buffer_append_json(&value, buffer_text(warning));
	if (!value.failed)
		rest_add_header(call, "warning", buffer_text(&value));
	buffer_free(&value);
}

static void store(struct rest_call *call, const struct new_cell *cell)
{
	struct manager *manager = manager_of(call);
	char id[UUID_LENGTH + 1];
	struct buffer record = {0};
	struct json *properties = stored_properties(call, cell), *body = NULL;
	struct coming *coming = calloc(1, sizeof(*coming));
	struct transaction *transaction = transaction_new();
	uuid_random(id);
	print_record(&record, cell, properties);
	json_free(properties);
	enum status status = coming == NULL || transaction == NULL
							 ? STATUS_NO_MEMORY
							 : manager_put(transaction, RECORD_CELL, text_of(id), &record, REVISION_ABSENT);
	if (status == STATUS_OK && !cells_take_name(manager->cells, transaction, cell->external_id, text_of(id)))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = json_parse(buffer_text(&record), NULL, &body);
	if (status == STATUS_OK && cell->external_id.length > 0)
		coming->pending = pending_add(&manager->cells_coming, cell->external_id);
	if (status == STATUS_OK)
		print_body(&coming->answer, text_of(id), body, 0);
	if (status == STATUS_OK && (coming->answer.failed || (cell->external_id.length > 0 && coming->pending == NULL)))
		status = STATUS_NO_MEMORY;
	json_free(body);
	buffer_free(&record);
	if (status != STATUS_OK) {
		if (coming != NULL) {
			pending_remove(&manager->cells_coming, coming->pending);
			buffer_free(&coming->answer);
		}
		free(coming);
		transaction_free(transaction);
		rest_refuse(call, status, status == STATUS_INVALID ? "the record would be too large" : NULL);
		return;
	}
	coming->call = call;
	warn(call, &cell->warning);
	rest_hold(call);
	state_submit(manager->state, transaction, on_created, coming);
}

static void create(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	struct new_cell cell = {0};
	if (read_cell(call, &cell)) {
		bool is_taken = cell.external_id.length > 0 && (cells_find_external(manager->cells, cell.external_id) != NULL ||
														   pending_has(manager->cells_coming, cell.external_id));
		if (is_taken)
			rest_refuse(call, STATUS_CONFLICT, NULL);
		else
			store(call, &cell);
	}
	new_cell_free(&cell);
}

/* A bare cell may go at any time, as in the existing manager; one with a definition not while VPAs live in it. */
static void delete_cell(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	const struct cell_record *cell = cells_find(manager->cells, call->arguments[0]);
	struct buffer answer = {0};
	if (cell == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	int64_t used = placer_used(manager->placer, cell, NULL);
	if (!cell->is_legacy && used > 0) {
		struct buffer why = {0};
		buffer_printf(&why, "%lld VPAs live in the cell", (long long)used);
		rest_refuse(call, STATUS_INVALID, why.failed ? "VPAs live in the cell" : why.bytes);
		buffer_free(&why);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && (!state_delete(transaction, RECORD_CELL, text_of(cell->id), cell->revision) ||
								   !cells_give_name(manager->cells, transaction, cell))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, manager->state, transaction, 200, &answer);
}

const struct rest_endpoint cell_endpoints[] = {
	{"GET", "/cells", MANAGER_READ, false, list},
	{"POST", "/cells", MANAGER_WRITE, true, create},
	{"DELETE", "/cells/{cellID}", MANAGER_WRITE, false, delete_cell},
};
const size_t cell_endpoint_count = sizeof(cell_endpoints) / sizeof(cell_endpoints[0]);
