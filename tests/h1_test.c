/* HTTP/1.1 on a connection: what a peer sends and, byte for byte but for the date, what it gets; whole and split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tests/handler_fixture.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* --- the peer */

/* Everything there is to read, without date lines; true: and then the end. */
static bool receive(int peer, struct buffer *into)
{
	struct buffer raw = {0};
	char block[65536];
	ssize_t count;
	while ((count = recv(peer, block, sizeof(block), 0)) > 0) {
		buffer_append(&raw, (struct text){block, (size_t)count});
		fixture_turn(&fixture);
	}
	for (struct text rest = buffer_text(&raw); rest.length > 0;) {
		size_t end = text_find(rest, '\n');
		struct text line = text_slice(rest, 0, end + 1);
		if (!text_starts_with(line, TEXT("date: ")))
			buffer_append(into, line);
		rest = text_slice(rest, end + 1, rest.length);
	}
	buffer_free(&raw);
	return count == 0;
}

static void say(int peer, struct text bytes, size_t piece)
{
	while (bytes.length > 0) {
		size_t part = bytes.length < piece ? bytes.length : piece;
		ssize_t sent = send(peer, bytes.bytes, part, MSG_NOSIGNAL);
		if (sent < 0)
			return; /* it has ended the connection: what it said counts */
		bytes = text_slice(bytes, (size_t)sent, bytes.length);
		fixture_turn(&fixture);
	}
	for (int i = 0; i < 4; i++)
		fixture_turn(&fixture);
}

