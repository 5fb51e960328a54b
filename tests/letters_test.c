/* Letters: in order, once when all is well, never lost when it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus_fixture.h"
#include "control/fabric/letters.h"
#include "fabric_fixture.h"
#include "server/worker_pool.h"

struct world {
	struct fabric fabric;
	struct bus bus;
	struct letters *letters;
	int committed;
};

static void open_world(struct world *world)
{
	memset(world, 0, sizeof(*world));
	fabric_open(&world->fabric);
	broker_open(&world->bus, state_worker(world->fabric.state));
	assert_int_equal(letters_open(world->fabric.state, &world->bus, &world->letters), STATUS_OK);
}

static void close_world(struct world *world)
{
	fabric_settle(&world->fabric); /* the records of letters that were sent are deleted a moment later */
	fabric_stop(&world->fabric);
	letters_free(world->letters);
	broker_close(&world->bus);
	fabric_free(&world->fabric);
}

static void on_committed(void *context, enum status status, int64_t revision)
{
	struct world *world = context;
	(void)revision;
	assert_int_equal(status, STATUS_OK);
	world->committed++;
}

static void write_letters(void *context)
{
	struct world *world = context;
	for (int i = 0; i < 20; i++) {
		char id[32], body[32];
		struct transaction *transaction = transaction_new();
		snprintf(id, sizeof(id), "letter-%02d", 19 - i); /* not the order of the ids */
		snprintf(body, sizeof(body), "{\"n\":%d}", i);
		assert_true(
			letters_add(transaction, text_of(id), i % 2 == 0 ? TEXT("event.a") : TEXT("event.b"), text_of(body)));
		state_submit(world->fabric.state, transaction, on_committed, world);
	}
}

static bool none_waits(void *context)
{
	struct world *world = context;
	return world->committed == 20 && letters_waiting(world->letters) == 0;
}

static bool all_wait(void *context)
{
	struct world *world = context;
	return world->committed == 20 && letters_waiting(world->letters) == 20;
}

static void check_order(void *context)
{
	struct world *world = context;
	int next[2] = {0, 1};
	for (struct broker_message *message = world->bus.messages; message != NULL; message = message->next) {
		int number, lane = strcmp(message->subject, "event.b") == 0;
		assert_int_equal(sscanf(message->body, "{\"n\":%d}", &number), 1);
		assert_int_equal(number, next[lane]);
		next[lane] += 2;
	}
	assert_int_equal(next[0], 20);
	assert_int_equal(next[1], 21);
}

static void those_of_a_subject_go_in_the_order_of_their_commits(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	world.bus.fail_publishes = 3;
	fabric_start(&world.fabric);
	fabric_run(&world.fabric, write_letters, &world);
	assert_true(fabric_wait(&world.fabric, none_waits, &world));
	fabric_run(&world.fabric, check_order, &world);
	assert_int_equal(world.bus.published, 20);
	close_world(&world);
}

static void set_down(void *context)
{
	broker_set_up(context, false);
}

static void set_up(void *context)
{
	broker_set_up(context, true);
}

static void check_line(void *context)
{
	struct world *world = context;
	struct buffer line = {0};
	letters_line(world->letters, &line);
	assert_non_null(strstr(line.bytes, "20 letters wait"));
	buffer_free(&line);
}

static void they_wait_for_the_broker(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	fabric_start(&world.fabric);
	fabric_run(&world.fabric, set_down, &world.bus);
	fabric_run(&world.fabric, write_letters, &world);
	assert_true(fabric_wait(&world.fabric, all_wait, &world));
	fabric_run(&world.fabric, check_line, &world);
	fabric_run(&world.fabric, set_up, &world.bus);
	assert_true(fabric_wait(&world.fabric, none_waits, &world));
	fabric_run(&world.fabric, check_order, &world);
	close_world(&world);
}

/* The record of a letter whose writer has gone, as another process leaves it. */
static void write_foreign(void *context)
{
	struct world *world = context;
	struct transaction *transaction = transaction_new();
	assert_true(state_put(transaction, RECORD_LETTER, TEXT("orphan"),
		TEXT("{\"subject\":\"event.a\",\"by\":\"0123456789abcdef0123456789abcdef\",\"body\":\"{\\\"n\\\":1}\"}"),
		REVISION_ABSENT));
	state_submit(world->fabric.state, transaction, on_committed, world);
}

static bool is_seen(void *context)
{
	struct world *world = context;
	return world->committed == 1 && letters_waiting(world->letters) == 1;
}

static bool is_sent(void *context)
{
	struct world *world = context;
	return letters_waiting(world->letters) == 0 && world->bus.published == 1;
}

static void the_letter_of_a_dead_process_is_sent_by_the_next(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	fabric_start(&world.fabric);
	fabric_run(&world.fabric, write_foreign, &world);
	assert_true(fabric_wait(&world.fabric, is_seen, &world));
	assert_int_equal(world.bus.published, 0); /* its writer may live */
	fabric_stop(&world.fabric);
	letters_free(world.letters);
	broker_close(&world.bus);
	/* the same database, a new process */
	struct store_settings settings = {.backend = STORE_SQLITE,
		.file = world.fabric.file,
		.queued_transactions = 100,
		.poll_ms = 200,
		.statement_ms = 5000};
	struct buffer error = {0};
	state_free(world.fabric.state);
	worker_pool_free(world.fabric.pool);
	world.fabric.pool = worker_pool_new(1);
	assert_int_equal(store_open(&settings, world.fabric.pool, &world.fabric.store, &error), STATUS_OK);
	assert_int_equal(state_open(world.fabric.store, world.fabric.pool, &world.fabric.state), STATUS_OK);
	broker_open(&world.bus, state_worker(world.fabric.state));
	assert_int_equal(letters_open(world.fabric.state, &world.bus, &world.letters), STATUS_OK);
	fabric_start(&world.fabric);
	assert_true(fabric_wait(&world.fabric, is_sent, &world));
	close_world(&world);
}

static void another_takes_over_after_a_while(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	fabric_start(&world.fabric);
	fabric_run(&world.fabric, write_foreign, &world);
	assert_true(fabric_wait(&world.fabric, is_sent, &world));
	close_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_of_a_subject_go_in_the_order_of_their_commits),
		cmocka_unit_test(they_wait_for_the_broker),
		cmocka_unit_test(the_letter_of_a_dead_process_is_sent_by_the_next),
		cmocka_unit_test(another_takes_over_after_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
