/* PROXY v2 headers: both families, LOCAL, TLVs, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "server/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\x0a\x01\x02\x03\xc0\x00\x02\x01\x1f\x90\x01\xbb"
#define TCP6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x1f\x90\x01\xbb"
#define BYTES_OF(literal) literal, sizeof(literal) - 1

static const struct {
	const char *bytes;
	size_t length;
	enum status status;
	size_t used;        /* with OK */
	const char *source; /* NULL: local */
} cases[] = {
	{BYTES_OF(SIGNATURE "\x21\x11\x00\x0c" TCP4), STATUS_OK, 28, "10.1.2.3"},
	{BYTES_OF(SIGNATURE "\x21\x11\x00\x0c" TCP4 "GET"), STATUS_OK, 28, "10.1.2.3"},
	{BYTES_OF(SIGNATURE "\x21\x11\x00\x10" TCP4 "\x04\x00\x01\x00"), STATUS_OK, 32, "10.1.2.3"},
	{BYTES_OF(SIGNATURE "\x21\x21\x00\x24" TCP6), STATUS_OK, 52, "2001:db8::1"},
	{BYTES_OF(SIGNATURE "\x20\x00\x00\x00"), STATUS_OK, 16, NULL},
	{BYTES_OF(SIGNATURE "\x20\x11\x00\x0c" TCP4), STATUS_OK, 28, NULL},
	{BYTES_OF(SIGNATURE "\x20\x31\x00\x02xy"), STATUS_OK, 18, NULL},
	{BYTES_OF(SIGNATURE "\x21\x00\x00\x00"), STATUS_OK, 16, NULL},
	{BYTES_OF(SIGNATURE "\x21\x11\x00\x0b" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x21\x21\x00\x0c" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x21\x12\x00\x0c" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x21\x22\x00\x24" TCP6), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x21\x31\x00\x0c" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x22\x11\x00\x0c" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x11\x11\x00\x0c" TCP4), STATUS_INVALID, 0, NULL},
	{BYTES_OF(SIGNATURE "\x21\x11\xff\xff" TCP4), STATUS_TOO_LARGE, 0, NULL},
	{BYTES_OF("PROXY TCP4 10.1.2.3 192.0.2.1 8080 443\r\n"), STATUS_INVALID, 0, NULL},
	{BYTES_OF("GET / HTTP/1.1\r\n"), STATUS_INVALID, 0, NULL},
	{BYTES_OF("\r\n\r\n\0\r\nQUIT\r\n\r\n"), STATUS_INVALID, 0, NULL},
};

/* An exact-size heap copy, so that a sanitizer sees a read past the end. */
static enum status parse(const char *bytes, size_t length, struct proxy_header *header, size_t *used)
{
	uint8_t *copy = malloc(length == 0 ? 1 : length);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	enum status status = proxy_parse(copy, length, header, used);
	free(copy);
	return status;
}

static void header_is_checked(const struct proxy_header *header, const char *source)
{
	assert_int_equal(header->local, source == NULL);
	if (source == NULL)
		return;
	char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *in = (const void *)&header->source, *to = (const void *)&header->destination;
	const struct sockaddr_in6 *in6 = (const void *)&header->source;
	const void *address = in->sin_family == AF_INET ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr;
	assert_string_equal(inet_ntop(header->source.ss_family, address, text, sizeof text), source);
	assert_int_equal(ntohs(in->sin_port), 8080);
	assert_int_equal(ntohs(to->sin_port), 443);
	assert_int_equal(header->destination.ss_family, header->source.ss_family);
}

static void headers_are_read_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct proxy_header header;
		size_t used;
		enum status status = parse(cases[i].bytes, cases[i].length, &header, &used);
		if (status != cases[i].status || (status == STATUS_OK && used != cases[i].used))
			fail_msg("case %zu: %s, %zu used", i, status_text(status), used);
		if (status == STATUS_OK)
			header_is_checked(&header, cases[i].source);
		size_t whole = cases[i].used > 0 ? cases[i].used : cases[i].length;
		for (size_t length = 0; length < whole; length++) {
			status = parse(cases[i].bytes, length, &header, &used);
			assert_int_equal(used, 0);
			assert_true(status == STATUS_OK || status == cases[i].status);
		}
	}
}

static void length_is_bounded(void **state)
{
	(void)state;
	static char bytes[PROXY_HEADER_LIMIT + 1];
	memcpy(bytes, SIGNATURE "\x21\x11\x07\xf0" TCP4, 28);
	struct proxy_header header;
	size_t used;
	assert_int_equal(parse(bytes, PROXY_HEADER_LIMIT - 1, &header, &used), STATUS_OK);
	assert_int_equal(used, 0);
	assert_int_equal(parse(bytes, sizeof bytes, &header, &used), STATUS_OK);
	assert_int_equal(used, PROXY_HEADER_LIMIT);
	bytes[15] = (char)0xf1;
	assert_int_equal(parse(bytes, 16, &header, &used), STATUS_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_read_or_refused),
		cmocka_unit_test(length_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
