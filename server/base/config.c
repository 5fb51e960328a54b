/* Settings from their tables: defaults, the file, messages. */
#include "server/base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/id.h"
#include "server/base/json.h"

enum { FILE_MAX = 4 * 1024 * 1024, PATH_ROOM = 256, NAME_SHOWN = 64 };

/* Where we are, for messages: "server.listeners[0].port". */
struct place {
	const char *file;
	struct buffer *error;
	char path[PATH_ROOM];
};

struct unit {
	const char *name;
	int64_t factor;
};
static const struct unit byte_units[] = {
	{"B", 1}, {"KiB", 1024}, {"MiB", (int64_t)1 << 20}, {"GiB", (int64_t)1 << 30}, {NULL, 0}};
static const struct unit time_units[] = {
	{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};

static void *field(void *target, const struct setting *setting)
{
	return (char *)target + setting->offset;
}

/* --- messages */

static enum status complain(struct place *place, const char *what)
{
	buffer_printf(place->error, "%s: %s: %s", place->file, place->path, what);
	return STATUS_INVALID;
}

static enum status complain_number(struct place *place, const struct setting *setting)
{
	static const char *const kinds[] = {[SETTING_INTEGER] = "an integer",
		[SETTING_BYTES] = "bytes (an integer, or like \"64 KiB\")",
		[SETTING_MILLISECONDS] = "milliseconds (an integer, or like \"10 s\")"};
	buffer_printf(place->error, "%s: %s: must be %s from %lld to %lld", place->file, place->path, kinds[setting->kind],
		(long long)setting->minimum, (long long)setting->maximum);
	return STATUS_INVALID;
}

/* A name of the file's own: anything may stand in it, the message stays one line. */
static void append_name(struct buffer *error, const char *name)
{
	struct text text = text_of(name);
	if (text.length <= NAME_SHOWN && name_is_valid(text, NAME_SHOWN))
		buffer_append(error, text);
	else
		buffer_append_json(error, text_slice(text, 0, NAME_SHOWN));
}

static enum status complain_unknown(struct place *place, const char *key, const struct setting *settings, size_t count)
{
	buffer_printf(place->error, "%s: %s%s", place->file, place->path, place->path[0] == 0 ? "" : ".");
	append_name(place->error, key);
	buffer_append(place->error, TEXT(": unknown key; allowed:"));
	for (size_t i = 0; i < count; i++)
		buffer_printf(place->error, "%s %s", i == 0 ? "" : ",", settings[i].key);
	return STATUS_INVALID;
}

/* --- values */

static bool parse_units(struct text text, const struct unit *units, int64_t *value)
{
	size_t digits = 0;
	while (digits < text.length && text.bytes[digits] >= '0' && text.bytes[digits] <= '9')
		digits++;
	uint64_t number;
	struct text unit = text_trim(text_slice(text, digits, text.length));
	if (text_to_unsigned(text_slice(text, 0, digits), INT64_MAX, &number) != STATUS_OK)
		return false;
	for (; units->name != NULL; units++) {
		if (text_equals(unit, text_of(units->name)))
			return !__builtin_mul_overflow((int64_t)number, units->factor, value);
	}
	return false;
}

static enum status set_number(struct place *place, const struct setting *setting, const struct json *value, void *into)
{
	int64_t number;
	const struct unit *units = setting->kind == SETTING_BYTES ? byte_units : time_units;
	bool is_read = json_integer(value, &number);
	if (!is_read && setting->kind != SETTING_INTEGER && json_kind(value) == JSON_STRING)
		is_read = parse_units(json_text(value), units, &number);
	if (!is_read || number < setting->minimum || number > setting->maximum)
		return complain_number(place, setting);
	*(int64_t *)into = number;
	return STATUS_OK;
}

static enum status set_text(struct place *place, const struct setting *setting, const struct json *value, char **into)
{
	if (json_kind(value) == JSON_NULL && setting->preset == NULL) {
		free(*into);
		*into = NULL;
		return STATUS_OK;
	}
	struct text text = json_text(value);
	if (text.bytes == NULL)
		return complain(place, "must be a text");
	if (setting->maximum > 0 && ((int64_t)text.length < setting->minimum || (int64_t)text.length > setting->maximum)) {
		buffer_printf(place->error, "%s: %s: must be a text of %lld to %lld bytes", place->file, place->path,
			(long long)setting->minimum, (long long)setting->maximum);
		return STATUS_INVALID;
	}
	char *copy = text_copy(text);
	if (copy == NULL)
		return STATUS_NO_MEMORY;
	free(*into);
	*into = copy;
	return STATUS_OK;
}

static enum status set_choice(struct place *place, const struct setting *setting, struct text word, int *into)
{
	for (int i = 0; setting->choices[i] != NULL; i++) {
		if (text_equals(word, text_of(setting->choices[i]))) {
			*into = i;
			return STATUS_OK;
		}
	}
	buffer_printf(place->error, "%s: %s: must be one of", place->file, place->path);
	for (int i = 0; setting->choices[i] != NULL; i++)
		buffer_printf(place->error, "%s \"%s\"", i == 0 ? "" : ",", setting->choices[i]);
	return STATUS_INVALID;
}

static void free_texts(struct setting_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	free(texts->items);
	*texts = (struct setting_texts){0};
}

static enum status set_texts(struct place *place, const struct json *value, struct setting_texts *into)
{
	if (json_kind(value) != JSON_ARRAY)
		return complain(place, "must be an array of texts");
	free_texts(into);
	into->items = calloc(json_count(value) + 1, sizeof(char *));
	if (into->items == NULL)
		return STATUS_NO_MEMORY;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		if (json_kind(item) != JSON_STRING)
			return complain(place, "must be an array of texts");
		into->items[into->count] = text_copy(json_text(item));
		if (into->items[into->count++] == NULL)
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

/* --- tables */

static enum status set_preset(const struct setting *setting, void *target);

static enum status set_presets(const struct setting *settings, size_t count, void *target)
{
	enum status status = STATUS_OK;
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = set_preset(&settings[i], target);
	return status;
}

/* Presets are ours: a wrong one is found by the first test that loads the table. */
static enum status set_preset(const struct setting *setting, void *target)
{
	void *into = field(target, setting);
	struct text preset = setting->preset == NULL ? TEXT_NONE : text_of(setting->preset);
	uint64_t number;
	struct buffer ignored = {0};
	struct place place = {.file = "preset", .error = &ignored};
	enum status status = STATUS_OK;
	switch (setting->kind) {
	case SETTING_BOOL:
		*(bool *)into = text_equals(preset, TEXT("true"));
		break;
	case SETTING_INTEGER:
		status = preset.bytes == NULL ? STATUS_OK : text_to_unsigned(preset, INT64_MAX, &number);
		*(int64_t *)into = preset.bytes == NULL || status != STATUS_OK ? 0 : (int64_t)number;
		break;
	case SETTING_BYTES:
	case SETTING_MILLISECONDS:
		*(int64_t *)into = 0;
		if (preset.bytes != NULL &&
			!parse_units(preset, setting->kind == SETTING_BYTES ? byte_units : time_units, into)) {
			status = text_to_unsigned(preset, INT64_MAX, &number);
			*(int64_t *)into = status == STATUS_OK ? (int64_t)number : 0;
		}
		break;
	case SETTING_TEXT:
		*(char **)into = preset.bytes == NULL ? NULL : text_copy(preset);
		status = preset.bytes != NULL && *(char **)into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
		break;
	case SETTING_CHOICE:
		*(int *)into = 0;
		if (preset.bytes != NULL)
			status = set_choice(&place, setting, preset, into);
		break;
	case SETTING_TEXTS:
		*(struct setting_texts *)into = (struct setting_texts){0};
		break;
	case SETTING_OBJECTS:
		*(struct setting_objects *)into = (struct setting_objects){0};
		break;
	}
	buffer_free(&ignored);
	return status;
}

static enum status set_members(
	struct place *place, const struct setting *settings, size_t count, const struct json *object, void *target);

static enum status set_objects(
	struct place *place, const struct setting *setting, const struct json *value, void *target)
{
	struct setting_objects *into = field(target, setting);
	if (json_kind(value) != JSON_ARRAY)
		return complain(place, "must be an array of objects");
	into->items = calloc(json_count(value) + 1, setting->object_size);
	if (into->items == NULL)
		return STATUS_NO_MEMORY;
	size_t length = strlen(place->path);
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		void *object = (char *)into->items + into->count * setting->object_size;
		snprintf(place->path + length, sizeof(place->path) - length, "[%zu]", into->count++);
		enum status status = set_presets(setting->members, setting->member_count, object);
		if (status == STATUS_OK && json_kind(item) != JSON_OBJECT)
			status = complain(place, "must be an object");
		if (status == STATUS_OK)
			status = set_members(place, setting->members, setting->member_count, item, object);
		if (status != STATUS_OK)
			return status;
	}
	place->path[length] = 0;
	return STATUS_OK;
}

static enum status set_value(struct place *place, const struct setting *setting, const struct json *value, void *target)
{
	void *into = field(target, setting);
	switch (setting->kind) {
	case SETTING_BOOL:
		return json_bool(value, into) ? STATUS_OK : complain(place, "must be true or false");
	case SETTING_INTEGER:
	case SETTING_BYTES:
	case SETTING_MILLISECONDS:
		return set_number(place, setting, value, into);
	case SETTING_TEXT:
		return set_text(place, setting, value, into);
	case SETTING_CHOICE:
		return set_choice(place, setting, json_text(value), into);
	case SETTING_TEXTS:
		return set_texts(place, value, into);
	case SETTING_OBJECTS:
		return set_objects(place, setting, value, target);
	}
	return STATUS_INTERNAL;
}

static enum status set_members(
	struct place *place, const struct setting *settings, size_t count, const struct json *object, void *target)
{
	size_t length = strlen(place->path);
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member)) {
		size_t i = 0;
		while (i < count && strcmp(settings[i].key, json_name(member)) != 0)
			i++;
		if (i == count)
			return complain_unknown(place, json_name(member), settings, count);
		snprintf(place->path + length, sizeof(place->path) - length, ".%s", settings[i].key);
		enum status status = set_value(place, &settings[i], member, target);
		if (status != STATUS_OK)
			return status;
		place->path[length] = 0;
	}
	return STATUS_OK;
}

