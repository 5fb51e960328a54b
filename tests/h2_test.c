/* HTTP/2 on a connection, frame by frame: what a peer sends, and what it gets in a shorthand (see `note`). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "tests/engine_fixture.h"
#include "tests/handler_fixture.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct engine_fixture fixture;

static int open_fixture(void **state)
{
	static const struct handler handler = {.on_request = on_request};
	(void)state;
	fixture_open(&fixture, &handler);
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	fixture_close(&fixture);
	return 0;
}

/* --- the peer */

enum { HEAD = 9, END = 1, HEADERS_END = 4, ACK = 1 };

struct frame {
	uint8_t type, flags;
	int32_t id;
	struct text payload;
};

struct peer {
	int descriptor;
	nghttp2_hd_inflater *inflater;
	struct buffer input;
	struct buffer seen;  /* in shorthand */
	struct buffer block; /* of a head that goes on in another frame */
	int32_t data_id;     /* DATA frames in a row are told as one */
	size_t data_length;
	size_t digits[8]; /* of the streams up to 15, when their bodies are digits */
	bool has_digits;
	bool is_closed;
};

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		fixture_turn(&fixture);
}

static void send_bytes(struct peer *peer, struct text bytes)
{
	while (bytes.length > 0) {
		ssize_t count = send(peer->descriptor, bytes.bytes, bytes.length, MSG_NOSIGNAL);
		if (count < 0)
			return; /* closed: what it said counts */
		bytes = text_slice(bytes, (size_t)count, bytes.length);
		fixture_turn(&fixture);
	}
}

static void send_frame(struct peer *peer, uint8_t type, uint8_t flags, int32_t id, struct text payload)
{
	struct buffer frame = {0};
	const uint8_t head[HEAD] = {(uint8_t)(payload.length >> 16), (uint8_t)(payload.length >> 8),
		(uint8_t)payload.length, type, flags, (uint8_t)((uint32_t)id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
		(uint8_t)id};
	buffer_append(&frame, (struct text){(const char *)head, HEAD});
	buffer_append(&frame, payload);
	send_bytes(peer, buffer_text(&frame));
	buffer_free(&frame);
}

static void send_number(struct peer *peer, uint8_t type, int32_t id, uint32_t number)
{
	const char bytes[] = {(char)(number >> 24), (char)(number >> 16), (char)(number >> 8), (char)number};
	send_frame(peer, type, 0, id, (struct text){bytes, sizeof(bytes)});
}

static void peer_open(struct peer *peer)
{
	*peer = (struct peer){.descriptor = fixture_connect(&fixture)};
	assert_int_equal(nghttp2_hd_inflate_new(&peer->inflater), 0);
	send_bytes(peer, TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	send_frame(peer, NGHTTP2_SETTINGS, 0, 0, TEXT(""));
	send_frame(peer, NGHTTP2_SETTINGS, ACK, 0, TEXT("")); /* as if it had seen ours: they hold from now on */
}

static void peer_leave(struct peer *peer)
{
	nghttp2_hd_inflate_del(peer->inflater);
	buffer_free(&peer->input);
	buffer_free(&peer->seen);
	buffer_free(&peer->block);
	close(peer->descriptor);
	turn();
}

/* The last one's: nothing is left behind. */
static void peer_close(struct peer *peer)
{
	peer_leave(peer);
	assert_int_equal(fixture.engine.connection_count, 0);
	assert_int_equal(opened, closed);
}

/* --- what it gets: "H1 :status=200 a=b." (with '.': the stream's end), "D1:5." bytes of DATA, "R1:8" reset, "G3:0"
 * GOAWAY, "W1:5" WINDOW_UPDATE, "A" the answer to a PING. Settings, their answers and the date are left out. */

static uint32_t read_number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void note_fields(struct peer *peer, const uint8_t *block, size_t length)
{
	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(peer->inflater, &field, &flags, block, length, 1);
		assert_true(used >= 0);
		block += used;
		length -= (size_t)used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && memcmp(field.name, "date", 4) != 0)
			buffer_printf(&peer->seen, " %s=%s", (const char *)field.name, (const char *)field.value);
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
			break;
	}
	nghttp2_hd_inflate_end_headers(peer->inflater);
}

static void note_block(struct peer *peer, const uint8_t *head, const uint8_t *payload, size_t length)
{
	buffer_append(&peer->block, (struct text){(const char *)payload, length});
	if ((head[4] & HEADERS_END) == 0)
		return;
	note_fields(peer, (const uint8_t *)peer->block.bytes, peer->block.length);
	buffer_clear(&peer->block);
}

