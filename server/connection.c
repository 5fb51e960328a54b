/* Connections: accepting, the handshake, telling protocols apart, reading, gathering and keeping output, deadlines. */
#include "server/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/socket_queue.h"
#include "server/stream.h"
#include "server/tls_errors.h"
#include "server/tls_memory.h"

enum { TURN_INPUT = 64 * 1024 };
/* How many connections may go to sleep in a round of checks: each costs a system call. */
enum { SHUT_AT_ONCE = 256 };

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define METRIC_LIST(X)                                                                                                 \
	X(ACCEPTED, COUNTER, "celld_connections_total", NULL, "Connections accepted")                                      \
	X(REFUSED, COUNTER, "celld_connections_refused_total", NULL, "Connections closed at once by a limit")              \
	X(OPEN, GAUGE, "celld_connections_open", NULL, "Connections that are open")                                        \
	X(ASLEEP, GAUGE, "celld_connections_asleep", NULL, "Of these, idle ones whose memory is packed")                   \
	X(HANDSHAKES, COUNTER, "celld_tls_handshakes_total", "kind=\"full\"", "TLS handshakes completed")                  \
	X(RESUMED, COUNTER, "celld_tls_handshakes_total", "kind=\"resumed\"", "TLS handshakes completed")                  \
	X(HANDSHAKE_ERRORS, COUNTER, "celld_tls_handshake_errors_total", NULL, "TLS handshakes that failed")               \
	X(PENALTY_WARNED, COUNTER, "celld_penalties_total", "verdict=\"warned\"",                                          \
		"Connections that spent their penalty budget")                                                                 \
	X(PENALTY_CLOSED, COUNTER, "celld_penalties_total", "verdict=\"closed\"",                                          \
		"Connections that spent their penalty budget")                                                                 \
	X(TIMEOUTS, COUNTER, "celld_connection_timeouts_total", NULL, "Connections closed at a deadline")
enum {
#define METRIC_MEMBER(name, kind, series, labels, help) CONNECTION_##name,
	METRIC_LIST(METRIC_MEMBER)
#undef METRIC_MEMBER
		METRIC_COUNT
};
static int metrics[METRIC_COUNT];