static enum status set_section(
	struct place *place, const struct json *value, struct setting_section *sections, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(sections[i].name, json_name(value)) != 0)
			continue;
		snprintf(place->path, sizeof(place->path), "%s", sections[i].name);
		if (json_kind(value) != JSON_OBJECT)
			return complain(place, "must be an object");
		return set_members(place, sections[i].settings, sections[i].count, value, sections[i].target);
	}
	buffer_printf(place->error, "%s: ", place->file);
	append_name(place->error, json_name(value));
	buffer_append(place->error, TEXT(": unknown section; allowed:"));
	for (size_t i = 0; i < count; i++)
		buffer_printf(place->error, "%s %s", i == 0 ? "" : ",", sections[i].name);
	return STATUS_INVALID;
}

enum status config_parse(
	const char *name, struct text content, struct setting_section *sections, size_t count, struct buffer *error)
{
	static const struct json_limits limits = {FILE_MAX, 16, 100000};
	struct place place = {.file = name, .error = error};
	struct json *root = NULL;
	size_t offset = 0;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = set_presets(sections[i].settings, sections[i].count, sections[i].target);
	if (status != STATUS_OK) {
		buffer_printf(error, "%s: %s", name, status_text(status));
		return status;
	}
	status = json_check(content, &limits, &offset);
	if (status != STATUS_OK) {
		size_t line = 1;
		for (size_t i = 0; i < offset && i < content.length; i++)
			line += content.bytes[i] == '\n';
		buffer_printf(error, "%s:%zu: %s", name, line,
			status == STATUS_TOO_LARGE ? "too large or nested too deep" : "not valid JSON (or a key twice)");
		return STATUS_INVALID;
	}
	status = json_parse(content, &limits, &root);
	if (status == STATUS_OK && json_kind(root) != JSON_OBJECT) {
		buffer_printf(error, "%s: must be a JSON object of sections", name);
		status = STATUS_INVALID;
	}
	for (const struct json *value = json_first(root); value != NULL && status == STATUS_OK; value = json_next(value))
		status = set_section(&place, value, sections, count);
	json_free(root);
	if (status == STATUS_NO_MEMORY)
		buffer_printf(error, "%s: out of memory", name);
	return status;
}

