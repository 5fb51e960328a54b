/* What leaves a connection: gathered in the worker's buffers while it is flushed, sent by few large calls, kept when
 * the socket is full.
 *
 * Clear: pieces, most of them lent, go out by one sendmsg. TLS: small bytes share a record; OpenSSL's records land, by
 * a BIO of ours, in one buffer of ciphertext, which goes out by one send. On a socket that takes all, the costly part
 * is not the bytes but the call, the packet and waking the reader. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/mapping.h"
#include "server/connection.h"
#include "server/tls_errors.h"

enum { DIRECT_WRITE = 8192 };

bool connection_can_write(const struct connection *connection)
{
	return connection->kept == NULL && !connection->is_failed && !connection->is_closed && !connection->is_cut;
}

/* --- the socket */

/* What the socket took; 0: nothing now, or never again. */
static size_t send_pieces(struct connection *connection, struct iovec *pieces, unsigned count)
{
	const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
	int more = connection->is_corked ? MSG_MORE : 0;
	ssize_t sent;
	do
		sent = sendmsg(connection->descriptor, &message, MSG_NOSIGNAL | more);
	while (sent < 0 && errno == EINTR);
	/* EFAULT: a lent file was truncated. What is kept instead reads as zeros, and its lender will say that it failed.
	 */
	if (sent < 0 && errno != EAGAIN && errno != EFAULT)
		connection->is_failed = true;
	if (sent <= 0)
		return 0;
	connection->active_ms = worker_now_ms(connection->engine->worker);
	return (size_t)sent;
}

/* Copies what is left of the pieces behind what is kept already. */
static void keep(struct connection *connection, const struct iovec *pieces, unsigned count, size_t length)
{
	size_t left = connection->kept == NULL ? 0 : connection->kept_length - connection->kept_from;
	uint8_t *more = malloc(left + length);
	if (more == NULL) {
		connection->is_failed = true;
		return;
	}
	if (left > 0)
		memcpy(more, connection->kept + connection->kept_from, left);
	free(connection->kept);
	connection->kept = more;
	connection->kept_from = 0;
	connection->kept_length = left + length;
	for (unsigned i = 0; i < count; i++) {
		(void)mapping_copy(pieces[i].iov_base, pieces[i].iov_len, 0, more + left, pieces[i].iov_len);
		left += pieces[i].iov_len;
	}
	event_add(connection->write_event, NULL);
}

/* The socket takes all: the next send may have more, but not much more than may be held for a peer. */
static void grow(struct connection *connection)
{
	bool is_sealed = connection->ssl != NULL;
	size_t most = (is_sealed ? 1 : 2) * (size_t)connection->limits->connection_buffer + SEND_LEAST / 8;
	if (most > (is_sealed ? SEND_SEALED : SEND_MOST))
		most = is_sealed ? SEND_SEALED : SEND_MOST;
	connection->send_most *= 2;
	if (connection->send_most > most)
		connection->send_most = most;
	if (connection->send_most < SEND_LEAST)
		connection->send_most = SEND_LEAST;
}

static void send_or_keep(struct connection *connection, struct iovec *pieces, unsigned count, size_t length)
{
	if (connection->is_failed || connection->is_closed || connection->is_cut || length == 0)
		return;
	bool is_large = length > connection->send_most / 2;
	while (connection->kept == NULL && length > 0) {
		size_t sent = send_pieces(connection, pieces, count);
		if (sent == 0)
			break;
		length -= sent;
		for (; count > 0 && sent >= pieces->iov_len; pieces++, count--)
			sent -= pieces->iov_len;
		if (count > 0) {
			pieces->iov_base = (char *)pieces->iov_base + sent;
			pieces->iov_len -= sent;
		}
	}
	if (length > 0 && !connection->is_failed) {
		keep(connection, pieces, count, length);
		connection->send_most = SEND_LEAST;
	} else if (is_large && connection->send_most < SEND_MOST) {
		grow(connection);
	}
}

bool connection_send_kept(struct connection *connection)
{
	while (connection->kept_from < connection->kept_length) {
		struct iovec piece = {
			connection->kept + connection->kept_from, connection->kept_length - connection->kept_from};
		size_t sent = send_pieces(connection, &piece, 1);
		if (sent == 0) {
			if (!connection->is_failed)
				event_add(connection->write_event, NULL);
			return false;
		}
		connection->kept_from += sent;
	}
	free(connection->kept);
	connection->kept = NULL;
	return true;
}

