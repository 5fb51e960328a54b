/* What stands in the kernel of an answer that is stopped is thrown away and not counted; what stands before it arrives;
 * few connections may have much there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "server/answer.h"
#include "server/socket_queue.h"
#include "server/stream.h"
#include "tests/engine_fixture.h"

enum { FILE_LENGTH = 8 << 20, TEXT_LENGTH = 100 * 1000, PEER_BUFFER = 16 * 1024 };

static struct engine_fixture fixture;
static struct exchange *stopping;
static int file = -1;
static uint64_t counted;
static unsigned closed;

static void on_close(struct exchange *exchange, enum status outcome)
{
	(void)outcome;
	counted = exchange->bytes_sent;
	closed++;
}

static enum body_state read_nothing(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	(void)exchange, (void)frame, (void)room, (void)count;
	return BODY_FAILED;
}

static enum body_state pipe_zeros(struct exchange *exchange, size_t room, int *pipe, size_t *count)
{
	(void)exchange;
	*pipe = -1;
	*count = room;
	return BODY_MORE;
}

static enum body_state read_zeros(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	(void)exchange;
	memset(frame, 0, room);
	*count = room;
	return BODY_MORE;
}

static void on_request(void *context, struct exchange *exchange)
{
	static char text[TEXT_LENGTH];
	(void)context;
	exchange->on_close = on_close;
	if (text_equals(exchange->target, TEXT("/moved"))) {
		exchange->pipe_body = pipe_zeros;
		exchange->read_body = read_zeros;
		stopping = exchange;
		return;
	}
	if (text_equals(exchange->target, TEXT("/text"))) {
		memset(text, 't', sizeof(text));
		answer(exchange, 200, TEXT("text/plain"), (struct text){text, sizeof(text)});
		return;
	}
	stopping = exchange;
	exchange->status = 200;
	exchange->response_length = FILE_LENGTH;
	exchange->read_body = read_nothing;
	exchange->file_descriptor = file;
	exchange_respond(exchange);
}

static int open_fixture(void **state)
{
	static const struct handler handler = {.on_request = on_request};
	(void)state;
	fixture_open(&fixture, &handler);
	file = memfd_create("file", MFD_CLOEXEC);
	return file < 0 || ftruncate(file, FILE_LENGTH) != 0;
}

static int close_fixture(void **state)
{
	(void)state;
	close(file);
	fixture_close(&fixture);
	return 0;
}

/* The ends of a TCP connection whose peer has room for little. */
static void connect_pair(int *own, int *peer)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	const int room = PEER_BUFFER;
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socket_queue_begin(listening);
	*peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(*peer, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	assert_int_equal(bind(listening, (const struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &length), 0);
	assert_int_equal(connect(*peer, (const struct sockaddr *)&address, length), 0);
	*own = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*own >= 0);
	close(listening);
}

static int connect_peer(void)
{
	static const struct listener_settings settings = {.protocol = LISTENER_CLEAR};
	static const struct listener listener = {.settings = &settings};
	static const struct sockaddr_in address = {.sin_family = AF_INET};
	int own, peer;
	connect_pair(&own, &peer);
	connection_accept(&fixture.engine, &listener, own, "127.0.0.1", (const struct sockaddr *)&address);
	return peer;
}

static void ask(int peer, const char *requests)
{
	assert_int_equal(send(peer, requests, strlen(requests), MSG_NOSIGNAL), strlen(requests));
	for (int i = 0; i < 200 && (stopping == NULL || stopping->bytes_sent == 0); i++)
		fixture_turn(&fixture);
	for (int i = 0; i < 10; i++)
		fixture_turn(&fixture);
}

/* How much comes until the end; false: that is a reset. */
static bool receive_all(int peer, size_t *total)
{
	static char block[65536];
	ssize_t count;
	*total = 0;
	while ((count = recv(peer, block, sizeof(block), 0)) > 0)
		*total += (size_t)count;
	return count == 0;
}

static void stop(void)
{
	exchange_abort(stopping, STATUS_STOPPED);
	stopping = NULL;
	for (int i = 0; i < 3; i++)
		fixture_turn(&fixture);
	assert_int_equal(fixture.engine.connection_count, 0);
}

