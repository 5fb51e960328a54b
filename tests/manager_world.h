/* A world for tests of the Tenant Manager: two replicas on one state in memory, a worker, an engine, a placer and a
 * broker that do as they are told. Included by one test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "control/fabric/commands.h"
#include "control/fabric/letters.h"
#include "control/fabric/manager/manager_private.h"
#include "control/fabric/orchestration/pm.h"
#include "control/fabric/parked.h"
#include "no_provider_keys.h"
#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"
#include "server/worker_pool.h"
#include "state_fixture.h"

/* --- the worker: tasks in a list */

static struct task *tasks, **tasks_end = &tasks;

void worker_post(struct worker *worker, struct task *task)
{
	(void)worker;
	task->next = NULL;
	*tasks_end = task;
	tasks_end = &task->next;
}

void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	(void)pool;
	release(object);
}

/* Until nothing is left to do. */
static void run_all(void)
{
	while (tasks != NULL || fixture.pending_count > 0) {
		struct task *task = tasks;
		if (task != NULL) {
			tasks = task->next;
			if (tasks == NULL)
				tasks_end = &tasks;
			task->run(task);
		}
		fixture_run();
	}
}

/* --- the engine's side of one exchange */

static struct {
	struct exchange exchange;
	struct text body;
	int status;
	char answer[262144], total[32], retry_after[8];
	unsigned given; /* answers */
	size_t length;
	enum body_state body_state;
} shot;

struct text exchange_header(const struct exchange *exchange, struct text name)
{
	(void)exchange, (void)name;
	return TEXT_NONE;
}

unsigned exchange_header_count(const struct exchange *exchange, struct text name)
{
	(void)exchange, (void)name;
	return 0;
}

struct text exchange_path(const struct exchange *exchange)
{
	return text_slice(exchange->target, 0, text_find(exchange->target, '?'));
}

struct text exchange_query(const struct exchange *exchange)
{
	(void)exchange;
	return TEXT_NONE;
}

void *exchange_allocate(struct exchange *exchange, size_t size)
{
	static char rooms[16][65536];
	static size_t next;
	(void)exchange;
	assert_true(size <= sizeof(rooms[0]));
	return rooms[next++ % 16];
}

struct text exchange_copy(struct exchange *exchange, struct text text)
{
	char *room = exchange_allocate(exchange, text.length + 1);
	memcpy(room, text.bytes, text.length);
	room[text.length] = 0;
	return (struct text){room, text.length};
}

bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	(void)exchange;
	if (text_equals(name, TEXT("x-total-count")))
		snprintf(shot.total, sizeof(shot.total), "%.*s", TEXT_ARGUMENTS(value));
	else if (text_equals(name, TEXT("retry-after")))
		snprintf(shot.retry_after, sizeof(shot.retry_after), "%.*s", TEXT_ARGUMENTS(value));
	return true;
}

bool exchange_responded(const struct exchange *exchange)
{
	return exchange->status != 0;
}

/* What there is, until the end or until it is resumed. */
void exchange_resume(struct exchange *exchange)
{
	while (shot.body_state != BODY_END && shot.body_state != BODY_FAILED) {
		size_t count = 0;
		assert_true(shot.length + 8 < sizeof(shot.answer));
		shot.body_state = exchange->read_body(exchange, (uint8_t *)shot.answer + shot.length, 7, &count);
		shot.length += count;
		if (shot.body_state == BODY_LATER)
			break;
	}
	shot.answer[shot.length] = 0;
}

void exchange_respond(struct exchange *exchange)
{
	shot.given++;
	shot.status = exchange->status;
	shot.body_state = BODY_MORE;
	if (exchange->read_body == NULL)
		snprintf(shot.answer, sizeof(shot.answer), "%.*s", TEXT_ARGUMENTS(exchange->response_text));
	else
		exchange_resume(exchange);
}

void answer(struct exchange *exchange, int status, struct text content_type, struct text body)
{
	(void)content_type;
	exchange->status = status;
	exchange->response_text = body;
	exchange_respond(exchange);
}

