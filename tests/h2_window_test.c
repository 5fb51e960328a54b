/* HTTP/2 on a connection: windows, and the end of streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/h2_peer.h"

static void windows_hold_bodies_back(void **state)
{
	(void)state;
	struct peer peer;
	peer_open(&peer);
	send_frame(&peer, NGHTTP2_SETTINGS, 0, 0, LITERAL("\0\x04\0\0\0\x0a"));
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x0a/length/30"));
	assert_string_equal(peer_hears(&peer), WINDOW "H1 :status=200 content-length=30 D1:10 ");
	assert_string_equal(peer_hears(&peer), "");
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 1, 5);
	assert_string_equal(peer_hears(&peer), "D1:5 ");
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 3, LITERAL(GET "\x04\x0a/length/10"));
	assert_string_equal(peer_hears(&peer), "H3 :status=200 content-length=10 D3:10. ");
	/* the window of all may be opened for one stream alone, and by new settings */
	send_frame(&peer, NGHTTP2_SETTINGS, 0, 0, LITERAL("\0\x04\0\0\0\x0c"));
	assert_string_equal(peer_hears(&peer), "D1:2 ");
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 1, 1000);
	assert_string_equal(peer_hears(&peer), "D1:13. ");
	peer_close(&peer);
}

static void the_connection_window_holds_all(void **state)
{
	(void)state;
	struct peer peer;
	peer_open(&peer);
	send_frame(&peer, NGHTTP2_SETTINGS, 0, 0, LITERAL("\0\x04\0\x0f\0\0"));
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x0e/length/100000"));
	assert_string_equal(peer_hears(&peer), WINDOW "H1 :status=200 content-length=100000 D1:65535 ");
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 3, LITERAL(GET EMPTY));
	assert_string_equal(peer_hears(&peer), "H3 :status=204. "); /* heads are no data */
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 0, 100000);
	assert_string_equal(peer_hears(&peer), "D1:34465. ");
	peer_close(&peer);
}

/* Settings shut the window of a stream that waits for the window of all: below nothing, until the peer opens it. */
static void settings_shut_a_window(void **state)
{
	(void)state;
	struct peer peer;
	peer_open(&peer);
	send_frame(&peer, NGHTTP2_SETTINGS, 0, 0, LITERAL("\0\x04\0\x0f\0\0"));
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x0e/length/100000"));
	assert_string_equal(peer_hears(&peer), WINDOW "H1 :status=200 content-length=100000 D1:65535 ");
	send_frame(&peer, NGHTTP2_SETTINGS, 0, 0, LITERAL("\0\x04\0\0\0\0"));
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 0, 1000000);
	assert_string_equal(peer_hears(&peer), "");
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 1, 65535);
	assert_string_equal(peer_hears(&peer), "");
	send_number(&peer, NGHTTP2_WINDOW_UPDATE, 1, 100000);
	assert_string_equal(peer_hears(&peer), "D1:34465. ");
	peer_close(&peer);
}

/* What the runtime has not given back stays out of the peer's window; beyond it the peer is in the wrong. */
static void bodies_in_stay_within_the_window(void **state)
{
	(void)state;
	static char block[16384];
	struct peer peer;
	peer_open(&peer);
	held_bytes = 0;
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END, 1, LITERAL(POST "\x04\x05/take"));
	for (int i = 0; i < 4; i++)
		send_frame(&peer, NGHTTP2_DATA, 0, 1, (struct text){block, sizeof(block)});
	assert_string_equal(peer_hears(&peer), WINDOW);
	assert_int_equal(held_bytes, 65536);
	exchange_consume(held, 40000);
	assert_string_equal(peer_hears(&peer), "W1:40000 ");
	send_frame(&peer, NGHTTP2_DATA, 0, 1, (struct text){block, sizeof(block)});
	assert_string_equal(peer_hears(&peer), "");
	assert_int_equal(held_bytes, 65536 + 16384);
	send_frame(&peer, NGHTTP2_DATA, 0, 1, (struct text){block, sizeof(block)});
	send_frame(&peer, NGHTTP2_DATA, 0, 1, (struct text){block, sizeof(block)});
	assert_string_equal(peer_hears(&peer), "R1:3 ");
	assert_true(held_bytes <= 65536 + 3 * 16384);
	assert_null(held);
	peer_close(&peer);
}

/* The deadlines are looked at by the clock of the loop's turn, in which the stream may have just begun. */
static void a_stream_of_this_turn_is_not_late(void **state)
{
	(void)state;
	struct peer peer;
	peer_open(&peer);
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END, 1, LITERAL(POST "\x04\x05/take"));
	assert_string_equal(peer_hears(&peer), WINDOW);
	struct connection *connection = fixture.engine.connections;
	connection->protocol->check(connection, worker_now_ms(fixture.worker) - 1000);
	assert_string_equal(peer_hears(&peer), "");
	peer_close(&peer);
}

static void draining_lets_streams_end(void **state)
{
	(void)state;
	struct peer busy, idle;
	peer_open(&busy);
	peer_open(&idle);
	send_frame(&busy, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x05/hold"));
	assert_string_equal(peer_hears(&busy), WINDOW);
	assert_string_equal(peer_hears(&idle), WINDOW);
	connections_drain(&fixture.engine);
	assert_string_equal(peer_hears(&busy), "G1:0 ");
	assert_string_equal(peer_hears(&idle), "G0:0 end ");
	send_frame(&busy, NGHTTP2_HEADERS, HEADERS_END | END, 3, LITERAL(GET HELLO));
	assert_string_equal(peer_hears(&busy), ""); /* it was told */
	answer_empty(held, 204);
	assert_string_equal(peer_hears(&busy), "H1 :status=204. end ");
	peer_leave(&idle);
	peer_close(&busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_hold_bodies_back),
		cmocka_unit_test(the_connection_window_holds_all),
		cmocka_unit_test(settings_shut_a_window),
		cmocka_unit_test(bodies_in_stay_within_the_window),
		cmocka_unit_test(draining_lets_streams_end),
		cmocka_unit_test(a_stream_of_this_turn_is_not_late),
	};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
