/* The provision manager: what is lost and comes back, and what waits while the database is behind its cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pm_world.h"

/* --- F24: while the database is behind its cells */

static void hold_all(void *context)
{
	hold(context, true);
}

static void let_letters_go(void *context)
{
	letters_hold(((struct world *)context)->letters, false);
}

static void let_go(void *context)
{
	hold(context, false);
}

/* It was offered, and given back. */
static bool is_put_off(const struct world *world, const char *subject)
{
	for (const struct broker_message *message = world->bus->messages; message != NULL; message = message->next) {
		if (strcmp(message->subject, subject) == 0)
			return message->due_ms > worker_now_ms(state_worker(world->fabric.state));
	}
	return false;
}

static bool is_letter_kept(void *context)
{
	struct world *world = context;
	return world->committed == 3 && letters_waiting(world->letters) == 1;
}

static bool is_manifest_put_off(void *context)
{
	return is_put_off(context, "event.cfm-orchestration");
}

static void what_is_ordered_waits(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	run(&world, add_executors);
	run(&world, hold_all);
	order_one(&world);
	wait_until(&world, is_letter_kept);
	assert_false(has_body(&world, "event.cfm-orchestration", "o-1")); /* its letter */
	run(&world, let_letters_go);
	wait_until(&world, is_manifest_put_off); /* its manifest */
	assert_false(has_body(&world, "$KV.cfm-bucket.o-1", ""));
	assert_int_equal(world.deployed, 0);
	world.deploy_outcome = ACTIVITY_COMPLETE;
	run(&world, let_go);
	wait_until(&world, is_deployed);
	assert_int_equal(world.deployed, 2);
	close_world(&world);
}

static bool is_next_step_waiting(void *context)
{
	const struct world *world = context;
	return is_put_off(world, "event.x") && find_body(world, "$KV.cfm-bucket.o-1", "\"completed\":{\"one\"") != NULL;
}

static void the_next_step_waits(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	world.holds_at = "one";
	deploy(&world);
	wait_until(&world, is_next_step_waiting);
	assert_int_equal(world.deployed, 1);
	assert_false(has_body(&world, "event.y", ""));
	run(&world, let_go);
	world.holds_at = NULL;
	wait_until(&world, is_deployed);
	assert_int_equal(world.deployed, 2);
	close_world(&world);
}

/* Longer than a compensation waits for what may be under way. */
static bool is_failed_long_ago(void *context)
{
	const struct world *world = context;
	for (const struct ledger_item *item = world->pms[0]->items; item != NULL; item = item->next) {
		if (item->revision != 0 && item->state == ORCHESTRATION_ERRORED)
			return item->settle_at_ms > 0 && clock_wall_ms() > item->settle_at_ms + 10 * settings.sweep_ms;
	}
	return false;
}

static void a_compensation_waits(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	world.holds_at = "two";
	run(&world, add_executors);
	world.deploy_outcome = ACTIVITY_FATAL;
	order_one(&world);
	wait_until(&world, is_failed_long_ago); /* the fact is known */
	assert_int_equal(ended(&world, ORCHESTRATION_COMPLETED, DISPOSE), 0);
	assert_int_equal(world.disposed, 0);
	world.holds_at = NULL;
	run(&world, let_go);
	wait_until(&world, is_compensated);
	assert_int_equal(world.disposed, 2);
	close_world(&world);
}

/* --- F14: the broker's store is wiped at every stage */

static void wipe(void *context)
{
	struct world *world = context;
	broker_wipe(world->bus);
	broker_set_up(world->bus, false);
	broker_set_up(world->bus, true);
}

static void settle_and_wipe(struct world *world, const char *subject)
{
	world->subject = subject;
	wait_until(world, has_message);
	run(world, wipe);
	wait_until(world, has_message);
}

static void what_the_broker_lost_comes_back(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	world.deploy_outcome = ACTIVITY_COMPLETE;
	order_one(&world);
	settle_and_wipe(&world, "event.x"); /* value and message of the first step */
	settle_and_wipe(&world, "event.x"); /* and again */
	run(&world, add_executors);
	wait_until(&world, is_deployed);
	assert_int_equal(world.deployed, 2);
	close_world(&world);
}

static void a_lost_message_is_sent_again(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	order_one(&world);
	world.subject = "event.x";
	wait_until(&world, has_message);
	run(&world, purge_queue);
	wait_until(&world, has_message);
	close_world(&world);
}

/* An agent is faster than the check: the value moves between what the stream and what the bucket is asked for. */
static void on_put(void *context, enum status status, uint64_t revision)
{
	(void)context, (void)revision;
	assert_int_equal(status, STATUS_OK);
}

static void move_value(void *context)
{
	struct world *world = context;
	if (++world->asked == 1) {
		char *value = strdup(find_body(world, "$KV.cfm-bucket.o-1", ""));
		bus_bucket_put(world->bus, TEXT("cfm-bucket"), TEXT("o-1"), text_of(value), BUS_REVISION_ANY, on_put, world);
		free(value);
	} else if (world->asked == 2) {
		world->published = world->bus->published - world->published; /* since the loss */
	}
}

static void lose_and_move(void *context)
{
	struct world *world = context;
	purge_queue(world);
	world->published = world->bus->published;
	world->bus->asked = move_value;
	world->bus->asked_context = world;
}

static bool is_asked_twice(void *context)
{
	const struct world *world = context;
	return world->asked >= 2;
}

static void a_check_that_is_overtaken_sends_nothing(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &patient);
	order_one(&world);
	world.subject = "event.x";
	wait_until(&world, has_message);
	run(&world, lose_and_move);
	wait_until(&world, is_asked_twice);
	assert_int_equal(world.published, 0); /* not before it was asked again */
	wait_until(&world, has_message);
	close_world(&world);
}

/* What a check has read arrives late: an agent, and the broker's word of it, were faster. */
static void keep_value(void *context)
{
	struct world *world = context;
	world->value = strdup(find_body(world, "$KV.cfm-bucket.o-1", ""));
	world->value_revision = (uint64_t)ledger_find(world->pms[0], TEXT("o-1"))->bucket_revision;
}

static bool is_value_known(void *context)
{
	const struct world *world = context;
	return has_message(context) && ledger_find(world->pms[0], TEXT("o-1"))->bucket_revision > 0;
}

static void take_kept_value(void *context)
{
	struct world *world = context;
	pm_mirror_take(world->pms[0], text_of(world->value), world->value_revision, (int64_t)world->value_revision);
	free(world->value);
}

static void an_older_value_moves_nothing_back(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &patient);
	order_one(&world);
	world.subject = "event.x";
	wait_until(&world, is_value_known);
	run(&world, keep_value);
	world.deploy_outcome = ACTIVITY_COMPLETE;
	run(&world, add_executors);
	wait_until(&world, is_deployed);
	run(&world, take_kept_value);
	close_world(&world); /* what was taken is told by then, and nothing was reopened */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_ordered_waits),
		cmocka_unit_test(the_next_step_waits),
		cmocka_unit_test(a_compensation_waits),
		cmocka_unit_test(what_the_broker_lost_comes_back),
		cmocka_unit_test(a_lost_message_is_sent_again),
		cmocka_unit_test(a_check_that_is_overtaken_sends_nothing),
		cmocka_unit_test(an_older_value_moves_nothing_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
