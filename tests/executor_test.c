/* The executor against a broker in memory: completed once, merged, counted, given up, poison parked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus_fixture.h"
#include "control/orchestration/executor.h"
#include "fabric_fixture.h"

#define ACTIVITY(id, type) "{\"id\":\"" id "\",\"type\":\"" type "\",\"discriminator\":\"d\",\"dependsOn\":null}"
#define MESSAGE(id, type) "{\"orchestrationID\":\"o\",\"activity\":" ACTIVITY(id, type) "}"
#define VALUE(steps, state)                                                                                            \
	"{\"id\":\"o\",\"correlationId\":\"p\",\"definitionId\":\"d\",\"state\":" state ",\"stateTimestamp\":\"t\","       \
	"\"createdTimestamp\":\"t\",\"orchestrationType\":\"d\",\"steps\":[" steps "],\"processingData\":{\"in\":1},"      \
	"\"outputData\":{},\"completed\":{}}"
#define TWO_STEPS "{\"activities\":[" ACTIVITY("one", "x") "]},{\"activities\":[" ACTIVITY("two", "y") "]}"

#define VALUE_SUBJECT "$KV.cfm-bucket.o"

struct world {
	struct fabric fabric;
	struct bus bus;
	struct executor *executors[64];
	size_t count;
	enum activity_outcome outcomes[16]; /* of the runs, in their order; then COMPLETE */
	size_t outcome_count;
	int runs, parked, abandoned;
	char why[200];
	struct activity *held;
	bool holds;
	const char *subject, *value, *message;
	char seen[16384];
};

static void process(void *context, struct activity *activity)
{
	struct world *world = context;
	char name[64];
	size_t run = (size_t)world->runs++;
	snprintf(name, sizeof(name), "value of %.*s", TEXT_ARGUMENTS(activity_id(activity)));
	assert_true(activity_set_value(activity, name, json_object_new()));
	assert_true(activity_set_output(activity, name, json_object_new()));
	assert_non_null(activity_value(activity, name));
	assert_non_null(activity_value(activity, "in"));
	if (world->holds) {
		world->held = activity;
		return;
	}
	activity_finish(
		activity, run < world->outcome_count ? world->outcomes[run] : ACTIVITY_COMPLETE, 0, "the test says so");
}

static void abandon(void *context, struct activity *activity)
{
	struct world *world = context;
	(void)activity;
	world->abandoned++;
}

static void park(void *context, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	struct world *world = context;
	assert_true(message->body.length > 0);
	snprintf(world->why, sizeof(world->why), "%s", why);
	done(ticket, world->parked++ > 0); /* cannot be kept the first time */
}

static void open_world(struct world *world)
{
	memset(world, 0, sizeof(*world));
	fabric_open(&world->fabric);
	broker_open(&world->bus, state_worker(world->fabric.state));
	fabric_start(&world->fabric);
}

static void close_executors(void *context)
{
	struct world *world = context;
	for (size_t i = 0; i < world->count; i++)
		executor_close(world->executors[i]);
}

static void close_world(struct world *world)
{
	fabric_run(&world->fabric, close_executors, world);
	fabric_stop(&world->fabric);
	broker_close(&world->bus);
	fabric_free(&world->fabric);
}

static void add_executor(struct world *world, const char *type, uint64_t run_ms)
{
	world->executors[world->count] = executor_open(&world->bus, state_worker(world->fabric.state),
		&(struct executor_settings){.type = text_of(type),
			.parallel = 4,
			.failures_max = 3,
			.run_ms = run_ms,
			.retry_ms = 1,
			.retry_max_ms = 2},
		&(struct executor_processor){process, abandon, park, world});
	assert_non_null(world->executors[world->count++]);
}

static void open_x(void *context)
{
	add_executor(context, "x", 0);
}

static void open_x_and_y(void *context)
{
	add_executor(context, "x", 0);
	add_executor(context, "y", 0);
}

static void open_hasty_x(void *context)
{
	add_executor(context, "x", 5);
}

static void seed(void *context)
{
	struct world *world = context;
	if (world->value != NULL)
		broker_add(&world->bus, TEXT(VALUE_SUBJECT), TEXT_NONE, text_of(world->value), true);
	broker_add(&world->bus, text_of(world->subject), TEXT_NONE, text_of(world->message), false);
}

