/* HTTP/2: nghttp2 between a connection and its streams. Nothing is sent inside nghttp2's callbacks: flushing waits
 * until what has come is read, so that its answers leave together. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "server/answer_head.h"
#include "server/frame_cut.h"
#include "server/frame_scan.h"
#include "server/h2_body.h"
#include "server/h2_head.h"
#include "server/header_block.h"
#include "server/stream.h"

enum {
	TURN_OUTPUT = 1024 * 1024,
	HEADERS_OUT_MAX = RESPONSE_HEADERS_MAX + 2,
	HEAD_OUT_MAX = 256 * 1024,
	SMALL_WINDOW = 1024
};
enum { NUMBER_MAX = 24 };
/* What a peer pays for what it provokes. */
enum {
	COST_RESET = 3,
	COST_INVALID = 3,
	COST_CONTROL = 1,
	COST_SETTINGS = 2,
	COST_CONTINUATION = 2,
	COST_REFUSED_HEAD = 4,
	EXCESS_FIELDS = 16 /* for one point: decoded, though nobody will look at them */
};
/* What one connection may have done in a turn before it waits behind the others. */
enum { TURN_FRAMES = 64, TURN_STREAMS = 32 };
enum { PREFACE = 24, PRIORITY_FIELD = 5, SIZE_ZERO = 0x20 };
/* Whose the fields are that come in. */
enum fields_of { FIELDS_DROPPED, FIELDS_OF_REQUEST, FIELDS_OF_TRAILERS };
/* How much of an answered request is read over, and how long that may take. */
enum { REST_MAX = 16 * 1024, REST_MS = 2000 };

struct h2 {
	struct h2_output output; /* first */
	struct connection *connection;
	struct frame_scan scan;
	struct frame_cut cut;
	uint64_t cut_ms; /* since when the end of a frame of fields is awaited */
	struct header_decoder decoder;
	struct text block;      /* of the frame of fields that nghttp2 is being given, as long as has_block */
	uint32_t fields_length; /* that frame's length as it came */
	int32_t block_id;       /* the stream whose block is not complete; 0: none */
	enum fields_of fields_of;
	bool has_block, is_block_last, is_head_lost, has_told_size;
	nghttp2_session *session;
	struct stream *streams;
	struct stream *answering; /* whose head is in the frame that is being sent */
	struct stream *found;     /* find_stream's */
	struct stream *heading;   /* whose fields are coming in; NULL: nobody's that we know */
	int64_t opened;
	unsigned trailer_fields;
	uint32_t excess_fields;
	uint64_t turn; /* what the two below count */
	unsigned turn_frames, turn_streams;
	struct buffer postponed; /* input for the turns to come, from `postponed_from` on */
	size_t postponed_from;
	bool is_warned, is_last_announced, has_settings, has_frame_buffer, is_answer_last;
	bool is_opening; /* what nghttp2 asks for now stays as long as its session */
};

static const struct exchange_engine h2_engine;

static struct h2 *h2_of(const struct stream *stream)
{
	return stream->connection->session;
}

/* --- penalties */

static void charge(struct h2 *h2, unsigned points)
{
	switch (connection_charge(h2->connection, points)) {
	case PENALTY_FINE:
		return;
	case PENALTY_WARN:
		if (!h2->is_warned)
			nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session),
				NGHTTP2_ENHANCE_YOUR_CALM, NULL, 0);
		h2->is_warned = true;
		return;
	case PENALTY_OUT:
		nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
		connection_close_later(h2->connection, STATUS_REFUSED);
		return;
	}
}

/* A field beyond the limits. Refusing is cheaper than serving, but not free: whoever goes on is cut off at once. */
static void charge_excess(struct h2 *h2)
{
	if (++h2->excess_fields % EXCESS_FIELDS == 0)
		charge(h2, COST_CONTROL);
	if (h2->connection->is_closing)
		h2->fields_of = FIELDS_DROPPED;
}

/* --- streams */

/* The last that was found is likely to be the next. */
static struct stream *find_stream(struct h2 *h2, int32_t id)
{
	if (h2->found == NULL || h2->found->id != id)
		h2->found = nghttp2_session_get_stream_user_data(h2->session, id);
	return h2->found;
}

