/* Heads and chunked bodies: what is taken, what is refused, and that splitting the input changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/h1_parse.h"

enum { FIELDS = 8, BYTES = 512 };
static const struct h1_limits limits = {.bytes = BYTES, .fields = FIELDS};

struct parsed {
	char bytes[4096];
	struct header headers[FIELDS];
	struct h1_head head;
	size_t used;
};

typedef enum status parse_call(char *, size_t, const struct h1_limits *, struct header *, struct h1_head *, size_t *);

/* An exact-size heap copy, so that a sanitizer sees a read past the end. */
static enum status parse(parse_call *call, const char *bytes, size_t length, struct parsed *into)
{
	char *copy = malloc(length == 0 ? 1 : length);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	enum status status = call(copy, length, &limits, into->headers, &into->head, &into->used);
	free(copy);
	memcpy(into->bytes, bytes, length);
	if (status == STATUS_OK && into->used > 0)
		status = call(into->bytes, length, &limits, into->headers, &into->head, &into->used);
	return status;
}

#define BYTES_OF(literal) literal, sizeof(literal) - 1
#define H "Host: a\r\n"

static const struct {
	const char *bytes;
	size_t length;
	enum status status;
} request_cases[] = {
	{BYTES_OF("GET / HTTP/1.1\r\n" H "\r\n"), STATUS_OK},
	{BYTES_OF("\r\nGET / HTTP/1.1\r\n" H "\r\n"), STATUS_OK},
	{BYTES_OF("GET / HTTP/1.0\r\n\r\n"), STATUS_OK},
	{BYTES_OF("OPTIONS * HTTP/1.1\r\n" H "\r\n"), STATUS_OK},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x:\r\n\r\n"), STATUS_OK},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: \t a\xff \t\r\n\r\n"), STATUS_OK},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\t\r\n\r\n"), STATUS_OK},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\n"), STATUS_OK},
	/* the request line */
	{BYTES_OF("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("\nGET / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF(" GET / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET  / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET /  HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET\t/ HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1 \r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / a HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET /\x80 HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET /\0 HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET /\r HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET /\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("G(T / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / http/1.1\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.10\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/11\r\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.2\r\n" H "\r\n"), STATUS_PROTOCOL},
	{BYTES_OF("GET / HTTP/2.0\r\n" H "\r\n"), STATUS_PROTOCOL},
	{BYTES_OF("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), STATUS_PROTOCOL},
	{BYTES_OF("GET / HTTP/0.9\r\n" H "\r\n"), STATUS_PROTOCOL},
	/* lines and fields */
	{BYTES_OF("GET / HTTP/1.1\n" H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\nHost: a\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\rb\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\r\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\0b\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\x7f\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x : a\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H " x: a\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\r\n b\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x: a\r\n\tb\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H ": a\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x\x80: a\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x\0: a\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "x@y: a\r\n\r\n"), STATUS_INVALID},
	/* Host */
	{BYTES_OF("GET / HTTP/1.1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\n" H H "\r\n"), STATUS_INVALID},
	{BYTES_OF("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), STATUS_INVALID},
	/* framing */
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked,\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
			  "chunked\r\n\r\n"),
		STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;a=b\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"), STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		STATUS_INVALID},
	{BYTES_OF("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), STATUS_INVALID},
	/* limits */
	{BYTES_OF("GET / HTTP/1.1\r\n" H "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\n\r\n"), STATUS_OK},
	{BYTES_OF("GET / HTTP/1.1\r\n" H "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\n\r\n"), STATUS_TOO_LARGE},
};

/* Every prefix of a good head asks for more; every prefix of a bad one asks for more or tells the same. */
static void requests_are_taken_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof request_cases / sizeof *request_cases; i++) {
		static struct parsed parsed;
		enum status status = parse(h1_parse_request, request_cases[i].bytes, request_cases[i].length, &parsed);
		if (status != request_cases[i].status || (parsed.used > 0) != (status == STATUS_OK))
			fail_msg("case %zu: %s", i, status_text(status));
		if (status == STATUS_OK)
			assert_int_equal(parsed.used, request_cases[i].length);
		for (size_t length = 0; length < request_cases[i].length; length++) {
			status = parse(h1_parse_request, request_cases[i].bytes, length, &parsed);
			assert_int_equal(parsed.used, 0);
			if (status != STATUS_OK && status != request_cases[i].status)
				fail_msg("case %zu, %zu bytes: %s", i, length, status_text(status));
		}
	}
}

static void heads_are_bounded(void **state)
{
	(void)state;
	static struct parsed parsed;
	static char bytes[BYTES + 8];
	int written = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: a\r\nx: ");
	size_t at = (size_t)written;
	memset(bytes + at, 'x', sizeof bytes - at);
	assert_int_equal(parse(h1_parse_request, bytes, BYTES - 1, &parsed), STATUS_OK);
	assert_int_equal(parse(h1_parse_request, bytes, BYTES, &parsed), STATUS_TOO_LARGE);
	memcpy(bytes + BYTES - 4, "\r\n\r\n", 4);
	assert_int_equal(parse(h1_parse_request, bytes, BYTES, &parsed), STATUS_OK);
	assert_int_equal(parsed.used, BYTES);
	memcpy(bytes + BYTES - 4, "x\r\n\r\n", 5);
	assert_int_equal(parse(h1_parse_request, bytes, BYTES + 1, &parsed), STATUS_TOO_LARGE);
	/* What follows a head does not count. */
	memcpy(bytes + 27, "\r\n\r\n", 4);
	assert_int_equal(parse(h1_parse_request, bytes, BYTES + 8, &parsed), STATUS_OK);
	assert_int_equal(parsed.used, 31);
}

static void request_is_read(void **state)
{
	(void)state;
	struct parsed parsed;
	const char bytes[] = "POST /a?b HTTP/1.1\r\nHOST: Example.org\r\nX-Some:  v w \r\nContent-Length: 12\r\n"
						 "Expect: 100-Continue\r\n\r\nbody";
	assert_int_equal(parse(h1_parse_request, bytes, sizeof bytes - 1, &parsed), STATUS_OK);
	assert_int_equal(parsed.used, sizeof bytes - 5);
	assert_true(text_equals(parsed.head.method, TEXT("POST")));
	assert_true(text_equals(parsed.head.target, TEXT("/a?b")));
	assert_int_equal(parsed.head.header_count, 4);
	assert_true(text_equals(parsed.headers[0].name, TEXT("host")));
	assert_true(text_equals(parsed.headers[0].value, TEXT("Example.org")));
	assert_true(text_equals(parsed.headers[1].name, TEXT("x-some")));
	assert_true(text_equals(parsed.headers[1].value, TEXT("v w")));
	assert_int_equal(parsed.head.content_length, 12);
	assert_true(parsed.head.keep_alive && parsed.head.expect_continue && !parsed.head.chunked);
}

/* RFC 9110 section 5.6.2: a name is of these, and comes out in lower case; section 5.5: what a value is of. */
static void each_byte_is_in_its_place(void **state)
{
	(void)state;
	static const char others[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
	for (int byte = 0; byte < 256; byte++) {
		struct parsed parsed;
		char named[] = "GET / HTTP/1.1\r\n" H "x?y: 1\r\n\r\n", valued[] = "GET / HTTP/1.1\r\n" H "x: 1?2\r\n\r\n";
		char lower = (char)(byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
		bool is_name = byte != 0 && strchr(others, lower) != NULL,
			 is_value = (byte >= ' ' && byte != 0x7f) || byte == '\t';
		*strchr(named + sizeof("GET / HTTP/1.1\r\n" H) - 1, '?') = (char)byte;
		*strchr(valued + sizeof("GET / HTTP/1.1\r\n" H) - 1, '?') = (char)byte;
		enum status status = parse(h1_parse_request, named, sizeof(named) - 1, &parsed);
		/* a colon ends the name, and what follows is a value */
		assert_int_equal(status == STATUS_OK, is_name || byte == ':');
		if (is_name)
			assert_true(parsed.headers[1].name.length == 3 && parsed.headers[1].name.bytes[1] == lower);
		assert_int_equal(parse(h1_parse_request, valued, sizeof(valued) - 1, &parsed) == STATUS_OK, is_value);
	}
}

static const struct {
	const char *head;
	bool keep_alive, upgrade;
} connection_cases[] = {
	{"GET / HTTP/1.1\r\n" H "\r\n", true, false},
	{"GET / HTTP/1.0\r\n" H "\r\n", false, false},
	{"GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n", true, false},
	{"GET / HTTP/1.1\r\n" H "Connection: CLOSE\r\n\r\n", false, false},
	{"GET / HTTP/1.1\r\n" H "Connection: x ,close\r\n\r\n", false, false},
	{"GET / HTTP/1.1\r\n" H "Connection: x\r\nConnection: close\r\n\r\n", false, false},
	{"GET / HTTP/1.1\r\n" H "Connection: keep-alive, close\r\n\r\n", false, false},
	{"GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n", true, false},
	{"GET / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", true, true},
	{"GET / HTTP/1.1\r\n" H "Upgrade: h2c\r\n\r\n", true, false},
};

static void connection_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof connection_cases / sizeof *connection_cases; i++) {
		struct parsed parsed;
		const char *bytes = connection_cases[i].head;
		assert_int_equal(parse(h1_parse_request, bytes, strlen(bytes), &parsed), STATUS_OK);
		if (parsed.head.keep_alive != connection_cases[i].keep_alive ||
			parsed.head.upgrade != connection_cases[i].upgrade)
			fail_msg("case %zu", i);
	}
}

static const struct {
	const char *head;
	enum status status;
	int code;
} response_cases[] = {
	{"HTTP/1.1 200 OK\r\n\r\n", STATUS_OK, 200},
	{"HTTP/1.1 200 \r\n\r\n", STATUS_OK, 200},
	{"HTTP/1.1 200\r\n\r\n", STATUS_OK, 200},
	{"HTTP/1.0 404 Not \xc3\xa4 Found\r\nA: b\r\n\r\n", STATUS_OK, 404},
	{"HTTP/1.1 100 Continue\r\n\r\n", STATUS_OK, 100},
	{"HTTP/1.1 999 No\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 099 No\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 20 No\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 2000 No\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1  200 No\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 200 OK\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 200 O\rK\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1\r\n\r\n", STATUS_INVALID, 0},
	{"ICY 200 OK\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/2.0 200 OK\r\n\r\n", STATUS_PROTOCOL, 0},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", STATUS_INVALID, 0},
	{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", STATUS_INVALID, 0},
};

static void responses_are_taken_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof response_cases / sizeof *response_cases; i++) {
		struct parsed parsed;
		const char *bytes = response_cases[i].head;
		enum status status = parse(h1_parse_response, bytes, strlen(bytes), &parsed);
		if (status != response_cases[i].status || (status == STATUS_OK && parsed.head.status != response_cases[i].code))
			fail_msg("case %zu: %s", i, status_text(status));
	}
}

static const struct {
	const char *bytes;
	size_t length;
	enum status status;
	const char *body;
	size_t left_over;
} chunk_cases[] = {
	{BYTES_OF("0\r\n\r\n"), STATUS_OK, "", 0},
	{BYTES_OF("000\r\n\r\nGET /"), STATUS_OK, "", 5},
	{BYTES_OF("3\r\nabc\r\n0\r\n\r\n"), STATUS_OK, "abc", 0},
	{BYTES_OF("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n"), STATUS_OK, "a0123456789", 0},
	{BYTES_OF("a;x=\"y\"\r\n0123456789\r\n0;z\r\n\r\n"), STATUS_OK, "0123456789", 0},
	{BYTES_OF("1 \t;x\r\na\r\n0\r\n\r\n"), STATUS_OK, "a", 0},
	{BYTES_OF("1\r\na\r\n0\r\nContent-Length: 5\r\nx:\r\n\r\nz"), STATUS_OK, "a", 1},
	{BYTES_OF("1\r\n\n\r\n0\r\n\r\n"), STATUS_OK, "\n", 0},
	{BYTES_OF("0x1\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("+1\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("-1\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF(" 1\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1 \r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1\r\na\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1\r\nab\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1;a\nb\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1;a\r\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("1;\0\r\na\r\n0\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF(";a\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("8000000000000000\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("10000000000000001\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("0\r\n x: y\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("0\r\nx: y\r\n z\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("0\r\nx: y\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("0\r\nx\r\n\r\n"), STATUS_INVALID, NULL, 0},
	{BYTES_OF("0\r\n\n"), STATUS_INVALID, NULL, 0},
};

struct body {
	char bytes[64];
	size_t length, left_over;
	bool ended;
};

static enum status chunks_take_all(const char *bytes, size_t length, size_t piece, struct body *body)
{
	struct h1_chunks chunks = {0};
	*body = (struct body){0};
	size_t at = 0;
	while (at < length && !body->ended) {
		size_t used, data_at, data_length, given = length - at < piece ? length - at : piece;
		enum status status = h1_chunks_take(&chunks, bytes + at, given, &used, &data_at, &data_length, &body->ended);
		if (status != STATUS_OK)
			return status;
		assert_true(used <= given && data_at + data_length <= used && (used > 0 || body->ended));
		assert_true(body->length + data_length < sizeof body->bytes);
		memcpy(body->bytes + body->length, bytes + at + data_at, data_length);
		body->length += data_length;
		at += used;
	}
	body->left_over = length - at;
	return STATUS_OK;
}

static void trailers_are_kept_for_who_asks(void **state)
{
	(void)state;
	static const char bytes[] = "2\r\nab\r\n0\r\nX-Sum:  4 2 \r\nempty:\r\nlast: x\r\n\r\nGET";
	for (size_t piece = 1; piece < sizeof(bytes); piece++) {
		struct buffer trailers = {0};
		struct h1_chunks chunks = {.trailers = &trailers};
		struct header fields[3];
		size_t used, data_at, data_length;
		bool ended = false;
		for (size_t at = 0; !ended; at += used) {
			size_t given = sizeof(bytes) - 1 - at < piece ? sizeof(bytes) - 1 - at : piece;
			assert_int_equal(
				h1_chunks_take(&chunks, bytes + at, given, &used, &data_at, &data_length, &ended), STATUS_OK);
		}
		assert_int_equal(h1_trailers(trailers.bytes, trailers.length, fields, 2), 2);
		assert_int_equal(h1_trailers(trailers.bytes, trailers.length, fields, 3), 3);
		assert_true(text_equals(fields[0].name, TEXT("x-sum")) && text_equals(fields[0].value, TEXT("4 2")));
		assert_true(text_equals(fields[1].name, TEXT("empty")) && fields[1].value.length == 0);
		assert_true(text_equals(fields[2].name, TEXT("last")) && text_equals(fields[2].value, TEXT("x")));
		buffer_free(&trailers);
	}
}

static void chunks_are_taken_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof chunk_cases / sizeof *chunk_cases; i++) {
		for (size_t piece = 1; piece <= chunk_cases[i].length; piece++) {
			struct body body;
			enum status status = chunks_take_all(chunk_cases[i].bytes, chunk_cases[i].length, piece, &body);
			if (status != chunk_cases[i].status)
				fail_msg("case %zu in pieces of %zu: %s", i, piece, status_text(status));
			if (status != STATUS_OK)
				continue;
			assert_true(body.ended);
			assert_string_equal(body.bytes, chunk_cases[i].body);
			assert_int_equal(body.left_over, chunk_cases[i].left_over);
		}
	}
}

/* Repeats `piece`; how often it was taken before the first refusal, at most `limit` times. */
static size_t chunk_repeats(struct h1_chunks *chunks, const char *piece, size_t limit)
{
	for (size_t i = 0; i < limit; i++) {
		size_t at = 0, used, data_at, data_length;
		bool ended;
		while (at < strlen(piece)) {
			enum status status =
				h1_chunks_take(chunks, piece + at, strlen(piece) - at, &used, &data_at, &data_length, &ended);
			if (status != STATUS_OK) {
				assert_int_equal(status, STATUS_TOO_LARGE);
				return i;
			}
			at += used;
		}
	}
	return limit;
}

static void chunk_overhead_is_bounded(void **state)
{
	(void)state;
	struct h1_chunks chunks = {0};
	assert_int_equal(chunk_repeats(&chunks, "1\r\na\r\n", 100000), 100000);
	assert_true(chunk_repeats(&chunks, "1;xxxxxxxxxxxxxxxxxxxx\r\na\r\n", 100000) < 2000);
	chunks = (struct h1_chunks){0};
	assert_true(chunk_repeats(&chunks, "0", 100000) < 20000);
	chunks = (struct h1_chunks){0};
	assert_int_equal(chunk_repeats(&chunks, "0\r\n", 1), 1);
	assert_true(chunk_repeats(&chunks, "x: y\r\n", 100000) < 8192 / 6 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_taken_or_refused),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(request_is_read),
		cmocka_unit_test(each_byte_is_in_its_place),
		cmocka_unit_test(connection_is_read),
		cmocka_unit_test(responses_are_taken_or_refused),
		cmocka_unit_test(chunks_are_taken_in_any_pieces),
		cmocka_unit_test(trailers_are_kept_for_who_asks),
		cmocka_unit_test(chunk_overhead_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
