/* The HTTP client for upstreams: HTTP/1.1 and HTTP/2, TLS with verification, pools keyed by (tenant, origin, TLS
 * identity), DNS on threads of its own, and an address guard: names are resolved first, every address of the answer is
 * checked, and the connection goes to a checked address; one forbidden address refuses the whole answer. No redirects.
 * One client per worker. */
#pragma once

#include "server/base/config.h"
#include "server/exchange.h"
#include "server/url.h"
#include "server/worker.h"

/* Section "client". */
struct client_settings {
	int64_t connect_ms, read_ms, idle_ms;                 /* 5 s, 30 s, 60 s */
	int64_t connections_per_origin;                       /* per tenant and worker: 64; further calls wait in order */
	int64_t waiting_calls;                                /* per origin: 1,024 */
	int64_t idle_connections;                             /* kept per origin: 32 */
	int64_t stream_window;                                /* of HTTP/2: 512 KiB */
	char *ca_file;                                        /* NULL: the system's */
	int64_t dns_threads, dns_ttl_ms, dns_negative_ttl_ms; /* 2, 30 s, 2 s */
};
extern const struct setting client_settings_table[];
extern const size_t client_settings_count;

struct client_pool; /* process-wide: resolver, settings, TLS material; gives each worker its client */
enum status client_pool_open(struct worker_pool *workers, const struct client_settings *settings,
	struct client_pool **pool, struct buffer *error) MUST_CHECK;
/* No call of any tenant reaches this listener of ours (see own_sockets_add). Before the workers start. */
enum status client_pool_forbid(struct client_pool *pool, struct text address, uint16_t port) MUST_CHECK;
void client_pool_free(struct client_pool *pool);

/* On a worker: FORBIDDEN when the host is a literal address that the guard will refuse. Names are judged when used. */
enum status client_check_url(
	struct worker *worker, const struct url *url, const struct address_rules *rules) MUST_CHECK;

struct client_call;

/* What an upstream is spoken to in. HTTP_ANY: what TLS agrees on, else 1.1. HTTP_2 in the clear: with prior
 * knowledge. */
enum http_version { HTTP_ANY, HTTP_1, HTTP_2 };

struct client_request {
	struct text tenant; /* pool key */
	const struct url *url;
	struct text method;
	const struct header *headers; /* host, connection, transfer-encoding, content-length, te are the client's own */
	size_t header_count;
	int64_t body_length; /* 0: none; -1: unknown (chunked) */
	const struct address_rules *rules;
	struct text ca_file; /* TLS identity: absent = the settings' */
	uint32_t read_ms;    /* 0: the settings' */
	enum http_version version;
};

enum { ANSWER_MEMO_FIELDS = 24 };
/* A place beside an answer's head that comes again and again, for what is made of it; such heads have at most so many
 * fields. */
struct answer_memo {
	bool (*maker)(struct text name, const struct header *headers, size_t count); /* which of its fields; NULL: empty */
	struct known_fields *fields; /* freed with the head, when no call uses it */
};

struct client_response {
	struct answer_memo *memo; /* NULL: the head may come once only */
	int status;
	const struct header *headers; /* lower-case names; borrowed until client_call_close */
	size_t header_count;
	int64_t length; /* -1: unknown */
};
/* The first of that name (lower-case), or none. */
static inline struct text client_response_header(const struct client_response *response, struct text name)
{
	for (size_t i = 0; i < response->header_count; i++) {
		if (text_equals(response->headers[i].name, name))
			return response->headers[i].value;
	}
	return TEXT_NONE;
}

/* All called on the call's worker, never from inside client_call_start. */
struct client_events {
	void (*on_head)(void *state, struct client_call *call, const struct client_response *response);
	void (*on_readable)(void *state, struct client_call *call); /* after client_call_read said LATER */
	void (*on_writable)(
		void *state, struct client_call *call); /* after client_call_write took less than given, and once at first */
	/* Before on_head: the call ended without an answer (UNAVAILABLE: cannot connect; TIMEOUT; PROTOCOL: garbage;
	 * FORBIDDEN: the address guard; REFUSED: too many waiting). After on_head a failure shows as BODY_FAILED from
	 * client_call_read (after an on_readable). The call must still be closed. */
	void (*on_failed)(void *state, struct client_call *call, enum status why);
};

/* Everything in `request` is copied or used before this returns. */
enum status client_call_start(struct worker *worker, const struct client_request *request,
	const struct client_events *events, void *state, struct client_call **call) MUST_CHECK;
/* Pulls body bytes straight into `into`. Reading is what lets the peer send more: nobody reads, nothing is buffered
 * beyond one pooled block. BODY_END only when the framing says the body is complete. */
enum body_state client_call_read(struct client_call *call, uint8_t *into, size_t room, size_t *count);
/* How many bytes a read may take from the network beyond its `room` (without this call: a block), and how many are held
 * now. HTTP/1.1 alone is held back by the first; HTTP/2 by its window. */
void client_call_limit_ahead(struct client_call *call, size_t bytes);
size_t client_call_held(const struct client_call *call);
/* After BODY_END: the answer's trailers, at most `room`, borrowed until client_call_close. Returns how many. */
unsigned client_call_trailers(struct client_call *call, struct header *trailers, unsigned room);
/* Lends at most `room` bytes, until the end of the turn's task, the next client_call_read or lend that may read, or the
 * close; never the body's last ones. BODY_MORE without bytes: none have come yet; with may_read: read instead. */
enum body_state client_call_lend(
	struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count);
/* The next bytes, at most `room` and never the body's last ones, stand in a pipe whose other bytes are not theirs: they
 * must be taken out of it before anything else is asked. BODY_MORE without bytes: lend or read instead. */
enum body_state client_call_pipe(struct client_call *call, size_t room, int *pipe, size_t *count);
/* Takes as much as can go now and returns how much; `ended` counts only when all was taken. */
size_t client_call_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended);
/* Its body has been handed over whole, not just ignored because the answer came before. */
bool client_call_is_sent(const struct client_call *call);
/* Ends the call in any state; no event comes after it. A connection with unread or unsent bytes is closed, else it goes
 * back to its pool. Allowed inside events. */
void client_call_close(struct client_call *call);
