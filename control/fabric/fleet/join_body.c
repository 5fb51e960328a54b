/* What a join writes into the cell's record. */
#include <stdlib.h>

#include "control/fabric/fleet/join_private.h"
#include "server/base/clock.h"

#define DEFINITION "celld.definition"

static const struct json *stored_definition(const struct json *body)
{
	return json_member(json_member(body, "properties"), DEFINITION);
}

static bool is_definition_of_cell(const struct json *body)
{
	return stored_definition(body) == NULL ||
		   text_equals(json_member_text(json_member(body, "celld"), "definedBy"), TEXT("cell"));
}

/* The body with the cell's own definition, if it is the cell's to give; takes attempt->definition. */
static bool set_definition(struct attempt *attempt, struct json *body)
{
	const struct json *attested = json_member(stored_definition(body), "compliance");
	bool is_set = true;
	if (!is_definition_of_cell(body))
		return true;
	if (attested != NULL)
		is_set = json_set(attempt->definition, "compliance", json_copy(attested));
	struct json *properties =
		json_member(body, "properties") == NULL ? json_object_new() : json_copy(json_member(body, "properties"));
	is_set = is_set && json_set(properties, DEFINITION, attempt->definition);
	if (is_set)
		attempt->definition = NULL;
	return json_set(body, "properties", properties) && is_set;
}

/* The record as it is, or as a new one begins. */
static struct json *base_body(const struct attempt *attempt)
{
	struct json *body = NULL;
	struct buffer text = {0};
	char stamp[25];
	if (attempt->cell != NULL)
		return json_parse(text_of(attempt->cell->body), NULL, &body) == STATUS_OK ? body : NULL;
	clock_format(clock_wall_ms(), stamp);
	buffer_append(&text, TEXT("{\"version\":0,\"externalId\":"));
	buffer_append_json(&text, attempt->request.cell_id);
	buffer_printf(&text, ",\"state\":\"pending\",\"stateTimestamp\":\"%s\",\"properties\":{}}", stamp);
	if (text.failed || json_parse(buffer_text(&text), NULL, &body) != STATUS_OK)
		body = NULL;
	buffer_free(&text);
	return body;
}

static enum cell_mode next_mode(const struct attempt *attempt)
{
	enum cell_mode mode = attempt->cell == NULL ? CELL_REGISTERING : attempt->cell->mode;
	if (!attempt->is_approved)
		return mode;
	return mode == CELL_CORDONED || mode == CELL_DRAINING ? mode : CELL_READY;
}

/* What is set of ours. NULL: out of memory. */
static struct json *build_own(const struct attempt *attempt, const struct json *body)
{
	struct json *set = json_object_new();
	bool is_made =
		json_add_text(set, "key", attempt->request.nkey) && json_add_bool(set, "approved", attempt->is_approved);
	if (is_definition_of_cell(body))
		is_made = json_add_text(set, "definedBy", TEXT("cell")) && is_made;
	if (attempt->is_approved)
		is_made = json_add_integer(set, "epoch", attempt->epoch) &&
				  json_add_text(set, "incarnation", attempt->request.incarnation) &&
				  json_add_integer(set, "joinedAt", clock_wall_ms()) && is_made;
	if (is_made)
		return set;
	json_free(set);
	return NULL;
}

char *join_body(struct attempt *attempt)
{
	struct json *base = base_body(attempt), *set = base == NULL ? NULL : build_own(attempt, base);
	struct buffer text = {0};
	char *body = NULL;
	if (set != NULL && set_definition(attempt, base)) {
		json_print(base, &text);
		struct cell_record record =
			attempt->cell == NULL ? (struct cell_record){.health = CELL_UNKNOWN} : *attempt->cell;
		record.body = text.bytes;
		if (!text.failed)
			body = cells_body_with(&record, set, next_mode(attempt), record.health, clock_wall_ms());
	}
	json_free(base);
	json_free(set);
	buffer_free(&text);
	return body;
}