void connection_register_metrics(void)
{
#define REGISTER(name, kind, series, labels, help)                                                                     \
	metrics[CONNECTION_##name] = metric_register(METRIC_##kind, series, labels, help);
	METRIC_LIST(REGISTER)
#undef REGISTER
}

/* --- sleep: the drawer is shut. It is opened before TLS or the protocol is touched, which is whenever something
 * happens
 */

static void wake(struct connection *connection)
{
	if (connection->drawer == NULL || !drawer_is_shut(connection->drawer))
		return;
	drawer_open(connection->drawer);
	metric_add(metrics[CONNECTION_ASLEEP], -1);
}

static bool is_tired(const struct connection *connection, uint64_t now_ms)
{
	return connection->phase == PHASE_OPEN && connection->streams == 0 &&
		   now_ms - connection->active_ms >= (uint64_t)connection->limits->sleep_ms && connection->kept == NULL &&
		   !connection->is_flush_queued && !connection->is_closing && !connection->is_input_held;
}

/* True: it cost something. */
static bool try_sleep(struct connection *connection, uint64_t now_ms)
{
	if (connection->is_closed || connection->drawer == NULL || drawer_is_shut(connection->drawer) ||
		!is_tired(connection, now_ms) || (connection->ssl != NULL && SSL_has_pending(connection->ssl)))
		return false;
	drawer_shut(connection->drawer);
	metric_add(metrics[CONNECTION_ASLEEP], drawer_is_shut(connection->drawer));
	return true;
}

/* --- the end */

static struct source_count **find_source(struct engine *engine, const char *peer)
{
	struct source_count **at = &engine->sources[text_hash(text_of(peer)) % SOURCE_BUCKETS];
	while (*at != NULL && strcmp((*at)->peer, peer) != 0)
		at = &(*at)->next;
	return at;
}

static void leave_source(struct connection *connection)
{
	struct source_count *source = connection->source;
	if (source == NULL || --source->count > 0)
		return;
	struct source_count **at = find_source(connection->engine, source->peer);
	*at = source->next;
	free(source);
}

static bool enter_source(struct connection *connection)
{
	struct source_count **at = find_source(connection->engine, connection->peer);
	if (*at == NULL) {
		struct source_count *made = calloc(1, sizeof(*made));
		if (made == NULL)
			return false;
		memcpy(made->peer, connection->peer, sizeof(made->peer));
		*at = made;
	}
	connection->source = *at;
	return ++(*at)->count <= (uint64_t)connection->limits->connections_per_source;
}

static void destroy(struct connection *connection)
{
	struct engine *engine = connection->engine;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	*(connection->previous != NULL ? &connection->previous->next : &engine->connections) = connection->next;
	engine->connection_count--;
	leave_source(connection);
	if (connection->is_counted)
		server_release_connection(engine->server);
	metric_add(metrics[CONNECTION_OPEN], -1);
	drawer_free(connection->drawer);
	free(connection->kept);
	free(connection->identity);
	free(connection);
}

/* What has come and will not be read: the kernel answers a close over it with a reset, which can overtake our answer.
 */
static void drop_unread(struct connection *connection)
{
	enum { READS = 8 };
	struct engine *engine = connection->engine;
	shutdown(connection->descriptor, SHUT_WR);
	for (int i = 0; i < READS && recv(connection->descriptor, engine->input, INPUT_SIZE, MSG_DONTWAIT) > 0; i++)
		continue;
}

/* Frees all but the memory, which goes at the end of the turn: a caller up the stack may still look at it. */
static void close_now(struct connection *connection)
{
	if (connection->is_closed)
		return;
	connection->is_closed = true;
	wake(connection);
	if (connection->protocol != NULL)
		connection->protocol->close(connection, connection->why);
	if (connection->ssl != NULL) {
		tls_errors_clear();
		if (!connection->is_failed && !connection->is_cut && SSL_is_init_finished(connection->ssl))
			SSL_shutdown(connection->ssl);
		connection_send_sealed(connection); /* what the socket does not take now is lost */
		SSL_free(connection->ssl);
		connection->ssl = NULL;
		tls_errors_clear();
	}
	if (connection->read_event != NULL)
		event_free(connection->read_event);
	if (connection->write_event != NULL)
		event_free(connection->write_event);
	connection->read_event = connection->write_event = NULL;
	socket_queue_deepen(connection, false);
	if (connection->is_cut)
		socket_queue_discard(connection);
	else if (!connection->is_failed)
		drop_unread(connection);
	close(connection->descriptor);
	connection_flush_later(connection);
}

static void fail(struct connection *connection, enum status why)
{
	if (connection->is_closed)
		return;
	connection->is_failed = true;
	connection->why = why;
	close_now(connection);
}

/* --- output: see connection_output.c */

static void flush(struct connection *connection)
{
	connection->is_flush_due = false;
	if (connection->is_closed)
		return;
	if (connection->protocol != NULL && connection_can_write(connection))
		connection_produce(connection);
	connection_send_sealed(connection); /* what TLS had to say of its own */
	if (connection->is_failed)
		fail(connection, STATUS_CLOSED);
	else if (connection->is_closing && connection->kept == NULL)
		close_now(connection);
}

static void read_more(struct connection *connection);

static void on_flush(struct task *task)
{
	struct connection *connection = (struct connection *)task;
	connection->is_flush_queued = false;
	if (connection->is_closed) {
		destroy(connection);
		return;
	}
	wake(connection);
	if (connection->wants_read_again) {
		connection->wants_read_again = false;
		read_more(connection);
	}
	if (connection->is_flush_due)
		flush(connection);
}

void connection_flush_later(struct connection *connection)
{
	connection->is_flush_due = true;
	if (connection->is_flush_queued)
		return;
	connection->is_flush_queued = true;
	worker_later(connection->engine->worker, &connection->flush_task);
}

void connection_close_later(struct connection *connection, enum status why)
{
	if (!connection->is_closing) {
		connection->is_closing = true;
		connection->why = why;
	}
	connection_flush_later(connection);
}

void connection_cut_later(struct connection *connection, enum status why, uint64_t length)
{
	uint64_t left = socket_queue_length(connection);
	if (connection->kept != NULL)
		left += connection->kept_length - connection->kept_from;
	if (left > 0 && left <= length) {
		connection->is_cut = true;
		free(connection->kept);
		connection->kept = NULL;
	}
	connection_close_later(connection, why);
}

/* --- input */

static void protocol_open(struct connection *connection, const struct protocol *protocol)
{
	connection->protocol = protocol;
	connection->phase = PHASE_OPEN;
	connection->phase_ms = worker_now_ms(connection->engine->worker);
	if (protocol->open(connection) != STATUS_OK) {
		connection->protocol = NULL;
		fail(connection, STATUS_NO_MEMORY);
		return;
	}
	if (connection->is_draining)
		protocol->drain(connection);
	connection_flush_later(connection);
}

static void give(struct connection *connection, const uint8_t *bytes, size_t length)
{
	if (connection->is_closing || connection->is_closed)
		return;
	enum status status = connection->protocol->receive(connection, bytes, length);
	if (status != STATUS_OK)
		connection_close_later(connection, status);
	if (!connection->is_closed)
		connection_flush_later(connection);
}

static void set_peer(struct connection *connection, const struct proxy_header *header)
{
	if (header->local)
		return;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&header->source;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&header->source;
	const void *address =
		header->source.ss_family == AF_INET ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr;
	inet_ntop(header->source.ss_family, address, connection->peer, sizeof(connection->peer));
}

/* PROXY header and preface: bytes are put by until they say enough. True: go on with what is in `first`. */
static bool take_proxy(struct connection *connection)
{
	struct proxy_header header;
	size_t used;
	enum status status = proxy_parse(connection->first, connection->first_length, &header, &used);
	if (status != STATUS_OK) {
		fail(connection, STATUS_PROTOCOL);
		return false;
	}
	if (used == 0)
		return false;
	set_peer(connection, &header);
	memmove(connection->first, connection->first + used, connection->first_length - used);
	connection->first_length -= (unsigned)used;
	connection->phase = connection->ssl != NULL ? PHASE_HANDSHAKE : PHASE_PREFACE;
	connection->phase_ms = worker_now_ms(connection->engine->worker);
	return true;
}

static void tell_protocols_apart(struct connection *connection)
{
	size_t length = sizeof(h2_preface) - 1;
	size_t seen = connection->first_length < length ? connection->first_length : length;
	if (seen == 0)
		return;
	bool is_h2 = memcmp(connection->first, h2_preface, seen) == 0;
	if (is_h2 && seen < length)
		return;
	protocol_open(connection, is_h2 ? &protocol_h2 : &protocol_h1);
	if (connection->is_closed)
		return;
	unsigned count = connection->first_length;
	connection->first_length = 0;
	give(connection, connection->first, count); /* at least the byte that told */
}

static void give_first(struct connection *connection, const uint8_t *bytes, size_t length)
{
	while (length > 0 && !connection->is_closed && connection->phase != PHASE_OPEN) {
		size_t room = sizeof(connection->first) - connection->first_length;
		if (room == 0) { /* a PROXY header longer than any known */
			fail(connection, STATUS_PROTOCOL);
			return;
		}
		size_t part = length < room ? length : room;
		memcpy(connection->first + connection->first_length, bytes, part);
		connection->first_length += (unsigned)part;
		bytes += part;
		length -= part;
		if (connection->phase == PHASE_PROXY && !take_proxy(connection))
			continue;
		if (!connection->is_closed && connection->phase == PHASE_PREFACE)
			tell_protocols_apart(connection);
	}
	if (length > 0 && !connection->is_closed)
		give(connection, bytes, length);
}

static void take(struct connection *connection, const uint8_t *bytes, size_t length)
{
	connection->active_ms = worker_now_ms(connection->engine->worker);
	if (connection->phase == PHASE_OPEN)
		give(connection, bytes, length);
	else
		give_first(connection, bytes, length);
}

/* One read; 0: nothing now (or the connection has ended). */
static size_t read_some(struct connection *connection)
{
	struct engine *engine = connection->engine;
	ssize_t count;
	if (connection->ssl == NULL) {
		do
			count = recv(connection->descriptor, engine->input, INPUT_SIZE, 0);
		while (count < 0 && errno == EINTR);
		if (count > 0 || (count < 0 && errno == EAGAIN))
			return count > 0 ? (size_t)count : 0;
		fail(connection, STATUS_CLOSED);
		return 0;
	}
	tls_errors_clear();
	count = SSL_read(connection->ssl, engine->input, INPUT_SIZE);
	int error = SSL_get_error(connection->ssl, (int)count);
	bool is_over = count <= 0 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
	if (is_over || !connection->is_flush_due)
		connection_send_sealed(connection); /* answers of TLS itself; else they leave with the flush */
	if (is_over)
		fail(connection, STATUS_CLOSED);
	return count > 0 ? (size_t)count : 0;
}

static void begin_turn(struct connection *connection)
{
	uint64_t turn = worker_turn(connection->engine->worker);
	if (connection->turn == turn)
		return;
	connection->turn = turn;
	connection->turn_input = 0;
}

/* Others first. TLS may hold bytes that the socket no longer shows: nothing else would wake us. */
static void read_next_turn(struct connection *connection)
{
	connection->wants_read_again = true;
	connection_flush_later(connection);
}

static void read_more(struct connection *connection)
{
	begin_turn(connection);
	if (connection->is_input_held)
		give(connection, NULL, 0);
	while (!connection->is_closed && !connection->is_closing && !connection->is_read_paused) {
		if (connection->turn_input >= TURN_INPUT || connection->is_input_held) {
			read_next_turn(connection);
			return;
		}
		size_t count = read_some(connection);
		if (count == 0)
			return;
		connection->turn_input += count;
		take(connection, connection->engine->input, count);
		bool has_more = connection->ssl != NULL && !connection->is_closed ? SSL_has_pending(connection->ssl) : false;
		if (!has_more && !connection->is_input_held && count < INPUT_SIZE)
			return; /* what came later wakes us again */
	}
}

static void take_identity(struct connection *connection)
{
	X509 *certificate = SSL_get1_peer_certificate(connection->ssl);
	if (certificate == NULL || SSL_get_verify_result(connection->ssl) != X509_V_OK) {
		X509_free(certificate);
		return;
	}
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names) && connection->identity == NULL; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_URI)
			connection->identity =
				text_copy((struct text){(const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
					(size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier)});
	}
	GENERAL_NAMES_free(names);
	char common[256];
	int length = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, common, sizeof(common));
	if (connection->identity == NULL && length > 0)
		connection->identity = text_copy((struct text){common, (size_t)length});
	X509_free(certificate);
}

