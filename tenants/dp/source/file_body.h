/* The body of an answer from a file: a row of pieces, each a text or bytes of the file. A file that changes meanwhile
 * fails it. */
#pragma once

#include "server/range.h"
#include "tenants/dp/source/file_digests.h"

struct file_piece {
	struct text text; /* absent: bytes of the file */
	int64_t offset, length;
};

enum { FILE_PIECES_MAX = 2 * RANGES_MAX + 1 };

/* The first member of what the pull has as `source_state`; all-zero but for the file and the room for pieces: one when
 * the whole is asked for without conditions or wishes, else FILE_PIECES_MAX. */
struct file_body {
	const struct open_file *file; /* the owner's to release, after the body is closed */
	struct file_piece *pieces;
	struct file_digests digests;
	struct file_window window;
	unsigned piece, count;
	int64_t at;        /* inside the piece */
	int64_t unchecked; /* bytes copied since the file was last seen unchanged */
};

/* Lays out the ranges, several as multipart/byteranges, and adds the fields that say which they are. The exchange's
 * status is set. False: out of memory. */
bool file_body_plan(struct exchange *exchange, struct file_body *body, const struct byte_ranges *ranges,
	struct text content_type) MUST_CHECK;
/* The exchange's body is this one from here on. False: out of memory. */
bool file_body_begin(struct exchange *exchange, struct file_body *body) MUST_CHECK;
/* Says which bytes of the file have left (pull_sent), and ends it. tag: absent, nothing was answered. */
void file_body_close(struct pull *pull, struct file_body *body, struct text tag);
