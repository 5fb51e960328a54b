/* Any bytes as a cell's definition: what is taken is taken again as it was stored, what is not has a reason. */
#include <stdlib.h>

#include "control/command/cell_definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_again(const struct cell_definition *definition)
{
	struct cell_definition *again = NULL;
	struct buffer error = {0}, warning = {0};
	struct json *root = NULL;
	if (json_parse(text_of(definition->text), NULL, &root) != STATUS_OK ||
		cell_definition_parse(root, &again, &error, &warning) != STATUS_OK || warning.length > 0 ||
		strcmp(again->text, definition->text) != 0 || again->max_vpas != definition->max_vpas)
		abort();
	cell_definition_free(again);
	json_free(root);
	buffer_free(&error);
	buffer_free(&warning);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct cell_definition *definition = NULL;
	struct buffer error = {0}, warning = {0};
	struct json *root = NULL;
	if (json_parse((struct text){(const char *)bytes, length}, NULL, &root) != STATUS_OK)
		return 0;
	if (cell_definition_parse(root, &definition, &error, &warning) == STATUS_OK)
		check_again(definition);
	else if (error.length == 0)
		abort();
	cell_definition_free(definition);
	json_free(root);
	buffer_free(&error);
	buffer_free(&warning);
	return 0;
}
