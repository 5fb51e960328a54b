/* Streams of an HTTP/2 connection: they begin, the bodies of their requests come in, they end. */
#include "server/h2_head.h"
#include "server/h2_private.h"

static size_t bucket_of(int32_t id)
{
	return (uint32_t)id / 2 % STREAM_BUCKETS;
}

/* --- the list */

struct stream *h2_find_stream(const struct h2 *h2, int32_t id)
{
	struct stream *stream = h2->buckets[bucket_of(id)];
	while (stream != NULL && stream->id != id)
		stream = stream->chain;
	return stream == NULL || stream->is_reset ? NULL : stream;
}

static void enlist(struct h2 *h2, struct stream *stream)
{
	struct stream **bucket = &h2->buckets[bucket_of(stream->id)];
	stream->chain = *bucket;
	*bucket = stream;
	stream->next = h2->streams;
	if (h2->streams != NULL)
		h2->streams->previous = stream;
	h2->streams = stream;
	h2->open++;
}

static void delist(struct h2 *h2, struct stream *stream)
{
	struct stream **at = &h2->buckets[bucket_of(stream->id)];
	while (*at != stream)
		at = &(*at)->chain;
	*at = stream->chain;
	if (stream->next != NULL)
		stream->next->previous = stream->previous;
	*(stream->previous != NULL ? &stream->previous->next : &h2->streams) = stream->next;
	h2->open--;
}

static void on_share_ready(struct share_waiter *waiter)
{
	struct stream *stream = (struct stream *)(void *)((char *)waiter - offsetof(struct stream, waiter));
	exchange_resume(&stream->exchange);
}

struct stream *h2_open_stream(struct h2 *h2, int32_t id)
{
	struct stream *stream = stream_new(h2->connection, &h2_engine);
	if (stream == NULL)
		return NULL;
	stream->id = id;
	stream->waiter.go = on_share_ready;
	stream->send_window = h2->stream_send_window;
	stream->receive_window = h2->stream_receive_window;
	h2_message_begin(&stream->message);
	enlist(h2, stream);
	h2->last_opened = id;
	if (++h2->opened >= h2->connection->limits->streams_per_lifetime)
		h2_announce_last(h2);
	return stream;
}

/* --- the end */

void h2_reset_stream(struct h2 *h2, struct stream *stream, enum h2_error code)
{
	if (stream->is_reset)
		return;
	stream->is_reset = true;
	stream->is_reset_clean = code == H2_NO_ERROR;
	h2->has_resets = true;
	send_queue_leave(stream);
	stream_ids_cut(&h2->ids, stream->id);
	h2_send_number(h2, FRAME_RST_STREAM, stream->id, code);
	if (code != H2_NO_ERROR && !stream->was_cut)
		h2_charge(h2, COST_RESET);
}

void h2_reset_malformed(struct h2 *h2, struct stream *stream)
{
	h2_reset_stream(h2, stream, H2_PROTOCOL_ERROR);
}

void h2_free_stream(struct h2 *h2, struct stream *stream)
{
	send_queue_leave(stream);
	delist(h2, stream);
	if (h2->block.stream == stream)
		h2->block.stream = NULL;
	if (h2->body_in.stream == stream)
		h2->body_in.stream = NULL;
	h2_head_release(stream);
	stream_free(stream);
}

void h2_close_stream(struct h2 *h2, struct stream *stream, bool is_clean)
{
	bool is_whole = is_clean && stream->is_counted;
	stream_finish(stream, is_whole ? STATUS_OK : stream->is_abort_pending ? stream->abort_why : STATUS_CLOSED);
	h2_credit(h2, NULL, stream->window_held);
	h2_free_stream(h2, stream);
}

void h2_close_resets(struct h2 *h2)
{
	h2->has_resets = false;
	for (struct stream *stream = h2->streams, *next; stream != NULL; stream = next) {
		next = stream->next;
		if (stream->is_reset)
			h2_close_stream(h2, stream, stream->is_reset_clean);
	}
}

void h2_note_end(struct h2 *h2, struct stream *stream)
{
	stream->is_end_seen = true;
	if (stream->is_counted && !stream->is_reset)
		h2_close_stream(h2, stream, true);
}