static void enlist(struct h2 *h2, struct stream *stream)
{
	stream->next = h2->streams;
	stream->previous = NULL;
	if (h2->streams != NULL)
		h2->streams->previous = stream;
	h2->streams = stream;
}

static void delist(struct h2 *h2, struct stream *stream)
{
	if (h2->found == stream)
		h2->found = NULL;
	if (stream->next != NULL)
		stream->next->previous = stream->previous;
	*(stream->previous != NULL ? &stream->previous->next : &h2->streams) = stream->next;
}

static void on_share_ready(struct share_waiter *waiter)
{
	struct stream *stream = (struct stream *)(void *)((char *)waiter - offsetof(struct stream, waiter));
	exchange_resume(&stream->exchange);
}

static void announce_last(struct h2 *h2)
{
	if (h2->is_last_announced)
		return;
	h2->is_last_announced = true;
	nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session),
		NGHTTP2_NO_ERROR, NULL, 0);
}

/* Header blocks that nghttp2 drops without another word: of streams that are closed, or beyond a GOAWAY. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *context)
{
	struct h2 *h2 = context;
	bool is_ahead =
		!h2->is_warned && !h2->is_last_announced && head->stream_id > nghttp2_session_get_last_proc_stream_id(session);
	if (head->type != NGHTTP2_HEADERS || is_ahead || find_stream(h2, head->stream_id) != NULL)
		return 0;
	if (h2->is_warned || head->stream_id <= nghttp2_session_get_last_proc_stream_id(session))
		charge(h2, COST_CONTROL + h2->fields_length / 256);
	else if (h2->is_last_announced) /* it may not have heard yet */
		charge(h2, COST_CONTROL + h2->fields_length / 4096);
	return h2->connection->is_closing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	h2->heading = NULL;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		h2->trailer_fields = 0;
		h2->heading = find_stream(h2, frame->hd.stream_id);
		h2->fields_of = FIELDS_OF_TRAILERS;
		return 0;
	}
	struct stream *stream = stream_new(h2->connection, &h2_engine);
	if (stream == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	stream->id = frame->hd.stream_id;
	stream->waiter.go = on_share_ready;
	h2_message_begin(&stream->message);
	h2->heading = h2->found = stream;
	h2->fields_of = FIELDS_OF_REQUEST;
	enlist(h2, stream);
	nghttp2_session_set_stream_user_data(session, stream->id, stream);
	if (++h2->opened >= h2->connection->limits->streams_per_lifetime)
		announce_last(h2);
	return 0;
}

/* The stream ends; its request was against the rules. */
static void reset_malformed(struct h2 *h2, const struct stream *stream)
{
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
	connection_flush_later(h2->connection);
}

/* Trailers of a request: checked and counted, not kept. */
static void take_trailer(struct h2 *h2, struct stream *stream)
{
	if (++h2->trailer_fields <= h2->connection->limits->header_fields)
		return;
	if (stream == NULL || stream->is_finished) {
		charge_excess(h2);
		return;
	}
	exchange_abort(&stream->exchange, STATUS_REFUSED);
	charge(h2, COST_REFUSED_HEAD);
}

/* The rest of the block is read and dropped, and no request comes of it. */
static void lose_head(struct h2 *h2)
{
	h2->fields_of = FIELDS_DROPPED;
	h2->is_head_lost = true;
}

static void take_field(struct h2 *h2, struct stream *stream, const struct header_field *field)
{
	bool was_refused = stream->is_refused;
	enum status status = h2_head_add(stream, field);
	if (status == STATUS_NO_MEMORY) {
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
		lose_head(h2);
	}
	if (status != STATUS_REFUSED)
		return;
	if (was_refused) {
		charge_excess(h2);
		return;
	}
	h2_head_release(stream); /* nothing of it will be used */
	charge(h2, COST_REFUSED_HEAD);
}

static void on_field(void *context, const struct header_field *field)
{
	struct h2 *h2 = context;
	struct stream *stream = h2->heading;
	bool is_trailer = h2->fields_of == FIELDS_OF_TRAILERS;
	if (h2->fields_of == FIELDS_DROPPED || (stream == NULL && !is_trailer))
		return;
	if (stream != NULL && !h2_message_field(&stream->message, field->sense, field->value, is_trailer)) {
		reset_malformed(h2, stream);
		charge(h2, COST_INVALID);
		lose_head(h2);
		return;
	}
	if (is_trailer)
		take_trailer(h2, stream);
	else
		take_field(h2, stream, field);
}

