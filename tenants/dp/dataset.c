/* Datasets: checked and compiled from JSON. */
#include "tenants/dp/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/id.h"

enum { PARTS_MAX = 32, PART_PATH_MAX = 256 };

static const struct source_driver *const drivers[] = {&source_file, &source_http, &source_s3, &source_external};

static const char *const method_names[] = {
#define METHOD_NAME(name) #name,
	METHOD_LIST(METHOD_NAME)
#undef METHOD_NAME
};

bool method_parse(struct text text, enum method *method)
{
	int found = text_find_word(text, method_names, METHOD_COUNT);
	if (found < 0)
		return false;
	*method = (enum method)found;
	return true;
}

void methods_print(unsigned methods, struct buffer *into)
{
	const char *separator = "";
	for (int i = 0; i < METHOD_COUNT; i++) {
		if ((methods >> i & 1U) != 0) {
			buffer_append(into, text_of(separator));
			buffer_append(into, text_of(method_names[i]));
			separator = ", ";
		}
	}
}

struct text property(const struct json *properties, const char *name)
{
	struct text value = json_member_text(properties, name);
	if (value.bytes != NULL)
		return value;
	char expanded[128] = "https://w3id.org/edc/v0.0.1/ns/";
	size_t start = strlen(expanded), length = strlen(name);
	if (start + length >= sizeof(expanded))
		return TEXT_NONE;
	memcpy(expanded + start, name, length + 1);
	return json_member_text(properties, expanded);
}

static enum status check_members(const struct json *object, const char *const *known, struct buffer *error)
{
	for (const struct json *value = json_first(object); value != NULL; value = json_next(value)) {
		size_t i = 0;
		while (known[i] != NULL && strcmp(known[i], json_name(value)) != 0)
			i++;
		if (known[i] == NULL)
			return buffer_invalid(error, json_name(value), "unknown member");
	}
	return STATUS_OK;
}

static bool is_plain_segment(struct text segment)
{
	return name_is_valid(segment, PART_PATH_MAX) && text_find(segment, ':') == segment.length &&
		   !text_equals(segment, TEXT(".")) && !text_equals(segment, TEXT(".."));
}

/* "" or "/a/b": unreserved characters only, so that it is its own canonical form. */
static bool is_part_path(struct text path)
{
	if (path.length == 0)
		return path.bytes != NULL;
	if (path.bytes[0] != '/' || path.bytes[path.length - 1] == '/' || path.length > PART_PATH_MAX)
		return false;
	struct text rest = text_slice(path, 1, path.length), segment;
	for (bool done = false; text_next_part(&rest, '/', &segment, &done);) {
		if (!is_plain_segment(segment))
			return false;
	}
	return true;
}

static enum status check_properties(const struct json *properties, struct buffer *error)
{
	if (properties == NULL || json_kind(properties) != JSON_OBJECT)
		return buffer_invalid(error, "properties", "must be an object");
	for (const struct json *value = json_first(properties); value != NULL; value = json_next(value)) {
		if (json_kind(value) != JSON_STRING)
			return buffer_invalid(error, json_name(value), "must be a string");
	}
	return STATUS_OK;
}

static enum status bind_part(
	const struct dataset *dataset, const struct json *properties, struct dataset_part *part, struct buffer *error)
{
	static _Atomic uint64_t serials;
	struct text version = property(properties, "version");
	part->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
	part->has_version = version.bytes != NULL;
	for (size_t i = 0; part->has_version && i < version.length; i++) {
		if ((unsigned char)version.bytes[i] < 0x21 || (unsigned char)version.bytes[i] > 0x7e)
			return buffer_invalid(error, "version", "must be visible ASCII characters");
	}
	if (part->has_version && (version.length == 0 || version.length > VERSION_MAX))
		return buffer_invalid(error, "version", "must be 1 to 128 characters");
	return binding_make(text_of(dataset->ctx), text_of(dataset->id), part->path, version, part->binding);
}

