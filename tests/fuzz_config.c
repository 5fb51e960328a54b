/* Any bytes as a settings file: a refusal says so in one line that names the file, a success keeps every bound and
 * prints as settings that say the same. */
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_error(const struct buffer *error)
{
	const struct text text = buffer_text(error);
	if (!text_starts_with(text, TEXT("fuzz.json:")) || text_find(text, '\n') < text.length ||
		text_find(text, 0) < text.length || text.length > 4096)
		abort();
}

static void check_bounds(const struct setting *settings, size_t count, const void *target)
{
	for (size_t i = 0; i < count; i++) {
		const struct setting *setting = &settings[i];
		const void *value = (const char *)target + setting->offset;
		int64_t number;
		switch (setting->kind) {
		case SETTING_INTEGER:
		case SETTING_BYTES:
		case SETTING_MILLISECONDS:
			memcpy(&number, value, sizeof(number));
			if (number < setting->minimum || number > setting->maximum)
				abort();
			break;
		case SETTING_TEXT:
			if (setting->maximum > 0 && *(char *const *)value != NULL &&
				(int64_t)strlen(*(char *const *)value) > setting->maximum)
				abort();
			break;
		case SETTING_OBJECTS: {
			const struct setting_objects *objects = value;
			for (size_t at = 0; at < objects->count; at++)
				check_bounds(
					setting->members, setting->member_count, (const char *)objects->items + at * setting->object_size);
			break;
		}
		case SETTING_BOOL:
		case SETTING_CHOICE:
		case SETTING_TEXTS:
			break;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct limits limits = {0};
	struct server_settings server = {0};
	struct setting_section sections[] = {
		{"server", server_settings_table, server_settings_count, &server},
		{"limits", limits_settings, limits_setting_count, &limits},
	};
	const size_t count = sizeof(sections) / sizeof(sections[0]);
	struct buffer error = {0};
	char *copy = malloc(length > 0 ? length : 1), *printed = NULL;
	size_t printed_length = 0;
	if (copy == NULL)
		return 0;
	if (length > 0)
		memcpy(copy, bytes, length);
	enum status status = config_parse("fuzz.json", (struct text){copy, length}, sections, count, &error);
	free(copy);
	if (status == STATUS_OK) {
		for (size_t i = 0; i < count; i++)
			check_bounds(sections[i].settings, sections[i].count, sections[i].target);
		FILE *out = open_memstream(&printed, &printed_length);
		if (out == NULL)
			abort();
		config_print(out, sections, count);
		fclose(out);
		free(printed);
	} else {
		check_error(&error);
	}
	config_free(sections, count);
	buffer_free(&error);
	return 0;
}
