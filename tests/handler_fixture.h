/* A handler that answers in every way a runtime may, by the path; for the protocol tests. Include cmocka.h before. */
#pragma once

#include <string.h>

#include "server/answer.h"
#include "tests/engine_fixture.h"

static struct exchange *held; /* waits for the test to go on */
static unsigned opened, closed;
static enum status last_outcome;
static size_t held_bytes;
enum { LONG_FIELDS = 20 };
static char long_value[2000]; /* the test's */

/* --- the handler: the path says what is done */

static void on_close(struct exchange *exchange, enum status outcome)
{
	closed++;
	last_outcome = outcome;
	if (held == exchange)
		held = NULL;
}

static enum body_state read_digits(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	uint64_t total = *(uint64_t *)exchange->state, left = total - exchange->bytes_sent;
	*count = left < room ? (size_t)left : room;
	for (size_t i = 0; i < *count; i++)
		frame[i] = (uint8_t)('0' + (exchange->bytes_sent + i) % 10);
	return *count == left ? BODY_END : BODY_MORE;
}

static enum body_state read_failing(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	if (exchange->bytes_sent > 0)
		return BODY_FAILED;
	*count = room < 3 ? room : 3;
	memset(frame, 'f', *count);
	return BODY_MORE;
}

static enum body_state read_later(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	if (exchange->bytes_sent > 0 || held == NULL) {
		held = exchange;
		return BODY_LATER;
	}
	held = NULL;
	return read_digits(exchange, frame, room, count);
}

static void send_digits(struct exchange *exchange, bool has_length)
{
	uint64_t *total = exchange_allocate(exchange, sizeof(*total));
	struct text path = exchange_path(exchange);
	size_t slash = path.length;
	while (path.bytes[slash - 1] != '/')
		slash--;
	assert_int_equal(text_to_unsigned(text_slice(path, slash, path.length), INT64_MAX, total), STATUS_OK);
	exchange->state = total;
	exchange->status = 200;
	exchange->response_length = has_length ? (int64_t)*total : -1;
	exchange->read_body = read_digits;
	exchange_respond(exchange);
}

static void echo(struct exchange *exchange, struct text body)
{
	answer(exchange, 200, TEXT("text/plain"), body);
}

static void on_held_body(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	(void)bytes;
	held_bytes += length; /* not given back: that is the test's to do */
	held = exchange;
	if (ended)
		answer_empty(exchange, 204);
}

static void on_request(void *context, struct exchange *exchange)
{
	(void)context;
	struct text path = exchange_path(exchange);
	opened++;
	exchange->on_close = on_close;
	if (text_equals(path, TEXT("/hello")))
		answer(exchange, 200, TEXT("text/plain"), TEXT("hello"));
	else if (text_equals(path, TEXT("/long-head"))) {
		for (int i = 0; i < LONG_FIELDS; i++)
			exchange_add_header(exchange, TEXT("long"), (struct text){long_value, sizeof(long_value)});
		answer_empty(exchange, 204);
	} else if (text_starts_with(path, TEXT("/length/")))
		send_digits(exchange, true);
	else if (text_starts_with(path, TEXT("/stream/")))
		send_digits(exchange, false);
	else if (text_equals(path, TEXT("/trailer/3"))) {
		exchange_add_trailer(exchange, TEXT("sum"), TEXT("7"));
		send_digits(exchange, false);
	} else if (text_equals(path, TEXT("/empty")))
		answer_empty(exchange, 204);
	else if (text_equals(path, TEXT("/echo")))
		collect_body(exchange, 100, echo);
	else if (text_equals(path, TEXT("/refuse")))
		answer_empty(exchange, 403);
	else if (text_equals(path, TEXT("/abort")))
		exchange_abort(exchange, STATUS_STOPPED);
	else if (text_equals(path, TEXT("/take")))
		exchange_receive(exchange, on_held_body);
	else if (text_equals(path, TEXT("/hold")))
		held = exchange;
	else if (text_equals(path, TEXT("/later/4"))) {
		send_digits(exchange, true);
		exchange->read_body = read_later;
	} else if (text_equals(path, TEXT("/fail"))) {
		exchange->status = 200;
		exchange->read_body = read_failing;
		exchange_respond(exchange);
	} else
		answer_problem(exchange, 404, TEXT_NONE);
}

/* --- the engine that has it */

static struct engine_fixture fixture;

static inline int open_fixture(void **state)
{
	static const struct handler handler = {.on_request = on_request};
	(void)state;
	fixture_open(&fixture, &handler);
	return 0;
}

static inline int close_fixture(void **state)
{
	(void)state;
	fixture_turn(&fixture);
	fixture_close(&fixture);
	return 0;
}
