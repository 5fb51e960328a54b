/* The provision manager against a broker in memory, with agents of ours. Include it after cmocka. */
#pragma once

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

static inline bool is_answered(void *context, const struct orchestration *orchestration)
{
	const struct world *world = context;
	(void)orchestration;
	return world->is_answered;
}

static inline void on_committed(void *context, enum status status, int64_t revision)
{
	struct world *world = context;
	(void)revision;
	assert_int_equal(status, STATUS_OK);
	world->committed++;
}

static inline void define(struct world *world, const char *type, const char *activities)
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
static inline void watch_ends(void *context, const struct record *record)
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

static inline void open_world(struct world *world, size_t managers, const struct pm_settings *with)
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

static inline void end_executors(void *context)
{
	struct world *world = context;
	while (world->executor_count > 0)
		executor_close(world->executors[--world->executor_count]);
}

static inline void end_all(void *context)
{
	struct world *world = context;
	broker_set_up(world->bus, false); /* nothing new begins */
	end_executors(world);
}

static inline void close_world(struct world *world)
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

static inline void hold(struct world *world, bool is_held)
{
	for (size_t i = 0; i < world->executor_count; i++)
		executor_hold(world->executors[i], is_held);
	pm_hold(world->pms[0], is_held);
	letters_hold(world->letters, is_held);
}

static inline void process(void *context, struct activity *activity)
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

static inline void park(void *context, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	(void)context, (void)message, (void)why;
	done(ticket, true);
}

static inline void add_executors(void *context)
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

static inline void order(void *context)
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

static inline void publish(void *context)
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

static inline void look(void *context)
{
	struct look *wanted = context;
	wanted->is_there = find_body(wanted->world, wanted->subject, wanted->part) != NULL;
	const char *other = wanted->is_there ? NULL : find_body(wanted->world, wanted->subject, "");
	if (other != NULL)
		print_error("%s holds %s\n", wanted->subject, other);
}

/* As the worker sees it. */
static inline bool has_body(struct world *world, const char *subject, const char *part)
{
	struct look wanted = {world, subject, part, false};
	fabric_run(&world->fabric, look, &wanted);
	return wanted.is_there;
}

static inline size_t ended(const struct world *world, enum orchestration_state state, const char *type)
{
	size_t count = 0;
	for (const struct ledger_item *item = world->pms[0]->items; item != NULL; item = item->next)
		count += item->revision != 0 && item->ended_ms != 0 && item->state == state && strcmp(item->type, type) == 0;
	return count;
}

static inline void run(struct world *world, void (*what)(void *context))
{
	fabric_run(&world->fabric, what, world);
}

static inline void wait_until(struct world *world, bool (*is)(void *context))
{
	assert_true(fabric_wait(&world->fabric, is, world));
}

static inline void order_one(struct world *world)
{
	world->id = "o-1";
	run(world, order);
}

/* Ordered, and agents are there that do it. */
static inline void deploy(struct world *world)
{
	world->deploy_outcome = ACTIVITY_COMPLETE;
	run(world, add_executors);
	order_one(world);
}

static const char *response = "event.cfm-orchestration-response";

static inline bool is_deployed(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_COMPLETED, DEPLOY) == 1 && broker_count(world->bus, response) == 1 &&
		   letters_waiting(world->letters) == 0;
}

static inline bool is_compensated(void *context)
{
	struct world *world = context;
	return ended(world, ORCHESTRATION_ERRORED, DEPLOY) > 0 &&
		   ended(world, ORCHESTRATION_COMPLETED, DISPOSE) == ended(world, ORCHESTRATION_ERRORED, DEPLOY) &&
		   letters_waiting(world->letters) == 0 && broker_count(world->bus, "event.cfm-orchestration") == 0;
}

static inline bool has_message(void *context)
{
	struct world *world = context;
	return broker_count(world->bus, world->subject) > 0;
}

/* The message alone is lost, as by a stream that was purged. */
static inline void purge_queue(void *context)
{
	struct world *world = context;
	for (struct broker_message **at = &world->bus->messages; *at != NULL;) {
		if (strcmp((*at)->subject, world->subject) == 0)
			broker_remove(world->bus, at);
		else
			at = &(*at)->next;
	}
}
