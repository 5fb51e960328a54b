/* Definitions: few, read often, changed by hand. */
#include "control/fabric/orchestration/definitions_private.h"

#include <stdlib.h>

#include "control/fabric/manager/wire.h"
#include "control/fabric/orchestration/schema_check.h"
#include "control/fabric/orchestration/steps.h"
#include "control/fabric/rest_submit.h"

#define READ_SCOPE "provision-manager-api:read"
#define WRITE_SCOPE "provision-manager-api:write"

static const struct wire_member template_members[] = {
	{"id", WIRE_TEXT, false},
	{"description", WIRE_TEXT, false},
	{"schema", WIRE_OBJECT, false},
	{"activities", WIRE_OBJECT, false},
};
static const struct wire_member step_members[] = {
	{"id", WIRE_TEXT, true},
	{"type", WIRE_TEXT, true},
	{"dependsOn", WIRE_TEXTS, false},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- answers */

void definitions_refuse(struct rest_call *call, const char *words, const struct buffer *why)
{
	struct buffer message = {0};
	buffer_printf(&message, "%s: %.*s", words, TEXT_ARGUMENTS(buffer_text(why)));
	rest_refuse_with(call, 400, message.failed ? words : message.bytes);
	buffer_free(&message);
}

void definitions_answer(struct rest_call *call, const struct record_index *index, struct text template_ref,
	void (*print)(const struct json *definition, struct buffer *into))
{
	struct buffer list = {0};
	buffer_append_byte(&list, '[');
	for (size_t i = 0; i < record_index_count(index); i++) {
		struct json *definition = record_item_json(record_index_at(index, i));
		if (template_ref.bytes == NULL || text_equals(json_member_text(definition, "templateRef"), template_ref)) {
			if (list.length > 1)
				buffer_append_byte(&list, ',');
			print(definition, &list);
		}
		json_free(definition);
	}
	buffer_append_byte(&list, ']');
	if (list.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(&list));
	buffer_free(&list);
}

void definitions_print_description(const struct json *object, struct buffer *into)
{
	struct text description = json_member_text(object, "description");
	if (description.length > 0)
		message_print_text(into, ",\"description\":", description);
}

void definitions_print_schema(const struct json *object, const char *name, struct buffer *into)
{
	const struct json *schema = wire_member(object, name);
	buffer_printf(into, ",\"%s\":", name);
	if (schema != NULL)
		json_print(schema, into);
	else
		buffer_append(into, TEXT("null"));
}

/* --- orchestration definitions */

static void print_orchestration(const struct json *definition, struct buffer *into)
{
	size_t begin = into->length;
	definitions_print_description(definition, into);
	wire_print_filled(into, "schema", json_member(definition, "schema"));
	message_print_text(into, ",\"activities\":{", json_member_text(definition, "type"));
	buffer_append(into, TEXT(":["));
	const struct json *activities = json_member(definition, "activities");
	for (const struct json *activity = json_first(activities); activity != NULL; activity = json_next(activity)) {
		if (activity != json_first(activities))
			buffer_append_byte(into, ',');
		step_print_activity(activity, into);
	}
	message_print_text(into, "]},\"templateRef\":", json_member_text(definition, "templateRef"));
	buffer_append_byte(into, '}');
	if (!into->failed)
		into->bytes[begin] = '{'; /* the first member's comma */
}

static void list_orchestrations(struct rest_call *call)
{
	const struct definitions *definitions = call->context;
	definitions_answer(call, definitions->orchestrations, call->arguments[0], print_orchestration);
}

static const struct json *find_schemas(void *context, struct text type)
{
	struct json *cache = context;
	return type.length > 0 ? json_member(cache, type.bytes) : NULL;
}

/* Each activity definition that is named, by its type; NULL: out of memory, or one is missing (then `why` says it). */
static struct json *collect_schemas(
	const struct definitions *definitions, const struct json *activities, struct buffer *why)
{
	struct json *schemas = json_object_new();
	for (const struct json *activity = json_first(activities); activity != NULL && schemas != NULL;
		 activity = json_next(activity)) {
		struct text type = json_member_text(activity, "type");
		const struct record_item *item = record_index_find(definitions->activities, type);
		struct json *definition = item != NULL ? record_item_json(item) : NULL;
		if (item == NULL)
			buffer_printf(why, "%sactivity type '%.*s' not found", why->length > 0 ? "; " : "", TEXT_ARGUMENTS(type));
		else if (!json_set(schemas, type.bytes, definition))
			json_free(definition);
	}
	if (why->length > 0) {
		json_free(schemas);
		schemas = NULL;
	}
	return schemas;
}

/* False: it has answered. */
static bool check_activities(struct rest_call *call, const struct json *list)
{
	const struct definitions *definitions = call->context;
	struct buffer why = {0};
	size_t levels[STEPS_ACTIVITIES_MAX], count;
	enum status status = STATUS_INVALID;
	struct json *schemas = collect_schemas(definitions, list, &why);
	if (schemas != NULL)
		status = steps_levels(list, levels, &count, &why);
	if (status == STATUS_OK && strcmp(json_name(list), ORCHESTRATION_DEPLOY.bytes) == 0)
		status = schema_check(list, find_schemas, schemas, &why);
	if (status != STATUS_OK)
		definitions_refuse(call, "Bad request", &why);
	json_free(schemas);
	buffer_free(&why);
	return status == STATUS_OK;
}

/* The shapes of one list of activities. False: it has answered. */
static bool check_list(struct rest_call *call, const struct json *list)
{
	struct buffer why = {0};
	bool is_good = json_kind(list) == JSON_ARRAY && message_type_is_valid(text_of(json_name(list)));
	if (!is_good) {
		buffer_printf(&why, "activities.%s: must be a list of activities under a type's name", json_name(list));
		definitions_refuse(call, "Invalid payload", &why);
	}
	for (const struct json *activity = json_first(list); activity != NULL && is_good; activity = json_next(activity)) {
		is_good = wire_check(call, activity, "activities.", step_members, COUNT(step_members));
		struct text id = json_member_text(activity, "id");
		if (is_good && (!message_type_is_valid(json_member_text(activity, "type")) || id.length > MESSAGE_NAME_MAX ||
						   !text_is_line(id))) {
			rest_refuse_with(call, 400, "Invalid payload: activities: id or type is no name");
			is_good = false;
		}
	}
	buffer_free(&why);
	return is_good;
}

static bool check_template(struct rest_call *call)
{
	const struct json *activities = wire_member(call->body, "activities");
	if (!wire_check(call, call->body, "", template_members, COUNT(template_members)))
		return false;
	if (json_count(activities) == 0) {
		rest_refuse_with(call, 400, "Invalid payload: activities: at least one orchestration is required");
		return false;
	}
	for (const struct json *list = json_first(activities); list != NULL; list = json_next(list)) {
		if (!check_list(call, list) || !check_activities(call, list))
			return false;
	}
	return true;
}

static void print_definition(
	const struct json *template, const struct json *list, struct text template_ref, struct buffer *into)
{
	struct text type = text_of(json_name(list));
	message_print_text(into, "{\"type\":", type);
	message_print_text(into, ",\"templateRef\":", template_ref);
	message_print_text(into, ",\"version\":0,\"description\":", json_member_text(template, "description"));
	buffer_append(into, TEXT(",\"active\":true"));
	definitions_print_schema(template, "schema", into);
	buffer_append(into, TEXT(",\"activities\":["));
	for (const struct json *activity = json_first(list); activity != NULL; activity = json_next(activity)) {
		const struct json *depends_on = wire_member(activity, "dependsOn");
		message_print_text(
			into, activity == json_first(list) ? "{\"id\":" : ",{\"id\":", json_member_text(activity, "id"));
		message_print_text(into, ",\"type\":", json_member_text(activity, "type"));
		message_print_text(into, ",\"discriminator\":", type);
		buffer_append(into, TEXT(",\"dependsOn\":"));
		if (depends_on != NULL)
			json_print(depends_on, into);
		else
			buffer_append(into, TEXT("null"));
		buffer_append_byte(into, '}');
	}
	buffer_append(into, TEXT("]}"));
}

/* All its orchestrations in one transaction. */
static struct transaction *store_template(const struct json *template, struct text template_ref)
{
	struct transaction *transaction = transaction_new();
	bool is_put = transaction != NULL;
	for (const struct json *list = json_first(json_member(template, "activities")); list != NULL && is_put;
		 list = json_next(list)) {
		struct buffer body = {0};
		print_definition(template, list, template_ref, &body);
		is_put = !body.failed && state_put(transaction, RECORD_ORCHESTRATION_DEFINITION, text_of(json_name(list)),
									 buffer_text(&body), REVISION_ANY);
		buffer_free(&body);
	}
	if (is_put)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static void put_orchestration(struct rest_call *call)
{
	struct definitions *definitions = call->context;
	struct text template_ref = json_member_text(call->body, "id");
	struct buffer answer = {0};
	char made[UUID_LENGTH + 1];
	if (!check_template(call))
		return;
	if (template_ref.length == 0) {
		uuid_random(made);
		template_ref = text_of(made);
	}
	message_print_text(&answer, "{\"id\":", template_ref);
	message_print_text(&answer, ",\"description\":", TEXT("ID of the Orchestration Template"));
	buffer_append_byte(&answer, '}');
	rest_submit(call, definitions->state, store_template(call->body, template_ref), 201, &answer);
}

static void delete_orchestration(struct rest_call *call)
{
	struct definitions *definitions = call->context;
	struct transaction *transaction = transaction_new();
	size_t count = 0;
	bool is_used = false, is_put = transaction != NULL;
	for (size_t i = 0; i < record_index_count(definitions->orchestrations); i++) {
		const struct record_item *item = record_index_at(definitions->orchestrations, i);
		struct json *definition = record_item_json(item);
		if (text_equals(json_member_text(definition, "templateRef"), call->arguments[0])) {
			count++;
			is_used = is_used || (definitions->is_used != NULL && definitions->is_used(definitions->context, item->id));
			is_put = is_put && state_delete(transaction, RECORD_ORCHESTRATION_DEFINITION, item->id, item->revision);
		}
		json_free(definition);
	}
	if (count > 0 && !is_used && is_put) {
		rest_submit(call, definitions->state, transaction, 200, &(struct buffer){0});
		return;
	}
	transaction_free(transaction);
	if (count == 0)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	else if (is_used)
		rest_refuse_with(call, 400, "Bad request: orchestrations were created from this definition");
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
}

/* --- life */

static const struct rest_endpoint endpoints[] = {
	{"GET", "/activity-definitions", READ_SCOPE, false, activities_list},
	{"POST", "/activity-definitions", WRITE_SCOPE, true, activities_put},
	{"DELETE", "/activity-definitions/{activityType}", WRITE_SCOPE, false, activities_delete},
	{"GET", "/orchestration-definitions", READ_SCOPE, false, list_orchestrations},
	{"POST", "/orchestration-definitions", WRITE_SCOPE, true, put_orchestration},
	{"GET", "/orchestration-definitions/{templateRef}", READ_SCOPE, false, list_orchestrations},
	{"DELETE", "/orchestration-definitions/{templateRef}", WRITE_SCOPE, false, delete_orchestration},
};

enum status definitions_open(struct state *state, struct rest *rest, struct definitions **definitions)
{
	struct definitions *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	enum status status = record_index_open(state, RECORD_ACTIVITY_DEFINITION, &made->activities);
	if (status == STATUS_OK)
		status = record_index_open(state, RECORD_ORCHESTRATION_DEFINITION, &made->orchestrations);
	if (status == STATUS_OK && rest != NULL)
		status = rest_add(rest, "/api/v1alpha1", endpoints, COUNT(endpoints), made);
	if (status == STATUS_OK)
		*definitions = made;
	else
		definitions_free(made);
	return status;
}

void definitions_free(struct definitions *definitions)
{
	if (definitions == NULL)
		return;
	record_index_free(definitions->activities);
	record_index_free(definitions->orchestrations);
	free(definitions);
}

void definitions_ask_use(
	struct definitions *definitions, bool (*is_used)(void *context, struct text type), void *context)
{
	definitions->is_used = is_used;
	definitions->context = context;
}

struct json *definitions_find(const struct definitions *definitions, struct text type)
{
	const struct record_item *item = record_index_find(definitions->orchestrations, type);
	return item != NULL ? record_item_json(item) : NULL;
}

struct json *definitions_find_beside(
	const struct definitions *definitions, const struct json *definition, struct text type)
{
	struct json *found = definitions_find(definitions, type);
	if (text_equals(json_member_text(found, "templateRef"), json_member_text(definition, "templateRef")))
		return found;
	json_free(found);
	return NULL;
}
