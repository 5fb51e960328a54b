/* Shapes of request bodies, by table. */
#include "control/fabric/manager/wire.h"

const struct json *wire_member(const struct json *object, const char *name)
{
	const struct json *member = json_member(object, name);
	return member == NULL || json_kind(member) == JSON_NULL ? NULL : member;
}

static bool all_are(const struct json *parent, enum json_kind kind)
{
	for (const struct json *child = json_first(parent); child != NULL; child = json_next(child)) {
		if (json_kind(child) != kind)
			return false;
	}
	return true;
}

static bool all_are_texts(const struct json *lists)
{
	for (const struct json *list = json_first(lists); list != NULL; list = json_next(list)) {
		if (json_kind(list) != JSON_ARRAY || !all_are(list, JSON_STRING))
			return false;
	}
	return true;
}

/* NULL: it is; else what it must be. */
static const char *wrong_kind(const struct json *value, enum wire_kind kind)
{
	enum json_kind is = json_kind(value);
	switch (kind) {
	case WIRE_TEXT:
		return is == JSON_STRING ? NULL : "must be a text";
	case WIRE_OBJECT:
		return is == JSON_OBJECT ? NULL : "must be an object";
	case WIRE_TEXTS:
		return is == JSON_ARRAY && all_are(value, JSON_STRING) ? NULL : "must be an array of texts";
	case WIRE_TEXT_MAP:
		return is == JSON_OBJECT && all_are_texts(value) ? NULL : "must be an object of arrays of texts";
	case WIRE_MAP:
		return is == JSON_OBJECT && all_are(value, JSON_OBJECT) ? NULL : "must be an object of objects";
	case WIRE_OBJECTS:
		return is == JSON_ARRAY && all_are(value, JSON_OBJECT) ? NULL : "must be an array of objects";
	}
	return NULL;
}

static bool refuse(struct rest_call *call, const char *kind, const char *path, const char *name, const char *what)
{
	struct buffer message = {0};
	buffer_printf(&message, "Invalid %s: %s%s: %s", kind, path, name, what);
	rest_refuse_with(call, 400, message.failed ? "Invalid payload" : message.bytes);
	buffer_free(&message);
	return false;
}

bool wire_check(struct rest_call *call, const struct json *object, const char *path, const struct wire_member *members,
	size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct json *value = wire_member(object, members[i].name);
		const char *wrong = value == NULL ? NULL : wrong_kind(value, members[i].kind);
		if (wrong != NULL)
			return refuse(call, "JSON", path, members[i].name, wrong);
		if (members[i].is_required && json_text(value).length == 0)
			return refuse(call, "payload", path, members[i].name, "is required");
	}
	return true;
}

void wire_print_filled(struct buffer *into, const char *name, const struct json *value)
{
	if (json_count(value) == 0)
		return;
	buffer_printf(into, ",\"%s\":", name);
	json_print(value, into);
}