static enum status build_part(const struct json *body, const struct dataset *dataset, struct dataset_part *part,
	unsigned workers, struct buffer *error)
{
	struct text type = json_member_text(body, "type");
	if (type.bytes == NULL)
		return buffer_invalid(error, "type", "is missing");
	const struct source_driver *driver = NULL;
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (text_equals(type, text_of(drivers[i]->type)))
			driver = drivers[i];
	}
	if (driver == NULL)
		return buffer_invalid(error, "type", "must be \"file\", \"http\", \"s3\" or \"external\"");
	const struct json *properties = json_member(body, "properties");
	enum status status = check_properties(properties, error);
	if (status == STATUS_OK)
		status = driver->build(properties, workers, &part->source, error);
	if (status != STATUS_OK)
		return status;
	part->driver = driver;
	return bind_part(dataset, properties, part, error);
}

static enum status build_sink(const struct json *body, struct dataset *dataset, unsigned workers, struct buffer *error)
{
	static const char *const known[] = {"type", "properties", NULL};
	const struct json *sink = json_member(body, "sink");
	if (sink == NULL)
		return STATUS_OK;
	if (json_kind(sink) != JSON_OBJECT)
		return buffer_invalid(error, "sink", "must be an object");
	enum status status = check_members(sink, known, error);
	const struct sink_driver *driver = sink_driver_find(json_member_text(sink, "type"));
	if (status == STATUS_OK && driver == NULL) {
		buffer_printf(error, "sink: type must be %s", sink_types());
		return STATUS_INVALID;
	}
	if (status == STATUS_OK)
		status = check_properties(json_member(sink, "properties"), error);
	if (status == STATUS_OK)
		status = driver->build(json_member(sink, "properties"), workers, &dataset->sink, error);
	if (status == STATUS_OK)
		dataset->sink_driver = driver;
	return status;
}

static enum status build_named_part(const struct json *body, const struct dataset *dataset, struct dataset_part *part,
	unsigned workers, struct buffer *error)
{
	static const char *const known[] = {"path", "type", "properties", NULL};
	if (json_kind(body) != JSON_OBJECT)
		return buffer_invalid(error, "parts", "must hold objects");
	enum status status = check_members(body, known, error);
	if (status != STATUS_OK)
		return status;
	struct text path = json_member_text(body, "path");
	if (!is_part_path(path))
		return buffer_invalid(error, "path", "must be empty or like \"/files\"");
	char *copy = text_copy(path);
	if (copy == NULL)
		return STATUS_NO_MEMORY;
	part->path = text_of(copy);
	return build_part(body, dataset, part, workers, error);
}

static int by_length(const void *a, const void *b)
{
	size_t first = ((const struct dataset_part *)a)->path.length,
		   second = ((const struct dataset_part *)b)->path.length;
	return (first < second) - (first > second);
}

static enum status build_parts(const struct json *body, struct dataset *dataset, unsigned workers, struct buffer *error)
{
	const struct json *parts = json_member(body, "parts");
	size_t count = parts == NULL ? 1 : json_count(parts);
	if (parts != NULL && (json_kind(parts) != JSON_ARRAY || count == 0 || count > PARTS_MAX))
		return buffer_invalid(error, "parts", "must be an array of 1 to 32 objects");
	if (parts != NULL && (json_member(body, "type") != NULL || json_member(body, "properties") != NULL))
		return buffer_invalid(error, "type", "stands in each part when there are parts");
	if (parts == NULL && json_member(body, "type") == NULL && json_member(body, "sink") != NULL)
		return json_member(body, "properties") == NULL ? STATUS_OK
													   : buffer_invalid(error, "properties", "belongs to a type");
	dataset->parts = calloc(count, sizeof(dataset->parts[0]));
	if (dataset->parts == NULL)
		return STATUS_NO_MEMORY;
	if (parts == NULL) {
		dataset->part_count = 1;
		return build_part(body, dataset, &dataset->parts[0], workers, error);
	}
	for (const struct json *part = json_first(parts); part != NULL; part = json_next(part)) {
		struct dataset_part *into = &dataset->parts[dataset->part_count++];
		enum status status = build_named_part(part, dataset, into, workers, error);
		if (status != STATUS_OK)
			return status;
		for (const struct dataset_part *other = dataset->parts; other < into; other++) {
			if (text_equals(other->path, into->path))
				return buffer_invalid(error, "path", "must be there once");
		}
	}
	qsort(dataset->parts, count, sizeof(dataset->parts[0]), by_length);
	return STATUS_OK;
}