void answer_json(struct exchange *exchange, int status, struct text json)
{
	answer(exchange, status, TEXT_NONE, json);
}

void answer_empty(struct exchange *exchange, int status)
{
	answer(exchange, status, TEXT_NONE, TEXT(""));
}

void answer_problem(struct exchange *exchange, int status, struct text detail)
{
	answer(exchange, status, TEXT_NONE, detail);
}

struct text reason_phrase(int status)
{
	(void)status;
	return TEXT("phrase");
}

void collect_body(struct exchange *exchange, size_t limit, void (*done)(struct exchange *exchange, struct text body))
{
	(void)limit;
	done(exchange, shot.body);
}

static struct rest *rests[2];

static void begin(size_t replica, const char *method, const char *target, const char *body)
{
	memset(&shot, 0, sizeof(shot));
	shot.body = body == NULL ? TEXT("") : text_of(body);
	shot.exchange = (struct exchange){.method = text_of(method), .target = text_of(target)};
	rest_handle(rests[replica], &shot.exchange);
}

static void leave(void)
{
	if (shot.exchange.on_close != NULL)
		shot.exchange.on_close(&shot.exchange, STATUS_OK);
	shot.exchange.on_close = NULL;
}

/* The status of one call, from its begin to its end. */
static int call(size_t replica, const char *method, const char *target, const char *body)
{
	begin(replica, method, target, body);
	run_all();
	assert_int_equal(shot.given, 1);
	leave();
	return shot.status;
}

/* The member of the answer, or of a tree of it. */
static struct json *answered(void)
{
	struct json *root = NULL;
	if (json_parse(text_of(shot.answer), NULL, &root) != STATUS_OK)
		fail_msg("%s", shot.answer);
	return root;
}

static char *member_of_answer(const char *name)
{
	struct json *root = answered();
	char *copy = text_copy(json_member_text(root, name));
	json_free(root);
	assert_non_null(copy);
	return copy;
}

/* --- the placer: takes the first cell, or says what it is told to */

static struct {
	struct cells *cells;
	struct state *state;
	enum status verdict;
	unsigned builds, asked, released; /* builds: how often a placement is built before it holds */
	const char *wanted;               /* the last request's text, for what it says of profiles */
	char request[4096];
} placer;

static bool take_first(void *context, const struct cell_record *cell)
{
	*(const struct cell_record **)context = cell;
	return false;
}

struct placed {
	struct placement placement;
};

static void on_placed(void *context, enum status status, int64_t revision)
{
	struct placed *placed = context;
	(void)revision;
	placed->placement.done(placed->placement.context, status, TEXT("decision"), TEXT("{}"), TEXT_NONE);
	free(placed);
}

void placer_place(struct placer *unused, const struct placement *placement)
{
	const struct cell_record *cell = NULL, *choices[PLACE_GROUP_MAX];
	(void)unused;
	placer.asked++;
	snprintf(
		placer.request, sizeof(placer.request), "%.*s", TEXT_ARGUMENTS(place_request_text(placement->requests[0])));
	bool is_wanted = placer.wanted == NULL || strstr(placer.request, placer.wanted) != NULL;
	if (placer.verdict != STATUS_OK || !is_wanted) {
		placement->done(placement->context, placer.verdict != STATUS_OK ? placer.verdict : STATUS_NOT_FOUND, TEXT_NONE,
			TEXT("{}"), TEXT("0 of 1 cells"));
		return;
	}
	cells_each(placer.cells, take_first, &cell);
	for (size_t i = 0; i < placement->count; i++)
		choices[i] = cell;
	struct transaction *transaction = NULL;
	for (unsigned i = 0; i <= placer.builds; i++) { /* another was faster */
		transaction_free(transaction);
		transaction = transaction_new();
		if (placement->build(placement->context, choices, transaction))
			continue;
		transaction_free(transaction);
		placement->done(placement->context, STATUS_INTERNAL, TEXT_NONE, TEXT_NONE, TEXT_NONE);
		return;
	}
	struct placed *placed = malloc(sizeof(*placed));
	placed->placement = *placement;
	state_submit(placer.state, transaction, on_placed, placed);
}