/* The fields of the frame that nghttp2 is being given. After a failure nothing of the connection can be understood. */
static enum status read_block(struct h2 *h2)
{
	const struct header_sink sink = {on_field, h2};
	h2->has_block = false;
	enum status status = header_block_read(&h2->decoder, (const uint8_t *)h2->block.bytes, h2->block.length,
		h2->is_block_last, h2->connection->engine->strings, &sink);
	if (status != STATUS_OK)
		nghttp2_session_terminate_session(
			h2->session, status == STATUS_PROTOCOL ? NGHTTP2_COMPRESSION_ERROR : NGHTTP2_INTERNAL_ERROR);
	return status;
}

static void charge_for(struct h2 *h2, const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && h2->has_settings)
			charge(h2, COST_SETTINGS);
		h2->has_settings = true;
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
			header_decoder_allow(&h2->decoder, (size_t)h2->connection->limits->header_table_in);
		break;
	case NGHTTP2_PING:
	case NGHTTP2_PRIORITY:
		charge(h2, COST_CONTROL);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		if (frame->window_update.window_size_increment < SMALL_WINDOW)
			charge(h2, COST_CONTROL);
		break;
	default:
		break;
	}
}

/* A head or trailers, or the last of a body. */
static bool is_well_formed(struct h2 *h2, struct stream *stream, const nghttp2_frame *frame, bool is_end)
{
	bool is_headers = frame->hd.type == NGHTTP2_HEADERS;
	bool is_head = is_headers && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
	bool is_fine = is_head ? h2_message_head(&stream->message) : !is_headers || is_end;
	if (is_fine && (!is_end || h2_message_end(&stream->message)))
		return true;
	reset_malformed(h2, stream);
	if (is_headers)
		charge(h2, COST_INVALID);
	return false;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	(void)session;
	charge_for(h2, frame);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	if (h2->has_block && (read_block(h2) != STATUS_OK || h2->connection->is_closing))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type == NGHTTP2_HEADERS && h2->is_head_lost)
		return 0;
	struct stream *stream = find_stream(h2, frame->hd.stream_id);
	bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	if (stream == NULL || !is_well_formed(h2, stream, frame, is_end))
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		h2_head_complete(stream, is_end);
		stream->is_end_seen = is_end;
		stream_dispatch(stream);
		if (is_end && stream->is_receiving && !stream->is_body_over)
			connection_flush_later(h2->connection);
		return 0;
	}
	if (is_end && !stream->is_finished)
		stream_deliver(stream, NULL, 0, true);
	return 0;
}

static int on_data_chunk(
	nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length, void *context)
{
	struct h2 *h2 = context;
	struct stream *stream = find_stream(h2, id);
	(void)flags;
	if (stream == NULL || stream->is_finished) {
		nghttp2_session_consume(session, id, length);
		return 0;
	}
	if (!h2_message_body(&stream->message, length)) {
		nghttp2_session_consume_connection(session, length);
		reset_malformed(h2, stream);
		return 0;
	}
	stream->window_held += length;
	stream_deliver(stream, bytes, length, false);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *context)
{
	struct h2 *h2 = context;
	struct stream *stream = find_stream(h2, id);
	if (stream == NULL)
		return 0;
	bool is_whole = error_code == NGHTTP2_NO_ERROR && stream->is_counted;
	stream_finish(stream, is_whole ? STATUS_OK : stream->is_abort_pending ? stream->abort_why : STATUS_CLOSED);
	if (stream->window_held > 0)
		nghttp2_session_consume_connection(session, stream->window_held);
	delist(h2, stream);
	if (h2->heading == stream)
		h2->heading = NULL;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	h2_head_release(stream);
	if (h2->answering == stream)
		h2->is_answer_last = true; /* its head is still to be written: send_frame */
	else
		stream_free(stream);
	return 0;
}

/* A small body that is still on its way is read over: some clients take a reset, even one without an error, for the
 * loss of the answer they already have (RFC 9113 section 8.1 forbids them to). */
