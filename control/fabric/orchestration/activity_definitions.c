/* Definitions of activities. */
#include "control/fabric/manager/wire.h"
#include "control/fabric/orchestration/definitions_private.h"
#include "control/fabric/rest_submit.h"
#include "control/orchestration/messages.h"

static const struct wire_member activity_members[] = {
	{"type", WIRE_TEXT, true},
	{"description", WIRE_TEXT, false},
	{"inputSchema", WIRE_OBJECT, false},
	{"outputSchema", WIRE_OBJECT, false},
};

static void print_activity(const struct json *definition, struct buffer *into)
{
	message_print_text(into, "{\"type\":", json_member_text(definition, "type"));
	definitions_print_description(definition, into);
	wire_print_filled(into, "inputSchema", json_member(definition, "inputSchema"));
	wire_print_filled(into, "outputSchema", json_member(definition, "outputSchema"));
	buffer_append_byte(into, '}');
}

void activities_list(struct rest_call *call)
{
	const struct definitions *definitions = call->context;
	definitions_answer(call, definitions->activities, TEXT_NONE, print_activity);
}

void activities_put(struct rest_call *call)
{
	struct definitions *definitions = call->context;
	struct text type = json_member_text(call->body, "type");
	struct buffer body = {0};
	if (!wire_check(call, call->body, "", activity_members, sizeof(activity_members) / sizeof(activity_members[0])))
		return;
	if (!message_type_is_valid(type)) {
		rest_refuse_with(call, 400, "Invalid payload: type: only letters, digits, '.', '_' and '-'");
		return;
	}
	message_print_text(&body, "{\"type\":", type);
	message_print_text(&body, ",\"version\":0,\"description\":", json_member_text(call->body, "description"));
	definitions_print_schema(call->body, "inputSchema", &body);
	definitions_print_schema(call->body, "outputSchema", &body);
	buffer_append_byte(&body, '}');
	struct transaction *transaction = transaction_new();
	if (body.failed || (transaction != NULL && !state_put(transaction, RECORD_ACTIVITY_DEFINITION, type,
												   buffer_text(&body), REVISION_ANY))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	buffer_free(&body);
	rest_submit(call, definitions->state, transaction, 201, &(struct buffer){0});
}

static bool has_activity(const struct json *definition, struct text type)
{
	const struct json *activity = json_first(json_member(definition, "activities"));
	while (activity != NULL && !text_equals(json_member_text(activity, "type"), type))
		activity = json_next(activity);
	return activity != NULL;
}

void activities_delete(struct rest_call *call)
{
	struct definitions *definitions = call->context;
	struct text type = call->arguments[0];
	const struct record_item *item = record_index_find(definitions->activities, type);
	struct buffer users = {0};
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	for (size_t i = 0; i < record_index_count(definitions->orchestrations); i++) {
		const struct record_item *user = record_index_at(definitions->orchestrations, i);
		struct json *definition = record_item_json(user);
		if (has_activity(definition, type))
			buffer_printf(&users, "%s%.*s", users.length > 0 ? ", " : "", TEXT_ARGUMENTS(user->id));
		json_free(definition);
	}
	if (users.length > 0) {
		struct buffer why = {0};
		buffer_printf(&why, "activity type '%.*s' is referenced by an orchestration definition: %.*s",
			TEXT_ARGUMENTS(type), TEXT_ARGUMENTS(buffer_text(&users)));
		definitions_refuse(call, "Bad request", &why);
		buffer_free(&why);
	} else {
		struct transaction *transaction = transaction_new();
		if (transaction != NULL && !state_delete(transaction, RECORD_ACTIVITY_DEFINITION, type, item->revision)) {
			transaction_free(transaction);
			transaction = NULL;
		}
		rest_submit(call, definitions->state, transaction, 200, &(struct buffer){0});
	}
	buffer_free(&users);
}
