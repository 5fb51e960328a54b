/* Management of receipts: pages of them, with the keys they are checked with. */
#include <string.h>

#include "server/path.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/manage/operation.h"

enum { PAGE_PRESET = 100, PAGE_MAX = 1000 };

/* A parameter of the query, decoded; TEXT_NONE: not there. False: it is malformed. */
static bool find_parameter(struct text query, struct text name, char *room, size_t size, struct text *value)
{
	struct text rest = query, part;
	*value = TEXT_NONE;
	for (bool done = query.length == 0; text_next_part(&rest, '&', &part, &done);) {
		size_t equals = text_find(part, '=');
		if (!text_equals(text_slice(part, 0, equals), name))
			continue;
		return equals < part.length &&
			   percent_decode(text_slice(part, equals + 1, part.length), room, size, value) == STATUS_OK;
	}
	return true;
}

static void print_keys(const struct operation *operation, struct buffer *into)
{
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	buffer_append(into, TEXT("\"keys\":["));
	for (size_t i = 0; participant != NULL && i < participant->key_count; i++) {
		if (i > 0)
			buffer_append_byte(into, ',');
		if (key_to_public_jwk(participant->keys[i], into) != STATUS_OK)
			into->failed = true;
	}
	buffer_append_byte(into, ']');
}

static bool is_of(const struct record *record, struct text needle)
{
	return needle.length == 0 || memmem(record->body.bytes, record->body.length, needle.bytes, needle.length) != NULL;
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct operation *operation = context;
	struct buffer *into = &operation->answer;
	if (!operation_resumes(operation))
		return;
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status), NULL);
		return;
	}
	bool is_first = true;
	buffer_append_byte(into, '{');
	print_keys(operation, into);
	buffer_append(into, TEXT(",\"receipts\":["));
	for (size_t i = 0; i < count; i++) {
		if (!is_of(&records[i], buffer_text(&operation->needle)))
			continue;
		buffer_append(into, is_first ? TEXT("") : TEXT(","));
		buffer_append(into, records[i].body);
		is_first = false;
	}
	buffer_append(into, TEXT("],\"next\":"));
	if (count < operation->page)
		buffer_append(into, TEXT("null"));
	else
		buffer_append_json(into, records[count - 1].id);
	buffer_append_byte(into, '}');
	operation_answer(operation, 200);
}

/* Of one flow: a page may hold fewer, and still not be the last: `next` says. */
void receipts_list(struct operation *operation, struct text body)
{
	char flow_room[MANAGE_ID_MAX + 1], after_room[RECEIPT_ID_MAX + 1], limit_room[8];
	struct text query = exchange_query(operation->exchange), flow, after, limit;
	uint64_t page = PAGE_PRESET;
	(void)body;
	if (!find_parameter(query, TEXT("flow"), flow_room, sizeof(flow_room), &flow) ||
		!find_parameter(query, TEXT("after"), after_room, sizeof(after_room), &after) ||
		!find_parameter(query, TEXT("limit"), limit_room, sizeof(limit_room), &limit) ||
		(flow.bytes != NULL && !name_is_valid(flow, MANAGE_ID_MAX)) ||
		(after.length > 0 && !name_is_valid(after, RECEIPT_ID_MAX)) ||
		(limit.bytes != NULL && (text_to_unsigned(limit, PAGE_MAX, &page) != STATUS_OK || page == 0))) {
		operation_refuse(operation, 400, "flow and after must be ids, limit a number from 1 to 1000");
		return;
	}
	if (flow.bytes != NULL)
		buffer_printf(&operation->needle, "\"flow\":\"%.*s\"", TEXT_ARGUMENTS(flow));
	operation->page = (size_t)page;
	operation->is_pending = true;
	store_list(operation->dp->store, operation->ctx, RECORD_RECEIPT, after, operation->page, operation->worker,
		on_listed, operation);
}