static bool is_rest_small(const struct stream *stream)
{
	int64_t length = stream->exchange.request_length;
	return length >= 0 && length <= REST_MAX;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	struct stream *stream = find_stream(h2, frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
		(stream == NULL || !stream->was_cut))
		charge(h2, COST_RESET);
	bool is_end = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
				  (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	if (!is_end || stream == NULL)
		return 0;
	stream->is_counted = true;                          /* the whole response has left */
	if (!stream->is_end_seen && !is_rest_small(stream)) /* it is not wanted */
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *context)
{
	(void)session, (void)frame, (void)error;
	charge(context, COST_INVALID);
	return 0;
}

/* --- responses */

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

static int on_frame_made(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.nvlen == 0)
		h2->answering = find_stream(h2, frame->hd.stream_id);
	return 0;
}

static void put_frame_length(uint8_t *head, size_t length)
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
		put_frame_length(head, size.length + part);
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

static void abort_stream(struct exchange *exchange, enum status why)
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

static const struct exchange_engine h2_engine = {respond, resume, receive_body, consume, abort_stream};

/* --- the protocol */

static nghttp2_session_callbacks *callbacks;

__attribute__((constructor)) static void make_callbacks(void)
{
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		abort();
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, on_frame_made);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	h2_body_register(callbacks);
}

__attribute__((destructor)) static void free_callbacks(void)
{
	nghttp2_session_callbacks_del(callbacks);
}

static nghttp2_option *make_options(const struct limits *limits)
{
	nghttp2_option *option;
	if (nghttp2_option_new(&option) != 0)
		return NULL;
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, (size_t)limits->header_table_out);
	nghttp2_option_set_max_send_header_block_length(option, HEAD_OUT_MAX);
	nghttp2_option_set_max_settings(option, (size_t)limits->settings_entries);
	nghttp2_option_set_max_outbound_ack(option, (size_t)limits->queued_acks);
	nghttp2_option_set_max_continuations(option, (size_t)limits->continuations);
	nghttp2_option_set_stream_reset_rate_limit(option, (uint64_t)limits->reset_burst, (uint64_t)limits->reset_rate);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_no_http_messaging(option, 1); /* server/h2_message.h does it */
	return option;
}

/* --- memory: the first and largest piece of a session is the buffer it packs frames into. What lies there is taken
 * (connection_write) before another session packs, so the sessions of a worker share one; it stays in the cache, too.
 * What a session is opened with, 9 KiB mostly of zeros, lies in the connection's drawer. */

static void *take_in_drawer(const struct h2 *h2, size_t size)
{
	struct drawer *drawer = h2->connection->drawer;
	return drawer != NULL ? drawer_take(drawer, size) : NULL;
}

static void *session_malloc(size_t size, void *context)
{
	struct h2 *h2 = context;
	uint8_t *frame = h2->connection->engine->frame;
	if (h2->output.frame_room > 0 && size == FRAME_EXTRA + h2->output.frame_room && h2->has_frame_buffer)
		return frame; /* it has outgrown its first one */
	if (!h2->is_opening)
		return malloc(size);
	if (size == FRAME_BUFFER && !h2->has_frame_buffer && frame != NULL) {
		h2->has_frame_buffer = true;
		return frame;
	}
	void *taken = take_in_drawer(h2, size);
	return taken != NULL ? taken : malloc(size);
}

static void session_free(void *bytes, void *context)
{
	const struct h2 *h2 = context;
	if (bytes != NULL && bytes != h2->connection->engine->frame && !drawer_owns(bytes))
		free(bytes);
}

static void *session_calloc(size_t count, size_t size, void *context)
{
	const struct h2 *h2 = context;
	size_t whole;
	void *taken = h2->is_opening && !__builtin_mul_overflow(count, size, &whole) ? take_in_drawer(h2, whole) : NULL;
	return taken != NULL ? taken : calloc(count, size);
}

static void *session_realloc(void *bytes, size_t size, void *context)
{
	const struct h2 *h2 = context;
	if (bytes == NULL)
		return session_malloc(size, context);
	bool is_frame = bytes == h2->connection->engine->frame;
	if (!is_frame && !drawer_owns(bytes))
		return realloc(bytes, size);
	size_t old = is_frame ? FRAME_BUFFER : drawer_extent(bytes);
	void *own = malloc(size);
	if (own != NULL)
		memcpy(own, bytes, size < old ? size : old);
	return own;
}

