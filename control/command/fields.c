/* Tables of members. */
#include "control/command/fields.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/url.h"

enum { PATH_MAX_BYTES = 160 };

enum status field_wrong(struct buffer *error, const char *path, const char *what)
{
	buffer_printf(error, "%s: %s", path, what);
	return STATUS_INVALID;
}

static bool is_name(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		char byte = text.bytes[i];
		bool is_letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
		if (!is_letter && (byte == 0 || strchr("-_./:", byte) == NULL))
			return false;
	}
	return true;
}

static bool is_url(struct text text)
{
	struct url url;
	return url_parse(text, &url) == STATUS_OK;
}

static enum status read_text(
	const struct field *field, const struct json *value, const char *path, char **into, struct buffer *error)
{
	struct text text = json_text(value);
	if (text.bytes == NULL || (int64_t)text.length < field->minimum || (int64_t)text.length > field->maximum ||
		!text_is_line(text)) {
		buffer_printf(error, "%s: must be a text of %lld to %lld bytes without control bytes", path,
			(long long)field->minimum, (long long)field->maximum);
		return STATUS_INVALID;
	}
	if (field->kind == FIELD_NAME && !is_name(text))
		return field_wrong(error, path, "may hold letters, digits and - _ . / : only");
	if (field->kind == FIELD_URL && !is_url(text))
		return field_wrong(error, path, "must be an absolute http or https URL");
	if (!field->is_kept)
		return STATUS_OK;
	*into = text_copy(text);
	return *into != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_integer(
	const struct field *field, const struct json *value, const char *path, int64_t *into, struct buffer *error)
{
	int64_t number;
	if (!json_integer(value, &number) || number < field->minimum || number > field->maximum) {
		buffer_printf(error, "%s: must be an integer from %lld to %lld", path, (long long)field->minimum,
			(long long)field->maximum);
		return STATUS_INVALID;
	}
	if (field->is_kept)
		*into = number;
	return STATUS_OK;
}

static bool are_lines(const struct json *array, int64_t maximum)
{
	if (json_kind(array) != JSON_ARRAY || json_count(array) > FIELD_ITEMS_MAX)
		return false;
	for (const struct json *item = json_first(array); item != NULL; item = json_next(item)) {
		struct text text = json_text(item);
		if (text.length == 0 || (int64_t)text.length > maximum || !text_is_line(text))
			return false;
	}
	return true;
}

static bool list_read(const struct json *array, struct field_list *list)
{
	size_t room = json_count(array);
	list->items = calloc(room + 1, sizeof(*list->items));
	if (list->items == NULL)
		return false;
	for (const struct json *item = json_first(array); item != NULL; item = json_next(item)) {
		list->items[list->count] = text_copy(json_text(item));
		if (list->items[list->count++] == NULL)
			return false;
	}
	return true;
}

static enum status read_lines(const struct field *field, const struct json *value, const char *path,
	struct field_list *into, struct buffer *error)
{
	if (!are_lines(value, field->maximum)) {
		buffer_printf(error, "%s: must be an array of at most %d texts of 1 to %lld bytes", path, FIELD_ITEMS_MAX,
			(long long)field->maximum);
		return STATUS_INVALID;
	}
	return !field->is_kept || list_read(value, into) ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_field(
	const struct field *field, const struct json *value, const char *path, void *target, struct buffer *error)
{
	void *at = (char *)target + field->offset;
	switch (field->kind) {
	case FIELD_NAME:
	case FIELD_LINE:
	case FIELD_URL:
		return read_text(field, value, path, at, error);
	case FIELD_INTEGER:
		return read_integer(field, value, path, at, error);
	case FIELD_LINES:
		return read_lines(field, value, path, at, error);
	case FIELD_OBJECT:
		return fields_read(field->fields, field->field_count, value, path, target, error);
	case FIELD_READ:
		return field->read(value, path, target, error);
	}
	return STATUS_INTERNAL;
}

static const char *join(char into[PATH_MAX_BYTES], const char *path, const char *name)
{
	snprintf(into, PATH_MAX_BYTES, "%s%s%s", path, path[0] != 0 ? "." : "", name);
	return into;
}

static const struct field *find(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	}
	return NULL;
}

enum status fields_read(const struct field *fields, size_t count, const struct json *object, const char *path,
	void *target, struct buffer *error)
{
	char member[PATH_MAX_BYTES];
	if (object == NULL || json_kind(object) != JSON_OBJECT)
		return field_wrong(error, path[0] != 0 ? path : "body", "must be an object");
	for (const struct json *value = json_first(object); value != NULL; value = json_next(value)) {
		const struct field *field = find(fields, count, json_name(value));
		if (field == NULL)
			return field_wrong(error, join(member, path, json_name(value)), "unknown member");
		enum status status = json_kind(value) == JSON_NULL
								 ? STATUS_OK
								 : read_field(field, value, join(member, path, field->name), target, error);
		if (status != STATUS_OK)
			return status;
	}
	for (size_t i = 0; i < count; i++) {
		const struct json *value = json_member(object, fields[i].name);
		if (fields[i].is_required && (value == NULL || json_kind(value) == JSON_NULL))
			return field_wrong(error, join(member, path, fields[i].name), "is missing");
	}
	return STATUS_OK;
}

enum status fields_each(const struct json *value, const char *path, size_t most,
	enum status (*each)(void *context, const struct json *item, const char *path, struct buffer *error), void *context,
	struct buffer *error)
{
	enum status status = STATUS_OK;
	if (json_kind(value) != JSON_ARRAY || json_count(value) > most) {
		buffer_printf(error, "%s: must be an array of at most %zu objects", path, most);
		return STATUS_INVALID;
	}
	for (const struct json *item = json_first(value); item != NULL && status == STATUS_OK; item = json_next(item))
		status = each(context, item, path, error);
	return status;
}

enum status fields_each_text(const struct json *value, const char *path, size_t longest,
	bool (*each)(void *context, struct text name, struct text text), void *context, struct buffer *error)
{
	if (json_kind(value) != JSON_OBJECT || json_count(value) > FIELD_ITEMS_MAX)
		return field_wrong(error, path, "must be an object of at most 64 texts");
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		struct text name = text_of(json_name(item)), text = json_text(item);
		if (name.length == 0 || name.length > longest || !text_is_line(name)) {
			buffer_printf(error, "%s: each name must have 1 to %zu bytes", path, longest);
			return STATUS_INVALID;
		}
		if (text.bytes == NULL || text.length > longest || !text_is_line(text)) {
			buffer_printf(error, "%s.%s: must be a text of at most %zu bytes", path, name.bytes, longest);
			return STATUS_INVALID;
		}
		if (!each(context, name, text))
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

static void list_free(struct field_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct field_list){0};
}

void fields_free(const struct field *fields, size_t count, void *target)
{
	for (size_t i = 0; i < count; i++) {
		void *at = (char *)target + fields[i].offset;
		if (fields[i].kind == FIELD_OBJECT)
			fields_free(fields[i].fields, fields[i].field_count, target);
		else if (!fields[i].is_kept)
			continue;
		else if (fields[i].kind <= FIELD_URL)
			free(*(char **)at);
		else if (fields[i].kind == FIELD_LINES)
			list_free(at);
	}
}
