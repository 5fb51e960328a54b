/* The rules of HTTP/2 requests: tables, and each of them beside what nghttp2 says of the same request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/h2_message_peer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* "name=value" pairs, one after the other; a name may begin with ':'. */
static size_t read_fields(const char *const *lines, struct header *fields)
{
	size_t count = 0;
	for (; lines[count] != NULL; count++) {
		struct text line = text_of(lines[count]);
		size_t equals = text_find(line, '=');
		fields[count] = (struct header){text_slice(line, 0, equals), text_slice(line, equals + 1, line.length)};
	}
	return count;
}

static void check(const struct message_input *input, bool is_fine, const char *what)
{
	bool seen = message_is_fine(input), expected = message_is_fine_to_nghttp2(input);
	if (seen != expected || seen != is_fine)
		print_error("%s: here %d, nghttp2 %d, the table %d\n", what, seen, expected, is_fine);
	assert_int_equal(seen, expected);
	assert_int_equal(seen, is_fine);
}

#define GET ":method=GET", ":path=/", ":scheme=https", ":authority=a"
#define POST ":method=POST", ":path=/", ":scheme=https", ":authority=a"

static const struct {
	const char *what;
	const char *head[10], *trailers[4];
	size_t body;
	bool is_fine, has_body, has_trailers, is_open; /* open: the trailers do not end it */
} cases[] = {
	{"a request", .head = {GET}, .is_fine = true},
	{"in any order", .head = {":authority=a", ":scheme=http", ":path=/b", ":method=PUT", "x=y"}, .is_fine = true},
	{"no method", .head = {":path=/", ":scheme=https", ":authority=a"}},
	{"no path", .head = {":method=GET", ":scheme=https", ":authority=a"}},
	{"no scheme", .head = {":method=GET", ":path=/", ":authority=a"}},
	{"no authority", .head = {":method=GET", ":path=/", ":scheme=https"}},
	{"nothing", .head = {"x=y"}},
	{"host instead", .head = {":method=GET", ":path=/", ":scheme=https", "host=a"}, .is_fine = true},
	{"host as well", .head = {GET, "host=b"}, .is_fine = true},
	{"two hosts", .head = {GET, "host=a", "host=a"}},
	{"an empty host", .head = {GET, "host="}},
	{"two methods", .head = {GET, ":method=GET"}},
	{"two paths", .head = {GET, ":path=/"}},
	{"two schemes", .head = {GET, ":scheme=https"}},
	{"two authorities", .head = {GET, ":authority=a"}},
	{"an empty method", .head = {":method=", ":path=/", ":scheme=https", ":authority=a"}},
	{"an empty path", .head = {":method=GET", ":path=", ":scheme=https", ":authority=a"}},
	{"an empty scheme", .head = {":method=GET", ":path=/", ":scheme=", ":authority=a"}},
	{"an empty authority", .head = {":method=GET", ":path=/", ":scheme=https", ":authority="}},
	{"a method that is no token", .head = {":method=G T", ":path=/", ":scheme=https", ":authority=a"}},
	{"a method of its own", .head = {":method=g!", ":path=/", ":scheme=https", ":authority=a"}, .is_fine = true},
	{"a path without a slash", .head = {":method=GET", ":path=a", ":scheme=https", ":authority=a"}},
	{"a path without a slash, upper-case scheme", .head = {":method=GET", ":path=a", ":scheme=HTTP", ":authority=a"}},
	{"a path of another scheme", .head = {":method=GET", ":path=a", ":scheme=ftp", ":authority=a"}, .is_fine = true},
	{"a path with a space", .head = {":method=GET", ":path=/a b", ":scheme=https", ":authority=a"}},
	{"an asterisk", .head = {":method=GET", ":path=*", ":scheme=https", ":authority=a"}},
	{"an asterisk of OPTIONS", .head = {":method=OPTIONS", ":path=*", ":scheme=https", ":authority=a"},
		.is_fine = true},
	{"two asterisks of OPTIONS", .head = {":method=OPTIONS", ":path=**", ":scheme=https", ":authority=a"}},
	{"a scheme that begins with a digit", .head = {":method=GET", ":path=/", ":scheme=1a", ":authority=a"}},
	{"a scheme with a slash", .head = {":method=GET", ":path=/", ":scheme=a/", ":authority=a"}},
	{"a scheme with all it may have", .head = {":method=GET", ":path=/", ":scheme=a1+-.Z", ":authority=a"},
		.is_fine = true},
	{"an authority with a slash", .head = {":method=GET", ":path=/", ":scheme=https", ":authority=a/b"}},
	{"CONNECT", .head = {":method=CONNECT", ":authority=a:1"}, .is_fine = true},
	{"CONNECT with a path", .head = {":method=CONNECT", ":authority=a:1", ":path=/"}},
	{"CONNECT with a scheme", .head = {":method=CONNECT", ":authority=a:1", ":scheme=https"}},
	{"CONNECT to nobody", .head = {":method=CONNECT", "host=a"}},
	{"CONNECT with a length", .head = {":method=CONNECT", ":authority=a:1", "content-length=5"}, .is_fine = true},
	{"an extended CONNECT",
		.head = {":method=CONNECT", ":path=/", ":scheme=https", ":authority=a", ":protocol=websocket"}},
	{"a status", .head = {GET, ":status=200"}},
	{"an unknown pseudo field", .head = {GET, ":x=y"}},
	{"a colon", .head = {GET, ":=y"}},
	{"no name", .head = {GET, "=y"}},
	{"a pseudo field too late", .head = {":method=GET", ":path=/", ":scheme=https", "x=y", ":authority=a"}},
	{"upper case", .head = {GET, "X=y"}},
	{"a name with a space", .head = {GET, "x y=z"}},
	{"a name with a colon", .head = {GET, "x:y=z"}},
	{"no value", .head = {GET, "x="}, .is_fine = true},
	{"a leading space", .head = {GET, "x= y"}},
	{"a trailing tab", .head = {GET, "x=y\t"}},
	{"blanks alone", .head = {GET, "x= "}},
	{"blanks inside", .head = {GET, "x=y \tz"}, .is_fine = true},
	{"a line end", .head = {GET, "x=y\n"}},
	{"bytes above ASCII", .head = {GET, "x=\xc3\xa4"}, .is_fine = true},
	{"connection", .head = {GET, "connection=close"}},
	{"keep-alive", .head = {GET, "keep-alive=1"}},
	{"proxy-connection", .head = {GET, "proxy-connection=close"}},
	{"transfer-encoding", .head = {GET, "transfer-encoding=chunked"}},
	{"upgrade", .head = {GET, "upgrade=h2c"}},
	{"te", .head = {GET, "te=trailers"}, .is_fine = true},
	{"te in any case", .head = {GET, "te=Trailers"}, .is_fine = true},
	{"another te", .head = {GET, "te=gzip"}},
	{"names that nearly mean something", .head = {GET, "hosts=/", "tf=gzip", "upgrades=x", "connectioN=x"}},
	{"names like those that mean something", .head = {GET, "hosu=/", "tf=gzip", "upgradf=x", "connectiom=x"},
		.is_fine = true},
	{"a body", .head = {POST}, .body = 5, .is_fine = true, .has_body = true},
	{"a body and its length", .head = {POST, "content-length=5"}, .body = 5, .is_fine = true, .has_body = true},
	{"a body that is short", .head = {POST, "content-length=6"}, .body = 5, .has_body = true},
	{"a body that is long", .head = {POST, "content-length=4"}, .body = 5, .has_body = true},
	{"an empty body with a length", .head = {POST, "content-length=1"}, .body = 0, .has_body = true},
	{"an empty body of length 0", .head = {POST, "content-length=0"}, .body = 0, .is_fine = true, .has_body = true},
	{"a length without a body", .head = {POST, "content-length=5"}},
	{"length 0 without a body", .head = {POST, "content-length=0"}, .is_fine = true},
	{"two lengths", .head = {POST, "content-length=5", "content-length=5"}, .body = 5, .has_body = true},
	{"a length that is none", .head = {POST, "content-length=5x"}, .body = 5, .has_body = true},
	{"a signed length", .head = {POST, "content-length=+5"}, .body = 5, .has_body = true},
	{"no length", .head = {POST, "content-length="}, .body = 5, .has_body = true},
	{"a length that overflows", .head = {POST, "content-length=9223372036854775808"}, .body = 5, .has_body = true},
	{"the largest length", .head = {POST, "content-length=9223372036854775807"}, .body = 5, .has_body = true},
	{"CONNECT's bytes", .head = {":method=CONNECT", ":authority=a:1", "content-length=2"}, .body = 5, .is_fine = true,
		.has_body = true},
	{"trailers", .head = {POST}, .trailers = {"x=y"}, .body = 5, .is_fine = true, .has_body = true,
		.has_trailers = true},
	{"trailers that do not end it", .head = {POST}, .trailers = {"x=y"}, .body = 5, .has_body = true,
		.has_trailers = true, .is_open = true},
	{"a pseudo field in trailers", .head = {POST}, .trailers = {":path=/"}, .body = 5, .has_body = true,
		.has_trailers = true},
	{"a bad name in trailers", .head = {POST}, .trailers = {"X=y"}, .body = 5, .has_body = true, .has_trailers = true},
	{"a bad value in trailers", .head = {POST}, .trailers = {"x=\x7f"}, .body = 5, .has_body = true,
		.has_trailers = true},
	{"a connection field in trailers", .head = {POST}, .trailers = {"upgrade=y"}, .body = 5, .has_body = true,
		.has_trailers = true},
	{"a length in trailers", .head = {POST}, .trailers = {"content-length=5"}, .body = 5, .is_fine = true,
		.has_body = true, .has_trailers = true},
	{"a wrong length in trailers", .head = {POST}, .trailers = {"content-length=6"}, .body = 5, .has_body = true,
		.has_trailers = true},
	{"a second length in trailers", .head = {POST, "content-length=5"}, .trailers = {"content-length=5"}, .body = 5,
		.has_body = true, .has_trailers = true},
	{"a host in trailers", .head = {POST}, .trailers = {"host=a"}, .body = 5, .is_fine = true, .has_body = true,
		.has_trailers = true},
	{"trailers before the length is there", .head = {POST, "content-length=6"}, .trailers = {"x=y"}, .body = 5,
		.has_body = true, .has_trailers = true},
};

