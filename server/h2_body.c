/* Bodies of answers as DATA frames. TLS: head and payload are packed in the worker's frame buffer, and are one record.
 * Clear: the payload is produced where it leaves from, or lent, or stands in a pipe. */
#include <string.h>

#include "server/h2_private.h"

/* A DATA frame with its head is one TLS record. Larger ones only in the clear, to peers that take them: FRAME_MOST when
 * the body moves, so that no other stream waits long for a frame to end. */
enum { FRAME_TLS = 16384 - FRAME_HEAD, FRAME_SMALL = 16384, FRAME_LARGE = 64 * 1024 };

/* Where a frame's payload is. */
struct payload {
	enum { PACKED, GATHERED, LENT, PIPED } where;
	const uint8_t *lent;
	int pipe;
	size_t length;
};

static size_t least(size_t a, int64_t b)
{
	return (int64_t)a < b ? a : (size_t)b;
}

/* What the next frame may have, by its windows and its place; both windows are open. */
static size_t payload_room(const struct h2 *h2, const struct stream *stream)
{
	size_t most = h2->connection->ssl != NULL ? FRAME_TLS : stream_is_moving(stream) ? FRAME_MOST : FRAME_LARGE;
	return least(least(least(most, h2->frame_limit), h2->send_window), stream->send_window);
}

/* --- in the clear */

/* BODY_MORE without bytes: to be produced. */
static enum body_state lend(struct h2 *h2, struct stream *stream, size_t room, struct payload *payload)
{
	struct connection *connection = h2->connection;
	if (!stream_may_lend(stream, room) && (room = FRAME_SMALL, !stream_may_lend(stream, room)))
		return BODY_MORE;
	payload->where = PIPED;
	/* two calls a frame: smaller ones are copied as fast */
	enum body_state state =
		room < FRAME_LARGE ? BODY_MORE : stream_pipe(stream, room, &payload->pipe, &payload->length);
	if (state != BODY_MORE || payload->length > 0)
		return state;
	payload->where = LENT;
	connection_reserve(connection, FRAME_HEAD, room);
	state = stream_lend(stream, room, false, &payload->lent, &payload->length);
	if (state != BODY_MORE || payload->length > 0)
		return state;
	if (!block_turn_take(stream))
		return BODY_LATER;
	/* what was lent leaves first: its place is needed, and at the end its lender says whether it was right */
	stream_settle(stream);
	if (!connection_can_write(connection)) {
		block_turn_wait(stream);
		return BODY_LATER;
	}
	connection_reserve(connection, FRAME_HEAD, room);
	return stream_lend(stream, room, true, &payload->lent, &payload->length);
}

static enum body_state produce_clear(struct h2 *h2, struct stream *stream, size_t room, struct payload *payload)
{
	enum body_state state = lend(h2, stream, room, payload);
	if (state != BODY_MORE || payload->length > 0)
		return state;
	stream_settle(stream);
	if (room > FRAME_LARGE)
		room = FRAME_LARGE;
	payload->where = GATHERED;
	uint8_t *into = connection_reserve(h2->connection, FRAME_HEAD + room, 0) + FRAME_HEAD;
	return stream_produce(stream, into, room, &payload->length);
}

static enum body_state produce(struct h2 *h2, struct stream *stream, size_t room, struct payload *payload)
{
	if (h2->connection->ssl == NULL)
		return produce_clear(h2, stream, room, payload);
	payload->where = PACKED;
	return stream_produce(stream, h2->connection->engine->frame + FRAME_HEAD, room, &payload->length);
}

/* --- the frame */

static void send_clear(struct connection *connection, const struct payload *payload, const uint8_t *head)
{
	bool is_lent = payload->where == LENT;
	size_t gathered = payload->where == GATHERED ? FRAME_HEAD + payload->length : FRAME_HEAD;
	memcpy(connection_reserve(connection, gathered, is_lent ? payload->length : 0), head, FRAME_HEAD);
	connection_commit(connection, gathered);
	if (is_lent)
		connection_lend(connection, payload->lent, payload->length);
	if (payload->where == PIPED)
		connection_send_pipe(connection, payload->pipe, payload->length);
}

static void send_frame(struct h2 *h2, const struct stream *stream, const struct payload *payload, bool is_end)
{
	struct connection *connection = h2->connection;
	uint8_t clear_head[FRAME_HEAD], *head = payload->where == PACKED ? connection->engine->frame : clear_head;
	frame_head_write(head, payload->length, FRAME_DATA, is_end ? FLAG_END_STREAM : 0, stream->id);
	if (payload->where == PACKED)
		connection_write(connection, head, FRAME_HEAD + payload->length);
	else
		send_clear(connection, payload, head);
}

enum body_state h2_send_body(struct h2 *h2, struct stream *stream, size_t *written)
{
	struct payload payload = {0};
	enum body_state state = produce(h2, stream, payload_room(h2, stream), &payload);
	*written = 0;
	if (stream->is_abort_pending)
		state = BODY_FAILED;
	if (state != BODY_MORE && state != BODY_END)
		return state;
	bool is_end = state == BODY_END && stream->trailer_count == 0;
	if (payload.length == 0 && state == BODY_END && !is_end)
		return state; /* trailers are all that is left */
	h2->send_window -= (int64_t)payload.length;
	stream->send_window -= (int64_t)payload.length;
	send_frame(h2, stream, &payload, is_end);
	*written = FRAME_HEAD + payload.length;
	return state;
}
