/* Heads of HTTP/2 requests. */
#include "server/h2_head.h"

#include <string.h>

#include "server/head_check.h"

static bool hold(struct stream *stream, struct header_entry *entry)
{
	if (stream->held_count == stream->held_room) {
		uint16_t room = stream->held_room == 0 ? 32 : (uint16_t)(stream->held_room * 2);
		struct header_entry **more = exchange_allocate(&stream->exchange, room * sizeof(*more));
		if (more == NULL)
			return false;
		if (stream->held_count > 0)
			memcpy(more, stream->held, stream->held_count * sizeof(*more));
		stream->held = more;
		stream->held_room = room;
	}
	entry->references++;
	stream->held[stream->held_count++] = entry;
	return true;
}

void h2_head_release(struct stream *stream)
{
	while (stream->held_count > 0)
		header_entry_unref(stream->held[--stream->held_count]);
	if (!stream->is_refused)
		return;
	stream->header_count = 0;
	stream->exchange.authority = stream->exchange.target = TEXT_NONE;
	stream->exchange.method = TEXT("GET"); /* only the refusal asks, and it has a body */
}

static bool keep(struct stream *stream, struct text *text, bool stays)
{
	if (!stays)
		*text = exchange_copy(&stream->exchange, *text);
	return text->bytes != NULL;
}

/* Where the pseudo fields stand in an exchange. */
static const size_t pseudo[] = {[H2_METHOD] = offsetof(struct exchange, method),
	[H2_SCHEME] = offsetof(struct exchange, scheme),
	[H2_PATH] = offsetof(struct exchange, target),
	[H2_AUTHORITY] = offsetof(struct exchange, authority)};

enum status h2_head_add(struct stream *stream, const struct header_field *field)
{
	struct text name = field->name, value = field->value;
	enum status status = stream_count_header(stream, name, value);
	if (status != STATUS_OK)
		return status;
	bool is_pseudo = field->sense.kind >= H2_METHOD && field->sense.kind <= H2_AUTHORITY;
	if (field->entry != NULL
			? !hold(stream, field->entry)
			: !keep(stream, &value, field->value_stays) || (!is_pseudo && !keep(stream, &name, field->name_stays)))
		return STATUS_NO_MEMORY;
	if (!is_pseudo)
		return stream_list_header(stream, name, value);
	*(struct text *)(void *)((char *)&stream->exchange + pseudo[field->sense.kind]) = value;
	return STATUS_OK;
}

static int64_t body_length(const struct exchange *exchange, bool is_end)
{
	uint64_t length;
	if (is_end)
		return 0;
	struct text given = exchange_header(exchange, TEXT("content-length"));
	if (given.bytes == NULL || text_to_unsigned(given, INT64_MAX, &length) != STATUS_OK)
		return -1;
	return (int64_t)length;
}

void h2_head_complete(struct stream *stream, bool is_end)
{
	struct exchange *exchange = &stream->exchange;
	exchange->headers = stream->headers;
	exchange->header_count = stream->header_count;
	if (stream->is_refused)
		stream->refusal = 431;
	else if (stream->refusal == 0)
		stream->refusal =
			(uint16_t)(h2_message_is_clean(&stream->message) ? head_check_fields(exchange) : head_check(exchange));
	exchange->scheme = stream->connection->ssl != NULL ? TEXT("https") : TEXT("http");
	exchange->request_length = body_length(exchange, is_end);
	if (exchange->request_length > stream->connection->limits->request_body && stream->refusal == 0)
		stream->refusal = 413;
}
