/* Messages by tables of members. */
#include "control/orchestration/messages.h"

#include <stddef.h>

/* A text member, copied into the struct at `offset`. */
struct member {
	const char *name;
	size_t offset;
	bool is_required;
	bool (*is_valid)(struct text value); /* NULL: any text of MESSAGE_NAME_MAX */
};

static bool is_key_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
		   (byte != 0 && strchr("-_=/.", byte) != NULL);
}

bool message_id_is_valid(struct text id)
{
	if (id.length == 0 || id.length > MESSAGE_NAME_MAX || id.bytes[0] == '.' || id.bytes[id.length - 1] == '.')
		return false;
	for (size_t i = 0; i < id.length; i++) {
		if (!is_key_byte(id.bytes[i]) || (id.bytes[i] == '.' && id.bytes[i + 1] == '.'))
			return false;
	}
	return true;
}

bool message_type_is_valid(struct text type)
{
	if (type.length == 0 || type.length > MESSAGE_NAME_MAX)
		return false;
	for (size_t i = 0; i < type.length; i++) {
		if (!is_key_byte(type.bytes[i]) || type.bytes[i] == '=' || type.bytes[i] == '/')
			return false;
	}
	return true;
}

static bool is_line(struct text value)
{
	return value.length <= MESSAGE_NAME_MAX && text_is_line(value);
}

static bool is_any(struct text value)
{
	(void)value;
	return true;
}

static const struct member manifest_members[] = {
	{"id", offsetof(struct manifest, id), true, message_id_is_valid},
	{"correlationId", offsetof(struct manifest, correlation_id), true, NULL},
	{"orchestrationType", offsetof(struct manifest, type), true, NULL},
};
static const struct member activity_members[] = {
	{"id", offsetof(struct activity_message, id), true, NULL},
	{"type", offsetof(struct activity_message, type), true, message_type_is_valid},
	{"discriminator", offsetof(struct activity_message, discriminator), false, NULL},
};
static const struct member response_members[] = {
	{"id", offsetof(struct response, id), true, NULL},
	{"manifestId", offsetof(struct response, manifest_id), true, NULL},
	{"correlationId", offsetof(struct response, correlation_id), true, NULL},
	{"orchestrationType", offsetof(struct response, type), true, NULL},
	{"errorDetail", offsetof(struct response, error_detail), false, is_any},
};

static bool is_absent(const struct json *node)
{
	return node == NULL || json_kind(node) == JSON_NULL;
}

static enum status read_members(
	const struct member *members, size_t count, const struct json *object, void *target, struct buffer *error)
{
	for (size_t i = 0; i < count; i++) {
		const struct member *member = &members[i];
		const struct json *node = json_member(object, member->name);
		struct text value = json_text(node);
		bool (*is_valid)(struct text value) = member->is_valid != NULL ? member->is_valid : is_line;
		if (is_absent(node) || (value.bytes != NULL && value.length == 0)) {
			if (member->is_required)
				return buffer_invalid(error, member->name, "is required");
			continue;
		}
		if (value.bytes == NULL)
			return buffer_invalid(error, member->name, "must be a text");
		if (!is_valid(value))
			return buffer_invalid(error, member->name, "is no name");
		*(struct text *)((char *)target + member->offset) = value;
	}
	return STATUS_OK;
}

#define READ_MEMBERS(members, object, target, error)                                                                   \
	read_members(members, sizeof(members) / sizeof((members)[0]), object, target, error)

static enum status read_object(
	const struct json *object, const char *name, const struct json **into, struct buffer *error)
{
	const struct json *node = json_member(object, name);
	if (is_absent(node))
		return STATUS_OK;
	if (json_kind(node) != JSON_OBJECT)
		return buffer_invalid(error, name, "must be an object");
	*into = node;
	return STATUS_OK;
}

static enum status parse(struct text body, struct json **root, struct buffer *error)
{
	enum status status = json_parse(body, NULL, root);
	if (status == STATUS_OK && json_kind(*root) != JSON_OBJECT) {
		json_free(*root);
		status = STATUS_INVALID;
	}
	if (status != STATUS_OK)
		buffer_printf(error, "no JSON object: %s", status_text(status));
	return status;
}

enum status manifest_read(const struct json *object, struct manifest *manifest, struct buffer *error)
{
	*manifest = (struct manifest){0};
	enum status status = READ_MEMBERS(manifest_members, object, manifest, error);
	return status != STATUS_OK ? status : read_object(object, "payload", &manifest->payload, error);
}

enum status manifest_parse(struct text body, struct manifest *manifest, struct buffer *error)
{
	struct json *root;
	enum status status = parse(body, &root, error);
	if (status != STATUS_OK)
		return status;
	status = manifest_read(root, manifest, error);
	if (status != STATUS_OK)
		json_free(root);
	else
		manifest->root = root;
	return status;
}

