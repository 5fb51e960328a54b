/* Known heads: what stands for what, when one is learnt, and how long it lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/known_fields.h"
#include "server/known_head.h"

enum { FIELDS = 100, ROOM = 4096 };

/* One answer as an origin's reader takes it. Returns the known head it stands for, which the caller holds. */
static struct known_head *take(struct known_heads *heads, const char *bytes)
{
	static const struct h1_limits limits = {ROOM, FIELDS};
	struct header headers[FIELDS];
	struct h1_head head;
	char block[ROOM];
	size_t length = strlen(bytes), used;
	struct known_head *known = known_head_find(heads, bytes, length);
	if (known != NULL)
		return known;
	memcpy(block, bytes, length);
	char *copy = known_head_begin(heads, block, length);
	bool is_read = h1_parse_response(block, length, &limits, headers, &head, &used) == STATUS_OK;
	if (copy != NULL)
		known_head_end(heads, copy, &head, block, is_read ? used : 0);
	return NULL;
}

#define HEAD "HTTP/1.1 206 Partial\r\nX-One:  1 \r\nEmpty:\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"

static void learns_what_comes_again(void **state)
{
	struct known_heads heads = {0};
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_null(take(&heads, HEAD "hello"));
	struct known_head *known = take(&heads, HEAD "other");
	assert_non_null(known);
	assert_int_equal(known->bytes.length, sizeof(HEAD) - 1);
	assert_int_equal(known->head.status, 206);
	assert_int_equal(known->head.content_length, 5);
	assert_false(known->head.keep_alive);
	assert_int_equal(known->head.header_count, 4);
	assert_true(text_equals(known->headers[0].name, TEXT("x-one")));
	assert_true(text_equals(known->headers[0].value, TEXT("1")));
	assert_true(text_equals(known->headers[1].name, TEXT("empty")));
	assert_int_equal(known->headers[1].value.length, 0);
	assert_true(text_equals(known->headers[3].value, TEXT("close")));
	known_head_release(known);
	known_heads_forget(&heads);
}

static void other_bytes_are_not_known(void **state)
{
	static const char *const others[] = {
		"HTTP/1.1 206 Partial\r\nX-One:  2 \r\nEmpty:\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
		"HTTP/1.1 206 Partial\r\nx-one:  1 \r\nEmpty:\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
		"HTTP/1.1 206 Partial\r\nX-One:  1 \r\nEmpty:\r\nContent-Length: 5\r\nConnection: close\r\nMore: "
		"1\r\n\r\nhello",
		"HTTP/1.1 206 Partial\r\nX-One:  1 \r\nEmpty:\r\nContent-Length: 5\r\nConnection: close\r\n", "H", ""};
	struct known_heads heads = {0};
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_null(take(&heads, HEAD));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_null(known_head_find(&heads, others[i], strlen(others[i])));
	known_heads_forget(&heads);
	assert_null(known_head_find(&heads, HEAD, sizeof(HEAD) - 1));
}

/* What is held outlives what it was learnt for, with what was made of it. */
static void lives_while_it_is_used(void **state)
{
	struct known_heads heads = {0};
	struct header field = {TEXT("x-one"), TEXT("1")};
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_null(take(&heads, HEAD));
	struct known_head *first = take(&heads, HEAD), *again = take(&heads, HEAD);
	assert_ptr_equal(first, again);
	first->memo.fields = known_fields_new(&field, 1);
	for (int i = 0; i < 2; i++)
		assert_null(take(&heads, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
	assert_null(known_head_find(&heads, HEAD, sizeof(HEAD) - 1));
	known_head_release(first);
	known_heads_forget(&heads);
	assert_int_equal(again->head.status, 206);
	assert_true(text_equals(again->headers[0].name, TEXT("x-one")));
	assert_int_equal(again->memo.fields->count, 1);
	known_head_release(again);
}

/* Heads that never come again are learnt ever more rarely. */
static void strangers_cost_less_and_less(void **state)
{
	struct known_heads heads = {0};
	unsigned copies = 0;
	char head[64];
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		int length = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nA: %u\r\n\r\n", i);
		const struct known_head *before = heads.present;
		assert_null(take(&heads, head));
		assert_in_range(length, 1, sizeof(head) - 1);
		copies += heads.present != before;
	}
	assert_in_range(copies, 15, 25);
	known_heads_forget(&heads);
}

/* Broken, too long, of too many fields: never learnt. */
static void not_all_can_be_known(void **state)
{
	char head[ROOM];
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct known_heads heads = {0};
		int length = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\n");
		if (kind == 0)
			length += snprintf(head + length, sizeof(head) - (size_t)length, "A b: 1\r\n");
		for (int i = 0; kind == 1 && i < 60; i++)
			length += snprintf(head + length, sizeof(head) - (size_t)length, "Name-%02d: 12345678901\r\n", i);
		for (int i = 0; kind == 2 && i < 25; i++)
			length += snprintf(head + length, sizeof(head) - (size_t)length, "A: 1\r\n");
		snprintf(head + length, sizeof(head) - (size_t)length, "\r\n");
		for (int i = 0; i < 8; i++)
			assert_null(take(&heads, head));
		assert_null(heads.present);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_what_comes_again),
		cmocka_unit_test(other_bytes_are_not_known),
		cmocka_unit_test(lives_while_it_is_used),
		cmocka_unit_test(strangers_cost_less_and_less),
		cmocka_unit_test(not_all_can_be_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