static const char *body_of(struct world *world, const char *subject)
{
	for (struct broker_message *message = world->bus.messages; message != NULL; message = message->next) {
		if (strcmp(message->subject, subject) == 0)
			return message->body;
	}
	return "";
}

static void look(void *context)
{
	struct world *world = context;
	snprintf(world->seen, sizeof(world->seen), "%s", body_of(world, world->subject));
}

/* As the worker sees it; until the next look. */
static const char *body_now(struct world *world, const char *subject)
{
	world->subject = subject;
	fabric_run(&world->fabric, look, world);
	return world->seen;
}

static bool is_responded(void *context)
{
	struct world *world = context;
	return broker_count(&world->bus, "event.cfm-orchestration-response") == 1 &&
		   broker_count(&world->bus, "event.x") == 0 && broker_count(&world->bus, "event.y") == 0;
}

static void run_seed(struct world *world, void (*open)(void *context), const char *value, const char *message)
{
	world->value = value;
	world->subject = "event.x";
	world->message = message;
	fabric_run(&world->fabric, open, world);
	fabric_run(&world->fabric, seed, world);
}

static void steps_follow_each_other_to_the_response(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	run_seed(&world, open_x_and_y, VALUE(TWO_STEPS, "0"), MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, 2);
	const char *response = body_now(&world, "event.cfm-orchestration-response");
	assert_non_null(
		strstr(response, "\"manifestId\":\"o\",\"correlationId\":\"p\",\"orchestrationType\":\"d\",\"success\":true"));
	assert_non_null(strstr(response, "\"properties\":{\"value of one\":{},\"value of two\":{}}"));
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"state\":2"));
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"completed\":{\"one\":{},\"two\":{}}"));
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"activity.one.attempt\":1"));
	close_world(&world);
}

static void what_is_completed_is_not_run_again(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	/* the process died after it wrote, before it told */
	run_seed(&world, open_x,
		"{\"id\":\"o\",\"correlationId\":\"p\",\"state\":2,\"orchestrationType\":\"d\",\"steps\":[{\"activities\":"
		"[" ACTIVITY("one", "x") "]}],\"completed\":{\"one\":{}}}",
		MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, 0);
	close_world(&world);
}

static void failures_are_counted_and_end(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	world.outcome_count = 16;
	for (size_t i = 0; i < 16; i++)
		world.outcomes[i] = ACTIVITY_RETRY;
	run_seed(&world, open_x, VALUE(TWO_STEPS, "0"), MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, 3);
	assert_non_null(strstr(body_now(&world, "event.cfm-orchestration-response"),
		"\"success\":false,\"errorDetail\":\"one: given up after 3 attempts: the test says so\""));
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"state\":3"));
	close_world(&world);
}

static void waiting_is_no_failure(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	world.outcome_count = 8;
	for (size_t i = 0; i < 8; i++)
		world.outcomes[i] = ACTIVITY_SCHEDULE;
	run_seed(&world, open_x_and_y, VALUE(TWO_STEPS, "0"), MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, 10);
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"activity.one.attempt\":9"));
	close_world(&world);
}

static void a_fatal_error_says_why_and_stops_the_siblings(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	world.outcome_count = 1;
	world.outcomes[0] = ACTIVITY_FATAL;
	run_seed(&world, open_x, VALUE("{\"activities\":[" ACTIVITY("one", "x") "," ACTIVITY("two", "x") "]}", "0"),
		MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_non_null(
		strstr(body_now(&world, "event.cfm-orchestration-response"), "\"errorDetail\":\"the test says so\""));
	world.value = NULL;
	world.subject = "event.x";
	world.message = MESSAGE("two", "x");
	fabric_run(&world.fabric, seed, &world);
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, 1);
	assert_non_null(strstr(body_now(&world, VALUE_SUBJECT), "\"celld.activity.two\":{\"skipped\":true}"));
	close_world(&world);
}

static bool is_abandoned(void *context)
{
	struct world *world = context;
	return world->abandoned == 1 && world->held != NULL && broker_count(&world->bus, "event.x") == 1 &&
		   strstr(body_of(world, VALUE_SUBJECT), "took too long") != NULL;
}

