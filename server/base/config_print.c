/* The reference page of settings: each with its help, its bounds and its value. */
#include <stdlib.h>
#include <string.h>

#include "server/base/config.h"

static void print_text(FILE *out, const char *text)
{
	struct buffer json = {0};
	if (text == NULL)
		buffer_append(&json, TEXT("null"));
	else
		buffer_append_json(&json, text_of(text));
	fprintf(out, "%.*s", (int)json.length, json.bytes == NULL ? "" : json.bytes);
	buffer_free(&json);
}

static void print_members(
	FILE *out, const struct setting *settings, size_t count, const void *target, const char *indent);

static void print_value(FILE *out, const struct setting *setting, const void *target, const char *indent)
{
	const void *from = (const char *)target + setting->offset;
	switch (setting->kind) {
	case SETTING_BOOL:
		fputs(*(const bool *)from ? "true" : "false", out);
		break;
	case SETTING_INTEGER:
	case SETTING_BYTES:
	case SETTING_MILLISECONDS:
		fprintf(out, "%lld", (long long)*(const int64_t *)from);
		break;
	case SETTING_TEXT:
		print_text(out, *(char *const *)from);
		break;
	case SETTING_CHOICE:
		print_text(out, setting->choices[*(const int *)from]);
		break;
	case SETTING_TEXTS: {
		const struct setting_texts *texts = from;
		fputc('[', out);
		for (size_t i = 0; i < texts->count; i++) {
			fputs(i == 0 ? "" : ", ", out);
			print_text(out, texts->items[i]);
		}
		fputc(']', out);
		break;
	}
	case SETTING_OBJECTS: {
		const struct setting_objects *objects = from;
		fputc('[', out);
		for (size_t i = 0; i < objects->count; i++) {
			fprintf(out, "%s\n%s\t{\n", i == 0 ? "" : ",", indent);
			print_members(out, setting->members, setting->member_count,
				(const char *)objects->items + i * setting->object_size, "\t\t\t\t");
			fprintf(out, "%s\t}", indent);
		}
		fputc(']', out);
		break;
	}
	}
}

static void print_help(FILE *out, const struct setting *setting, const char *indent)
{
	fprintf(out, "%s// %s", indent, setting->help);
	if ((setting->kind == SETTING_INTEGER || setting->kind == SETTING_BYTES || setting->kind == SETTING_MILLISECONDS) &&
		setting->maximum > setting->minimum)
		fprintf(out, " (%lld to %lld)", (long long)setting->minimum, (long long)setting->maximum);
	if (setting->kind == SETTING_CHOICE) {
		for (int i = 0; setting->choices[i] != NULL; i++)
			fprintf(out, "%s%s", i == 0 ? " (" : ", ", setting->choices[i]);
		fputc(')', out);
	}
	if (setting->kind == SETTING_OBJECTS) {
		fputs("; each:", out);
		for (size_t i = 0; i < setting->member_count; i++)
			fprintf(out, "\n%s//   %s: %s", indent, setting->members[i].key, setting->members[i].help);
	}
	fputc('\n', out);
}

static void print_members(
	FILE *out, const struct setting *settings, size_t count, const void *target, const char *indent)
{
	for (size_t i = 0; i < count; i++) {
		print_help(out, &settings[i], indent);
		fprintf(out, "%s\"%s\": ", indent, settings[i].key);
		print_value(out, &settings[i], target, indent);
		fputs(i + 1 < count ? ",\n" : "\n", out);
	}
}

void config_print(FILE *out, const struct setting_section *sections, size_t count)
{
	fputs("{\n", out);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "\t\"%s\": {\n", sections[i].name);
		print_members(out, sections[i].settings, sections[i].count, sections[i].target, "\t\t");
		fprintf(out, "\t}%s\n", i + 1 < count ? "," : "");
	}
	fputs("}\n", out);
}

static char *value_text(const struct setting *setting, const void *target)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	if (out == NULL)
		return NULL;
	print_value(out, setting, target, "");
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

bool config_is_same(const struct setting *setting, const void *target, const void *other)
{
	char *first = value_text(setting, target), *second = value_text(setting, other);
	bool is_same = first != NULL && second != NULL && strcmp(first, second) == 0;
	free(first);
	free(second);
	return is_same;
}
