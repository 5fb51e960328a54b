/* Fields of requests and trailers: their blocks are read here, and nghttp2 gets their frames without them. */
#include <string.h>

#include "server/frame_cut.h"
#include "server/h2_head.h"
#include "server/h2_private.h"

enum { PRIORITY_FIELD = 5, SIZE_ZERO = 0x20 };

/* --- a field */

/* Trailers of a request: checked and counted, not kept. */
static void take_trailer(struct h2 *h2, struct stream *stream)
{
	if (++h2->trailer_fields <= h2->connection->limits->header_fields)
		return;
	if (stream == NULL || stream->is_finished) {
		h2_charge_excess(h2);
		return;
	}
	exchange_abort(&stream->exchange, STATUS_REFUSED);
	h2_charge(h2, COST_REFUSED_HEAD);
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
		h2_charge_excess(h2);
		return;
	}
	h2_head_release(stream); /* nothing of it will be used */
	h2_charge(h2, COST_REFUSED_HEAD);
}

static void on_field(void *context, const struct header_field *field)
{
	struct h2 *h2 = context;
	struct stream *stream = h2->heading;
	bool is_trailer = h2->fields_of == FIELDS_OF_TRAILERS;
	if (h2->fields_of == FIELDS_DROPPED || (stream == NULL && !is_trailer))
		return;
	if (stream != NULL && !h2_message_field(&stream->message, field->sense, field->value, is_trailer)) {
		h2_reset_malformed(h2, stream);
		h2_charge(h2, COST_INVALID);
		lose_head(h2);
		return;
	}
	if (is_trailer)
		take_trailer(h2, stream);
	else
		take_field(h2, stream, field);
}

/* The fields of the frame that nghttp2 is being given. After a failure nothing of the connection can be understood. */
enum status h2_read_block(struct h2 *h2)
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

/* --- the frame */

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
	h2_put_frame_length(into, length - FRAME_HEAD);
	return length;
}

enum status h2_take_fields(struct h2 *h2, struct text frame)
{
	uint8_t stub[FRAME_HEAD + PRIORITY_FIELD + 1];
	struct frame_head head = frame_head_parse((const uint8_t *)frame.bytes);
	struct text priority;
	bool is_first = head.type == NGHTTP2_HEADERS;
	enum status status = STATUS_OK;
	h2->fields_length = head.length;
	if ((is_first ? h2->block_id != 0 : h2->block_id != head.id || head.id == 0) ||
		!find_block(frame, &head, &priority, &h2->block))
		return h2_hand_over(h2, (const uint8_t *)frame.bytes, frame.length); /* it ends the connection */
	h2->is_block_last = (head.flags & NGHTTP2_FLAG_END_HEADERS) != 0;
	h2->block_id = h2->is_block_last ? 0 : head.id;
	h2->has_block = true;
	if (is_first) {
		h2->fields_of = FIELDS_DROPPED; /* unless nghttp2 says more of it */
		h2->is_head_lost = false;
		h2->heading = NULL;
	} else {
		status = h2_read_block(h2);
	}
	if (status == STATUS_OK)
		status = h2_hand_over(h2, stub, write_stub(h2, stub, frame, priority));
	if (status == STATUS_OK && h2->has_block)
		status = h2_read_block(h2);
	h2->has_block = false;
	return status;
}
