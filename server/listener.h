/* Listeners and the engine's half on each worker: private to server/. */
#pragma once

#include <openssl/ssl.h>
#include <sys/uio.h>

#include "server/known_strings.h"
#include "server/server.h"
#include "server/url.h"
#include "server/worker_pool.h"

struct connection;
struct drawer_pool;
struct stream;
struct ticket_keys;

/* A configured listener; immutable once open. */
struct listener {
	const struct listener_settings *settings;
	struct server *server;
	int descriptors[WORKERS_MAX]; /* one a worker; a unix socket is shared: the same number */
	unsigned port;
	bool is_unix;
};

/* How many connections one peer address has on this worker. */
struct source_count {
	struct source_count *next;
	char peer[46];
	unsigned count;
};
enum { SOURCE_BUCKETS = 1024, INPUT_SIZE = 64 * 1024, GATHER_TLS = 16384, GATHER_CLEAR = 512 * 1024, PIECES_MAX = 128 };
/* What one send is given: so many frames of 16 KiB with what HTTP/2 and TLS add, the more when the socket took all of
 * the last one, the least when it did not. Larger ones cost less; but what a slow peer's socket does not take is kept
 * for it. With TLS, where the call is the smaller part of the cost, the largest is limits.connection_buffer; in the
 * clear twice that. */
enum { SEND_LEAST = 8 * (16384 + 64), SEND_SEALED = 2 * SEND_LEAST, SEND_MOST = 2 * SEND_SEALED };
/* A frame of HTTP/2 on its way into TLS: one record. Clear connections send larger ones to peers that take them. */
enum { FRAME_BUFFER = 16384, FRAME_MOST = 256 * 1024 };

struct engine {
	struct server *server;
	struct worker *worker;
	SSL_CTX *tls;
	OSSL_LIB_CTX *library;
	struct connection *connections;
	size_t connection_count;
	struct event *accept_events[32];
	bool is_accepting, is_draining;
	struct timer *tick, *accept_again, *deadline;
	struct source_count *sources[SOURCE_BUCKETS];
	struct stream *free_streams;
	unsigned free_stream_count;
	unsigned deep_count; /* connections (socket_queue.h) */
	uint8_t *input;      /* INPUT_SIZE */
	/* the output of the connection that is being flushed: bytes in `gather`, and lent ones between them */
	uint8_t *gather; /* GATHER_CLEAR */
	size_t gathered, lent;
	struct connection *gathered_for;
	struct iovec pieces[PIECES_MAX];
	unsigned piece_count;
	uint64_t send_number; /* of the next send of what was gathered */
	uint8_t *sealed;      /* SEND_SEALED: TLS records on their way to the socket */
	size_t sealed_length;
	unsigned records; /* of this flush */
	struct connection *sealed_for;
	struct drawer_pool *drawers;
	struct known_strings *strings;
	uint8_t *frame; /* FRAME_BUFFER: shared by the worker's HTTP/2 sessions */
	char date[32];
	int64_t date_s;
	uint64_t random; /* state of the trace id generator */
};

/* listener.c */
enum status listener_open(struct listener *listener, unsigned workers, struct buffer *error) MUST_CHECK;
void listener_close(struct listener *listener, unsigned workers);
void listeners_start(struct engine *engine);
void listeners_stop(struct engine *engine);
void listeners_release(struct engine *engine);
/* connection.c */
void connection_accept(struct engine *engine, const struct listener *listener, int descriptor, const char *peer,
	const struct sockaddr *address);
void connections_drain(struct engine *engine);
void connections_close(struct engine *engine, enum status why);
void connections_check(struct engine *engine);
void connection_register_metrics(void);
/* server.c */
/* The value of the date header, made once a second. */
struct text engine_date(struct engine *engine);
struct engine *server_engine(const struct server *server, const struct worker *worker);
struct listener *server_listeners(struct server *server, size_t *count);
const struct handler *server_handler(const struct server *server);
const struct limits *server_limits(const struct server *server);
/* False: the process has its limit of connections. */
bool server_admit_connection(struct server *server);
void server_release_connection(struct server *server);
bool server_trusts(const struct server *server, const struct sockaddr *address);
/* tls.c */
struct tls_material;
enum status tls_material_load(
	const struct server_settings *settings, struct tls_material **material, struct buffer *error) MUST_CHECK;
void tls_material_free(struct tls_material *material);
/* The worker's own context, made of the shared material and ticket keys. */
enum status tls_context_build(OSSL_LIB_CTX *library, const struct tls_material *material, struct ticket_keys *tickets,
	SSL_CTX **context) MUST_CHECK;
struct ticket_keys *ticket_keys_new(int64_t lifetime_ms);
void ticket_keys_free(struct ticket_keys *keys);
/* wanted: none, optional, required. */
void tls_set_client_certificates(SSL *ssl, int wanted);
