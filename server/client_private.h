/* What the client's files share: calls, connections, origins and their life on one worker.
 *
 * Life: a call is created by client_call_start and recycled by the sweep (end of the turn) after client_call_close; a connection
 * is freed by the sweep after connection_kill; an origin when neither calls nor connections point at it. So every pointer stays
 * good until the end of the turn, whatever a callback does. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/client.h"
#include "server/h1_parse.h"
#include "server/resolver.h"

enum {
	BLOCK_SIZE = 256 * 1024, /* incoming bytes of one call */
	OUT_SIZE = 64 * 1024,    /* outgoing bytes of one connection or stream */
	TEXT_INLINE = 4096,
	HEAD_BYTES = 32 * 1024,
	HEAD_FIELDS = 100,
	INTERIM_MAX = 8,
	RULES_INLINE = 8,
	DIRECT_ROOM = 64 * 1024, /* from here on a read goes straight into the caller's memory */
	TICK_MS = 50,
	ORIGIN_BUCKETS = 1024,
	RETRIES_MAX = 2,
};

/* Pooled memory: while free, its first bytes are the link. */
struct pooled {
	struct pooled *next;
};
struct memory_pool {
	struct pooled *free;
	size_t size, count, keep;
};

/* Unread bytes [at, end) of a block, which is held only while there are some. */
struct intake {
	uint8_t *block;
	size_t at, end;
};

enum call_phase {
	CALL_WAITING, /* in its origin's queue */
	CALL_SENT,    /* has a connection; no final head yet */
	CALL_BODY,    /* on_head was or is about to be called */
	CALL_DONE,    /* body complete; the connection is given back */
	CALL_FAILED,
};

enum body_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_H2 };

struct client_call {
	struct client_call *next, *previous; /* all calls of the worker */
	struct client_call *queue_next, *queue_previous; /* waiting in the origin, or streams of a connection */
	struct client_call *pending_next;
	struct client *client;
	struct origin *origin;
	struct connection *connection;
	const struct client_events *events;
	void *state;

	enum call_phase phase;
	enum status error;
	uint64_t deadline_ms; /* 0: none */
	uint32_t read_ms;
	bool closed, pending, pending_head, pending_failed, pending_readable, pending_writable;
	bool want_readable, want_writable;
	bool method_head, method_idempotent;
	unsigned retries, interims;

	int64_t body_length; /* of the request */
	uint64_t body_taken;
	bool body_ended;

	enum body_framing framing;
	uint64_t left;
	struct h1_chunks chunks;
	bool keep_alive;

	int32_t stream;       /* HTTP/2 */
	bool stream_ended;    /* the peer's END_STREAM was seen */
	struct intake intake; /* HTTP/2 */
	uint8_t *out;         /* HTTP/2 request body, OUT_SIZE */
	size_t out_at, out_end;

	struct client_response response;
	size_t rules_count;
	struct network *rules;
	struct network rules_inline[RULES_INLINE];
	size_t text_length, text_room;
	char *text; /* the request head (HTTP/1.1 form) until the response's head takes its place */
	struct header headers[HEAD_FIELDS];
	char text_inline[TEXT_INLINE];
};

enum connection_phase { CONNECTION_RESOLVING, CONNECTION_CONNECTING, CONNECTION_TLS, CONNECTION_IDLE, CONNECTION_BUSY, CONNECTION_H2, CONNECTION_DEAD };

struct connection {
	struct connection *next, *previous;           /* all of the worker */
	struct connection *idle_next, *idle_previous; /* idle in the origin */
	struct connection *h2_next;
	struct client *client;
	struct origin *origin;
	enum connection_phase phase;
	int descriptor;
	SSL *ssl;
	struct event read_event, write_event;
	bool reading, writing; /* events registered */
	bool events_assigned;
	bool used;             /* a call has been answered on it */
	bool ended;            /* the peer closed its side */
	bool lent;             /* an idle one given away: a death before the first byte may be a race */
	uint64_t deadline_ms, idle_since_ms;
	struct resolver_request *request;
	struct resolver_answer *answer; /* checked addresses still to try */
	unsigned answer_at;
	union resolver_address peer;

	struct client_call *call; /* HTTP/1.1 */
	struct intake intake;
	size_t parsed; /* head bytes looked at */
	uint8_t *out;
	size_t out_at, out_end;

	nghttp2_session *session; /* HTTP/2 */
	struct client_call *streams;
	unsigned stream_count;
	bool going_away, in_session, flush_later;
};

struct origin {
	struct origin *next; /* in its bucket */
	struct client *client;
	struct identity *identity;
	unsigned references, connection_count, connecting, idle_count, waiting_count;
	struct connection *idle; /* most recent first */
	struct connection *h2;   /* HTTP/2 connections that take new streams */
	struct client_call *waiting_first, *waiting_last;
	SSL_SESSION *tls_session;
	bool tls, protocol_known, speaks_h2;
	uint16_t port;
	struct text host; /* inside key */
	size_t key_length;
	char key[]; /* length-prefixed (tenant, scheme, host, port, ca) and behind it the host with a NUL */
};

/* A TLS identity: one SSL_CTX a worker. */
struct identity {
	struct identity *next;
	SSL_CTX *context;
	char *ca_file; /* NULL: the system's */
};

