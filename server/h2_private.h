/* What the files of HTTP/2 share: the connection's session, and who does what with it. All on the connection's worker.
 */
#pragma once

#include "server/frame_reader.h"
#include "server/header_block.h"
#include "server/stream.h"
#include "server/stream_ids.h"

enum { HEAD_OUT_MAX = 256 * 1024, STREAM_BUCKETS = 16 };
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

/* A block of fields, in one frame or several. */
struct h2_block {
	int32_t id; /* its stream, as long as its end has not come; 0: none */
	enum fields_of of;
	struct stream *stream; /* NULL: nobody's that we know */
	bool is_end, is_lost;  /* END_STREAM; no request comes of it */
	unsigned continuations, trailers;
};

/* The DATA frame whose payload comes in. */
struct h2_body_in {
	struct stream *stream; /* NULL: nobody wants it */
	uint32_t padding;      /* still to come behind the body */
	bool has_padding;      /* the length of the padding comes next */
};

struct h2 {
	struct connection *connection;
	unsigned preface; /* bytes of it that have come */
	struct frame_reader reader;
	uint64_t waiting_ms; /* since when the end of a frame, or of a block of fields, is awaited */
	struct h2_block block;
	struct h2_body_in body_in;
	struct header_decoder decoder;
	/* streams */
	struct stream *streams; /* all */
	struct stream *buckets[STREAM_BUCKETS];
	struct stream_ids ids;
	int32_t last_opened;
	unsigned open;
	int64_t opened;
	struct send_queue answers, bodies; /* heads to be sent; bodies that may be sent */
	bool has_resets, has_receivers;    /* streams that are to be closed; whose runtime takes the body */
	/* what the peer lets us send */
	int64_t send_window;
	int32_t stream_send_window; /* of new streams */
	uint32_t frame_limit, table_limit;
	bool is_table_due; /* the next block says that we keep none */
	/* what we let the peer send */
	int64_t receive_window;
	size_t owed; /* taken out of it and to be given back */
	int32_t stream_receive_window;
	bool is_settled; /* the peer has heard our settings */
	bool has_settings;
	/* frames of control to be sent */
	struct buffer control;
	unsigned control_frames, control_acks;
	bool is_warned, is_last_announced, is_told; /* a GOAWAY was sent: why, or one was received */
	bool is_terminated;                         /* nothing follows */
	uint32_t excess_fields;
	struct penalty resets;
	uint64_t turn; /* what the two below count */
	unsigned turn_frames, turn_streams;
	struct buffer postponed; /* input for the turns to come, from `postponed_from` on */
	size_t postponed_from;
};

/* h2_control.c: frames without a body */
/* So many points; the connection may be at its end afterwards. */
void h2_charge(struct h2 *h2, unsigned points);
/* GOAWAY: streams that come later are not looked at. */
void h2_announce_last(struct h2 *h2);
/* GOAWAY, and the end. Returns PROTOCOL. */
enum status h2_terminate(struct h2 *h2, enum h2_error code);
void h2_send_control(struct h2 *h2, unsigned type, unsigned flags, int32_t id, struct text payload);
void h2_send_number(struct h2 *h2, unsigned type, int32_t id, uint32_t number);
/* The settings and the window we begin with. */
void h2_send_settings(struct h2 *h2);
/* Priorities are read and not followed; a stream that depends on itself is an error. */
bool h2_is_on_itself(const struct frame_head *head, const uint8_t *priority);
/* One whole frame. Not OK: the connection is at its end. */
enum status h2_take_control(struct h2 *h2, const struct frame_head *head, const uint8_t *payload) MUST_CHECK;

/* h2_streams.c */
/* NULL: it is closed, or was never there. */
struct stream *h2_find_stream(const struct h2 *h2, int32_t id);
/* With an id above the last; NULL when out of memory. */
struct stream *h2_open_stream(struct h2 *h2, int32_t id);
/* RST_STREAM: the stream is closed with the next flush. */
void h2_reset_stream(struct h2 *h2, struct stream *stream, enum h2_error code);
/* The stream's request was against the rules. */
void h2_reset_malformed(struct h2 *h2, struct stream *stream);
/* Now. */
void h2_close_stream(struct h2 *h2, struct stream *stream, bool is_clean);
void h2_close_resets(struct h2 *h2);
/* The request has ended: if all of the answer has gone, too, the stream is closed. */
void h2_note_end(struct h2 *h2, struct stream *stream);
/* Without calls of its runtime, which have been. */
void h2_free_stream(struct h2 *h2, struct stream *stream);
/* Gives back what was taken out of the peer's windows; `stream` may be NULL. */
void h2_credit(struct h2 *h2, struct stream *stream, size_t length);
/* A DATA frame begins; of a stream that is gone it is passed over. Not OK: the connection is at its end. */
enum status h2_begin_data(struct h2 *h2, const struct frame_head *head) MUST_CHECK;
/* A piece of its payload; is_last: nothing is left. */
enum status h2_take_data(struct h2 *h2, struct text piece, bool is_last) MUST_CHECK;

/* h2_fields.c */
/* A whole frame of fields. */
enum status h2_take_fields(struct h2 *h2, const struct frame_head *head, struct text payload) MUST_CHECK;

/* h2_input.c */
enum status h2_receive(struct connection *connection, const uint8_t *bytes, size_t length);

/* h2_answer.c */
extern const struct exchange_engine h2_engine;
void h2_abort_stream(struct exchange *exchange, enum status why);
void h2_flush(struct connection *connection);
void send_queue_add(struct send_queue *queue, struct stream *stream);
/* Also when it stands in none. */
void send_queue_leave(struct stream *stream);
/* The stream's body may be sent from now on, if it has one and the peer's window is open. */
void h2_queue_body(struct h2 *h2, struct stream *stream);
/* A block of fields as HEADERS and CONTINUATION frames; returns how many bytes they are. */
size_t h2_send_block(struct h2 *h2, int32_t id, struct text block, bool is_end);

/* h2_body.c */
/* The next frame of a body whose windows are open: what the runtime says of it, and how many bytes it is with its head.
 */
enum body_state h2_send_body(struct h2 *h2, struct stream *stream, size_t *written);
