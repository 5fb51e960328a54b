/* Cutting of HTTP/2 input. */
#include "server/frame_reader.h"

static struct text take(struct text *input, size_t length)
{
	struct text taken = {input->bytes, length < input->length ? length : input->length};
	input->bytes += taken.length;
	input->length -= taken.length;
	return taken;
}

static bool is_read_whole(const struct frame_head *head)
{
	return head->type != FRAME_DATA && head->type <= FRAME_CONTINUATION;
}

/* The head and what is there of its frame: what piece is it? PIECE_NONE: more of the frame is needed. */
static enum frame_piece look(struct frame_reader *reader, const struct frame_head *head, size_t there, size_t *length)
{
	*length = FRAME_HEAD;
	if (head->length > FRAME_PAYLOAD_MAX)
		return PIECE_LARGE;
	if (!is_read_whole(head)) {
		reader->head = *head;
		reader->left = head->length;
		return PIECE_BEGIN;
	}
	*length += head->length;
	return there >= *length ? PIECE_FRAME : PIECE_NONE;
}

/* Takes as much as makes it so long. False: there is less. */
static bool hold(struct frame_reader *reader, struct text *input, size_t length)
{
	if (reader->held.length < length)
		buffer_append(&reader->held, take(input, length - reader->held.length));
	return reader->held.length >= length;
}

/* More of what is held: its head, then its payload. */
static enum frame_piece fill(struct frame_reader *reader, struct text *input, struct text *piece)
{
	size_t length;
	if (!hold(reader, input, FRAME_HEAD))
		return reader->held.failed ? PIECE_FAILED : PIECE_NONE;
	struct frame_head head = frame_head_parse((const uint8_t *)reader->held.bytes);
	enum frame_piece kind = look(reader, &head, reader->held.length, &length);
	if (kind == PIECE_NONE && hold(reader, input, length))
		kind = PIECE_FRAME;
	if (kind == PIECE_NONE)
		return reader->held.failed ? PIECE_FAILED : PIECE_NONE;
	reader->is_given = true;
	*piece = buffer_text(&reader->held);
	return kind;
}

enum frame_piece frame_reader_next(struct frame_reader *reader, struct text *input, struct text *piece)
{
	if (reader->is_given)
		buffer_free(&reader->held);
	reader->is_given = false;
	if (input->length == 0)
		return PIECE_NONE;
	if (reader->left > 0) {
		*piece = take(input, reader->left);
		reader->left -= (uint32_t)piece->length;
		return PIECE_PAYLOAD;
	}
	if (reader->held.length > 0)
		return fill(reader, input, piece);
	if (input->length >= FRAME_HEAD) {
		struct frame_head head = frame_head_parse((const uint8_t *)input->bytes);
		size_t length;
		enum frame_piece kind = look(reader, &head, input->length, &length);
		if (kind != PIECE_NONE) {
			*piece = take(input, length);
			return kind;
		}
	}
	buffer_append(&reader->held, take(input, input->length));
	return reader->held.failed ? PIECE_FAILED : PIECE_NONE;
}

bool frame_reader_is_between(const struct frame_reader *reader)
{
	return reader->left == 0 && (reader->held.length == 0 || reader->is_given);
}

bool frame_reader_is_waiting(const struct frame_reader *reader)
{
	return reader->held.length >= FRAME_HEAD && !reader->is_given;
}

void frame_reader_close(struct frame_reader *reader)
{
	buffer_free(&reader->held);
}