struct client {
	struct worker *worker;
	struct client_pool *pool;
	const struct client_settings *settings;
	OSSL_LIB_CTX *library;
	struct identity *identities;
	struct client_call *calls;
	struct connection *connections, *dead;
	struct client_call *pending_first, **pending_end;
	struct client_call *closed;
	struct memory_pool blocks, outs, call_pool;
	struct task sweep;
	bool sweep_queued, tick_running, stopping;
	struct timer *tick;
	struct origin *origins[ORIGIN_BUCKETS];
};

struct client_pool {
	struct worker_pool *workers;
	struct client_settings settings;
	struct resolver *resolver;
	int slot;
};

enum client_metric {
	METRIC_CONNECTS,
	METRIC_REUSES,
	METRIC_RETRIES,
	METRIC_FAILED_CONNECT,
	METRIC_FAILED_TIMEOUT,
	METRIC_FAILED_PROTOCOL,
	METRIC_FAILED_FORBIDDEN,
	METRIC_FAILED_REFUSED,
	METRIC_FAILED_CLOSED,
	METRIC_COUNT
};
void client_count(enum client_metric metric);

/* --- client.c */
/* For tests: as client_pool_open, with the look-up of names replaced. */
enum status client_pool_open_with(struct worker_pool *workers, const struct client_settings *settings,
	void (*lookup)(const char *name, struct resolver_answer *answer), struct client_pool **pool, struct buffer *error)
	MUST_CHECK;
void *memory_take(struct memory_pool *pool);
void memory_give(struct memory_pool *pool, void *memory);
void intake_release(struct client *client, struct intake *intake);
/* Events put off to the end of the turn. */
void call_pending(struct client_call *call);
void sweep_later(struct client *client);
uint64_t client_now(const struct client *client);
/* Before the head: on_failed; after: BODY_FAILED. Detaches nothing. */
void call_fail(struct client_call *call, enum status why);
/* A call whose connection died before any byte of an answer: tried again when that is safe, else failed. `refused`: the peer
 * says it did not touch the request. */
void call_retry_or_fail(struct client_call *call, enum status why, bool refused);
/* Reads of the response may resume: on_readable if somebody waits for it. */
void call_wake(struct client_call *call);
/* Makes room for `room` bytes of text, keeping what is there. */
bool call_text_reserve(struct client_call *call, size_t room);

/* --- client_pool.c */
struct origin *origin_find(struct client *client, const struct client_request *request);
void origin_unref(struct origin *origin);
/* Gives connections to waiting calls and opens what is missing. Calls no event. */
void origin_pump(struct origin *origin);
void origin_enqueue(struct origin *origin, struct client_call *call, bool first);
void origin_dequeue(struct origin *origin, struct client_call *call);
void origin_fail_waiting(struct origin *origin, enum status why, bool all);
/* Removes the waiting calls whose rules forbid one of the addresses. */
void origin_guard(struct origin *origin, const struct resolver_answer *answer);
void origin_add_idle(struct origin *origin, struct connection *connection);
void origin_remove_idle(struct origin *origin, struct connection *connection);
void origin_add_h2(struct origin *origin, struct connection *connection);
void origin_remove_h2(struct origin *origin, struct connection *connection);

/* --- client_connection.c */
bool connection_open(struct origin *origin);
/* Closes the socket now and frees at the end of the turn; tells no call. */
void connection_kill(struct connection *connection);
/* Kills it and tells its calls, or the waiting ones if it was not up yet. */
void connection_fail(struct connection *connection, enum status why);
void connection_free(struct connection *connection);
void connection_want_read(struct connection *connection, bool want);
void connection_want_write(struct connection *connection, bool want);
enum io_result { IO_BYTES, IO_LATER, IO_ENDED, IO_BROKEN };
enum io_result connection_receive(struct connection *connection, uint8_t *into, size_t room, size_t *count);
/* Appends to the outgoing bytes: how many fitted. */
size_t connection_append(struct connection *connection, const void *bytes, size_t length);
/* Sends what is outgoing; false: the connection is broken (not yet killed). */
bool connection_flush(struct connection *connection);

/* --- client_h1.c */
void h1_assign(struct connection *connection, struct client_call *call);
void h1_on_read(struct connection *connection);
void h1_on_write(struct connection *connection);
enum body_state h1_read(struct client_call *call, uint8_t *into, size_t room, size_t *count);
size_t h1_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended);
/* The call lets go of its connection. */
void h1_detach(struct client_call *call);

/* --- client_h2.c */
bool h2_open(struct connection *connection);
bool h2_has_room(const struct connection *connection);
void h2_assign(struct connection *connection, struct client_call *call);
void h2_on_read(struct connection *connection);
void h2_flush(struct connection *connection);
enum body_state h2_read(struct client_call *call, uint8_t *into, size_t room, size_t *count);
size_t h2_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended);
/* Leaves the stream, resetting it when it is not over. */
void h2_detach(struct client_call *call);

/* --- client_tls.c */
/* NULL: out of memory or an unreadable file. */
struct identity *identity_find(struct client *client, struct text ca_file);
void identities_free(struct client *client);
SSL *tls_new(struct connection *connection);
