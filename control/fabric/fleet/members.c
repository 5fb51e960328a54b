/* What an operator does with cells: approve, cordon, drain, take offline, define, remove; and what has been done. */
#include <stdlib.h>

#include "control/fabric/commands.h"
#include "control/fabric/fleet/fleet_private.h"
#include "control/fabric/rest_submit.h"
#include "server/base/clock.h"

static const struct cell_record *cell_of(struct rest_call *call)
{
	const struct cell_record *cell = fleet_find(call->context, call->arguments[0]);
	if (cell == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	return cell;
}

/* --- showing */

static void append_own(const struct cell_record *cell, struct buffer *into)
{
	static const char *const names[] = {
		"epoch", "incarnation", "key", "approved", "definedBy", "joinedAt", "healthSince", "healthWhy"};
	struct json *body = NULL;
	if (json_parse(text_of(cell->body), NULL, &body) != STATUS_OK) {
		into->failed = true;
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct json *value = json_member(json_member(body, "celld"), names[i]);
		if (value == NULL)
			continue;
		buffer_printf(into, ",\"%s\":", names[i]);
		json_print(value, into);
	}
	buffer_append(into, TEXT(",\"state\":"));
	buffer_append_json(into, json_member_text(body, "state"));
	json_free(body);
}

static void append_cell(struct fleet *fleet, const struct cell_record *cell, bool is_whole, struct buffer *into)
{
	uint64_t age = monitor_age_ms(fleet->monitor, cell->slot, clock_boot_ms());
	const struct health *health = monitor_health(fleet->monitor, cell->slot);
	enum cell_health now = health != NULL ? (enum cell_health)health->state : cell->health;
	buffer_append(into, TEXT("{\"cellId\":"));
	buffer_append_json(into, text_of(cell->external_id));
	buffer_printf(into, ",\"id\":\"%s\",\"mode\":\"%s\",\"health\":\"%s\"", cell->id, cell_mode_name(cell->mode),
		cell_health_name(now));
	append_own(cell, into);
	buffer_printf(into, ",\"vpas\":%lld", (long long)fleet->uses.used(fleet->uses.placer_context, cell));
	if (cell->definition != NULL)
		buffer_printf(into, ",\"maxVPAs\":%lld", (long long)cell->definition->max_vpas);
	if (age != UINT64_MAX)
		buffer_printf(into, ",\"heartbeatAgeMs\":%llu", (unsigned long long)age);
	if (is_whole && cell->definition != NULL)
		buffer_printf(into, ",\"definition\":%s", cell->definition->text);
	buffer_append_byte(into, '}');
}

struct listing {
	struct fleet *fleet;
	struct buffer *into;
	bool is_first;
};

static bool append_listed(void *context, const struct cell_record *cell)
{
	struct listing *listing = context;
	if (!listing->is_first)
		buffer_append_byte(listing->into, ',');
	listing->is_first = false;
	append_cell(listing->fleet, cell, false, listing->into);
	return true;
}

static void list_cells(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct buffer answer = {0};
	struct listing listing = {fleet, &answer, true};
	buffer_append_byte(&answer, '[');
	cells_each(fleet->uses.cells, append_listed, &listing);
	buffer_append_byte(&answer, ']');
	fleet_answer(call, 200, &answer);
}

static void show_cell(struct rest_call *call)
{
	const struct cell_record *cell = cell_of(call);
	struct buffer answer = {0};
	if (cell == NULL)
		return;
	append_cell(call->context, cell, true, &answer);
	fleet_answer(call, 200, &answer);
}

/* --- what is done with a cell: one row each */

#define BIT(mode) (1u << CELL_##mode)
static const struct action {
	const char *name;
	unsigned from; /* bits of enum cell_mode; the mode it leads to is fine too: nothing is to be done */
	enum cell_mode to;
	enum command_op op; /* what the cell is told; COMMAND_OP_COUNT: nothing */
	bool is_raising;    /* the epoch: whoever beats is fenced */
	const char *approved, *audit;
} actions[] = {
	/* it may have been cordoned before it was taken offline */
	{"approve", BIT(REGISTERING) | BIT(FENCED), CELL_REGISTERING, COMMAND_CELL_UNCORDON, false, "true",
		"cell.approved"},
	{"cordon", BIT(READY), CELL_CORDONED, COMMAND_CELL_CORDON, false, NULL, "cell.cordoned"},
	{"uncordon", BIT(CORDONED) | BIT(DRAINING), CELL_READY, COMMAND_CELL_UNCORDON, false, NULL, "cell.uncordoned"},
	{"drain", BIT(READY) | BIT(CORDONED), CELL_DRAINING, COMMAND_CELL_DRAIN, false, NULL, "cell.draining"},
	{"offline", BIT(READY) | BIT(CORDONED) | BIT(DRAINING) | BIT(ERROR), CELL_FENCED, COMMAND_OP_COUNT, true, "false",
		"cell.fenced"},
};
#undef BIT

static const struct action *find_action(struct text name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (text_equals(name, text_of(actions[i].name)))
			return &actions[i];
	}
	return NULL;
}

