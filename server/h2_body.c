/* TLS: nghttp2 packs head and payload into the worker's frame buffer, which becomes one record. Clear: the payload is
 * produced where it leaves from, or lent; nghttp2 gives the head alone. */
#include "server/h2_body.h"

#include <string.h>

/* A DATA frame with its head is one TLS record. Larger ones only in the clear, to peers that take them: FRAME_MOST when
 * the body moves, so that no other stream waits long for a frame to end. */
enum { FRAME_HEAD = 9, FRAME_TLS = 16384 - FRAME_HEAD, FRAME_SMALL = 16384, FRAME_LARGE = 64 * 1024 };
enum { PAUSE_AFTER = 512 * 1024 };

static uint32_t most_payload(const struct connection *connection, const struct stream *stream, uint32_t frame_limit)
{
	if (connection->ssl != NULL)
		return FRAME_TLS < frame_limit ? FRAME_TLS : frame_limit;
	uint32_t most = stream != NULL && stream_is_moving(stream) ? FRAME_MOST : FRAME_LARGE;
	return most < frame_limit ? most : frame_limit;
}

static ssize_t frame_length(nghttp2_session *session, uint8_t type, int32_t id, int32_t session_window,
	int32_t stream_window, uint32_t frame_limit, void *context)
{
	struct h2_output *output = context;
	const struct stream *stream =
		output->connection->ssl != NULL ? NULL : nghttp2_session_get_stream_user_data(session, id);
	int32_t length = (int32_t)most_payload(output->connection, stream, frame_limit);
	(void)type;
	if (length > session_window)
		length = session_window;
	if (length > stream_window)
		length = stream_window;
	output->frame_room = length > FRAME_SMALL ? (size_t)length : 0;
	return length;
}

static void submit_trailers(nghttp2_session *session, struct stream *stream)
{
	nghttp2_nv fields[TRAILERS_MAX];
	for (unsigned i = 0; i < stream->trailer_count; i++) {
		const struct header *trailer = &stream->trailers[i];
		fields[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)trailer->name.bytes, (uint8_t *)(uintptr_t)trailer->value.bytes,
			trailer->name.length, trailer->value.length, NGHTTP2_NV_FLAG_NONE};
	}
	nghttp2_submit_trailer(session, stream->id, fields, stream->trailer_count);
}

static ssize_t end_produce(
	nghttp2_session *session, struct stream *stream, enum body_state state, size_t count, uint32_t *flags)
{
	if (stream->is_abort_pending)
		state = BODY_FAILED;
	switch (state) {
	case BODY_MORE:
		return (ssize_t)count;
	case BODY_LATER:
		return NGHTTP2_ERR_DEFERRED;
	case BODY_FAILED:
		stream->was_cut = true; /* our source's fault, not the peer's */
		if (!stream->is_abort_pending) {
			stream->is_abort_pending = true;
			stream->abort_why = STATUS_IO;
		}
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	case BODY_END:
		break;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (stream->trailer_count > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		submit_trailers(session, stream);
	}
	return (ssize_t)count;
}

static ssize_t on_produce(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *context)
{
	struct stream *stream = source->ptr;
	size_t count;
	(void)id, (void)context;
	enum body_state state = stream_produce(stream, into, room, &count);
	return end_produce(session, stream, state, count, flags);
}

/* BODY_MORE without bytes: to be produced. */
static enum body_state lend(struct h2_output *output, struct stream *stream, size_t room, size_t *count)
{
	if (!stream_may_lend(stream, room) && (room = FRAME_SMALL, !stream_may_lend(stream, room)))
		return BODY_MORE;
	/* two calls a frame: smaller ones are copied as fast */
	enum body_state state = room < FRAME_LARGE ? BODY_MORE : stream_pipe(stream, room, &output->pipe, count);
	output->has_pipe = *count > 0;
	if (state != BODY_MORE || *count > 0)
		return state;
	connection_reserve(output->connection, FRAME_HEAD, room);
	state = stream_lend(stream, room, false, &output->lent, count);
	if (state != BODY_MORE || *count > 0)
		return state;
	if (!block_turn_take(stream))
		return BODY_LATER;
	/* what was lent leaves first: its place is needed, and at the end its lender says whether it was right */
	stream_settle(stream);
	if (!connection_can_write(output->connection)) {
		block_turn_wait(stream);
		return BODY_LATER;
	}
	connection_reserve(output->connection, FRAME_HEAD, room);
	return stream_lend(stream, room, true, &output->lent, count);
}

static enum body_state produce_clear(struct h2_output *output, struct stream *stream, size_t room, size_t *count)
{
	output->lent = NULL;
	output->has_pipe = false;
	enum body_state state = lend(output, stream, room, count);
	if (state != BODY_MORE || *count > 0)
		return state;
	stream_settle(stream);
	output->lent = NULL;
	if (room > FRAME_LARGE)
		room = FRAME_LARGE;
	return stream_produce(
		stream, connection_reserve(output->connection, FRAME_HEAD + room, 0) + FRAME_HEAD, room, count);
}

static ssize_t on_produce_clear(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *context)
{
	struct stream *stream = source->ptr;
	size_t count = 0;
	(void)id, (void)into;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	enum body_state state = produce_clear(context, stream, room, &count);
	return end_produce(session, stream, state, count, flags);
}

/* The frame that was just produced leaves with this head. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
	nghttp2_data_source *source, void *context)
{
	struct h2_output *output = context;
	struct connection *connection = output->connection;
	(void)session, (void)frame, (void)source;
	bool is_lent = output->lent != NULL;
	size_t gathered = is_lent || output->has_pipe ? FRAME_HEAD : FRAME_HEAD + length;
	memcpy(connection_reserve(connection, gathered, is_lent ? length : 0), head, FRAME_HEAD);
	connection_commit(connection, gathered);
	if (is_lent)
		connection_lend(connection, output->lent, length);
	if (output->has_pipe)
		connection_send_pipe(connection, output->pipe, length);
	output->written += FRAME_HEAD + length;
	output->is_paused = output->written >= PAUSE_AFTER || !connection_can_write(connection);
	return output->is_paused ? NGHTTP2_ERR_PAUSE : 0;
}

void h2_body_register(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_length);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}

nghttp2_data_provider h2_body_provider(struct stream *stream)
{
	return (nghttp2_data_provider){
		.source.ptr = stream, .read_callback = stream->connection->ssl != NULL ? on_produce : on_produce_clear};
}
