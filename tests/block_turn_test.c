/* Turns of streams that read blocks: who has one sends it, who waits is served in order, nobody waits for a stranger.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/stream.h"
#include "server/worker_pool.h"

enum { STREAMS = 4, BLOCK = 256 * 1024 };

static struct worker_pool *pool;
static struct engine engine;
static struct connection connection;
static struct stream *streams[STREAMS];

static void resume(struct exchange *exchange)
{
	stream_of(exchange)->is_deferred = false;
}

static void on_flush(struct task *task)
{
	((struct connection *)task)->is_flush_queued = false;
}

static int open_streams(void **state)
{
	static const struct exchange_engine callbacks = {.resume = resume};
	(void)state;
	pool = worker_pool_new(1);
	engine = (struct engine){.worker = worker_pool_at(pool, 0)};
	connection = (struct connection){.engine = &engine, .flush_task.run = on_flush};
	for (int i = 0; i < STREAMS; i++) {
		streams[i] = calloc(1, sizeof(*streams[i]));
		streams[i]->connection = &connection;
		streams[i]->is_responded = streams[i]->reads_blocks = true;
		streams[i]->progress_ms = (int64_t)worker_now_ms(engine.worker);
		streams[i]->exchange.worker = engine.worker;
		streams[i]->exchange.engine = &callbacks;
		streams[i]->exchange.bytes_sent = BLOCK; /* it moves */
	}
	return 0;
}

static int close_streams(void **state)
{
	(void)state;
	for (int i = 0; i < STREAMS; i++) {
		block_turn_leave(streams[i]);
		free(streams[i]);
	}
	worker_run_later(engine.worker);
	worker_pool_free(pool);
	return 0;
}

static void reads(struct stream *stream)
{
	assert_true(block_turn_take(stream));
	stream->exchange.held = BLOCK;
	block_turn_note(stream, false);
}

static void sends(struct stream *stream)
{
	stream->exchange.held = 0;
	block_turn_note(stream, false);
}

static void who_has_a_block_sends_it_first(void **state)
{
	(void)state;
	reads(streams[0]);
	for (int i = 1; i < STREAMS; i++)
		assert_false(block_turn_take(streams[i]));
	assert_false(block_turn_pass(&connection, false));
	for (int i = 1; i < STREAMS; i++) {
		sends(streams[i - 1]);
		assert_false(block_turn_take(streams[i - 1])); /* behind those who wait */
		assert_true(streams[i]->is_deferred);
		assert_true(block_turn_pass(&connection, false));
		assert_false(streams[i]->is_deferred);
		reads(streams[i]);
	}
	sends(streams[STREAMS - 1]);
	assert_true(block_turn_pass(&connection, true));
	assert_false(streams[0]->is_deferred);
}

static void an_idle_connection_passes_on(void **state)
{
	(void)state;
	reads(streams[0]);
	assert_false(block_turn_take(streams[1]));
	streams[0]->is_deferred = true; /* by its share: the others would be, too */
	assert_false(block_turn_pass(&connection, true));
	streams[0]->is_deferred = false; /* its window is shut */
	assert_true(block_turn_pass(&connection, true));
	reads(streams[1]);
}

static void a_dry_source_and_the_end_pass_on(void **state)
{
	(void)state;
	reads(streams[0]);
	assert_false(block_turn_take(streams[1]));
	assert_false(block_turn_take(streams[2]));
	block_turn_note(streams[0], true);
	assert_true(block_turn_pass(&connection, false));
	block_turn_leave(streams[1]);
	assert_true(block_turn_pass(&connection, false));
	assert_false(streams[2]->is_deferred);
	assert_false(block_turn_pass(&connection, true));
}

static void some_never_wait(void **state)
{
	(void)state;
	reads(streams[0]);
	streams[1]->exchange.bytes_sent = 1000; /* small, or slow */
	assert_true(block_turn_take(streams[1]));
	streams[2]->exchange.share = (struct share *)(void *)&engine; /* another tenant's */
	assert_true(block_turn_take(streams[2]));
	streams[3]->exchange.held = 1; /* it has what it needs */
	assert_true(block_turn_take(streams[3]));
}

static void who_waits_for_the_socket_is_resumed(void **state)
{
	(void)state;
	block_turn_wait(streams[1]);
	block_turn_wait(streams[1]);
	assert_true(streams[1]->is_deferred);
	assert_true(block_turn_pass(&connection, false));
	assert_false(streams[1]->is_deferred);
	assert_false(block_turn_pass(&connection, true));
}

/* Whose turn it is finds the socket full, and it is free again before the turn is over: somebody goes on. */
static void a_holder_that_waits_for_the_socket_is_resumed(void **state)
{
	(void)state;
	reads(streams[0]);
	assert_false(block_turn_take(streams[1]));
	sends(streams[0]);
	assert_true(block_turn_pass(&connection, false)); /* to the one that waits */
	assert_ptr_equal(connection.block_turn.holder, streams[1]);
	assert_true(block_turn_take(streams[1]));
	block_turn_wait(streams[1]);
	assert_true(streams[1]->is_deferred);
	assert_true(block_turn_pass(&connection, false) || block_turn_pass(&connection, true));
	assert_false(streams[1]->is_deferred);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_has_a_block_sends_it_first, open_streams, close_streams),
		cmocka_unit_test_setup_teardown(an_idle_connection_passes_on, open_streams, close_streams),
		cmocka_unit_test_setup_teardown(a_holder_that_waits_for_the_socket_is_resumed, open_streams, close_streams),
		cmocka_unit_test_setup_teardown(a_dry_source_and_the_end_pass_on, open_streams, close_streams),
		cmocka_unit_test_setup_teardown(some_never_wait, open_streams, close_streams),
		cmocka_unit_test_setup_teardown(who_waits_for_the_socket_is_resumed, open_streams, close_streams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
