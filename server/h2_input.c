/* HTTP/2: what comes in, so much in a turn, frame by frame to who takes it; the rest is left to a later turn. */
#include "server/h2_private.h"

/* What one connection may have done in a turn before it waits behind the others. */
enum { TURN_FRAMES = 64, TURN_STREAMS = 32 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE = sizeof(preface) - 1 };

static bool is_turn_over(const struct h2 *h2)
{
	return h2->turn_frames >= TURN_FRAMES || h2->turn_streams >= TURN_STREAMS;
}

static enum status begin_frame(struct h2 *h2, const struct frame_head *head)
{
	bool is_empty_data = head->type == FRAME_DATA && head->length == 0 && (head->flags & FLAG_END_STREAM) == 0;
	h2->turn_frames++;
	h2->turn_streams += head->type == FRAME_HEADERS;
	if (!h2->has_settings && head->type != FRAME_SETTINGS)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	if (h2->block.id != 0 && head->type != FRAME_CONTINUATION)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	if (is_empty_data || head->type > FRAME_CONTINUATION) /* no progress, or an extension we do not speak */
		h2_charge(h2, COST_CONTROL);
	return h2->connection->is_closing ? STATUS_REFUSED : STATUS_OK;
}

static enum status take_frame(struct h2 *h2, struct text frame)
{
	struct frame_head head = frame_head_parse((const uint8_t *)frame.bytes);
	enum status status = begin_frame(h2, &head);
	if (status != STATUS_OK)
		return status;
	struct text payload = text_slice(frame, FRAME_HEAD, frame.length);
	status = head.type == FRAME_HEADERS || head.type == FRAME_CONTINUATION
				 ? h2_take_fields(h2, &head, payload)
				 : h2_take_control(h2, &head, (const uint8_t *)payload.bytes);
	return status == STATUS_OK && h2->connection->is_closing ? STATUS_REFUSED : status;
}

static enum status begin_payload(struct h2 *h2)
{
	const struct frame_head *head = &h2->reader.head;
	enum status status = begin_frame(h2, head);
	if (status == STATUS_OK && head->type == FRAME_DATA) {
		status = h2_begin_data(h2, head);
		if (status == STATUS_OK && head->length == 0)
			status = h2_take_data(h2, TEXT_NONE, true);
	}
	return status;
}

static enum status take_payload(struct h2 *h2, struct text piece)
{
	if (h2->reader.head.type != FRAME_DATA)
		return STATUS_OK;
	return h2_take_data(h2, piece, h2->reader.left == 0);
}

static enum status take_piece(struct h2 *h2, enum frame_piece kind, struct text piece)
{
	switch (kind) {
	case PIECE_NONE:
		return STATUS_OK;
	case PIECE_FRAME:
		return take_frame(h2, piece);
	case PIECE_BEGIN:
		return begin_payload(h2);
	case PIECE_PAYLOAD:
		return take_payload(h2, piece);
	case PIECE_LARGE:
		return h2_terminate(h2, H2_FRAME_SIZE_ERROR);
	case PIECE_FAILED:
		return STATUS_NO_MEMORY;
	}
	return STATUS_INTERNAL;
}

/* Its rest, from where it was. */
static enum status take_preface(struct h2 *h2, struct text *input)
{
	size_t left = PREFACE - h2->preface, part = input->length < left ? input->length : left;
	if (part > 0 && memcmp(input->bytes, preface + h2->preface, part) != 0)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	h2->preface += (unsigned)part;
	*input = text_slice(*input, part, input->length);
	return STATUS_OK;
}

static enum status check_queue(struct h2 *h2)
{
	if (h2->control_frames <= (unsigned)h2->connection->limits->queued_frames)
		return STATUS_OK;
	(void)h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	return STATUS_REFUSED;
}

/* As much of the input as is for this turn: to the end of a frame when there were many. */
static enum status take_input(struct h2 *h2, struct text *input)
{
	bool was_waiting = frame_reader_is_waiting(&h2->reader);
	enum status status = h2->connection->is_closing ? STATUS_REFUSED : take_preface(h2, input);
	while (status == STATUS_OK && !(is_turn_over(h2) && frame_reader_is_between(&h2->reader))) {
		struct text piece;
		enum frame_piece kind = frame_reader_next(&h2->reader, input, &piece);
		if (kind == PIECE_NONE)
			break;
		status = take_piece(h2, kind, piece);
	}
	if (!was_waiting && frame_reader_is_waiting(&h2->reader))
		h2->waiting_ms = worker_now_ms(h2->connection->engine->worker);
	return status == STATUS_OK ? check_queue(h2) : status;
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
static enum status take_postponed(struct h2 *h2)
{
	struct text left = text_slice(buffer_text(&h2->postponed), h2->postponed_from, h2->postponed.length);
	enum status status = take_input(h2, &left);
	h2->postponed_from = h2->postponed.length - left.length;
	if (left.length == 0) {
		buffer_free(&h2->postponed);
		h2->postponed_from = 0;
	}
	return status;
}

enum status h2_receive(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct h2 *h2 = connection->session;
	struct text input = {(const char *)bytes, length};
	enum status status = STATUS_OK;
	begin_turn(h2);
	if (!connection->is_input_held)
		status = take_input(h2, &input);
	else if (!is_turn_over(h2))
		status = take_postponed(h2);
	if (status == STATUS_OK && input.length > 0)
		buffer_append(&h2->postponed, input);
	connection->is_input_held = h2->postponed.length > 0;
	return h2->postponed.failed ? STATUS_NO_MEMORY : status;
}