static enum status h2_open(struct connection *connection)
{
	const struct limits *limits = connection->limits;
	struct h2 *h2 = calloc(1, sizeof(*h2));
	nghttp2_option *option = make_options(limits);
	nghttp2_mem memory = {h2, session_malloc, session_free, session_calloc, session_realloc};
	if (connection->drawer == NULL)
		connection->drawer = drawer_new(connection->engine->drawers);
	if (h2 != NULL) {
		h2->connection = h2->output.connection = connection;
		h2->is_opening = true;
	}
	if (h2 == NULL || option == NULL ||
		nghttp2_session_server_new3(&h2->session, callbacks, h2, option, &memory) != 0) {
		nghttp2_option_del(option);
		free(h2);
		return STATUS_NO_MEMORY;
	}
	nghttp2_option_del(option);
	h2->is_opening = false;
	h2->scan.skip = PREFACE;
	h2->cut.pass = PREFACE;
	header_decoder_open(&h2->decoder);
	connection->session = h2;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)limits->streams_per_connection},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->stream_window},
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)limits->header_table_in},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes},
	};
	nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)limits->connection_window);
	return STATUS_OK;
}

static enum status take_head(struct h2 *h2, const struct frame_head *head)
{
	bool is_empty_data =
		head->type == NGHTTP2_DATA && head->length == 0 && (head->flags & NGHTTP2_FLAG_END_STREAM) == 0;
	h2->turn_frames++;
	if (is_empty_data || head->type > NGHTTP2_CONTINUATION) /* no progress, or an extension we do not speak */
		charge(h2, COST_CONTROL);
	if (head->type == NGHTTP2_CONTINUATION)
		charge(h2, COST_CONTINUATION);
	if (head->type != NGHTTP2_HEADERS)
		return STATUS_OK;
	h2->turn_streams++;
	return frame_scan_is_skipped(&h2->scan, head->id) ? STATUS_PROTOCOL : STATUS_OK;
}

static bool is_turn_over(const struct h2 *h2)
{
	return h2->turn_frames >= TURN_FRAMES || h2->turn_streams >= TURN_STREAMS;
}

