/* What the client's files share. An origin is one pool: (tenant, scheme, host, port, TLS identity) on one worker. */
#pragma once

#include <event2/event.h>
#include <openssl/ssl.h>

#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/client.h"
#include "server/h1_parse.h"
#include "server/known_head.h"
#include "server/own_sockets.h"
#include "server/pipes.h"
#include "server/resolver.h"

enum {
	CLIENT_BLOCK = 512 * 1024,
	CLIENT_OUT = 64 * 1024,
	CLIENT_TICK_MS = 100,
	FREE_CALLS_MAX = 256,
	TEXT_KEPT_MAX = 4096,
	HEAD_BYTES = 32 * 1024,
	HEAD_FIELDS = 100,
	INTERIM_MAX = 8,
	H2_SLICES = 33, /* a block of 16 KiB frames, and a cut one */
	DIRECT_ROOM = 64 * 1024,
	ORIGIN_BUCKETS = 1024,
	ORIGINS_RECENT = 64,
};

enum client_metric {
	CLIENT_CONNECTED,
	CLIENT_REUSED,
	CLIENT_RETRIED,
	CLIENT_TIMED_OUT,
	CLIENT_GARBAGE,
	CLIENT_FORBIDDEN,
	CLIENT_UNREACHABLE,
	CLIENT_METRIC_COUNT
};
void client_count(enum client_metric metric);

enum call_phase { CALL_WAITING, CALL_HEAD, CALL_BODY, CALL_DONE, CALL_FAILED };
enum body_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct upstream;
struct origin;
struct client_call;

/* What HTTP/1.1 and HTTP/2 do differently on a connection that is up. */
struct client_protocol {
	/* The connection is up. May be NULL. */
	enum status (*open)(struct upstream *upstream);
	/* The connection is gone: frees what the protocol made. May be NULL. */
	void (*close)(struct upstream *upstream);
	void (*begin)(struct upstream *upstream, struct client_call *call);
	/* The call lets go of its connection. */
	void (*release)(struct upstream *upstream, struct client_call *call);
	/* Before the connection is killed: its calls fail or are tried again. */
	void (*fail)(struct upstream *upstream, enum status why);
	void (*readable)(struct upstream *upstream);
	/* All output has left. */
	void (*writable)(struct upstream *upstream);
	/* Deadlines. */
	void (*check)(struct upstream *upstream, uint64_t now_ms);
	/* In phase CALL_BODY; the connection may be gone. */
	enum body_state (*read)(struct client_call *call, uint8_t *into, size_t room, size_t *count);
	/* The same without copying, from memory and by a pipe. May be NULL. */
	enum body_state (*pipe)(struct client_call *call, size_t room, int *pipe, size_t *count);
	enum body_state (*lend)(struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count);
	/* The connection is there, the request is not over. */
	size_t (*write)(struct client_call *call, const uint8_t *bytes, size_t length, bool ended);
	/* Body bytes that came and were not read. In phase CALL_BODY. */
	size_t (*held)(const struct client_call *call);
};
extern const struct client_protocol client_h1, client_h2;

/* Body bytes in the connection's block. */
struct h2_slice {
	uint32_t at, length;
};

/* A call's half of HTTP/2. */
struct h2_call {
	struct client_call *next, *previous; /* on its connection */
	int32_t stream;                      /* 0: closed, or none yet */
	bool is_ended;                       /* the answer is complete */
	bool is_deferred;                    /* nghttp2 waits for bytes to send */
	bool has_answer;                     /* a byte of an answer came: never tried again */
	uint64_t active_ms;
	unsigned slice_at, slice_end;
	struct buffer kept; /* body bytes that had to leave the block, before those of the slices */
	size_t kept_at;
	uint8_t *out; /* of the request's body */
	size_t out_at, out_end;
	size_t text_used;
	unsigned trailer_fields;
};