static void leave(int peer)
{
	close(peer);
	for (int i = 0; i < 3; i++)
		fixture_turn(&fixture);
	assert_int_equal(fixture.engine.connection_count, 0);
	assert_int_equal(opened, closed);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: a.example\r\n"
#define OK_HELLO "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n"
#define PROBLEM(status, phrase, length)                                                                                \
	"HTTP/1.1 " #status " " phrase "\r\ncontent-length: " #length "\r\ncontent-type: application/problem+json\r\n"
#define PROBLEM_BODY(status, phrase) "{\"type\":\"about:blank\",\"title\":\"" phrase "\",\"status\":" #status "}"
#define REFUSED_400 PROBLEM(400, "Bad Request", 57) "connection: close\r\n\r\n" PROBLEM_BODY(400, "Bad Request")
#define CLOSES true
#define STAYS false

static const struct {
	const char *sent, *got;
	bool closes;
} cases[] = {
	/* keep-alive and its end */
	{GET("/hello") "\r\n", OK_HELLO "\r\nhello", STAYS},
	{GET("/hello") "Connection: close\r\n\r\n", OK_HELLO "connection: close\r\n\r\nhello", CLOSES},
	{"GET /hello HTTP/1.0\r\nHost: a\r\n\r\n", OK_HELLO "connection: close\r\n\r\nhello", CLOSES},
	{"GET /hello HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", OK_HELLO "connection: keep-alive\r\n\r\nhello",
		STAYS},
	/* pipelining: in order, and nothing after a close */
	{GET("/hello") "\r\n" GET("/length/3") "\r\n" GET("/nothing") "\r\n",
		OK_HELLO "\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n012" PROBLEM(
			404, "Not Found", 55) "\r\n" PROBLEM_BODY(404, "Not Found"),
		STAYS},
	{GET("/hello") "Connection: close\r\n\r\n" GET("/hello") "\r\n", OK_HELLO "connection: close\r\n\r\nhello", CLOSES},
	{POST("/echo") "Content-Length: 2\r\n\r\nab" POST("/echo") "Content-Length: 1\r\n\r\nc" GET("/empty") "\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nab"
		"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-type: text/plain\r\n\r\nc"
		"HTTP/1.1 204 No Content\r\n\r\n",
		STAYS},
	/* bodies out */
	{GET("/stream/5") "\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n", STAYS},
	{GET("/stream/0") "\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", STAYS},
	{GET("/trailer/3") "\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n012\r\n0\r\nsum: 7\r\n\r\n",
		STAYS},
	{"GET /stream/5 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n01234", CLOSES},
	{GET("/fail") "\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nfff\r\n", CLOSES},
	{GET("/abort") "\r\n", "", CLOSES},
	{GET("/empty") "\r\n", "HTTP/1.1 204 No Content\r\n\r\n", STAYS},
	{"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/empty") "\r\n", OK_HELLO "\r\nHTTP/1.1 204 No Content\r\n\r\n",
		STAYS},
	{"HEAD /stream/5 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", STAYS},
	/* bodies in */
	{POST("/echo") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n" GET(
		 "/empty") "\r\n",
		"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nabcdeHTTP/1.1 204 No Content\r\n\r\n",
		STAYS},
	{POST("/echo") "Content-Length: 101\r\n\r\n",
		PROBLEM(413, "Content Too Large", 63) "\r\n" PROBLEM_BODY(413, "Content Too Large"), STAYS},
	{POST("/refuse") "Content-Length: 3\r\n\r\nabc" GET("/empty") "\r\n",
		"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", STAYS},
	{POST("/refuse") "Content-Length: 100000\r\n\r\nabc", "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
		CLOSES},
	/* 100-continue: only to who takes the body and waits for it */
	{POST("/echo") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", STAYS},
	{"POST /echo HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "", STAYS},
	{POST("/refuse") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", STAYS},
	/* framing that could be read in two ways */
	{POST("/echo") "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", REFUSED_400, CLOSES},
	{POST("/echo") "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", REFUSED_400, CLOSES},
	{POST("/echo") "Content-Length: +2\r\n\r\nab", REFUSED_400, CLOSES},
	{POST("/echo") "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", REFUSED_400, CLOSES},
	{GET("/hello") "Host: b.example\r\n\r\n", REFUSED_400, CLOSES},
	{"GET /hello HTTP/1.1\r\n\r\n", REFUSED_400, CLOSES},
	{GET("/hello") "a : b\r\n\r\n", REFUSED_400, CLOSES},
	{GET("/hello") " folded\r\n\r\n", REFUSED_400, CLOSES},
	{GET("/hello") "a_b: 1\r\n\r\n", REFUSED_400, CLOSES},
	{"GET hello HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED_400, CLOSES},
	{"GET http://b/hello HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED_400, CLOSES},
	{"GET http://A.example/hello HTTP/1.1\r\nHost: a.example\r\n\r\n", OK_HELLO "\r\nhello", STAYS},
	{"GET /hello\r\nHost: a\r\n\r\n", REFUSED_400, CLOSES},
	{"get /hello HTTP/1.1\r\nHost: a\r\n\r\n", REFUSED_400, CLOSES},
	{"\x16\x03\x01\x02\x01\r\n\r\n", REFUSED_400, CLOSES},
	{POST("/echo") "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "", CLOSES},
	{POST("/echo") "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "", CLOSES},
	{POST("/echo") "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", "", CLOSES},
	{"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n",
		PROBLEM(505, "HTTP Version Not Supported", 72) "connection: close\r\n\r\n" PROBLEM_BODY(
			505, "HTTP Version Not Supported"),
		CLOSES},
	{"CONNECT /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		PROBLEM(405, "Method Not Allowed", 64) "connection: close\r\n\r\n" PROBLEM_BODY(405, "Method Not Allowed"),
		CLOSES},
};

static bool run_case(size_t index, size_t piece)
{
	struct buffer got = {0};
	int peer = fixture_connect(&fixture);
	say(peer, text_of(cases[index].sent), piece);
	bool closes = receive(peer, &got);
	bool is_good = text_equals(buffer_text(&got), text_of(cases[index].got)) && closes == cases[index].closes;
	if (!is_good)
		print_error("case %zu by %zu: %s\n--- got (%s):\n%.*s", index, piece, cases[index].sent,
			closes ? "closes" : "stays", TEXT_ARGUMENTS(buffer_text(&got)));
	buffer_free(&got);
	leave(peer);
	return is_good;
}

static void requests_are_answered(void **state)
{
	(void)state;
	unsigned wrong = 0;
	for (size_t i = 0; i < COUNT(cases); i++) {
		static const size_t pieces[] = {SIZE_MAX, 7, 1};
		for (size_t at = 0; at < COUNT(pieces); at++)
			wrong += !run_case(i, pieces[at]);
	}
	assert_int_equal(wrong, 0);
}

static void heads_have_limits(void **state)
{
	(void)state;
	static const struct {
		unsigned fields, length;
		bool is_refused;
	} heads[] = {{99, 10, false}, {100, 10, true}, {3, 30000, true}, {1, 31000, false}, {1, 33000, true}};
	char *value = malloc(40000);
	memset(value, 'v', 40000);
	for (size_t i = 0; i < COUNT(heads); i++) {
		struct buffer head = {0}, got = {0};
		buffer_append(&head, TEXT(GET("/hello")));
		for (unsigned at = 0; at < heads[i].fields; at++)
			buffer_printf(&head, "f%u: %.*s\r\n", at, (int)heads[i].length, value);
		buffer_append(&head, TEXT("\r\n"));
		int peer = fixture_connect(&fixture);
		say(peer, buffer_text(&head), SIZE_MAX);
		bool closes = receive(peer, &got);
		if (closes != heads[i].is_refused ||
			text_starts_with(buffer_text(&got), TEXT("HTTP/1.1 431 ")) != heads[i].is_refused)
			fail_msg("%u fields of %u: %s", heads[i].fields, heads[i].length, got.bytes);
		buffer_free(&head);
		buffer_free(&got);
		leave(peer);
	}
	free(value);
}

/* A peer that reads slowly is not written to; all of it arrives, in order. */
static void large_bodies_wait_for_the_peer(void **state)
{
	(void)state;
	enum { LENGTH = 3000000 };
	static const struct {
		struct text request;
		bool is_chunked;
	} bodies[] = {{TEXT(GET("/length/3000000") "\r\n"), false}, {TEXT(GET("/stream/3000000") "\r\n"), true}};
	for (size_t i = 0; i < COUNT(bodies); i++) {
		struct buffer got = {0};
		int peer = fixture_connect(&fixture);
		say(peer, bodies[i].request, SIZE_MAX);
		for (int at = 0; at < 20; at++)
			fixture_turn(&fixture);
		assert_int_equal(opened, closed + 1); /* still under way: nobody reads */
		for (int at = 0; at < 400 && opened > closed; at++) {
			(void)receive(peer, &got);
			fixture_turn(&fixture);
		}
		(void)receive(peer, &got);
		assert_int_equal(last_outcome, STATUS_OK);
		if (bodies[i].is_chunked)
			assert_true(text_ends_with(buffer_text(&got), TEXT("\r\n0\r\n\r\n")));
		else
			assert_true(got.length == LENGTH + sizeof("HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n") - 1);
		buffer_free(&got);
		leave(peer);
	}
}

/* A body that its runtime does not take stops being read: the window bounds what is held. */
static void bodies_in_wait_for_the_runtime(void **state)
{
	(void)state;
	enum { LENGTH = 1000000, WINDOW = 64 * 1024 };
	static char block[16384];
	size_t sent = 0, given_back = 0;
	struct buffer got = {0};
	int peer = fixture_connect(&fixture);
	held_bytes = 0;
	say(peer, TEXT(POST("/take") "Content-Length: 1000000\r\n\r\n"), SIZE_MAX);
	while (sent < LENGTH || opened > closed) {
		ssize_t count = send(peer, block, LENGTH - sent < sizeof(block) ? LENGTH - sent : sizeof(block), MSG_NOSIGNAL);
		fixture_turn(&fixture);
		if (count > 0) {
			sent += (size_t)count;
			continue;
		}
		assert_true(held_bytes - given_back <= 2 * WINDOW);
		assert_true(held_bytes > given_back);
		size_t back = held_bytes - given_back;
		given_back += back;
		exchange_consume(held, back);
		fixture_turn(&fixture);
	}
	assert_int_equal(held_bytes, LENGTH);
	(void)receive(peer, &got);
	assert_string_equal(got.bytes, "HTTP/1.1 204 No Content\r\n\r\n");
	buffer_free(&got);
	leave(peer);
}

static void answers_come_in_a_later_turn(void **state)
{
	(void)state;
	struct buffer got = {0};
	int peer = fixture_connect(&fixture);
	say(peer, TEXT(GET("/hold") "\r\n" GET("/hello") "\r\n"), SIZE_MAX);
	assert_false(receive(peer, &got));
	assert_int_equal(got.length, 0); /* the second waits for the first */
	assert_int_equal(opened, closed + 1);
	answer_empty(held, 204);
	fixture_turn(&fixture);
	assert_false(receive(peer, &got));
	assert_string_equal(got.bytes, "HTTP/1.1 204 No Content\r\n\r\n" OK_HELLO "\r\nhello");
	buffer_clear(&got);
	held = NULL;
	say(peer, TEXT(GET("/later/4") "\r\n"), SIZE_MAX);
	assert_false(receive(peer, &got));
	assert_string_equal(got.bytes, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
	exchange_resume(held);
	fixture_turn(&fixture);
	assert_false(receive(peer, &got));
	assert_string_equal(got.bytes, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n0123");
	buffer_free(&got);
	leave(peer);
}

static void a_peer_that_goes_closes_its_exchange(void **state)
{
	(void)state;
	int peer = fixture_connect(&fixture);
	say(peer, TEXT(GET("/hold") "\r\n"), SIZE_MAX);
	assert_non_null(held);
	leave(peer);
	assert_null(held);
	assert_int_equal(last_outcome, STATUS_CLOSED);
}

static void draining_ends_after_the_present_answer(void **state)
{
	(void)state;
	struct buffer got = {0};
	int busy = fixture_connect(&fixture), idle = fixture_connect(&fixture);
	say(idle, TEXT(GET("/empty") "\r\n"), SIZE_MAX);
	say(busy, TEXT(GET("/hold") "\r\n"), SIZE_MAX);
	connections_drain(&fixture.engine);
	fixture_turn(&fixture);
	assert_true(receive(idle, &got));
	assert_false(receive(busy, &got));
	buffer_clear(&got);
	answer_empty(held, 204);
	fixture_turn(&fixture);
	assert_true(receive(busy, &got));
	assert_string_equal(got.bytes, "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
	buffer_free(&got);
	close(idle);
	leave(busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_answered),
		cmocka_unit_test(heads_have_limits),
		cmocka_unit_test(large_bodies_wait_for_the_peer),
		cmocka_unit_test(bodies_in_wait_for_the_runtime),
		cmocka_unit_test(answers_come_in_a_later_turn),
		cmocka_unit_test(a_peer_that_goes_closes_its_exchange),
		cmocka_unit_test(draining_ends_after_the_present_answer),
	};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
