/* The placer on a store: what is decided is booked once, with the caller's records or not at all. */
#include "tests/place_fixture.h"

#include <sqlite3.h>

#include "control/fabric/cells.h"
#include "control/fabric/place/placer_private.h"
#include "server/worker_pool.h"
#include "tests/fabric_fixture.h"

enum { REQUESTS_MAX = 4 };

static struct fabric fabric;
static struct cells *cells;
static struct placer *placer;

/* One placement of the test, and how it ended. */
struct
try {
	struct place_request *requests[REQUESTS_MAX];
	size_t count;
	int64_t patience_ms, expected; /* expected: of the record that is written with it */
	char name[32];                 /* of that record; "": none */
	enum status status;
	bool is_done, gives_up;
	unsigned builds;
	char decision[64], explain[4096], line[1024], chosen[REQUESTS_MAX][32];
};

static bool build(void *context, const struct cell_record *const *choices, struct transaction *transaction)
{
	struct try *try = context;
	try->builds++;
	for (size_t i = 0; i < try->count; i++)
		snprintf(try->chosen[i], sizeof(try->chosen[i]), "%s", choices[i]->external_id);
	if (try->gives_up)
		return false;
	return try->name[0] == 0 || state_put(transaction, RECORD_TENANT, text_of(try->name), TEXT("{}"), try->expected);
}

static void done(void *context, enum status status, struct text decision, struct text explain, struct text line)
{
	struct try *try = context;
	try->status = status;
	snprintf(try->decision, sizeof(try->decision), "%.*s", TEXT_ARGUMENTS(decision));
	snprintf(try->explain, sizeof(try->explain), "%.*s", TEXT_ARGUMENTS(explain));
	snprintf(try->line, sizeof(try->line), "%.*s", TEXT_ARGUMENTS(line));
	try->is_done = true;
}

static void begin(void *context)
{
	struct try *try = context;
	placer_place(placer, &(struct placement){(const struct place_request *const *)try->requests, try->count,
							 try->patience_ms, build, done, try});
}

struct tries {
	struct try *items;
	size_t count;
};

static void begin_all(void *context)
{
	struct tries *tries = context;
	for (size_t i = 0; i < tries->count; i++)
		begin(&tries->items[i]);
}

static bool are_done(void *context)
{
	const struct tries *tries = context;
	for (size_t i = 0; i < tries->count; i++) {
		if (!tries->items[i].is_done)
			return false;
	}
	return true;
}

static void place_all(struct try *items, size_t count)
{
	struct tries tries = {items, count};
	fabric_run(&fabric, begin_all, &tries);
	assert_true(fabric_wait(&fabric, are_done, &tries));
}

static void ask(struct try *try, const char *text)
{
	try->requests[try->count++] = place_ask(text);
	try->expected = REVISION_ABSENT;
}

static void tries_free(struct try *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t at = 0; at < items[i].count; at++)
			place_request_free(items[i].requests[at]);
	}
	free(items);
}

/* --- records */

struct write {
	enum record_kind kind;
	const char *id, *body; /* NULL: deleted */
	bool is_done;
	enum status status;
};

static void written(void *context, enum status status, int64_t revision)
{
	struct write *write = context;
	(void)revision;
	write->status = status;
	write->is_done = true;
}

static void write_it(void *context)
{
	struct write *write = context;
	struct transaction *transaction = transaction_new();
	if (write->body == NULL)
		assert_true(state_delete(transaction, write->kind, text_of(write->id), REVISION_ANY));
	else
		assert_true(state_put(transaction, write->kind, text_of(write->id), text_of(write->body), REVISION_ANY));
	state_submit(fabric.state, transaction, written, write);
}

static bool is_written(void *context)
{
	return ((struct write *)context)->is_done;
}

static void put(enum record_kind kind, const char *id, const char *body)
{
	struct write write = {kind, id, body, false, STATUS_OK};
	fabric_run(&fabric, write_it, &write);
	assert_true(fabric_wait(&fabric, is_written, &write));
	assert_int_equal(write.status, STATUS_OK);
}

