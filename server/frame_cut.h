/* HTTP/2 input cut into what nghttp2 takes as it comes, and whole frames of header fields. Pure: no input, no output.
 */
#pragma once

#include "server/base/text.h"

/* What a peer may send in one frame, as nobody told it otherwise. */
enum { FRAME_PAYLOAD_MAX = 16384 };

/* Begin with `pass` as long as the preface, all else zero. */
struct frame_cut {
	size_t pass;        /* bytes to the next frame's head */
	struct buffer held; /* a frame's beginning: less than a head, or fields whose end has not come */
	bool is_given;      /* what is held was given: it goes */
};

enum frame_piece {
	PIECE_NONE,   /* the input is used up */
	PIECE_RUN,    /* any bytes but frames of fields */
	PIECE_FIELDS, /* one HEADERS or CONTINUATION frame; larger ones than allowed are in runs */
	PIECE_FAILED, /* out of memory */
};

/* Takes the next piece off the input; it is valid until the next call. */
enum frame_piece frame_cut_next(struct frame_cut *cut, struct text *input, struct text *piece);
/* The end of a frame of fields is awaited. */
bool frame_cut_is_waiting(const struct frame_cut *cut);
void frame_cut_close(struct frame_cut *cut);