/* --- TLS */

void connection_send_sealed(struct connection *connection)
{
	struct engine *engine = connection->engine;
	struct iovec piece = {engine->sealed, engine->sealed_length};
	if (engine->sealed_for != connection)
		return;
	engine->sealed_for = NULL;
	engine->sealed_length = 0;
	send_or_keep(connection, &piece, 1, piece.iov_len);
}

static int on_bio_write(BIO *bio, const char *bytes, int length)
{
	struct connection *connection = BIO_get_data(bio);
	struct engine *engine = connection->engine;
	size_t count = length > 0 ? (size_t)length : 0;
	BIO_clear_retry_flags(bio);
	/* what a peer provokes (alerts, key updates) must not pile up behind a socket that it does not empty */
	if (connection->kept != NULL && connection->kept_length - connection->kept_from + count > KEPT_MAX) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (engine->sealed_for != NULL && engine->sealed_for != connection)
		connection_send_sealed(engine->sealed_for);
	if (engine->sealed_length + count > connection->send_most)
		connection_send_sealed(connection);
	if (count > SEND_LEAST || connection->is_failed)
		return -1;
	memcpy(engine->sealed + engine->sealed_length, bytes, count);
	engine->sealed_length += count;
	engine->sealed_for = connection;
	return length;
}

static long on_bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH; /* what is sealed leaves when the operation is over */
}

static BIO_METHOD *sealed_output;

__attribute__((constructor)) static void make_method(void)
{
	sealed_output = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sealed output");
	if (sealed_output == NULL || BIO_meth_set_write(sealed_output, on_bio_write) != 1 ||
		BIO_meth_set_ctrl(sealed_output, on_bio_control) != 1)
		abort();
}

__attribute__((destructor)) static void free_method(void)
{
	BIO_meth_free(sealed_output);
}

bool connection_open_tls_output(struct connection *connection)
{
	BIO *input = BIO_new_socket(connection->descriptor, BIO_NOCLOSE);
	BIO *output = BIO_new(sealed_output);
	if (input == NULL || output == NULL) {
		BIO_free(input);
		BIO_free(output);
		return false;
	}
	BIO_set_data(output, connection);
	BIO_set_init(output, 1);
	SSL_set_bio(connection->ssl, input, output);
	return true;
}

/* Into records. Our BIO takes all while little is kept, so anything less is an error. */
static void seal(struct connection *connection, const uint8_t *bytes, size_t length)
{
	while (length > 0 && !connection->is_failed) {
		tls_errors_clear();
		int count = SSL_write(connection->ssl, bytes, length > INT32_MAX ? INT32_MAX : (int)length);
		if (count <= 0) {
			connection->is_failed = true;
			return;
		}
		connection->engine->records++;
		bytes += count;
		length -= (size_t)count;
	}
}

/* --- gathering */

void connection_send_gathered(struct connection *connection)
{
	struct engine *engine = connection->engine;
	size_t length = engine->gathered, lent = engine->lent;
	unsigned count = engine->piece_count;
	if (engine->gathered_for != connection)
		return;
	engine->gathered = engine->lent = 0;
	engine->piece_count = 0;
	engine->send_number++;
	if (connection->ssl != NULL)
		seal(connection, engine->gather, length);
	else
		send_or_keep(connection, engine->pieces, count, length + lent);
}

/* Bytes stand in the gather: they go out with it. */
static void add_gathered(struct engine *engine, size_t length)
{
	const uint8_t *from = engine->gather + engine->gathered;
	struct iovec *last = engine->piece_count == 0 ? NULL : &engine->pieces[engine->piece_count - 1];
	engine->gathered += length;
	if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == from)
		last->iov_len += length;
	else
		engine->pieces[engine->piece_count++] = (struct iovec){(void *)(uintptr_t)from, length};
}

static bool has_room(const struct connection *connection, size_t length, size_t lent)
{
	const struct engine *engine = connection->engine;
	if (connection->ssl != NULL)
		return engine->gathered + length <= GATHER_TLS;
	return engine->gathered + length <= GATHER_CLEAR &&
		   engine->gathered + engine->lent + length + lent <= connection->send_most &&
		   engine->piece_count + 2 <= PIECES_MAX;
}