struct client_call {
	struct client *client;
	const struct client_events *events;
	void *state;
	const struct client_protocol *protocol; /* since it began on a connection */
	struct upstream *upstream;
	struct origin *waiting_in; /* in its queue */
	struct client_call *queue_next, *due_next, *next_free;
	enum call_phase phase;
	enum status error;
	uint32_t read_ms;
	bool is_closed, is_due, is_failure_due, is_head_due, is_readable_due, is_writable_due, wants_readable,
		wants_writable, has_head, is_head, may_retry, has_retried, is_request_over, keeps_alive;
	unsigned interims;
	int64_t body_length; /* of the request */
	uint64_t body_taken;
	size_t ahead_limit; /* read beyond what is wanted */
	bool is_sparse;     /* its source gave little at once: not worth a pipe */
	enum body_framing framing;
	uint64_t left;
	struct h1_chunks chunks;
	struct network *rules;
	size_t rule_count;
	size_t text_length;
	struct known_head *known; /* NULL: its answer's head is in `text` */
	struct client_response response;
	struct h2_call h2;
	struct buffer trailers; /* as HTTP/1.1 spells them */
	/* from here on not cleared for a new call */
	struct header headers[HEAD_FIELDS];
	struct network few_rules[4]; /* `rules`, mostly */
	char *text;                  /* the request's head, then the response's; kept for the next call */
	size_t text_room;
	struct h2_slice slices[H2_SLICES];
};

/* The larger the later. */
enum block_size { BLOCK_HEAD, BLOCK_BODY, BLOCK_SIZES };

enum upstream_phase {
	UPSTREAM_RESOLVING,
	UPSTREAM_CONNECTING,
	UPSTREAM_TLS,
	UPSTREAM_BUSY,
	UPSTREAM_IDLE,
	UPSTREAM_DEAD
};

/* One connection. */
struct upstream {
	struct upstream *next, *previous; /* all of the worker; `next` alone: the dead */
	struct upstream *idle_next;       /* of the origin: unused ones of HTTP/1.1 */
	struct upstream *shared_next;     /* of the origin: all of HTTP/2 */
	struct upstream *flush_next;
	struct upstream *lent_next; /* whose block was lent to its end */
	struct origin *origin;
	const struct client_protocol *protocol; /* NULL until it is up */
	struct client_call *call;               /* the one it was opened for; HTTP/1.1: the present one */
	struct h2_session *h2;
	enum upstream_phase phase;
	int descriptor;
	SSL *ssl;
	struct event *read_event, *write_event;
	bool is_reading, is_reused, has_ended, is_opening, is_flush_due, is_lent, has_pipe;
	uint64_t active_ms, opened_ms;
	struct resolver_request *request;
	union resolver_address addresses[8]; /* checked; still to try from `address_at` on */
	unsigned address_count, address_at;
	uint8_t *block; /* unread input [at, end); held only while there is some */
	enum block_size block_size;
	size_t at, end;
	struct pipe_ends
		pipe; /* if has_pipe; `piped` bytes of input in it are not passed on yet: then the block is empty */
	size_t piped;
	uint8_t *out; /* unsent output */
	size_t out_at, out_end;
};

struct origin {
	struct origin *next;
	struct client *client;
	struct identity *identity;
	struct origin *pump_next;
	struct upstream *idle; /* the last used first */
	struct upstream *shared;
	unsigned upstreams, idle_count, waiting, opening;
	struct client_call *queue, **queue_end;
	struct known_heads known;
	bool is_tls, is_pump_due;
	bool may_share; /* a connection that is coming up may serve all that wait */
	enum http_version version;
	uint16_t port;
	char *host; /* it and the texts are parts of the key, or stand behind it */
	size_t host_length;
	struct text tenant, ca_file;
	size_t key_length;
	char key[];
};

struct identity {
	struct identity *next;
	SSL_CTX *context;
	char *ca_file; /* NULL: the system's */
};

struct free_blocks {
	struct free_block *first;
	unsigned count;
};

