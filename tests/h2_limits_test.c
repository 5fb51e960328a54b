/* HTTP/2 on a connection: what a peer may not overdo, and what one turn takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/ioctl.h>

#include "tests/h2_peer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void streams_at_once_are_limited(void **state)
{
	(void)state;
	struct peer peer;
	peer_open(&peer);
	peer_hears(&peer);
	for (int32_t i = 0; i < 100; i++)
		send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, i * 2 + 1, LITERAL(GET "\x04\x05/hold"));
	assert_string_equal(peer_hears(&peer), "");
	assert_int_equal(opened, closed + 100);
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 201, LITERAL(GET HELLO));
	assert_string_equal(peer_hears(&peer), "G199:1 end "); /* it knew */
	peer_close(&peer);
}

/* Pings without end cost the peer its connection: first a warning, which is the end of an idle one, then the end. */
static void floods_end_the_connection(void **state)
{
	(void)state;
	static const struct {
		bool is_busy;
		unsigned warned, ended; /* after so many: the clock gives nothing back */
	} floods[] = {{false, 375, 375}, {true, 375, 500}};
	for (size_t i = 0; i < COUNT(floods); i++) {
		struct peer peer;
		unsigned pings = 0, warned = 0;
		bool is_ended = false;
		peer_open(&peer);
		if (floods[i].is_busy)
			send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x05/hold"));
		peer_hears(&peer);
		while (pings < 1000 && !is_ended) {
			send_frame(&peer, NGHTTP2_PING, 0, 0, TEXT("12345678"));
			pings++;
			const char *heard = peer_hears(&peer);
			if (warned == 0 && strstr(heard, ":11 ") != NULL)
				warned = pings;
			is_ended = strstr(heard, "end ") != NULL;
		}
		assert_int_equal(warned, floods[i].warned);
		assert_int_equal(pings, floods[i].ended);
		peer_close(&peer);
	}
}

static void append_frame(struct buffer *buffer, uint8_t type, uint8_t flags, int32_t id, struct text payload)
{
	const char head[HEAD] = {(char)(payload.length >> 16), (char)(payload.length >> 8), (char)payload.length,
		(char)type, (char)flags, (char)((uint32_t)id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id};
	buffer_append(buffer, (struct text){head, HEAD});
	buffer_append(buffer, payload);
}

/* Sent at once, with no turn in between. */
static void send_at_once(struct peer *peer, struct buffer *bytes)
{
	assert_int_equal(send(peer->descriptor, bytes->bytes, bytes->length, MSG_NOSIGNAL), bytes->length);
	buffer_free(bytes);
}

/* Whoever brings much in one piece is served in pieces, and its neighbours in between. */
static void a_turn_takes_a_little_of_each(void **state)
{
	(void)state;
	struct peer crowd, neighbour;
	struct buffer many = {0}, one = {0};
	peer_open(&crowd);
	peer_open(&neighbour);
	peer_hears(&crowd);
	peer_hears(&neighbour);
	for (int32_t i = 0; i < 100; i++)
		append_frame(&many, NGHTTP2_HEADERS, HEADERS_END | END, i * 2 + 1, LITERAL(GET HELLO));
	append_frame(&one, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET HELLO));
	send_at_once(&crowd, &many);
	send_at_once(&neighbour, &one);
	unsigned before = opened;
	fixture_turn(&fixture);
	assert_int_equal(opened - before, 32 + 1);
	char byte;
	assert_int_equal(recv(neighbour.descriptor, &byte, 1, MSG_PEEK), 1);
	fixture_turn(&fixture);
	assert_int_equal(opened - before, 64 + 1);
	unsigned answers = 0;
	for (const char *at = peer_hears(&crowd); (at = strstr(at, ":status=200")) != NULL; at++)
		answers++;
	assert_int_equal(answers, 100);
	assert_string_equal(peer_hears(&neighbour), GOT_HELLO(1));
	peer_leave(&neighbour);
	peer_close(&crowd);
}

static void a_turn_reads_so_many_bytes(void **state)
{
	(void)state;
	static char block[16384 - HEAD];
	struct peer peer;
	struct buffer bytes = {0};
	int before, after;
	peer_open(&peer);
	peer_hears(&peer);
	for (int i = 0; i < 10; i++)
		append_frame(&bytes, 0xfa, 0, 0, (struct text){block, sizeof(block)});
	send_at_once(&peer, &bytes);
	int descriptor = fixture.engine.connections->descriptor;
	assert_int_equal(ioctl(descriptor, FIONREAD, &before), 0);
	fixture_turn(&fixture);
	assert_int_equal(ioctl(descriptor, FIONREAD, &after), 0);
	assert_int_equal(before - after, 65536);
	assert_string_equal(peer_hears(&peer), "");
	assert_int_equal(ioctl(descriptor, FIONREAD, &after), 0);
	assert_int_equal(after, 0);
	peer_close(&peer);
}