static void put_cell(const char *name, int most, const char *state, const char *more)
{
	char body[1024], id[64];
	snprintf(id, sizeof(id), "cfm-%s", name);
	snprintf(body, sizeof(body),
		"{\"externalId\":\"%s\",\"version\":0,\"state\":\"%s\",\"stateTimestamp\":\"2026-01-01T00:00:00Z\","
		"\"properties\":{"
		"\"celld.definition\":{\"cellId\":\"%s\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\","
		"\"capacity\":{\"maxVPAs\":%d}%s}},\"celld\":{\"mode\":\"%s\",\"epoch\":1}}",
		name, state, name, most, more, strcmp(state, "active") == 0 ? "ready" : "cordoned");
	put(RECORD_CELL, id, body);
}

static void start(void)
{
	fabric_open(&fabric);
	assert_int_equal(cells_open(fabric.state, &cells), STATUS_OK);
	assert_int_equal(placer_open(fabric.state, cells, &placer), STATUS_OK);
	fabric_start(&fabric);
}

static bool is_at_rest(void *context)
{
	(void)context;
	return placer->batch == NULL && placer->unfolded == 0 && placer->queue == NULL;
}

static void stop(void)
{
	assert_true(fabric_wait(&fabric, is_at_rest, NULL));
	fabric_stop(&fabric);
	placer_free(placer);
	cells_free(cells);
	fabric_free(&fabric);
}

struct used {
	const char *cell;
	int64_t vpas, stored;
};

static void read_used(void *context)
{
	struct used *used = context;
	const struct cell_record *cell = cells_find_external(cells, text_of(used->cell));
	used->vpas = placer_used(placer, cell, NULL);
	used->stored = place_snapshot_used(placer_snapshot(placer), cell->slot, PLACE_VPAS);
}

static int64_t used_of(const char *cell)
{
	struct used used = {cell, 0, 0};
	fabric_run(&fabric, read_used, &used);
	assert_int_equal(used.vpas, used.stored); /* the snapshot agrees with what is counted */
	return used.vpas;
}

/* --- tests */

#define DP "{\"type\":\"cfm.dataplane\""

/* F25: 2,000 at once for 100 slots. */
static void a_hundred_of_two_thousand(void **state)
{
	enum { COUNT = 2000 };
	struct try *tries = calloc(COUNT, sizeof(*tries));
	size_t placed = 0;
	(void)state;
	start();
	put_cell("a", 60, "active", "");
	put_cell("b", 40, "active", "");
	for (int i = 0; i < COUNT; i++) {
		ask(&tries[i], DP "}");
		snprintf(tries[i].name, sizeof(tries[i].name), "t%d", i);
	}
	place_all(tries, COUNT);
	for (int i = 0; i < COUNT; i++) {
		placed += tries[i].status == STATUS_OK;
		assert_true(tries[i].status == STATUS_OK || tries[i].status == STATUS_NOT_FOUND);
		assert_int_equal(tries[i].decision[32], '-');
		if (tries[i].status == STATUS_NOT_FOUND)
			assert_non_null(strstr(tries[i].line, "is full"));
	}
	assert_int_equal(placed, 100);
	assert_int_equal(used_of("a"), 60);
	assert_int_equal(used_of("b"), 40);
	tries_free(tries, COUNT);
	stop();
}

static void one_bad_caller_spoils_nothing(void **state)
{
	enum { COUNT = 20 };
	struct try *tries = calloc(COUNT, sizeof(*tries));
	(void)state;
	start();
	put_cell("a", 100, "active", "");
	put(RECORD_TENANT, "taken", "{}");
	for (int i = 0; i < COUNT; i++) {
		ask(&tries[i], DP "}");
		snprintf(tries[i].name, sizeof(tries[i].name), i == 7 ? "taken" : "t%d", i);
		tries[i].gives_up = i == 11;
	}
	place_all(tries, COUNT);
	for (int i = 0; i < COUNT; i++) {
		enum status wanted = i == 7 ? STATUS_CONFLICT : i == 11 ? STATUS_INTERNAL : STATUS_OK;
		assert_int_equal(tries[i].status, wanted);
		assert_string_equal(tries[i].chosen[0], "a");
		if (wanted == STATUS_OK)
			assert_int_not_equal(tries[i].decision[0], 0);
	}
	assert_int_equal(used_of("a"), COUNT - 2);
	tries_free(tries, COUNT);
	stop();
}

