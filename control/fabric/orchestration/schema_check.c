/* Fields that are asked for against fields that are offered. */
#include "control/fabric/orchestration/schema_check.h"

/* What the manager itself puts into the shared data. */
static const struct {
	const char *name, *type;
} always[] = {{"cfm.participant.id", "string"}, {"cfm.vpa.data", "array"}, {"cfm.vpa.credentials", "array"}};

struct check {
	const struct json *activities;
	const struct json *(*definition_of)(void *context, struct text type);
	void *context;
	struct buffer *error;
};

static const struct json *find_activity(const struct check *check, struct text id)
{
	const struct json *activity = json_first(check->activities);
	while (activity != NULL && !text_equals(json_member_text(activity, "id"), id))
		activity = json_next(activity);
	return activity;
}

static const struct json *definition_of(const struct check *check, const struct json *activity)
{
	return check->definition_of(check->context, json_member_text(activity, "type"));
}

static const char *type_always(const char *field)
{
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		if (strcmp(always[i].name, field) == 0)
			return always[i].type;
	}
	return NULL;
}

static enum status wrong(const struct check *check, const struct json *activity, const char *field, const char *what)
{
	struct text id = json_member_text(activity, "id");
	buffer_printf(check->error, "activity '%.*s': input '%s' %s", TEXT_ARGUMENTS(id), field, what);
	return STATUS_INVALID;
}

/* The property that offers the field; NULL: none of the dependencies does. INVALID: two do. */
static enum status find_offer(
	const struct check *check, const struct json *activity, const char *field, const struct json **offer)
{
	*offer = NULL;
	for (const struct json *name = json_first(json_member(activity, "dependsOn")); name != NULL;
		 name = json_next(name)) {
		const struct json *dependency = definition_of(check, find_activity(check, json_text(name)));
		const struct json *found =
			json_member(json_member(json_member(dependency, "outputSchema"), "properties"), field);
		if (found != NULL && *offer != NULL)
			return wrong(check, activity, field, "is offered by more than one dependency");
		if (found != NULL)
			*offer = found;
	}
	return STATUS_OK;
}

static enum status check_field(
	const struct check *check, const struct json *activity, const struct json *input, const char *field)
{
	const struct json *offer;
	struct text wanted = json_member_text(json_member(json_member(input, "properties"), field), "type");
	enum status status = find_offer(check, activity, field, &offer);
	if (status != STATUS_OK)
		return status;
	const char *given = offer == NULL ? type_always(field) : NULL;
	if (offer == NULL && given == NULL)
		return wrong(check, activity, field, "is not offered by any dependency");
	struct text offered = offer != NULL ? json_member_text(offer, "type") : text_of(given);
	if (wanted.bytes != NULL && offered.bytes != NULL && !text_equals(wanted, offered))
		return wrong(check, activity, field, "is offered with another type");
	return STATUS_OK;
}

static enum status check_activity(const struct check *check, const struct json *activity)
{
	const struct json *input = json_member(definition_of(check, activity), "inputSchema");
	enum status status = STATUS_OK;
	for (const struct json *field = json_first(json_member(input, "required")); field != NULL && status == STATUS_OK;
		 field = json_next(field)) {
		struct text name = json_text(field);
		status = name.bytes == NULL ? wrong(check, activity, "required", "must be a list of names")
									: check_field(check, activity, input, name.bytes);
	}
	return status;
}

enum status schema_check(const struct json *activities,
	const struct json *(*definition_of_type)(void *context, struct text type), void *context, struct buffer *error)
{
	const struct check check = {activities, definition_of_type, context, error};
	enum status status = STATUS_OK;
	for (const struct json *activity = json_first(activities); activity != NULL && status == STATUS_OK;
		 activity = json_next(activity))
		status = check_activity(&check, activity);
	return status;
}