static void handshake(struct connection *connection)
{
	tls_errors_clear();
	int result = SSL_accept(connection->ssl);
	int error = SSL_get_error(connection->ssl, result);
	if (result != 1) { /* else what is left, a ticket, leaves with the protocol's first words */
		connection_send_sealed(connection);
		if (connection->is_failed) {
			fail(connection, STATUS_CLOSED);
			return;
		}
		if (error == SSL_ERROR_WANT_WRITE)
			event_add(connection->write_event, NULL);
		else if (error != SSL_ERROR_WANT_READ) {
			metric_add(metrics[CONNECTION_HANDSHAKE_ERRORS], 1);
			fail(connection, STATUS_PROTOCOL);
		}
		return;
	}
	metric_add(metrics[SSL_session_reused(connection->ssl) ? CONNECTION_RESUMED : CONNECTION_HANDSHAKES], 1);
	take_identity(connection);
	const unsigned char *chosen;
	unsigned length;
	SSL_get0_alpn_selected(connection->ssl, &chosen, &length);
	bool is_h2 = length == 2 && memcmp(chosen, "h2", 2) == 0;
	protocol_open(connection, is_h2 ? &protocol_h2 : &protocol_h1);
	if (!connection->is_closed)
		read_more(connection);
}

static bool read_proxy_before_tls(struct connection *connection)
{
	/* byte-exact: what follows the header belongs to TLS */
	ssize_t count = recv(connection->descriptor, connection->first, sizeof(connection->first), MSG_PEEK);
	if (count <= 0) {
		if (count == 0 || (errno != EAGAIN && errno != EINTR))
			fail(connection, STATUS_CLOSED);
		return false;
	}
	struct proxy_header header;
	size_t used;
	if (proxy_parse(connection->first, (size_t)count, &header, &used) != STATUS_OK) {
		fail(connection, STATUS_PROTOCOL);
		return false;
	}
	if (used == 0 && (size_t)count == sizeof(connection->first))
		fail(connection, STATUS_PROTOCOL);
	if (used == 0 || recv(connection->descriptor, connection->first, used, 0) != (ssize_t)used)
		return false;
	set_peer(connection, &header);
	connection->phase = PHASE_HANDSHAKE;
	connection->phase_ms = worker_now_ms(connection->engine->worker);
	return true;
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
	struct connection *connection = context;
	(void)descriptor, (void)what;
	if (connection->is_closed)
		return;
	wake(connection);
	if (connection->is_closing) { /* whatever else it says is not read; its end is seen when we close */
		event_del(connection->read_event);
		return;
	}
	if (connection->phase == PHASE_PROXY && connection->ssl != NULL && !read_proxy_before_tls(connection))
		return;
	if (connection->phase == PHASE_HANDSHAKE) {
		handshake(connection);
		return;
	}
	bool is_awaited = connection->is_flush_due; /* others have answered on it in this turn: together */
	connection->has_answered = false;
	read_more(connection);
	if (connection->has_answered && !is_awaited && connection->is_flush_due)
		flush(connection); /* what was answered at once leaves while it is in the cache */
}