struct client {
	struct worker *worker;
	struct client_pool *pool;
	const struct client_settings *settings;
	struct task sweep;
	bool is_sweep_queued, is_stopping;
	OSSL_LIB_CTX *library; /* the shared one's locks do not scale; made with the first TLS identity */
	struct origin *pumps;
	struct upstream *flushes, *lent;
	struct client_call *due, *closed, *free_calls;
	unsigned free_call_count;
	struct free_blocks blocks[BLOCK_SIZES];
	struct pipes pipes;
	struct upstream *upstreams, *dead;
	struct identity *identities;
	struct timer *tick;
	struct origin *origins[ORIGIN_BUCKETS], *recent[ORIGINS_RECENT];
};

struct client_pool {
	struct client_settings settings;
	struct resolver *resolver;
	struct own_sockets forbidden;
	int slot;
};

/* client.c */
uint64_t client_now(const struct client *client);
void client_sweep_later(struct client *client);
/* Queues what the call must be told for the end of the turn. */
void call_due(struct client_call *call);
void call_fail(struct client_call *call, enum status why);

/* client_blocks.c */
/* The upstream has a block of at least that size, with the bytes before `end` it had. False: out of memory. */
bool block_take(struct upstream *upstream, enum block_size size) MUST_CHECK;
/* Behind `end`. */
size_t block_room(const struct upstream *upstream);
void block_drop(struct upstream *upstream);
void blocks_free(struct client *client);

/* client_request.c: fills `text`. INVALID: something in it cannot stand in a line. */
enum status call_print_request(struct client_call *call, const struct client_request *request) MUST_CHECK;

/* client_pool.c */
struct origin *origin_get(struct client *client, const struct client_request *request, enum status *status);
/* Gives the call a connection, opens one, or queues it. */
enum status origin_assign(struct origin *origin, struct client_call *call) MUST_CHECK;
void origin_leave_queue(struct client_call *call);
/* After a connection has gone or become idle: the next in the queue. */
void origin_pump(struct origin *origin);
/* The same at the end of the turn. */
void origin_pump_later(struct origin *origin);
void origins_pump(struct client *client);
/* First in the queue: an answer's absence has shown that it was not processed. */
void origin_requeue(struct origin *origin, struct client_call *call);
void origin_free_if_unused(struct origin *origin);
enum status identity_check(const char *ca_file, struct buffer *error) MUST_CHECK;
void identities_free(struct client *client);

/* client_connect.c: coming up */
enum status upstream_open(struct origin *origin, struct client_call *call) MUST_CHECK;
/* The address it is connected to is one that this call's rules allow. */
bool upstream_is_allowed(const struct upstream *upstream, const struct client_call *call);

/* client_upstream.c: sockets that are there */
/* It is up, or will not be. */
void upstream_end_opening(struct upstream *upstream, bool may_share);
void upstream_drop_socket(struct upstream *upstream);
/* A call begins on a connection that is up. */
void upstream_begin(struct upstream *upstream, struct client_call *call);
/* A call lets go. */
void upstream_release(struct upstream *upstream, struct client_call *call);
void upstream_kill(struct upstream *upstream);
/* Kills it and tells (or retries) its calls. */
void upstream_fail(struct upstream *upstream, enum status why);
void upstream_want_read(struct upstream *upstream, bool want);
/* > 0 bytes; 0: nothing now; -1: ended cleanly; -2: broken. */
long upstream_receive(struct upstream *upstream, uint8_t *into, size_t room);
/* >= 0 bytes; -1: broken. */
long upstream_send(struct upstream *upstream, const uint8_t *bytes, size_t length);
/* False: broken. */
bool upstream_flush(struct upstream *upstream);
void upstreams_check(struct client *client);
void upstreams_close(struct client *client);
void upstreams_bury(struct client *client);

/* client_h1_body.c */
/* What was lent has been sent by now: empty blocks and pipes go back, the next reader finds the warm one. */
void h1_lent_release(struct client *client);
void h1_pipe_release(struct upstream *upstream);

/* client_h2.c: connections */
bool h2_has_room(const struct upstream *upstream);
/* Output of this turn leaves at its end. */
void h2_flush_later(struct upstream *upstream);
void h2_flush_due(struct client *client);
