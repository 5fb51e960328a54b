/* An exchange: one HTTP request and its response, the same for HTTP/2 and HTTP/1.1, as a runtime sees it.
 *
 * Life: the engine builds it when the request head is complete and hands it to the handler (once, on the worker's
 * thread). The runtime answers by filling the response half and calling exchange_respond, then or in a later turn. The
 * response body is pulled: read_body is called only when its bytes can leave. on_close runs exactly once, whatever
 * ended the exchange; afterwards the exchange and all it lent are gone. A runtime that gives no answer in its handler
 * must set on_close.
 *
 * All texts and headers of the request, and all memory of exchange_allocate, are valid until on_close returns. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"
#include "server/worker.h"

struct exchange;
struct exchange_engine;
struct known_fields;
struct share;

struct header {
	struct text name, value; /* names are lower-case */
};

enum body_state {
	BODY_MORE,   /* *count bytes were produced (> 0), more may follow */
	BODY_END,    /* *count bytes were produced (0 allowed), the body is complete */
	BODY_LATER,  /* nothing now: exchange_resume will be called */
	BODY_FAILED, /* the body cannot be completed: the stream is reset, never ended cleanly */
};

enum listener_role { LISTENER_PUBLIC, LISTENER_ADMIN };

/* Metrics (metric.h) of one kind of request. */
struct exchange_meter {
	int head_time, failures; /* a histogram, from head to head; a counter of answers of class 5xx */
};

struct exchange {
	/* --- request, set by the engine */
	struct worker *worker;
	const struct exchange_engine *engine;
	struct text method;    /* as sent: "GET" */
	struct text scheme;    /* "https" or "http", of the connection */
	struct text authority; /* host[:port], lower-case, validated; Host and :authority agree */
	struct text target;    /* origin form: path[?query], validated: starts with '/', no fragment, no control bytes */
	const struct header *headers;
	unsigned header_count;
	int64_t request_length;      /* -1: unknown; 0: no body */
	struct text peer;            /* address without port; behind PROXY protocol the real client's */
	struct text client_identity; /* verified client certificate: first URI SAN, else subject CN; else absent */
	enum listener_role listener;
	bool trusted_ingress;    /* the peer address is in server.trusted_ingress (or the listener is marked so) */
	struct text traceparent; /* valid one of the request, or made here */

	/* --- set by the router before the runtime runs */
	struct text tenant; /* for the access log and pools; absent when unknown. Must outlive the exchange (copy with
						   exchange_copy). */
	const struct exchange_meter
		*meter;          /* where its time and its failure are counted besides the engine's own; may be NULL */
	struct share *share; /* fair share and bandwidth; NULL = the worker's common one */

	/* --- response, set by the runtime before exchange_respond */
	int status;
	int64_t response_length;   /* -1: unknown (the default). HEAD: the length GET would have */
	struct text response_text; /* a whole small body in memory, borrowed until on_close; used when read_body is NULL */
	/* Produces at most `room` bytes into `frame`. Called only after exchange_respond and only when the bytes can leave.
	 */
	enum body_state (*read_body)(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count);
	/* For sources that read in larger pieces than the peer takes. `read_ahead`, the engine's: how many bytes may be
	 * held beyond those that read_body gives; it shrinks with what the connection's other exchanges hold. `held`, the
	 * runtime's: how many are, after each read_body and lend_body. */
	size_t read_ahead, held;
	/* Optional, for clear HTTP/2: lends at most `room` bytes, which stay where they are until the next read_body, a
	 * lend_body that may read, or on_close; of a mapped file pages may vanish, but not change hands
	 * (server/base/mapping.h). BODY_MORE without bytes: none are there; with `may_read`, which comes after everything
	 * lent has been sent, that read_body is to be called instead. Asked only while more than `room` is left of
	 * response_length: the end always comes from read_body. */
	enum body_state (*lend_body)(
		struct exchange *exchange, size_t room, bool may_read, const uint8_t **bytes, size_t *count);
	/* Optional, for clear HTTP/2, asked as lend_body and before it, while the body moves: the next *count bytes stand
	 * in `pipe`, and are taken out of it before anything else is asked. BODY_MORE without bytes: lend or read instead.
	 */
	enum body_state (*pipe_body)(struct exchange *exchange, size_t room, int *pipe, size_t *count);
	/* Optional, clear HTTP/1.1 only: the body is this range of a regular file (borrowed until on_close); read_body must
	 * be able to produce the same bytes. file_descriptor -1: none. */
	int file_descriptor;
	int64_t file_offset;
	/* Optional: headers that stand beside those of exchange_add_header, printed before (known_fields.h); borrowed until
	 * on_close. */
	const struct known_fields *known;
	/* A trailer will follow the body: HTTP/1.1 then sends chunks, also when the length is known. */
	bool has_trailers;

