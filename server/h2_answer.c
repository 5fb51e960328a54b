/* HTTP/2: answers. Their heads stand ready until the flush, their bodies are asked for; what goes out in a turn. */
#include <string.h>

#include "server/answer_head.h"
#include "server/h2_private.h"
#include "server/known_fields.h"

enum {
	TURN_OUTPUT = 1024 * 1024,
	HEADERS_OUT_MAX = RESPONSE_HEADERS_MAX + 2,
	NUMBER_MAX = 24,
	TABLE_OF_NOTHING = 0x20
};
/* How much of an answered request is read over. */
enum { REST_MAX = 16 * 1024 };

/* --- queues */

void send_queue_add(struct send_queue *queue, struct stream *stream)
{
	if (stream->send_previous != NULL)
		return;
	if (queue->first == NULL)
		queue->end = &queue->first;
	stream->send_next = NULL;
	stream->send_previous = queue->end;
	*queue->end = stream;
	queue->end = &stream->send_next;
	stream->send_queue = queue;
}

void send_queue_leave(struct stream *stream)
{
	if (stream->send_previous == NULL)
		return;
	*stream->send_previous = stream->send_next;
	if (stream->send_next != NULL)
		stream->send_next->send_previous = stream->send_previous;
	else
		stream->send_queue->end = stream->send_previous;
	stream->send_previous = NULL;
}

void h2_queue_body(struct h2 *h2, struct stream *stream)
{
	if (stream->is_sending && !stream->is_deferred && !stream->is_reset && stream->send_window > 0)
		send_queue_add(&h2->bodies, stream);
}

/* --- heads */

static size_t print_number(char *end, uint64_t number)
{
	size_t length = 0;
	do {
		*--end = (char)('0' + number % 10);
		number /= 10;
		length++;
	} while (number > 0);
	return length;
}

/* The fields, those of the engine first; `length` has room for 24 bytes. */
static size_t list_fields(struct exchange *exchange, char *length, struct header *fields)
{
	const struct stream *stream = stream_of(exchange);
	size_t count = 0;
	fields[count++] = (struct header){TEXT("date"), engine_date(stream->connection->engine)};
	if (exchange->response_length >= 0 && exchange->status != 204 && exchange->status != 304) {
		size_t digits = print_number(length + NUMBER_MAX, (uint64_t)exchange->response_length);
		fields[count++] = (struct header){TEXT("content-length"), (struct text){length + NUMBER_MAX - digits, digits}};
	}
	if (stream->response_count > 0)
		memcpy(fields + count, stream->response_headers, stream->response_count * sizeof(fields[0]));
	return count + stream->response_count;
}

/* Into memory of the exchange. */
static bool write_head(struct stream *stream)
{
	struct header fields[HEADERS_OUT_MAX];
	char length[NUMBER_MAX];
	struct text known = stream->exchange.known == NULL ? TEXT("") : stream->exchange.known->block;
	size_t count = list_fields(&stream->exchange, length, fields);
	size_t room = answer_head_room(fields, count) + known.length;
	uint8_t *block = room > HEAD_OUT_MAX ? NULL : exchange_allocate(&stream->exchange, room);
	if (block == NULL)
		return false;
	stream->head = block;
	stream->head_length = answer_head_write(block, stream->exchange.status, fields, count);
	memcpy(block + stream->head_length, known.bytes, known.length);
	stream->head_length += known.length;
	return true;
}

size_t h2_send_block(struct h2 *h2, int32_t id, struct text block, bool is_end)
{
	const uint8_t *from = (const uint8_t *)block.bytes;
	uint8_t head[FRAME_HEAD + 1];
	size_t sent = 0, total = 0, before = h2->is_table_due;
	unsigned type = FRAME_HEADERS, flags = is_end ? FLAG_END_STREAM : 0;
	head[FRAME_HEAD] = TABLE_OF_NOTHING;
	h2->is_table_due = false;
	do {
		size_t left = block.length - sent, room = FRAME_PAYLOAD_MAX - before, part = left < room ? left : room;
		if (part == left)
			flags |= FLAG_END_HEADERS;
		frame_head_write(head, before + part, type, flags, id);
		connection_write(h2->connection, head, FRAME_HEAD + before);
		connection_write(h2->connection, from + sent, part);
		sent += part;
		total += FRAME_HEAD + before + part;
		before = 0;
		type = FRAME_CONTINUATION;
		flags = 0;
	} while (sent < block.length);
	return total;
}