/* How many of the bytes are for this turn: to the end of a frame when there were many. */
static enum status scan_frames(struct h2 *h2, const uint8_t *bytes, size_t length, size_t *count)
{
	*count = 0;
	while (*count < length) {
		struct frame_head head;
		bool is_head;
		if (is_turn_over(h2) && frame_scan_is_between(&h2->scan))
			break;
		*count += frame_scan_pass(&h2->scan, bytes + *count, length - *count, &head, &is_head);
		enum status status = is_head ? take_head(h2, &head) : STATUS_OK;
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static enum status hand_over(struct h2 *h2, const uint8_t *bytes, size_t length)
{
	if (h2->connection->is_closing)
		return STATUS_REFUSED;
	ssize_t used = length > 0 ? nghttp2_session_mem_recv(h2->session, bytes, length) : 0;
	if (used < 0) { /* after a penalty the session has been told its end already, with its reason */
		nghttp2_session_terminate_session(
			h2->session, used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
		return STATUS_PROTOCOL;
	}
	return STATUS_OK;
}

/* Where the priority and the block stand in a frame of fields; padding may leave nothing of the latter. False: the
 * frame is broken, and nghttp2 shall say how. */
static bool find_block(struct text frame, const struct frame_head *head, struct text *priority, struct text *block)
{
	size_t from = FRAME_HEAD, padding = 0, priority_length = 0;
	unsigned flags = head->type == NGHTTP2_HEADERS ? head->flags : 0;
	if ((flags & NGHTTP2_FLAG_PADDED) != 0) {
		if (from == frame.length)
			return false;
		padding = (uint8_t)frame.bytes[from++];
	}
	if ((flags & NGHTTP2_FLAG_PRIORITY) != 0)
		priority_length = PRIORITY_FIELD;
	if (padding > frame.length - from || priority_length > frame.length - from)
		return false;
	*priority = text_slice(frame, from, from + priority_length);
	*block = text_slice(frame, from + priority_length, frame.length - padding);
	return true;
}

/* The frame as nghttp2 gets it, without its block: that is read when nghttp2 has said whose it is, and before it says
 * that it is complete. Its own table is set to nothing with the first. */
static size_t write_stub(struct h2 *h2, uint8_t *into, struct text frame, struct text priority)
{
	size_t length = FRAME_HEAD;
	memcpy(into, frame.bytes, FRAME_HEAD);
	if (into[3] == NGHTTP2_HEADERS)
		into[4] = (uint8_t)(into[4] & ~NGHTTP2_FLAG_PADDED);
	if (priority.length > 0)
		memcpy(into + length, priority.bytes, priority.length);
	length += priority.length;
	if (!h2->has_told_size)
		into[length++] = SIZE_ZERO;
	h2->has_told_size = true;
	put_frame_length(into, length - FRAME_HEAD);
	return length;
}

static enum status take_fields(struct h2 *h2, struct text frame)
{
	uint8_t stub[FRAME_HEAD + PRIORITY_FIELD + 1];
	struct frame_head head = frame_head_parse((const uint8_t *)frame.bytes);
	struct text priority;
	bool is_first = head.type == NGHTTP2_HEADERS;
	enum status status = STATUS_OK;
	h2->fields_length = head.length;
	if ((is_first ? h2->block_id != 0 : h2->block_id != head.id || head.id == 0) ||
		!find_block(frame, &head, &priority, &h2->block))
		return hand_over(h2, (const uint8_t *)frame.bytes, frame.length); /* it ends the connection */
	h2->is_block_last = (head.flags & NGHTTP2_FLAG_END_HEADERS) != 0;
	h2->block_id = h2->is_block_last ? 0 : head.id;
	h2->has_block = true;
	if (is_first) {
		h2->fields_of = FIELDS_DROPPED; /* unless nghttp2 says more of it */
		h2->is_head_lost = false;
		h2->heading = NULL;
	} else {
		status = read_block(h2);
	}
	if (status == STATUS_OK)
		status = hand_over(h2, stub, write_stub(h2, stub, frame, priority));
	if (status == STATUS_OK && h2->has_block)
		status = read_block(h2);
	h2->has_block = false;
	return status;
}

static enum status take_pieces(struct h2 *h2, struct text input)
{
	struct text piece;
	enum status status = STATUS_OK;
	while (status == STATUS_OK) {
		switch (frame_cut_next(&h2->cut, &input, &piece)) {
		case PIECE_NONE:
			return STATUS_OK;
		case PIECE_RUN:
			status = hand_over(h2, (const uint8_t *)piece.bytes, piece.length);
			break;
		case PIECE_FIELDS:
			status = take_fields(h2, piece);
			break;
		case PIECE_FAILED:
			status = STATUS_NO_MEMORY;
			break;
		}
	}
	return status;
}

static enum status receive_now(struct h2 *h2, const uint8_t *bytes, size_t length)
{
	bool was_waiting = frame_cut_is_waiting(&h2->cut);
	enum status status = take_pieces(h2, (struct text){(const char *)bytes, length});
	if (!was_waiting && frame_cut_is_waiting(&h2->cut))
		h2->cut_ms = worker_now_ms(h2->connection->engine->worker);
	if (status == STATUS_OK &&
		nghttp2_session_get_outbound_queue_size(h2->session) > (size_t)h2->connection->limits->queued_frames) {
		nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
		return STATUS_REFUSED;
	}
	return status;
}

static enum status receive_some(struct h2 *h2, const uint8_t *bytes, size_t length, size_t *count)
{
	if (scan_frames(h2, bytes, length, count) != STATUS_OK) {
		nghttp2_session_terminate_session(h2->session, NGHTTP2_PROTOCOL_ERROR);
		return STATUS_PROTOCOL;
	}
	return *count > 0 ? receive_now(h2, bytes, *count) : STATUS_OK;
}

static void begin_turn(struct h2 *h2)
{
	uint64_t turn = worker_turn(h2->connection->engine->worker);
	if (h2->turn == turn)
		return;
	h2->turn = turn;
	h2->turn_frames = h2->turn_streams = 0;
}

/* Goes on with what an earlier turn left. */
static enum status receive_postponed(struct h2 *h2)
{
	struct text left = text_slice(buffer_text(&h2->postponed), h2->postponed_from, h2->postponed.length);
	size_t count;
	enum status status = receive_some(h2, (const uint8_t *)left.bytes, left.length, &count);
	h2->postponed_from += count;
	if (h2->postponed_from == h2->postponed.length) {
		buffer_free(&h2->postponed);
		h2->postponed_from = 0;
	}
	return status;
}

static enum status h2_receive(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct h2 *h2 = connection->session;
	enum status status = STATUS_OK;
	size_t count = 0;
	begin_turn(h2);
	if (!connection->is_input_held)
		status = receive_some(h2, bytes, length, &count);
	else if (!is_turn_over(h2))
		status = receive_postponed(h2);
	if (status == STATUS_OK && length > count)
		buffer_append(&h2->postponed, (struct text){(const char *)bytes + count, length - count});
	connection->is_input_held = h2->postponed.length > 0;
	return h2->postponed.failed ? STATUS_NO_MEMORY : status;
}

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

static void h2_flush(struct connection *connection)
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

static void h2_drain(struct connection *connection)
{
	struct h2 *h2 = connection->session;
	announce_last(h2);
	connection_flush_later(connection);
}

static void check_stream(struct h2 *h2, struct stream *stream, uint64_t now_ms)
{
	const struct limits *limits = h2->connection->limits;
	const struct exchange *exchange = &stream->exchange;
	uint64_t idle = now_ms - (uint64_t)stream->progress_ms;
	if (stream->is_counted) { /* the rest of its request has not come */
		if (stream_age_ms(stream, now_ms) >= REST_MS) {
			nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
			connection_flush_later(h2->connection);
		}
		return;
	}
	if (stream->is_responded && !stream->is_deferred && idle >= (uint64_t)limits->stream_idle_ms) {
		abort_stream(&stream->exchange, STATUS_TIMEOUT); /* the peer takes nothing */
		return;
	}
	uint64_t age = stream_age_ms(stream, now_ms);
	bool is_waiting_for_body = stream->is_receiving && !stream->is_body_over && stream->window_held == 0;
	if (is_waiting_for_body && age >= (uint64_t)limits->body_grace_ms &&
		exchange->bytes_received < (uint64_t)limits->body_rate * (age / 1000))
		abort_stream(&stream->exchange, STATUS_TIMEOUT);
}

static void end_slow_head(struct h2 *h2)
{
	nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
	connection_close_later(h2->connection, STATUS_TIMEOUT);
}

static void h2_check(struct connection *connection, uint64_t now_ms)
{
	struct h2 *h2 = connection->session;
	const struct limits *limits = connection->limits;
	if (!h2->has_settings && now_ms - connection->phase_ms >= (uint64_t)limits->preface_ms) {
		connection_close_later(connection, STATUS_TIMEOUT);
		return;
	}
	if (frame_cut_is_waiting(&h2->cut) && now_ms - h2->cut_ms >= (uint64_t)limits->header_ms) {
		end_slow_head(h2);
		return;
	}
	for (struct stream *stream = h2->streams, *next; stream != NULL; stream = next) {
		next = stream->next;
		uint64_t age = stream_age_ms(stream, now_ms);
		if (!stream->is_dispatched && age >= (uint64_t)limits->header_ms) {
			end_slow_head(h2);
			return;
		}
		if (stream->is_dispatched && !stream->is_finished)
			check_stream(h2, stream, now_ms);
	}
}

static void h2_close(struct connection *connection, enum status why)
{
	struct h2 *h2 = connection->session;
	connection->session = h2; /* what on_close calls may still look at it */
	while (h2->streams != NULL) {
		struct stream *stream = h2->streams;
		stream_finish(stream, stream->is_abort_pending ? stream->abort_why : why == STATUS_OK ? STATUS_CLOSED : why);
		delist(h2, stream);
		nghttp2_session_set_stream_user_data(h2->session, stream->id, NULL);
		h2_head_release(stream);
		stream_free(stream);
	}
	nghttp2_session_del(h2->session);
	header_decoder_close(&h2->decoder);
	frame_cut_close(&h2->cut);
	buffer_free(&h2->postponed);
	free(h2);
	connection->session = NULL;
}

const struct protocol protocol_h2 = {"h2", h2_open, h2_receive, h2_flush, h2_drain, h2_check, h2_close};