/* --- what comes in */

void h2_credit(struct h2 *h2, struct stream *stream, size_t length)
{
	h2->owed += length;
	if (h2->owed >= (size_t)h2->connection->limits->connection_window / 2) {
		h2->receive_window += (int64_t)h2->owed;
		h2_send_number(h2, FRAME_WINDOW_UPDATE, 0, (uint32_t)h2->owed);
		h2->owed = 0;
	}
	if (stream == NULL)
		return;
	stream->owed += length;
	if (stream->owed >= (size_t)h2->stream_receive_window / 2 && !stream->is_end_seen && !stream->is_reset) {
		stream->receive_window += (int64_t)stream->owed;
		h2_send_number(h2, FRAME_WINDOW_UPDATE, stream->id, (uint32_t)stream->owed);
		stream->owed = 0;
	}
}

enum status h2_begin_data(struct h2 *h2, const struct frame_head *head)
{
	struct stream *stream = head->id != 0 ? h2_find_stream(h2, head->id) : NULL;
	bool is_padded = (head->flags & FLAG_PADDED) != 0;
	if (head->id == 0 || head->id > h2->ids.last || (is_padded && head->length == 0))
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	if (stream != NULL ? stream->is_end_seen : stream_ids_past(&h2->ids, head->id) != STREAM_CUT)
		return h2_terminate(h2, H2_STREAM_CLOSED);
	h2->receive_window -= head->length;
	if (h2->receive_window < 0)
		return h2_terminate(h2, H2_FLOW_CONTROL_ERROR);
	if (stream != NULL && (stream->receive_window -= head->length) < 0) {
		h2_charge(h2, COST_INVALID);
		h2_reset_stream(h2, stream, H2_FLOW_CONTROL_ERROR);
		stream = NULL;
	}
	h2->body_in = (struct h2_body_in){.stream = stream, .has_padding = is_padded};
	return STATUS_OK;
}

static void take_body(struct h2 *h2, struct text piece)
{
	struct stream *stream = h2->body_in.stream;
	if (stream == NULL || stream->is_reset || stream->is_finished) {
		h2_credit(h2, stream, piece.length);
	} else if (!h2_message_body(&stream->message, piece.length)) {
		h2_credit(h2, NULL, piece.length);
		h2_reset_malformed(h2, stream);
	} else {
		stream->window_held += piece.length;
		stream_deliver(stream, (const uint8_t *)piece.bytes, piece.length, false);
	}
}

static void end_body(struct h2 *h2)
{
	struct stream *stream = h2->body_in.stream;
	if (stream == NULL || stream->is_reset)
		return;
	if (!h2_message_end(&stream->message)) {
		h2_reset_malformed(h2, stream);
		return;
	}
	if (!stream->is_finished)
		stream_deliver(stream, NULL, 0, true);
	if (h2->body_in.stream == stream && !stream->is_reset)
		h2_note_end(h2, stream);
}

enum status h2_take_data(struct h2 *h2, struct text piece, bool is_last)
{
	struct h2_body_in *body = &h2->body_in;
	if (body->has_padding && piece.length > 0) {
		body->has_padding = false;
		body->padding = (uint8_t)piece.bytes[0];
		if (body->padding > piece.length - 1 + h2->reader.left)
			return h2_terminate(h2, H2_PROTOCOL_ERROR);
		h2_credit(h2, body->stream, 1);
		piece = text_slice(piece, 1, piece.length);
	}
	size_t behind = h2->reader.left; /* of the frame, after this piece */
	size_t padding = behind < body->padding ? body->padding - behind : 0;
	if (padding > piece.length)
		padding = piece.length;
	if (piece.length > padding)
		take_body(h2, text_slice(piece, 0, piece.length - padding));
	if (padding > 0) {
		body->padding -= (uint32_t)padding;
		h2_credit(h2, body->stream, padding);
	}
	if (is_last && (h2->reader.head.flags & FLAG_END_STREAM) != 0)
		end_body(h2);
	return STATUS_OK;
}
