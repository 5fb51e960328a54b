/* Bodies of HTTP/2 calls. DATA stays where it was received, in the connection's block, and is copied once: to whoever
 * reads it. Only when the block is needed for more are the bytes of slow readers moved to memory of their own, at most
 * a stream's window for each. */
#include <stdlib.h>
#include <string.h>

#include "server/client_h2.h"

/* --- the answer */

static bool keep_slices(struct client_call *call)
{
	struct h2_call *own = &call->h2;
	const uint8_t *block = call->upstream->block;
	if (own->kept_at > 0) {
		memmove(own->kept.bytes, own->kept.bytes + own->kept_at, own->kept.length - own->kept_at);
		own->kept.length -= own->kept_at;
		own->kept_at = 0;
	}
	for (; own->slice_at < own->slice_end; own->slice_at++) {
		const struct h2_slice *slice = &call->slices[own->slice_at];
		buffer_append(&own->kept, (struct text){(const char *)block + slice->at, slice->length});
		call->upstream->h2->in_block -= slice->length;
	}
	own->slice_at = own->slice_end = 0;
	return !own->kept.failed;
}

bool h2_body_add(struct client_call *call, const uint8_t *bytes, size_t length)
{
	struct h2_call *own = &call->h2;
	struct h2_session *h2 = call->upstream->h2;
	uint32_t at = (uint32_t)(bytes - call->upstream->block);
	own->active_ms = client_now(call->client);
	if (own->slice_end == H2_SLICES && !keep_slices(call)) /* small frames */
		return false;
	h2->held += length;
	h2->owed += length;
	h2->in_block += length;
	struct h2_slice *last = own->slice_end > own->slice_at ? &call->slices[own->slice_end - 1] : NULL;
	if (last != NULL && last->at + last->length == at)
		last->length += (uint32_t)length;
	else
		call->slices[own->slice_end++] = (struct h2_slice){at, (uint32_t)length};
	return true;
}

void h2_body_keep_all(struct h2_session *h2)
{
	struct client_call *next;
	for (struct client_call *call = h2->calls; call != NULL; call = next) {
		next = call->h2.next;
		if (!keep_slices(call))
			h2_call_fail(call, NGHTTP2_CANCEL, STATUS_NO_MEMORY);
	}
}

void h2_body_settle(struct h2_session *h2)
{
	if (h2->owed == 0 || h2->held > H2_HELD_MAX)
		return;
	h2_body_credit(h2, h2->owed);
	h2->owed = 0;
}

void h2_body_credit(struct h2_session *h2, size_t length)
{
	nghttp2_session_consume_connection(h2->session, length);
	if (nghttp2_session_want_write(h2->session))
		h2_flush_later(h2->upstream);
}

void h2_block_release(struct h2_session *h2)
{
	struct upstream *upstream = h2->upstream;
	if (h2->in_block > 0 || h2->is_receiving)
		return;
	block_drop(upstream);
}

size_t h2_body_held(const struct client_call *call)
{
	const struct h2_call *own = &call->h2;
	size_t length = own->kept.length - own->kept_at;
	for (unsigned i = own->slice_at; i < own->slice_end; i++)
		length += call->slices[i].length;
	return length;
}

void h2_body_drop(struct client_call *call)
{
	struct h2_session *h2 = call->upstream->h2;
	h2->held -= h2_body_held(call);
	for (unsigned i = call->h2.slice_at; i < call->h2.slice_end; i++)
		h2->in_block -= call->slices[i].length;
	call->h2.slice_at = call->h2.slice_end = 0;
	buffer_free(&call->h2.kept);
	call->h2.kept_at = 0;
	h2_block_release(h2);
	h2_body_settle(h2);
}

