/* HTTP/2 from upstreams: what nghttp2 tells of answers and control frames. Nothing is freed or sent in here. */
#include <stdlib.h>
#include <string.h>

#include "server/client_h2.h"

enum { TRAILER_BYTES = 8192 };

/* Frames that bring nothing are counted: a stream of them ends the connection. */
static int charge(struct h2_session *h2, unsigned frames)
{
	uint64_t now_ms = client_now(h2->upstream->origin->client);
	uint64_t paid = (now_ms - h2->frames_ms) * H2_FRAMES_PER_SECOND / 1000;
	if (paid > 0) {
		h2->frames -= paid < h2->frames ? (unsigned)paid : h2->frames;
		h2->frames_ms = now_ms;
	}
	h2->frames += frames;
	return h2->frames > H2_FRAMES_BURST ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct client_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	(void)context;
	if (call == NULL || call->phase != CALL_HEAD)
		return 0;
	call->h2.has_answer = true;
	call->h2.text_used = 0;
	call->response.status = 0;
	call->response.header_count = 0;
	call->response.length = -1;
	return 0;
}

/* The head grows in the memory of the request's, which is not needed any more; until it is whole, texts are offsets. */
static struct text keep_text(struct client_call *call, struct text text)
{
	struct h2_call *own = &call->h2;
	if (own->text_used + text.length > call->text_room) {
		size_t room = (own->text_used + text.length) * 2;
		char *grown = realloc(call->text, room);
		if (grown == NULL)
			return TEXT_NONE;
		call->text = grown;
		call->text_room = room;
	}
	if (text.length > 0)
		memcpy(call->text + own->text_used, text.bytes, text.length);
	struct text kept = {(const char *)own->text_used, text.length};
	own->text_used += text.length;
	return kept;
}

static bool keep_trailer(struct client_call *call, struct text name, struct text value)
{
	struct buffer *trailers = &call->trailers;
	if (++call->h2.trailer_fields > HEAD_FIELDS || trailers->length + name.length + value.length > TRAILER_BYTES)
		return false;
	buffer_append(trailers, name);
	buffer_append_byte(trailers, ':');
	buffer_append(trailers, value);
	buffer_append(trailers, TEXT("\r\n"));
	return true;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
	const uint8_t *value, size_t value_length, uint8_t flags, void *context)
{
	struct client_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	const struct text name_text = {(const char *)name, name_length}, value_text = {(const char *)value, value_length};
	uint64_t number;
	(void)flags, (void)context;
	if (call == NULL)
		return 0;
	if (call->phase != CALL_HEAD)
		return keep_trailer(call, name_text, value_text) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (text_equals(name_text, TEXT(":status"))) {
		call->response.status = text_to_unsigned(value_text, 999, &number) == STATUS_OK ? (int)number : 0;
		return 0;
	}
	if (call->response.header_count == HEAD_FIELDS || call->h2.text_used + name_length + value_length > HEAD_BYTES)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (text_equals(name_text, TEXT("content-length"))) {
		if (text_to_unsigned(value_text, INT64_MAX, &number) != STATUS_OK)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		call->response.length = (int64_t)number;
	}
	if (call->h2.text_used + name_length + value_length > call->text_room && call->text == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	struct header *header = &call->headers[call->response.header_count];
	size_t used = call->h2.text_used;
	header->name = keep_text(call, name_text);
	header->value = keep_text(call, value_text);
	if (call->h2.text_used != used + name_length + value_length)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	call->response.header_count++;
	return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags, void *context)
{
	(void)session, (void)frame, (void)name, (void)name_length, (void)value, (void)value_length, (void)flags,
		(void)context;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* a reset, not a header less */
}

static void complete_head(struct client_call *call, bool is_end)
{
	struct client_response *response = &call->response;
	call->h2.active_ms = client_now(call->client);
	if (response->status < 200) {
		if (++call->interims > INTERIM_MAX)
			h2_call_fail(call, NGHTTP2_ENHANCE_YOUR_CALM, STATUS_PROTOCOL);
		return;
	}
	for (size_t i = 0; i < response->header_count; i++) {
		struct header *header = &call->headers[i];
		header->name.bytes = call->text + (uintptr_t)header->name.bytes;
		header->value.bytes = call->text + (uintptr_t)header->value.bytes;
	}
	response->headers = call->headers;
	bool has_none = response->status == 204 || response->status == 304;
	if (!call->is_head && (has_none || (is_end && response->length < 0)))
		response->length = 0;
	call->phase = CALL_BODY;
	call->is_head_due = true;
	call_due(call);
}

static void readable_later(struct client_call *call)
{
	if (!call->wants_readable)
		return;
	call->wants_readable = false;
	call->is_readable_due = true;
	call_due(call);
}

static int on_control(struct h2_session *h2, const nghttp2_frame *frame)
{
	enum { SMALL_WINDOW = 1024 };
	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
			return 0;
		h2->has_settings = true;
		origin_pump_later(h2->upstream->origin);
		return charge(h2, 2);
	case NGHTTP2_GOAWAY:
		h2->is_draining = true;
		h2_flush_later(h2->upstream);
		return charge(h2, 2);
	case NGHTTP2_WINDOW_UPDATE:
		return charge(h2, frame->window_update.window_size_increment < SMALL_WINDOW);
	case NGHTTP2_DATA:
		return charge(h2, frame->hd.length == 0);
	case NGHTTP2_HEADERS:
		return 0;
	default:
		return charge(h2, 1);
	}
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct h2_session *h2 = context;
	struct client_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	if (call != NULL && frame->hd.type == NGHTTP2_HEADERS && call->phase == CALL_HEAD)
		complete_head(call, is_end);
	bool is_answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
	if (call != NULL && is_answer && is_end && call->phase == CALL_BODY) {
		call->h2.is_ended = true;
		readable_later(call);
	}
	return on_control(h2, frame);
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *context)
{
	(void)session, (void)frame, (void)error;
	return charge(context, 10);
}

