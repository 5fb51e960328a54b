/* HTTP/2: frames of fields, that is heads and trailers of requests. */
#include "server/h2_head.h"
#include "server/h2_private.h"

enum { PRIORITY_FIELD = 5 };

/* --- a field */

/* A field beyond the limits. Refusing is cheaper than serving, but not free: whoever goes on is cut off at once. */
static void charge_excess(struct h2 *h2)
{
	if (++h2->excess_fields % EXCESS_FIELDS == 0)
		h2_charge(h2, COST_CONTROL);
	if (h2->connection->is_closing)
		h2->block.of = FIELDS_DROPPED;
}

/* Trailers of a request: checked and counted, not kept. */
static void take_trailer(struct h2 *h2, struct stream *stream)
{
	if (++h2->block.trailers <= (unsigned)h2->connection->limits->header_fields)
		return;
	if (stream->is_finished) {
		charge_excess(h2);
		return;
	}
	exchange_abort(&stream->exchange, STATUS_REFUSED);
	h2_charge(h2, COST_REFUSED_HEAD);
}

/* The rest of the block is read and dropped, and no request comes of it. */
static void lose_head(struct h2 *h2)
{
	h2->block.of = FIELDS_DROPPED;
	h2->block.is_lost = true;
}

static void take_field(struct h2 *h2, struct stream *stream, const struct header_field *field)
{
	bool was_refused = stream->is_refused;
	enum status status = h2_head_add(stream, field);
	if (status == STATUS_NO_MEMORY) {
		h2_reset_stream(h2, stream, H2_INTERNAL_ERROR);
		lose_head(h2);
	}
	if (status != STATUS_REFUSED)
		return;
	if (was_refused) {
		charge_excess(h2);
		return;
	}
	h2_head_release(stream); /* nothing of it will be used */
	h2_charge(h2, COST_REFUSED_HEAD);
}