static void finish_held(void *context)
{
	struct world *world = context;
	world->holds = false;
	activity_finish(world->held, ACTIVITY_COMPLETE, 0, NULL); /* too late: it does not count */
}

static void a_run_that_takes_too_long_fails_and_is_not_doubled(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	world.holds = true;
	run_seed(&world, open_hasty_x, VALUE("{\"activities\":[" ACTIVITY("one", "x") "]}", "0"), MESSAGE("one", "x"));
	assert_true(fabric_wait(&world.fabric, is_abandoned, &world));
	assert_int_equal(world.runs, 1);
	fabric_run(&world.fabric, finish_held, &world);
	close_world(&world);
}

static bool is_parked(void *context)
{
	struct world *world = context;
	return world->parked == 2 && broker_count(&world->bus, "event.x") == 0;
}

static void poison_is_parked_and_out_of_the_way(void **state)
{
	static const struct {
		const char *value, *message, *why;
	} cases[] = {
		{NULL, "not json", "no JSON object"},
		{NULL, "{\"orchestrationID\":\"o\"}", "activity: is required"},
		{"not json", MESSAGE("one", "x"), "no JSON object"},
		{VALUE(TWO_STEPS, "0"), MESSAGE("three", "x"), "the orchestration has no such activity"},
		{NULL, MESSAGE("one", "x"), "there is no such orchestration"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world world;
		open_world(&world);
		run_seed(&world, open_x, cases[i].value, cases[i].message);
		assert_true(fabric_wait(&world.fabric, is_parked, &world));
		if (strstr(world.why, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].message, world.why);
		assert_int_equal(world.runs, 0);
		close_world(&world);
	}
}

/* F22: 50 writers of one value. */
enum { WRITERS = 50 };

static void open_writers(void *context)
{
	struct world *world = context;
	struct buffer value = {0};
	buffer_append(&value, TEXT("{\"id\":\"o\",\"correlationId\":\"p\",\"state\":0,\"orchestrationType\":\"d\","
							   "\"processingData\":{\"in\":1},\"steps\":[{\"activities\":["));
	for (int i = 0; i < WRITERS; i++) {
		char type[16];
		snprintf(type, sizeof(type), "t%d", i);
		add_executor(world, type, 0);
		buffer_printf(&value, "%s{\"id\":\"a%d\",\"type\":\"%s\"}", i > 0 ? "," : "", i, type);
	}
	buffer_append(&value, TEXT("]}]}"));
	broker_add(&world->bus, TEXT(VALUE_SUBJECT), TEXT_NONE, buffer_text(&value), true);
	buffer_free(&value);
	for (int i = 0; i < WRITERS; i++) {
		char subject[32], message[128];
		snprintf(subject, sizeof(subject), "event.t%d", i);
		snprintf(message, sizeof(message), "{\"orchestrationID\":\"o\",\"activity\":{\"id\":\"a%d\",\"type\":\"t%d\"}}",
			i, i);
		broker_add(&world->bus, text_of(subject), TEXT_NONE, text_of(message), false);
	}
}

static void fifty_writers_of_one_value_all_finish(void **state)
{
	struct world world;
	(void)state;
	open_world(&world);
	fabric_run(&world.fabric, open_writers, &world);
	assert_true(fabric_wait(&world.fabric, is_responded, &world));
	assert_int_equal(world.runs, WRITERS);
	assert_true(world.bus.conflicts > 0);
	for (int i = 0; i < WRITERS; i++) {
		char output[32];
		snprintf(output, sizeof(output), "\"value of a%d\":{}", i);
		assert_non_null(strstr(body_now(&world, "event.cfm-orchestration-response"), output));
	}
	print_message("%llu lost comparisons for %d writers\n", (unsigned long long)world.bus.conflicts, 2 * WRITERS);
	close_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_follow_each_other_to_the_response),
		cmocka_unit_test(what_is_completed_is_not_run_again),
		cmocka_unit_test(failures_are_counted_and_end),
		cmocka_unit_test(waiting_is_no_failure),
		cmocka_unit_test(a_fatal_error_says_why_and_stops_the_siblings),
		cmocka_unit_test(a_run_that_takes_too_long_fails_and_is_not_doubled),
		cmocka_unit_test(poison_is_parked_and_out_of_the_way),
		cmocka_unit_test(fifty_writers_of_one_value_all_finish),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