static int on_data(
	nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length, void *context)
{
	struct client_call *call = nghttp2_session_get_stream_user_data(session, id);
	(void)flags;
	if (call == NULL) {
		h2_body_credit(context, length);
		return 0;
	}
	if (h2_body_add(call, bytes, length)) {
		readable_later(call);
		return 0;
	}
	h2_body_credit(context, length);
	h2_call_fail(call, NGHTTP2_CANCEL, STATUS_NO_MEMORY);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *context)
{
	struct client_call *call = nghttp2_session_get_stream_user_data(session, id);
	struct h2_session *h2 = context;
	bool is_ours = error_code == NGHTTP2_PROTOCOL_ERROR || error_code == NGHTTP2_INTERNAL_ERROR;
	if (h2->upstream->origin->queue != NULL)
		origin_pump_later(h2->upstream->origin);
	if (call == NULL)
		return 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	call->h2.stream = 0;
	if (call->h2.is_ended && error_code == NGHTTP2_NO_ERROR)
		return 0; /* whole; what is unread stays until it is read */
	if (error_code != NGHTTP2_REFUSED_STREAM || !h2_call_retry(call)) {
		readable_later(call);
		h2_call_fail(call, error_code, is_ours ? STATUS_PROTOCOL : STATUS_UNAVAILABLE);
	}
	return 0;
}

nghttp2_session_callbacks *client_h2_callbacks;
nghttp2_option *client_h2_options;

__attribute__((constructor)) static void make_callbacks(void)
{
	if (nghttp2_session_callbacks_new(&client_h2_callbacks) != 0 || nghttp2_option_new(&client_h2_options) != 0)
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(client_h2_callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(client_h2_callbacks, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(client_h2_callbacks, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(client_h2_callbacks, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(client_h2_callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(client_h2_callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(client_h2_callbacks, on_stream_close);
	nghttp2_option_set_no_auto_window_update(client_h2_options, 1);
	nghttp2_option_set_peer_max_concurrent_streams(client_h2_options, H2_CALLS_MAX);
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(client_h2_options, 1);
}
