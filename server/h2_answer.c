/* Answers: their heads stand ready when nghttp2 makes the frame, their bodies are asked for; what goes out in a turn.
 */
#include <string.h>

#include "server/answer_head.h"
#include "server/h2_body.h"
#include "server/h2_private.h"

enum { TURN_OUTPUT = 1024 * 1024, HEADERS_OUT_MAX = RESPONSE_HEADERS_MAX + 2, NUMBER_MAX = 24 };

/* --- heads */

static nghttp2_nv field(struct text name, struct text value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name.bytes, (uint8_t *)(uintptr_t)value.bytes, name.length, value.length,
		NGHTTP2_NV_FLAG_NONE};
}

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

/* nghttp2 sends a head without fields; these are put into its frame (send_head). */
static bool submit_head(struct h2 *h2, struct stream *stream)
{
	struct header fields[HEADERS_OUT_MAX];
	char length[NUMBER_MAX];
	size_t count = list_fields(&stream->exchange, length, fields), room = answer_head_room(fields, count);
	uint8_t *block = room > HEAD_OUT_MAX ? NULL : exchange_allocate(&stream->exchange, room);
	if (block == NULL)
		return false;
	stream->head = block;
	stream->head_length = answer_head_write(block, stream->exchange.status, fields, count);
	const nghttp2_data_provider provider = h2_body_provider(stream);
	return nghttp2_submit_response(h2->session, stream->id, NULL, 0, stream_has_body(stream) ? &provider : NULL) == 0;
}

int h2_on_frame_made(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.nvlen == 0)
		h2->answering = h2_find_stream(h2, frame->hd.stream_id);
	return 0;
}

void h2_put_frame_length(uint8_t *head, size_t length)
{
	for (int i = 0; i < 3; i++)
		head[i] = (uint8_t)(length >> 8 * (2 - i));
}

/* The answer's fields, in nghttp2's frame and as many more as they need. Behind that frame's head may stand a new size
 * of the peer's table, which comes first. Returns how many bytes went out. */
static size_t send_head(struct h2 *h2, const struct stream *stream, const uint8_t *frame, size_t length)
{
	struct text size = {(const char *)frame + FRAME_HEAD, length - FRAME_HEAD};
	uint8_t head[FRAME_HEAD];
	size_t sent = 0, total = 0;
	memcpy(head, frame, FRAME_HEAD);
	do {
		size_t left = stream->head_length - sent, room = FRAME_PAYLOAD_MAX - size.length;
		size_t part = left < room ? left : room;
		h2_put_frame_length(head, size.length + part);
		head[4] = (uint8_t)(part < left ? head[4] & ~NGHTTP2_FLAG_END_HEADERS : head[4] | NGHTTP2_FLAG_END_HEADERS);
		connection_write(h2->connection, head, FRAME_HEAD);
		connection_write(h2->connection, (const uint8_t *)size.bytes, size.length);
		connection_write(h2->connection, stream->head + sent, part);
		sent += part;
		total += FRAME_HEAD + size.length + part;
		size.length = 0;
		head[3] = NGHTTP2_CONTINUATION;
		head[4] = 0;
	} while (sent < stream->head_length);
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
	if (!submit_head(h2, stream))
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
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
	nghttp2_session_resume_data(h2_of(stream)->session, stream->id);
	connection_flush_later(stream->connection);
}

static void receive_body(struct exchange *exchange)
{
	struct stream *stream = stream_of(exchange);
	if (text_equals_ignoring_case(exchange_header(exchange, TEXT("expect")), TEXT("100-continue")) &&
		!stream->is_end_seen && stream->early.length == 0) {
		const nghttp2_nv interim = field(TEXT(":status"), TEXT("100"));
		nghttp2_submit_headers(h2_of(stream)->session, NGHTTP2_FLAG_NONE, stream->id, NULL, &interim, 1, NULL);
	}
	connection_flush_later(stream->connection); /* delivers what came early */
}

static void consume(struct exchange *exchange, size_t length)
{
	struct stream *stream = stream_of(exchange);
	if (length > stream->window_held)
		length = stream->window_held;
	stream->window_held -= length;
	if (length > 0)
		nghttp2_session_consume(h2_of(stream)->session, stream->id, length);
	connection_flush_later(stream->connection);
}

void h2_abort_stream(struct exchange *exchange, enum status why)
{
	struct stream *stream = stream_of(exchange);
	struct h2 *h2 = h2_of(stream);
	uint32_t code = why == STATUS_STOPPED ? NGHTTP2_CANCEL
					: why == STATUS_TOO_LARGE || why == STATUS_TIMEOUT || why == STATUS_REFUSED
						? NGHTTP2_ENHANCE_YOUR_CALM
						: NGHTTP2_INTERNAL_ERROR;
	stream->was_cut = true;
	stream->is_abort_pending = true;
	stream->abort_why = why;
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, code);
	connection_flush_later(h2->connection);
	stream_finish(stream, why);
}

const struct exchange_engine h2_engine = {respond, resume, receive_body, consume, h2_abort_stream};

/* --- sending */

/* As nghttp2_session_mem_send, which may close the stream whose last frame it gives. */
static ssize_t send_frame(struct h2 *h2)
{
	const uint8_t *bytes;
	h2->is_answer_last = false;
	ssize_t length = nghttp2_session_mem_send(h2->session, &bytes);
	if (length > 0 && h2->answering != NULL)
		length = (ssize_t)send_head(h2, h2->answering, bytes, (size_t)length);
	else if (length > 0)
		connection_write(h2->connection, bytes, (size_t)length);
	if (h2->is_answer_last)
		stream_free(h2->answering);
	h2->answering = NULL;
	return length;
}

void h2_flush(struct connection *connection)
{
	struct h2 *h2 = connection->session;
	for (struct stream *stream = h2->streams, *next; stream != NULL; stream = next) {
		next = stream->next;
		if (stream->is_receiving && !stream->is_body_over && (stream->early.length > 0 || stream->is_end_seen))
			stream_deliver_early(stream);
	}
	size_t total = 0;
	h2->output.written = 0;
	block_turn_pass(connection, false);
	while (connection_can_write(connection)) {
		h2->output.is_paused = false;
		ssize_t length = send_frame(h2);
		if (length < 0) {
			connection_close_later(connection, STATUS_INTERNAL);
			return;
		}
		if (length == 0 && !h2->output.is_paused && !block_turn_pass(connection, true))
			break;
		total += (size_t)length;
		if (total + h2->output.written >= TURN_OUTPUT) {
			connection_flush_later(connection);
			return;
		}
	}
	if (connection_can_write(connection) && nghttp2_session_want_read(h2->session) == 0 &&
		nghttp2_session_want_write(h2->session) == 0)
		connection_close_later(connection, STATUS_OK);
}
