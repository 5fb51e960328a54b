/* One HTTP/2 request, judged by server/h2_message.h and by nghttp2 alone: for the test and the fuzz target that hold
 * the two against each other. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "server/exchange.h"
#include "server/h2_message.h"

struct message_input {
	const struct header *head, *trailers;
	size_t head_count, trailer_count;
	size_t body;       /* bytes, at most 16384 */
	bool has_body;     /* a DATA frame, perhaps an empty one */
	bool has_trailers; /* then they end the request, unless it stays open */
	bool is_open;
};

static bool message_takes(struct h2_message *message, const struct header *fields, size_t count, bool is_trailer)
{
	for (size_t i = 0; i < count; i++) {
		struct h2_sense sense = h2_sense_of(h2_kind_of(fields[i].name), fields[i].value);
		if (!h2_message_field(message, sense, fields[i].value, is_trailer))
			return false;
	}
	return true;
}

static bool message_is_fine(const struct message_input *input)
{
	struct h2_message message;
	h2_message_begin(&message);
	if (!message_takes(&message, input->head, input->head_count, false) || !h2_message_head(&message))
		return false;
	if (input->has_body && !h2_message_body(&message, input->body))
		return false;
	if (!message_takes(&message, input->trailers, input->trailer_count, true))
		return false;
	return !(input->has_trailers && input->is_open) && h2_message_end(&message);
}

/* --- nghttp2: a server session is told the frames; what it resets was malformed */

static void message_frame(struct buffer *into, uint8_t type, bool is_end, struct text payload)
{
	bool is_headers = type == NGHTTP2_HEADERS;
	const uint8_t head[] = {0, (uint8_t)(payload.length >> 8), (uint8_t)payload.length, type,
		(uint8_t)((is_end ? NGHTTP2_FLAG_END_STREAM : 0) | (is_headers ? NGHTTP2_FLAG_END_HEADERS : 0)), 0, 0, 0, 1};
	buffer_append(into, (struct text){(const char *)head, sizeof(head)});
	buffer_append(into, payload);
}

static void message_string(struct buffer *into, struct text text)
{
	size_t left = text.length;
	buffer_append_byte(into, (char)(left < 0x7f ? left : 0x7f));
	if (left >= 0x7f) {
		for (left -= 0x7f; left >= 0x80; left >>= 7)
			buffer_append_byte(into, (char)(left | 0x80));
		buffer_append_byte(into, (char)left);
	}
	buffer_append(into, text);
}

static void message_block(struct buffer *into, const struct header *fields, size_t count, bool is_end)
{
	struct buffer block = {0};
	for (size_t i = 0; i < count; i++) {
		buffer_append_byte(&block, 0); /* literal, not for the table */
		message_string(&block, fields[i].name);
		message_string(&block, fields[i].value);
	}
	message_frame(into, NGHTTP2_HEADERS, is_end, buffer_text(&block));
	buffer_free(&block);
}

static int message_on_invalid(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags, void *context)
{
	(void)session, (void)frame, (void)name, (void)name_length, (void)value, (void)value_length, (void)flags,
		(void)context;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* a reset, not a field less */
}

static bool message_is_fine_to_nghttp2(const struct message_input *input)
{
	static const char data[16384];
	struct buffer bytes = {0};
	bool ends = !input->has_body && !input->has_trailers, is_fine = true;
	buffer_append(&bytes, TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
	message_block(&bytes, input->head, input->head_count, ends);
	if (input->has_body)
		message_frame(&bytes, NGHTTP2_DATA, !input->has_trailers, (struct text){data, input->body});
	if (input->has_trailers)
		message_block(&bytes, input->trailers, input->trailer_count, !input->is_open);
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		abort();
	nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, message_on_invalid);
	if (bytes.failed || nghttp2_session_server_new(&session, callbacks, NULL) != 0 ||
		nghttp2_session_mem_recv(session, (const uint8_t *)bytes.bytes, bytes.length) < 0)
		abort();
	const uint8_t *sent;
	for (ssize_t length; (length = nghttp2_session_mem_send(session, &sent)) > 0;)
		is_fine = is_fine && sent[3] != NGHTTP2_RST_STREAM && sent[3] != NGHTTP2_GOAWAY;
	nghttp2_session_del(session);
	nghttp2_session_callbacks_del(callbacks);
	buffer_free(&bytes);
	return is_fine;
}
