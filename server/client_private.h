/* What the client's files share. An origin is one pool: (tenant, scheme, host, port, TLS identity) on one worker. */
#pragma once

#include <event2/event.h>
#include <openssl/ssl.h>

#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/client.h"
#include "server/h1_parse.h"
#include "server/resolver.h"

enum {
	CLIENT_BLOCK = 256 * 1024,
	CLIENT_OUT = 64 * 1024,
	CLIENT_TICK_MS = 100,
	FREE_BLOCKS_MAX = 32,
	FREE_CALLS_MAX = 256,
	HEAD_BYTES = 32 * 1024,
	HEAD_FIELDS = 100,
	INTERIM_MAX = 8,
	DIRECT_ROOM = 64 * 1024,
	ORIGIN_BUCKETS = 1024,
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

struct client_call {
	struct client *client;
	const struct client_events *events;
	void *state;
	struct upstream *upstream;
	struct origin *waiting_in; /* in its queue */
	struct client_call *queue_next, *due_next, *next_free;
	enum call_phase phase;
	enum status error;
	uint32_t read_ms;
	bool is_closed, is_due, is_failure_due, is_writable_due, wants_readable, wants_writable, has_head, is_head,
		may_retry, has_retried, is_request_over, keeps_alive;
	unsigned interims;
	int64_t body_length; /* of the request */
	uint64_t body_taken;
	enum body_framing framing;
	uint64_t left;
	struct h1_chunks chunks;
	struct network *rules;
	size_t rule_count;
	char *text; /* the request's head, then the response's */
	size_t text_length;
	struct client_response response;
	struct header headers[HEAD_FIELDS];
};

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
	struct upstream *idle_next;       /* of the origin */
	struct origin *origin;
	struct client_call *call;
	enum upstream_phase phase;
	int descriptor;
	SSL *ssl;
	struct event *read_event, *write_event;
	bool is_reading, is_reused, has_ended;
	uint64_t active_ms, opened_ms;
	struct resolver_request *request;
	union resolver_address addresses[8]; /* checked; still to try from `address_at` on */
	unsigned address_count, address_at;
	uint8_t *block; /* unread input [at, end); held only while there is some */
	size_t at, end;
	uint8_t *out; /* unsent output */
	size_t out_at, out_end;
};

struct origin {
	struct origin *next;
	struct client *client;
	struct identity *identity;
	struct upstream *idle; /* the last used first */
	unsigned upstreams, idle_count, waiting;
	struct client_call *queue, **queue_end;
	bool is_tls;
	uint16_t port;
	char *host;
	size_t key_length;
	char key[];
};

struct identity {
	struct identity *next;
	SSL_CTX *context;
	char *ca_file; /* NULL: the system's */
};

struct free_block {
	struct free_block *next;
};

struct client {
	struct worker *worker;
	struct client_pool *pool;
	const struct client_settings *settings;
	struct task sweep;
	bool is_sweep_queued;
	struct client_call *due, *closed, *free_calls;
	unsigned free_call_count, free_block_count;
	struct free_block *free_blocks;
	struct upstream *upstreams, *dead;
	struct identity *identities;
	struct timer *tick;
	struct origin *origins[ORIGIN_BUCKETS];
};

struct client_pool {
	struct client_settings settings;
	struct resolver *resolver;
	int slot;
};

/* client.c */
uint64_t client_now(const struct client *client);
uint8_t *block_take(struct client *client);
void block_give(struct client *client, uint8_t *bytes);
void client_sweep_later(struct client *client);
/* Queues what the call must be told for the end of the turn. */
void call_due(struct client_call *call);
void call_fail(struct client_call *call, enum status why);

/* client_pool.c */
struct origin *origin_get(struct client *client, const struct client_request *request, enum status *status);
/* Gives the call a connection, opens one, or queues it. */
enum status origin_assign(struct origin *origin, struct client_call *call) MUST_CHECK;
void origin_leave_queue(struct client_call *call);
/* After a connection has gone or become idle: the next in the queue. */
void origin_pump(struct origin *origin);
void origin_free_if_unused(struct origin *origin);
enum status identity_check(const char *ca_file, struct buffer *error) MUST_CHECK;
void identities_free(struct client *client);

/* client_upstream.c: sockets */
enum status upstream_open(struct origin *origin, struct client_call *call) MUST_CHECK;
/* The call begins on a connection that is up. */
void upstream_begin(struct upstream *upstream, struct client_call *call);
/* Its call lets go: back to the pool when nothing is left over, else closed. */
void upstream_release(struct upstream *upstream);
void upstream_kill(struct upstream *upstream);
/* Kills it and tells (or retries) its call. */
void upstream_fail(struct upstream *upstream, enum status why);
void upstream_want_read(struct upstream *upstream, bool want);
/* > 0 bytes; 0: nothing now; -1: ended cleanly; -2: broken. */
long upstream_receive(struct upstream *upstream, uint8_t *into, size_t room);
/* False: broken. */
bool upstream_flush(struct upstream *upstream);
void upstreams_check(struct client *client);
void upstreams_close(struct client *client);
void upstreams_bury(struct client *client);

/* client_h1.c: the protocol */
/* Bytes may be there. */
void h1_call_readable(struct upstream *upstream);