/* Each byte is in its place, whatever was sent between the frames. */
static void check_digits(struct peer *peer, int32_t id, const uint8_t *bytes, size_t length)
{
	size_t *at = &peer->digits[id / 2 % 8];
	for (size_t i = 0; i < length; i++)
		assert_int_equal(bytes[i], '0' + (*at)++ % 10);
}

static void note_data(struct peer *peer, bool is_end)
{
	if (peer->data_id != 0)
		buffer_printf(&peer->seen, "D%d:%zu%s ", peer->data_id, peer->data_length, is_end ? "." : "");
	peer->data_id = 0;
	peer->data_length = 0;
}

static void note(struct peer *peer, const uint8_t *head, const uint8_t *payload, size_t length)
{
	int32_t id = (int32_t)(read_number(head + 5) & INT32_MAX);
	bool is_end = (head[4] & END) != 0;
	if (peer->data_id != 0 && (head[3] != NGHTTP2_DATA || id != peer->data_id))
		note_data(peer, false);
	switch ((nghttp2_frame_type)head[3]) {
	case NGHTTP2_HEADERS:
		buffer_printf(&peer->seen, "H%d", id);
		note_block(peer, head, payload, length);
		buffer_append(&peer->seen, is_end ? TEXT(". ") : TEXT(" "));
		break;
	case NGHTTP2_CONTINUATION:
		assert_true(peer->block.length > 0);
		note_block(peer, head, payload, length);
		break;
	case NGHTTP2_DATA:
		peer->data_id = id;
		peer->data_length += length;
		if (peer->has_digits)
			check_digits(peer, id, payload, length);
		if (is_end)
			note_data(peer, true);
		break;
	case NGHTTP2_RST_STREAM:
		buffer_printf(&peer->seen, "R%d:%u ", id, read_number(payload));
		break;
	case NGHTTP2_GOAWAY:
		buffer_printf(&peer->seen, "G%u:%u ", read_number(payload), read_number(payload + 4));
		break;
	case NGHTTP2_WINDOW_UPDATE:
		buffer_printf(&peer->seen, "W%d:%u ", id, read_number(payload));
		break;
	case NGHTTP2_PING:
		buffer_append(&peer->seen, TEXT("A "));
		break;
	default:
		break;
	}
}

/* The shorthand of all that has come since the last call; "end" when the connection is closed. */
static const char *peer_hears(struct peer *peer)
{
	static char block[65536];
	ssize_t count;
	turn();
	buffer_clear(&peer->seen);
	while ((count = recv(peer->descriptor, block, sizeof(block), 0)) > 0) {
		buffer_append(&peer->input, (struct text){block, (size_t)count});
		fixture_turn(&fixture);
	}
	const uint8_t *at = (const uint8_t *)peer->input.bytes;
	size_t left = peer->input.length;
	while (left >= HEAD) {
		size_t length = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
		if (left < HEAD + length)
			break;
		note(peer, at, at + HEAD, length);
		at += HEAD + length;
		left -= HEAD + length;
	}
	struct buffer rest = {0};
	buffer_append(&rest, (struct text){(const char *)at, left});
	buffer_free(&peer->input);
	peer->input = rest;
	note_data(peer, false);
	if (count == 0)
		buffer_append(&peer->seen, TEXT("end "));
	buffer_append(&peer->seen, TEXT(""));
	return peer->seen.bytes == NULL ? "" : peer->seen.bytes;
}

/* --- cases */

#define LITERAL(literal) ((struct text)FIELDS(literal))
#define FIELDS(literal)                                                                                                \
	{                                                                                                                  \
		literal, sizeof(literal) - 1                                                                                   \
	}
#define GET                                                                                                            \
	"\x82\x86\x01\x01"                                                                                                 \
	"a" /* method, scheme, authority "a" */
#define POST                                                                                                           \
	"\x83\x86\x01\x01"                                                                                                 \
	"a"
#define REQUEST(id, flags, fields)                                                                                     \
	{                                                                                                                  \
		NGHTTP2_HEADERS, HEADERS_END | (flags), id, FIELDS(fields)                                                     \
	}
#define HELLO "\x04\x06/hello"
#define EMPTY "\x04\x06/empty"
#define ECHO "\x04\x05/echo"
#define GOT_HELLO(id) "H" #id " :status=200 content-length=5 content-type=text/plain D" #id ":5. "
#define GOT_PROBLEM(id, status, length)                                                                                \
	"H" #id " :status=" #status " content-length=" #length " content-type=application/problem+json D" #id ":" #length  \
	". "
#define WINDOW "W0:983041 " /* the connection's window is larger than the protocol's */