static void on_writable(evutil_socket_t descriptor, short what, void *context)
{
	struct connection *connection = context;
	(void)descriptor, (void)what;
	if (connection->is_closed)
		return;
	wake(connection);
	if (connection->kept != NULL && !connection_send_kept(connection)) {
		if (connection->is_failed)
			fail(connection, STATUS_CLOSED);
		return;
	}
	if (connection->phase == PHASE_HANDSHAKE)
		handshake(connection);
	else
		connection_flush_later(connection);
}

void connection_pause_reading(struct connection *connection, bool paused)
{
	if (connection->is_read_paused == paused || connection->is_closed)
		return;
	connection->is_read_paused = paused;
	if (paused) {
		event_del(connection->read_event);
		return;
	}
	event_add(connection->read_event, NULL);
	connection->wants_read_again = true;
	connection_flush_later(connection);
}

/* --- birth */

static bool open_events(struct connection *connection)
{
	struct event_base *loop = worker_loop(connection->engine->worker);
	connection->read_event = event_new(loop, connection->descriptor, EV_READ | EV_PERSIST, on_readable, connection);
	connection->write_event = event_new(loop, connection->descriptor, EV_WRITE, on_writable, connection);
	return connection->read_event != NULL && connection->write_event != NULL &&
		   event_add(connection->read_event, NULL) == 0;
}

