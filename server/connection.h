/* A connection: one accepted socket with its TLS state, its penalty budget and the protocol spoken on it. Owned by its
 * worker.
 *
 * Input: the worker's one input buffer, lent to the protocol for one call. Output: the protocol writes while the socket
 * takes; what does not fit is kept here (at most what one send was given) and sent first when the socket is ready
 * again. An object that callbacks can reach is freed at the end of the turn only. */
#pragma once

#include <openssl/ssl.h>

#include "server/block_turn.h"
#include "server/drawer.h"
#include "server/listener.h"
#include "server/proxy_protocol.h"

struct connection;

/* What HTTP/2 and HTTP/1.1 implement. */
struct protocol {
	const char *name; /* "h2", "http/1.1" */
	/* Begins; connection->session is its own. */
	enum status (*open)(struct connection *connection);
	/* Bytes from the peer, all of them taken (the protocol keeps what it cannot use yet). What is too much for one turn
	 * it keeps with is_input_held: then it is called with no bytes in the next one, before anything is read. Not OK:
	 * the connection is closed after what is queued has been flushed. */
	enum status (*receive)(struct connection *connection, const uint8_t *bytes, size_t length);
	/* Produces output while connection_can_write. Called after input, at the end of a turn in which
	 * connection_flush_later was called, and when the socket is ready. */
	void (*flush)(struct connection *connection);
	/* No new requests: finish what runs, then connection_close_later. Called again when limits.drain_ms is over: `now`.
	 */
	void (*drain)(struct connection *connection);
	/* Deadlines: called a few times a second; may reset streams or fail the connection. */
	void (*check)(struct connection *connection, uint64_t now_ms);
	/* The end: on_close of every exchange runs, the session is freed. */
	void (*close)(struct connection *connection, enum status why);
};
extern const struct protocol protocol_h2, protocol_h1;

enum connection_phase {
	PHASE_PROXY,     /* a PROXY header must come */
	PHASE_HANDSHAKE, /* TLS */
	PHASE_PREFACE,   /* clear: which protocol? */
	PHASE_OPEN,
};

struct connection {
	struct task flush_task; /* first: queued for the end of the turn */
	struct engine *engine;  /* of this worker */
	const struct listener *listener;
	const struct limits *limits;
	int descriptor;
	SSL *ssl; /* NULL: clear */
	struct event *read_event, *write_event;
	const struct protocol *protocol;
	void *session;
	struct drawer *drawer; /* of the largest objects of TLS and the protocol; shut while nothing happens. May be NULL */
	enum connection_phase phase;
	bool is_flush_queued, is_flush_due, has_answered, is_closing, is_failed, is_closed, is_draining, wants_read_again,
		is_read_paused, is_counted;
	bool is_corked;     /* the kernel was told that more comes */
	bool is_bulk;       /* the last flush wrote several TLS records */
	bool is_input_held; /* the protocol has input for the next turn */
	bool is_deep;       /* the kernel may hold more (socket_queue.h) */
	bool is_cut;        /* what is left of the output does not leave */
	bool is_trusted;    /* the peer is an ingress whose tenant header counts */
	uint64_t turn;      /* the turn that turn_input counts */
	size_t turn_input;
	enum status why;               /* of the close */
	uint64_t opened_ms, active_ms; /* active: last bytes in or out */
	uint64_t phase_ms;             /* when the phase began */
	struct penalty penalty;
	unsigned streams; /* exchanges alive */
	size_t held;      /* bytes that their sources hold for the peer */
	struct block_turn block_turn;
	size_t send_most; /* SEND_LEAST to SEND_MOST, with TLS to SEND_SEALED */
	uint8_t *kept;    /* output the socket did not take; with TLS it is sealed already */
	size_t kept_from, kept_length;
	struct connection *next, *previous; /* all of the worker */
	struct source_count *source;        /* this address's count */
	char peer[46];                      /* address without port */
	char *identity;                     /* of the client certificate */
	uint8_t first[232];                 /* bytes seen before the protocol is known: preface or PROXY header */
	unsigned first_length;
};

/* --- output (connection_output.c), for connection.c */

/* What a socket that takes nothing may leave here of TLS's own messages. */
enum { KEPT_MAX = SEND_MOST + 128 * 1024 };
/* Lets the protocol write, and sends it. */
void connection_produce(struct connection *connection);
/* False: some is left (the write event is set), or the connection has failed. */
bool connection_send_kept(struct connection *connection);
/* OpenSSL reads from the socket and writes into the worker's buffer. */
bool connection_open_tls_output(struct connection *connection);
/* After every call of OpenSSL that may have written: sends what is in the worker's buffer, keeps what is left. */
void connection_send_sealed(struct connection *connection);

/* --- for protocols */

/* False: keep your bytes until flush is called again. */
bool connection_can_write(const struct connection *connection);
/* Takes all bytes (copies what the socket does not take). Gathers small writes of one flush into one record / one send.
 * Only inside flush, while connection_can_write. */
void connection_write(struct connection *connection, const uint8_t *bytes, size_t length);
/* Clear connections, less than GATHER_CLEAR bytes at a time: where the next bytes of the output can be produced, with
 * room for so many lent ones behind them; and that they have been produced. */
uint8_t *connection_reserve(struct connection *connection, size_t length, size_t lent);
void connection_commit(struct connection *connection, size_t length);
/* Clear connections, after connection_reserve for them: the bytes go out from where they are. They must stay until
 * connection_send_gathered; a file's pages may vanish (the output then has zeros in their place). */
void connection_lend(struct connection *connection, const uint8_t *bytes, size_t length);
/* Clear connections: sends what was gathered, and then so many bytes that stand in the pipe; takes all of them out of
 * it: what the socket does not take is kept. */
void connection_send_pipe(struct connection *connection, int pipe, size_t length);
/* Sends what was gathered, keeps a copy of what the socket does not take. */
void connection_send_gathered(struct connection *connection);
/* Clear connections: sends up to `length` bytes of a file by sendfile after what was written before. Returns what was
 * taken; 0: the socket is full (flush is called again) or, with *failed, the file gave nothing. */
size_t connection_send_file(struct connection *connection, int file, int64_t offset, size_t length, bool *failed);
void connection_flush_later(struct connection *connection);
/* Flushes what is queued, then closes. The protocol gets no more input. */
void connection_close_later(struct connection *connection, enum status why);
/* The same at once, where all that has not arrived is of the last `length` bytes of the protocol: it is thrown away,
 * here and in the kernel, and the peer sees a reset. Otherwise as connection_close_later. */
void connection_cut_later(struct connection *connection, enum status why, uint64_t length);
/* Stops and restarts reading from the socket: back-pressure of a protocol that cannot discard. */
void connection_pause_reading(struct connection *connection, bool paused);
enum penalty_verdict connection_charge(struct connection *connection, unsigned points);
/* The exchange's part that is the connection's: worker, scheme, peer, listener, identity, trust. */
struct exchange;
void connection_describe(struct connection *connection, struct exchange *exchange);
