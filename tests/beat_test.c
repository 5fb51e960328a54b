/* Heartbeats on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "control/command/beat.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEAD "{\"v\":1,\"c\":\"cell-1\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":7,\"n\":90211"

static void what_is_printed_is_read(void **state)
{
	struct beat beat = {.cell = "cell-1",
					.incarnation = "0123456789abcdef0123456789abcdef",
					.epoch = 7,
					.number = 90211,
					.term = 3,
					.applied = 10441},
				read;
	struct buffer text = {0};
	(void)state;
	beat.figures = (struct beat_figures){.vpas = {42, 41, 60, 1},
		.rate = {10, 1190},
		.latency_us = {{3000, 9000, 22000}, {1000, 4000, 15000}},
		.errors_ppm = {0, 20},
		.store_us = {2100, 50, 400},
		.store_state = {BEAT_STORE_OK, BEAT_STORE_SEALED, BEAT_STORE_DOWN},
		.requests = 1200,
		.megabits = 310,
		.connections = 8123,
		.ready = {1, 2},
		.desired = {1, 3},
		.state = BEAT_STATE_DRAINING,
		.cpu = 31,
		.memory = 48};
	beat_print(&beat, &text);
	assert_string_equal(text.bytes,
		HEAD ",\"st\":\"draining\",\"vpas\":{\"cfm.connector\":42,\"cfm.credentialservice\":41,\"cfm.dataplane\":60,"
			 "\"cfm.issuer\":1},\"comp\":{\"cp\":[1,1],\"dp\":[2,3]},\"infra\":{\"db\":[\"ok\",2100],\"vault\":["
			 "\"sealed\",50],"
			 "\"nats\":[\"down\",400]},\"load\":{\"cpu\":31,\"mem\":48,\"rps\":1200,\"mbps\":310,\"conn\":8123},"
			 "\"cmd\":{\"term\":3,\"seq\":10441},"
			 "\"rate\":{\"cp\":10,\"dp\":1190},\"lat\":{\"cp\":[3000,9000,22000],\"dp\":[1000,4000,15000]},"
			 "\"err\":{\"cp\":0,\"dp\":20}}");
	assert_int_equal(beat_parse(buffer_text(&text), &read), STATUS_OK);
	assert_memory_equal(&read.figures, &beat.figures, sizeof(read.figures));
	assert_string_equal(read.cell, beat.cell);
	assert_string_equal(read.incarnation, beat.incarnation);
	assert_int_equal(read.epoch, 7);
	assert_int_equal(read.number, 90211);
	assert_int_equal(read.term, 3);
	assert_int_equal(read.applied, 10441);
	buffer_free(&text);
}

static void what_a_newer_cell_says_besides_is_passed_over(void **state)
{
	static const char *const texts[] = {HEAD "}", HEAD ",\"inv\":\"9f3a\",\"cmd\":{\"seq\":1}}",
		HEAD ",\"comp\":{\"gateway\":[1,\"x\"]},\"infra\":{\"dns\":7}}", HEAD ",\"vpas\":{\"cfm.other\":null}}"};
	struct beat beat;
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		assert_int_equal(beat_parse(text_of(texts[i]), &beat), STATUS_OK);
}

static void what_is_no_heartbeat(void **state)
{
	static const char *const texts[] = {"", "[]", "{}", "null", HEAD, HEAD ",\"n\":1}",
		"{\"v\":2,\"c\":\"a\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":7,\"n\":1}",
		"{\"v\":1,\"c\":\"a b\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":7,\"n\":1}",
		"{\"v\":1,\"c\":\"a\",\"inc\":\"0123456789ABCDEF0123456789abcdef\",\"ep\":7,\"n\":1}",
		"{\"v\":1,\"c\":\"a\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":-1,\"n\":1}",
		"{\"v\":1,\"c\":\"a\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":7}",
		"{\"v\":1,\"c\":\"a\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":7.5,\"n\":1}",
		"{\"v\":1,\"c\":\"a\",\"inc\":\"0123456789abcdef0123456789abcdef\",\"ep\":1000000000000001,\"n\":1}",
		HEAD ",\"cmd\":7}", HEAD ",\"cmd\":{\"seq\":-1}}", HEAD ",\"cmd\":{\"term\":\"1\"}}",
		HEAD ",\"cmd\":{\"seq\":1000000000000001}}", HEAD ",\"st\":\"fine\"}", HEAD ",\"st\":1}", HEAD ",\"vpas\":[]}",
		HEAD ",\"vpas\":{\"cfm.issuer\":-1}}", HEAD ",\"vpas\":{\"cfm.issuer\":4000000001}}",
		HEAD ",\"comp\":{\"cp\":[1]}}", HEAD ",\"comp\":{\"cp\":[1,2,3]}}", HEAD ",\"comp\":{\"cp\":[65536,1]}}",
		HEAD ",\"comp\":{\"cp\":{}}}", HEAD ",\"infra\":{\"db\":[\"ok\"]}}", HEAD ",\"infra\":{\"db\":[\"fine\",1]}}",
		HEAD ",\"infra\":{\"db\":\"ok\"}}", HEAD ",\"load\":{\"cpu\":101}}", HEAD ",\"load\":{\"cpu\":\"1\"}}",
		HEAD ",\"lat\":{\"cp\":[1,2]}}", HEAD ",\"err\":{\"cp\":1000001}}", HEAD ",\"rate\":{\"cp\":1.5}}"};
	struct beat beat;
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		assert_int_not_equal(beat_parse(text_of(texts[i]), &beat), STATUS_OK);
}

/* F51 */
static void a_giant_is_refused_by_its_size(void **state)
{
	struct buffer text = {0};
	struct beat beat;
	(void)state;
	buffer_append(&text, TEXT(HEAD ",\"x\":\""));
	while (text.length < BEAT_BYTES_MAX)
		buffer_append_byte(&text, 'x');
	buffer_append(&text, TEXT("\"}"));
	assert_int_equal(beat_parse(buffer_text(&text), &beat), STATUS_TOO_LARGE);
	buffer_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_read),
		cmocka_unit_test(what_a_newer_cell_says_besides_is_passed_over),
		cmocka_unit_test(what_is_no_heartbeat),
		cmocka_unit_test(a_giant_is_refused_by_its_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
