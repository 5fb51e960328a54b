/* HTTP/2 input cut into frames, wherever the reads cut it. Pure: no input, no output. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/text.h"
#include "server/h2_wire.h"

/* All-zero to begin with, behind the preface. */
struct frame_reader {
	struct frame_head head; /* of the frame whose payload comes in pieces */
	uint32_t left;          /* of that payload */
	struct buffer held;     /* a frame's beginning: less than a head, or less than a frame that is read whole */
	bool is_given;          /* what is held was given: it goes */
};

enum frame_piece {
	PIECE_NONE,    /* the input is used up */
	PIECE_FRAME,   /* a whole frame, its head included */
	PIECE_BEGIN,   /* the head of DATA, or of an extension: the payload comes in pieces */
	PIECE_PAYLOAD, /* a piece of it, the last when nothing is left; `head` is still that frame's */
	PIECE_LARGE,   /* the head of a frame above FRAME_PAYLOAD_MAX: there is no going on */
	PIECE_FAILED,  /* out of memory */
};

/* Takes the next piece off the input; it is valid until the next call. */
enum frame_piece frame_reader_next(struct frame_reader *reader, struct text *input, struct text *piece);
/* What comes next is a head's first byte. */
bool frame_reader_is_between(const struct frame_reader *reader);
/* The end of a frame that is read whole is awaited. */
bool frame_reader_is_waiting(const struct frame_reader *reader);
void frame_reader_close(struct frame_reader *reader);