struct giving {
	const char *cell;
	int times;
	bool is_done;
};

static void given(void *context, enum status status, int64_t revision)
{
	(void)revision;
	assert_int_equal(status, STATUS_OK);
	((struct giving *)context)->is_done = true;
}

static void give_back(void *context)
{
	struct giving *giving = context;
	struct transaction *transaction = transaction_new();
	const struct cell_record *cell = cells_find_external(cells, text_of(giving->cell));
	for (int i = 0; i < giving->times; i++)
		assert_true(placer_release(placer, cell, VPA_DATAPLANE, NULL, transaction));
	state_submit(fabric.state, transaction, given, giving);
}

static bool is_given(void *context)
{
	return ((struct giving *)context)->is_done;
}

struct room_left {
	int64_t used;
};
static bool is_used(void *context)
{
	return placer_used(placer, cells_find_external(cells, TEXT("a")), NULL) == ((struct room_left *)context)->used;
}

/* F28: what fits nowhere waits, and is placed when room comes; never where it may not be. */
static void who_waits_is_placed_when_there_is_room(void **state)
{
	struct try *tries = calloc(4, sizeof(*tries));
	struct tries three = {tries, 3};
	struct giving giving = {"a", 2, false};
	(void)state;
	start();
	put_cell("a", 2, "active", ",\"jurisdictions\":[\"EU\"]");
	put_cell("b", 100, "active", "");
	for (int i = 0; i < 4; i++) {
		ask(&tries[i], DP ",\"require\":{\"jurisdictions\":[\"EU\"]}}");
		tries[i].patience_ms = i < 3 ? 60000 : 0;
	}
	place_all(tries, 2);
	assert_int_equal(used_of("a"), 2);
	fabric_run(&fabric, begin, &tries[2]);
	fabric_run(&fabric, begin, &tries[3]);
	struct tries last = {&tries[3], 1};
	assert_true(fabric_wait(&fabric, are_done, &last)); /* who has no patience is told */
	assert_int_equal(tries[3].status, STATUS_NOT_FOUND);
	assert_string_equal(
		tries[3].line, "0 of 2 cells: 1 outside EU, 1 full; nearest miss: a is full (2 of 2 VPAs booked, 1 asked)");
	assert_false(tries[2].is_done);
	fabric_run(&fabric, give_back, &giving);
	assert_true(fabric_wait(&fabric, is_given, &giving));
	assert_true(fabric_wait(&fabric, are_done, &three));
	assert_int_equal(tries[2].status, STATUS_OK);
	assert_string_equal(tries[2].chosen[0], "a");
	struct room_left one = {1};
	assert_true(fabric_wait(&fabric, is_used, &one));
	assert_int_equal(used_of("b"), 0);
	tries_free(tries, 4);
	stop();
}

static void what_is_stored_is_known_after_a_restart(void **state)
{
	struct try *tries = calloc(1, sizeof(*tries));
	struct giving giving = {"a", 1, false};
	(void)state;
	start();
	put_cell("a", 9, "active", "");
	ask(&tries[0], DP ",\"participant\":\"p\",\"tenant\":\"t\"}");
	ask(&tries[0], "{\"type\":\"cfm.connector\",\"participant\":\"p\",\"tenant\":\"t\",\"demand\":{\"memMiB\":64}}");
	place_all(tries, 1);
	assert_int_equal(used_of("a"), 2);
	fabric_run(&fabric, give_back, &giving);
	assert_true(fabric_wait(&fabric, is_given, &giving));
	assert_int_equal(used_of("a"), 1);
	assert_true(fabric_wait(&fabric, is_at_rest, NULL));
	fabric_stop(&fabric);
	placer_free(placer);
	cells_free(cells);
	state_free(fabric.state);
	worker_pool_free(fabric.pool);
	struct store_settings settings = {.backend = STORE_SQLITE,
		.file = fabric.file,
		.queued_transactions = 100000,
		.poll_ms = 195,
		.statement_ms = 5000};
	struct buffer error = {0};
	fabric.pool = worker_pool_new(1);
	assert_int_equal(store_open(&settings, fabric.pool, &fabric.store, &error), STATUS_OK);
	assert_int_equal(state_open(fabric.store, fabric.pool, &fabric.state), STATUS_OK);
	assert_int_equal(cells_open(fabric.state, &cells), STATUS_OK);
	assert_int_equal(placer_open(fabric.state, cells, &placer), STATUS_OK);
	fabric_start(&fabric);
	assert_int_equal(used_of("a"), 1);
	tries_free(tries, 1);
	stop();
}