static struct json *build_set(const struct cell_record *cell, const struct action *action)
{
	struct json *set = json_object_new();
	bool is_made = set != NULL;
	if (action->approved != NULL)
		is_made = json_add_bool(set, "approved", strcmp(action->approved, "true") == 0) && is_made;
	if (action->is_raising)
		is_made = json_add_integer(set, "epoch", cell->epoch + 1) && json_add_null(set, "incarnation") && is_made;
	if (is_made)
		return set;
	json_free(set);
	return NULL;
}

/* A cell that has never joined has nothing to undo. */
static bool tell_cell(struct transaction *transaction, const struct cell_record *cell, enum command_op op)
{
	return op == COMMAND_OP_COUNT || cell->epoch == 0 || commands_add(transaction, cell, TEXT(""), 0, op, TEXT("{}"));
}

/* Puts the changed record, an audit, and what the cell is told; answers with the cell's short form as it will be. */
static void submit_change(
	struct rest_call *call, const struct cell_record *cell, char *body, const char *audit, enum command_op op)
{
	struct fleet *fleet = call->context;
	struct transaction *transaction = transaction_new();
	struct buffer answer = {0};
	if (transaction != NULL &&
		(body == NULL || !state_put(transaction, RECORD_CELL, text_of(cell->id), text_of(body), cell->revision) ||
			!fleet_audit_call(transaction, call, audit, text_of(cell->external_id), NULL) ||
			!tell_cell(transaction, cell, op))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	free(body);
	buffer_append(&answer, TEXT("{\"cellId\":"));
	buffer_append_json(&answer, text_of(cell->external_id));
	buffer_append_byte(&answer, '}');
	rest_submit(call, fleet->uses.state, transaction, 200, &answer);
}

static void act(struct rest_call *call)
{
	const struct action *action = find_action(call->arguments[1]);
	const struct cell_record *cell = action == NULL ? NULL : cell_of(call);
	if (action == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	if (cell == NULL)
		return;
	if ((action->from >> cell->mode & 1) == 0 && cell->mode != action->to) {
		struct buffer why = {0};
		buffer_printf(&why, "a cell that is %s cannot be told to %s", cell_mode_name(cell->mode), action->name);
		rest_refuse_with(call, 409, why.failed ? "not now" : why.bytes);
		buffer_free(&why);
		return;
	}
	struct json *set = build_set(cell, action);
	char *body = set == NULL ? NULL : cells_body_with(cell, set, action->to, cell->health, clock_wall_ms());
	json_free(set);
	submit_change(call, cell, body, action->audit, action->op);
}

/* The next join with a token may bring another key. */
static void rotate_key(struct rest_call *call)
{
	const struct cell_record *cell = cell_of(call);
	struct json *set = json_object_new();
	char *body = NULL;
	if (cell != NULL && json_add_null(set, "key"))
		body = cells_body_with(cell, set, cell->mode, cell->health, clock_wall_ms());
	json_free(set);
	if (cell != NULL)
		submit_change(call, cell, body, "cell.key_rotated", COMMAND_OP_COUNT);
}

static void remove_cell(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	const struct cell_record *cell = cell_of(call);
	struct buffer answer = {0};
	if (cell == NULL)
		return;
	if (fleet->uses.used(fleet->uses.placer_context, cell) > 0 &&
		!text_equals(rest_parameter(call, "force"), TEXT("true"))) {
		rest_refuse_with(call, 409, "VPAs live in the cell; drain it first, or force");
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		(!state_delete(transaction, RECORD_CELL, text_of(cell->id), cell->revision) ||
			!cells_give_name(fleet->uses.cells, transaction, cell) ||
			!fleet_audit_call(transaction, call, "cell.removed", text_of(cell->external_id), NULL))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, fleet->uses.state, transaction, 204, &answer);
}

/* --- the definition, from an operator */

/* F40: less room than is in use makes the cell full, and nobody is thrown out. */
static void warn_of_room(
	struct rest_call *call, const struct cell_record *cell, const struct cell_definition *definition)
{
	struct fleet *fleet = call->context;
	int64_t used = fleet->uses.used(fleet->uses.placer_context, cell);
	struct buffer warning = {0};
	if (used <= definition->max_vpas)
		return;
	buffer_printf(&warning, "199 - \"capacity.maxVPAs: %lld is below the %lld VPAs in use: the cell is full\"",
		(long long)definition->max_vpas, (long long)used);
	if (!warning.failed)
		rest_add_header(call, "warning", buffer_text(&warning));
	buffer_free(&warning);
}

static char *body_with_definition(const struct cell_record *cell, const struct cell_definition *definition)
{
	struct json *body = NULL, *parsed = NULL, *set = json_object_new();
	struct buffer text = {0};
	char *made = NULL;
	bool is_made = json_add_text(set, "definedBy", TEXT("operator")) &&
				   json_parse(text_of(cell->body), NULL, &body) == STATUS_OK &&
				   json_parse(text_of(definition->text), NULL, &parsed) == STATUS_OK;
	struct json *properties =
		json_member(body, "properties") == NULL ? json_object_new() : json_copy(json_member(body, "properties"));
	is_made = is_made && json_set(properties, "celld.definition", parsed) && json_set(body, "properties", properties);
	if (is_made) {
		struct cell_record record = *cell;
		json_print(body, &text);
		record.body = text.bytes;
		if (!text.failed)
			made = cells_body_with(&record, set, cell->mode, cell->health, clock_wall_ms());
	}
	json_free(body);
	json_free(set);
	buffer_free(&text);
	return made;
}

static void define(struct rest_call *call)
{
	const struct cell_record *cell = cell_of(call);
	struct cell_definition *definition = NULL;
	struct buffer error = {0}, warning = {0};
	if (cell == NULL)
		return;
	enum status status = cell_definition_parse(call->body, &definition, &error, &warning);
	if (status == STATUS_OK && !text_equals(text_of(definition->cell_id), text_of(cell->external_id))) {
		status = STATUS_INVALID;
		buffer_append(&error, TEXT("cellId: must be the cell's"));
	}
	if (status != STATUS_OK) {
		rest_refuse(call, status, error.bytes);
	} else {
		warn_of_room(call, cell, definition);
		submit_change(call, cell, body_with_definition(cell, definition), "cell.defined", COMMAND_OP_COUNT);
	}
	cell_definition_free(definition);
	buffer_free(&error);
	buffer_free(&warning);
}

/* --- the audit */

static void list_audit(struct rest_call *call)
{
	audit_list(((struct fleet *)call->context)->audit, call);
}

static void verify_audit(struct rest_call *call)
{
	audit_verify(((struct fleet *)call->context)->audit, call);
}

const struct rest_endpoint member_endpoints[] = {
	{"GET", "/cells", FLEET_READ, false, list_cells},
	{"GET", "/cells/{id}", FLEET_READ, false, show_cell},
	{"DELETE", "/cells/{id}", FLEET_WRITE, false, remove_cell},
	{"PUT", "/cells/{id}/definition", FLEET_WRITE, true, define},
	{"POST", "/cells/{id}/rotate-key", FLEET_WRITE, false, rotate_key},
	{"POST", "/cells/{id}/{action}", FLEET_WRITE, false, act},
	{"GET", "/audit", FLEET_READ, false, list_audit},
	{"GET", "/audit:verify", FLEET_READ, false, verify_audit},
};
const size_t member_endpoint_count = sizeof(member_endpoints) / sizeof(member_endpoints[0]);
