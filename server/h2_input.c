/* What comes in, so much in a turn: whole frames to nghttp2, frames of fields to h2_fields.c, the rest to a later turn.
 */
#include "server/h2_private.h"

/* What one connection may have done in a turn before it waits behind the others. */
enum { TURN_FRAMES = 64, TURN_STREAMS = 32 };

static enum status take_head(struct h2 *h2, const struct frame_head *head)
{
	bool is_empty_data =
		head->type == NGHTTP2_DATA && head->length == 0 && (head->flags & NGHTTP2_FLAG_END_STREAM) == 0;
	h2->turn_frames++;
	if (is_empty_data || head->type > NGHTTP2_CONTINUATION) /* no progress, or an extension we do not speak */
		h2_charge(h2, COST_CONTROL);
	if (head->type == NGHTTP2_CONTINUATION)
		h2_charge(h2, COST_CONTINUATION);
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

enum status h2_hand_over(struct h2 *h2, const uint8_t *bytes, size_t length)
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

static enum status take_pieces(struct h2 *h2, struct text input)
{
	struct text piece;
	enum status status = STATUS_OK;
	while (status == STATUS_OK) {
		switch (frame_cut_next(&h2->cut, &input, &piece)) {
		case PIECE_NONE:
			return STATUS_OK;
		case PIECE_RUN:
			status = h2_hand_over(h2, (const uint8_t *)piece.bytes, piece.length);
			break;
		case PIECE_FIELDS:
			status = h2_take_fields(h2, piece);
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

enum status h2_receive(struct connection *connection, const uint8_t *bytes, size_t length)
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