static const char long_frame[16385];
static const struct {
	const char *what;
	struct frame frames[6];
	const char *heard;
} cases[] = {
	{"a request", {REQUEST(1, END, GET HELLO)}, WINDOW GOT_HELLO(1)},
	{"two at once", {REQUEST(1, END, GET HELLO), REQUEST(3, END, GET EMPTY)}, WINDOW GOT_HELLO(1) "H3 :status=204. "},
	{"HEAD",
		{REQUEST(1, END,
			"\x02\x04HEAD\x86\x01\x01"
			"a" HELLO)},
		WINDOW "H1 :status=200 content-length=5 content-type=text/plain. "},
	{"no length", {REQUEST(1, END, GET "\x04\x09/stream/5")}, WINDOW "H1 :status=200 D1:5. "},
	{"trailers", {REQUEST(1, END, GET "\x04\x0a/trailer/3")}, WINDOW "H1 :status=200 D1:3 H1 sum=7. "},
	{"a source that fails", {REQUEST(1, END, GET "\x04\x05/fail")}, WINDOW "H1 :status=200 D1:3 R1:2 "},
	{"an abort", {REQUEST(1, END, GET "\x04\x06/abort")}, WINDOW "R1:8 "},
	{"a body", {REQUEST(1, 0, POST ECHO), {NGHTTP2_DATA, 0, 1, TEXT("ab")}, {NGHTTP2_DATA, END, 1, TEXT("cde")}},
		WINDOW GOT_HELLO(1)},
	{"a padded body",
		{REQUEST(1, 0, POST ECHO), {NGHTTP2_DATA, END | 8, 1,
									   FIELDS("\x02"
											  "abcde\0\0")}},
		WINDOW GOT_HELLO(1)},
	{"trailers of a request",
		{REQUEST(1, 0, POST ECHO), {NGHTTP2_DATA, 0, 1, TEXT("abcde")},
			REQUEST(1, END,
				"\x10\x01t\x01"
				"1")},
		WINDOW GOT_HELLO(1)},
	{"a length that lies",
		{REQUEST(1, 0,
			 POST ECHO "\x0f\x0d\x01"
					   "2"),
			{NGHTTP2_DATA, END, 1, TEXT("abc")}},
		WINDOW "R1:1 "},
	{"more than its length",
		{REQUEST(1, 0,
			 POST ECHO "\x0f\x0d\x01"
					   "2"),
			{NGHTTP2_DATA, 0, 1, TEXT("abc")}, {NGHTTP2_DATA, END, 1, TEXT("d")}},
		WINDOW "R1:1 "},
	{"a length and no body",
		{REQUEST(1, END,
			POST ECHO "\x0f\x0d\x01"
					  "2")},
		WINDOW "R1:1 "},
	{"trailers that are not the end",
		{REQUEST(1, 0, POST ECHO), REQUEST(1, 0,
									   "\x10\x01t\x01"
									   "1")},
		WINDOW "R1:1 "},
	{"a pseudo field in trailers", {REQUEST(1, 0, POST ECHO), REQUEST(1, END, HELLO)}, WINDOW "R1:1 "},
	{"a bad field, then a good request",
		{REQUEST(1, END, GET HELLO "\x10\x02te\x04gzip\x40\x01x\x01y"), REQUEST(3, END, GET HELLO "\xbe")},
		WINDOW "R1:1 " GOT_HELLO(3)},
	{"100-continue",
		{REQUEST(1, 0,
			 POST ECHO "\x0f\x14\x0c"
					   "100-continue"),
			{NGHTTP2_PING, 0, 0, TEXT("12345678")}},
		WINDOW "H1 :status=100 A "},
	{"a refusal stops the body", {REQUEST(1, 0, POST "\x04\x07/refuse")},
		WINDOW "H1 :status=403 content-length=0. R1:0 "},
	{"continuation", {{NGHTTP2_HEADERS, END, 1, FIELDS(GET)}, {NGHTTP2_CONTINUATION, HEADERS_END, 1, FIELDS(HELLO)}},
		WINDOW GOT_HELLO(1)},
	{"host instead of authority",
		{REQUEST(1, END,
			"\x82\x86" HELLO "\x0f\x17\x01"
			"b")},
		WINDOW GOT_HELLO(1)},
	{"host and authority differ",
		{REQUEST(1, END,
			GET HELLO "\x0f\x17\x01"
					  "b")},
		WINDOW GOT_PROBLEM(1, 400, 57)},
	{"no authority", {REQUEST(1, END, "\x82\x86" HELLO)}, WINDOW "R1:1 "},
	{"no path", {REQUEST(1, END, GET)}, WINDOW "R1:1 "},
	{"two paths", {REQUEST(1, END, GET HELLO HELLO)}, WINDOW "R1:1 "},
	{"a pseudo field after others",
		{REQUEST(1, END,
			GET "\x10\x01"
				"b\x01"
				"c" HELLO)},
		WINDOW "R1:1 "},
	{"an upper-case name",
		{REQUEST(1, END,
			GET HELLO "\x10\x01"
					  "B\x01"
					  "c")},
		WINDOW "R1:1 "},
	{"a line end in a value",
		{REQUEST(1, END,
			GET HELLO "\x10\x01"
					  "b\x02"
					  "c\n")},
		WINDOW "R1:1 "},
	{"a connection field",
		{REQUEST(1, END,
			GET HELLO "\x10\x0a"
					  "connection\x05"
					  "close")},
		WINDOW "R1:1 "},
	{"an underscore",
		{REQUEST(1, END,
			GET HELLO "\x10\x03"
					  "a_b\x01"
					  "c")},
		WINDOW GOT_PROBLEM(1, 400, 57)},
	{"a fragment", {REQUEST(1, END, GET "\x04\x03/#a")}, WINDOW GOT_PROBLEM(1, 400, 57)},
	{"TRACE",
		{REQUEST(1, END,
			"\x02\x05TRACE\x86\x01\x01"
			"a" HELLO)},
		WINDOW GOT_PROBLEM(1, 405, 64)},
	{"ping", {{NGHTTP2_PING, 0, 0, TEXT("12345678")}}, WINDOW "A "},
	{"an unknown frame", {{0xfa, 0, 0, TEXT("x")}, REQUEST(1, END, GET HELLO)}, WINDOW GOT_HELLO(1)},
	{"a reset", {REQUEST(1, END, GET "\x04\x05/hold"), {NGHTTP2_RST_STREAM, 0, 1, FIELDS("\0\0\0\x08")}}, WINDOW ""},
	{"goaway of the peer", {REQUEST(1, END, GET HELLO), {NGHTTP2_GOAWAY, 0, 0, FIELDS("\0\0\0\0\0\0\0\0")}},
		WINDOW GOT_HELLO(1) "end "},
	/* what ends the connection */
	{"an even id", {REQUEST(2, END, GET HELLO)}, WINDOW "G0:1 end "},
	{"an id again", {REQUEST(3, END, GET HELLO), REQUEST(1, END, GET HELLO)}, WINDOW GOT_HELLO(3) "G3:1 end "},
	{"a head after the end", {REQUEST(1, END, GET HELLO), REQUEST(1, END, GET HELLO)}, WINDOW GOT_HELLO(1) "G1:5 end "},
	{"data after the end", {REQUEST(1, END, GET HELLO), {NGHTTP2_DATA, END, 1, TEXT("x")}},
		WINDOW GOT_HELLO(1) "G1:5 end "},
	{"data before the answer, after the end", {REQUEST(1, END, GET "\x04\x05/hold"), {NGHTTP2_DATA, 0, 1, TEXT("x")}},
		WINDOW "G1:5 end "},
	{"data after the peer's reset",
		{REQUEST(1, 0, POST "\x04\x05/take"), {NGHTTP2_RST_STREAM, 0, 1, FIELDS("\0\0\0\x08")},
			{NGHTTP2_DATA, 0, 1, TEXT("x")}},
		WINDOW "G1:5 end "},
	{"data after our reset",
		{REQUEST(1, 0, POST "\x04\x07/refuse"), {NGHTTP2_DATA, 0, 1, TEXT("x")}, REQUEST(3, END, GET HELLO)},
		WINDOW "H1 :status=403 content-length=0. R1:0 " GOT_HELLO(3)},
	{"a head that depends on itself",
		{{NGHTTP2_HEADERS, HEADERS_END | END | 0x20, 1, FIELDS("\0\0\0\1\x10" GET HELLO)}}, WINDOW "G1:1 end "},
	{"a padded head with a priority",
		{{NGHTTP2_HEADERS, HEADERS_END | END | 0x28, 1, FIELDS("\2\0\0\0\0\x10" GET HELLO "\0\0")}},
		WINDOW GOT_HELLO(1)},
	{"more padding than head", {{NGHTTP2_HEADERS, HEADERS_END | END | 8, 1, FIELDS("\xff" GET HELLO)}},
		WINDOW "G1:1 end "},
	{"more padding than body", {REQUEST(1, 0, POST ECHO), {NGHTTP2_DATA, END | 8, 1, FIELDS("\6abcde")}},
		WINDOW "G1:1 end "},
	{"a frame above all size", {{NGHTTP2_PING, 0, 0, {long_frame, sizeof(long_frame)}}}, WINDOW "G0:6 end "},
	{"settings twice acknowledged", {{NGHTTP2_SETTINGS, ACK, 0, TEXT("")}}, WINDOW "G0:1 end "},
	{"settings of half an entry", {{NGHTTP2_SETTINGS, 0, 0, FIELDS("\0\4\0")}}, WINDOW "G0:6 end "},
	{"a window of a stream that overflows",
		{REQUEST(1, END, GET "\x04\x05/hold"), {NGHTTP2_WINDOW_UPDATE, 0, 1, FIELDS("\x7f\xff\xff\xff")}},
		WINDOW "R1:3 "},
	{"no table of ours", {{NGHTTP2_SETTINGS, 0, 0, FIELDS("\0\1\0\0\0\0")}, REQUEST(1, END, GET HELLO)},
		WINDOW GOT_HELLO(1)},
	{"data of nobody", {{NGHTTP2_DATA, END, 1, TEXT("x")}}, WINDOW "G0:1 end "},
	{"a header block that is none", {REQUEST(1, END, "\xff\xff\xff\xff\xff\xff")}, WINDOW "G1:9 end "},
	{"a ping that is short", {{NGHTTP2_PING, 0, 0, TEXT("1234")}}, WINDOW "G0:6 end "},
	{"a window that overflows", {{NGHTTP2_WINDOW_UPDATE, 0, 0, FIELDS("\x7f\xff\xff\xff")}}, WINDOW "G0:3 end "},
	{"a window of zero", {{NGHTTP2_WINDOW_UPDATE, 0, 0, FIELDS("\0\0\0\0")}}, WINDOW "G0:1 end "},
	{"a push", {{NGHTTP2_PUSH_PROMISE, HEADERS_END, 1, FIELDS("\0\0\0\x02" GET HELLO)}}, WINDOW "G0:1 end "},
	{"settings that cannot be", {{NGHTTP2_SETTINGS, 0, 0, FIELDS("\0\x04\x80\0\0\0")}}, WINDOW "G0:3 end "},
	{"a continuation of nothing", {{NGHTTP2_CONTINUATION, HEADERS_END, 1, FIELDS(HELLO)}}, WINDOW "G0:1 end "},
	{"something between head and continuation",
		{{NGHTTP2_HEADERS, END, 1, FIELDS(GET)}, {NGHTTP2_PING, 0, 0, TEXT("12345678")}}, WINDOW "G1:1 end "},
};

