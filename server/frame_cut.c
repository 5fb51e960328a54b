/* Cutting of HTTP/2 input. */
#include "server/frame_cut.h"

#include <nghttp2/nghttp2.h>

#include "server/frame_scan.h"

static bool has_fields(const struct frame_head *head)
{
	return (head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION) && head->length <= FRAME_PAYLOAD_MAX;
}

static struct text take(struct text *input, size_t length)
{
	struct text taken = text_slice(*input, 0, length);
	*input = text_slice(*input, taken.length, input->length);
	return taken;
}

/* How much of the input is a run. */
static size_t pass_run(struct frame_cut *cut, struct text input)
{
	size_t at = 0;
	for (;;) {
		size_t left = input.length - at, passed = cut->pass < left ? cut->pass : left;
		at += passed;
		cut->pass -= passed;
		if (cut->pass > 0 || input.length - at < FRAME_HEAD)
			return at;
		struct frame_head head = frame_head_parse((const uint8_t *)input.bytes + at);
		if (has_fields(&head))
			return at;
		cut->pass = FRAME_HEAD + (size_t)head.length;
	}
}

/* Takes as much as makes it so long. False: there is less. */
static bool hold(struct frame_cut *cut, struct text *input, size_t length)
{
	if (cut->held.length < length)
		buffer_append(&cut->held, take(input, length - cut->held.length));
	return cut->held.length >= length;
}

/* More of what is held: its head, then its payload. */
static enum frame_piece fill(struct frame_cut *cut, struct text *input, struct text *piece)
{
	if (!hold(cut, input, FRAME_HEAD))
		return cut->held.failed ? PIECE_FAILED : PIECE_NONE;
	struct frame_head head = frame_head_parse((const uint8_t *)cut->held.bytes);
	bool is_run = !has_fields(&head);
	if (is_run)
		cut->pass = head.length;
	else if (!hold(cut, input, FRAME_HEAD + (size_t)head.length))
		return cut->held.failed ? PIECE_FAILED : PIECE_NONE;
	cut->is_given = true;
	*piece = buffer_text(&cut->held);
	return is_run ? PIECE_RUN : PIECE_FIELDS;
}

enum frame_piece frame_cut_next(struct frame_cut *cut, struct text *input, struct text *piece)
{
	if (cut->is_given)
		buffer_free(&cut->held);
	cut->is_given = false;
	if (input->length == 0)
		return PIECE_NONE;
	if (cut->held.length > 0)
		return fill(cut, input, piece);
	size_t run = pass_run(cut, *input);
	if (run > 0) {
		*piece = take(input, run);
		return PIECE_RUN;
	}
	if (input->length >= FRAME_HEAD) {
		struct frame_head head = frame_head_parse((const uint8_t *)input->bytes);
		if (input->length >= FRAME_HEAD + (size_t)head.length) {
			*piece = take(input, FRAME_HEAD + (size_t)head.length);
			return PIECE_FIELDS;
		}
	}
	buffer_append(&cut->held, take(input, input->length));
	return cut->held.failed ? PIECE_FAILED : PIECE_NONE;
}

bool frame_cut_is_waiting(const struct frame_cut *cut)
{
	return cut->held.length >= FRAME_HEAD && !cut->is_given;
}

void frame_cut_close(struct frame_cut *cut)
{
	buffer_free(&cut->held);
}
