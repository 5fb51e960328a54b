/* What runtimes call: look-ups and memory here, the rest goes to the connection's protocol. */
#include "server/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "server/stream.h"

enum { ARENA_BLOCK = 4096, ALIGNMENT = 16 };

struct arena_block {
	struct arena_block *next;
	_Alignas(ALIGNMENT) char bytes[];
};

struct stream *stream_of(const struct exchange *exchange)
{
	return (struct stream *)(uintptr_t)exchange;
}

struct text exchange_header(const struct exchange *exchange, struct text name)
{
	for (unsigned i = 0; i < exchange->header_count; i++) {
		if (text_equals(exchange->headers[i].name, name))
			return exchange->headers[i].value;
	}
	return TEXT_NONE;
}

unsigned exchange_header_count(const struct exchange *exchange, struct text name)
{
	unsigned count = 0;
	for (unsigned i = 0; i < exchange->header_count; i++)
		count += text_equals(exchange->headers[i].name, name);
	return count;
}

struct text exchange_path(const struct exchange *exchange)
{
	return text_slice(exchange->target, 0, text_find(exchange->target, '?'));
}

struct text exchange_query(const struct exchange *exchange)
{
	size_t mark = text_find(exchange->target, '?');
	return mark == exchange->target.length ? TEXT_NONE
										   : text_slice(exchange->target, mark + 1, exchange->target.length);
}

void *exchange_allocate(struct exchange *exchange, size_t size)
{
	struct stream *stream = stream_of(exchange);
	if (size > SIZE_MAX / 2)
		return NULL;
	size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (rounded > (size_t)(stream->arena_end - stream->arena_at)) {
		size_t room = rounded > ARENA_BLOCK ? rounded : ARENA_BLOCK;
		struct arena_block *block = malloc(sizeof(*block) + room);
		if (block == NULL)
			return NULL;
		block->next = stream->blocks;
		stream->blocks = block;
		if (rounded >= ARENA_BLOCK) /* on its own: what is left of the present one stays in use */
			return block->bytes;
		stream->arena_at = block->bytes;
		stream->arena_end = block->bytes + room;
	}
	void *memory = stream->arena_at;
	stream->arena_at += rounded;
	return memory;
}

void stream_drop_arena(struct stream *stream)
{
	while (stream->blocks != NULL) {
		struct arena_block *next = stream->blocks->next;
		free(stream->blocks);
		stream->blocks = next;
	}
}

struct text exchange_copy(struct exchange *exchange, struct text text)
{
	if (text.bytes == NULL)
		return TEXT_NONE;
	char *copy = exchange_allocate(exchange, text.length + 1);
	if (copy == NULL)
		return TEXT_NONE;
	memcpy(copy, text.bytes, text.length);
	copy[text.length] = 0;
	return (struct text){copy, text.length};
}

bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	struct stream *stream = stream_of(exchange);
	if (stream->response_count == RESPONSE_HEADERS_MAX || !text_is_line(value) || name.length == 0)
		return false;
	if (stream->response_count == stream->response_room) {
		uint16_t room = stream->response_room == 0 ? 16 : (uint16_t)(stream->response_room * 2);
		struct header *more = exchange_allocate(exchange, room * sizeof(*more));
		if (more == NULL)
			return false;
		if (stream->response_count > 0)
			memcpy(more, stream->response_headers, stream->response_count * sizeof(*more));
		stream->response_headers = more;
		stream->response_room = room;
	}
	stream->response_headers[stream->response_count++] = (struct header){name, value};
	return true;
}

bool exchange_add_trailer(struct exchange *exchange, struct text name, struct text value)
{
	struct stream *stream = stream_of(exchange);
	if (stream->trailer_count == TRAILERS_MAX || !text_is_line(value) || name.length == 0)
		return false;
	stream->trailers[stream->trailer_count++] = (struct header){name, value};
	return true;
}

void exchange_receive(struct exchange *exchange,
	void (*on_body)(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended))
{
	struct stream *stream = stream_of(exchange);
	if (stream->is_finished || stream->is_receiving)
		return;
	stream->on_body = on_body;
	stream->is_receiving = true;
	exchange->engine->receive(exchange);
}

void exchange_consume(struct exchange *exchange, size_t length)
{
	struct stream *stream = stream_of(exchange);
	if (stream->is_finished || length == 0)
		return;
	stream->unconsumed -= length < stream->unconsumed ? length : stream->unconsumed;
	exchange->engine->consume(exchange, length);
}

void exchange_respond(struct exchange *exchange)
{
	struct stream *stream = stream_of(exchange);
	if (stream->is_finished || stream->is_responded)
		return;
	stream->is_responded = true;
	if (stream->connection != NULL)
		stream->connection->has_answered = true;
	exchange->engine->respond(exchange);
}

bool exchange_responded(const struct exchange *exchange)
{
	return stream_of(exchange)->is_responded;
}

void exchange_resume(struct exchange *exchange)
{
	const struct stream *stream = stream_of(exchange);
	if (!stream->is_finished && stream->is_responded)
		exchange->engine->resume(exchange);
}

void exchange_abort(struct exchange *exchange, enum status why)
{
	struct stream *stream = stream_of(exchange);
	if (stream->is_finished)
		return;
	if (stream->is_busy) {
		stream->is_abort_pending = true;
		stream->abort_why = why;
		return;
	}
	exchange->engine->abort(exchange, why);
}

uint64_t exchange_sent(const struct exchange *exchange)
{
	bool is_whole = exchange->response_length >= 0 && exchange->bytes_sent == (uint64_t)exchange->response_length;
	if (exchange->file_descriptor < 0 || is_whole || exchange->engine->unsent == NULL)
		return exchange->bytes_sent;
	uint64_t unsent = exchange->engine->unsent(exchange);
	return exchange->bytes_sent > unsent ? exchange->bytes_sent - unsent : 0;
}