void connection_write(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct engine *engine = connection->engine;
	/* a record is best written from where it was produced */
	bool is_direct = connection->ssl != NULL && length >= DIRECT_WRITE;
	while (length > 0 && !connection->is_failed) {
		if (engine->gathered > 0 && (is_direct || !has_room(connection, length < GATHER_TLS ? length : GATHER_TLS, 0)))
			connection_send_gathered(connection);
		if (is_direct) {
			seal(connection, bytes, length);
			return;
		}
		size_t part = length < GATHER_TLS ? length : GATHER_TLS;
		memcpy(engine->gather + engine->gathered, bytes, part);
		add_gathered(engine, part);
		bytes += part;
		length -= part;
	}
}

void connection_lend(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct engine *engine = connection->engine;
	engine->pieces[engine->piece_count++] = (struct iovec){(void *)(uintptr_t)bytes, length};
	engine->lent += length;
}

uint8_t *connection_reserve(struct connection *connection, size_t length, size_t lent)
{
	struct engine *engine = connection->engine;
	if (!has_room(connection, length, lent))
		connection_send_gathered(connection);
	return engine->gather + engine->gathered;
}

void connection_commit(struct connection *connection, size_t length)
{
	add_gathered(connection->engine, length);
}

size_t connection_send_file(struct connection *connection, int file, int64_t offset, size_t length, bool *failed)
{
	*failed = false;
	connection_send_gathered(connection);
	if (!connection_can_write(connection))
		return 0;
	off_t at = offset;
	ssize_t count = sendfile(connection->descriptor, file, &at, length);
	if (count > 0) {
		connection->active_ms = worker_now_ms(connection->engine->worker);
		return (size_t)count;
	}
	if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
		event_add(connection->write_event, NULL);
		return 0;
	}
	*failed = true; /* the file became shorter, or the socket broke */
	return 0;
}

static size_t send_from_pipe(struct connection *connection, int pipe, size_t length)
{
	size_t total = 0;
	while (total < length) {
		ssize_t count = splice(pipe, NULL, connection->descriptor, NULL, length - total,
			SPLICE_F_NONBLOCK | SPLICE_F_MOVE | SPLICE_F_MORE);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			connection->is_failed = connection->is_failed || count == 0 || errno != EAGAIN;
			break;
		}
		total += (size_t)count;
	}
	if (total > 0)
		connection->active_ms = worker_now_ms(connection->engine->worker);
	return total;
}

/* The rest of a frame whose head is on its way: its stream may end, and its source, but it must follow. */
static void keep_from_pipe(struct connection *connection, int pipe, size_t length)
{
	uint8_t *bytes = malloc(length);
	size_t count = 0;
	while (bytes != NULL && count < length) {
		ssize_t got = read(pipe, bytes + count, length - count);
		if (got <= 0 && !(got < 0 && errno == EINTR))
			break;
		count += got > 0 ? (size_t)got : 0;
	}
	if (bytes != NULL && count == length)
		keep(connection, &(struct iovec){bytes, length}, 1, length);
	else
		connection->is_failed = true;
	free(bytes);
}

void connection_send_pipe(struct connection *connection, int pipe, size_t length)
{
	connection->is_corked = true;
	connection_send_gathered(connection);
	size_t sent = connection_can_write(connection) ? send_from_pipe(connection, pipe, length) : 0;
	if (sent < length && !connection->is_failed)
		keep_from_pipe(connection, pipe, length - sent);
}

/* Nothing more comes: what the kernel waits with goes. */
static void uncork(struct connection *connection)
{
	const int yes = 1;
	if (!connection->is_corked)
		return;
	connection->is_corked = false;
	(void)setsockopt(
		connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* as set before: this pushes */
}

/* OpenSSL gives its write buffer back after each record. A connection that had many to write in its last flush keeps
 * the buffer for this one; giving it back at the end is what costs. */
static void hold_buffer(struct connection *connection, bool is_held)
{
	SSL *ssl = connection->ssl;
	if (ssl == NULL || !connection->is_bulk)
		return;
	if (is_held) {
		SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
		return;
	}
	SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	if (!SSL_has_pending(ssl))
		SSL_free_buffers(ssl);
}

void connection_produce(struct connection *connection)
{
	struct engine *engine = connection->engine;
	engine->records = 0;
	hold_buffer(connection, true);
	engine->gathered_for = connection;
	connection->protocol->flush(connection);
	connection_send_gathered(connection);
	uncork(connection);
	engine->gathered_for = NULL;
	hold_buffer(connection, false);
	connection->is_bulk = engine->records > 1;
	connection_send_sealed(connection);
}