static void a_cordoned_cell_gets_nothing(void **state)
{
	struct try *tries = calloc(2, sizeof(*tries));
	(void)state;
	start();
	put_cell("a", 9, "active", "");
	ask(&tries[0], DP "}");
	ask(&tries[1], DP "}");
	place_all(tries, 1);
	assert_int_equal(tries[0].status, STATUS_OK);
	put_cell("a", 9, "locked", "");
	place_all(tries + 1, 1);
	assert_int_equal(tries[1].status, STATUS_NOT_FOUND);
	assert_string_equal(tries[1].line, "0 of 1 cells: 1 not ready; nearest miss: a is cordoned");
	assert_int_equal(used_of("a"), 1);
	put(RECORD_CELL, "cfm-a", NULL);
	tries_free(tries, 2);
	stop();
}

static void dataspace_profiles_and_participants_count(void **state)
{
	struct try *tries = calloc(2, sizeof(*tries));
	(void)state;
	start();
	put_cell("a", 9, "active", "");
	put_cell("b", 9, "active", "");
	put_cell("c", 9, "active", "");
	put(RECORD_DATASPACE_PROFILE, "ds",
		"{\"id\":\"ds\",\"deployments\":[{\"cellId\":\"cfm-a\",\"state\":\"active\"},{\"cellId\":\"cfm-b\",\"state\":"
		"\"active\"},{\"cellId\":\"cfm-c\",\"state\":\"pending\"}]}");
	put(RECORD_PARTICIPANT_PROFILE, "t/p",
		"{\"id\":\"p\",\"properties\":{\"vpas\":[{\"cellId\":\"cfm-b\"}],\"x\":\"\\\"}\"},\"vpas\":[{\"id\":\"1\","
		"\"state\":"
		"\"active\",\"type\":\"cfm.connector\",\"properties\":{\"cellId\":\"cfm-b\"},\"cellId\":\"cfm-a\"},{\"type\":"
		"\"cfm.dataplane\",\"cellId\":\"cfm-b\",\"state\":\"disposed\"}]}");
	ask(&tries[0],
		DP ",\"participant\":\"p\",\"tenant\":\"t\",\"require\":{\"profiles\":[\"ds\"]},\"antiAffinity\":[{\"to\":"
		   "\"participant:self\",\"topologyKey\":\"cell\",\"hard\":true}]}");
	ask(&tries[1],
		DP ",\"participant\":\"p\",\"tenant\":\"t\",\"affinity\":[{\"to\":\"participant:self\",\"topologyKey\":"
		   "\"cell\",\"hard\":true}]}");
	place_all(tries, 2);
	assert_string_equal(tries[0].chosen[0], "b");
	assert_int_equal(tries[1].status, STATUS_OK);
	assert_true(strcmp(tries[1].chosen[0], "a") == 0 || strcmp(tries[1].chosen[0], "b") == 0);
	tries_free(tries, 2);
	stop();
}

struct replay {
	struct try *try;
	int64_t process, version;
	enum status status;
	char chosen[32];
};

static void replay(void *context)
{
	struct replay *replay = context;
	struct text chosen[REQUESTS_MAX];
	replay->status = placer_replay(placer, replay->process, (uint64_t)replay->version,
		(const struct place_request *const *)replay->try->requests, replay->try->count, chosen);
	if (replay->status == STATUS_OK)
		snprintf(replay->chosen, sizeof(replay->chosen), "%.*s", TEXT_ARGUMENTS(chosen[0]));
}