enum status activity_message_parse(struct text body, struct activity_message *message, struct buffer *error)
{
	struct json *root;
	enum status status = parse(body, &root, error);
	if (status != STATUS_OK)
		return status;
	*message = (struct activity_message){.orchestration_id = json_member_text(root, "orchestrationID")};
	status = read_object(root, "activity", &message->activity, error);
	if (status == STATUS_OK && !message_id_is_valid(message->orchestration_id))
		status = buffer_invalid(error, "orchestrationID", "must be the key of an orchestration");
	if (status == STATUS_OK && message->activity == NULL)
		status = buffer_invalid(error, "activity", "is required");
	if (status == STATUS_OK)
		status = READ_MEMBERS(activity_members, message->activity, message, error);
	if (status != STATUS_OK)
		json_free(root);
	else
		message->root = root;
	return status;
}

enum status response_parse(struct text body, struct response *response, struct buffer *error)
{
	struct json *root;
	enum status status = parse(body, &root, error);
	if (status != STATUS_OK)
		return status;
	*response = (struct response){0};
	status = READ_MEMBERS(response_members, root, response, error);
	const struct json *success = json_member(root, "success");
	if (status == STATUS_OK && !is_absent(success) && !json_bool(success, &response->is_success))
		status = buffer_invalid(error, "success", "must be true or false");
	if (status == STATUS_OK)
		status = read_object(root, "properties", &response->properties, error);
	if (status != STATUS_OK)
		json_free(root);
	else
		response->root = root;
	return status;
}

/* --- writing */

void message_print_text(struct buffer *into, const char *before, struct text value)
{
	buffer_append(into, text_of(before));
	buffer_append_json(into, value);
}

void manifest_print(const struct manifest *manifest, struct buffer *into)
{
	message_print_text(into, "{\"id\":", manifest->id);
	message_print_text(into, ",\"correlationId\":", manifest->correlation_id);
	message_print_text(into, ",\"orchestrationType\":", manifest->type);
	if (json_first(manifest->payload) != NULL) {
		buffer_append(into, TEXT(",\"payload\":"));
		json_print(manifest->payload, into);
	}
	buffer_append_byte(into, '}');
}

static void print_list(const struct json *list, struct buffer *into)
{
	if (json_kind(list) == JSON_ARRAY)
		json_print(list, into);
	else
		buffer_append(into, TEXT("null"));
}

void activity_message_print(struct text orchestration_id, const struct json *activity, struct buffer *into)
{
	message_print_text(into, "{\"orchestrationID\":", orchestration_id);
	message_print_text(into, ",\"activity\":{\"id\":", json_member_text(activity, "id"));
	message_print_text(into, ",\"type\":", json_member_text(activity, "type"));
	message_print_text(into, ",\"discriminator\":", json_member_text(activity, "discriminator"));
	buffer_append(into, TEXT(",\"dependsOn\":"));
	print_list(json_member(activity, "dependsOn"), into);
	buffer_append(into, TEXT("}}"));
}

void response_print(const struct response *response, struct buffer *into)
{
	message_print_text(into, "{\"id\":", response->id);
	message_print_text(into, ",\"manifestId\":", response->manifest_id);
	message_print_text(into, ",\"correlationId\":", response->correlation_id);
	message_print_text(into, ",\"orchestrationType\":", response->type);
	buffer_append(into, response->is_success ? TEXT(",\"success\":true") : TEXT(",\"success\":false"));
	if (response->error_detail.length > 0)
		message_print_text(into, ",\"errorDetail\":", response->error_detail);
	buffer_append(into, TEXT(",\"properties\":"));
	if (response->properties != NULL)
		json_print(response->properties, into);
	else
		buffer_append(into, TEXT("{}"));
	buffer_append_byte(into, '}');
}

/* --- names */

void activity_queue(struct text type, struct buffer *into)
{
	for (size_t i = 0; i < type.length; i++)
		buffer_append(into, type.bytes[i] == '.' ? TEXT("-") : text_slice(type, i, i + 1));
}

void activity_type_of_cell(struct text type, struct text cell, struct buffer *into)
{
	buffer_append(into, type);
	buffer_append(into, TEXT("--"));
	for (size_t i = 0; i < cell.length; i++) {
		struct text one = text_slice(cell, i, i + 1);
		buffer_append(into, message_type_is_valid(one) ? one : TEXT("-"));
	}
}

/* --- traces */

enum { TRACE_MAX = 512 };

static struct text trace_text(struct text text)
{
	return text.length > 0 && text.length <= TRACE_MAX && text_is_line(text) ? text : TEXT_NONE;
}

struct trace trace_of(struct text parent, struct text state)
{
	struct trace trace = {trace_text(parent), trace_text(state)};
	if (trace.parent.length == 0)
		trace.state = TEXT_NONE;
	return trace;
}

struct trace trace_read(const struct json *object)
{
	return trace_of(json_member_text(object, "traceparent"), json_member_text(object, "tracestate"));
}

struct json *trace_json(const struct trace *trace)
{
	if (trace->parent.length == 0)
		return NULL;
	struct json *object = json_object_new();
	if (json_add_text(object, "traceparent", trace->parent) &&
		(trace->state.length == 0 || json_add_text(object, "tracestate", trace->state)))
		return object;
	json_free(object);
	return NULL;
}
