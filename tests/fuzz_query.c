/* Any bytes as a predicate: what is parsed is matched without harm, and the same way twice; what is refused says where.
 */
#include <stdlib.h>

#include "control/fabric/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const struct query_field fields[] = {
	{"id", "id"}, {"a", "a"}, {"vpas", "vpas"}, {"properties", "properties"}, {NULL, NULL}};
static const char record_text[] = "{\"id\":\"7\",\"a\":1.5,\"vpas\":[{\"a\":true,\"b\":[1,\"x\",null]},{\"a\":null}],"
								  "\"properties\":{\"a\":\"aaaa%_\\\\\",\"b.c\":{\"d\":-2}}}";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct json *record;
	struct query *query = NULL;
	struct buffer error = {0};
	if (record == NULL && json_parse(text_of(record_text), NULL, &record) != STATUS_OK)
		abort();
	enum status status = query_parse((struct text){(const char *)bytes, length}, fields, &query, &error);
	if (status == STATUS_OK) {
		bool matches = query_matches(query, record);
		if (matches != query_matches(query, record) || (query_is_all(query) && !matches))
			abort();
		query_free(query);
	} else if (status != STATUS_INVALID || !text_starts_with(buffer_text(&error), TEXT("line 1:"))) {
		abort();
	}
	buffer_free(&error);
	return 0;
}
