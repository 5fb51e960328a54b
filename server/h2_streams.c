/* Streams of an HTTP/2 connection, as nghttp2 tells of them: they begin, their frames come and go, they end; and what a
 * peer pays for what it provokes. */
#include <stdlib.h>

#include "server/h2_body.h"
#include "server/h2_head.h"
#include "server/h2_private.h"

enum { SMALL_WINDOW = 1024 };
/* How much of an answered request is read over. */
enum { REST_MAX = 16 * 1024 };

/* --- penalties */

void h2_charge(struct h2 *h2, unsigned points)
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
void h2_charge_excess(struct h2 *h2)
{
	if (++h2->excess_fields % EXCESS_FIELDS == 0)
		h2_charge(h2, COST_CONTROL);
	if (h2->connection->is_closing)
		h2->fields_of = FIELDS_DROPPED;
}

/* --- streams */

/* The last that was found is likely to be the next. */
struct stream *h2_find_stream(struct h2 *h2, int32_t id)
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

void h2_delist(struct h2 *h2, struct stream *stream)
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

void h2_announce_last(struct h2 *h2)
{
	if (h2->is_last_announced)
		return;
	h2->is_last_announced = true;
	nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session),
		NGHTTP2_NO_ERROR, NULL, 0);
}

/* The stream ends; its request was against the rules. */
void h2_reset_malformed(struct h2 *h2, const struct stream *stream)
{
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
	connection_flush_later(h2->connection);
}

/* --- frames that come */

/* Header blocks that nghttp2 drops without another word: of streams that are closed, or beyond a GOAWAY. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *context)
{
	struct h2 *h2 = context;
	bool is_ahead =
		!h2->is_warned && !h2->is_last_announced && head->stream_id > nghttp2_session_get_last_proc_stream_id(session);
	if (head->type != NGHTTP2_HEADERS || is_ahead || h2_find_stream(h2, head->stream_id) != NULL)
		return 0;
	if (h2->is_warned || head->stream_id <= nghttp2_session_get_last_proc_stream_id(session))
		h2_charge(h2, COST_CONTROL + h2->fields_length / 256);
	else if (h2->is_last_announced) /* it may not have heard yet */
		h2_charge(h2, COST_CONTROL + h2->fields_length / 4096);
	return h2->connection->is_closing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	h2->heading = NULL;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		h2->trailer_fields = 0;
		h2->heading = h2_find_stream(h2, frame->hd.stream_id);
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
		h2_announce_last(h2);
	return 0;
}

static void charge_for(struct h2 *h2, const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && h2->has_settings)
			h2_charge(h2, COST_SETTINGS);
		h2->has_settings = true;
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
			header_decoder_allow(&h2->decoder, (size_t)h2->connection->limits->header_table_in);
		break;
	case NGHTTP2_PING:
	case NGHTTP2_PRIORITY:
		h2_charge(h2, COST_CONTROL);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		if (frame->window_update.window_size_increment < SMALL_WINDOW)
			h2_charge(h2, COST_CONTROL);
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
	h2_reset_malformed(h2, stream);
	if (is_headers)
		h2_charge(h2, COST_INVALID);
	return false;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2 *h2 = context;
	(void)session;
	charge_for(h2, frame);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	if (h2->has_block && (h2_read_block(h2) != STATUS_OK || h2->connection->is_closing))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type == NGHTTP2_HEADERS && h2->is_head_lost)
		return 0;
	struct stream *stream = h2_find_stream(h2, frame->hd.stream_id);
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
	struct stream *stream = h2_find_stream(h2, id);
	(void)flags;
	if (stream == NULL || stream->is_finished) {
		nghttp2_session_consume(session, id, length);
		return 0;
	}
	if (!h2_message_body(&stream->message, length)) {
		nghttp2_session_consume_connection(session, length);
		h2_reset_malformed(h2, stream);
		return 0;
	}
	stream->window_held += length;
	stream_deliver(stream, bytes, length, false);
	return 0;
}

/* --- frames that go */

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *context)
{
	struct h2 *h2 = context;
	struct stream *stream = h2_find_stream(h2, id);
	if (stream == NULL)
		return 0;
	bool is_whole = error_code == NGHTTP2_NO_ERROR && stream->is_counted;
	stream_finish(stream, is_whole ? STATUS_OK : stream->is_abort_pending ? stream->abort_why : STATUS_CLOSED);
	if (stream->window_held > 0)
		nghttp2_session_consume_connection(session, stream->window_held);
	h2_delist(h2, stream);
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
	struct stream *stream = h2_find_stream(h2, frame->hd.stream_id);
	if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
		(stream == NULL || !stream->was_cut))
		h2_charge(h2, COST_RESET);
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
	h2_charge(context, COST_INVALID);
	return 0;
}

/* --- what nghttp2 calls */

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
	nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, h2_on_frame_made);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	h2_body_register(callbacks);
}

__attribute__((destructor)) static void free_callbacks(void)
{
	nghttp2_session_callbacks_del(callbacks);
}

const nghttp2_session_callbacks *h2_callbacks(void)
{
	return callbacks;
}
