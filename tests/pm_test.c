/* The provision manager: from the order to the response, by the clock, and what is undone once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pm_world.h"

static void from_the_order_to_the_response(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	deploy(&world);
	wait_until(&world, is_deployed);
	assert_int_equal(world.deployed, 2);
	assert_true(has_body(&world, response, "\"manifestId\":\"o-1\",\"correlationId\":\"profile\""));
	assert_true(has_body(&world, response, "\"success\":true"));
	close_world(&world);
}

static bool is_refused(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_ERRORED, "unknown") == 0 && broker_count(world->bus, response) == 1 &&
		   broker_count(world->bus, "event.cfm-orchestration") == 0;
}

static void what_cannot_be_started_is_answered(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	world.subject = "event.cfm-orchestration";
	world.body = "{\"id\":\"o-1\",\"correlationId\":\"profile\",\"orchestrationType\":\"unknown\"}";
	run(&world, publish);
	run(&world, publish); /* twice: answered once */
	wait_until(&world, is_refused);
	assert_true(has_body(&world, response, "\"success\":false,\"errorDetail\":\"no orchestration definition"));
	close_world(&world);
}

static bool is_parked(void *context)
{
	struct world *world = context;
	return record_index_count(world->parked) == 2 && broker_count(world->bus, "event.cfm-orchestration") == 0;
}

static void a_manifest_that_is_none_is_parked(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	world.subject = "event.cfm-orchestration";
	world.body = "{\"id\":\"o-1\"";
	run(&world, publish);
	world.body = "{\"id\":\"> *\",\"correlationId\":\"c\",\"orchestrationType\":\"t\"}";
	run(&world, publish);
	wait_until(&world, is_parked);
	close_world(&world);
}

/* --- F47, T6: an error is compensated once, whoever sees it */

static void order_wave(void *context)
{
	struct world *world = context;
	for (int end = world->ordered + WAVE; world->ordered < end; world->ordered++) {
		char id[16];
		snprintf(id, sizeof(id), "o-%d", world->ordered);
		world->id = id;
		order(world);
	}
}

static bool is_wave_compensated(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_ERRORED, DEPLOY) == (size_t)world->ordered && is_compensated(world);
}

static void count_compensations(void *context)
{
	struct world *world = context;
	size_t count = 0;
	for (const struct ledger_item *item = world->pms[0]->items; item != NULL; item = item->next)
		count += strcmp(item->type, DISPOSE) == 0;
	assert_int_equal(count, RACES);
}

/* Two managers see every change of the bucket. */
static void an_error_is_compensated_once(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 2, &patient);
	world.deploy_outcome = ACTIVITY_FATAL;
	run(&world, add_executors);
	while (world.ordered < RACES) {
		run(&world, order_wave);
		wait_until(&world, is_wave_compensated);
	}
	run(&world, count_compensations);
	assert_int_equal(world.disposed, 2 * RACES);
	close_world(&world);
}

/* --- the clock, and the operator */

static bool is_failed_and_undone(void *context)
{
	struct world *world = context;
	return is_compensated(world) &&
		   find_body(world, response, "\"success\":false,\"errorDetail\":\"not done within") != NULL;
}

static bool is_failed(void *context)
{
	return ended(context, ORCHESTRATION_ERRORED, DEPLOY) > 0;
}

static void grow_patient(void *context)
{
	struct world *world = context;
	world->pms[0]->settings.orchestration_ms = 60000;
}

static void what_takes_too_long_ends_as_failed(void **state)
{
	struct world world;
	struct pm_settings hasty = settings;
	(void)state;
	hasty.orchestration_ms = 300;
	open_world(&world, 1, &hasty);
	order_one(&world);
	world.subject = "event.x";
	wait_until(&world, has_message);
	run(&world, purge_queue);
	/* no agent of x is there until it has failed */
	wait_until(&world, is_failed);
	run(&world, grow_patient);
	run(&world, add_executors);
	wait_until(&world, is_failed_and_undone);
	assert_int_equal(world.deployed, 0);
	close_world(&world);
}

static bool is_resent(void *context)
{
	struct world *world = context;
	return broker_count(world->bus, response) >= 2; /* the pause was made very short */
}

static void forget_answer(void *context)
{
	struct world *world = context;
	struct ledger_item *item = ledger_find(world->pms[0], TEXT("o-1"));
	world->is_answered = false;
	item->answer_at_ms = 0;
	item->answer_pause_ms = 1; /* as after its first wait */
}

static void a_response_nobody_took_is_sent_again(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	deploy(&world);
	wait_until(&world, is_deployed);
	run(&world, forget_answer);
	wait_until(&world, is_resent);
	close_world(&world);
}

static void check_kept(void *context)
{
	assert_int_equal(ended(context, ORCHESTRATION_COMPLETED, DEPLOY), 1);
}

static bool is_purged(void *context)
{
	struct world *world = context;
	const struct ledger_item *item = ledger_find(world->pms[0], TEXT("o-1"));
	return item != NULL && item->is_purged && broker_count(world->bus, "$KV.cfm-bucket.o-1") == 0;
}

static void finished_values_leave_the_bucket(void **state)
{
	struct world world;
	struct pm_settings brief = settings;
	(void)state;
	brief.retention_ms = 0;
	open_world(&world, 1, &brief);
	deploy(&world);
	wait_until(&world, is_purged);
	run(&world, check_kept); /* the record stays */
	close_world(&world);
}

/* T3: what the agents of a disposal look for at the top, from wherever it is. */
static void dispose(void *context)
{
	struct world *world = context;
	broker_add(world->bus, TEXT("event.cfm-orchestration"), TEXT_NONE,
		TEXT("{\"id\":\"o-2\",\"correlationId\":\"profile\",\"orchestrationType\":\"" DISPOSE
			 "\",\"payload\":{\"cfm.participant.id\":\"did:web:p\",\"cfm.vpa.state\":{\"holderPid\":\"h\"}}}"),
		false);
}

static bool is_disposing(void *context)
{
	struct world *world = context;
	return find_body(world, "$KV.cfm-bucket.o-2", "\"undo one\"") != NULL;
}

static void a_disposal_finds_what_it_needs(void **state)
{
	struct world world;
	(void)state;
	open_world(&world, 1, &settings);
	deploy(&world);
	wait_until(&world, is_deployed);
	run(&world, end_executors); /* the value stays as it is put */
	run(&world, dispose);
	wait_until(&world, is_disposing);
	assert_true(has_body(&world, "$KV.cfm-bucket.o-2",
		"\"cfm.vpa.state\":{\"holderPid\":\"h\"},\"holderPid\":\"h\","
		"\"participantContextId\":{},\"cfm.vpa.credentials\":[]"));
	close_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_the_order_to_the_response),
		cmocka_unit_test(what_cannot_be_started_is_answered),
		cmocka_unit_test(a_manifest_that_is_none_is_parked),
		cmocka_unit_test(an_error_is_compensated_once),
		cmocka_unit_test(what_takes_too_long_ends_as_failed),
		cmocka_unit_test(a_response_nobody_took_is_sent_again),
		cmocka_unit_test(finished_values_leave_the_bucket),
		cmocka_unit_test(a_disposal_finds_what_it_needs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