static void frames_are_answered(void **state)
{
	(void)state;
	unsigned wrong = 0;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct peer peer;
		if (cases[i].heard == NULL)
			continue;
		peer_open(&peer);
		for (const struct frame *frame = cases[i].frames;
			 frame < cases[i].frames + COUNT(cases[i].frames) && frame->payload.bytes != NULL; frame++)
			send_frame(&peer, frame->type, frame->flags, frame->id, frame->payload);
		const char *heard = peer_hears(&peer);
		if (strcmp(heard, cases[i].heard) != 0) {
			print_error("%s:\n  heard    %s\n  expected %s\n", cases[i].what, heard, cases[i].heard);
			wrong++;
		}
		peer_close(&peer);
	}
	assert_int_equal(wrong, 0);
}

/* More than a frame holds. */
static void a_long_head_takes_several_frames(void **state)
{
	struct peer peer;
	struct buffer expected = {0};
	(void)state;
	peer_open(&peer);
	memset(long_value, 'v', sizeof(long_value));
	const struct frame frame = REQUEST(1, END, GET "\x04\x0a/long-head");
	send_frame(&peer, frame.type, frame.flags, frame.id, frame.payload);
	buffer_printf(&expected, "%sH1.  :status=204", WINDOW);
	for (int i = 0; i < LONG_FIELDS; i++)
		buffer_printf(&expected, " long=%.*s", (int)sizeof(long_value), long_value);
	assert_string_equal(peer_hears(&peer), expected.bytes);
	buffer_free(&expected);
	peer_close(&peer);
}

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
		cmocka_unit_test(frames_are_answered),
		cmocka_unit_test(a_long_head_takes_several_frames),
		cmocka_unit_test(windows_hold_bodies_back),
		cmocka_unit_test(the_connection_window_holds_all),
		cmocka_unit_test(settings_shut_a_window),
		cmocka_unit_test(bodies_in_stay_within_the_window),
		cmocka_unit_test(draining_lets_streams_end),
		cmocka_unit_test(a_stream_of_this_turn_is_not_late),
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
