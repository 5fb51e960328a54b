/* Inner exchanges: events at the end of a turn, bodies, lengths that are kept, aborts, and each on_close once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/handler_fixture.h"

#include "server/inner.h"

static unsigned heads, readables, aborts;
static enum status aborted_why;
static struct inner *to_close; /* by the next event */

static void close_if_wanted(void)
{
	inner_close(to_close);
	to_close = NULL;
}
static void on_head(void *state)
{
	(void)state;
	heads++;
	close_if_wanted();
}
static void on_readable(void *state)
{
	(void)state;
	readables++;
	close_if_wanted();
}
static void on_aborted(void *state, enum status why)
{
	(void)state;
	aborts++;
	aborted_why = why;
	close_if_wanted();
}
static const struct inner_events events = {on_head, on_readable, on_aborted};

static struct inner *ask(const char *method, const char *target)
{
	const struct header headers[] = {{TEXT("x-asked"), TEXT("1")}};
	const struct inner_request request = {
		.method = text_of(method), .target = text_of(target), .headers = headers, .header_count = 1};
	heads = readables = aborts = 0;
	opened = closed = 0;
	struct inner *inner = inner_new(fixture.worker, &request, &events, NULL);
	assert_non_null(inner);
	on_request(NULL, inner_exchange(inner));
	return inner;
}

static enum body_state read_all(struct inner *inner, struct buffer *into)
{
	enum body_state state = BODY_MORE;
	while (state == BODY_MORE) {
		uint8_t bytes[7];
		size_t count;
		state = inner_read(inner, bytes, sizeof(bytes), &count);
		buffer_append(into, (struct text){(const char *)bytes, count});
	}
	return state;
}

static void test_bodies(void **state)
{
	static const struct {
		const char *method, *target, *body;
		int status;
	} cases[] = {{"GET", "/hello", "hello", 200}, {"GET", "/length/12", "012345678901", 200},
		{"GET", "/stream/9", "012345678", 200}, {"GET", "/stream/0", "", 200}, {"HEAD", "/length/12", "", 200},
		{"GET", "/empty", "", 204}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer body = {0};
		struct inner *inner = ask(cases[i].method, cases[i].target);
		assert_int_equal(heads, 0); /* never inside the runtime's call */
		fixture_turn(&fixture);
		assert_int_equal(heads, 1);
		assert_int_equal(inner_exchange(inner)->status, cases[i].status);
		assert_int_equal(read_all(inner, &body), BODY_END);
		assert_true(text_equals(buffer_text(&body), text_of(cases[i].body)));
		assert_int_equal(closed, 1);
		assert_int_equal(last_outcome, STATUS_OK);
		inner_close(inner);
		fixture_turn(&fixture);
		assert_int_equal(closed + aborts, 1);
		buffer_free(&body);
	}
}

static void test_later(void **state)
{
	struct buffer body = {0};
	struct inner *inner = ask("GET", "/later/4");
	(void)state;
	fixture_turn(&fixture);
	assert_int_equal(read_all(inner, &body), BODY_LATER);
	exchange_resume(inner_exchange(inner));
	assert_int_equal(readables, 0);
	fixture_turn(&fixture);
	assert_int_equal(readables, 1);
	while (read_all(inner, &body) == BODY_LATER) { /* the test's runtime waits once more for each byte */
		exchange_resume(inner_exchange(inner));
		fixture_turn(&fixture);
	}
	assert_true(text_equals(buffer_text(&body), TEXT("0123")));
	inner_close(inner);
	fixture_turn(&fixture);
	assert_int_equal(closed, 1);
	buffer_free(&body);
}

static void test_failures(void **state)
{
	struct buffer body = {0};
	struct inner *inner = ask("GET", "/fail");
	(void)state;
	fixture_turn(&fixture);
	assert_int_equal(read_all(inner, &body), BODY_FAILED);
	assert_true(closed == 1 && last_outcome != STATUS_OK && !inner_is_aborted(inner));
	assert_int_equal(read_all(inner, &body), BODY_FAILED);
	inner_close(inner);
	inner = ask("GET", "/abort");
	assert_true(closed == 1 && inner_is_aborted(inner));
	fixture_turn(&fixture);
	assert_true(aborts == 1 && heads == 0 && aborted_why == STATUS_STOPPED);
	inner_close(inner);
	fixture_turn(&fixture);
	assert_int_equal(closed, 1);
	buffer_free(&body);
}

/* From outside, as a cut does; and the asker closes inside the event. */
static void test_cut(void **state)
{
	struct inner *inner = ask("GET", "/stream/100");
	uint8_t bytes[10];
	size_t count;
	(void)state;
	fixture_turn(&fixture);
	assert_int_equal(inner_read(inner, bytes, sizeof(bytes), &count), BODY_MORE);
	exchange_abort(inner_exchange(inner), STATUS_STOPPED);
	assert_true(closed == 1 && last_outcome == STATUS_STOPPED && aborts == 0);
	assert_int_equal(inner_read(inner, bytes, sizeof(bytes), &count), BODY_FAILED);
	to_close = inner;
	fixture_turn(&fixture);
	assert_int_equal(aborts, 1);
	fixture_turn(&fixture);
	assert_int_equal(closed, 1);
}

/* A close before the events that are due: none comes. */
static void test_close_early(void **state)
{
	struct inner *inner = ask("GET", "/hello");
	(void)state;
	inner_close(inner);
	fixture_turn(&fixture);
	assert_true(heads == 0 && closed == 1 && last_outcome == STATUS_CLOSED);
	inner = ask("GET", "/hold");
	inner_close(inner);
	fixture_turn(&fixture);
	assert_true(heads == 0 && closed == 1);
	inner_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_bodies), cmocka_unit_test(test_later),
		cmocka_unit_test(test_failures), cmocka_unit_test(test_cut), cmocka_unit_test(test_close_early)};
	return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