static void on_field(void *context, const struct header_field *field)
{
	struct h2 *h2 = context;
	struct stream *stream = h2->block.stream;
	bool is_trailer = h2->block.of == FIELDS_OF_TRAILERS;
	if (h2->block.of == FIELDS_DROPPED || stream == NULL)
		return;
	if (!h2_message_field(&stream->message, field->sense, field->value, is_trailer)) {
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

/* After a failure nothing of the connection can be understood. */
static enum status read_block(struct h2 *h2, struct text block, bool is_last)
{
	const struct header_sink sink = {on_field, h2};
	enum status status = header_block_read(
		&h2->decoder, (const uint8_t *)block.bytes, block.length, is_last, h2->connection->engine->strings, &sink);
	if (status != STATUS_OK)
		return h2_terminate(h2, status == STATUS_PROTOCOL ? H2_COMPRESSION_ERROR : H2_INTERNAL_ERROR);
	return h2->connection->is_closing ? STATUS_REFUSED : STATUS_OK;
}

/* --- the end of a block */

static bool is_well_formed(struct h2 *h2, struct stream *stream)
{
	bool is_head = h2->block.of == FIELDS_OF_REQUEST;
	if ((is_head ? h2_message_head(&stream->message) : h2->block.is_end) &&
		(!h2->block.is_end || h2_message_end(&stream->message)))
		return true;
	h2_reset_malformed(h2, stream);
	h2_charge(h2, COST_INVALID);
	return false;
}

static void take_request(struct h2 *h2, struct stream *stream)
{
	h2_head_complete(stream, h2->block.is_end);
	stream->is_end_seen = h2->block.is_end;
	stream_dispatch(stream);
	if (h2->block.is_end && stream->is_receiving && !stream->is_body_over)
		connection_flush_later(h2->connection);
}

static void end_block(struct h2 *h2)
{
	struct stream *stream = h2->block.stream;
	h2->block.id = 0;
	if (h2->block.is_lost || stream == NULL || stream->is_reset || !is_well_formed(h2, stream))
		return;
	if (h2->block.of == FIELDS_OF_REQUEST) {
		take_request(h2, stream);
		return;
	}
	if (!stream->is_finished)
		stream_deliver(stream, NULL, 0, true);
	if (!stream->is_reset)
		h2_note_end(h2, stream);
}

/* --- the beginning */

/* What stands between padding and priority; padding may leave nothing of it. */
static enum status cut_block(struct h2 *h2, const struct frame_head *head, struct text payload, struct text *block)
{
	size_t from = 0, padding = 0;
	if ((head->flags & FLAG_PADDED) != 0) {
		if (payload.length == 0)
			return h2_terminate(h2, H2_FRAME_SIZE_ERROR);
		padding = (uint8_t)payload.bytes[from++];
	}
	if (padding > payload.length - from)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	bool has_priority = (head->flags & FLAG_PRIORITY) != 0;
	size_t end = payload.length - padding, behind = from + (has_priority ? PRIORITY_FIELD : 0);
	if (behind > end)
		return h2_terminate(h2, H2_FRAME_SIZE_ERROR);
	if (has_priority && h2_is_on_itself(head, (const uint8_t *)payload.bytes + from))
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	*block = text_slice(payload, behind, end);
	return STATUS_OK;
}

/* A block that must be decoded, for the sake of the table, and that nobody will look at. */
static void begin_dropped(struct h2 *h2, unsigned points)
{
	h2->block.of = FIELDS_DROPPED;
	stream_ids_cut(&h2->ids, h2->block.id);
	h2_charge(h2, points);
}

static enum status begin_request(struct h2 *h2, const struct frame_head *head)
{
	const struct limits *limits = h2->connection->limits;
	stream_ids_add(&h2->ids, head->id);
	if (h2->is_warned) {
		begin_dropped(h2, COST_CONTROL + head->length / 256);
		return STATUS_OK;
	}
	if (h2->is_last_announced) { /* it may not have heard yet */
		begin_dropped(h2, COST_CONTROL + head->length / 4096);
		return STATUS_OK;
	}
	if (h2->open >= (unsigned)limits->streams_per_connection) {
		if (h2->is_settled) /* it knew */
			return h2_terminate(h2, H2_PROTOCOL_ERROR);
		begin_dropped(h2, COST_INVALID);
		h2_send_number(h2, FRAME_RST_STREAM, head->id, H2_REFUSED_STREAM);
		return STATUS_OK;
	}
	h2->block.stream = h2_open_stream(h2, head->id);
	h2->block.of = FIELDS_OF_REQUEST;
	return h2->block.stream == NULL ? h2_terminate(h2, H2_INTERNAL_ERROR) : STATUS_OK;
}

static enum status begin_block(struct h2 *h2, const struct frame_head *head)
{
	if (head->id % 2 == 0)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	h2->block = (struct h2_block){.id = head->id, .is_end = (head->flags & FLAG_END_STREAM) != 0};
	if ((head->flags & FLAG_END_HEADERS) == 0)
		h2->waiting_ms = worker_now_ms(h2->connection->engine->worker);
	if (head->id > h2->ids.last)
		return begin_request(h2, head);
	struct stream *stream = h2_find_stream(h2, head->id);
	if (stream != NULL && stream->is_end_seen)
		return h2_terminate(h2, H2_STREAM_CLOSED);
	if (stream != NULL) {
		h2->block.stream = stream;
		h2->block.of = FIELDS_OF_TRAILERS;
		return STATUS_OK;
	}
	enum stream_past past = stream_ids_past(&h2->ids, head->id);
	if (past != STREAM_CUT)
		return h2_terminate(h2, past == STREAM_SKIPPED ? H2_PROTOCOL_ERROR : H2_STREAM_CLOSED);
	begin_dropped(h2, COST_CONTROL + head->length / 256);
	return STATUS_OK;
}

static enum status go_on_block(struct h2 *h2, const struct frame_head *head)
{
	if (head->id == 0 || head->id != h2->block.id)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	h2_charge(h2, COST_CONTINUATION);
	if (++h2->block.continuations > (unsigned)h2->connection->limits->continuations)
		return h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	return STATUS_OK;
}

enum status h2_take_fields(struct h2 *h2, const struct frame_head *head, struct text payload)
{
	bool is_first = head->type == FRAME_HEADERS, is_last = (head->flags & FLAG_END_HEADERS) != 0;
	struct text block = payload;
	enum status status = is_first ? begin_block(h2, head) : go_on_block(h2, head);
	if (status == STATUS_OK && is_first)
		status = cut_block(h2, head, payload, &block);
	if (status == STATUS_OK && h2->connection->is_closing)
		status = STATUS_REFUSED;
	if (status == STATUS_OK)
		status = read_block(h2, block, is_last);
	if (status == STATUS_OK && is_last)
		end_block(h2);
	return status;
}
