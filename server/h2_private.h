/* What the files of HTTP/2 share: the connection's session, and who does what with it. All on the connection's worker.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/frame_cut.h"
#include "server/frame_scan.h"
#include "server/h2_body.h"
#include "server/header_block.h"
#include "server/stream.h"

enum { HEAD_OUT_MAX = 256 * 1024 };
/* What a peer pays for what it provokes. */
enum {
	COST_RESET = 3,
	COST_INVALID = 3,
	COST_CONTROL = 1,
	COST_SETTINGS = 2,
	COST_CONTINUATION = 2,
	COST_REFUSED_HEAD = 4,
	EXCESS_FIELDS = 16 /* for one point: decoded, though nobody will look at them */
};
/* Whose the fields are that come in. */
enum fields_of { FIELDS_DROPPED, FIELDS_OF_REQUEST, FIELDS_OF_TRAILERS };

struct h2 {
	struct h2_output output; /* first */
	struct connection *connection;
	struct frame_scan scan;
	struct frame_cut cut;
	uint64_t cut_ms; /* since when the end of a frame of fields is awaited */
	struct header_decoder decoder;
	struct text block;      /* of the frame of fields that nghttp2 is being given, as long as has_block */
	uint32_t fields_length; /* that frame's length as it came */
	int32_t block_id;       /* the stream whose block is not complete; 0: none */
	enum fields_of fields_of;
	bool has_block, is_block_last, is_head_lost, has_told_size;
	nghttp2_session *session;
	struct stream *streams;
	struct stream *answering; /* whose head is in the frame that is being sent */
	struct stream *found;     /* find_stream's */
	struct stream *heading;   /* whose fields are coming in; NULL: nobody's that we know */
	int64_t opened;
	unsigned trailer_fields;
	uint32_t excess_fields;
	uint64_t turn; /* what the two below count */
	unsigned turn_frames, turn_streams;
	struct buffer postponed; /* input for the turns to come, from `postponed_from` on */
	size_t postponed_from;
	bool is_warned, is_last_announced, has_settings, has_frame_buffer, is_answer_last;
	bool is_opening; /* what nghttp2 asks for now stays as long as its session */
};

/* h2_streams.c */
const nghttp2_session_callbacks *h2_callbacks(void);
/* So many points; the connection may be at its end afterwards. */
void h2_charge(struct h2 *h2, unsigned points);
/* A field beyond the limits. */
void h2_charge_excess(struct h2 *h2);
/* NULL: it is closed, or was never there. */
struct stream *h2_find_stream(struct h2 *h2, int32_t id);
/* Out of the connection's list; it is not freed. */
void h2_delist(struct h2 *h2, struct stream *stream);
/* GOAWAY: streams that come later are not looked at. */
void h2_announce_last(struct h2 *h2);
/* The stream ends; its request was against the rules. */
void h2_reset_malformed(struct h2 *h2, const struct stream *stream);

/* h2_fields.c */
/* The fields of the frame that nghttp2 is being given. After a failure nothing of the connection can be understood. */
enum status h2_read_block(struct h2 *h2) MUST_CHECK;
/* A whole frame of fields. */
enum status h2_take_fields(struct h2 *h2, struct text frame) MUST_CHECK;

/* h2_input.c */
enum status h2_receive(struct connection *connection, const uint8_t *bytes, size_t length);
/* To nghttp2. */
enum status h2_hand_over(struct h2 *h2, const uint8_t *bytes, size_t length) MUST_CHECK;

/* h2_answer.c */
extern const struct exchange_engine h2_engine;
int h2_on_frame_made(nghttp2_session *session, const nghttp2_frame *frame, void *context);
void h2_abort_stream(struct exchange *exchange, enum status why);
void h2_put_frame_length(uint8_t *head, size_t length);
void h2_flush(struct connection *connection);

/* h2_memory.c: for the session of `h2`. */
nghttp2_mem h2_memory(struct h2 *h2);
