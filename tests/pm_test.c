/* The provision manager against a broker in memory: from the order to the response, what is lost, what is done once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus_fixture.h"
#include "control/fabric/orchestration/pm_private.h"
#include "control/orchestration/executor.h"
#include "fabric_fixture.h"

#define DEPLOY "cfm.orchestration.vpa.deploy"
#define DISPOSE "cfm.orchestration.vpa.dispose"

/* Races: a few at a time, so that each wait is for little, however slow the machine and the build are. */
enum { MANAGERS_MAX = 2, RACES = 50, WAVE = 10 };

struct world {
	struct fabric fabric;
	struct bus buses[MANAGERS_MAX], *bus;
	struct letters *letters;
	struct record_index *parked;
	struct pm *pms[MANAGERS_MAX];
	size_t manager_count;
	struct executor *executors[4];
	size_t executor_count;
	enum activity_outcome deploy_outcome;
	int ordered, deployed, disposed, committed, asked;
	uint64_t published;
	const char *body, *subject, *id;
	bool is_answered;
	const char *holds_at; /* the activity during which everything is held; NULL: none */
	char ends[2 * RACES + 2][UUID_LENGTH + 1];
	size_t end_count, reopened;
	char *value; /* as it was before it moved */
	uint64_t value_revision;
};

static const struct pm_settings settings = {
	.orchestration_ms = 60000, .activity_ms = 60000, .settle_ms = 50, .retention_ms = 86400000, .sweep_ms = 10};

/* Where nothing gets lost, and many are under way: what is only slow is not taken for lost. */
static const struct pm_settings patient = {
	.orchestration_ms = 60000, .activity_ms = 60000, .settle_ms = 1000, .retention_ms = 86400000, .sweep_ms = 100};

static bool is_answered(void *context, const struct orchestration *orchestration)
{
	const struct world *world = context;
	(void)orchestration;
	return world->is_answered;
}

static void on_committed(void *context, enum status status, int64_t revision)
{
	struct world *world = context;
	(void)revision;
	assert_int_equal(status, STATUS_OK);
	world->committed++;
}

static void define(struct world *world, const char *type, const char *activities)
{
	struct buffer body = {0};
	struct transaction *transaction = transaction_new();
	buffer_printf(
		&body, "{\"type\":\"%s\",\"templateRef\":\"t\",\"active\":true,\"activities\":[%s]}", type, activities);
	assert_true(
		state_put(transaction, RECORD_ORCHESTRATION_DEFINITION, text_of(type), buffer_text(&body), REVISION_ANY));
	buffer_free(&body);
	state_submit(world->fabric.state, transaction, on_committed, world);
}

/* What has come to its end stays there, whoever read an older value, and whenever. */
static void watch_ends(void *context, const struct record *record)
{
	struct world *world = context;
	struct json *root = NULL;
	int64_t state = 0;
	if (record->body.bytes == NULL)
		return;
	assert_int_equal(json_parse(record->body, NULL, &root), STATUS_OK);
	assert_true(json_integer(json_member(root, "state"), &state));
	json_free(root);
	bool is_ended = state == ORCHESTRATION_COMPLETED || state == ORCHESTRATION_ERRORED;
	size_t i = 0;
	while (i < world->end_count && !text_equals(text_of(world->ends[i]), record->id))
		i++;
	world->reopened += i < world->end_count && !is_ended;
	if (i < world->end_count || !is_ended)
		return;
	assert_true(i < sizeof(world->ends) / sizeof(world->ends[0]));
	snprintf(world->ends[world->end_count++], sizeof(world->ends[0]), "%.*s", TEXT_ARGUMENTS(record->id));
}