static bool open_tls(struct connection *connection)
{
	connection->drawer = drawer_new(connection->engine->drawers);
	connection->ssl = tls_new_in(connection->engine->tls, connection->drawer);
	if (connection->ssl == NULL || !connection_open_tls_output(connection))
		return false;
	SSL_set_accept_state(connection->ssl);
	tls_set_client_certificates(connection->ssl, connection->listener->settings->client_certificates);
	return true;
}

void connection_accept(struct engine *engine, const struct listener *listener, int descriptor, const char *peer,
	const struct sockaddr *address)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL) {
		close(descriptor);
		return;
	}
	metric_add(metrics[CONNECTION_ACCEPTED], 1);
	metric_add(metrics[CONNECTION_OPEN], 1);
	connection->flush_task.run = on_flush;
	connection->engine = engine;
	connection->listener = listener;
	connection->limits = server_limits(engine->server);
	connection->descriptor = descriptor;
	connection->send_most = SEND_LEAST;
	connection->opened_ms = connection->active_ms = connection->phase_ms = worker_now_ms(engine->worker);
	connection->is_draining = engine->is_draining;
	snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
	connection->next = engine->connections;
	if (engine->connections != NULL)
		engine->connections->previous = connection;
	engine->connections = connection;
	engine->connection_count++;
	bool is_admin = listener->settings->role == LISTENER_ADMIN;
	connection->is_counted = !is_admin && server_admit_connection(engine->server);
	/* behind an ingress the peer is the ingress: its address is no source */
	bool is_admitted =
		is_admin || (connection->is_counted && (listener->settings->trusted_ingress ||
												   listener->settings->proxy_protocol || enter_source(connection)));
	connection->is_trusted = listener->settings->trusted_ingress || server_trusts(engine->server, address);
	connection->phase = listener->settings->proxy_protocol             ? PHASE_PROXY
						: listener->settings->protocol == LISTENER_TLS ? PHASE_HANDSHAKE
																	   : PHASE_PREFACE;
	if (!is_admitted || (listener->settings->protocol == LISTENER_TLS && !open_tls(connection)) ||
		!open_events(connection)) {
		metric_add(metrics[CONNECTION_REFUSED], 1);
		fail(connection, STATUS_REFUSED);
	}
}

