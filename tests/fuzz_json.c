/* Any bytes as JSON: what the scan lets through the tree takes, and what is printed of it is read again as the same. */
#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static size_t count_nodes(const struct json *node)
{
	size_t count = 1;
	for (const struct json *child = json_first(node); child != NULL; child = json_next(child)) {
		if (json_kind(node) == JSON_OBJECT && json_member(node, json_name(child)) != child)
			abort(); /* a duplicate key, or one that a look-up misses */
		count += count_nodes(child);
	}
	return count;
}

static void check_tree(struct text input, const struct json_limits *limits)
{
	struct json *root = NULL, *again = NULL;
	struct buffer once = {0}, twice = {0};
	if (json_parse(input, limits, &root) != STATUS_OK)
		abort(); /* scanned before */
	if (count_nodes(root) > limits->nodes)
		abort();
	json_print(root, &once);
	if (json_parse(buffer_text(&once), NULL, &again) != STATUS_OK)
		abort();
	json_print(again, &twice);
	if (!text_equals(buffer_text(&once), buffer_text(&twice)))
		abort();
	buffer_clear(&twice);
	struct json *copy = json_copy(root);
	json_print(copy, &twice);
	if (!text_equals(buffer_text(&once), buffer_text(&twice)))
		abort();
	json_free(copy);
	json_free(again);
	json_free(root);
	buffer_free(&once);
	buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct json_limits limits = {.bytes = 8192, .depth = 24, .nodes = 2000};
	/* an exact copy, so that a read past the end is seen */
	char *copy = malloc(length > 0 ? length : 1);
	if (copy == NULL)
		return 0;
	if (length > 0)
		memcpy(copy, bytes, length);
	const struct text input = {copy, length};
	size_t offset = SIZE_MAX;
	enum status status = json_check(input, &limits, &offset);
	if (status == STATUS_OK)
		check_tree(input, &limits);
	else if (offset > length)
		abort();
	free(copy);
	return 0;
}