static void open_world(struct world *world, size_t managers, const struct pm_settings *with)
{
	struct buffer error = {0};
	memset(world, 0, sizeof(*world));
	world->is_answered = true;
	fabric_open(&world->fabric);
	state_watch(world->fabric.state, RECORD_ORCHESTRATION, watch_ends, NULL, world);
	world->bus = &world->buses[0];
	broker_open(world->bus, state_worker(world->fabric.state));
	assert_int_equal(letters_open(world->fabric.state, world->bus, &world->letters), STATUS_OK);
	assert_int_equal(record_index_open(world->fabric.state, RECORD_PARKED, &world->parked), STATUS_OK);
	for (; world->manager_count < managers; world->manager_count++)
		assert_int_equal(
			pm_open(with,
				&(struct pm_base){world->fabric.state, world->bus, NULL, NULL, "cfm-stream", "cfm-bucket", true},
				&(struct pm_hooks){NULL, is_answered, world}, &world->pms[world->manager_count], &error),
			STATUS_OK);
	define(world, DEPLOY,
		"{\"id\":\"one\",\"type\":\"x\",\"discriminator\":\"" DEPLOY "\",\"dependsOn\":null},"
		"{\"id\":\"two\",\"type\":\"y\",\"discriminator\":\"" DEPLOY "\",\"dependsOn\":[\"one\"]}");
	define(world, DISPOSE,
		"{\"id\":\"undo one\",\"type\":\"x\",\"discriminator\":\"" DISPOSE "\",\"dependsOn\":null},"
		"{\"id\":\"undo two\",\"type\":\"y\",\"discriminator\":\"" DISPOSE "\",\"dependsOn\":null}");
	fabric_start(&world->fabric);
}

static void end_executors(void *context)
{
	struct world *world = context;
	while (world->executor_count > 0)
		executor_close(world->executors[--world->executor_count]);
}

static void end_all(void *context)
{
	struct world *world = context;
	broker_set_up(world->bus, false); /* nothing new begins */
	end_executors(world);
}

static void close_world(struct world *world)
{
	fabric_run(&world->fabric, end_all, world);
	fabric_settle(&world->fabric);
	fabric_stop(&world->fabric);
	for (size_t i = 0; i < world->manager_count; i++)
		pm_free(world->pms[i]);
	record_index_free(world->parked);
	letters_free(world->letters);
	broker_close(world->bus);
	fabric_free(&world->fabric);
	assert_int_equal(world->reopened, 0);
}

/* --- agents of ours */

static void hold(struct world *world, bool is_held)
{
	for (size_t i = 0; i < world->executor_count; i++)
		executor_hold(world->executors[i], is_held);
	pm_hold(world->pms[0], is_held);
	letters_hold(world->letters, is_held);
}

static void process(void *context, struct activity *activity)
{
	struct world *world = context;
	if (world->holds_at != NULL && text_equals(activity_id(activity), text_of(world->holds_at)))
		hold(world, true);
	bool is_disposal = text_equals(activity_discriminator(activity), ORCHESTRATION_DISPOSE);
	assert_true(activity_set_output(activity, "participantContextId", json_object_new()));
	if (is_disposal) {
		world->disposed++;
		activity_finish(activity, ACTIVITY_COMPLETE, 0, NULL);
	} else {
		world->deployed++;
		bool is_last = text_equals(activity_id(activity), TEXT("two"));
		activity_finish(activity, is_last ? world->deploy_outcome : ACTIVITY_COMPLETE, 0, "the agent says no");
	}
}

static void park(void *context, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	(void)context, (void)message, (void)why;
	done(ticket, true);
}

static void add_executors(void *context)
{
	static const char *const types[] = {"x", "y"};
	struct world *world = context;
	for (size_t i = 0; i < 2; i++) {
		world->executors[world->executor_count] = executor_open(world->bus, state_worker(world->fabric.state),
			&(struct executor_settings){.type = text_of(types[i]), .retry_ms = 1, .retry_max_ms = 2},
			&(struct executor_processor){process, NULL, park, world});
		assert_non_null(world->executors[world->executor_count++]);
	}
}

/* --- orders */

static void order(void *context)
{
	struct world *world = context;
	struct json *payload = NULL;
	struct transaction *transaction = transaction_new();
	assert_int_equal(
		json_parse(TEXT("{\"cfm.participant.id\":\"did:web:p\",\"cfm.vpa.credentials\":[]}"), NULL, &payload),
		STATUS_OK);
	assert_true(pm_order(transaction,
		&(struct manifest){
			.id = text_of(world->id), .correlation_id = TEXT("profile"), .type = TEXT(DEPLOY), .payload = payload},
		clock_wall_ms()));
	json_free(payload);
	state_submit(world->fabric.state, transaction, on_committed, world);
}