static size_t take(struct client_call *call, uint8_t *into, size_t room)
{
	struct h2_call *own = &call->h2;
	size_t count = own->kept.length - own->kept_at;
	if (count > room)
		count = room;
	if (count > 0)
		memcpy(into, own->kept.bytes + own->kept_at, count);
	own->kept_at += count;
	if (own->kept_at == own->kept.length && own->kept.bytes != NULL) {
		buffer_free(&own->kept);
		own->kept_at = 0;
	}
	while (count < room && own->slice_at < own->slice_end) {
		struct h2_slice *slice = &call->slices[own->slice_at];
		size_t part = slice->length < room - count ? slice->length : room - count;
		memcpy(into + count, call->upstream->block + slice->at, part);
		count += part;
		call->upstream->h2->in_block -= part;
		slice->at += (uint32_t)part;
		slice->length -= (uint32_t)part;
		own->slice_at += slice->length == 0;
	}
	if (own->slice_at == own->slice_end)
		own->slice_at = own->slice_end = 0;
	return count;
}

/* What was read opens the stream's window, so an unread stream is one that the peer stops sending. */
static void give_window(struct client_call *call, size_t count)
{
	struct h2_session *h2 = call->upstream->h2;
	h2->held -= count;
	h2_block_release(h2);
	if (call->h2.stream > 0 && !call->h2.is_ended) {
		nghttp2_session_consume_stream(h2->session, call->h2.stream, count);
		if (nghttp2_session_want_write(h2->session))
			h2_flush_later(h2->upstream);
	}
	h2_body_settle(h2);
}

enum body_state h2_body_read(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	struct h2_call *own = &call->h2;
	*count = take(call, into, room);
	if (*count > 0 && call->upstream != NULL)
		give_window(call, *count);
	bool is_empty = own->slice_at == own->slice_end && own->kept_at == own->kept.length;
	if (own->is_ended && is_empty) {
		call->phase = CALL_DONE;
		if (call->upstream != NULL)
			h2_call_leave(call, NGHTTP2_NO_ERROR);
		return BODY_END;
	}
	if (*count > 0)
		return BODY_MORE;
	if (call->upstream == NULL)
		return BODY_FAILED;
	call->wants_readable = true;
	own->active_ms = client_now(call->client); /* the silence that counts begins when bytes are wanted */
	return BODY_LATER;
}

/* --- the request */

static size_t put(struct h2_call *own, const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return 0;
	if (own->out == NULL && (own->out = malloc(CLIENT_OUT)) == NULL)
		return 0;
	if (own->out_at > 0) {
		memmove(own->out, own->out + own->out_at, own->out_end - own->out_at);
		own->out_end -= own->out_at;
		own->out_at = 0;
	}
	size_t part = length < CLIENT_OUT - own->out_end ? length : CLIENT_OUT - own->out_end;
	memcpy(own->out + own->out_end, bytes, part);
	own->out_end += part;
	return part;
}

size_t h2_body_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended)
{
	struct h2_call *own = &call->h2;
	bool is_known = call->body_length >= 0;
	uint64_t left = is_known ? (uint64_t)call->body_length - call->body_taken : UINT64_MAX;
	if (length > left || (ended && is_known && length < left)) {
		h2_call_fail(call, NGHTTP2_CANCEL, STATUS_PROTOCOL);
		return 0;
	}
	size_t taken = put(own, bytes, length);
	call->body_taken += taken;
	if (taken < length)
		call->wants_writable = true;
	else if (ended)
		call->is_request_over = true;
	own->active_ms = client_now(call->client);
	if (own->is_deferred && (taken > 0 || call->is_request_over)) {
		own->is_deferred = false;
		nghttp2_session_resume_data(call->upstream->h2->session, own->stream);
	}
	h2_flush_later(call->upstream);
	return taken;
}

ssize_t h2_body_send(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *context)
{
	struct client_call *call = nghttp2_session_get_stream_user_data(session, id);
	(void)source, (void)context;
	if (call == NULL) /* left; its reset is on the way */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	struct h2_call *own = &call->h2;
	size_t count = own->out_end - own->out_at < room ? own->out_end - own->out_at : room;
	if (count == 0 && !call->is_request_over) {
		own->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (count > 0)
		memcpy(into, own->out + own->out_at, count);
	own->out_at += count;
	own->active_ms = client_now(call->client);
	if (own->out_at < own->out_end)
		return (ssize_t)count;
	free(own->out);
	own->out = NULL;
	own->out_at = own->out_end = 0;
	if (call->is_request_over)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (call->wants_writable) {
		call->wants_writable = false;
		call->is_writable_due = true;
		call_due(call);
	}
	return (ssize_t)count;
}