	/* --- the runtime's own */
	struct text note; /* for the access log: why it was refused or stopped; a literal, or alive until on_close */
	void (*on_close)(struct exchange *exchange, enum status outcome); /* OK: the response left whole */
	void *state;

	struct body_collector *collector; /* collect_body's own (answer.c) */
	/* The router's: runs right after on_close, to take back what admission lent. */
	void (*on_leave)(struct exchange *exchange);
	void *leave_state;
	const void
		*connection; /* identity of the connection, for counting distinct ones; never dereferenced outside the engine */

	/* --- the engine's books, for whoever meters: body bytes handed to the connection / received */
	uint64_t bytes_sent, bytes_received;
};

/* The value of the first header of this (lower-case) name; TEXT_NONE when absent. Repeated headers other than cookie
 * are joined by ", " only with exchange_header_all. */
struct text exchange_header(const struct exchange *exchange, struct text name);
/* How many headers carry this name. */
unsigned exchange_header_count(const struct exchange *exchange, struct text name);
/* The whole query without '?', TEXT_NONE when there is none; the path without it. */
struct text exchange_path(const struct exchange *exchange);
struct text exchange_query(const struct exchange *exchange);

/* Memory that lives as long as the exchange; NULL when out of memory. */
void *exchange_allocate(struct exchange *exchange, size_t size);
struct text exchange_copy(struct exchange *exchange, struct text text);

/* Adds a response header; name lower-case; both borrowed until on_close (literals or exchange_allocate'd). Pseudo and
 * connection headers, content-length and date are the engine's. False when a limit is reached. */
bool exchange_add_header(struct exchange *exchange, struct text name, struct text value);
/* The same of a value that goes before: it is copied. False also when it is absent, or out of memory. */
static inline bool exchange_add_header_copy(struct exchange *exchange, struct text name, struct text value)
{
	struct text copy = exchange_copy(exchange, value);
	return copy.bytes != NULL && exchange_add_header(exchange, name, copy);
}
/* Added after the body (h2 and chunked h1), before read_body returns BODY_END. */
bool exchange_add_trailer(struct exchange *exchange, struct text name, struct text value);

/* Takes the request body: called for each piece as it arrives, `ended` with the last (which may be empty). Without this
 * call the body is discarded (within a limit) and the peer told to stop. Sends 100 Continue when the peer waits for it.
 * Nothing is delivered inside this call. Each byte delivered must be given back by exchange_consume, at once or when it
 * has gone on: that opens the peer's window. */
void exchange_receive(struct exchange *exchange,
	void (*on_body)(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended));
void exchange_consume(struct exchange *exchange, size_t length);

/* Sends the head; once. Allowed in the handler, in any callback of the exchange but read_body and on_close, or in a
 * later turn. */
void exchange_respond(struct exchange *exchange);
bool exchange_responded(const struct exchange *exchange);
/* read_body has something after BODY_LATER. */
void exchange_resume(struct exchange *exchange);
/* Ends the exchange now: no more bytes of it are produced; h2: RST_STREAM, h1: the connection closes. on_close(why)
 * runs before this returns, unless called from inside a callback of this exchange: then right after it. Not for use in
 * on_close. */
void exchange_abort(struct exchange *exchange, enum status why);

/* Body bytes that have left: bytes_sent, of a file that is on its way without those that stand in the kernel. These
 * never leave when the exchange ends before they do. */
uint64_t exchange_sent(const struct exchange *exchange);

/* What a connection type implements. */
struct exchange_engine {
	void (*respond)(struct exchange *exchange);
	void (*resume)(struct exchange *exchange);
	void (*receive)(struct exchange *exchange);
	void (*consume)(struct exchange *exchange, size_t length);
	void (*abort)(struct exchange *exchange, enum status why);
	uint64_t (*unsent)(const struct exchange *exchange); /* of a file: in the kernel. NULL: sends none */
};

/* The one handler the engine is given. */
struct handler {
	void (*on_request)(void *context, struct exchange *exchange);
	void *context;
};