static void every_decision_is_replayed(void **state)
{
	enum { COUNT = 200 };
	struct try *tries = calloc(COUNT, sizeof(*tries));
	(void)state;
	start();
	put_cell("a", 70, "active", "");
	put_cell("b", 70, "active", "");
	put_cell("c", 70, "active", "");
	for (int i = 0; i < COUNT; i++) {
		char text[128];
		snprintf(text, sizeof(text), DP ",\"vpaId\":\"v%d\",\"participant\":\"p%d\",\"tenant\":\"t\"}", i, i % 9);
		ask(&tries[i], text);
	}
	for (int i = 0; i < COUNT; i += 40) {
		place_all(tries + i, 40);
		put_cell("b", 70 + i, "active", "");
	}
	for (int i = 0; i < COUNT; i += 3) {
		struct json *root = place_json(tries[i].explain);
		struct replay again = {.try = &tries[i]};
		assert_true(json_integer(json_member(root, "process"), &again.process));
		assert_true(json_integer(json_member(root, "snapshot"), &again.version));
		json_free(root);
		fabric_run(&fabric, replay, &again);
		assert_int_equal(again.status, STATUS_OK);
		assert_string_equal(again.chosen, tries[i].chosen[0]);
		again.process++;
		fabric_run(&fabric, replay, &again);
		assert_int_equal(again.status, STATUS_UNAVAILABLE);
	}
	tries_free(tries, COUNT);
	stop();
}

/* What heartbeats say (control.md 2.7.3): the idle one is better; what is not ready takes nothing. */
struct measure {
	const char *cell;
	unsigned ready;
	int load;
};

static void measure_it(void *context)
{
	const struct measure *measure = context;
	placer_measure(placer, cells_find_external(cells, text_of(measure->cell))->slot, measure->ready, measure->load);
}

static void measure(const char *cell, unsigned ready, int load)
{
	fabric_run(&fabric, measure_it, &(struct measure){cell, ready, load});
}

static void replay_gives(struct try *try, const char *expected)
{
	struct json *root = place_json(try->explain);
	struct replay again = {.try = try};
	assert_true(json_integer(json_member(root, "process"), &again.process));
	assert_true(json_integer(json_member(root, "snapshot"), &again.version));
	json_free(root);
	fabric_run(&fabric, replay, &again);
	assert_int_equal(again.status, STATUS_OK);
	assert_string_equal(again.chosen, expected);
}

static void what_is_measured_counts_and_is_replayed(void **state)
{
	enum { ALL = (1 << VPA_TYPE_COUNT) - 1, COUNT = 4 };
	struct try *tries = calloc(COUNT, sizeof(*tries));
	(void)state;
	start();
	put_cell("a", 1000, "active", "");
	put_cell("b", 1000, "active", "");
	for (int i = 0; i < COUNT; i++)
		ask(&tries[i], DP ",\"vpaId\":\"v\"}");
	measure("a", ALL, 900);
	measure("b", ALL, 100);
	place_all(&tries[0], 1);
	assert_string_equal(tries[0].chosen[0], "b");
	measure("a", ALL, 100);
	measure("b", ALL, 900);
	place_all(&tries[1], 1);
	assert_string_equal(tries[1].chosen[0], "a");
	measure("a", ALL & ~(1U << VPA_DATAPLANE), 0);
	place_all(&tries[2], 1);
	assert_string_equal(tries[2].chosen[0], "b");
	measure("b", 0, 900);
	tries[3].patience_ms = 60000;
	fabric_run(&fabric, begin, &tries[3]);
	fabric_settle(&fabric);
	assert_false(tries[3].is_done);
	measure("a", ALL, 950); /* who waited for it is placed */
	assert_true(fabric_wait(&fabric, are_done, &(struct tries){&tries[3], 1}));
	assert_string_equal(tries[3].chosen[0], "a");
	for (int i = 0; i < COUNT; i++)
		replay_gives(&tries[i], tries[i].chosen[0]);
	tries_free(tries, COUNT);
	stop();
}

/* --- ahead */

static sqlite3 *beside; /* another process on the same database */