static void publish(void *context)
{
	struct world *world = context;
	broker_add(world->bus, text_of(world->subject), TEXT_NONE, text_of(world->body), false);
}

static const char *find_body(const struct world *world, const char *subject, const char *part)
{
	for (const struct broker_message *message = world->bus->messages; message != NULL; message = message->next) {
		if (strcmp(message->subject, subject) == 0 && strstr(message->body, part) != NULL)
			return message->body;
	}
	return NULL;
}

struct look {
	const struct world *world;
	const char *subject, *part;
	bool is_there;
};

static void look(void *context)
{
	struct look *wanted = context;
	wanted->is_there = find_body(wanted->world, wanted->subject, wanted->part) != NULL;
	const char *other = wanted->is_there ? NULL : find_body(wanted->world, wanted->subject, "");
	if (other != NULL)
		print_error("%s holds %s\n", wanted->subject, other);
}

/* As the worker sees it. */
static bool has_body(struct world *world, const char *subject, const char *part)
{
	struct look wanted = {world, subject, part, false};
	fabric_run(&world->fabric, look, &wanted);
	return wanted.is_there;
}

static size_t ended(const struct world *world, enum orchestration_state state, const char *type)
{
	size_t count = 0;
	for (const struct ledger_item *item = world->pms[0]->items; item != NULL; item = item->next)
		count += item->revision != 0 && item->ended_ms != 0 && item->state == state && strcmp(item->type, type) == 0;
	return count;
}

static void run(struct world *world, void (*what)(void *context))
{
	fabric_run(&world->fabric, what, world);
}

static void wait_until(struct world *world, bool (*is)(void *context))
{
	assert_true(fabric_wait(&world->fabric, is, world));
}

static void order_one(struct world *world)
{
	world->id = "o-1";
	run(world, order);
}

/* Ordered, and agents are there that do it. */
static void deploy(struct world *world)
{
	world->deploy_outcome = ACTIVITY_COMPLETE;
	run(world, add_executors);
	order_one(world);
}

static const char *response = "event.cfm-orchestration-response";

static bool is_deployed(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_COMPLETED, DEPLOY) == 1 && broker_count(world->bus, response) == 1 &&
		   letters_waiting(world->letters) == 0;
}

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

static bool is_compensated(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_ERRORED, DEPLOY) > 0 &&
		   ended(world, ORCHESTRATION_COMPLETED, DISPOSE) == ended(world, ORCHESTRATION_ERRORED, DEPLOY) &&
		   letters_waiting(world->letters) == 0 && broker_count(world->bus, "event.cfm-orchestration") == 0;
}

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

static bool has_message(void *context)
{
	struct world *world = context;
	return broker_count(world->bus, world->subject) > 0;
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

/* The message alone is lost, as by a stream that was purged. */
static void purge_queue(void *context)
{
	struct world *world = context;
	for (struct broker_message **at = &world->bus->messages; *at != NULL;) {
		if (strcmp((*at)->subject, world->subject) == 0)
			broker_remove(world->bus, at);
		else
			at = &(*at)->next;
	}
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
		cmocka_unit_test(what_is_ordered_waits),
		cmocka_unit_test(the_next_step_waits),
		cmocka_unit_test(a_compensation_waits),
		cmocka_unit_test(an_error_is_compensated_once),
		cmocka_unit_test(what_the_broker_lost_comes_back),
		cmocka_unit_test(a_lost_message_is_sent_again),
		cmocka_unit_test(a_check_that_is_overtaken_sends_nothing),
		cmocka_unit_test(an_older_value_moves_nothing_back),
		cmocka_unit_test(what_takes_too_long_ends_as_failed),
		cmocka_unit_test(a_response_nobody_took_is_sent_again),
		cmocka_unit_test(finished_values_leave_the_bucket),
		cmocka_unit_test(a_disposal_finds_what_it_needs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