static enum status build_methods(const struct json *body, struct dataset *dataset, struct buffer *error)
{
	const struct json *allowed = json_member(body, "allowedMethods");
	dataset->methods = (1U << METHOD_COUNT) - 1;
	if (allowed == NULL)
		return STATUS_OK;
	if (json_kind(allowed) != JSON_ARRAY)
		return buffer_invalid(error, "allowedMethods", "must be an array");
	dataset->methods = 0;
	for (const struct json *item = json_first(allowed); item != NULL; item = json_next(item)) {
		enum method method;
		if (!method_parse(json_text(item), &method))
			return buffer_invalid(error, "allowedMethods", "must be of GET, HEAD, POST, PUT, DELETE, PATCH");
		dataset->methods |= 1U << method;
	}
	return STATUS_OK;
}

enum status dataset_build(struct text ctx, struct text id, const struct json *body, unsigned workers,
	struct dataset **dataset, struct buffer *error)
{
	static const char *const known[] = {
		"id", "type", "properties", "parts", "sink", "allowedMethods", "createdAt", NULL};
	if (body == NULL || json_kind(body) != JSON_OBJECT)
		return buffer_invalid(error, "body", "must be a JSON object");
	enum status status = check_members(body, known, error);
	if (status != STATUS_OK)
		return status;
	struct dataset *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	atomic_init(&made->references, 1);
	made->ctx = text_copy(ctx);
	made->id = text_copy(id);
	struct buffer print = {0};
	json_print(body, &print);
	made->body = print.failed ? NULL : buffer_take(&print);
	buffer_free(&print);
	status = made->ctx == NULL || made->id == NULL || made->body == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = build_methods(body, made, error);
	if (status == STATUS_OK)
		status = build_parts(body, made, workers, error);
	if (status == STATUS_OK)
		status = build_sink(body, made, workers, error);
	if (status != STATUS_OK) {
		dataset_unref(made);
		return status;
	}
	*dataset = made;
	return STATUS_OK;
}

void dataset_ref(struct dataset *dataset)
{
	atomic_fetch_add_explicit(&dataset->references, 1, memory_order_relaxed);
}

void dataset_unref(void *object)
{
	struct dataset *dataset = object;
	if (dataset == NULL || atomic_fetch_sub_explicit(&dataset->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < dataset->part_count; i++) {
		if (dataset->parts[i].driver != NULL)
			dataset->parts[i].driver->free(dataset->parts[i].source);
		free((char *)(uintptr_t)dataset->parts[i].path.bytes);
	}
	if (dataset->sink_driver != NULL)
		dataset->sink_driver->free(dataset->sink);
	free(dataset->parts);
	free(dataset->ctx);
	free(dataset->id);
	free(dataset->body);
	free(dataset);
}

const struct dataset_part *dataset_find(const struct dataset *dataset, struct text path, struct text *below)
{
	for (size_t i = 0; i < dataset->part_count; i++) {
		const struct dataset_part *part = &dataset->parts[i];
		size_t length = part->path.length;
		if (length == 0 ||
			(text_starts_with(path, part->path) && (path.length == length || path.bytes[length] == '/'))) {
			*below = text_slice(path, length, path.length);
			return part;
		}
	}
	return NULL;
}