bool placer_release(struct placer *unused, const struct cell_record *cell, enum vpa_type type, const int64_t *demand,
	struct transaction *transaction)
{
	(void)unused, (void)cell, (void)type, (void)demand, (void)transaction;
	placer.released++;
	return true;
}

int64_t placer_used(const struct placer *unused, const struct cell_record *cell, const int64_t **per_type)
{
	(void)unused, (void)cell, (void)per_type;
	return 0;
}

/* --- the broker: what was answered, and the bucket */

static struct {
	enum bus_verdict verdict;
	unsigned answers;
	enum status bucket_status;
	const char *bucket_value;
} broker;

struct bus_consumer *bus_consume(struct bus *bus, const struct bus_consumer_settings *settings,
	void (*on_message)(void *context, const struct bus_message *message), void *context)
{
	(void)bus, (void)on_message, (void)context;
	assert_true(text_equals(settings->stream, TEXT("cfm-stream")));
	assert_true(text_equals(settings->durable, TEXT("cfm-orchestration-response")));
	assert_true(settings->is_found_only);
	return NULL;
}

enum status bus_delivery_parse(struct text reply, struct bus_delivery *delivery)
{
	uint64_t deliveries;
	if (text_to_unsigned(reply, 1000, &deliveries) != STATUS_OK)
		return STATUS_INVALID;
	*delivery = (struct bus_delivery){.deliveries = deliveries};
	return STATUS_OK;
}

bool bus_answer(struct bus *bus, struct text reply, enum bus_verdict verdict, uint64_t delay_ms)
{
	(void)bus, (void)reply;
	assert_true(verdict != BUS_NAK || delay_ms > 0);
	broker.verdict = verdict;
	broker.answers++;
	return true;
}

void bus_bucket_get(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, struct text value, uint64_t revision), void *context)
{
	(void)bus, (void)key;
	assert_true(text_equals(bucket, TEXT("cfm-bucket")));
	done(context, broker.bucket_status, broker.bucket_value == NULL ? TEXT_NONE : text_of(broker.bucket_value), 1);
}

/* --- who sends: what is written, as records alone */

static bool write_down(struct transaction *transaction, enum record_kind kind, struct text body)
{
	char id[ID_LENGTH + 1];
	id_random(id);
	return state_put(transaction, kind, text_of(id), body, REVISION_ABSENT);
}

bool letters_add_traced(
	struct transaction *transaction, struct text id, struct text subject, struct text body, const struct trace *trace)
{
	assert_int_equal(trace->parent.length, 0); /* no headers here */
	assert_true(text_equals(subject, TEXT("event.cfm-orchestration")));
	assert_int_equal(json_check(body, NULL, NULL), STATUS_OK);
	return state_put(transaction, RECORD_LETTER, id, body, REVISION_ABSENT);
}

bool pm_order(struct transaction *transaction, const struct manifest *manifest, int64_t wall_ms)
{
	(void)wall_ms;
	return state_put(transaction, RECORD_ORCHESTRATION, manifest->id, TEXT("{}"), REVISION_ABSENT);
}

bool commands_add(struct transaction *transaction, const struct cell_record *cell, struct text vpa, int64_t vpa_epoch,
	enum command_op op, struct text args)
{
	(void)vpa, (void)op;
	assert_int_equal(vpa_epoch, 1);
	assert_int_equal(json_check(args, NULL, NULL), STATUS_OK);
	return cell->is_legacy || write_down(transaction, RECORD_COMMAND, args);
}

bool parked_add(struct transaction *transaction, struct text subject, const char *reason, struct text body,
	struct text command, int64_t wall_ms)
{
	(void)subject, (void)body, (void)wall_ms;
	assert_true(reason[0] != 0 && command.bytes == NULL);
	return write_down(transaction, RECORD_PARKED, text_of(reason));
}

static struct manager *managers[2];

