/* The HTTP engine: listeners, TLS and connections on every worker, in front of one handler. No word of dataspaces here.
 */
#pragma once

#include "server/base/config.h"
#include "server/exchange.h"
#include "server/limits.h"
#include "server/worker.h"

enum listener_protocol {
	LISTENER_TLS,   /* ALPN: h2, http/1.1 */
	LISTENER_CLEAR, /* h2c with prior knowledge, or HTTP/1.1, told apart by the first bytes */
};

/* Section "server". */
struct listener_settings {
	char *address;           /* IP address, or "unix:/path" for the admin role */
	int64_t port;            /* 0: any free one, printed in the log */
	int protocol;            /* enum listener_protocol */
	int role;                /* enum listener_role */
	bool proxy_protocol;     /* every connection starts with a PROXY v2 header */
	bool trusted_ingress;    /* tenant and client headers set by the peer are believed */
	int client_certificates; /* none | optional | required */
};
struct server_settings {
	struct setting_objects listeners; /* struct listener_settings */
	int64_t workers;                  /* 0: one per core this process may use */
	char *certificate_file, *key_file, *client_ca_file;
	struct setting_texts trusted_ingress; /* networks in CIDR form */
	int64_t ticket_lifetime_ms;           /* ticket keys rotate at half of it: 12 h */
};
extern const struct setting server_settings_table[];
extern const size_t server_settings_count;

struct server;

/* Borrows settings, limits (the first) and handler until server_free. Registers its hooks with the pool; sockets are
 * bound here, so that errors show before any thread runs. `error` gets one line. */
enum status server_open(struct worker_pool *pool, const struct server_settings *settings, const struct limits *limits,
	const struct handler *handler, struct server **server, struct buffer *error) MUST_CHECK;
/* From the main thread: `check` reads certificate and key and tries them; `reload` does so and, if they are good, uses
 * them for new handshakes on all workers; on failure the old ones stay. */
enum status server_check_certificates(
	struct server *server, const struct server_settings *settings, struct buffer *error) MUST_CHECK;
enum status server_reload_certificates(
	struct server *server, const struct server_settings *settings, struct buffer *error) MUST_CHECK;
/* From the main thread: new limits for connections accepted from now on, copied; those that are open keep theirs. */
enum status server_change_limits(struct server *server, const struct limits *limits) MUST_CHECK;
/* Stops accepting, sends GOAWAY / Connection: close, lets exchanges finish. `done` runs on the calling thread's behalf
 * on some worker when the last connection is gone or limits.drain_ms has passed. */
void server_drain(struct server *server, void (*done)(void *context), void *context);
/* The port listener `index` is really bound to. */
unsigned server_port(const struct server *server, size_t index);
void server_free(struct server *server);