/* Decoding what is refused anyway is paid for, too: by the field. */
static void fields_beyond_the_limit_are_charged(void **state)
{
	(void)state;
	static const struct {
		unsigned fields,
			heads; /* 4 and 1 for 16 more, of 500; after the warning at 375 as in dropped_heads_are_charged */
	} bombs[] = {{16000, 1}, {4101, 2}, {3301, 10}};
	for (size_t i = 0; i < COUNT(bombs); i++) {
		struct peer peer;
		unsigned heads = 0;
		const char *heard = "";
		struct buffer head = {0};
		peer_open(&peer);
		send_frame(
			&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x05/hold")); /* a warning is no end */
		peer_hears(&peer);
		buffer_append(&head, LITERAL(GET HELLO));
		for (unsigned field = 0; field < bombs[i].fields; field++)
			buffer_append_byte(&head, '\x90');
		while (heads < 100 && strstr(heard, "end ") == NULL) {
			heads++;
			send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, (int32_t)heads * 2 + 1, buffer_text(&head));
			heard = peer_hears(&peer);
		}
		assert_int_equal(heads, bombs[i].heads);
		assert_non_null(strstr(heard, ":11 "));
		buffer_free(&head);
		peer_close(&peer);
	}
}

/* Heads of streams that are closed, and all after a GOAWAY, are decoded for the table's sake alone. */
static void dropped_heads_are_charged(void **state)
{
	(void)state;
	static const struct {
		bool is_warned;
		unsigned heads; /* each 1 and 1 for 256 bytes: of 500, or of the 125 that a warning leaves */
	} floods[] = {{false, 16}, {true, 4}};
	for (size_t i = 0; i < COUNT(floods); i++) {
		struct peer peer;
		unsigned heads = 0;
		const char *heard = "";
		struct buffer head = {0};
		peer_open(&peer);
		send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x05/hold"));
		send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END, 3, LITERAL(POST "\x04\x07/refuse")); /* reset by us */
		for (unsigned pings = 0; floods[i].is_warned && pings < 375; pings++)
			send_frame(&peer, NGHTTP2_PING, 0, 0, TEXT("12345678"));
		peer_hears(&peer);
		buffer_append(&head, LITERAL(GET HELLO));
		while (head.length < 8192)
			buffer_append_byte(&head, '\x90');
		while (heads < 1000 && strstr(heard, "end ") == NULL) {
			heads++;
			send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, floods[i].is_warned ? (int32_t)heads * 2 + 3 : 3,
				buffer_text(&head));
			heard = peer_hears(&peer);
		}
		assert_int_equal(heads, floods[i].heads);
		buffer_free(&head);
		peer_close(&peer);
	}
}

/* A runtime never sees the clean end of a request whose trailers were too many. */
static void too_many_trailers_reset_the_stream(void **state)
{
	(void)state;
	struct peer peer;
	struct buffer trailers = {0};
	peer_open(&peer);
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END, 1, LITERAL(POST "\x04\x05/take"));
	send_frame(&peer, NGHTTP2_DATA, 0, 1, TEXT("abcde"));
	assert_string_equal(peer_hears(&peer), WINDOW);
	for (int i = 0; i < 101; i++)
		buffer_append_byte(&trailers, '\x90');
	send_frame(&peer, NGHTTP2_HEADERS, HEADERS_END | END, 1, buffer_text(&trailers));
	assert_string_equal(peer_hears(&peer), "R1:11 ");
	assert_int_equal(last_outcome, STATUS_REFUSED);
	buffer_free(&trailers);
	peer_close(&peer);
}

/* Sessions of a worker pack into one buffer: neither stream's bytes show up in another's. */
static void sessions_do_not_mix(void **state)
{
	(void)state;
	struct peer peers[3];
	for (int i = 0; i < 3; i++) {
		peer_open(&peers[i]);
		peers[i].has_digits = true;
		send_frame(&peers[i], NGHTTP2_HEADERS, HEADERS_END | END, 1, LITERAL(GET "\x04\x0e/length/300000"));
		send_frame(&peers[i], NGHTTP2_HEADERS, HEADERS_END | END, 3, LITERAL(GET "\x04\x0e/stream/200000"));
	}
	for (int round = 0; round < 200; round++) {
		struct peer *peer = &peers[round % 3];
		peer_hears(peer);
		send_number(peer, NGHTTP2_WINDOW_UPDATE, 0, 12345);
		send_number(peer, NGHTTP2_WINDOW_UPDATE, 1, 9000);
		send_number(peer, NGHTTP2_WINDOW_UPDATE, 3, 7000);
	}
	for (int i = 0; i < 3; i++) {
		peer_hears(&peers[i]);
		assert_int_equal(peers[i].digits[0], 300000);
		assert_int_equal(peers[i].digits[1], 200000);
	}
	peer_leave(&peers[0]);
	peer_leave(&peers[1]);
	peer_close(&peers[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_at_once_are_limited),
		cmocka_unit_test(floods_end_the_connection),
		cmocka_unit_test(a_turn_takes_a_little_of_each),
		cmocka_unit_test(a_turn_reads_so_many_bytes),
		cmocka_unit_test(fields_beyond_the_limit_are_charged),
		cmocka_unit_test(dropped_heads_are_charged),
		cmocka_unit_test(too_many_trailers_reset_the_stream),
		cmocka_unit_test(sessions_do_not_mix),
	};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