/* Without waiting for what follows. */
static void hear(size_t replica, const char *body, const char *deliveries)
{
	responses_take(managers[replica],
		&(struct bus_message){
			.subject = TEXT("event.cfm-orchestration-response"), .reply = text_of(deliveries), .body = text_of(body)});
}

/* What the broker is answered. */
static enum bus_verdict take(size_t replica, const char *body)
{
	broker.answers = 0;
	hear(replica, body, "1");
	run_all();
	assert_int_equal(broker.answers, 1);
	return broker.verdict;
}

static const char *response(const char *profile, const char *type, bool is_success, const char *more)
{
	static char text[1024];
	snprintf(text, sizeof(text),
		"{\"id\":\"i\",\"manifestId\":\"m\",\"correlationId\":\"%s\",\"orchestrationType\":\"cfm.orchestration.vpa.%"
		"s\","
		"\"success\":%s%s}",
		profile, type, is_success ? "true" : "false", more);
	return text;
}

/* --- the world: two replicas on one state */

static struct cells *cells[2];
static char *tenant, *dataspace;

static int open_world(void **unused)
{
	static const struct manager_settings settings = {"cfm-stream", "cfm-bucket", false};
	(void)unused;
	memset(&placer, 0, sizeof(placer));
	memset(&broker, 0, sizeof(broker));
	for (size_t i = 0; i < 2; i++) {
		struct state *state = fixture_state();
		assert_int_equal(cells_open(state, &cells[i]), STATUS_OK);
		assert_int_equal(manager_open(&settings, state, cells[i], NULL, &managers[i]), STATUS_OK);
		assert_int_equal(rest_open(NULL, &rests[i]), STATUS_OK);
		assert_int_equal(manager_serve(managers[i], rests[i]), STATUS_OK);
	}
	fixture_tell_batch();
	placer.cells = cells[0];
	placer.state = &fixture.states[0];
	assert_int_equal(call(0, "POST", "/api/v1alpha1/cells", "{\"state\":\"active\"}"), 201);
	assert_int_equal(call(0, "POST", "/api/v1alpha1/dataspace-profiles", "{}"), 201);
	dataspace = member_of_answer("id");
	assert_int_equal(call(0, "POST", "/api/v1alpha1/tenants", "{\"properties\":{\"n\":0}}"), 201);
	tenant = member_of_answer("id");
	return 0;
}

static int close_world(void **unused)
{
	(void)unused;
	run_all();
	for (size_t i = 0; i < 2; i++) {
		manager_free(managers[i]);
		rest_free(rests[i]);
		cells_free(cells[i]);
	}
	free(tenant);
	free(dataspace);
	fixture_clear();
	return 0;
}

/* id "": of all. */
static const char *profiles_path(const char *id)
{
	static char path[256];
	snprintf(
		path, sizeof(path), "/api/v1alpha1/tenants/%s/participant-profiles%s%s", tenant, id[0] == 0 ? "" : "/", id);
	return path;
}

/* The new profile's id. */
static char *deploy(void)
{
	assert_int_equal(call(0, "POST", profiles_path(""), "{\"identifier\":\"did:web:a\"}"), 202);
	return member_of_answer("id");
}

/* The record of the profile as the state has it. */
static struct json *stored(const char *profile)
{
	char id[128];
	struct json *root = NULL;
	snprintf(id, sizeof(id), "%s/%s", tenant, profile);
	assert_int_equal(json_parse(text_of(fixture_body(RECORD_PARTICIPANT_PROFILE, id)), NULL, &root), STATUS_OK);
	return root;
}

/* All its VPAs are in this state. */
static void must_be(const char *profile, const char *state)
{
	struct json *root = stored(profile);
	for (const struct json *vpa = json_first(json_member(root, "vpas")); vpa != NULL; vpa = json_next(vpa))
		assert_true(text_equals(json_member_text(vpa, "state"), text_of(state)));
	assert_int_equal(json_count(json_member(root, "vpas")), 4);
	json_free(root);
}

static char *error_of(const char *profile)
{
	struct json *root = stored(profile);
	char *copy = text_copy(json_member_text(root, "errorDetail"));
	json_free(root);
	return copy;
}
