/* Amounts of what a cell has. */
#include "control/fabric/place/amounts.h"

#include <string.h>

#include "control/fabric/place/request.h"

void amounts_of(const struct place_request *request, int64_t amount[PLACE_DIMENSION_COUNT])
{
	memset(amount, 0, PLACE_DIMENSION_COUNT * sizeof(*amount));
	amount[PLACE_VPAS] = 1;
	amount[PLACE_TYPES + request->type] = 1;
	for (int i = 0; i < CELL_RESOURCE_COUNT; i++)
		amount[PLACE_RESOURCES + i] = request->demand[i];
}

void amounts_print(struct buffer *into, const char *name, const int64_t amount[PLACE_DIMENSION_COUNT])
{
	const char *between = "\"";
	buffer_append(into, TEXT("{\""));
	buffer_append(into, text_of(name));
	buffer_append(into, TEXT("\":{"));
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		if (amount[i] == 0)
			continue;
		buffer_append(into, text_of(between));
		buffer_append(into, text_of(place_dimension_name(i)));
		buffer_append(into, TEXT("\":"));
		buffer_append_number(into, amount[i]);
		between = ",\"";
	}
	buffer_append(into, TEXT("}}"));
}

bool amounts_read(struct text body, const char *name, int64_t amount[PLACE_DIMENSION_COUNT])
{
	struct json *root = NULL;
	memset(amount, 0, PLACE_DIMENSION_COUNT * sizeof(*amount));
	if (json_parse(body, NULL, &root) != STATUS_OK)
		return false;
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
		(void)json_integer(json_member(json_member(root, name), place_dimension_name(i)), &amount[i]);
	json_free(root);
	return true;
}