static void tables_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct header head[10], trailers[4];
		const struct message_input input = {.head = head,
			.head_count = read_fields(cases[i].head, head),
			.trailers = trailers,
			.trailer_count = read_fields(cases[i].trailers, trailers),
			.body = cases[i].body,
			.has_body = cases[i].has_body,
			.has_trailers = cases[i].has_trailers,
			.is_open = cases[i].is_open};
		check(&input, cases[i].is_fine, cases[i].what);
	}
}

/* Each byte in each kind of name and value, at its start, inside and at its end. */
static void bytes_agree(void **state)
{
	static const char *const names[] = {
		":method", ":path", ":scheme", ":authority", "host", "te", "content-length", "x", "x-long-name-of-a-field"};
	static const char *const values[] = {"GET", "/a/path/of/some/length", "https", "authority.example", "host.example",
		"trailers", "123456", "value", "a value that is longer than sixteen bytes"};
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		for (unsigned place = 0; place < 6; place++) {
			for (unsigned byte = 0; byte < 256; byte++) {
				char name[32], value[64];
				struct text parts[2] = {{name, strlen(names[i])}, {value, strlen(values[i])}};
				memcpy(name, names[i], parts[0].length);
				memcpy(value, values[i], parts[1].length);
				struct text changed = parts[place / 3];
				size_t at = place % 3 == 0 ? 0 : place % 3 == 1 ? changed.length / 2 : changed.length - 1;
				(place / 3 == 0 ? name : value)[at] = (char)byte;
				struct header head[5];
				size_t count = 0;
				for (size_t j = 0; j < 4; j++) { /* the others are as they must be */
					if (j != i)
						head[count++] = (struct header){text_of(names[j]), text_of(values[j])};
				}
				/* pseudo fields go first */
				if (i < 4) {
					memmove(head + 1, head, count * sizeof(head[0]));
					head[0] = (struct header){parts[0], parts[1]};
				} else {
					head[count] = (struct header){parts[0], parts[1]};
				}
				const struct message_input input = {.head = head, .head_count = count + 1};
				if (message_is_fine(&input) != message_is_fine_to_nghttp2(&input))
					fail_msg("%s, place %u, byte %u: here %d", names[i], place, byte, message_is_fine(&input));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_agree),
		cmocka_unit_test(bytes_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
