/* Output of cellctl: answers as tables, objects or as they came, and what went wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cellctl.h"
#include "server/base/json.h"

int cellctl_fail(const char *what)
{
	fprintf(stderr, "cellctl: %s\n", what);
	return EXIT_FAILED;
}

static void print_value(const struct json *value)
{
	struct text text = json_text(value);
	if (text.bytes != NULL) {
		printf("%.*s", TEXT_ARGUMENTS(text));
		return;
	}
	struct buffer json = {0};
	if (value != NULL)
		json_print(value, &json);
	printf("%.*s", (int)json.length, json.bytes == NULL ? "" : json.bytes);
	buffer_free(&json);
}

static size_t width_of(const struct json *value)
{
	struct text text = json_text(value);
	if (text.bytes != NULL)
		return text.length;
	struct buffer json = {0};
	if (value != NULL)
		json_print(value, &json);
	size_t width = json.length;
	buffer_free(&json);
	return width;
}

static void print_table(const struct json *list, const char *columns)
{
	enum { COLUMNS_MAX = 12 };
	char *names[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], count = 0;
	struct text rest = text_of(columns), part;
	for (bool done = false; count < COLUMNS_MAX && text_next_part(&rest, ',', &part, &done); count++) {
		names[count] = text_copy(part);
		widths[count] = part.length;
		for (const struct json *row = json_first(list); row != NULL; row = json_next(row)) {
			size_t width = width_of(json_member(row, names[count]));
			widths[count] = width > widths[count] ? width : widths[count];
		}
	}
	for (size_t i = 0; i < count; i++)
		printf("%-*s%s", (int)widths[i], names[i], i + 1 < count ? "  " : "\n");
	for (const struct json *row = json_first(list); row != NULL; row = json_next(row)) {
		for (size_t i = 0; i < count; i++) {
			const struct json *value = json_member(row, names[i]);
			print_value(value);
			printf("%*s", i + 1 < count ? (int)(widths[i] - width_of(value)) + 2 : 0, "");
		}
		putchar('\n');
	}
	for (size_t i = 0; i < count; i++)
		free(names[i]);
}

static void print_object(const struct json *object)
{
	size_t width = 0;
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member))
		width = strlen(json_name(member)) > width ? strlen(json_name(member)) : width;
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member)) {
		printf("%-*s  ", (int)width, json_name(member));
		print_value(member);
		putchar('\n');
	}
}

static const char *first_text(const struct json *object, const char *const *names, char *room, size_t size)
{
	for (size_t i = 0; names[i] != NULL; i++) {
		struct text text = json_member_text(object, names[i]);
		if (text.bytes != NULL) {
			snprintf(room, size, "%.*s", TEXT_ARGUMENTS(text));
			return room;
		}
	}
	return NULL;
}

int cellctl_print_error(long status, const struct buffer *answer)
{
	static const char *const names[] = {"detail", "message", "error", "title", NULL};
	char room[512];
	struct json *root = NULL;
	const char *what = NULL;
	if (json_parse(buffer_text(answer), NULL, &root) == STATUS_OK)
		what = first_text(json_kind(root) == JSON_ARRAY ? json_first(root) : root, names, room, sizeof(room));
	fprintf(stderr, "cellctl: %ld %s\n", status,
		what != NULL                                 ? what
		: answer->length > 0 && answer->length < 200 ? answer->bytes
													 : "");
	json_free(root);
	return EXIT_FAILED;
}

int cellctl_print(const struct command *command, const struct call *call, const struct buffer *answer)
{
	struct json *root = NULL;
	if (call->options[OPTION_JSON] != NULL) {
		if (answer->length > 0)
			puts(answer->bytes);
		return 0;
	}
	if (command->shape == SHAPE_TEXT) {
		fputs(answer->bytes, stdout);
		return 0;
	}
	static const struct json_limits limits = {(size_t)64 * 1024 * 1024, 32, 4000000};
	if (answer->length == 0 || command->shape == SHAPE_QUIET) {
		puts("done");
		return 0;
	}
	if (json_parse(buffer_text(answer), &limits, &root) != STATUS_OK)
		return cellctl_fail("the answer is not JSON");
	if (command->shape == SHAPE_TABLE)
		print_table(root, command->columns);
	else
		print_object(root);
	json_free(root);
	return 0;
}
