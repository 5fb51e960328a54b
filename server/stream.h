/* A stream: an exchange with what the engine needs behind it, the same for HTTP/2 and HTTP/1.1. Private to server/. */
#pragma once

#include "server/connection.h"
#include "server/exchange.h"
#include "server/header_table.h"
#include "server/share.h"

enum { STREAM_ARENA = 3072, TRAILERS_MAX = 8, RESPONSE_HEADERS_MAX = 100 };

struct arena_block;

/* Streams of a connection that have something to send, in turn. */
struct send_queue {
	struct stream *first, **end;
};

struct stream {
	struct exchange exchange; /* first */
	struct share_waiter waiter;
	struct connection *connection;
	struct stream *next_free;
	struct stream *next, *previous; /* of the connection */
	/* HTTP/2: */
	int32_t id;
	struct stream *chain;                /* of the connection's table of ids */
	int64_t send_window, receive_window; /* what either may still send */
	size_t owed;                         /* taken out of the latter and to be given back */
	struct stream *send_next, **send_previous;
	struct send_queue *send_queue; /* in which it stands, if send_previous is set */
	bool is_sending;               /* the head is out, the body is not */
	bool is_reset, is_reset_clean; /* RST_STREAM is on its way; it says NO_ERROR */
	/* both: */
	bool is_dispatched, is_responded, is_finished, is_receiving, is_body_over, is_end_seen, is_deferred, is_refused,
		is_counted;
	bool is_busy; /* inside a callback of this exchange: an abort waits for its end */
	bool is_abort_pending;
	bool was_cut;
	uint64_t lent_in;  /* the send of the worker that memory of the runtime leaves with; 0: none was lent */
	bool reads_blocks; /* its source reads in larger pieces than the peer takes */
	struct stream *turn_next, **turn_previous; /* in the queue of the connection's block_turn */
	enum status abort_why;
	uint16_t refusal; /* HTTP status the head earned: answered without a runtime */
	uint16_t header_count, header_room;
	uint32_t header_bytes;
	struct header *headers;
	struct h2_message message;  /* HTTP/2 */
	struct header_entry **held; /* HTTP/2: what the fields point into */
	uint16_t held_count, held_room;
	uint16_t response_count, response_room;
	struct header *response_headers;
	const uint8_t *head; /* HTTP/2: the same, as it goes out; in the arena */
	size_t head_length;
	struct header trailers[TRAILERS_MAX];
	uint16_t trailer_count;
	void (*on_body)(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended);
	uint64_t unconsumed; /* delivered and not given back */
	int64_t started_us, progress_ms;
	uint64_t inline_sent; /* of response_text */
	size_t window_held;   /* HTTP/2: received and not yet given back to the peer's window */
	size_t discarded;     /* request bytes nobody wanted */
	struct buffer early;  /* request bytes that came before the runtime asked: at most the window */
	char *arena_at, *arena_end;
	struct arena_block *blocks;
	char traceparent[56];
	char arena[STREAM_ARENA];
};

struct stream *stream_of(const struct exchange *exchange);
/* Counts a field against the limits, before anything is stored. */
enum status stream_count_header(struct stream *stream, struct text name, struct text value) MUST_CHECK;
/* Lists a counted field; its texts must last as long as the stream. */
enum status stream_list_header(struct stream *stream, struct text name, struct text value) MUST_CHECK;
/* From the worker's free list; NULL when out of memory. The exchange is described, all else zero. */
struct stream *stream_new(struct connection *connection, const struct exchange_engine *engine);
/* Adds a request header, copied. REFUSED: a limit (the count and bytes are kept up all the same). */
enum status stream_add_header(struct stream *stream, struct text name, struct text value) MUST_CHECK;
/* Hands the complete request to the handler; refusals (stream->refusal) are answered here. */
void stream_dispatch(struct stream *stream);
/* Delivers a piece of the request body, or keeps it from a runtime that wants none. */
void stream_deliver(struct stream *stream, const uint8_t *bytes, size_t length, bool ended);
/* Produces response bytes into `frame`: asks the share, then the runtime, checks lengths. */
enum body_state stream_produce(struct stream *stream, uint8_t *frame, size_t room, size_t *count);
/* May `room` bytes be lent? Not when the body would end with them. */
bool stream_may_lend(const struct stream *stream, size_t room);
/* As stream_produce, without copying. BODY_MORE without bytes: nothing is there to be lent; what was lent must leave
 * (stream_settle) before it may read from its source, and if that gives nothing either, it is to be produced. */
enum body_state stream_lend(struct stream *stream, size_t room, bool may_read, const uint8_t **bytes, size_t *count);
/* As stream_lend, by a pipe, in which nothing of it may be left afterwards. */
enum body_state stream_pipe(struct stream *stream, size_t room, int *pipe, size_t *count);
/* What the stream lent is sent or copied. */
void stream_settle(struct stream *stream);
/* on_close, on_leave, the access log, the metrics; once. */
void stream_finish(struct stream *stream, enum status outcome);
/* Delivers what came before the runtime asked. */
void stream_deliver_early(struct stream *stream);
void stream_drop_arena(struct stream *stream);
/* Back to the free list. Must be finished. */
void stream_free(struct stream *stream);
/* Since its start. That is by the exact clock, which may be ahead of the loop's `now_ms`: then 0. */
uint64_t stream_age_ms(const struct stream *stream, uint64_t now_ms);
/* Its peer has taken much, and lately. */
bool stream_is_moving(const struct stream *stream);
/* May a response of this exchange have a body? */
bool stream_has_body(const struct stream *stream);
void streams_release(struct engine *engine);
void stream_register_metrics(void);