static void what_was_stopped_does_not_arrive(void **state)
{
	(void)state;
	size_t total;
	int peer = connect_peer();
	ask(peer, "GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
	uint64_t taken = stopping->bytes_sent;
	assert_in_range(taken, UNSENT_MAX / 2, FILE_LENGTH / 2);
	assert_in_range(taken - exchange_sent(stopping), 1, 2 * UNSENT_MAX);
	stop();
	assert_in_range(counted, 1, taken - 1);
	assert_false(receive_all(peer, &total));
	assert_int_equal(errno, ECONNRESET);
	assert_true(total < taken);
	close(peer);
}

static void what_stands_before_it_does(void **state)
{
	(void)state;
	size_t total;
	unsigned before = closed;
	int peer = connect_peer();
	ask(peer, "GET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /file HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(closed, before + 1);
	uint64_t taken = stopping->bytes_sent;
	assert_in_range(taken, 1, TEXT_LENGTH - 1);
	stop();
	assert_true(receive_all(peer, &total));
	assert_true(total > TEXT_LENGTH);
	close(peer);
}

static int bound_of(const struct connection *connection)
{
	int bound = 0;
	socklen_t length = sizeof(bound);
	assert_int_equal(getsockopt(connection->descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &length), 0);
	return bound;
}

static void few_are_deep(void **state)
{
	(void)state;
	static struct connection connections[DEEP_MOST + 1];
	int peers[DEEP_MOST + 1];
	for (int i = 0; i <= DEEP_MOST; i++) {
		connections[i].engine = &fixture.engine;
		connect_pair(&connections[i].descriptor, &peers[i]);
		assert_int_equal(bound_of(&connections[i]), UNSENT_MAX);
		socket_queue_deepen(&connections[i], true);
		socket_queue_deepen(&connections[i], true);
		assert_int_equal(bound_of(&connections[i]), i < DEEP_MOST ? UNSENT_DEEP : UNSENT_MAX);
	}
	socket_queue_deepen(&connections[DEEP_MOST], false); /* it never was */
	socket_queue_deepen(&connections[0], false);
	assert_int_equal(bound_of(&connections[0]), UNSENT_MAX);
	socket_queue_deepen(&connections[DEEP_MOST], true);
	assert_int_equal(bound_of(&connections[DEEP_MOST]), UNSENT_DEEP);
	for (int i = 0; i <= DEEP_MOST; i++) {
		socket_queue_deepen(&connections[i], false);
		close(connections[i].descriptor);
		close(peers[i]);
	}
	assert_int_equal(fixture.engine.deep_count, 0);
}

/* As if its peer had taken so much, and it had begun so much earlier. */
static void has_moved(struct stream *stream, uint64_t bytes, int64_t ms)
{
	stream->exchange.bytes_sent = bytes;
	stream->progress_ms = (int64_t)worker_now_ms(stream->exchange.worker);
	stream->started_us = (stream->progress_ms - ms) * 1000;
}

static void whose_bytes_are_piped_and_go_quickly_is_deep(void **state)
{
	(void)state;
	static uint8_t frame[16384];
	size_t count, all;
	int pipe, peer = connect_peer();
	ask(peer, "GET /moved HTTP/1.1\r\nHost: a\r\n\r\n");
	struct stream *stream = stream_of(stopping);
	const struct connection *connection = stream->connection;
	has_moved(stream, 64 << 20, 60 * 1000);
	assert_int_equal(stream_pipe(stream, sizeof(frame), &pipe, &count), BODY_MORE);
	assert_int_equal(bound_of(connection), UNSENT_MAX); /* slowly: what stands there would stand long */
	has_moved(stream, 64 << 20, 1000);
	assert_int_equal(stream_pipe(stream, sizeof(frame), &pipe, &count), BODY_MORE);
	assert_int_equal(count, sizeof(frame));
	assert_int_equal(bound_of(connection), UNSENT_DEEP);
	assert_int_equal(stream_produce(stream, frame, sizeof(frame), &count), BODY_MORE);
	assert_int_equal(bound_of(connection), UNSENT_MAX); /* copied */
	assert_int_equal(stream_pipe(stream, sizeof(frame), &pipe, &count), BODY_MORE);
	assert_int_equal(bound_of(connection), UNSENT_DEEP);
	stop();
	assert_int_equal(fixture.engine.deep_count, 0);
	(void)receive_all(peer, &all);
	close(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_stopped_does_not_arrive),
		cmocka_unit_test(what_stands_before_it_does),
		cmocka_unit_test(few_are_deep),
		cmocka_unit_test(whose_bytes_are_piped_and_go_quickly_is_deep),
	};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