/* --- the engine of exchanges */

static struct h2 *h2_of(const struct stream *stream)
{
	return stream->connection->session;
}

static void respond(struct exchange *exchange)
{
	struct stream *stream = stream_of(exchange);
	struct h2 *h2 = h2_of(stream);
	if (!write_head(stream))
		h2_reset_stream(h2, stream, H2_INTERNAL_ERROR);
	else if (!stream->is_reset)
		send_queue_add(&h2->answers, stream);
	if (!stream->is_receiving && stream->early.length > 0) { /* nobody wants it */
		size_t early = stream->early.length;
		buffer_free(&stream->early);
		exchange->engine->consume(exchange, early);
	}
	connection_flush_later(h2->connection);
}

static void resume(struct exchange *exchange)
{
	struct stream *stream = stream_of(exchange);
	if (!stream->is_deferred)
		return;
	stream->is_deferred = false;
	h2_queue_body(h2_of(stream), stream);
	connection_flush_later(stream->connection);
}

static void send_continue(struct h2 *h2, const struct stream *stream)
{
	uint8_t block[8];
	size_t before = h2->is_table_due, length = answer_head_write(block + before, 100, NULL, 0);
	block[0] = before > 0 ? TABLE_OF_NOTHING : block[0];
	h2->is_table_due = false;
	h2_send_control(
		h2, FRAME_HEADERS, FLAG_END_HEADERS, stream->id, (struct text){(const char *)block, before + length});
}

static void receive_body(struct exchange *exchange)
{
	struct stream *stream = stream_of(exchange);
	struct h2 *h2 = h2_of(stream);
	h2->has_receivers = true;
	if (text_equals_ignoring_case(exchange_header(exchange, TEXT("expect")), TEXT("100-continue")) &&
		!stream->is_end_seen && stream->early.length == 0 && !stream->is_responded)
		send_continue(h2, stream);
	connection_flush_later(stream->connection); /* delivers what came early */
}

static void consume(struct exchange *exchange, size_t length)
{
	struct stream *stream = stream_of(exchange);
	if (length > stream->window_held)
		length = stream->window_held;
	stream->window_held -= length;
	if (length > 0)
		h2_credit(h2_of(stream), stream, length);
	connection_flush_later(stream->connection);
}

void h2_abort_stream(struct exchange *exchange, enum status why)
{
	struct stream *stream = stream_of(exchange);
	enum h2_error code = why == STATUS_STOPPED ? H2_CANCEL
						 : why == STATUS_TOO_LARGE || why == STATUS_TIMEOUT || why == STATUS_REFUSED
							 ? H2_ENHANCE_YOUR_CALM
							 : H2_INTERNAL_ERROR;
	stream->was_cut = true;
	stream->is_abort_pending = true;
	stream->abort_why = why;
	h2_reset_stream(h2_of(stream), stream, code);
	stream_finish(stream, why);
}

const struct exchange_engine h2_engine = {respond, resume, receive_body, consume, h2_abort_stream, NULL};

/* --- sending */

/* A small body that is still on its way is read over: some clients take a reset, even one without an error, for the
 * loss of the answer they already have (RFC 9113 section 8.1 forbids them to). */
static bool is_rest_small(const struct stream *stream)
{
	int64_t length = stream->exchange.request_length;
	return length >= 0 && length <= REST_MAX;
}

/* The whole response has left. */
static void end_answer(struct h2 *h2, struct stream *stream)
{
	stream->is_counted = true;
	stream->is_sending = false;
	if (stream->is_end_seen)
		h2_close_stream(h2, stream, true);
	else if (!is_rest_small(stream)) /* it is not wanted */
		h2_reset_stream(h2, stream, H2_NO_ERROR);
}

