/* HTTP/2 on a connection, frame by frame: what a peer sends, and what it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/h2_peer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_answered),
		cmocka_unit_test(a_long_head_takes_several_frames),
	};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