/* --- what protocols ask */

enum penalty_verdict connection_charge(struct connection *connection, unsigned points)
{
	enum penalty_verdict verdict =
		penalty_charge(&connection->penalty, connection->limits, worker_now_ms(connection->engine->worker), points);
	if (verdict == PENALTY_OUT && !connection->is_closing)
		metric_add(metrics[CONNECTION_PENALTY_CLOSED], 1);
	return verdict;
}

void connection_describe(struct connection *connection, struct exchange *exchange)
{
	exchange->worker = connection->engine->worker;
	exchange->scheme = connection->ssl != NULL ? TEXT("https") : TEXT("http");
	exchange->peer = text_of(connection->peer);
	exchange->client_identity = connection->identity != NULL ? text_of(connection->identity) : TEXT_NONE;
	exchange->listener = (enum listener_role)connection->listener->settings->role;
	exchange->trusted_ingress = connection->is_trusted;
	exchange->connection = connection;
}

/* --- all of a worker */

static void check(struct connection *connection, uint64_t now_ms)
{
	const struct limits *limits = connection->limits;
	uint64_t age = now_ms - connection->phase_ms;
	uint64_t limit = connection->phase == PHASE_HANDSHAKE ? (uint64_t)limits->tls_ms : (uint64_t)limits->preface_ms;
	if (connection->phase != PHASE_OPEN) {
		if (age >= limit) {
			metric_add(metrics[CONNECTION_TIMEOUTS], 1);
			fail(connection, STATUS_TIMEOUT);
		}
		return;
	}
	if (connection->is_closing) { /* what it does not take within the time of an idle stream is lost */
		if (now_ms - connection->active_ms >= (uint64_t)limits->stream_idle_ms)
			fail(connection, STATUS_TIMEOUT);
		return;
	}
	if (connection->streams == 0 && now_ms - connection->active_ms >= (uint64_t)limits->idle_ms) {
		wake(connection);
		connection->protocol->drain(connection);
		connection_close_later(connection, STATUS_TIMEOUT);
		return;
	}
	connection->protocol->check(connection, now_ms);
}

void connections_check(struct engine *engine)
{
	uint64_t now_ms = worker_now_ms(engine->worker);
	unsigned shut = 0;
	for (struct connection *connection = engine->connections, *next; connection != NULL; connection = next) {
		next = connection->next;
		if (connection->is_closed)
			continue;
		check(connection, now_ms);
		if (shut < SHUT_AT_ONCE)
			shut += try_sleep(connection, now_ms);
	}
}

void connections_drain(struct engine *engine)
{
	for (struct connection *connection = engine->connections, *next; connection != NULL; connection = next) {
		next = connection->next;
		if (connection->is_closed)
			continue;
		connection->is_draining = true;
		wake(connection);
		if (connection->phase == PHASE_OPEN)
			connection->protocol->drain(connection);
		else
			fail(connection, STATUS_CLOSED);
	}
}

void connections_close(struct engine *engine, enum status why)
{
	for (struct connection *connection = engine->connections, *next; connection != NULL; connection = next) {
		next = connection->next;
		fail(connection, why);
	}
}