static size_t send_trailers(struct h2 *h2, struct stream *stream)
{
	size_t room = answer_head_room(stream->trailers, stream->trailer_count), total = 0;
	uint8_t *block = exchange_allocate(&stream->exchange, room);
	if (block == NULL) {
		h2_reset_stream(h2, stream, H2_INTERNAL_ERROR);
		return 0;
	}
	size_t length = answer_trailers_write(block, stream->trailers, stream->trailer_count);
	total = h2_send_block(h2, stream->id, (struct text){(const char *)block, length}, true);
	end_answer(h2, stream);
	return total;
}

/* The source's fault, or ours; not the peer's. */
static void fail_body(struct h2 *h2, struct stream *stream)
{
	stream->was_cut = true;
	if (!stream->is_abort_pending) {
		stream->is_abort_pending = true;
		stream->abort_why = STATUS_IO;
	}
	h2_reset_stream(h2, stream, H2_INTERNAL_ERROR);
}

/* One frame of it; it goes behind the others. */
static size_t send_body(struct h2 *h2, struct stream *stream)
{
	size_t written;
	send_queue_leave(stream);
	if (stream->send_window <= 0) /* shut by settings meanwhile */
		return 0;
	switch (h2_send_body(h2, stream, &written)) {
	case BODY_MORE:
		h2_queue_body(h2, stream);
		return written;
	case BODY_LATER:
		stream->is_deferred = true;
		return 0;
	case BODY_FAILED:
		fail_body(h2, stream);
		return 0;
	case BODY_END:
		break;
	}
	if (stream->trailer_count > 0)
		return written + send_trailers(h2, stream);
	end_answer(h2, stream);
	return written;
}

/* And the first frame of its body: most answers end with it. */
static size_t send_answer(struct h2 *h2, struct stream *stream)
{
	bool has_body = stream_has_body(stream);
	send_queue_leave(stream);
	size_t written =
		h2_send_block(h2, stream->id, (struct text){(const char *)stream->head, stream->head_length}, !has_body);
	if (!has_body) {
		end_answer(h2, stream);
		return written;
	}
	stream->is_sending = true;
	if (h2->send_window > 0 && stream->send_window > 0 && connection_can_write(h2->connection))
		return written + send_body(h2, stream);
	h2_queue_body(h2, stream);
	return written;
}

static size_t send_control(struct h2 *h2)
{
	size_t length = h2->control.length;
	if (h2->control.failed) {
		connection_close_later(h2->connection, STATUS_NO_MEMORY);
		return 0;
	}
	connection_write(h2->connection, (const uint8_t *)h2->control.bytes, length);
	buffer_free(&h2->control);
	h2->control_frames = h2->control_acks = 0;
	return length;
}

/* Returns what was written; 0: there is nothing that may be sent. */
static size_t send_some(struct h2 *h2)
{
	if (h2->control.length > 0 || h2->control.failed)
		return send_control(h2);
	if (h2->is_terminated)
		return 0;
	if (h2->has_resets)
		h2_close_resets(h2);
	if (h2->answers.first != NULL)
		return send_answer(h2, h2->answers.first);
	while (h2->bodies.first != NULL && h2->send_window > 0 && connection_can_write(h2->connection)) {
		size_t written = send_body(h2, h2->bodies.first);
		if (written > 0)
			return written;
	}
	return h2->control.length > 0 && connection_can_write(h2->connection) ? send_control(h2) : 0;
}

static void deliver_early(struct h2 *h2)
{
	for (struct stream *stream = h2->streams, *next; stream != NULL; stream = next) {
		next = stream->next;
		if (stream->is_receiving && !stream->is_body_over && (stream->early.length > 0 || stream->is_end_seen))
			stream_deliver_early(stream);
	}
}

void h2_flush(struct connection *connection)
{
	struct h2 *h2 = connection->session;
	if (h2->has_receivers)
		deliver_early(h2);
	size_t total = 0;
	block_turn_pass(connection, false);
	while (connection_can_write(connection)) {
		size_t written = send_some(h2);
		if (written == 0 && !block_turn_pass(connection, true))
			break;
		total += written;
		if (total >= TURN_OUTPUT) {
			connection_flush_later(connection);
			return;
		}
	}
	if (connection_can_write(connection) && (h2->is_terminated || (h2->is_told && h2->streams == NULL)))
		connection_close_later(connection, STATUS_OK);
}