static enum status read_file(const char *file, struct buffer *content, struct buffer *error)
{
	char block[16384];
	int descriptor = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t count = 0;
	while (descriptor >= 0 && (count = read(descriptor, block, sizeof(block))) > 0 && content->length <= FILE_MAX)
		buffer_append(content, (struct text){block, (size_t)count});
	int wrong = errno;
	if (descriptor >= 0)
		close(descriptor);
	if (descriptor < 0 || count < 0) {
		buffer_printf(error, "%s: %s", file, strerrordesc_np(wrong));
		return STATUS_NOT_FOUND;
	}
	return content->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status config_load(const char *file, struct setting_section *sections, size_t count, struct buffer *error)
{
	struct buffer content = {0};
	if (file == NULL)
		return config_parse("defaults", TEXT("{}"), sections, count, error);
	enum status status = read_file(file, &content, error);
	if (status == STATUS_OK)
		status = config_parse(file, buffer_text(&content), sections, count, error);
	buffer_free(&content);
	return status;
}

/* --- the end */

static void free_members(const struct setting *settings, size_t count, void *target)
{
	for (size_t i = 0; i < count; i++) {
		void *from = field(target, &settings[i]);
		if (settings[i].kind == SETTING_TEXT) {
			free(*(char **)from);
			*(char **)from = NULL;
		} else if (settings[i].kind == SETTING_TEXTS) {
			free_texts(from);
		} else if (settings[i].kind == SETTING_OBJECTS) {
			struct setting_objects *objects = from;
			for (size_t j = 0; j < objects->count; j++)
				free_members(settings[i].members, settings[i].member_count,
					(char *)objects->items + j * settings[i].object_size);
			free(objects->items);
			*objects = (struct setting_objects){0};
		}
	}
}

void config_free(struct setting_section *sections, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free_members(sections[i].settings, sections[i].count, sections[i].target);
}