static void beside_run(const char *sql)
{
	if (beside == NULL) {
		assert_int_equal(sqlite3_open(fabric.file, &beside), SQLITE_OK);
		sqlite3_busy_timeout(beside, 5000);
	}
	assert_int_equal(sqlite3_exec(beside, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void beside_close(void)
{
	sqlite3_close(beside);
	beside = NULL;
}

static bool is_under_way(void *context)
{
	(void)context;
	return placer->batch != NULL;
}

struct ahead {
	size_t count;
};
static bool is_decided_ahead(void *context)
{
	return placer->next != NULL && placer->next->count == ((struct ahead *)context)->count;
}

/* One batch waits for the database, which another process holds; the next is decided meanwhile. */
static void decide_ahead(struct try *tries, size_t first, size_t rest)
{
	struct tries before = {tries, first}, behind = {tries + first, rest};
	struct ahead ahead = {rest};
	beside_run("BEGIN IMMEDIATE");
	fabric_run(&fabric, begin_all, &before);
	assert_true(fabric_wait(&fabric, is_under_way, NULL));
	fabric_run(&fabric, begin_all, &behind);
	assert_true(fabric_wait(&fabric, is_decided_ahead, &ahead));
}

static struct try *many(size_t count)
{
	struct try *tries = calloc(count, sizeof(*tries));
	for (size_t i = 0; i < count; i++)
		ask(&tries[i], DP "}");
	return tries;
}

enum { FIRST = 40, REST = 60, ALL = FIRST + REST };

static void what_is_decided_ahead_holds(void **state)
{
	struct try *tries = many(ALL);
	struct tries all = {tries, ALL};
	size_t placed = 0;
	(void)state;
	start();
	put_cell("a", 50, "active", "");
	put_cell("b", 40, "active", "");
	decide_ahead(tries, FIRST, REST);
	beside_run("COMMIT");
	assert_true(fabric_wait(&fabric, are_done, &all));
	for (int i = 0; i < ALL; i++) {
		placed += tries[i].status == STATUS_OK;
		assert_true(tries[i].status == STATUS_OK || tries[i].status == STATUS_NOT_FOUND);
		assert_true(tries[i].status != STATUS_OK || tries[i].builds == 1);
	}
	assert_int_equal(placed, 90);
	assert_int_equal(used_of("a"), 50);
	assert_int_equal(used_of("b"), 40);
	beside_close();
	tries_free(tries, ALL);
	stop();
}

/* What another process changes meanwhile counts for both: nobody gets what is no longer to be had. */
static void what_is_decided_ahead_is_decided_again_when_others_were_faster(void **state)
{
	static const struct {
		const char *sql;
		int64_t a, b;
	} cases[] = {
		{"UPDATE record SET revision = 3, body = replace(body, '\"active\"', '\"offline\"') WHERE id = 'cfm-a'", 0,
			100},
		{"INSERT INTO record VALUES ('', 'cell_capacity', 'cfm-a', 3, "
		 "'{\"used\":{\"VPAs\":195,\"cfm.dataplane\":195}}')",
			195, 100},
		{"UPDATE record SET revision = 3, body = NULL WHERE id = 'cfm-a'", -1, 100},
	};
	(void)state;
	for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
		struct try *tries = many(ALL);
		struct tries all = {tries, ALL};
		start();
		put_cell("a", 200, "active", "");
		put_cell("b", 200, "active", "");
		decide_ahead(tries, FIRST, REST);
		beside_run(cases[at].sql);
		beside_run("UPDATE meta SET value = 3 WHERE name = 'revision'; COMMIT");
		assert_true(fabric_wait(&fabric, are_done, &all));
		for (int i = 0; i < ALL; i++)
			assert_int_equal(tries[i].status, STATUS_OK);
		if (cases[at].a >= 0)
			assert_int_equal(used_of("a"), cases[at].a);
		assert_int_equal(used_of("b"), cases[at].b);
		beside_close();
		tries_free(tries, ALL);
		stop();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_of_two_thousand),
		cmocka_unit_test(one_bad_caller_spoils_nothing),
		cmocka_unit_test(who_waits_is_placed_when_there_is_room),
		cmocka_unit_test(what_is_stored_is_known_after_a_restart),
		cmocka_unit_test(a_cordoned_cell_gets_nothing),
		cmocka_unit_test(dataspace_profiles_and_participants_count),
		cmocka_unit_test(every_decision_is_replayed),
		cmocka_unit_test(what_is_measured_counts_and_is_replayed),
		cmocka_unit_test(what_is_decided_ahead_holds),
		cmocka_unit_test(what_is_decided_ahead_is_decided_again_when_others_were_faster),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
